package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/lab/checker"
)

// Table prints the verdict for a terminal: a line a step, the sum, and what was found.
func Table(w io.Writer, s Summary, l Language) error {
	t := &table{}
	t.add(heads(l)...)
	low := false
	total := checker.Step{}
	for _, v := range s.Details.Estates {
		for _, step := range v.Steps {
			gap := duration(step.Gap)
			if !step.GapMeaningful && step.Gap > 0 {
				gap, low = gap+"*", true
			}
			t.add(title(step, l), gap, duration(step.Pause), strconv.Itoa(step.Held), strconv.Itoa(step.Replayed),
				strconv.Itoa(step.Errors), strconv.Itoa(step.Acknowledged), lost(step, l), strconv.Itoa(step.Doubled), "")
			total.Held, total.Replayed, total.Errors = total.Held+step.Held, total.Replayed+step.Replayed, total.Errors+step.Errors
			total.Acknowledged, total.Lost, total.Doubled = total.Acknowledged+step.Acknowledged, total.Lost+step.Lost, total.Doubled+step.Doubled
			total.Gap, total.Pause = max(total.Gap, step.Gap), max(total.Pause, step.Pause)
		}
	}
	t.rule()
	t.add(word("all", l), duration(total.Gap), duration(total.Pause), strconv.Itoa(total.Held), strconv.Itoa(total.Replayed),
		strconv.Itoa(total.Errors), strconv.Itoa(total.Acknowledged), strconv.Itoa(total.Lost), strconv.Itoa(total.Doubled), yes(s.MoneyConserved, l))
	b := &strings.Builder{}
	t.print(b)
	if low {
		fmt.Fprintf(b, "* %s\n", word("low", l))
	}
	fmt.Fprintf(b, "%s: %d\n", word("old", l), s.OldEpochWrites)
	if s.Details.Took > 0 {
		fmt.Fprintf(b, "%s: %s\n", word("took", l), took(s.Details, l))
	}
	if s.Details.Problem != "" {
		fmt.Fprintf(b, "%s: %s\n", word("problem", l), s.Details.Problem)
	}
	for _, v := range s.Details.Estates {
		shown := map[checker.Name]int{}
		for _, f := range v.Findings {
			if shown[f.Name]++; shown[f.Name] > 3 {
				continue
			}
			fmt.Fprintf(b, "- %s\n", f)
		}
		for _, name := range slices.Sorted(maps.Keys(v.Counts)) {
			if n := v.Counts[name]; n > 3 {
				fmt.Fprintf(b, "  %s: %d\n", name, n)
			}
		}
	}
	fmt.Fprintf(b, "%s\n", word(s.Verdict, l))
	_, err := io.WriteString(w, b.String())
	return err
}

// Places says where the results lie.
func Places(w io.Writer, l Language, page, summary string) error {
	_, err := fmt.Fprintf(w, "%s: %s\n%s: %s\n", word("page", l), page, word("summary", l), summary)
	return err
}

func heads(l Language) (hs []string) {
	for _, h := range []string{"step", "gap", "pause", "held", "replayed", "errors", "acknowledged", "lost", "doubled", "money"} {
		hs = append(hs, word(h, l))
	}
	return hs
}

func title(s checker.Step, l Language) string {
	if t := s.Title[string(l)]; t != "" {
		return t
	}
	return s.Name
}

func lost(s checker.Step, l Language) string {
	text := strconv.Itoa(s.Lost)
	if s.Lost > 0 && s.ExpectedLoss {
		text += " " + word("accepted", l)
	}
	if s.Resent > 0 {
		text += ", " + strconv.Itoa(s.Resent) + " " + word("resent", l)
	}
	return text
}

func yes(b bool, l Language) string {
	if b {
		return word("yes", l)
	}
	return word("no", l)
}

// duration writes a time as people read it: "-" where there is none.
func duration(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Second:
		return strconv.FormatInt(millis(d), 10) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
}

// took says how long the run took, and how long it might.
func took(d Details, l Language) string {
	text := d.Took.Round(100 * time.Millisecond).String()
	if d.Within > 0 {
		text += " (" + word("within", l) + " " + d.Within.String() + ")"
	}
	return text
}

// table lines its cells up: the first column to the left, the others to the right.
type table struct{ rows [][]string }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }
func (t *table) rule()               { t.rows = append(t.rows, nil) }

func (t *table) print(b *strings.Builder) {
	var widths []int
	for _, r := range t.rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(c))
		}
	}
	for n, r := range t.rows {
		if r == nil || n == 1 {
			sum := 2 * (len(widths) - 1)
			for _, w := range widths {
				sum += w
			}
			b.WriteString(strings.Repeat("-", sum) + "\n")
		}
		line := ""
		for i, c := range r {
			gap := strings.Repeat(" ", widths[i]-width(c))
			if i == 0 {
				line = c + gap
			} else {
				line += "  " + gap + c
			}
		}
		if r != nil {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
}

// width is how many columns of a terminal the text takes: characters of East Asian scripts take two.
func width(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0xffe0 && r <= 0xffe6) {
			n++
		}
	}
	return n
}
