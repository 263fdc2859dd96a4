package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/driver"
	"perdure/internal/driver/fake"
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

// bed is a replication group in virtual time: agents with their own files, working fake databases, and a control plane that
// judges by unit.Apply. Links and answers can be taken away.
type bed struct {
	t       *testing.T
	net     *fake.Network
	plane   *plane
	dirs    map[estate.MemberID]string
	drivers map[estate.MemberID]func(driver.Database) driver.Database // a wrapper around the fake, for the next start

	// archives is what member c keeps where it is cold.
	archives driver.Archives

	mu     sync.Mutex
	agents map[estate.MemberID]*running
	cut    map[[2]estate.MemberID]bool // calls from the first agent to the second fail
	hang   map[[2]estate.MemberID]bool // … are never answered
}

type running struct {
	*Agent
	stop func() error
}

// inBed runs a test in virtual time. Members a and b are synchronous, c is asynchronous; a is to be the first owner.
func inBed(t *testing.T, change func(*unit.Record), test func(*bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		members := []unit.Member{{ID: a, Site: "a", Role: unit.SyncRole}, {ID: b, Site: "b", Role: unit.SyncRole}, {ID: c, Site: "c", Role: unit.AsyncRole}}
		for i := range members {
			members[i].Agent, members[i].Database = string(members[i].ID)+":7700", string(members[i].ID)+":5432"
		}
		rec := unit.Bootstrap(group, "core", []estate.UnitID{u1}, unit.Policy{Failover: unit.Auto}, members, a, estate.Incarnation{Counter: 1, ID: "x"})
		if change != nil {
			change(&rec)
		}
		bed := &bed{
			t: t, net: fake.NewNetwork(), plane: newPlane(rec), dirs: map[estate.MemberID]string{}, agents: map[estate.MemberID]*running{},
			drivers: map[estate.MemberID]func(driver.Database) driver.Database{},
			cut:     map[[2]estate.MemberID]bool{}, hang: map[[2]estate.MemberID]bool{},
		}
		for _, m := range rec.Members {
			bed.net.Database(m.ID)
			bed.dirs[m.ID] = t.TempDir()
		}
		defer func() {
			for _, id := range slices.Collect(maps.Keys(bed.agents)) {
				bed.stop(id)
			}
		}()
		test(bed)
	})
}

// start starts the agents of members.
func (b *bed) start(ids ...estate.MemberID) {
	for _, id := range ids {
		ag, run := b.make(id)
		ctx, cancel := context.WithCancel(b.t.Context())
		ended := make(chan error, 1)
		go func() { ended <- run(ctx) }()
		b.mu.Lock()
		b.agents[id] = &running{Agent: ag, stop: func() error { cancel(); return <-ended }}
		b.mu.Unlock()
	}
	synctest.Wait()
}

func (b *bed) make(id estate.MemberID) (*Agent, func(context.Context) error) {
	var db driver.Database = b.net.Database(id)
	if wrap := b.drivers[id]; wrap != nil {
		db = wrap(db)
	}
	var archives driver.Archives
	if id == c {
		archives = b.archives
	}
	ag := New(b.plane.link(id), db, Options{
		Archives: archives,
		Group:    group, Member: id, Site: estate.SiteID(id), StateDir: b.dirs[id], Timing: unit.DefaultTiming(),
		Listener: newDeaf(), Client: &http.Client{Transport: caller{b, id}}, Logger: slog.New(slog.DiscardHandler),
	})
	return ag, ag.Run
}

// stop ends the agent of a member; its database goes on.
func (b *bed) stop(id estate.MemberID) {
	b.mu.Lock()
	r := b.agents[id]
	delete(b.agents, id)
	b.mu.Unlock()
	if r == nil {
		return
	}
	if err := r.stop(); err != nil {
		b.t.Errorf("agent of %s: %v", id, err)
	}
}

// restart ends an agent and starts it again at once.
func (b *bed) restart(id estate.MemberID) {
	b.stop(id)
	b.start(id)
}

// pass lets virtual time go by.
func (b *bed) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// eventually waits for a fact, at most a virtual minute, and says how long it took.
func (b *bed) eventually(what string, fact func() bool) time.Duration {
	b.t.Helper()
	began := time.Now()
	for !fact() {
		if time.Since(began) > time.Minute {
			rec := b.plane.record()
			text, _ := json.MarshalIndent(rec, "", " ")
			for id, ag := range b.agents {
				s := ag.state()
				b.t.Logf("%s: %s (%s) %s running %v answering %v dir %s", id, s.Doing, s.Why, s.Error, s.Running, s.Answering, s.Directory)
			}
			b.t.Fatalf("never: %s\n%s", what, text)
		}
		b.pass(5 * time.Millisecond)
	}
	return time.Since(began)
}

