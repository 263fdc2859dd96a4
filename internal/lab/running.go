package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/hosts"
	"perdure/internal/lab/history"
	"perdure/internal/lab/link"
	"perdure/internal/lab/load"
	"perdure/internal/lab/proc"
	"perdure/internal/lab/site"
	"perdure/internal/lab/story"
	"perdure/internal/manifest"
	"perdure/internal/pki"
	"perdure/internal/wire"
)

// running is an estate that was started.
type running struct {
	name   string
	plan   *plan
	layout *site.Layout
	net    *link.Net
	sup    *proc.Supervisor
	server *syscall.Credential // who runs PostgreSQL
	hist   *history.Writer
	path   string // of the history
	people map[string]*client.Client
	nodes  map[estate.SiteID]*client.Client // the operator at one node alone
	home   atomic.Pointer[estate.SiteID]    // where the control plane was recovered: others may live on that were left behind

	loadMu   sync.Mutex
	gen      *load.Generator
	asked    load.Options
	stopLoad context.CancelFunc
	loadDone chan error

	faultMu sync.Mutex
	struck  time.Time // when the last fault began
	aimed   int       // faults so far
	faults  []*broken
	timers  sync.WaitGroup
	ended   chan struct{}

	run  string      // that was started last
	held *heldOrders // of the story; nil: none yet

	marked map[string]int64 // divergences that are in the history, by group and id, with their time
	copied map[string]bool  // former owners whose directories are in the history, by member and ownership
}

// settings of every server: small, because six of them share the machine, and with all of its memory that has a name in its own directory,
// where one that is killed leaves it.
func settings() map[string]string {
	return map[string]string{
		"shared_buffers": "64MB", "max_wal_size": "256MB", "min_wal_size": "48MB", "checkpoint_timeout": "2min", "jit": "off",
		"dynamic_shared_memory_type": "mmap",
	}
}

// start lays the estate out and starts it, up to an applied manifest and people with tokens; it does not wait for copies.
func (l *Lab) start(ctx context.Context) error {
	p := l.plan
	if p == nil {
		return errs.New(errs.Invalid, "there is no estate to start")
	}
	data, err := dataDir(l.o.Dir)
	if err != nil {
		return err
	}
	layout, err := site.Plan(l.o.Dir, data, p.set)
	if err != nil {
		return err
	}
	if err := layout.ChooseLab(); err != nil {
		return err
	}
	cred, err := serverUser()
	if err != nil {
		return err
	}
	r := &running{
		name: l.name(), plan: p, layout: layout, server: cred, people: map[string]*client.Client{}, nodes: map[estate.SiteID]*client.Client{},
		ended: make(chan struct{}), marked: map[string]int64{}, copied: map[string]bool{},
	}
	if r.sup, err = proc.New(l.o.Dir, l.o.Log); err != nil {
		return err
	}
	l.running = r
	l.shown.Store(r)
	if err := l.bringUp(ctx, r); err != nil {
		r.close()
		l.running = nil
		l.shown.Store(nil)
		return err
	}
	return nil
}

func (l *Lab) bringUp(ctx context.Context, r *running) error {
	initSQL, err := l.initSQL(l.o.Dir)
	if err != nil {
		return err
	}
	bin, err := binDir()
	if err != nil {
		return err
	}
	if err := r.layout.Write(site.Options{PostgresBin: bin, InitSQL: initSQL, Settings: settings(), Now: time.Now(), LogLevel: "info"}); err != nil {
		return err
	}
	r.path = filepath.Join(l.o.Dir, "history-"+r.name+".jsonl")
	if r.hist, err = history.Create(r.path, r.name, l.o.Seed); err != nil {
		return err
	}
	if r.net, err = link.New(link.Options{Lab: r.layout.Lab, Sites: len(r.layout.Sites), Latency: delays(r.layout), Logger: l.o.Log}); err != nil {
		return err
	}
	for _, s := range r.layout.Services {
		if err := r.net.Serve(s.Site, s.Port); err != nil {
			return err
		}
	}
	for _, a := range r.plan.latency {
		if err := r.latency(a); err != nil {
			return err
		}
	}
	for _, d := range r.plan.disks {
		if err := r.smallDisk(d); err != nil {
			return err
		}
	}
	for _, p := range r.layout.Processes {
		if err := l.launch(r, p); err != nil {
			return err
		}
	}
	return r.bootstrap(ctx)
}

// launch starts one process.
func (l *Lab) launch(r *running, p site.Process) error {
	spec := proc.Spec{Name: p.Name, Site: p.Site, Path: l.o.Binary, Dir: p.Dir, Log: p.Log, Args: []string{string(p.Kind), "--config", p.Config}}
	switch p.Kind {
	case site.App:
		spec.Path, spec.Args = l.o.Bank, []string{"--config", p.Config}
	case site.Agent:
		dir, _ := r.layout.DataDir(p.Member())
		if err := r.sup.AddDatabase(proc.Database{Name: string(p.Member()), Site: p.Site, Dir: dir}); err != nil {
			return err
		}
	case site.Node, site.Gateway, site.Postgres:
	}
	return r.sup.Start(spec)
}

