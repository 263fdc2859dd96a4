// Package agent looks after one database directory: it is the only one that changes it (I15).
//
// It reads the group's record, looks at the database, asks unit.Next what to do and does that, one action at a time.
// Beside that it keeps the owner's lease alive by asking the in-sync members for their promise (I8), removes records that are older
// than the retention (I5), and answers nodes and other agents. When it dies the database goes on; its successor reads the same record and the same file and goes on too.
package agent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Store is what an agent needs of the control plane. Every call has its own deadline and may fail: the owner goes on without it.
type Store interface {
	// Group reads the record linearizably.
	Group(ctx context.Context, group estate.GroupID) (wire.Group, error)
	// Transition posts a transition on the given revision and gives the record after it.
	Transition(ctx context.Context, group estate.GroupID, revision int64, t unit.Transition) (wire.Group, error)
	// WatchGroup hands on every record it learns of, newest last, and each incarnation of the store that a node has met in
	// force elsewhere (I10), until ctx ends.
	WatchGroup(ctx context.Context, group estate.GroupID, on func(wire.Group), met func(estate.Incarnation)) error
	PutMemberStatus(ctx context.Context, member estate.MemberID, status json.RawMessage) error
	PutDivergence(ctx context.Context, d wire.Divergence) error
}

// Options say which directory an agent looks after.
type Options struct {
	Group  estate.GroupID
	Member estate.MemberID
	Site   estate.SiteID
	// StateDir holds the agent's own fsynced file and its lock; it must not lie in the data directory.
	StateDir string
	Timing   unit.Timing
	// Listener serves nodes and other agents over mutual TLS.
	Listener net.Listener
	// Client calls other agents.
	Client *http.Client
	// Sandboxes makes sandboxes of the copy; nil: none can be made.
	Sandboxes driver.Sandboxes
	// Archives keeps an archive where the member is cold; nil: none can be kept.
	Archives driver.Archives
	Logger   *slog.Logger
}

// Agent is the agent of one member.
type Agent struct {
	opts  Options
	store Store
	db    driver.Database
	log   *slog.Logger
	start time.Time // the zero of the agent's monotonic clock

	wake  chan struct{}
	armed chan struct{} // the end of the lease has changed

	mu      sync.Mutex
	group   wire.Group // newest record known
	known   bool
	self    unit.Self
	seen    driver.Observation
	track   unit.Tracker
	promise unit.Promise
	lease   unit.Lease
	// leased is until when the database answers plain reads, on the monotonic clock; ending is when the agent has to end the newest
	// lease in it, 0 where none can be there.
	leased, ending time.Duration

	status wire.AgentState
	// met is the highest incarnation that was heard of; unsure: a post got no answer, and the next session is not on disk yet.
	met         estate.Incarnation
	unsure      bool
	posting     context.CancelFunc // ends the post that is under way, nil where none is
	served      string             // see servedKey
	unprotected time.Time
	beyond      estate.Ownership     // under which following was refused, because the directory has log beyond where the histories part
	marks       map[unit.Phase]int64 // when steps of a switch were done, for people; the acting goroutine's own

	looking  sync.Mutex // one observation at a time
	counting sync.Mutex // one tally at a time: each counts what was recorded since the one before
	leasing  sync.Mutex // one renewal at a time: a later one knows more about what is in force

	admitting sync.Mutex // followers are admitted or forgotten

	sandboxes sandboxWork
	archive   archiveWork
}

// New makes an agent; Run takes the lock of the directory.
func New(store Store, db driver.Database, opts Options) *Agent {
	return &Agent{
		opts: opts, store: store, db: db, start: time.Now(), wake: make(chan struct{}, 1), armed: make(chan struct{}, 1),
		marks: map[unit.Phase]int64{}, sandboxes: sandboxWork{begin: make(chan struct{}, 1)},
		log: opts.Logger.With("group", opts.Group, "member", opts.Member),
	}
}

// now reads the agent's monotonic clock.
func (a *Agent) now() time.Duration { return time.Since(a.start) }

