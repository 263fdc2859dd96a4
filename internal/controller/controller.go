// Package controller is what a node does about ownership: it sees owners fall silent and lets an in-sync member take over,
// undoes switches that are stuck, and carries people's switches into the store (I16).
//
// No node is special: each probes, each asks the others, each may write the conditional transition, and the store lets one win.
package controller

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Store is what the controller needs of the control store.
type Store interface {
	Groups(ctx context.Context) ([]wire.Group, error)
	Transition(ctx context.Context, who string, group estate.GroupID, revision int64, t unit.Transition) (wire.Group, error)
	// PostRun starts a run by the transaction that also carries out a transition.
	PostRun(ctx context.Context, start wire.RunStart, who string, group estate.GroupID, t unit.Transition) (wire.Group, error)
	MemberStatuses(ctx context.Context) ([]wire.MemberStatus, error)
	// Detected opens the incident of a group that serves nobody, once for its ownership, whoever calls it.
	Detected(ctx context.Context, who string, rec unit.Record, why string, since time.Time) error
	// WatchGroups hands on every record it learns of, until ctx ends. No record is ever gone: a manifest does not forget data.
	WatchGroups(ctx context.Context, on func(wire.Group)) error
}

// Peers are the other nodes.
type Peers interface {
	// Silences asks every other configured node how long the owner of the group has been silent to it; those that do not answer are left out.
	Silences(ctx context.Context, group estate.GroupID) []wire.Silence
	// Count is how many nodes are configured, this one included.
	Count() int
}

// Receipts are the acknowledgements that gateways outside a lost site have kept.
type Receipts interface {
	// Since hands on the receipts of a unit that were kept at or after the time, in no order, until on fails, and says where they were kept.
	Since(ctx context.Context, unit estate.UnitID, at time.Time, on func(Kept) error) (Sources, error)
}

// Sources says where receipts were kept, and what is not among them.
type Sources struct {
	// Said is that in words.
	Said string
	// From is from when on the receipts of every gateway are there: the beginning of the ledger that began last.
	From time.Time
	// Missing are gateways that do not answer and of whose receipts nobody has a copy.
	Missing []string
	// Until is until when the receipts of every gateway are held at least, by the clock of whoever holds them; zero where each was asked itself.
	// What a lost gateway acknowledged later is not among them.
	Until time.Time
}

// Kept is a receipt with the time at which it was kept, by the clock of its gateway.
type Kept struct {
	driver.Receipt
	Ownership estate.Ownership // in which it was acknowledged; zero where it does not say
	At        time.Time
	Unknown   bool // which accounts it was about
}

// Options configure a controller.
type Options struct {
	Node   string
	Timing unit.Timing
	// Client calls agents over mutual TLS.
	Client *http.Client
	// MayAct says why this node must not decide anything now, nil where it may (I10).
	MayAct func() error
	Logger *slog.Logger
}

// Controller is the controller of one node.
type Controller struct {
	opts     Options
	store    Store
	peers    Peers
	receipts Receipts
	log      *slog.Logger
	start    time.Time

	mu     sync.Mutex
	groups map[estate.GroupID]*watched
}

// watched is what this node knows of a group.
type watched struct {
	group  wire.Group
	heard  time.Duration // when the owner was last heard, on this node's monotonic clock
	agent  time.Duration // when its agent was
	detail string
	stage  unit.Stage
	since  time.Duration // when the record got into its present phase
	wake   chan struct{}
	told   estate.Ownership // of which people were told that it is stricken
	tried  time.Duration    // when that was tried last
}

// New makes a controller; receipts may be nil where no gateway keeps any.
func New(store Store, peers Peers, receipts Receipts, opts Options) *Controller {
	return &Controller{
		opts: opts, store: store, peers: peers, receipts: receipts, start: time.Now(),
		log: opts.Logger.With("node", opts.Node), groups: map[estate.GroupID]*watched{},
	}
}

func (c *Controller) now() time.Duration { return time.Since(c.start) }

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		return c.store.WatchGroups(ctx, func(g wire.Group) {
			if c.learn(g) != nil {
				work.Go(func() error { c.probe(ctx, g.Record.Group); return nil })
				work.Go(func() error { c.guard(ctx, g.Record.Group); return nil })
			}
		})
	})
	if err := work.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// learn takes a record over; it gives the group's entry where the group is new to this node.
func (c *Controller) learn(g wire.Group) *watched {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	w := c.groups[g.Record.Group]
	isNew := w == nil
	if isNew {
		w = &watched{wake: make(chan struct{}, 1), heard: now, agent: now}
		c.groups[g.Record.Group] = w
	} else if g.Record.Ownership.Incarnation == w.group.Record.Ownership.Incarnation && g.Revision <= w.group.Revision {
		return nil
	}
	if old := w.group.Record; old.Owner != g.Record.Owner || old.State != g.Record.State || old.Ownership != g.Record.Ownership {
		w.heard, w.agent = now, now // a new owner gets its full time, and one that took the next epoch was heard by the store
	}
	if s := g.Record.Stage(); s != w.stage {
		w.stage, w.since = s, now
	}
	w.group = g
	select {
	case w.wake <- struct{}{}:
	default:
	}
	if isNew {
		return w
	}
	return nil
}

// sees is what this node finds of a group by itself: for how long the owner and its agent have been silent, and the record has been in its stage.
type sees struct {
	group                   wire.Group
	silent, agent, phaseFor time.Duration
	detail                  string
}