// personRoles are the people of a lab with what they may do.
var personRoles = map[string]wire.Role{
	site.Operator: wire.Operator, "ann": wire.Commander, "bob": wire.Commander, dutyManager: wire.Commander, "vera": wire.Viewer, "audrey": wire.Auditor,
}

// dutyManager approves the windows of a lab and starts nothing, so that everybody else may (W2).
const dutyManager = "dan"

// bootWait bounds how long the control plane may take to come up.
const bootWait = 60 * time.Second

// bootstrap waits for the control plane, applies the manifest and gives people their tokens.
func (r *running) bootstrap(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootWait)
	defer cancel()
	if err := until(ctx, "the estate's first token", func() error {
		_, err := os.Stat(r.layout.AdminToken())
		return err
	}); err != nil {
		return errs.New(errs.Unavailable, "the control plane does not come up: %w; see %s", err, filepath.Join(r.layout.Dir, "log"))
	}
	admin, err := r.clientOf("admin", "")
	if err != nil {
		return err
	}
	r.people["admin"] = admin
	text := manifest.Export(r.plan.set)
	if err := until(ctx, "the manifest is applied", func() error {
		_, err := admin.ApplyManifest(ctx, text, 0, false)
		// The token's file is there a moment before the store has the token, so being refused by it means: not yet.
		if k := errs.KindOf(err); k == errs.Invalid || k == errs.Refused {
			return final{err}
		}
		return err
	}); err != nil {
		return err
	}
	for name, role := range personRoles {
		if err := r.person(ctx, name, role, ""); err != nil {
			return err
		}
	}
	for _, p := range r.plan.set.Participants { // of each there is one who is called like it
		if err := r.person(ctx, p.Name, wire.Participant, p.Name); err != nil {
			return err
		}
	}
	for _, p := range r.layout.Of(site.Node) {
		c, err := r.clientOf(site.Operator, p.NodeURL())
		if err != nil {
			return err
		}
		r.nodes[p.Site] = c
	}
	return r.approveWindows(ctx)
}

// approveWindows has the windows of the estate approved as they stand: a story says where it is otherwise.
func (r *running) approveWindows(ctx context.Context) error {
	return until(ctx, "the windows are approved", func() error {
		v, err := r.people[dutyManager].Calendar(ctx, wire.Fresh)
		if err != nil {
			return err
		}
		for _, w := range v.Windows {
			if _, err := r.people[dutyManager].ApproveWindow(ctx, w.Name, wire.ApproveWindow{Digest: w.Digest, Reason: "laid out with the lab"}); err != nil {
				return err
			}
		}
		return nil
	})
}

// person makes a token and keeps it in the person's file.
func (r *running) person(ctx context.Context, name string, role wire.Role, participant string) error {
	if err := until(ctx, "a token for "+name, func() error {
		token, err := r.people["admin"].CreateToken(ctx, wire.AskToken{Name: name, Role: role, Participant: participant})
		if err != nil {
			return err
		}
		if err := os.WriteFile(r.layout.TokenFile(name), []byte(token.Secret+"\n"), 0o600); err != nil {
			return final{errs.New(errs.Unavailable, "cannot keep the token of %s: %w", name, err)}
		}
		return nil
	}); err != nil {
		return err
	}
	c, err := r.clientOf(name, "")
	if err != nil {
		return err
	}
	r.people[name] = c
	return nil
}

// clientOf makes a client for a person: of all nodes, or of one alone.
func (r *running) clientOf(person, node string) (*client.Client, error) {
	token, err := os.ReadFile(r.layout.TokenFile(person))
	if err != nil {
		return nil, errs.New(errs.NotFound, "there is nobody called %q; there are: operator, ann, bob, dan (commanders), vera (viewer), audrey (auditor), admin", person)
	}
	table, err := hosts.Load(filepath.Join(r.layout.Dir, "hosts"))
	if err != nil {
		return nil, err
	}
	config, err := (pki.Files{CA: filepath.Join(r.layout.Dir, "ca.crt")}).ClientTLS()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: time.Second, Resolver: table.Resolver()}
	o := client.Options{TLS: config, Token: strings.TrimSpace(string(token)), Dial: dialer.DialContext, Timeout: 10 * time.Second, Attempt: 3 * time.Second}
	for _, p := range r.layout.Of(site.Node) {
		if node == "" || node == p.NodeURL() {
			o.Endpoints = append(o.Endpoints, p.NodeURL())
		}
	}
	return client.New(o)
}

// as gives the client of a person ("" the operator), at a site's node alone where one is named, or where the control plane was recovered.
func (r *running) as(person string, at estate.SiteID) (*client.Client, error) {
	if person == "" {
		person = site.Operator
	}
	if home := r.home.Load(); at == "" && home != nil {
		at = *home
	}
	if c := r.nodes[at]; c != nil && person == site.Operator {
		return c, nil
	}
	if at != "" {
		for _, p := range r.layout.Of(site.Node) {
			if p.Site == at {
				return r.clientOf(person, p.NodeURL())
			}
		}
		return nil, errs.New(errs.NotFound, "there is no node at site %q", at)
	}
	if c := r.people[person]; c != nil {
		return c, nil
	}
	return r.clientOf(person, "")
}

