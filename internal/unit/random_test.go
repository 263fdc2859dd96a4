package unit

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

func testGroup() Record {
	return Bootstrap("g1", "core", []estate.UnitID{"u1"}, Policy{Failover: Auto, Damping: 10 * time.Second},
		[]Member{{ID: "a", Site: "a", Role: SyncRole}, {ID: "b", Site: "b", Role: SyncRole}, {ID: "c", Site: "c", Role: AsyncRole}, {ID: "d", Site: "d", Role: SyncRole}},
		"a", estate.Incarnation{Counter: 1, ID: "one"})
}

// anyTransition makes a transition that is nearly right more often than not.
func anyTransition(r *rand.Rand, rec *Record, now int64) Transition {
	kinds := []Kind{Enrol, Enrol, Enrol, Reopen, Reopen, OwnerDown, Attach, Shrink, Grow, Grow, Grow, Begin, Begin, Close, Close, Decide, Decide, Decide, Opened, Opened, Opened, Abort, Propose, Accept, Accept, Recover, Amend, Settle, Release}
	m := rec.Members[r.IntN(len(rec.Members))]
	life := func(m Member) estate.Life { return estate.Life{Member: m.ID, N: m.Life + uint64(r.IntN(8))/7} }
	t := Transition{Kind: kinds[r.IntN(len(kinds))], By: rec.Owner, Member: life(m), Ownership: rec.Ownership, Session: rec.Session, First: 1, LSN: estate.LSN(r.IntN(100)), Now: now}
	switch r.IntN(6) {
	case 0:
		t.By = life(m)
	case 1:
		t.By.N++
	case 2:
		t.By = t.Member
	}
	if r.IntN(8) == 0 {
		t.Ownership.Epoch += estate.Epoch(r.IntN(3))
	}
	switch t.Kind {
	case Enrol:
		t.By, t.Following = life(m), rec.Ownership
	case Attach:
		t.Session++
	case Begin, Propose, Accept, Abort, Settle, Release:
		t.Person, t.Mode = []string{"ann", "bob"}[r.IntN(2)], Takeover
		t.Loss = &Loss{Statement: "some", Source: "a test"}
	case Decide:
		t.Silent = r.IntN(2) == 0
		if r.IntN(2) == 0 {
			t.Mode = Failover
		}
		if rec.Switch.Active() && r.IntN(2) == 0 {
			t.Member, t.By = rec.Switch.To, rec.Switch.To
		}
	case Recover:
		if r.IntN(6) > 0 {
			t.Kind = OwnerDown
			break
		}
		t.Incarnation = estate.Incarnation{Counter: rec.Ownership.Incarnation.Counter + uint64(r.IntN(2)), ID: "two"}
	case Amend:
		t.Policy = &Policy{Failover: Auto, MinInSync: r.IntN(2), Damping: 10 * time.Second}
	case Reopen, OwnerDown, Shrink, Grow, Close, Opened:
	}
	return t
}

// holdsAlways are the properties of every record that Apply gives.
func holdsAlways(t *testing.T, before, after Record, tr Transition) {
	t.Helper()
	if after.Ownership.Less(before.Ownership) {
		t.Fatalf("I1: %s takes ownership from %s down to %s", tr.Kind, before.Ownership, after.Ownership)
	}
	if after.Ownership == before.Ownership && after.Owner.Member != before.Owner.Member {
		t.Fatalf("I1: %s changes the owner from %s to %s within %s", tr.Kind, before.Owner, after.Owner, after.Ownership)
	}
	if before.State == Promoting && after.State == Open && tr.Kind != Opened {
		t.Fatalf("I4: %s opens a group that is being promoted", tr.Kind)
	}
	seen := map[estate.MemberID]bool{}
	for _, l := range after.InSync {
		if seen[l.Member] || l.Member == after.Owner.Member {
			t.Fatalf("I2: after %s the set %v of %s has somebody twice, or the owner", tr.Kind, after.InSync, after.Owner)
		}
		seen[l.Member] = true
	}
	if after.State != Open && len(after.InSync) > 0 {
		t.Fatalf("I2: after %s the set is %v while the group is %s", tr.Kind, after.InSync, after.State)
	}
	if after.State != Promoting && (len(after.Heirs) > 0 || after.Before != estate.Life{} || after.Released) {
		t.Fatalf("I4: after %s there are heirs %v of %s while the group is %s", tr.Kind, after.Heirs, after.Before, after.State)
	}
	if before.Lost != nil && after.State == Open && after.Ownership.Incarnation == before.Ownership.Incarnation {
		t.Fatalf("I10: %s opens a recovered group without people", tr.Kind)
	}
}