// always checks that a fact holds for a while.
func (b *bed) always(what string, d time.Duration, fact func() bool) {
	b.t.Helper()
	for began := time.Now(); time.Since(began) < d; b.pass(5 * time.Millisecond) {
		if !fact() {
			b.t.Fatalf("not after %s: %s", time.Since(began), what)
		}
	}
}

// up starts all agents and waits until the group is open with a copy in the set and the asynchronous one following.
func (b *bed) up() {
	b.t.Helper()
	var ids []estate.MemberID
	for _, m := range b.plane.record().Members {
		ids = append(ids, m.ID)
	}
	b.start(ids...)
	b.eventually("all members serve", b.whole)
}

// whole: the owner is open at the record's ownership, everybody else follows, and every synchronous one is in the set and in force.
func (b *bed) whole() bool {
	rec := b.plane.record()
	own, open := b.net.Open(rec.Owner.Member, u1)
	if rec.State != unit.Open || !open || own != rec.Ownership {
		return false
	}
	var names []string
	for _, l := range rec.InSync {
		names = append(names, l.String())
	}
	if !slices.Equal(names, b.net.SyncNames(rec.Owner.Member)) {
		return false
	}
	for _, m := range rec.Members {
		if m.ID != rec.Owner.Member && (m.Following != rec.Ownership || m.Role == unit.SyncRole && !rec.InSyncLife(estate.Life{Member: m.ID, N: m.Life})) {
			return false
		}
	}
	return true
}

// openAt reports whether a member is open at the record's ownership, and nobody else is open at all.
func (b *bed) openAt(id estate.MemberID) bool {
	rec := b.plane.record()
	for _, m := range rec.Members {
		own, open := b.net.Open(m.ID, u1)
		if open != (m.ID == id) || open && own != rec.Ownership {
			return false
		}
	}
	return true
}

// commit writes through the guard and wants it acknowledged.
func (b *bed) commit(id estate.MemberID, key string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
	defer cancel()
	if err := b.net.Commit(ctx, id, u1, key, 10); err != nil {
		b.t.Fatal(err)
	}
}

// severed cuts or joins the calls from one agent to another.
func (b *bed) severed(from, to estate.MemberID, yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut[[2]estate.MemberID{from, to}] = yes
}

// caller is how an agent calls others; the receiver sees its verified name.
type caller struct {
	b    *bed
	from estate.MemberID
}

func (c caller) RoundTrip(r *http.Request) (*http.Response, error) {
	to := estate.MemberID(strings.TrimSuffix(r.URL.Host, ":7700"))
	way := [2]estate.MemberID{c.from, to}
	c.b.mu.Lock()
	target, cut, hang := c.b.agents[to], c.b.cut[way], c.b.hang[way]
	c.b.mu.Unlock()
	if hang {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if cut || target == nil {
		return nil, errors.New("connection refused")
	}
	name := "agent:" + string(c.from)
	if c.from == "" {
		name = "node:n"
	}
	r = r.Clone(r.Context())
	r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: name}}}}}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	target.handler().ServeHTTP(w, r)
	return w.Result(), nil
}

// asks is what a node asks an agent.
func asks[T any](b *bed, id estate.MemberID, path string, request any) T {
	b.t.Helper()
	m, _ := b.plane.rec.Record.Member(id)
	out, err := ask[T](b.t.Context(), &http.Client{Transport: caller{b, ""}}, http.MethodPost, m, path, request)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// deaf is a listener that nobody calls: the bed calls handlers directly.
type deaf struct {
	once   sync.Once
	closed chan struct{}
}

func newDeaf() *deaf { return &deaf{closed: make(chan struct{})} }

func (d *deaf) Accept() (net.Conn, error) { <-d.closed; return nil, net.ErrClosed }
func (d *deaf) Close() error              { d.once.Do(func() { close(d.closed) }); return nil }
func (d *deaf) Addr() net.Addr            { return &net.TCPAddr{} }

// plane is the control plane: one record, judged by unit.Apply on the condition of its revision.
type plane struct {
	mu      sync.Mutex
	rec     wire.Group
	changed chan struct{}
	links   map[estate.MemberID]*link
	// committed is called for each transition that was taken, with the record after it.
	committed   func(unit.Transition, unit.Record)
	divergences []wire.Divergence
	posts       []unit.Transition // taken, in order
}

func newPlane(rec unit.Record) *plane {
	return &plane{rec: wire.Group{Record: rec, Revision: 1}, changed: make(chan struct{}), links: map[estate.MemberID]*link{}}
}

func (p *plane) record() unit.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rec.Record
}

