package calendar_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

func TestApprovalIsOfAllThatAWindowAllowsAndNotOfItsTitle(t *testing.T) {
	begin := func() calendar.Calendar {
		return calendar.Calendar{Name: "ops", Title: "Operations", TimeZone: "UTC", Windows: []calendar.Window{{
			Name: "night", Title: "Maintenance", Modes: []plan.Mode{plan.Takeover}, Systems: []estate.SystemID{"core", "cards"}, Units: []estate.UnitID{"u1"}, Plans: []string{"p"},
			Span: calendar.Span{Cron: "0 1 * * *", Duration: shape.Duration(time.Hour)},
		}}}
	}
	digest := func(c calendar.Calendar) string { return calendar.Digests([]calendar.Calendar{c})["night"] }
	was := digest(begin())
	for what, change := range map[string]func(c *calendar.Calendar, w *calendar.Window){
		"the calendar's name": func(c *calendar.Calendar, _ *calendar.Window) { c.Name = "other" },
		"the time zone":       func(c *calendar.Calendar, _ *calendar.Window) { c.TimeZone = "Asia/Shanghai" },
		"the modes":           func(_ *calendar.Calendar, w *calendar.Window) { w.Modes = append(w.Modes, plan.Change) },
		"all modes":           func(_ *calendar.Calendar, w *calendar.Window) { w.Modes = nil },
		"the systems":         func(_ *calendar.Calendar, w *calendar.Window) { w.Systems = w.Systems[:1] },
		"all systems":         func(_ *calendar.Calendar, w *calendar.Window) { w.Systems = nil },
		"the units":           func(_ *calendar.Calendar, w *calendar.Window) { w.Units = append(w.Units, "u2") },
		"the plans":           func(_ *calendar.Calendar, w *calendar.Window) { w.Plans = nil },
		"when it begins":      func(_ *calendar.Calendar, w *calendar.Window) { w.Cron = "0 2 * * *" },
		"how long it lasts":   func(_ *calendar.Calendar, w *calendar.Window) { w.Duration += shape.Duration(time.Minute) },
		"that it comes once": func(_ *calendar.Calendar, w *calendar.Window) {
			w.Span = calendar.Span{From: "2026-12-05 22:00", Until: "2026-12-06 06:00"}
		},
	} {
		c := begin()
		change(&c, &c.Windows[0])
		if digest(c) == was {
			t.Errorf("%s is another one, and the approval still counts", what)
		}
	}
	c := begin()
	c.Title, c.Windows[0].Title, c.Windows[0].Systems = "x", "y", []estate.SystemID{"cards", "core"}
	c.Windows = append(c.Windows, calendar.Window{Name: "other", Span: c.Windows[0].Span})
	if digest(c) != was {
		t.Error("a title, the order of a list or another window asks for approval anew")
	}
}

func TestApprovalsOfAWindowAreBoundedAndHaveAReason(t *testing.T) {
	var a calendar.Approvals
	for i := range 20 {
		next, err := a.Approve("night", "d", calendar.Approval{By: fmt.Sprintf("p%d", i), Reason: "agreed"})
		if full := i >= 8; full != (errs.KindOf(err) == errs.Refused) {
			t.Fatalf("%d: %v", i, err)
		}
		a = next
	}
	if again, err := a.Approve("night", "d", calendar.Approval{By: "P0", Reason: "again"}); err != nil || len(again["night"].Approvals) != 8 || again["night"].Approvals[0].Reason != "agreed" {
		t.Errorf("%+v, %v", again, err)
	}
	if next, err := a.Approve("night", "another", calendar.Approval{By: "p0", Reason: "agreed"}); err != nil || len(next["night"].Approvals) != 1 {
		t.Errorf("%+v, %v", next, err)
	}
	for _, reason := range []string{"", "  ", strings.Repeat("因", 301)} {
		_, err := a.Approve("day", "d", calendar.Approval{By: "p", Reason: reason})
		_, also := a.Revoke("night", reason)
		if errs.KindOf(err) != errs.Invalid || errs.KindOf(also) != errs.Invalid {
			t.Errorf("%q: %v, %v", reason, err, also)
		}
	}
	if _, err := a.Approve("day", "d", calendar.Approval{By: "p", Reason: strings.Repeat("因", 300)}); err != nil {
		t.Error(err)
	}
}
