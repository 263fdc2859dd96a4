package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

const (
	group   = estate.GroupID("g1")
	u1      = estate.UnitID("u1")
	a, b, c = estate.MemberID("u1-a"), estate.MemberID("u1-b"), estate.MemberID("u1-c")
)

func life(m estate.MemberID, n uint64) estate.Life { return estate.Life{Member: m, N: n} }

// estateOf is an open group: a owns it in its first life, b is in the set, c is an asynchronous copy.
func estateOf(t *testing.T) unit.Record {
	t.Helper()
	var members []unit.Member
	for i, id := range []estate.MemberID{a, b, c} {
		role := unit.SyncRole
		if id == c {
			role = unit.AsyncRole
		}
		members = append(members, unit.Member{ID: id, Site: estate.SiteID("abc"[i : i+1]), Role: role, Agent: string(id) + ":7700", Database: string(id)})
	}
	rec := unit.Bootstrap(group, "core", []estate.UnitID{u1}, unit.Policy{Failover: unit.Auto}, members, a, estate.Incarnation{Counter: 1, ID: "x"})
	for _, tr := range []unit.Transition{
		{Kind: unit.Reopen, By: life(a, 1), First: 1},
		{Kind: unit.Enrol, By: life(b, 1), First: 1},
		{Kind: unit.Enrol, By: life(c, 1), First: 1},
		{Kind: unit.Grow, By: life(a, 1), Member: life(b, 1), LSN: 1},
	} {
		tr.Ownership = rec.Ownership
		next, err := unit.Apply(rec, tr)
		if err != nil {
			t.Fatal(err)
		}
		rec = next
	}
	return rec
}

// world is what a controller sees: a store that judges by unit.Apply, other nodes, agents.
type world struct {
	t *testing.T
	*Controller

	mu       sync.Mutex
	rec      wire.Group
	changed  chan struct{}
	posts    []unit.Transition
	runs     []string // that were started with a post
	told     []string // of what people were told
	deaf     error    // keeps them from being told
	statuses []wire.MemberStatus
	others   []wire.Silence // what the two other nodes say
	mayAct   error
	agents   map[estate.MemberID]func(path string, body []byte) (any, error)
}

// watching runs a test with a controller in virtual time: every agent answers, and the other nodes hear the owner.
func watching(t *testing.T, change func(*unit.Record), receipts Receipts, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, rec: wire.Group{Record: estateOf(t), Revision: 7}, changed: make(chan struct{}), agents: map[estate.MemberID]func(string, []byte) (any, error){}}
		if change != nil {
			change(&w.rec.Record)
		}
		for _, m := range w.rec.Record.Members {
			w.agents[m.ID] = healthy(life(m.ID, m.Life))
		}
		w.Controller = New(w, w, receipts, Options{
			Node: "n1", Timing: unit.DefaultTiming(), Client: &http.Client{Transport: w}, Logger: slog.New(slog.DiscardHandler),
			MayAct: func() error { w.mu.Lock(); defer w.mu.Unlock(); return w.mayAct },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		test(w)
	})
}

// healthy is an agent whose database answers and that consents at once.
func healthy(l estate.Life) func(string, []byte) (any, error) {
	return func(path string, _ []byte) (any, error) {
		if path == "/v1/consent" {
			return wire.ConsentAnswer{OK: true, Life: l}, nil
		}
		return wire.AgentState{Group: group, Member: l.Member, Life: l.N, Running: true, Answering: true}, nil
	}
}

func gone(string, []byte) (any, error) { return nil, errors.New("connection refused") }

var errHangs = errors.New("it never answers")

func hangs(string, []byte) (any, error) { return nil, errHangs }

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	agent := w.agents[estate.MemberID(strings.TrimSuffix(r.URL.Host, ":7700"))]
	w.mu.Unlock()
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	out, err := agent(r.URL.Path, body)
	if errors.Is(err, errHangs) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(out)
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: io.NopCloser(bytes.NewReader(text))}, err
}

func (w *world) Groups(context.Context) ([]wire.Group, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []wire.Group{w.rec}, nil
}

func (w *world) Transition(_ context.Context, _ string, _ estate.GroupID, revision int64, t unit.Transition) (wire.Group, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if revision != 0 && revision != w.rec.Revision {
		return w.rec, errs.New(errs.Conflict, "changed")
	}
	next, err := unit.Apply(w.rec.Record, t)
	if err != nil {
		return w.rec, err
	}
	w.rec = wire.Group{Record: next, Revision: w.rec.Revision + 1}
	w.posts = append(w.posts, t)
	close(w.changed)
	w.changed = make(chan struct{})
	return w.rec, nil
}

func (w *world) PostRun(ctx context.Context, start wire.RunStart, who string, g estate.GroupID, t unit.Transition) (wire.Group, error) {
	after, err := w.Transition(ctx, who, g, 0, t)
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.runs = append(w.runs, start.Head.ID)
	}
	return after, err
}