// Run works until ctx ends; where another agent holds the directory it is an error of kind Conflict (I15).
// The database goes on: an agent's end never stops or closes it.
func (a *Agent) Run(ctx context.Context) error {
	unlock, err := lock(filepath.Join(a.opts.StateDir, "agent.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	defer a.db.Release()

	// Only now nobody else writes the file, and nobody else promises.
	if a.self, err = loadSelf(filepath.Join(a.opts.StateDir, selfFile), a.opts.Member); err != nil {
		return err
	}
	a.promise, a.track = unit.Restarted(a.now(), a.opts.Timing), unit.NewTracker(a.now())
	a.ending = a.now() + a.opts.Timing.Promise // what the former agent may have written
	if err := a.remember(func(s *unit.Self) { s.Session++ }); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.serve(ctx) })
	group.Go(func() error {
		return a.store.WatchGroup(ctx, a.opts.Group, func(g wire.Group) {
			if a.learn(g) {
				a.poke()
			}
		}, a.meet)
	})
	group.Go(func() error { return a.keepLooking(ctx) })
	group.Go(func() error { return a.keepLease(ctx) })
	group.Go(func() error { return a.keepEnding(ctx) })
	group.Go(func() error { return a.keepReporting(ctx) })
	group.Go(func() error { return a.keepPurging(ctx) })
	group.Go(func() error { return a.keepForgetting(ctx) })
	group.Go(func() error { return a.keepSandbox(ctx) })
	group.Go(func() error { return a.keepArchive(ctx) })
	group.Go(func() error { return a.keepActing(ctx) })
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (a *Agent) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// learn takes a record over unless a newer one is known; it reports whether it was news.
func (a *Agent) learn(g wire.Group) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.group
	if a.known && !unit.Newer(g.Record, g.Revision, old.Record, old.Revision) {
		return false
	}
	a.group, a.known = g, true
	a.track.Record(old.Record, g.Record, a.now())
	a.promise.Learn(g.Record, a.now())
	switch {
	case g.Record.Unprotected() && a.unprotected.IsZero():
		a.unprotected = time.Now()
		if g.Record.Owner.Member == a.opts.Member {
			a.log.Warn("UNPROTECTED: no copy acknowledges, what is committed now exists here alone", "ownership", g.Record.Ownership, "invariant", "I2")
		}
	case !g.Record.Unprotected():
		if !a.unprotected.IsZero() && g.Record.Owner.Member == a.opts.Member {
			a.log.Info("a copy acknowledges again", "inSync", lifeNames(g.Record.InSync), "unprotected", time.Since(a.unprotected).Round(time.Millisecond))
		}
		a.unprotected = time.Time{}
	}
	return true
}

// meet notes an incarnation that is in force somewhere; next puts it on disk and acts on it. A post to the store that was left behind
// is given up: whoever meets a higher incarnation closes at once (I10), and does not wait for an answer first.
func (a *Agent) meet(inc estate.Incarnation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if inc.After(a.met) {
		a.met = inc
		if a.posting != nil && inc != a.group.Record.Ownership.Incarnation {
			a.posting()
		}
		a.poke()
	}
}

// remember changes the agent's own file, on disk before it returns.
func (a *Agent) remember(change func(*unit.Self)) error {
	a.mu.Lock()
	next := a.self
	a.mu.Unlock()
	change(&next)
	if err := saveSelf(filepath.Join(a.opts.StateDir, selfFile), next); err != nil {
		return err
	}
	a.mu.Lock()
	a.self = next
	a.mu.Unlock()
	return nil
}

// keepActing carries out one action after another.
func (a *Agent) keepActing(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var patience backoff
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-a.wake:
		}
		for ctx.Err() == nil {
			action, group, ok := a.next()
			if !ok || patience.waits(action, group.Revision, a.now()) {
				break
			}
			a.tell(action, nil)
			if action.Do == unit.Wait || action.Do == unit.Alarm {
				break
			}
			began := time.Now()
			err := a.carryOut(ctx, action, group)
			a.tell(action, err)
			if err != nil {
				if ctx.Err() == nil {
					a.log.Warn("action failed", "do", action.Do, "why", action.Why, "err", err, "took", time.Since(began))
				}
				patience.failed(action, group.Revision, a.now())
			} else {
				a.log.Info("action done", "do", action.Do, "what", what(action), "why", action.Why, "ownership", group.Record.Ownership, "took", time.Since(began))
				patience.succeeded(action)
			}
			a.look(ctx)
		}
	}
}

func what(action unit.Action) string {
	if action.Do == unit.Post {
		return string(action.Transition.Kind)
	}
	if action.Upstream != "" {
		return string(action.Upstream)
	}
	return ""
}

