package manifest_test

import (
	"strings"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/manifest"
)

func TestCalendarsAreReadWhateverElseIsWrong(t *testing.T) {
	text := `
apiVersion: perdure/v1
kind: Calendar
name: ops
timeZone: UTC
windows: [{name: night, plans: [gone], cron: "0 1 * * *", duration: 1h}]
---
apiVersion: perdure/v2
kind: Plan
name: later
`
	book, err := manifest.Calendars(manifest.File{Name: "applied manifest", Text: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	v := book.Look(nil, nil, time.Date(2027, 1, 1, 1, 30, 0, 0, time.UTC))
	if len(v.Windows) != 1 || !v.Windows[0].Open {
		t.Errorf("%+v", v)
	}
	_, err = manifest.Calendars(manifest.File{Name: "applied manifest", Text: []byte(strings.Replace(text, "duration:", "lasts:", 1))})
	if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), `unknown field "lasts"`) {
		t.Errorf("a calendar of another version: %v", err)
	}
}