func (w *world) Detected(_ context.Context, _ string, rec unit.Record, why string, since time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deaf != nil {
		return w.deaf
	}
	w.told = append(w.told, fmt.Sprintf("%s after %s: %s", rec.Group, time.Since(since).Round(time.Second), why))
	return nil
}

func (w *world) MemberStatuses(context.Context) ([]wire.MemberStatus, error) { return w.statuses, nil }

func (w *world) WatchGroups(ctx context.Context, on func(wire.Group)) error {
	for ctx.Err() == nil {
		w.mu.Lock()
		rec, changed := w.rec, w.changed
		w.mu.Unlock()
		on(rec)
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	return nil
}

func (w *world) Silences(context.Context, estate.GroupID) []wire.Silence {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.others
}

func (w *world) Count() int { return 3 }

// set changes the world.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// silentElsewhere makes one other node say that the owner of the ownership is silent.
func (w *world) silentElsewhere(o estate.Ownership) {
	w.set(func() {
		w.others = []wire.Silence{
			{Node: "n2", Owner: w.rec.Record.Owner, Ownership: o, ForMillis: 5000},
			{Node: "n3", Owner: w.rec.Record.Owner, Ownership: o, ForMillis: 0},
		}
	})
}

func (w *world) record() unit.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rec.Record
}

// decided waits for the owner to be replaced, at most so long, and says how long it took.
func (w *world) decided(most time.Duration) (time.Duration, bool) {
	for began := time.Now(); time.Since(began) <= most; {
		if w.record().Owner.Member != a {
			return time.Since(began), true
		}
		<-time.After(10 * time.Millisecond)
		synctest.Wait()
	}
	return most, false
}

func TestOwnerThatIsSilentToAMajorityIsReplacedByAMemberOfTheSet(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		w.silentElsewhere(w.record().Ownership)
		w.set(func() { w.agents[a] = gone })
		took, ok := w.decided(10 * time.Second)
		if silence := unit.DefaultTiming().Silence; !ok || took < silence-200*time.Millisecond || took > silence+time.Second {
			t.Fatalf("decided %v after %s", ok, took)
		}
		if rec := w.record(); rec.Owner != life(b, 1) || rec.Switch.Mode != unit.Failover || rec.Switch.By != "auto" || !w.posts[0].Silent {
			t.Fatalf("%+v", rec.Switch)
		}
	})
}

func TestOwnerThatAMajorityHearsStays(t *testing.T) {
	for name, say := range map[string]func(*world){
		"nobody else finds it silent": func(*world) {},
		"they mean another ownership": func(w *world) { w.silentElsewhere(estate.Ownership{}) },
		"they mean another owner": func(w *world) {
			w.set(func() {
				w.others = []wire.Silence{{Owner: life(b, 1), Ownership: w.rec.Record.Ownership, ForMillis: 5000}}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			watching(t, nil, nil, func(w *world) {
				say(w)
				w.set(func() { w.agents[a] = gone })
				if took, ok := w.decided(30 * time.Second); ok {
					t.Fatalf("it was replaced after %s", took)
				}
			})
		})
	}
}

func TestOwnerThatTookTheNextEpochHasItsFullTime(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		w.set(func() { w.agents[a] = gone })
		<-time.After(1300 * time.Millisecond)
		if _, err := w.Transition(w.t.Context(), "agent", group, 0, unit.Transition{Kind: unit.Reopen, By: life(a, 1), First: 1, Ownership: w.record().Ownership}); err != nil {
			t.Fatal(err)
		}
		w.silentElsewhere(w.record().Ownership)
		if took, ok := w.decided(10 * time.Second); !ok || took < unit.DefaultTiming().Silence-200*time.Millisecond {
			t.Fatalf("decided %v, %s after it had been heard by the store", ok, took)
		}
	})
}

func TestSecondAutomaticSwitchWaitsForTheDamping(t *testing.T) {
	damping := 40 * time.Second
	watching(t, func(r *unit.Record) { r.Policy.Damping, r.LastAutomatic = damping, time.Now().UnixMilli() }, nil, func(w *world) {
		w.silentElsewhere(w.record().Ownership)
		w.set(func() { w.agents[a] = gone })
		if took, ok := w.decided(2 * time.Minute); !ok || took < damping-time.Second {
			t.Fatalf("decided %v after %s", ok, took)
		}
	})
}

func TestPolicyConfirmWaitsForAPerson(t *testing.T) {
	watching(t, func(r *unit.Record) { r.Policy.Failover = unit.Confirm }, nil, func(w *world) {
		w.silentElsewhere(w.record().Ownership)
		w.set(func() { w.agents[a] = gone })
		if _, ok := w.decided(30 * time.Second); ok {
			t.Fatal("nobody confirmed")
		}
		answer, err := w.Switch(w.t.Context(), "ann", u1, wire.SwitchRequest{To: "b", Mode: unit.Emergency, ID: "s1"})
		if err != nil || answer.Switch.Lossy || w.record().Owner != life(b, 1) || w.record().Switch.By != "ann" {
			t.Fatalf("%+v, %v", answer.Switch, err)
		}
	})
}

