package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"perdure/internal/api"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/etcdnode"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/heldorder"
	"perdure/internal/person"
	"perdure/internal/pki"
	"perdure/internal/plan"
	"perdure/internal/preflight"
	"perdure/internal/store"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

var update = flag.Bool("update", false, "write docs/openapi.json anew")

// node is one node's API on a real store, with everybody's credentials.
type node struct {
	*api.Server
	t        *testing.T
	store    *store.Store
	member   *etcdnode.Node
	url      string
	ca       *pki.Authority
	files    pki.Files
	tokens   map[wire.Role]string
	mayAct   error
	filled   int64 // percent of the store's quota; 0: as it is
	met      *estate.Incarnation
	manifest manifests
	controls *controls
}

func (n *node) View() (wire.Standing, []wire.NodeView) {
	return wire.Standing{Node: "a", Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Superseded: n.met}, nil
}
func (n *node) MayAct() error { return n.mayAct }
func (n *node) Over() error {
	if n.met == nil {
		return nil
	}
	return errs.New(errs.Unavailable, "node a belongs to the past: let it join again")
}
func (n *node) Confirm(person string) error { n.controls.confirmed = person; return nil }

// manifests understands a manifest of one line per group, "group u1", and takes nothing else.
type manifests struct{}

func (manifests) Plan(_, next string, groups []wire.Group, i estate.Incarnation, _ string, _ int64) (wire.ManifestPlan, error) {
	var plan wire.ManifestPlan
	for number, line := range strings.Split(strings.TrimSpace(next), "\n") {
		name, ok := strings.CutPrefix(line, "group ")
		if !ok {
			return plan, errs.New(errs.Invalid, "manifest:%d: %q is not understood; write \"group NAME\"", number+1, line)
		}
		if slices.ContainsFunc(groups, func(g wire.Group) bool { return string(g.Record.Group) == name }) {
			continue
		}
		plan.Diff = append(plan.Diff, "+ group "+name)
		plan.Create = append(plan.Create, unit.Bootstrap(estate.GroupID(name), "core", []estate.UnitID{estate.UnitID(name)}, unit.Policy{}, []unit.Member{{ID: estate.MemberID(name + "-a")}, {ID: estate.MemberID(name + "-b")}}, estate.MemberID(name+"-a"), i))
	}
	return plan, nil
}

// controls stands for the controller: it notes who asked, and posts the switches that it is asked for.
type controls struct {
	confirmed, asked string
	store            *store.Store
	looks            map[string]func(ctx context.Context) (map[string]any, error) // by target
}

func (c *controls) Look(ctx context.Context, call plan.Call) (map[string]any, error) {
	return c.looks[call.Target](ctx)
}

func (c *controls) Forecast(_ context.Context, person string, u estate.UnitID, r wire.SwitchRequest) (wire.SwitchAnswer, error) {
	c.asked = fmt.Sprintf("forecast %s to %s in %s by %s", u, r.To, r.Mode, person)
	return wire.SwitchAnswer{Unit: u, DryRun: true}, nil
}

func (c *controls) Start(ctx context.Context, person string, u estate.UnitID, r wire.SwitchRequest, start wire.RunStart) (wire.SwitchAnswer, error) {
	c.asked = fmt.Sprintf("switch %s to %s in %s by %s", u, r.To, r.Mode, person)
	t := unit.Transition{Kind: unit.Begin, Person: person, Mode: r.Mode, SwitchID: r.ID, Reason: r.Reason, Member: estate.Life{Member: estate.MemberID(string(u) + "-" + string(r.To))}}
	if r.Mode == unit.Emergency {
		t.Kind, t.Loss = unit.Propose, &unit.Loss{Transactions: -1, Accounts: -1, Statement: "as told", Source: "a test"}
	}
	g, err := c.store.PostRun(ctx, start, "person:"+person, estate.GroupID(u), t)
	return wire.SwitchAnswer{Unit: u, Run: start.Head.ID, Switch: g.Record.Switch}, err
}

func (c *controls) Abort(_ context.Context, person string, u estate.UnitID, _ wire.AbortRequest) (wire.SwitchAnswer, error) {
	c.asked = fmt.Sprintf("abort %s by %s", u, person)
	return wire.SwitchAnswer{Unit: u}, nil
}

func (c *controls) Accept(_ context.Context, person string, u estate.UnitID, _ wire.AcceptRequest) (wire.SwitchAnswer, error) {
	c.asked = fmt.Sprintf("accept %s by %s", u, person)
	return wire.SwitchAnswer{Unit: u}, nil
}