// final is an error that trying again does not cure.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// until tries again until it succeeds, ctx ends, or the error is final.
func until(ctx context.Context, what string, try func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		var f final
		if err == nil || errors.As(err, &f) {
			return err
		}
		select {
		case <-ctx.Done():
			return errs.New(errs.Unavailable, "%s: %w", what, err)
		case <-tick.C:
		}
	}
}

// close ends everything of the estate and takes its configuration and data away; history and logs stay.
func (r *running) close() {
	r.halt()
	close(r.ended)
	r.timers.Wait()
	if r.sup != nil {
		_ = r.sup.Close()
	}
	if r.net != nil {
		r.net.Close()
	}
	for _, c := range r.people {
		c.Close()
	}
	for _, c := range r.nodes {
		c.Close()
	}
	if r.hist != nil {
		_ = r.hist.Close()
	}
	_ = removeOutside(r.layout.Dir)
	_ = removeLayout(r.layout.Dir)
	// The next estate's processes write logs of their own.
	logs := filepath.Join(r.layout.Dir, "log")
	_ = os.Rename(logs, filepath.Join(r.layout.Dir, "log-"+r.name))
}

// load starts the load of a story.
func (l *Lab) load(ctx context.Context, a story.Load) error {
	r := l.running
	s, err := r.plan.system()
	if err != nil {
		return err
	}
	split, err := r.plan.split()
	if err != nil {
		return err
	}
	o := load.Options{Seed: l.o.Seed, Overdraft: 0.01, Duplicates: 0.02, HotShare: a.Hot, CrossShare: a.Cross, AttemptTimeout: a.Attempt, Once: a.Once}
	if a.Hot > 0 {
		o.Hot = hotAccounts
	}
	for n, id := range r.layout.Sites {
		if len(a.Via) > 0 && !slices.Contains(a.Via, id) || len(a.Via) == 0 && !r.hasGateway(id) {
			continue
		}
		o.Sites = append(o.Sites, load.Site{ID: id, Gateways: r.layout.Gateways(id), Hosts: r.layout.Hosts(n + 1)})
	}
	for _, u := range s.Units {
		o.Units = append(o.Units, load.Unit{ID: u.Name, Accounts: split[u.Name], Rate: a.Rate / float64(len(s.Units))})
	}
	if err := r.openings(ctx); err != nil {
		return err
	}
	gen, err := load.New(o, r.hist, l.o.Log)
	if err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- gen.Run(run) }()
	r.loadMu.Lock()
	defer r.loadMu.Unlock()
	r.gen, r.asked, r.stopLoad, r.loadDone = gen, o, cancel, done
	return nil
}

// hotAccounts is how many accounts of each unit are hot where a share of the calls uses such: the first of them.
const hotAccounts = 4

func (r *running) hasGateway(id estate.SiteID) bool {
	return slices.ContainsFunc(r.layout.Of(site.Gateway), func(p site.Process) bool { return p.Site == id })
}

// haltWait bounds how long calls under way are waited for when nothing is to be judged.
const haltWait = time.Second

// halt ends the load without settling.
func (r *running) halt() {
	r.loadMu.Lock()
	gen, stop, done := r.gen, r.stopLoad, r.loadDone
	r.gen, r.stopLoad = nil, nil
	r.loadMu.Unlock()
	if stop == nil {
		return
	}
	stop()
	timer := time.NewTimer(haltWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C: // clients go on asking until their patience is over; nobody reads what they would write
	}
	gen.Close()
}

// settleWait bounds how long unresolved calls are sent again after the load.
const settleWait = 40 * time.Second

// loadStop ends the load and settles what is unresolved.
func (r *running) loadStop(ctx context.Context) error {
	r.loadMu.Lock()
	gen, stop, done := r.gen, r.stopLoad, r.loadDone
	r.stopLoad = nil
	r.loadMu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	if err := <-done; err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	_, err := gen.Settle(ctx)
	gen.Close()
	r.loadMu.Lock()
	r.gen = nil
	r.loadMu.Unlock()
	return err
}

// snapshot is the load at this moment; false without load.
func (r *running) snapshot() (load.Snapshot, bool) {
	r.loadMu.Lock()
	defer r.loadMu.Unlock()
	if r.gen == nil {
		return load.Snapshot{}, false
	}
	return r.gen.Snapshot(), true
}

// figures are the load's figures on one line.
func (r *running) figures() string {
	s, ok := r.snapshot()
	if !ok {
		return ""
	}
	var text strings.Builder
	text.WriteString(fmt.Sprintf("%.0f writes/s", s.Rate))
	for _, u := range s.Units {
		if u.SinceLast > 500*time.Millisecond {
			text.WriteString(fmt.Sprintf(", %s silent %.1fs", u.Unit, u.SinceLast.Seconds()))
		}
	}
	text.WriteString(fmt.Sprintf(", %d errors", s.Errors))
	if s.InsideErrors > 0 {
		text.WriteString(fmt.Sprintf(" (+%d inside)", s.InsideErrors))
	}
	return text.String()
}