// An emergency of an owner that lives is a switch in order: its copies wait for it, so they cannot replace it, and nobody has to stop it first.
func TestEmergencyOfALivingOwnerIsHandedOverInOrder(t *testing.T) {
	promised := func(path string, _ []byte) (any, error) {
		if path == "/v1/consent" {
			return wire.ConsentAnswer{WaitMillis: 300, Life: life(b, 1), Detail: "promised to the present owner"}, nil
		}
		return wire.AgentState{Group: group, Member: b, Life: 1, Running: true, Answering: true}, nil
	}
	ask := wire.SwitchRequest{To: "b", Mode: unit.Emergency, ID: "s1", Reason: "smoke in the hall"}
	watching(t, nil, nil, func(w *world) {
		w.set(func() { w.agents[b] = promised })
		answer, err := w.Switch(w.t.Context(), "ann", u1, ask)
		if err != nil || answer.Switch == nil || answer.Switch.Phase != unit.Closing || answer.Switch.Mode != unit.Takeover || answer.Switch.Lossy || answer.Switch.Reason != ask.Reason || w.record().Owner != life(a, 1) {
			t.Fatalf("%+v, %v", answer.Switch, err)
		}
	})
	for name, agent := range map[string]func(string, []byte) (any, error){"gone": gone, "hanging": hangs} {
		watching(t, nil, nil, func(w *world) { // who has just died is waited for, and hands over nothing
			w.set(func() { w.agents[a], w.agents[b] = agent, promised })
			if _, err := w.Switch(w.t.Context(), "ann", u1, ask); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "promised to the present owner") || len(w.posts) != 0 {
				t.Fatalf("%s: %v after %+v", name, err, w.posts)
			}
		})
	}
}

func TestPersonMayConfirmAMemberThatWasRestarted(t *testing.T) {
	restarted := func(r *unit.Record) {
		r.Policy.Failover = unit.Confirm
		next, err := unit.Apply(*r, unit.Transition{Kind: unit.Enrol, By: life(b, 2), First: 1})
		if err != nil {
			t.Fatal(err)
		}
		*r = next
	}
	watching(t, restarted, nil, func(w *world) {
		answer, err := w.Switch(w.t.Context(), "ann", u1, wire.SwitchRequest{To: "b", Mode: unit.Emergency, ID: "s1"})
		if err != nil || w.record().Owner != life(b, 2) {
			t.Fatalf("%+v, %v", answer, err)
		}
	})
}

func TestColdNodeDecidesNothing(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		w.silentElsewhere(w.record().Ownership)
		w.set(func() { w.agents[a], w.mayAct = gone, errs.New(errs.Unavailable, "cold") })
		if _, ok := w.decided(30 * time.Second); ok {
			t.Fatal("a cold node decided")
		}
		if _, err := w.Switch(w.t.Context(), "ann", u1, wire.SwitchRequest{To: "b"}); errs.KindOf(err) != errs.Unavailable {
			t.Fatalf("%v", err)
		}
		w.set(func() { w.mayAct = nil })
		if took, ok := w.decided(time.Second); !ok {
			t.Fatalf("not decided after %s", took)
		}
	})
}

func TestPlannedSwitchThatUsesUpItsBudgetIsUndone(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		if _, err := w.Switch(w.t.Context(), "ann", u1, wire.SwitchRequest{To: "b", ID: "s1"}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for w.record().Switch.Phase == unit.Closing && time.Since(began) < time.Minute {
			<-time.After(10 * time.Millisecond)
		}
		if s := w.record().Switch; s.Phase != unit.Failed || time.Since(began) < unit.DefaultBudget || time.Since(began) > unit.DefaultBudget+time.Second {
			t.Fatalf("%s after %s: %s", s.Phase, time.Since(began), s.Reason)
		}
	})
}

