package cli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/document"
	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/heldorder"
	"perdure/internal/incident"
	"perdure/internal/manifest"
	"perdure/internal/measure"
	"perdure/internal/rectification"
	runs "perdure/internal/run"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

const (
	now   = 1_800_000_000_000 // 2027-01-15 08:00:00 UTC
	token = "pd_ann_secret"
)

// fakeNode answers the API from memory, with the same JSON as a real node. A switch walks one phase with each look at the groups.
type fakeNode struct {
	mu        sync.Mutex
	estate    wire.Estate
	manifest  wire.Manifest
	plan      wire.SwitchAnswer
	walk      []unit.Phase // what is left of a running switch
	walkTo    []unit.Phase // where a switch goes, instead of to its end
	refusal   *wire.Problem
	diff      []string
	applied   []string      // texts
	looked    chan struct{} // a look at the estate, where somebody waits for it
	asked     []string      // method and path, with switch requests as JSON
	url       string
	dies      int  // how often the node dies when it has begun a switch
	over      bool // a switch that is asked for was asked for before, and is over
	session   bool // the session of ann counts too
	reviewDue bool
	journal   []runs.Entry // of a run; each look sees one entry more
	notes     []string     // what the calendars say of a start
	held      []calendar.Run
	approvals calendar.Approvals
	waiting   []string // windows that wait for approval once a manifest is applied
	incident  incident.View
	sheet     rectification.View
	orders    *heldorder.Ledger
	history   []*measure.Measures
	unsaid    []document.Finding // what a document needs
}

func (f *fakeNode) note(what string) { f.asked = append(f.asked, what) }

