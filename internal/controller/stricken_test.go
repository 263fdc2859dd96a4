package controller

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/unit"
)

// passes lets virtual time go on.
func passes(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (w *world) toldOf() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.told, "; ")
}

func TestPeopleAreToldOnceOfAGroupThatServesNobodyAndThatNothingTakesOver(t *testing.T) {
	watching(t, func(r *unit.Record) { r.Policy.Failover = unit.Confirm }, nil, func(w *world) {
		w.silentElsewhere(w.record().Ownership)
		w.set(func() {
			w.agents[a] = gone
			for i := range w.others {
				w.others[i].ForMillis = 60_000
			}
			w.deaf = errors.New("the store does not answer")
		})
		passes(2 * unit.DefaultTiming().Silence)
		if told := w.toldOf(); told != "" {
			t.Errorf("too early: %s", told)
		}
		passes(2 * unit.DefaultTiming().Silence)
		w.set(func() { w.deaf = nil })
		passes(30 * time.Second)
		if told := w.toldOf(); strings.Count(told, "after") != 1 || !strings.Contains(told, "policy says that a person confirms") {
			t.Errorf("%q", told)
		}
	})
}

func TestNobodyIsToldOfAFailoverThatTakesPlace(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		w.silentElsewhere(w.record().Ownership)
		w.set(func() { w.agents[a] = gone })
		if _, ok := w.decided(10 * time.Second); !ok {
			t.Fatal("nothing was decided")
		}
		if told := w.toldOf(); told != "" {
			t.Error(told)
		}
	})
}