func TestRefusedPlannedSwitchChangesNothingAndNamesTheReason(t *testing.T) {
	says := func(state wire.AgentState) func(string, []byte) (any, error) {
		return func(string, []byte) (any, error) { return state, nil }
	}
	for name, refused := range map[string]struct {
		to   estate.SiteID
		mode unit.Mode
		set  func(*world)
		kind errs.Kind
		says string
	}{
		"not in the set":            {to: "c", kind: errs.Refused, says: "not in the in-sync set (u1-b.1)"},
		"the owner itself":          {to: "a", kind: errs.Refused, says: "current there already"},
		"no copy there":             {to: "z", kind: errs.NotFound, says: "copies at: a, b, c"},
		"no such mode":              {to: "b", mode: "sideways", kind: errs.Invalid, says: "allowed: takeover, switch-back, emergency"},
		"the set is empty":          {to: "b", kind: errs.Refused, says: "empty", set: func(w *world) { w.rec.Record.InSync = nil }},
		"nobody has it open":        {to: "b", kind: errs.Refused, says: "it is closed", set: func(w *world) { w.rec.Record.State = unit.Closed }},
		"target without agent":      {to: "b", kind: errs.Refused, says: "u1-b: it cannot take over: agent of u1-b does not answer", set: func(w *world) { w.agents[b] = gone }},
		"target's database is down": {to: "b", kind: errs.Refused, says: "u1-b: it cannot take over: its database does not run", set: func(w *world) { w.agents[b] = says(wire.AgentState{}) }},
		"owner's database hangs":    {to: "b", kind: errs.Refused, says: "u1-a cannot hand over: its database does not answer", set: func(w *world) { w.agents[a] = says(wire.AgentState{Running: true}) }},
	} {
		t.Run(name, func(t *testing.T) {
			watching(t, nil, nil, func(w *world) {
				if refused.set != nil {
					w.set(func() { refused.set(w) })
				}
				before := w.record()
				_, err := w.Switch(w.t.Context(), "ann", u1, wire.SwitchRequest{To: refused.to, Mode: refused.mode, ID: "s1"})
				if errs.KindOf(err) != refused.kind || !strings.Contains(err.Error(), refused.says) {
					t.Errorf("refused with %q (%s), want %q (%s)", err, errs.KindOf(err), refused.says, refused.kind)
				}
				if d := cmp.Diff(before, w.record()); d != "" || len(w.posts) != 0 {
					t.Errorf("the record was changed by %+v:\n%s", w.posts, d)
				}
			})
		})
	}
}

func TestDryRunShowsWhatWouldRefuseTheSwitch(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		w.set(func() { w.agents[b] = gone })
		answer, err := w.Switch(w.t.Context(), "ann", u1, wire.SwitchRequest{To: "b", DryRun: true})
		i := slices.IndexFunc(answer.Checks, func(c wire.Check) bool { return c.Name == "target's agent" })
		if err != nil || i < 0 || answer.Checks[i].OK || !strings.Contains(answer.Checks[i].Detail, "does not answer") {
			t.Errorf("%+v, %v", answer.Checks, err)
		}
	})
}

func TestSecondSwitchOfAUnitIsRefusedAndNamesTheFirst(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		// Both at once: one of them is first.
		answers := make(chan error, 2)
		for id, person := range map[string]string{"s-ann": "ann", "s-bob": "bob"} {
			go func() {
				_, err := w.Switch(w.t.Context(), person, u1, wire.SwitchRequest{To: "b", ID: id})
				answers <- err
			}()
		}
		one, other := <-answers, <-answers
		if one != nil {
			one, other = other, one
		}
		first := w.record().Switch
		if one != nil || errs.KindOf(other) != errs.Conflict || !strings.Contains(other.Error(), first.ID) || !strings.Contains(other.Error(), first.By) || len(w.posts) != 1 {
			t.Fatalf("%v and %v after %+v", one, other, w.posts)
		}
		// Whoever asks for the first one again is told of it.
		answer, err := w.Switch(w.t.Context(), first.By, u1, wire.SwitchRequest{To: "b", ID: first.ID})
		if err != nil || answer.Switch == nil || answer.Switch.ID != first.ID || len(w.posts) != 1 {
			t.Fatalf("%+v, %v", answer, err)
		}
		if _, err := w.Switch(w.t.Context(), "carl", u1, wire.SwitchRequest{To: "c", Mode: unit.Emergency, ID: "s-carl"}); errs.KindOf(err) != errs.Conflict || !strings.Contains(err.Error(), first.ID) {
			t.Fatalf("a lossy emergency beside it: %v", err)
		}
	})
}

func TestRunBeginsWithItsSwitchOrIsNotThere(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		ask := func(id string, to estate.SiteID) (wire.SwitchAnswer, error) {
			return w.Start(w.t.Context(), "ann", u1, wire.SwitchRequest{To: to, Mode: unit.Takeover, ID: id + ".switch"}, wire.RunStart{Head: wire.Run{ID: id}})
		}
		if _, err := ask("r0", "c"); errs.KindOf(err) != errs.Refused {
			t.Errorf("a copy that is not in the set: %v", err)
		}
		answer, err := ask("r1", "b")
		if err != nil || answer.Run != "r1" || answer.Switch.ID != "r1.switch" || w.record().Switch.ID != "r1.switch" {
			t.Errorf("%+v, %v", answer, err)
		}
		if _, err := ask("r2", "b"); errs.KindOf(err) != errs.Conflict || !strings.Contains(err.Error(), "r1.switch by ann") {
			t.Errorf("a second switch: %v", err)
		}
		if !slices.Equal(w.runs, []string{"r1"}) || len(w.posts) != 1 {
			t.Errorf("runs %v, posts %+v", w.runs, w.posts)
		}
	})
}

