package runtest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"perdure/internal/run"
)

// Start is when the journals of tests begin.
var Start = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// Journal reads a journal. Each line is: when, as a duration since Start; who; what; the step or -; and what else the entry has, as JSON.
func Journal(t testing.TB, text string) []run.Entry {
	t.Helper()
	var out []run.Entry
	for line := range strings.Lines(text) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 5)
		if len(words) < 4 {
			continue
		}
		e := run.Entry{}
		if len(words) == 5 {
			if err := json.Unmarshal([]byte(words[4]), &e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
		after, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		e.Seq, e.At, e.By, e.What = len(out)+1, Start.Add(after), words[1], run.What(words[2])
		if words[3] != "-" {
			e.Node = words[3]
		}
		out = append(out, e)
	}
	return out
}