// taken counts the transitions of a kind.
func (p *plane) taken(kind unit.Kind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, t := range p.posts {
		if t.Kind == kind {
			n++
		}
	}
	return n
}

// post changes the record as a person or a node does.
func (p *plane) post(t *testing.T, tr unit.Transition) {
	t.Helper()
	p.mu.Lock()
	tr.Ownership, tr.Now = p.rec.Record.Ownership, time.Now().UnixMilli()
	p.mu.Unlock()
	if _, err := p.apply(0, tr); err != nil {
		t.Fatal(err)
	}
}

func (p *plane) apply(revision int64, t unit.Transition) (wire.Group, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if revision != 0 && revision != p.rec.Revision {
		return p.rec, errs.New(errs.Conflict, "the record is at revision %d", p.rec.Revision)
	}
	next, err := unit.Apply(p.rec.Record, t)
	if err != nil {
		return p.rec, err
	}
	p.rec = wire.Group{Record: next, Revision: p.rec.Revision + 1}
	p.posts = append(p.posts, t)
	if p.committed != nil {
		p.committed(t, next)
	}
	close(p.changed)
	p.changed = make(chan struct{})
	return p.rec, nil
}

// link is an agent's way to the control plane.
type link struct {
	p *plane

	mu      sync.Mutex
	down    bool        // nothing comes through
	blind   bool        // the watch says nothing
	hang    bool        // posts are answered by nobody
	hangs   int         // posts that wait for an answer
	hold    []unit.Kind // posts of these kinds are not answered, and land when land is called
	held    []func() error
	met     func(estate.Incarnation)
	changed chan struct{}
}

func (p *plane) link(id estate.MemberID) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.links[id]
	if l == nil {
		l = &link{p: p, changed: make(chan struct{})}
		p.links[id] = l
	}
	return l
}

// set changes what the link lets through.
func (l *link) set(change func(*link)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
	close(l.changed)
	l.changed = make(chan struct{})
}

// land lets the posts that were held arrive now and says what became of each.
func (l *link) land() []error {
	l.mu.Lock()
	held := l.held
	l.held, l.hold = nil, nil
	l.mu.Unlock()
	var out []error
	for _, post := range held {
		out = append(out, post())
	}
	return out
}

func (l *link) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

func (l *link) unreachable() error {
	if l.down {
		return errs.New(errs.Unavailable, "no node answers")
	}
	return nil
}

func (l *link) Group(context.Context, estate.GroupID) (wire.Group, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.unreachable(); err != nil {
		return wire.Group{}, err
	}
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.p.rec, nil
}

func (l *link) Transition(ctx context.Context, _ estate.GroupID, revision int64, t unit.Transition) (wire.Group, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hang {
		l.hangs++
		l.mu.Unlock()
		<-ctx.Done()
		l.mu.Lock()
		l.hangs--
		return wire.Group{}, ctx.Err()
	}
	if err := l.unreachable(); err != nil {
		return wire.Group{}, err
	}
	if slices.Contains(l.hold, t.Kind) {
		l.held = append(l.held, func() error { _, err := l.p.apply(revision, t); return err })
		return wire.Group{}, errs.New(errs.Unknown, "nobody answered in time")
	}
	return l.p.apply(revision, t)
}

func (l *link) WatchGroup(ctx context.Context, _ estate.GroupID, on func(wire.Group), met func(estate.Incarnation)) error {
	l.mu.Lock()
	l.met = met
	l.mu.Unlock()
	for ctx.Err() == nil {
		l.mu.Lock()
		silent, changed := l.down || l.blind, l.changed
		l.mu.Unlock()
		l.p.mu.Lock()
		rec, news := l.p.rec, l.p.changed
		l.p.mu.Unlock()
		if !silent {
			on(rec)
		}
		select {
		case <-ctx.Done():
		case <-news:
		case <-changed:
		}
	}
	return nil
}

func (l *link) PutMemberStatus(context.Context, estate.MemberID, json.RawMessage) error { return nil }

func (l *link) PutDivergence(_ context.Context, d wire.Divergence) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.unreachable(); err != nil {
		return err
	}
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.p.divergences = append(l.p.divergences, d)
	return nil
}