func TestPromiseIsWaitedOutAndWhoDoesNotConsentIsPassedOver(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	says := func(l estate.Life, answers ...wire.ConsentAnswer) func(string, []byte) (any, error) {
		n := 0
		return func(path string, body []byte) (any, error) {
			if path != "/v1/consent" {
				return wire.AgentState{Running: true, Answering: true}, nil
			}
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, l.String())
			answer := answers[min(n, len(answers)-1)]
			answer.Life = l
			n++
			return answer, nil
		}
	}
	second := func(r *unit.Record) {
		r.Members[2].Role = unit.SyncRole
		r.InSync = append(r.InSync, life(c, 1))
	}
	watching(t, second, nil, func(w *world) {
		w.set(func() {
			w.agents[b] = says(life(b, 1), wire.ConsentAnswer{Detail: "its database does not answer"})
			w.agents[c] = says(life(c, 1), wire.ConsentAnswer{WaitMillis: 600}, wire.ConsentAnswer{OK: true})
			w.agents[a] = gone
		})
		w.silentElsewhere(w.record().Ownership)
		took, ok := w.decided(10 * time.Second)
		if !ok || w.record().Owner != life(c, 1) || took < unit.DefaultTiming().Silence+300*time.Millisecond {
			t.Fatalf("%v after %s: %s", ok, took, w.record().Owner)
		}
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(asked, " "); got != "u1-b.1 u1-c.1 u1-c.1" {
			t.Errorf("asked %s", got)
		}
	})
}

func TestOwnerThatIsHeardWhileAConsentIsWaitedForStays(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		asked := 0
		w.set(func() {
			w.agents[a] = gone
			w.agents[b] = func(path string, _ []byte) (any, error) {
				if path != "/v1/consent" {
					return wire.AgentState{Running: true, Answering: true}, nil
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if asked++; asked == 1 { // the owner comes back while its promise is waited out, and is gone again before that is over
					w.agents[a], w.others = healthy(life(a, 1)), nil
					return wire.ConsentAnswer{WaitMillis: 900, Life: life(b, 1)}, nil
				}
				w.agents[a] = gone
				return wire.ConsentAnswer{OK: true, Life: life(b, 1)}, nil
			}
		})
		w.silentElsewhere(w.record().Ownership)
		if took, ok := w.decided(10 * time.Second); ok {
			t.Fatalf("it was replaced after %s", took)
		}
		w.set(func() {
			if asked < 2 {
				t.Errorf("the candidate was asked %d times", asked)
			}
		})
	})
}

func TestMemberInAnotherLifeIsNotDecided(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		w.set(func() { w.agents[a], w.agents[b] = gone, healthy(life(b, 2)) })
		w.silentElsewhere(w.record().Ownership)
		if _, ok := w.decided(20 * time.Second); ok {
			t.Fatal("a life that the record does not know was decided")
		}
	})
}

// database answers what a server answers before any login.
func database(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			var request [8]byte
			_, _ = io.ReadFull(conn, request[:])
			_, _ = conn.Write([]byte("N"))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-served })
	return listener.Addr().String()
}

func TestOwnerWhoseAgentFellSilentInASwitchIsReplacedWhenTheBudgetIsUsedUp(t *testing.T) {
	address := database(t)
	for name, silent := range map[string]int64{"silent to a majority": 5000, "heard by the others": 0} {
		t.Run(name, func(t *testing.T) {
			watching(t, func(r *unit.Record) { r.Members[0].Database = address }, nil, func(w *world) {
				own := w.record().Ownership
				begin := unit.Transition{Kind: unit.Begin, Person: "ann", Member: life(b, 1), Mode: unit.Takeover, SwitchID: "s1", Ownership: own, Now: time.Now().UnixMilli()}
				if _, err := w.Transition(w.t.Context(), "ann", group, 0, begin); err != nil {
					t.Fatal(err)
				}
				w.set(func() {
					w.agents[a] = gone
					w.others = []wire.Silence{
						{Node: "n2", Owner: life(a, 1), Ownership: own, AgentMillis: silent}, {Node: "n3", Owner: life(a, 1), Ownership: own, AgentMillis: silent},
					}
				})
				took, replaced := w.decided(10 * time.Second)
				if replaced != (silent > 0) || replaced && (took < unit.DefaultBudget || took > unit.DefaultBudget+time.Second) {
					t.Errorf("replaced %v after %s", replaced, took)
				}
				if s := w.record().Switch; !replaced && s.Phase != unit.Failed {
					t.Errorf("the switch is in phase %s", s.Phase)
				}
			})
		})
	}
}

func TestOwnerWhoseAgentIsDeadButWhoseDatabaseAnswersIsHeard(t *testing.T) {
	address := database(t)
	w := &world{t: t, agents: map[estate.MemberID]func(string, []byte) (any, error){a: gone}}
	ctl := New(w, w, nil, Options{Node: "n1", Timing: unit.DefaultTiming(), Client: &http.Client{Transport: w}, Logger: slog.New(slog.DiscardHandler)})
	owner := unit.Member{ID: a, Agent: "u1-a:7700", Database: address}
	if s := ctl.listen(t.Context(), owner); !s.heard || s.agent {
		t.Errorf("heard %v, its agent %v: %s", s.heard, s.agent, s.detail)
	}
	w.agents[a] = func(string, []byte) (any, error) { return wire.AgentState{Running: true}, nil }
	if s := ctl.listen(t.Context(), owner); s.heard || !s.agent {
		t.Error("heard although its agent says that the database does not answer")
	}
}

