package lab

import (
	"testing"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/manifest"
)

func TestSchedulesOfALabBeginWhenItIsLaidOut(t *testing.T) {
	set := manifest.Set{Calendars: []calendar.Calendar{{TimeZone: "Asia/Shanghai", Schedules: []calendar.Schedule{{Since: "2020-01-01 00:00"}}}}}
	since(&set, time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC))
	if got := set.Calendars[0].Schedules[0].Since; got != "2026-11-23 02:00" {
		t.Error(got)
	}
}
