package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perdure/internal/plan"
	"perdure/internal/store"
	"perdure/internal/wire"
)

// under is a caller that asks with an Idempotency-Key.
func (c *caller) under(key string) *caller {
	keyed := *c
	keyed.headers = map[string]string{"Idempotency-Key": key}
	return &keyed
}

func TestChangeIsMadeOnceForItsKey(t *testing.T) {
	n := start(t)
	ask := wire.StartRun{Plan: "p", Mode: plan.Drill}
	bob := n.person("bob", wire.Operator)
	first := bob.under("k1").want(200, "POST", "/api/v1/runs", ask)
	again := bob.under(`"k1"`).want(200, "POST", "/api/v1/runs", ask)
	if string(first.body) != string(again.body) || again.head.Get("Idempotency-Replayed") != "true" || first.head.Get("Idempotency-Replayed") != "" || again.head.Get("Content-Type") != first.head.Get("Content-Type") {
		t.Errorf("%s %v\n%s %v", first.body, first.head, again.body, again.head)
	}
	if runs := n.runs(); len(runs) != 1 {
		t.Fatalf("%d runs", len(runs))
	}
	// The key is bob's, and this request's.
	other := ask
	other.Reason = "another"
	if p := bob.under("k1").want(422, "POST", "/api/v1/runs", other).problem(t); !strings.Contains(p.Detail, "used for another request") {
		t.Error(p.Detail)
	}
	n.person("eve", wire.Operator).under("k1").want(200, "POST", "/api/v1/runs", ask)
	// A negative control: without keys there is a run for each request.
	bob.want(200, "POST", "/api/v1/runs", ask)
	bob.want(200, "POST", "/api/v1/runs", ask)
	if runs := n.runs(); len(runs) != 4 {
		t.Errorf("%d runs", len(runs))
	}
	bob.under("a key").want(422, "POST", "/api/v1/runs", ask)
	bob.under(strings.Repeat("k", 256)).want(422, "POST", "/api/v1/runs", ask)
}