// kept are receipts as gateways keep them.
type kept struct {
	all   []Kept
	err   error
	since time.Time // what was asked for

	from    time.Time // what is said of the sources
	missing []string
	until   time.Time
}

func (k *kept) Since(_ context.Context, _ estate.UnitID, at time.Time, on func(Kept) error) (Sources, error) {
	k.since = at
	for _, r := range k.all {
		if err := on(r); err != nil {
			return k.sources(), err
		}
	}
	return k.sources(), k.err
}

func (k *kept) sources() Sources {
	return Sources{Said: "receipts kept at gateway c", From: k.from, Missing: k.missing, Until: k.until}
}

// add keeps receipts of 10.00 each between an account of their own and a common one, as acknowledged at the time.
func (k *kept) add(at time.Time, keys ...string) {
	for _, key := range keys {
		k.all = append(k.all, Kept{At: at, Receipt: driver.Receipt{Caller: "x", RoutingKey: "of-" + key, Key: key, Accounts: []string{"of-" + key, "common"}, Amount: "10.00"}})
	}
}

func tally(transactions int64, amount string) []driver.Tally {
	return []driver.Tally{{Unit: u1, Transactions: transactions, Amount: amount}}
}

// copyWith is the agent of a copy that has the keys; it counts how often it was asked about some.
func copyWith(t *testing.T, newest time.Time, has []driver.Tally, asked *int, keys ...string) func(string, []byte) (any, error) {
	return func(path string, body []byte) (any, error) {
		var request wire.MissingRequest
		if path != "/v1/missing" {
			return wire.AgentState{Tally: has}, nil
		}
		if err := json.Unmarshal(body, &request); err != nil {
			t.Error(err)
		}
		if len(request.Keys) == 0 {
			return wire.MissingAnswer{Newest: newest, Tally: has}, nil
		}
		*asked++
		var answer wire.MissingAnswer
		for i, k := range request.Keys {
			if !slices.Contains(keys, k.Key) {
				answer.Missing = append(answer.Missing, i)
			}
		}
		return answer, nil
	}
}