func (c *controls) Verify(_ context.Context, person string, u estate.UnitID, _ time.Time) (wire.VerifyAnswer, error) {
	c.asked = fmt.Sprintf("verify %s by %s", u, person)
	return wire.VerifyAnswer{Receipts: 7, Source: "gateway c", Lost: 2}, nil
}

func (c *controls) Release(_ context.Context, person string, u estate.UnitID, _ wire.ReleaseRequest) (wire.SwitchAnswer, error) {
	c.asked = fmt.Sprintf("release %s by %s", u, person)
	return wire.SwitchAnswer{Unit: u}, nil
}

func (c *controls) MayGrant(_ context.Context, _ estate.GroupID, _ int64, t unit.Transition) error {
	if t.Kind == unit.Decide {
		return errs.Refuse("I10", "a database has met a higher incarnation")
	}
	return nil
}

func (c *controls) Silence(g estate.GroupID) (wire.Silence, error) {
	return wire.Silence{Node: "a", Group: g}, nil
}

func start(t *testing.T, tune ...func(*api.Options)) *node {
	t.Helper()
	return startWith(t, nil, tune...)
}

// startWith is start, with a provider of single sign-on.
func startWith(t *testing.T, provider api.SignOn, tune ...func(*api.Options)) *node {
	t.Helper()
	n := &node{t: t, tokens: map[wire.Role]string{}, controls: &controls{}}
	n.member = etcdtest.Start(t, etcdtest.Options(t, 1)...)[0]
	n.store = store.New(n.member.Client(), store.Options{Node: "a", Timeout: 30 * time.Second, MayAct: n.MayAct, Logger: etcdtest.Logger(t), Cost: person.Cost{Memory: 64, Time: 1, Lanes: 1}})
	n.controls.store = n.store
	if _, err := n.store.EnsureIncarnation(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, role := range wire.Roles() {
		participant := ""
		if role == wire.Participant {
			participant = "branch-north"
		}
		token, err := n.store.CreateToken(t.Context(), "test", wire.AskToken{Name: "the-" + string(role), Role: role, Participant: participant})
		if err != nil {
			t.Fatal(err)
		}
		n.tokens[role] = token.Secret
	}
	var err error
	if n.ca, err = pki.NewAuthority("test", time.Now(), time.Hour); err != nil {
		t.Fatal(err)
	}
	n.files = n.issue(n.ca, "node:a")
	server, err := n.files.ServerTLS(false)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	o := api.Options{Node: "a", Version: "test", Listen: "127.0.0.1:0", TLS: server, Heartbeat: 50 * time.Millisecond}
	for _, f := range tune {
		f(&o)
	}
	n.Server, err = api.New(api.Deps{
		Store: n.store, Member: filled{n.member, n}, Standing: n, Manifests: n.manifest, Plans: planner{t: t}, Switcher: n.controls, Silences: n.controls, Foresight: preflight.New(n.store, n.controls), Orders: owners{n, heldorder.Present}, SignOn: provider,
		Gather: registry, Register: registry, Logger: etcdtest.Logger(t),
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	n.url = "https://" + n.Addr()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), etcdtest.Patience)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return n
}

// filled is a member whose store is as full as the test says.
type filled struct {
	*etcdnode.Node
	n *node
}

func (f filled) Status(ctx context.Context) wire.StoreStatus {
	s := f.Node.Status(ctx)
	if f.n.filled != 0 {
		s.Bytes, s.Quota = f.n.filled, 100
	}
	return s
}

func (n *node) issue(ca *pki.Authority, cn string) pki.Files {
	n.t.Helper()
	pair, err := ca.Issue(pki.Request{CommonName: cn, DNS: []string{"localhost"}, Server: true, Client: true, Validity: time.Hour}, time.Now())
	if err != nil {
		n.t.Fatal(err)
	}
	f := pki.FilesIn(n.t.TempDir(), "x")
	if err := f.Write(pair, n.ca.Pair().Cert); err != nil {
		n.t.Fatal(err)
	}
	return f
}

// as is a client with a role's token, a machine's certificate ("agent:u1-a"), or nothing ("").
func (n *node) as(who string) *caller {
	n.t.Helper()
	files := pki.Files{CA: n.files.CA}
	c := &caller{n: n}
	switch {
	case strings.Contains(who, ":"):
		files = n.issue(n.ca, who)
	case who != "":
		c.token = n.tokens[wire.Role(who)]
		if c.token == "" {
			c.token = who
		}
	}
	config, err := files.ClientTLS()
	if err != nil {
		n.t.Fatal(err)
	}
	config.ServerName = "localhost"
	c.http = &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	n.t.Cleanup(c.http.CloseIdleConnections)
	return c
}

type caller struct {
	n       *node
	http    *http.Client
	token   string
	headers map[string]string
}

type reply struct {
	status int
	head   http.Header
	body   []byte
}

func (r reply) problem(t *testing.T) wire.Problem {
	t.Helper()
	var p wire.Problem
	if err := json.Unmarshal(r.body, &p); err != nil || r.head.Get("Content-Type") != "application/problem+json" || p.Status != r.status {
		t.Fatalf("%d %s is no problem document: %s, %v", r.status, r.head.Get("Content-Type"), r.body, err)
	}
	return p
}

func (c *caller) do(method, path string, body any) reply {
	c.n.t.Helper()
	ctx, cancel := context.WithTimeout(c.n.t.Context(), etcdtest.Patience)
	defer cancel()
	r, err := c.try(ctx, method, path, body)
	if err != nil {
		c.n.t.Fatal(err)
	}
	return r
}

// octets are a body that is neither text nor JSON.
type octets string

// csv is a file of orders.
type csv string

func (c *caller) try(ctx context.Context, method, path string, body any) (reply, error) {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	case octets:
		reader = strings.NewReader(string(b))
	case csv:
		reader = strings.NewReader(string(b))
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return reply{}, err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.n.url+path, reader)
	if err != nil {
		return reply{}, err
	}
	switch body.(type) {
	case nil:
	case string:
		req.Header.Set("Content-Type", "application/yaml")
	case octets:
		req.Header.Set("Content-Type", "application/octet-stream")
	case csv:
		req.Header.Set("Content-Type", "text/csv")
	default:
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for name, value := range c.headers {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); kind == "application/x-ndjson" || kind == "text/event-stream" {
		return reply{status: resp.StatusCode, head: resp.Header}, nil // it would never end
	}
	data, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, head: resp.Header, body: data}, err
}

