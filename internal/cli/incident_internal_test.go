package cli

import (
	"fmt"
	"testing"
	"time"

	"perdure/internal/incident"
)

func TestIncidentsThatMayBeOneAreShownTogether(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 22, 8, minute, 0, 0, time.UTC) }
	one := func(id string, minute int, phase incident.Phase) incident.View {
		return incident.View{Incident: incident.Incident{ID: id, Phase: phase}, From: at(minute)}
	}
	unknown, planned := one("x", 0, incident.Open), one("p", 1, incident.Open)
	unknown.From, planned.Planned = time.Time{}, true
	list := []incident.View{
		one("d", 20, incident.Open), one("b", 4, incident.Open), one("c", 9, incident.Open), one("a", 0, incident.Open), one("declared", 1, incident.Declared), one("e", 31, incident.Open), one("f", 32, incident.Open),
		unknown, planned,
	}
	if got := fmt.Sprint(together(list)); got != "[[a b c] [e f]]" {
		t.Error(got)
	}
}