func emergencyTo(w *world, to estate.SiteID) unit.Loss {
	w.t.Helper()
	answer, err := w.Switch(w.t.Context(), "ann", u1, wire.SwitchRequest{To: to, Mode: unit.Emergency, DryRun: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return *answer.Loss
}

func TestEstimateCountsReceiptsByTheirKeyAndNotByTheirNumber(t *testing.T) {
	receipts := &kept{}
	watching(t, nil, receipts, func(w *world) {
		// The copy has k3, which got its number after k2 and was committed before it: k2 is lost, though a later number is there.
		now, asked := time.Now(), 0
		receipts.add(now, "k1", "k2", "k3", "k4", "k2")
		status, _ := json.Marshal(wire.AgentState{Tally: tally(3, "30.00")})
		w.statuses = []wire.MemberStatus{{Member: a, Status: status, At: now.Add(-time.Second).UnixMilli()}}
		w.set(func() { w.agents[c] = copyWith(t, now.Add(-time.Second), tally(2, "20.00"), &asked, "k1", "k3") })
		loss := emergencyTo(w, "c")
		if loss.Transactions != 2 || loss.Amount != "20.00" || loss.Accounts != 3 || loss.NoneIfHeld || loss.Millis == nil || *loss.Millis != 1000 {
			t.Errorf("k2 and k4 are lost, estimated are %+v", loss)
		}
		if !strings.Contains(loss.Source, "gateway c of u1 up to "+stamp(now)) || !strings.Contains(loss.Source, "u1-a") {
			t.Errorf("source %q", loss.Source)
		}
		if want := now.Add(-time.Second - clocksApart); !receipts.since.Equal(want) {
			t.Errorf("receipts were asked for since %s, want %s", receipts.since, want)
		}
		// The copy goes on with what is still on its way: nothing is lost then.
		w.set(func() { w.agents[c] = copyWith(t, now, tally(4, "40.00"), &asked, "k1", "k2", "k3", "k4") })
		if loss := emergencyTo(w, "c"); loss.Transactions != 0 || loss.Accounts != 0 || loss.Amount != "0.00" || loss.Millis == nil || *loss.Millis != 0 {
			t.Errorf("nothing is lost, estimated are %+v", loss)
		}
	})
}

func TestEstimateTakesTheLargerFigureWhereReceiptsEndBeforeTheOwnersReport(t *testing.T) {
	receipts := &kept{}
	watching(t, nil, receipts, func(w *world) {
		now, asked := time.Now(), 0
		receipts.add(now.Add(-time.Minute), "k1")
		status, _ := json.Marshal(wire.AgentState{Tally: tally(107, "1070.00")})
		w.statuses = []wire.MemberStatus{{Member: a, Status: status, At: now.UnixMilli()}}
		w.set(func() { w.agents[c] = copyWith(t, now.Add(-2*time.Minute), tally(100, "1000.00"), &asked) })
		if loss := emergencyTo(w, "c"); loss.Transactions != 7 || loss.Amount != "70.00" || loss.Accounts != -1 || loss.Millis == nil || *loss.Millis != 120_000 {
			t.Errorf("%+v", loss)
		}
		// One gateway answered after the report, and what a lost one acknowledged until then nobody knows.
		receipts.add(now.Add(time.Minute), "k2")
		receipts.until = now.Add(-time.Second)
		if loss := emergencyTo(w, "c"); loss.Transactions != 7 || loss.Accounts != -1 {
			t.Errorf("the end of a lost gateway's receipts was taken for the end of what it acknowledged: %+v", loss)
		}
	})
}

func TestEstimateComparesInBoundedPieces(t *testing.T) {
	receipts := &kept{}
	watching(t, nil, receipts, func(w *world) {
		asked := 0
		for i := range 2*compared + 1 {
			receipts.add(time.Now(), fmt.Sprint(i))
		}
		w.set(func() { w.agents[c] = copyWith(t, time.Time{}, nil, &asked, "0") })
		if loss := emergencyTo(w, "c"); loss.Transactions != 2*compared || loss.Millis != nil || asked != 3 {
			t.Errorf("%d pieces, %+v", asked, loss)
		}
		if !receipts.since.IsZero() {
			t.Errorf("a copy without a record was compared since %s only", receipts.since)
		}
	})
}

func TestEstimateThatWasCutShortSaysAtLeast(t *testing.T) {
	receipts := &kept{err: errs.New(errs.Unavailable, "the gateway is gone")}
	watching(t, nil, receipts, func(w *world) {
		asked := 0
		for i := range compared {
			receipts.add(time.Now(), fmt.Sprint(i))
		}
		w.set(func() { w.agents[c] = copyWith(t, time.Time{}, nil, &asked) })
		loss := emergencyTo(w, "c")
		if loss.Transactions != compared || !strings.Contains(loss.Source, fmt.Sprintf("at least %d", compared)) || !strings.Contains(loss.Source, "gone") {
			t.Errorf("%+v", loss)
		}
	})
}

func TestEstimateWithoutReceiptsNamesNoTimeThatNeverWas(t *testing.T) {
	for _, newest := range []time.Time{{}, time.Unix(1_700_000_000, 0)} {
		receipts := &kept{}
		watching(t, nil, receipts, func(w *world) {
			asked := 0
			w.set(func() { w.agents[c] = copyWith(t, newest, nil, &asked) })
			loss := emergencyTo(w, "c")
			if loss.Transactions != -1 || loss.Accounts != -1 || !strings.Contains(loss.Source, "gateway c: none of u1") || strings.Contains(loss.Source, "0001-01-01") {
				t.Errorf("%+v", loss)
			}
		})
	}
}

func TestEstimateSaysUnknownWhereNothingIsKnown(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		w.set(func() { w.agents[c] = gone })
		answer, err := w.Switch(w.t.Context(), "ann", u1, wire.SwitchRequest{To: "c", Mode: unit.Emergency, ID: "s1"})
		if err != nil || answer.Loss.Transactions != -1 || answer.Loss.Accounts != -1 || answer.Loss.Millis != nil || answer.Loss.Statement == "" || answer.Loss.Source == "" {
			t.Fatalf("%+v, %v", answer.Loss, err)
		}
		for i, person := range []string{"ann", "ann", "bob"} {
			_, err := w.Accept(w.t.Context(), person, u1, wire.AcceptRequest{Switch: "s1"})
			if (err != nil) != (i == 1) {
				t.Fatalf("acceptance %d by %s: %v", i, person, err)
			}
		}
		if s := w.record().Switch; len(s.Approvals) != 2 || s.Phase != unit.Accepting || w.record().Owner.Member != a {
			t.Fatalf("%+v", s)
		}
	})
}

func TestSetOfALostStoreIsNeverCalledProof(t *testing.T) {
	lost := func(r *unit.Record) {
		next, err := unit.Apply(*r, unit.Transition{Kind: unit.Recover, Incarnation: estate.Incarnation{Counter: 2, ID: "y"}, Revision: 41})
		if err != nil {
			t.Fatal(err)
		}
		*r = next
	}
	watching(t, lost, nil, func(w *world) {
		answer, err := w.Switch(w.t.Context(), "ann", u1, wire.SwitchRequest{To: "b", Mode: unit.Emergency, DryRun: true})
		if err != nil || !answer.Loss.NoneIfHeld || !strings.Contains(answer.Loss.Statement, "revision 41") || !strings.Contains(answer.Loss.Statement, "not provable") {
			t.Fatalf("%+v, %v", answer.Loss, err)
		}
	})
}