func (c *Controller) look(group estate.GroupID) (sees, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.groups[group]
	if w == nil {
		return sees{}, false
	}
	now := c.now()
	return sees{group: w.group, silent: now - w.heard, agent: now - w.agent, phaseFor: now - w.since, detail: w.detail}, true
}

// Silence says how long the owner of the group has been silent to this node.
func (c *Controller) Silence(group estate.GroupID) (wire.Silence, error) {
	own, ok := c.look(group)
	if !ok {
		return wire.Silence{}, errs.New(errs.NotFound, "no group %q", group)
	}
	return wire.Silence{
		Node: c.opts.Node, Group: group, Owner: own.group.Record.Owner, Ownership: own.group.Record.Ownership,
		Silent: own.silent >= c.opts.Timing.Silence, ForMillis: own.silent.Milliseconds(), AgentMillis: own.agent.Milliseconds(), Detail: own.detail,
	}, nil
}

// guard acts on what unit.Watch says, ten times a second and at every change.
func (c *Controller) guard(ctx context.Context, group estate.GroupID) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	c.mu.Lock()
	wake := c.groups[group].wake
	c.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-wake:
		}
		if c.opts.MayAct() != nil {
			continue
		}
		g, order, stricken, ok := c.judge(ctx, group)
		if !ok {
			return
		}
		if stricken != "" {
			c.tell(ctx, g, stricken)
		}
		if err := c.obey(ctx, g, order); err != nil && ctx.Err() == nil {
			c.log.Warn("cannot act on a group", "group", group, "why", order.Why, "err", err)
			select { // not in a hurry to repeat what was just refused
			case <-ctx.Done():
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

// judge asks the other nodes, where this one finds the owner silent, and says what to do about the group now.
func (c *Controller) judge(ctx context.Context, group estate.GroupID) (g wire.Group, order unit.Order, stricken string, ok bool) {
	own, ok := c.look(group)
	if !ok {
		return own.group, unit.Order{}, "", false
	}
	rec := own.group.Record
	sight := unit.Sight{
		Nodes: c.peers.Count(), PhaseFor: own.phaseFor, Silences: []time.Duration{own.silent}, Agents: []time.Duration{own.agent},
	}
	if bound := c.opts.Timing.Silence; own.silent >= bound || own.agent >= bound && rec.Switch.Active() {
		asking, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		for _, s := range c.peers.Silences(asking, group) {
			if s.Owner == rec.Owner && s.Ownership == rec.Ownership {
				sight.Silences = append(sight.Silences, time.Duration(s.ForMillis)*time.Millisecond)
				sight.Agents = append(sight.Agents, time.Duration(s.AgentMillis)*time.Millisecond)
			}
		}
	}
	return own.group, unit.Watch(rec, sight, c.opts.Timing, time.Now().UnixMilli()), unit.Stricken(rec, sight, c.opts.Timing), true
}

// Times of telling people: a slow store must not keep the next judgement waiting.
const (
	tellWithin = 500 * time.Millisecond
	tellAgain  = 5 * time.Second
)

// tell opens the incident of a group that serves nobody. Every node does, and the store lets one win.
func (c *Controller) tell(ctx context.Context, g wire.Group, why string) {
	c.mu.Lock()
	w := c.groups[g.Record.Group]
	now := c.now()
	if w.told == g.Record.Ownership || w.tried != 0 && now-w.tried < tellAgain {
		c.mu.Unlock()
		return
	}
	w.tried = now
	since := time.Now().Add(w.heard - now)
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	if err := c.store.Detected(ctx, "node:"+c.opts.Node, g.Record, why, since); err != nil {
		c.log.Debug("no incident was opened of a group that serves nobody; it is tried again", "group", g.Record.Group, "err", err)
		return
	}
	c.mu.Lock()
	w.told = g.Record.Ownership
	c.mu.Unlock()
}

func (c *Controller) obey(ctx context.Context, g wire.Group, order unit.Order) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	rec := g.Record
	t := unit.Transition{Ownership: rec.Ownership, Reason: order.Why, Now: time.Now().UnixMilli()}
	if order.Abort {
		t.Kind, t.SwitchID = unit.Abort, rec.Switch.ID
		return c.transition(ctx, g, t)
	}
	var last error
	judged := c.now()
	for _, candidate := range order.Candidates {
		if err := c.consent(ctx, rec, candidate); err != nil {
			last = err
			continue
		}
		if c.now()-judged > unit.Fresh {
			if now, again, _, ok := c.judge(ctx, rec.Group); !ok || now.Revision != g.Revision || !again.Names(candidate) {
				return nil // the owner was heard while consents were waited for, or the record changed: it is judged anew
			}
		}
		t.Kind, t.Mode, t.Member, t.Silent = unit.Decide, unit.Failover, candidate, true
		if own, ok := c.look(rec.Group); ok {
			t.Since = time.Now().Add(-own.silent).UnixMilli()
		}
		t.SwitchID = switchID("auto", time.Now())
		c.log.Info("owner replaced", "group", rec.Group, "owner", rec.Owner, "by", candidate, "why", order.Why)
		return c.transition(ctx, g, t)
	}
	return last
}

func switchID(by string, at time.Time) string {
	return at.UTC().Format("20060102T150405.000") + "-" + by
}

func (c *Controller) transition(ctx context.Context, g wire.Group, t unit.Transition) error {
	after, err := c.store.Transition(ctx, "node:"+c.opts.Node, g.Record.Group, g.Revision, t)
	if err != nil {
		return err
	}
	c.learn(after)
	return nil
}