func TestRequestsWithOneKeyAtATimeMakeOneChange(t *testing.T) {
	n := start(t)
	bob := n.person("bob", wire.Operator)
	var mu sync.Mutex
	answers := map[string]int{}
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			r, err := bob.under("k").try(t.Context(), "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Drill})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case r.status == http.StatusOK:
				answers[string(r.body)]++
			case r.status != http.StatusServiceUnavailable: // it is being carried out
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	wg.Wait()
	if runs := n.runs(); len(runs) != 1 || len(answers) != 1 {
		t.Errorf("%d runs, answers %v", len(runs), answers)
	}
}

func TestWhatFailedIsTriedAgainUnderItsKey(t *testing.T) {
	n := start(t)
	admin := n.as("admin")
	add := wire.NewUser{Name: "ann", Roles: []wire.Role{wire.Viewer}, Password: password}
	admin.under("k").want(404, "DELETE", "/api/v1/users/ann", nil)
	admin.want(200, "POST", "/api/v1/users", add)
	admin.under("k").want(200, "DELETE", "/api/v1/users/ann", nil)
}

// A password has no place in the store, not even in the hash of a request; a secret that is shown once is not kept for a repetition.
func TestAnswersWithSecretsAreNotKept(t *testing.T) {
	n := start(t)
	admin := n.as("admin")
	ask := map[string]any{"name": "carl", "role": "viewer"}
	admin.under("k").want(200, "POST", "/api/v1/tokens", ask)
	if p := admin.under("k").want(409, "POST", "/api/v1/tokens", ask).problem(t); !strings.Contains(p.Detail, "its answer was not kept") {
		t.Error(p.Detail)
	}
	tokens, err := n.store.Tokens(t.Context(), wire.Fresh)
	if err != nil || slices.IndexFunc(tokens, func(k wire.Token) bool { return k.Name == "carl" }) < 0 {
		t.Fatal(tokens, err)
	}
	admin.under("u").want(200, "POST", "/api/v1/users", wire.NewUser{Name: "ann", Roles: []wire.Role{wire.Viewer}, Password: password})
	kept, found, err := n.store.Keyed(t.Context(), "the-admin", "u")
	if err != nil || !found || kept.Answer != nil {
		t.Fatal(kept, found, err)
	}
	admin.under("v").want(409, "POST", "/api/v1/users", wire.NewUser{Name: "ann", Roles: []wire.Role{wire.Viewer}, Password: password + " other"})
	admin.under("w").want(200, "POST", "/api/v1/users", wire.NewUser{Name: "eve", Roles: []wire.Role{wire.Viewer}, Password: password})
	second, _, err := n.store.Keyed(t.Context(), "the-admin", "w")
	if err != nil || second.Fingerprint != kept.Fingerprint {
		t.Errorf("fingerprints tell the bodies of requests with passwords apart: %v", err)
	}
}

func TestKeysAreForPeoplesChangesOnly(t *testing.T) {
	n := start(t)
	var document struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name string }
		}
	}
	if err := json.Unmarshal(n.Document(), &document); err != nil {
		t.Fatal(err)
	}
	takes := func(method, path string) bool {
		for _, p := range document.Paths[path][strings.ToLower(method)].Parameters {
			if p.Name == "Idempotency-Key" {
				return true
			}
		}
		return false
	}
	for route, want := range map[string]bool{
		"POST /api/v1/runs": true, "POST /api/v1/runs/{run}/words": true, "PUT /api/v1/manifest": true, "DELETE /api/v1/tokens/{id}": true,
		"GET /api/v1/runs": false, "POST /api/v1/login": false, "PUT /api/v1/members/{member}/status": false, "POST /api/v1/runs/{run}/pack": false,
	} {
		if method, path, _ := strings.Cut(route, " "); takes(method, path) != want {
			t.Errorf("%s takes a key: %v", route, !want)
		}
	}
	// A machine's key is none: it repeats what it says.
	i := map[string]any{"address": "127.0.0.1:1", "ttlSeconds": 10}
	for range 2 {
		if r := n.as("app:core-a").under("k").do("PUT", "/api/v1/instances/core/a/core-a", i); r.head.Get("Idempotency-Replayed") != "" {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
}

// A node that dies between the change and its answer leaves the key: nobody makes the change again.
func TestKeyIsLeftByANodeThatDiedBeforeItsAnswer(t *testing.T) {
	n := start(t)
	if err := n.store.Note(n.store.Under(t.Context(), "bob", "k", "another request's"), "person:bob", "test", "", nil); err != nil {
		t.Fatal(err)
	}
	bob := n.person("bob", wire.Operator)
	if p := bob.under("k").want(422, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Drill}).problem(t); !strings.Contains(p.Detail, "another request") {
		t.Error(p.Detail)
	}
	// What is committed under a key that is there already is refused, whoever looked before.
	if err := n.store.Note(n.store.Under(t.Context(), "bob", "k", "x"), "person:bob", "test", "", nil); err == nil {
		t.Error("a second change was made for a key")
	}
	events, err := n.store.Events(t.Context(), 0, store.EventsLimit, false, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, e := range events {
		if e.What == "test" {
			made++
		}
	}
	if made != 1 {
		t.Errorf("%d changes", made)
	}
}

func TestListsArePagedAndLoseNothingThatComesInBetween(t *testing.T) {
	n := start(t)
	bob := n.person("bob", wire.Operator)
	started := map[string]bool{}
	begin := func(id string) {
		bob.want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Drill, ID: id})
	}
	for i := range 7 {
		id := fmt.Sprintf("r%d", i)
		started[id] = true
		begin(id)
	}
	pages := 0
	for path := "/api/v1/runs?limit=3&read=local"; path != ""; pages++ {
		r := bob.want(200, "GET", path, nil)
		var runs []wire.Run
		r.into(t, &runs)
		if len(runs) == 0 || len(runs) > 3 {
			t.Fatalf("%s has %d runs", path, len(runs))
		}
		for _, head := range runs {
			if !started[head.ID] {
				t.Errorf("%s twice, or it came later", head.ID)
			}
			delete(started, head.ID)
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(r.head.Get("Link"), "<"), ">")
		if path != "" && !strings.Contains(path, "read=local") {
			t.Errorf("the link forgot what was asked for: %s", path)
		}
		begin(fmt.Sprintf("later-%d", pages))
	}
	if len(started) != 0 || pages != 3 {
		t.Errorf("%d pages, missing %v", pages, started)
	}
	for _, after := range []string{"soon", ".", "1", "x.r1"} {
		bob.want(422, "GET", "/api/v1/runs?after="+after, nil)
	}
	bob.want(422, "GET", "/api/v1/runs?limit=0", nil)
	var tokens []wire.Token
	r := n.as("admin").want(200, "GET", "/api/v1/tokens?limit=2", nil)
	r.into(t, &tokens)
	if len(tokens) != 2 || r.head.Get("Link") == "" {
		t.Errorf("%v %v", tokens, r.head)
	}
}

func TestInboxIsPagedFromTheOldest(t *testing.T) {
	n := start(t)
	operator := n.as("operator")
	for i := range 5 {
		open := cards()
		open.ID = fmt.Sprintf("i%d", i)
		operator.want(200, "POST", "/api/v1/incidents", open)
	}
	var got []string
	last := time.Time{}
	for path := "/api/v1/inbox?limit=2"; path != ""; {
		r := operator.want(200, "GET", path, nil)
		var items []wire.InboxItem
		r.into(t, &items)
		for _, item := range items {
			if got = append(got, item.Incident); item.Since.Before(last) {
				t.Errorf("%s is older than what came before", item.Incident)
			}
			last = item.Since
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(r.head.Get("Link"), "<"), ">")
	}
	if fmt.Sprint(got) != "[i0 i1 i2 i3 i4]" {
		t.Error(got)
	}
}

func TestEventsOfOneRevisionStayOnOnePage(t *testing.T) {
	n := start(t)
	bob := n.person("bob", wire.Operator)
	bob.want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Drill, ID: "r1"})
	auditor := n.as("auditor")
	whole := 0
	var all []wire.Event
	auditor.want(200, "GET", "/api/v1/events?limit=1000", nil).into(t, &all)
	for path := "/api/v1/events?limit=1"; path != ""; {
		r := auditor.want(200, "GET", path, nil)
		var page []wire.Event
		r.into(t, &page)
		whole += len(page)
		path, _, _ = strings.Cut(strings.TrimPrefix(r.head.Get("Link"), "<"), ">")
	}
	if whole != len(all) || whole == 0 {
		t.Errorf("%d events in pages, %d at once", whole, len(all))
	}
}