func TestVerifyJudgesByReceiptsFromOutside(t *testing.T) {
	now := estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: 9}
	former := now
	former.Epoch--
	receipts := &kept{all: []Kept{
		{Receipt: driver.Receipt{Key: "k1", Accounts: []string{"x"}}, Ownership: former},
		{Receipt: driver.Receipt{Key: "of the successor"}, Ownership: now},
		{Receipt: driver.Receipt{Key: "k2", Accounts: []string{"y"}}}, // nobody knows of which
		{Receipt: driver.Receipt{Key: "k3", Accounts: []string{"y", "z"}}, Ownership: former},
	}}
	decided := time.UnixMilli(10_000_000)
	quarantined := func(r *unit.Record) {
		r.Quarantine, r.QuarantineOf = true, now
		r.Past = append(r.Past, unit.Past{Ownership: former, Ended: decided.UnixMilli()})
	}
	watching(t, quarantined, receipts, func(w *world) {
		var judged driver.Judgement
		var recorded time.Time // from when on records are kept
		var compared wire.MissingRequest
		w.set(func() {
			w.agents[a] = func(path string, body []byte) (any, error) {
				switch path {
				case "/v1/fork":
					return wire.ForkAnswer{At: time.UnixMilli(50_000), Ownership: now, Kept: recorded}, nil
				case "/v1/missing":
					return wire.MissingAnswer{Missing: []int{1, 2}}, json.Unmarshal(body, &compared)
				case "/v1/judge":
					return driver.Judged{Verified: 4, Inconsistent: 1}, json.Unmarshal(body, &judged)
				}
				return wire.AgentState{Running: true, Answering: true}, nil
			}
		})
		answer, err := w.Verify(w.t.Context(), "ann", u1, "select", time.Time{})
		if err != nil || answer.Judged.Verified != 4 || answer.Receipts != 3 || answer.Lost != 2 || len(answer.LostShown) != 2 || answer.Source == "" {
			t.Fatalf("%+v, %v", answer, err)
		}
		if k := compared.Keys; len(k) != 3 || k[0].Key != "k1" || k[1].Key != "k2" || k[2].Key != "k3" {
			t.Errorf("compared were %+v", k)
		}
		if !slices.Equal(judged.Touched, []string{"y", "z"}) || judged.By != "ann" || judged.Query != "select" || !receipts.since.Equal(time.UnixMilli(50_000).Add(-clocksApart)) {
			t.Errorf("%+v from %s on", judged, receipts.since)
		}
		w.set(func() { recorded = time.UnixMilli(45_000) })
		if _, err := w.Verify(w.t.Context(), "ann", u1, "select", time.Time{}); err != nil || !receipts.since.Equal(recorded) {
			t.Errorf("receipts from %s on, %v", receipts.since, err)
		}
		for why, change := range map[string]func(*kept){
			"nobody has a copy":   func(k *kept) { k.missing = []string{"a"} },
			"receipts are whole":  func(k *kept) { k.from = time.UnixMilli(50_001) },
			"no receipt from":     func(k *kept) { k.all = k.all[1:2] },
			"could not all be":    func(k *kept) { k.err = errs.New(errs.Unavailable, "no gateway answers") },
			"of what is lost end": func(k *kept) { k.until = decided.Add(-deadFor - time.Second) },
			"which accounts":      func(k *kept) { k.all = slices.Clone(k.all); k.all[2].Unknown = true },
		} {
			was := *receipts
			change(receipts)
			if _, err := w.Verify(w.t.Context(), "ann", u1, "select", time.Time{}); errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), why) {
				t.Errorf("accounts are cleared although %s…: %v", why, err)
			}
			*receipts = was
		}
		// A person's word on when it was lost.
		lost := decided.Add(-time.Hour)
		for until, cleared := range map[time.Time]bool{lost: true, lost.Add(-unshipped - time.Second): false} {
			receipts.until = until
			if _, err := w.Verify(w.t.Context(), "ann", u1, "select", lost); (err == nil) != cleared {
				t.Errorf("lost at %s, receipts until %s: %v", lost, until, err)
			}
		}
		receipts.until = time.Time{}
		receipts.err = errs.New(errs.Unavailable, "no gateway answers")
		if _, err := w.Verify(w.t.Context(), "ann", u1, "select", time.Time{}); errs.KindOf(err) != errs.Unavailable {
			t.Errorf("accounts are cleared without receipts: %v", err)
		}
	})
	watching(t, quarantined, nil, func(w *world) {
		if _, err := w.Verify(w.t.Context(), "ann", u1, "select", time.Time{}); errs.KindOf(err) != errs.Unavailable {
			t.Errorf("accounts are cleared where no receipts are kept: %v", err)
		}
	})
	watching(t, nil, receipts, func(w *world) {
		if _, err := w.Verify(w.t.Context(), "ann", u1, "select", time.Time{}); errs.KindOf(err) != errs.Conflict {
			t.Errorf("%v", err)
		}
	})
}