// next asks the protocol what to do, after the highest ownership met, and the session that counts, are on disk (I1, I15).
func (a *Agent) next() (unit.Action, wire.Group, bool) {
	a.mu.Lock()
	group, self, met, unsure := a.group, a.self, a.met, a.unsure
	a.mu.Unlock()
	if after := heed(self, group.Record, met, unsure); after != self {
		if err := a.remember(func(s *unit.Self) { *s = after }); err != nil {
			a.log.Error("cannot keep on disk what has to be there before anything is done", "err", err)
			return unit.Action{}, group, false
		}
		a.mu.Lock()
		a.unsure = false
		a.mu.Unlock()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.track.Looked() {
		return unit.Action{}, group, false
	}
	view := a.track.View(group.Record, &a.promise, a.now())
	view.Beyond = a.beyond != estate.Ownership{} && a.beyond == group.Record.Ownership
	view.Restore = a.archive.wanted
	view.Unserved = a.served != servedKey(group.Record)
	action := unit.Next(group.Record, a.self, view, a.opts.Timing, time.Now().UnixMilli())
	// Without a record there is one thing to do: whoever has met a higher incarnation closes (I10).
	return action, group, a.known || action.Do == unit.CloseGates && !a.self.Seen.IsZero()
}

// heed gives the agent's own file as it has to be on disk before anything is done: it names the highest ownership met, and a
// session that nothing unanswered was posted in.
func heed(self unit.Self, rec unit.Record, met estate.Incarnation, unsure bool) unit.Self {
	self.Meets(met)
	if self.Seen.Less(rec.Ownership) {
		self.Seen = rec.Ownership
	}
	if unsure {
		self.Session++
	}
	return self
}

// tell keeps what the agent is at for those who ask.
func (a *Agent) tell(action unit.Action, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Doing, a.status.Why = string(action.Do), action.Why
	a.status.Done, a.status.Total = 0, 0
	if err != nil {
		a.status.Error = fmt.Sprintf("%s: %v", action.Do, err)
	} else if action.Do != unit.Wait {
		a.status.Error = ""
	}
}

// backoff keeps an action that failed from being repeated at once, unless the record changed.
type backoff struct {
	do       unit.Do
	revision int64
	fails    int
	until    time.Duration
}

// opens reports whether the action belongs to one attempt at opening: the gates, and the next epoch after they could not be opened.
// Each attempt may take an epoch, so a new record is no reason to hurry.
func opens(action unit.Action) bool {
	return action.Do == unit.OpenGates || action.Do == unit.Post && action.Transition.Kind == unit.Reopen
}

func (b *backoff) waits(action unit.Action, revision int64, now time.Duration) bool {
	if b.do == unit.OpenGates && opens(action) {
		return now < b.until
	}
	return b.fails > 0 && action.Do == b.do && revision == b.revision && now < b.until
}

func (b *backoff) failed(action unit.Action, revision int64, now time.Duration) {
	if action.Do != b.do || revision != b.revision && !opens(action) {
		*b = backoff{do: action.Do, revision: revision}
	}
	b.fails++
	b.until = now + min(50*time.Millisecond<<min(b.fails, 6), 2*time.Second)
}

func (b *backoff) succeeded(action unit.Action) {
	if b.do != unit.OpenGates || action.Do != unit.Post {
		*b = backoff{}
	}
}

// interruptible actions are given up when the record changes what is wanted.
var interruptible = map[unit.Do]bool{unit.Replay: true, unit.GrowBy: true, unit.Rewind: true, unit.Reinitialise: true, unit.Restore: true, unit.Compare: true, unit.Drain: true}

// bound is the longest an action may take.
func bound(do unit.Do) time.Duration {
	switch do {
	case unit.Reinitialise, unit.Restore, unit.Rewind, unit.Compare:
		return 24 * time.Hour // bounded by its own progress, shown, and interrupted by the record
	case unit.Create, unit.Start, unit.Stop, unit.Follow:
		return 2 * time.Minute
	case unit.Promote:
		return time.Minute
	default:
		return 10 * time.Second
	}
}

// checked actions destroy or revive something: the record is read again, linearizably, before them (I15). An owner that lives is stopped
// for its report only where the control plane can be asked: without it the report would not arrive, and nobody would take over (I8).
func (a *Agent) checked(action unit.Action) bool {
	switch action.Do {
	case unit.Create, unit.Start, unit.Stop, unit.Follow, unit.Compare, unit.Rewind, unit.Reinitialise, unit.Restore:
		return true
	case unit.Post:
		a.mu.Lock()
		defer a.mu.Unlock()
		return action.Transition.Kind == unit.OwnerDown && a.seen.Running
	default:
		return false
	}
}

func (a *Agent) carryOut(ctx context.Context, action unit.Action, group wire.Group) error {
	ctx, cancel := context.WithTimeout(ctx, bound(action.Do))
	defer cancel()
	if a.checked(action) {
		fresh, err := a.store.Group(ctx, a.opts.Group)
		if err != nil {
			return fmt.Errorf("cannot read the record again: %w", err)
		}
		if a.learn(fresh) {
			return errs.New(errs.Conflict, "the record changed meanwhile")
		}
		if fresh.Revision != group.Revision || fresh.Record.Ownership.Incarnation != group.Record.Ownership.Incarnation {
			return errs.New(errs.Conflict, "the node that answered belongs to a store that was left behind: another one is asked")
		}
	}
	if interruptible[action.Do] {
		done := make(chan struct{})
		defer func() { <-done }()
		defer cancel()
		go func() {
			defer close(done)
			a.cancelOnChange(ctx, cancel, group.Record)
		}()
	}
	return a.do(ctx, action, group)
}

// cancelOnChange ends an action whose ownership or switch phase is no longer the record's.
func (a *Agent) cancelOnChange(ctx context.Context, cancel context.CancelFunc, rec unit.Record) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.mu.Lock()
			now := a.group.Record
			a.mu.Unlock()
			if now.Ownership != rec.Ownership || now.State != rec.State || phase(now) != phase(rec) || now.Switch.Active() != rec.Switch.Active() {
				cancel()
				return
			}
		}
	}
}

func phase(rec unit.Record) unit.Phase {
	if rec.Switch == nil {
		return ""
	}
	return rec.Switch.Phase
}

// tlsIdentity gives the name in the caller's verified certificate.
func tlsIdentity(state *tls.ConnectionState) string {
	if state == nil || len(state.VerifiedChains) == 0 {
		return ""
	}
	return state.VerifiedChains[0][0].Subject.CommonName
}