func startFake(t *testing.T) *fakeNode {
	t.Helper()
	f := &fakeNode{estate: exampleEstate(t), looked: make(chan struct{})}
	_, text := exampleManifest(t)
	f.manifest = wire.Manifest{Text: text, By: "ann", At: now - 3_600_000, Revision: 42}
	mux := http.NewServeMux()
	answer := func(pattern string, give func(r *http.Request) any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.note(r.Method + " " + r.URL.Path)
			if shown := r.Header.Get("Authorization"); shown != "Bearer "+token && (!f.session || shown != "Bearer "+sessionSecret) {
				writeProblem(w, wire.Problem{Status: 401, Kind: string(errs.Unauthorised), Detail: "show a bearer token"})
				return
			}
			if f.refusal != nil && r.Method != http.MethodGet {
				writeProblem(w, *f.refusal)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(give(r))
		})
	}
	answer("GET /api/v1/estate", func(*http.Request) any {
		select {
		case f.looked <- struct{}{}:
		default:
		}
		return f.estate
	})
	answer("GET /api/v1/estate/standing", func(*http.Request) any { return f.estate.Standing })
	answer("POST /api/v1/estate/confirm-cold", func(*http.Request) any {
		f.estate.Standing.Cold = false
		return f.estate.Standing
	})
	answer("GET /api/v1/manifest", func(*http.Request) any { return f.manifest })
	answer("PUT /api/v1/manifest", func(r *http.Request) any {
		dry := r.URL.Query().Get("dryRun") == "true"
		if !dry {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			f.applied = append(f.applied, string(body)+"@"+r.URL.Query().Get("revision"))
			f.manifest.Revision++
		}
		return wire.ManifestChange{Diff: f.diff, Applied: !dry, Revision: f.manifest.Revision, Waiting: f.waiting}
	})
	answer("GET /api/v1/calendar", func(*http.Request) any {
		book, err := manifest.Calendars(manifest.File{Name: "applied", Text: []byte(f.manifest.Text)})
		if err != nil {
			t.Error(err)
			return nil
		}
		return book.Look(book.Standing(f.approvals), f.held, time.UnixMilli(now))
	})
	for _, word := range []string{"approve", "revoke"} {
		answer("POST /api/v1/windows/{window}/"+word, func(r *http.Request) any {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			f.note(word + " " + r.PathValue("window") + " " + string(bytes.TrimSpace(body)))
			return calendar.Approved{Approvals: []calendar.Approval{{By: "bob", At: time.UnixMilli(now).UTC()}}}
		})
	}
	f.answerIncidents(answer)
	f.answerRectifications(answer)
	f.orders = &heldorder.Ledger{}
	f.answerOrders(answer)
	answer("GET /api/v1/groups", func(*http.Request) any {
		f.step()
		return f.estate.Groups
	})
	answer("POST /api/v1/units/{unit}/switch", func(r *http.Request) any {
		var in wire.SwitchRequest
		_ = json.NewDecoder(r.Body).Decode(&in)
		in.ID = ""
		said, _ := json.Marshal(in)
		f.note(string(said))
		out := f.plan
		if out.DryRun = in.DryRun; !in.DryRun {
			if f.estate.Groups[0].Record.Switch == nil || f.estate.Groups[0].Record.Switch.Phase == unit.Done {
				f.begin(in)
			}
			if f.dies > 0 { // before it answers
				f.dies--
				panic(http.ErrAbortHandler)
			}
			out.Switch, out.Run = f.estate.Groups[0].Record.Clone().Switch, "sw"
			if f.over {
				out.Switch = nil
			}
		}
		return out
	})
	answer("POST /api/v1/units/{unit}/accept", func(*http.Request) any {
		s := f.estate.Groups[0].Record.Switch
		s.Approvals = append(s.Approvals, unit.Approval{By: "ann", At: now, Reason: "city lost"})
		// As the nodes do: the phase stays until they have decided, and a reader sees the change later.
		return wire.SwitchAnswer{Unit: "u1", Group: "u1", Switch: f.estate.Groups[0].Record.Clone().Switch}
	})
	answer("POST /api/v1/units/{unit}/abort", func(*http.Request) any { return wire.SwitchAnswer{Unit: "u1", Group: "u1"} })
	answer("POST /api/v1/units/{unit}/verify", func(*http.Request) any {
		return wire.VerifyAnswer{
			Unit: "u1", Receipts: 1200, Source: "gateway c", Millis: 1234,
			Judged: driver.Judged{Verified: 1998, Inconsistent: 3, Accounts: []string{"acc-7", "acc-9"}}, Lost: 4,
		}
	})
	answer("POST /api/v1/units/{unit}/release", func(*http.Request) any {
		f.estate.Groups[0].Record.Quarantine = false
		return wire.SwitchAnswer{Unit: "u1", Group: "u1"}
	})
	answer("GET /api/v1/divergences/{group}", func(*http.Request) any {
		report, _ := json.Marshal(driver.Diverged{From: 1 << 24, Until: 1<<24 + 512, Unkeyed: -1, Transactions: []driver.DivergedTransaction{
			{Xid: 7, Unit: "u1", Key: "k1", RoutingKey: "acc-1", Accounts: []string{"acc-1", "acc-2"}, Amount: "12.50", At: time.UnixMilli(now).UTC(), Settled: true},
			{Xid: 8, Unit: "u1", Key: "k2", RoutingKey: "acc-3", Amount: "", At: time.UnixMilli(now).UTC()},
		}})
		return []wire.Divergence{{Group: "u1", ID: "u1-a-1.x.4", Reporter: "u1-a", At: now, Report: report}}
	})
	answer("GET /api/v1/tokens", func(*http.Request) any {
		return []wire.Token{
			{ID: "t1", Name: "ann", Role: wire.Admin, Created: now, CreatedBy: "first"},
			{ID: "t2", Name: "bob", Role: wire.Operator, Created: now, CreatedBy: "ann", Revoked: now + 1000, RevokedBy: "ann"},
			{ID: "t3", Name: "cho", Role: wire.Viewer, Created: 1, CreatedBy: "ann", Expires: 2},
		}
	})
	answer("POST /api/v1/tokens", func(*http.Request) any {
		return wire.NewToken{Token: wire.Token{ID: "t4", Name: "dee", Role: wire.Commander, Created: now}, Secret: "pd_dee_secret"}
	})
	answer("GET /api/v1/events", func(*http.Request) any {
		return []wire.Event{{Revision: 7, At: now, Who: "person:ann", What: "manifest.apply", Subject: "manifest", Detail: json.RawMessage(`{"n":1}`)}}
	})
	mux.HandleFunc("DELETE /api/v1/tokens/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "t1" {
			writeProblem(w, wire.Problem{Status: 404, Kind: string(errs.NotFound), Detail: "there is no token " + r.PathValue("id")})
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /api/v1/snapshot", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("the store")) })
	mux.HandleFunc("GET /api/v1/runs/{run}/attachments/{sum}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("difference: 0")) })
	f.serveRuns(answer)
	f.serveMeasures(answer, mux)
	f.serveDocuments(answer)
	f.servePeople(mux, answer)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func writeProblem(w http.ResponseWriter, p wire.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// begin starts the switch that was asked for.
func (f *fakeNode) begin(in wire.SwitchRequest) {
	r := &f.estate.Groups[0].Record
	s := &unit.Switch{ID: "sw-1", Mode: in.Mode, From: r.Owner, By: "ann", At: map[unit.Phase]int64{}}
	for _, m := range r.Members {
		if m.Site == in.To {
			s.To = estate.Life{Member: m.ID, N: m.Life}
		}
	}
	f.walk = []unit.Phase{unit.Closing, unit.Drained, unit.Promotion, unit.Growing, unit.Done}
	if in.Mode == unit.Emergency {
		f.walk = []unit.Phase{unit.Accepting, unit.Promotion, unit.Growing, unit.Done}
		s.Loss = f.plan.Loss
	}
	if f.walkTo != nil {
		f.walk = f.walkTo
	}
	r.Switch = s
	f.step()
}

// step walks one phase; 40 ms of the record's time each.
func (f *fakeNode) step() {
	r := &f.estate.Groups[0].Record
	if len(f.walk) == 0 || r.Switch == nil || r.Switch.Phase == unit.Accepting && len(r.Switch.Approvals) < 2 {
		return
	}
	r.Switch.Phase = f.walk[0]
	r.Switch.At[f.walk[0]] = now + int64(len(r.Switch.At))*40
	f.walk = f.walk[1:]
	if r.Switch.Phase == unit.Growing {
		r.Owner, r.Ownership = r.Switch.To, r.Ownership.Next()
		r.Past = append(r.Past, unit.Past{Pause: 120})
	}
}

func exampleManifest(t *testing.T) (manifest.Set, string) {
	t.Helper()
	var files []manifest.File
	for _, name := range []string{"sites.yaml", "corebank.yaml", "plans.yaml", "calendar.yaml", "business.yaml", "incidents.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../examples/estate", name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, manifest.File{Name: name, Text: text})
	}
	set, err := manifest.Parse(files...)
	if err != nil {
		t.Fatal(err)
	}
	return set, string(manifest.Export(set))
}

// exampleEstate is the example with u1 healthy at a and u2 unprotected at b.
func exampleEstate(t *testing.T) wire.Estate {
	t.Helper()
	set, _ := exampleManifest(t)
	inc := estate.Incarnation{Counter: 1, ID: "5eed5eed5eed"}
	e := wire.Estate{
		Node: "a", Version: "test", Now: now,
		Incarnation: wire.Incarnation{Incarnation: inc},
		Standing:    wire.Standing{Node: "a", Incarnation: inc},
		Store:       wire.StoreStatus{Embedded: true, Leader: "b", Quorum: true, Revision: 99},
		Nodes:       []wire.NodeView{{Node: "b", HeardMillis: 12}, {Node: "c", HeardMillis: -1}},
		Manifest:    wire.Manifest{By: "ann", At: now - 3_600_000, Revision: 42},
		Gateways:    []wire.Ack{{Gateway: "a", Site: "a", Version: 57, At: now - 100}, {Gateway: "b", Site: "b", Version: 55, At: now - 30_000}},
	}
	for i, r := range set.Records() {
		r.State, r.Ownership = unit.Open, estate.Ownership{Incarnation: inc, Epoch: estate.Epoch(3 + i)}
		r.Owner.N = 2
		for j := range r.Members {
			r.Members[j].Life = 2
		}
		if i == 0 {
			r.InSync = []estate.Life{{Member: "u1-b", N: 2}}
		}
		e.Groups = append(e.Groups, wire.Group{Record: r, Revision: 90})
	}
	status := func(m estate.MemberID, s wire.AgentState) {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		e.Members = append(e.Members, wire.MemberStatus{Member: m, At: now - 500, Status: text})
	}
	status("u1-c", wire.AgentState{Member: "u1-c", Running: true, Streaming: true})
	status("u2-b", wire.AgentState{Member: "u2-b", Running: true, UnprotectedSince: now - 75_000, Exposed: 12_345})
	status("u2-a", wire.AgentState{Member: "u2-a", Doing: "rewind"})
	return e
}
