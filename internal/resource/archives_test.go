package resource_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/wire"
)

// archiver is away for the first question, and restored after some.
type archiver struct {
	asked  []wire.ArchiveRequest
	after  int
	answer wire.ArchiveAnswer
}

func (s *archiver) Archive(_ context.Context, id estate.UnitID, site estate.SiteID, ask wire.ArchiveRequest) (wire.ArchiveAnswer, error) {
	s.asked = append(s.asked, ask)
	switch {
	case id != "u1" || site != "c":
		return wire.ArchiveAnswer{}, errs.New(errs.NotFound, "%s at %s", id, site)
	case ask.Restore && len(s.asked) == 1:
		return wire.ArchiveAnswer{}, errs.New(errs.Unavailable, "the agent begins")
	}
	answer := s.answer
	answer.Restored = s.after > 0 && len(s.asked) >= s.after
	return answer, nil
}

func archiveCall(action string) resource.Call {
	return resource.Call{Call: plan.Call{Driver: "archive", Action: action, Target: "u1", With: map[string]any{"site": "c"}}, Key: "r1/step", Mode: plan.Emergency, By: "ann"}
}

func TestRestoreIsAskedForUntilTheRecordKnowsTheCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &archiver{after: 4, answer: wire.ArchiveAnswer{Archive: driver.Archive{
			Backups: []driver.Backup{{Name: "good", At: time.Now().Add(-time.Hour)}, {Name: "bad", At: time.Now(), Problem: "damaged"}}, Until: 7, LogAt: time.Now(),
		}}}
		result, err := resource.Archives{Archiver: s}.Ensure(t.Context(), archiveCall("restore"))
		if err != nil || len(s.asked) != 4 || result["restored"] != true || result["backup"] != "good" || result["ready"] != true {
			t.Fatalf("%v, %v, asked %d times", result, err, len(s.asked))
		}
		if age := result["backupSeconds"].(float64); age < 3600 || age > 3610 {
			t.Errorf("the backup is %v s old", age)
		}
		for _, a := range s.asked {
			if a != s.asked[0] || !a.Restore {
				t.Errorf("asked %+v after %+v", a, s.asked[0])
			}
		}
		if _, done, err := (resource.Archives{Archiver: s}).Observe(t.Context(), archiveCall("restore")); !done || err != nil {
			t.Errorf("observed: %v, %v", done, err)
		}
	})
}

func TestRestoreThatIsRefusedSaysWhyAndLookingAsksForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &archiver{answer: wire.ArchiveAnswer{Error: "no backup can be used", Kind: string(errs.Refused), Archive: driver.Archive{Gap: "000000010000000000000004"}}}
		if _, err := (resource.Archives{Archiver: s}).Ensure(t.Context(), archiveCall("restore")); errs.KindOf(err) != errs.Refused || err.Error() != "no backup can be used" {
			t.Errorf("refused as %v", err)
		}
		s.asked = nil
		result, err := resource.Archives{Archiver: s}.Ensure(t.Context(), archiveCall("state"))
		if err != nil || result["ready"] != false || result["backupSeconds"] != -1.0 || result["gap"] != "000000010000000000000004" || s.asked[0].Restore {
			t.Errorf("%v, %v, asked %+v", result, err, s.asked)
		}
	})
}