// TestApplyKeepsItsInvariants walks records at random: whatever is asked, the invariants of a record hold, what was given in
// is left alone, a refusal changes nothing, and the record survives its own text.
func TestApplyKeepsItsInvariants(t *testing.T) {
	taken := map[Kind]int{}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		rec, now := testGroup(), int64(1_000_000)
		for range 200 {
			now += int64(r.IntN(3000))
			tr := anyTransition(r, &rec, now)
			given := rec.Clone()
			after, err := Apply(rec, tr)
			if !reflect.DeepEqual(given, rec) {
				t.Fatalf("seed %d: %s changed the record it was given:\n%s", seed, tr.Kind, cmp.Diff(given, rec))
			}
			if err != nil {
				if k := errs.KindOf(err); k == errs.Internal {
					t.Fatalf("seed %d: %s: %v", seed, tr.Kind, err)
				}
				if !reflect.DeepEqual(given, after) {
					t.Fatalf("seed %d: refused %s changed the record:\n%s", seed, tr.Kind, cmp.Diff(given, after))
				}
				continue
			}
			taken[tr.Kind]++
			holdsAlways(t, rec, after, tr)
			text, err := json.Marshal(after)
			if err != nil {
				t.Fatal(err)
			}
			var again Record
			if err := json.Unmarshal(text, &again); err != nil {
				t.Fatal(err)
			}
			if second, _ := json.Marshal(again); string(second) != string(text) {
				t.Fatalf("seed %d: the record does not survive its text", seed)
			}
			rec = after
		}
	}
	for _, k := range []Kind{Enrol, Reopen, OwnerDown, Attach, Shrink, Grow, Begin, Close, Decide, Opened, Abort, Propose, Accept, Recover, Amend, Settle, Release} {
		if taken[k] == 0 {
			t.Errorf("%s was never taken: the walk does not reach it", k)
		}
	}
}

func anyView(r *rand.Rand, rec *Record, self Self) View {
	yes := func() bool { return r.IntN(3) > 0 }
	v := View{
		Directory: []Directory{EmptyDir, StandbyDir, StandbyDir, PrimaryDir, PrimaryDir}[r.IntN(5)], Running: yes(), Answering: yes(),
		Flushed: estate.LSN(r.IntN(100)), Replayed: estate.LSN(r.IntN(100)), Streaming: yes(), Promised: yes(),
		StuckFor: time.Duration(r.IntN(80)) * time.Second, DownFor: time.Duration(r.IntN(6)) * time.Second,
		OwnerDownFor: time.Duration(r.IntN(6)) * time.Second, PhaseFor: time.Duration(r.IntN(12)) * time.Second,
		WaitingFor: time.Duration(r.IntN(4)) * time.Second, SinceShrink: time.Duration(r.IntN(9)) * time.Second,
	}
	v.Answering = v.Answering && v.Running
	v.InRecovery = v.Directory == StandbyDir
	if up, ok := Upstream(*rec, self.Member); ok && yes() {
		v.Upstream = up
	}
	if v.Directory == PrimaryDir && yes() {
		v.Gates = []Gate{{Unit: "u1", Ownership: rec.Ownership, Open: yes()}}
	}
	for _, l := range rec.InSync {
		if yes() {
			v.SyncNames = append(v.SyncNames, l.String())
		}
	}
	for _, m := range rec.Members {
		if m.ID != self.Member {
			v.Copies = append(v.Copies, Copy{Life: estate.Life{Member: m.ID, N: m.Life}, Streaming: yes(), Usable: yes(), Flushed: v.Flushed, MissingFor: time.Duration(r.IntN(3)) * time.Second})
		}
	}
	return v
}

// TestNextPostsWhatApplyTakes: an agent whose life the record may know never posts what the same record refuses; it would
// post it for ever.
func TestNextPostsWhatApplyTakes(t *testing.T) {
	posted := map[Kind]int{}
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 2))
		rec, now := testGroup(), int64(1_000_000)
		for range 150 {
			now += int64(r.IntN(3000))
			if after, err := Apply(rec, anyTransition(r, &rec, now)); err == nil {
				rec = after
			}
			m := rec.Members[r.IntN(len(rec.Members))]
			known := m.Life
			if rec.Owner.Member == m.ID {
				known = max(known, rec.Owner.N)
			}
			self := Self{Member: m.ID, Life: known + uint64(r.IntN(2)), FirstLife: 1, Seen: rec.Ownership, Session: rec.Session + uint64(r.IntN(2))}
			a := Next(rec, self, anyView(r, &rec, self), DefaultTiming(), now)
			if a.Do != Post {
				continue
			}
			posted[a.Transition.Kind]++
			if _, err := Apply(rec, a.Transition); err != nil {
				t.Fatalf("seed %d: %s posts %s (%s), refused: %v", seed, self.Now(), a.Transition.Kind, a.Transition.Reason, err)
			}
		}
	}
	for _, k := range []Kind{Enrol, Reopen, OwnerDown, Attach, Shrink, Decide, Opened} {
		if posted[k] == 0 {
			t.Errorf("%s was never posted", k)
		}
	}
}