func (c *caller) want(status int, method, path string, body any) reply {
	c.n.t.Helper()
	r := c.do(method, path, body)
	if r.status != status {
		c.n.t.Fatalf("%s %s: want %d, got %d %s", method, path, status, r.status, r.body)
	}
	return r
}

var parameter = regexp.MustCompile(`\{[^}]+\}`)

func TestNothingButHealthIsOpenAndEveryRoleIsRefusedWhereItShouldBe(t *testing.T) {
	n := start(t)
	includes := map[string][]api.Access{
		"participant": {api.Participant},
		"viewer":      {api.Viewer}, "driller": {api.Viewer, api.Driller}, "operator": {api.Viewer, api.Driller, api.Operator},
		"commander": {api.Viewer, api.Driller, api.Operator, api.Commander},
		"auditor":   {api.Viewer, api.Auditor}, "admin": {api.Viewer, api.Driller, api.Operator, api.Commander, api.Auditor, api.Admin},
		"agent:x1": {api.Agent}, "gateway:x1": {api.Gateway}, "node:x1": {api.Node}, "app:x1": {api.App},
		"wrong-token": nil, "perdure_bootstrap_AAAA": nil, "": nil, "king:a": nil, "agent:": nil,
	}
	callers := map[string]*caller{}
	for who := range includes {
		callers[who] = n.as(who)
	}
	routes := n.Routes()
	if len(routes) < 35 {
		t.Fatalf("the table has only %d routes", len(routes))
	}
	open := 0
	var logins []string
	for _, r := range routes {
		if slices.Contains(r.Access, api.Health) {
			open++
			continue
		}
		if slices.Contains(r.Access, api.Anyone) {
			logins = append(logins, r.Path)
			continue
		}
		path := parameter.ReplaceAllString(r.Path, "x1")
		for who, has := range includes {
			may := slices.ContainsFunc(has, func(a api.Access) bool { return slices.Contains(r.Access, a) })
			// Without a body nothing that changes anything gets past validation; reads may answer.
			got := callers[who].do(r.Method, path, nil).status
			known := has != nil
			switch {
			case may && (got == http.StatusUnauthorized || got == http.StatusForbidden):
				t.Errorf("%s %s: %s is refused with %d", r.Method, r.Path, who, got)
			case !may && known && got != http.StatusForbidden:
				t.Errorf("%s %s: %s gets %d, want 403", r.Method, r.Path, who, got)
			case !known && got != http.StatusUnauthorized:
				t.Errorf("%s %s: %q gets %d, want 401", r.Method, r.Path, who, got)
			}
		}
	}
	if open != 2 {
		t.Errorf("%d routes are open, want only healthz and readyz", open)
	}
	if want := []string{"/api/v1/login", "/api/v1/oidc", "/api/v1/oidc/login", "/api/v1/oidc/device", "/api/v1/oidc/device/login"}; !slices.Equal(logins, want) {
		t.Errorf("without a token are answered %q, want only the logins", logins)
	}
	anybody := callers[""]
	anybody.want(200, "GET", "/healthz", nil)
	anybody.want(200, "GET", "/readyz", nil)
	anybody.want(404, "GET", "/", nil)
	anybody.want(404, "GET", "/debug/pprof/", nil)
	anybody.want(404, "POST", "/healthz", nil)
}

