package agent

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// shelf is an archive whose restore copies the fake database of its upstream.
type shelf struct {
	db driver.Database

	mu       sync.Mutex
	from     []driver.Upstream // who was received from, in order
	backups  []driver.Backup
	refused  bool
	restored int
}

func (s *shelf) Archive(context.Context) (driver.Archive, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return driver.Archive{Backups: slices.Clone(s.backups)}, nil
}

func (s *shelf) Receive(ctx context.Context, up driver.Upstream) error {
	s.mu.Lock()
	s.from = append(s.from, up)
	s.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (s *shelf) BackUp(_ context.Context, _ driver.Upstream, keep int, _ driver.Progress) (driver.Backup, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := driver.Backup{Name: "base", At: time.Now()}
	s.backups = append(s.backups, b)
	s.backups = s.backups[max(0, len(s.backups)-keep):]
	return b, nil
}

func (s *shelf) Restore(ctx context.Context, progress driver.Progress) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused {
		return errs.New(errs.Refused, "no backup can be used")
	}
	s.restored++
	return s.db.Reinitialise(ctx, s.from[len(s.from)-1], progress)
}

func (s *shelf) last() driver.Upstream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.from) == 0 {
		return driver.Upstream{}
	}
	return s.from[len(s.from)-1]
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.backups)
}

func coldMember(r *unit.Record) { r.Members[2].Backup = unit.Backup{Every: time.Hour, Keep: 2} }

// inArchive runs a test in which member c is cold.
func inArchive(t *testing.T, test func(*bed, *shelf)) {
	inBed(t, coldMember, func(bed *bed) {
		s := &shelf{db: bed.net.Database(c)}
		bed.archives = s
		bed.start(a, b, c)
		bed.eventually("log is received from the copy in the set", func() bool { return s.last().Member == b })
		test(bed, s)
	})
}

func (b *bed) wantRestored(attempt string) wire.ArchiveAnswer {
	b.t.Helper()
	body, err := json.Marshal(wire.ArchiveRequest{Group: group, Restore: true, Attempt: attempt})
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := b.agents[c].askArchive(b.t.Context(), body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer.(wire.ArchiveAnswer)
}

func TestColdMemberKeepsAnArchiveFromTheInSyncSetAndNoCopy(t *testing.T) {
	inArchive(t, func(bed *bed, s *shelf) {
		bed.eventually("a base backup", func() bool { return s.count() == 1 })
		bed.always("it is no copy", 10*time.Second, func() bool { return bed.agents[c].state().Directory == unit.EmptyDir && s.restored == 0 })
		if s.count() != 1 {
			t.Errorf("%d backups within seconds, one is due each hour", s.count())
		}
		bed.pass(time.Hour)
		bed.eventually("the next one", func() bool { return s.count() == 2 })
		if rec := bed.plane.record(); rec.Members[2].Life != 0 || slices.ContainsFunc(rec.InSync, func(l estate.Life) bool { return l.Member == c }) {
			t.Errorf("the record knows a life of a cold member: %+v", rec)
		}
	})
}

func TestRestoredMemberIsACopyOfANewLifeAndTheArchiveEnds(t *testing.T) {
	inArchive(t, func(bed *bed, s *shelf) {
		bed.eventually("a base backup", func() bool { return s.count() == 1 })
		if got := bed.wantRestored("one"); got.Restored || got.Error != "" {
			t.Fatalf("at once: %+v", got)
		}
		bed.eventually("restored", func() bool { return bed.wantRestored("one").Restored })
		rec := bed.plane.record()
		if m := rec.Members[2]; m.Life == 0 || rec.Owner.Member != a || s.restored != 1 {
			t.Errorf("member %+v, owner %v, restored %d times", m, rec.Owner, s.restored)
		}
		before := s.count()
		bed.pass(2 * time.Hour)
		if s.count() != before {
			t.Error("backups are made of a member that is a copy")
		}
	})
}

func TestRefusedRestoreIsToldAndTriedAgainOnlyWhenAskedAnew(t *testing.T) {
	inArchive(t, func(bed *bed, s *shelf) {
		s.mu.Lock()
		s.refused = true
		s.mu.Unlock()
		bed.wantRestored("one")
		bed.eventually("the reason", func() bool { return bed.wantRestored("one").Kind == string(errs.Refused) })
		s.mu.Lock()
		s.refused = false
		s.mu.Unlock()
		bed.pass(10 * time.Second)
		if s.restored != 0 {
			t.Error("it was tried again by itself")
		}
		bed.wantRestored("two")
		bed.eventually("restored", func() bool { return bed.wantRestored("two").Restored })
	})
}

func TestArchiveSaysWhatIsWrongWithIt(t *testing.T) {
	now := time.Now()
	good := driver.Backup{Name: "base-1", At: now.Add(-time.Hour)}
	for name, one := range map[string]struct {
		archive driver.Archive
		failing string
		want    int
	}{
		"all is well":       {driver.Archive{Backups: []driver.Backup{good}}, "", 0},
		"no backup":         {driver.Archive{}, "", 1},
		"an old one":        {driver.Archive{Backups: []driver.Backup{{Name: "base-0", At: now.Add(-3 * time.Hour)}}}, "", 1},
		"a damaged one":     {driver.Archive{Backups: []driver.Backup{good, {Name: "base-2", At: now, Problem: "checksum"}}}, "", 1},
		"log is missing":    {driver.Archive{Backups: []driver.Backup{good}, Gap: "x"}, "", 1},
		"no log comes":      {driver.Archive{Backups: []driver.Backup{good}}, "refused", 1},
		"nothing goes well": {driver.Archive{Gap: "x"}, "refused", 3},
	} {
		a := &Agent{archive: archiveWork{failing: one.failing, since: now.Add(-time.Minute)}}
		if got := a.judgeArchive(one.archive, unit.Backup{Every: time.Hour, Keep: 2}, now); len(got) != one.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