func TestEveryRouteOfTheServerIsInTheTable(t *testing.T) {
	n := start(t)
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(n.as("viewer").want(200, "GET", "/api/v1/openapi.json", nil).body, &document); err != nil {
		t.Fatal(err)
	}
	if document.OpenAPI != "3.1.0" {
		t.Errorf("version %s", document.OpenAPI)
	}
	documented := 0
	for _, methods := range document.Paths {
		documented += len(methods)
	}
	if documented != len(n.Routes()) {
		t.Errorf("%d operations are documented, the table has %d", documented, len(n.Routes()))
	}
}

func TestCommittedOpenAPIDocumentIsCurrent(t *testing.T) {
	n := start(t)
	file := filepath.Join("..", "..", "docs", "openapi.json")
	if *update {
		if err := os.WriteFile(file, n.Document(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), string(n.Document())); diff != "" {
		t.Fatalf("docs/openapi.json is old: go test ./internal/api -run Current -update\n%s", diff[:min(len(diff), 2000)])
	}
}

func TestCertificateOfAnotherAuthorityDoesNotGetIn(t *testing.T) {
	n := start(t)
	other, err := pki.NewAuthority("other", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	config, err := n.issue(other, "node:a").ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	config.ServerName = "localhost"
	c := &caller{n: n, http: &http.Client{Transport: &http.Transport{TLSClientConfig: config}}}
	defer c.http.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), etcdtest.Patience)
	defer cancel()
	if r, err := c.try(ctx, "GET", "/api/v1/groups", nil); err == nil {
		t.Fatalf("got in: %d", r.status)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	n := start(t)
	config, err := pki.Files{CA: n.files.CA}.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	config.ServerName, config.MinVersion, config.MaxVersion = "localhost", tls.VersionTLS10, tls.VersionTLS11
	if c, err := tls.Dial("tcp", n.Addr(), config); err == nil {
		c.Close()
		t.Fatal("TLS 1.1 was accepted")
	}
}

func life(member string, number uint64) estate.Life {
	return estate.Life{Member: estate.MemberID(member), N: number}
}

func ask(t unit.Transition) wire.TransitionRequest { return wire.TransitionRequest{Transition: t} }

func TestAgentMayChangeTheRecordOnlyAsItselfAndOnlyWhatAgentsMay(t *testing.T) {
	n := start(t)
	n.as("operator").want(200, "PUT", "/api/v1/manifest", "group u1")
	agent := n.as("agent:u1-b")
	const path = "/api/v1/groups/u1/transitions"
	agent.want(403, "POST", path, ask(unit.Transition{Kind: unit.Enrol, By: life("u1-a", 3)}))
	for _, kind := range []unit.Kind{unit.Begin, unit.Propose, unit.Accept, unit.Recover, unit.Amend, unit.Settle} {
		agent.want(403, "POST", path, ask(unit.Transition{Kind: kind, By: life("u1-b", 3)}))
	}
	agent.want(403, "POST", path, ask(unit.Transition{Kind: unit.Decide, By: life("u1-b", 3), Silent: true}))
	agent.want(422, "POST", path, ask(unit.Transition{Kind: "conquer", By: life("u1-b", 3)}))
	r := agent.want(200, "POST", path, ask(unit.Transition{Kind: unit.Enrol, By: life("u1-b", 3), Person: "ann", Now: 1}))
	var g wire.Group
	if err := json.Unmarshal(r.body, &g); err != nil {
		t.Fatal(err)
	}
	if m, _ := g.Record.Member("u1-b"); m.Life != 3 {
		t.Fatalf("%+v", g)
	}
	events, err := n.store.Events(t.Context(), 0, 1, true, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	if e := events[0]; e.Who != "agent:u1-b" || strings.Contains(string(e.Detail), "ann") {
		t.Fatalf("an agent spoke in a person's name: %+v", e)
	}
	if p := agent.want(409, "POST", path, wire.TransitionRequest{Transition: unit.Transition{Kind: unit.Enrol, By: life("u1-b", 4)}, Revision: 1}).problem(t); p.Kind != "conflict" {
		t.Fatalf("%+v", p)
	}
	stale := unit.Transition{Kind: unit.Reopen, By: life("u1-b", 4), Ownership: g.Record.Ownership.Next()}
	if p := agent.want(409, "POST", path, ask(stale)).problem(t); p.Kind != "refused" || p.Invariant != "I1" {
		t.Fatalf("%+v", p)
	}
	if p := agent.want(404, "POST", "/api/v1/groups/none/transitions", ask(unit.Transition{Kind: unit.Enrol, By: life("u1-b", 4)})).problem(t); p.Kind != "not-found" {
		t.Fatalf("%+v", p)
	}
}

func TestNodeMayOnlyDecideAndAbort(t *testing.T) {
	n := start(t)
	n.as("operator").want(200, "PUT", "/api/v1/manifest", "group u1")
	node := n.as("node:b")
	node.want(403, "POST", "/api/v1/groups/u1/transitions", ask(unit.Transition{Kind: unit.Enrol, By: life("u1-a", 3)}))
	node.want(409, "POST", "/api/v1/groups/u1/transitions", ask(unit.Transition{Kind: unit.Abort}))
}

func TestPersonIsNamedByTheTokenAndNeverByTheBody(t *testing.T) {
	n := start(t)
	n.as("operator").want(200, "PUT", "/api/v1/manifest", "group u1")
	const path = "/api/v1/groups/u1/transitions"
	commander := n.as("commander")
	proposed := unit.Transition{Kind: unit.Propose, Member: life("u1-b", 0), SwitchID: "s1", Person: "ann", Loss: &unit.Loss{Statement: "s", Source: "s"}}
	if _, err := n.store.Transition(t.Context(), "person:ann", "u1", 0, proposed); err != nil {
		t.Fatal(err)
	}
	r := commander.want(200, "POST", path, ask(unit.Transition{Kind: unit.Abort, SwitchID: "s1", Person: "somebody"}))
	if !strings.Contains(string(r.body), "aborted by the-commander") || strings.Contains(string(r.body), "somebody") {
		t.Fatalf("%s", r.body)
	}
	n.as("operator").want(403, "POST", path, ask(unit.Transition{Kind: unit.Settle}))
	commander.want(403, "POST", path, ask(unit.Transition{Kind: unit.Enrol, By: life("u1-a", 9)}))
	n.as("admin").want(403, "POST", path, ask(unit.Transition{Kind: unit.Recover, Incarnation: estate.Incarnation{Counter: 9, ID: "z"}}))
}

func TestPersonCannotStateALossOrGrantOwnershipPastTheController(t *testing.T) {
	n := start(t)
	n.as("operator").want(200, "PUT", "/api/v1/manifest", "group u1")
	const path = "/api/v1/groups/u1/transitions"
	forged := &unit.Loss{Transactions: 0, Statement: "nothing is lost", Source: "the person who wants it"}
	for _, role := range []string{"operator", "commander", "admin"} {
		for _, kind := range []unit.Kind{unit.Propose, unit.Accept, unit.Decide} {
			n.as(role).want(403, "POST", path, ask(unit.Transition{Kind: kind, Member: life("u1-b", 0), SwitchID: "s1", Loss: forged}))
		}
	}
	if g, err := n.store.Group(t.Context(), "u1", wire.Fresh); err != nil || g.Record.Switch != nil {
		t.Fatalf("%+v, %v", g.Record.Switch, err)
	}
}

func TestAgentIsGrantedNothingThatTheControllerRefuses(t *testing.T) {
	n := start(t)
	n.as("operator").want(200, "PUT", "/api/v1/manifest", "group u1")
	const path = "/api/v1/groups/u1/transitions"
	decide := ask(unit.Transition{Kind: unit.Decide, By: life("u1-b", 1), Member: life("u1-b", 1)})
	if p := n.as("agent:u1-b").want(409, "POST", path, decide).problem(t); p.Invariant != "I10" {
		t.Fatalf("%+v", p)
	}
}

func TestSwitchesAreCarriedOutInThePersonsName(t *testing.T) {
	n := start(t)
	n.apply(allDay)
	n.open("u1")
	operator, commander := n.as("operator"), n.as("commander")
	operator.want(200, "POST", "/api/v1/units/u1/switch", wire.SwitchRequest{To: "b", Mode: unit.Takeover})
	if n.controls.asked != "switch u1 to b in takeover by the-operator" {
		t.Fatal(n.controls.asked)
	}
	operator.want(403, "POST", "/api/v1/units/u1/switch", wire.SwitchRequest{To: "b", Mode: unit.Emergency})
	operator.want(422, "POST", "/api/v1/units/u1/switch", wire.SwitchRequest{To: "b", Mode: "drill"})
	operator.want(200, "POST", "/api/v1/units/u1/abort", wire.AbortRequest{Reason: "r"})
	operator.want(403, "POST", "/api/v1/units/u1/accept", wire.AcceptRequest{Switch: "s1"})
	commander.want(200, "POST", "/api/v1/units/u1/accept", wire.AcceptRequest{Switch: "s1"})
	if n.controls.asked != "accept u1 by the-commander" {
		t.Fatal(n.controls.asked)
	}
	operator.want(403, "POST", "/api/v1/units/u1/verify", nil)
	commander.want(200, "POST", "/api/v1/units/u1/verify", nil)
	if events, err := n.store.Events(t.Context(), 0, 1, true, wire.Fresh); err != nil || events[0].What != "quarantine.verify" || events[0].Who != "person:the-commander" || !strings.Contains(string(events[0].Detail), `"lost":2`) {
		t.Fatalf("%+v, %v", events, err)
	}
	commander.want(200, "POST", "/api/v1/estate/confirm-cold", map[string]string{"reason": "I am at c"})
	if n.controls.confirmed != "the-commander" {
		t.Fatal(n.controls.confirmed)
	}
	if events, err := n.store.Events(t.Context(), 0, 1, true, wire.Fresh); err != nil || events[0].What != "estate.confirm-cold" || events[0].Who != "person:the-commander" {
		t.Fatalf("%+v, %v", events, err)
	}
}

func TestManifestDryRunShowsAndApplyDoes(t *testing.T) {
	n := start(t)
	operator := n.as("operator")
	var change wire.ManifestChange
	read := func(r reply) wire.ManifestChange {
		t.Helper()
		change = wire.ManifestChange{}
		if err := json.Unmarshal(r.body, &change); err != nil {
			t.Fatal(err)
		}
		return change
	}
	if c := read(operator.want(200, "PUT", "/api/v1/manifest?dryRun=true", "group u1\ngroup u2")); c.Applied || len(c.Diff) != 2 {
		t.Fatalf("%+v", c)
	}
	operator.want(404, "GET", "/api/v1/groups/u1", nil)
	first := read(operator.want(200, "PUT", "/api/v1/manifest", "group u1"))
	if !first.Applied || first.Revision == 0 {
		t.Fatalf("%+v", first)
	}
	if c := read(operator.want(200, "PUT", "/api/v1/manifest", "group u1")); c.Applied || c.Revision != first.Revision {
		t.Fatalf("the same manifest was applied again: %+v", c)
	}
	p := operator.want(422, "PUT", "/api/v1/manifest", "group u1\ngruop u2").problem(t)
	if !strings.Contains(p.Detail, "manifest:2") || p.Kind != "invalid" {
		t.Fatalf("%+v", p)
	}
	operator.want(409, "PUT", fmt.Sprintf("/api/v1/manifest?revision=%d", first.Revision-1), "group u2")
	operator.want(200, "PUT", fmt.Sprintf("/api/v1/manifest?revision=%d", first.Revision), "group u1\ngroup u2")
	var m wire.Manifest
	if err := json.Unmarshal(n.as("viewer").want(200, "GET", "/api/v1/manifest", nil).body, &m); err != nil || m.Text != "group u1\ngroup u2" || m.By != "person:the-operator" {
		t.Fatalf("%+v, %v", m, err)
	}
}

func TestMachinesSpeakOnlyForThemselves(t *testing.T) {
	n := start(t)
	n.as("operator").want(200, "PUT", "/api/v1/manifest", "group u1")
	instance := wire.Instance{URL: "http://127.0.0.1:7600"}
	app := n.as("app:core-a")
	app.want(200, "PUT", "/api/v1/instances/core/a/core-a-2", instance)
	app.want(403, "PUT", "/api/v1/instances/core/a/core-b", instance)
	app.want(403, "DELETE", "/api/v1/instances/core/a/core-b", nil)
	app.want(204, "DELETE", "/api/v1/instances/core/a/core-a-2", nil)
	gateway := n.as("gateway:a")
	gateway.want(204, "PUT", "/api/v1/gateways/a/ack", wire.Ack{Version: 3})
	gateway.want(403, "PUT", "/api/v1/gateways/b/ack", wire.Ack{Version: 3})
	agent := n.as("agent:u1-a")
	agent.want(204, "PUT", "/api/v1/members/u1-a/status", map[string]int{"lag": 3})
	agent.want(403, "PUT", "/api/v1/members/u1-b/status", map[string]int{"lag": 3})
	agent.want(204, "POST", "/api/v1/divergences/u1", wire.Divergence{ID: "d1", Reporter: "node:z", Report: json.RawMessage(`[1]`)})
	n.as("agent:u9-a").want(403, "POST", "/api/v1/divergences/u1", wire.Divergence{ID: "d2", Report: json.RawMessage(`[1]`)})
	if r := n.as("viewer").want(200, "GET", "/api/v1/divergences/u1", nil); !strings.Contains(string(r.body), `"reporter":"agent:u1-a"`) {
		t.Fatalf("%s", r.body)
	}
	var e wire.Estate
	if err := json.Unmarshal(n.as("viewer").want(200, "GET", "/api/v1/estate", nil).body, &e); err != nil {
		t.Fatal(err)
	}
	if len(e.Groups) != 1 || len(e.Gateways) != 1 || len(e.Members) != 1 || e.Manifest.SHA256 == "" || e.Manifest.Text != "" || !e.Store.Quorum || e.Incarnation.Counter != 1 {
		t.Fatalf("%+v", e)
	}
}

func TestTokensAreManagedByAdminsAndEndAtOnce(t *testing.T) {
	n := start(t)
	admin := n.as("admin")
	var token wire.NewToken
	if err := json.Unmarshal(admin.want(200, "POST", "/api/v1/tokens", map[string]string{"name": "eve", "role": "viewer"}).body, &token); err != nil {
		t.Fatal(err)
	}
	eve := n.as(token.Secret)
	eve.want(200, "GET", "/api/v1/groups", nil)
	if r := admin.want(200, "GET", "/api/v1/tokens", nil); strings.Contains(string(r.body), token.Secret) || strings.Contains(string(r.body), "hash") {
		t.Fatalf("tokens show secrets: %s", r.body)
	}
	admin.want(204, "DELETE", "/api/v1/tokens/"+token.ID, nil)
	if r := eve.want(401, "GET", "/api/v1/groups", nil); r.head.Get("WWW-Authenticate") == "" {
		t.Fatal("no challenge")
	}
	admin.want(422, "POST", "/api/v1/tokens", map[string]string{"name": "eve", "role": "king"})
	if r := n.as("auditor").want(200, "GET", "/api/v1/events?newest=true&limit=1", nil); !strings.Contains(string(r.body), "token.revoke") {
		t.Fatalf("%s", r.body)
	}
}

func TestBadRequestsAreProblemsThatNameTheField(t *testing.T) {
	n := start(t)
	agent := n.as("agent:u1-a")
	agent.want(400, "PUT", "/api/v1/members/u1-a/status", nil)
	if r := n.as("operator").want(422, "POST", "/api/v1/units/u1/switch", map[string]any{"to": "b", "mode": "takeover", "fast": true}); !strings.Contains(string(r.body), "fast") {
		t.Fatalf("%s", r.body)
	}
	n.as("viewer").want(422, "GET", "/api/v1/groups?raed=local", nil)
	n.as("viewer").want(422, "GET", "/api/v1/groups?read=stale", nil)
	if r := n.as("operator").do("PUT", "/api/v1/manifest", strings.Repeat("x", 9<<20)); r.status != 413 {
		t.Fatalf("%d %s", r.status, r.body[:min(len(r.body), 200)])
	}
}

func TestNodeThatMayNotActSaysSoAndIsNotReady(t *testing.T) {
	n := start(t)
	n.as("operator").want(200, "PUT", "/api/v1/manifest", "group u1")
	cold := errs.New(errs.Unavailable, "cold")
	cold.Invariant = "I10"
	n.mayAct = cold
	n.as("").want(503, "GET", "/readyz", nil)
	n.as("").want(200, "GET", "/healthz", nil)
	p := n.as("agent:u1-b").want(503, "POST", "/api/v1/groups/u1/transitions", ask(unit.Transition{Kind: unit.Enrol, By: life("u1-b", 3)})).problem(t)
	if p.Invariant != "I10" || p.Kind != "unavailable" {
		t.Fatalf("%+v", p)
	}
	n.as("viewer").want(200, "GET", "/api/v1/groups", nil)
}

func TestSnapshotIsForAdminsAndIsWhole(t *testing.T) {
	n := start(t)
	r := n.as("admin").want(200, "GET", "/api/v1/snapshot", nil)
	if len(r.body)%512 != 32 { // pages and a SHA-256
		t.Fatalf("%d bytes", len(r.body))
	}
}

func TestMetricsCountRequestsByRoute(t *testing.T) {
	n := start(t)
	n.as("viewer").want(200, "GET", "/api/v1/groups", nil)
	if r := n.as("viewer").want(200, "GET", "/metrics", nil); !strings.Contains(string(r.body), `route="GET /api/v1/groups"`) {
		t.Fatalf("%s", r.body)
	}
}

func TestWatchAtASupersededNodeSaysSoAndEnds(t *testing.T) {
	n := start(t)
	n.met = &estate.Incarnation{Counter: 2, ID: "y"}
	viewer := n.as("viewer")
	req, err := http.NewRequestWithContext(t.Context(), "GET", n.url+"/api/v1/watch?prefix=groups/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+viewer.token)
	resp, err := viewer.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body) // it ends by itself
	var line wire.Line
	if err != nil || json.Unmarshal(text, &line) != nil || line.Superseded == nil || line.Superseded.Counter != 2 {
		t.Fatalf("%s, %v", text, err)
	}
}

func TestNodeWhosePartIsOverAnswersOnlyHowItStands(t *testing.T) {
	n := start(t)
	n.met = &estate.Incarnation{Counter: 2, ID: "y"}
	admin := n.as("admin")
	admin.want(200, "GET", "/healthz", nil)
	admin.want(200, "GET", "/api/v1/estate/standing", nil)
	admin.want(200, "GET", "/metrics", nil)
	for _, path := range []string{"/api/v1/estate", "/api/v1/groups", "/api/v1/manifest", "/api/v1/tokens", "/api/v1/snapshot", "/api/v1/events"} {
		if r := admin.want(503, "GET", path, nil); !strings.Contains(string(r.body), "let it join again") {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	n.mayAct = n.Over()
	if r := admin.want(503, "GET", "/readyz", nil); !strings.Contains(string(r.body), "let it join again") {
		t.Errorf("/readyz: %s", r.body)
	}
	// It cannot judge credentials any more, and says why it refuses instead of who may.
	if r := n.as("").want(503, "GET", "/api/v1/groups", nil); !strings.Contains(string(r.body), "let it join again") {
		t.Errorf("without credentials: %s", r.body)
	}
}

func TestWatchesAreBoundedAndEndWithTheServer(t *testing.T) {
	n := start(t, func(o *api.Options) { o.Watches = 1 })
	viewer := n.as("viewer")
	req, err := http.NewRequestWithContext(t.Context(), "GET", n.url+"/api/v1/watch?prefix=groups/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+viewer.token)
	resp, err := viewer.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	var line wire.Line
	if err := lines.Decode(&line); err != nil || !line.Reset || line.More || line.Incarnation.Counter != 1 {
		t.Fatalf("%+v, %v", line, err)
	}
	for !line.Heartbeat {
		line = wire.Line{}
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
	}
	if !line.Quorum || line.Node != "a" || line.Revision == 0 {
		t.Fatalf("%+v", line)
	}
	viewer.want(503, "GET", "/api/v1/watch", nil)
	ctx, cancel := context.WithTimeout(context.Background(), etcdtest.Patience)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = lines.Decode(&line)
	}
}

func TestWatchRefusesSecretsAndNonsense(t *testing.T) {
	n := start(t)
	n.as("viewer").want(403, "GET", "/api/v1/watch?prefix=tokens/", nil)
	n.as("viewer").want(422, "GET", "/api/v1/watch?after=3&incarnation=soon", nil)
	n.as("app:core-a").want(403, "GET", "/api/v1/watch", nil)
}
