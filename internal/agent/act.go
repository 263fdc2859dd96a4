package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// do carries out one action. What it learns is on disk before anything depends on it.
func (a *Agent) do(ctx context.Context, action unit.Action, group wire.Group) error {
	rec := group.Record
	switch action.Do {
	case unit.Create:
		if err := a.db.Create(ctx); err != nil {
			return err
		}
		return a.remember(func(s *unit.Self) { s.Renew(rec.LifeOf(s.Member)) })
	case unit.Start:
		if err := a.remember(func(s *unit.Self) { s.Begin(rec.LifeOf(s.Member)) }); err != nil {
			return err
		}
		return a.db.Start(ctx, a.me())
	case unit.Stop:
		return a.db.Stop(ctx, action.Immediate)
	case unit.CloseGates:
		err := a.db.Close(ctx, a.gated(rec))
		a.mark(unit.MarkShut, err)
		return err
	case unit.Drain:
		fence, err := a.db.Drain(ctx, a.gated(rec))
		if err != nil {
			return err
		}
		return a.post(ctx, group, unit.Transition{Kind: unit.Close, By: a.me(), Ownership: rec.Ownership, LSN: fence, Now: time.Now().UnixMilli()})
	case unit.OpenGates:
		return a.openGates(ctx, action, rec)
	case unit.Admit:
		if rec.Policy.Retention > 0 && rec.Owner == a.me() {
			if err := a.db.Retain(ctx, rec.Units, rec.Policy.Retention); err != nil {
				return err
			}
		}
		return a.ensureFollowers(ctx, rec)
	case unit.Sever:
		lsn, err := a.db.Sever(ctx)
		a.mark(unit.MarkSevered, err)
		if err != nil {
			return err
		}
		return a.remember(func(s *unit.Self) { s.Severed = &unit.Severed{Ownership: action.Ownership, LSN: lsn} })
	case unit.Replay:
		return a.db.WaitReplayed(ctx, action.LSN)
	case unit.Promote:
		if err := a.remember(func(s *unit.Self) { s.Owned = action.Ownership }); err != nil {
			return err
		}
		err := a.db.Promote(ctx)
		a.mark(unit.MarkPromoted, err)
		return err
	case unit.Follow:
		return a.follow(ctx, action, rec)
	case unit.Compare:
		return a.compare(ctx, action, rec)
	case unit.Rewind:
		return a.rewind(ctx, action, rec)
	case unit.Reinitialise:
		return a.reinitialise(ctx, action, rec)
	case unit.Restore:
		return a.restore(ctx, rec)
	case unit.ShrinkTo:
		return a.db.Shrink(ctx, lifeNames(action.Lives))
	case unit.GrowBy:
		return a.growBy(ctx, action, group)
	case unit.Post:
		if action.Transition.Kind == unit.OwnerDown {
			// What is reported dead is made sure of: those who promised are free at once (I8).
			if err := a.db.Stop(ctx, true); err != nil {
				return err
			}
		}
		return a.post(ctx, group, action.Transition)
	default: // wait and alarm are nothing to carry out
	}
	return errs.New(errs.Internal, "no way to %s", action.Do)
}

func (a *Agent) me() estate.Life {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.self.Now()
}

// gated are the units of the record and those that have a gate here: one that left the group may still be open (I9).
func (a *Agent) gated(rec unit.Record) []estate.UnitID {
	a.mu.Lock()
	defer a.mu.Unlock()
	units := slices.Clone(rec.Units)
	for _, g := range a.seen.Gates {
		if !slices.Contains(units, g.Unit) {
			units = append(units, g.Unit)
		}
	}
	return units
}

func lifeNames(lives []estate.Life) []string {
	names := make([]string, len(lives))
	for i, l := range lives {
		names[i] = l.String()
	}
	return names
}

// post sends a transition conditionally on the revision it was decided on, and learns the outcome either way.
func (a *Agent) post(ctx context.Context, group wire.Group, t unit.Transition) error {
	if t.Kind == unit.Close || t.Kind == unit.Opened {
		t.Marks = a.marks
		a.marks = map[unit.Phase]int64{}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.setPosting(cancel)
	defer a.setPosting(nil)
	after, err := a.store.Transition(ctx, a.opts.Group, group.Revision, t)
	if err != nil {
		switch errs.KindOf(err) {
		case errs.Conflict:
			if fresh, ferr := a.store.Group(ctx, a.opts.Group); ferr == nil {
				a.learn(fresh)
			}
		case errs.Refused, errs.NotFound, errs.Invalid: // judged: it did not happen, and cannot any more
		default:
			// It may still land: nothing that changes the set is done before a new session is attached behind it (I15).
			a.mu.Lock()
			a.unsure = true
			a.mu.Unlock()
		}
		return err
	}
	a.learn(after)
	return nil
}

func (a *Agent) setPosting(cancel context.CancelFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.posting = cancel
}

// mark notes when a step of a switch was done, for people.
func (a *Agent) mark(m unit.Phase, err error) {
	if err == nil {
		a.marks[m] = time.Now().UnixMilli()
	}
}

// openGates writes that this directory is an owner before it becomes one (I6), then opens and serves the followers.
func (a *Agent) openGates(ctx context.Context, action unit.Action, rec unit.Record) error {
	if err := a.remember(func(s *unit.Self) { s.Owned, s.Opened = action.Ownership, action.Ownership }); err != nil {
		return err
	}
	if rec.Quarantine {
		// Before the opening: no account is served unverified in between (I7).
		if err := a.db.Quarantine(ctx, rec.Units, rec.QuarantineOf); err != nil {
			return err
		}
	}
	if err := a.db.Open(ctx, action.Ownership, a.opts.Member, rec.Units); err != nil {
		return err
	}
	a.look(ctx)
	if err := a.renewLease(ctx); err != nil {
		a.log.Debug("lease not renewed", "err", err)
	}
	return nil
}

func (a *Agent) ensureFollowers(ctx context.Context, rec unit.Record) error {
	a.admitting.Lock()
	defer a.admitting.Unlock()
	for _, m := range rec.Members {
		if m.ID == a.opts.Member {
			continue
		}
		if err := a.db.EnsureFollower(ctx, m.ID); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.served = servedKey(rec)
	return nil
}

// servedKey changes whenever followers have to be admitted anew.
func servedKey(rec unit.Record) string {
	var key strings.Builder
	key.WriteString(rec.Ownership.String() + " " + rec.Policy.Retention.String())
	for _, m := range rec.Members {
		key.WriteString(" " + string(m.ID))
	}
	return key.String()
}

func (a *Agent) upstream(rec unit.Record, id estate.MemberID) (driver.Upstream, error) {
	m, ok := rec.Member(id)
	if !ok {
		return driver.Upstream{}, errs.New(errs.NotFound, "%s has no member %q", rec.Group, id)
	}
	host, port, err := net.SplitHostPort(m.Database)
	if err != nil {
		return driver.Upstream{}, errs.New(errs.Invalid, "member %s: database address %q is not host:port", id, m.Database)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return driver.Upstream{}, errs.New(errs.Invalid, "member %s: database port %q is not a number", id, port)
	}
	return driver.Upstream{Member: id, Host: host, Port: n}, nil
}

func (a *Agent) follow(ctx context.Context, action unit.Action, rec unit.Record) error {
	up, err := a.upstream(rec, action.Upstream)
	if err != nil {
		return err
	}
	a.look(ctx) // a server that has just died is started in a new life
	a.mu.Lock()
	running := a.seen.Running
	a.mu.Unlock()
	if err := a.remember(func(s *unit.Self) {
		s.Severed = nil
		if !running {
			s.Begin(rec.LifeOf(s.Member))
		}
	}); err != nil {
		return err
	}
	err = a.db.Follow(ctx, up, a.me())
	if refused := (&errs.Error{}); errors.As(err, &refused) && refused.Invariant == "I12" {
		a.mu.Lock()
		a.beyond = rec.Ownership
		a.mu.Unlock()
	}
	return err
}

// compare lists what this former owner has and its successor has not, before anything is thrown away (I6).
// listedMost is how many transactions a report to the control plane has. One that diverged for minutes has more than fits there; the whole
// list is on the member's disk before its directory is changed.
const listedMost = 5000

func (a *Agent) compare(ctx context.Context, action unit.Action, rec unit.Record) error {
	up, err := a.upstream(rec, action.Upstream)
	if err != nil {
		return err
	}
	diverged, err := a.db.Diverged(ctx, up)
	if err != nil {
		return err
	}
	a.mu.Lock()
	owned := a.self.Owned
	a.mu.Unlock()
	d := wire.Divergence{
		Group: a.opts.Group, ID: string(a.opts.Member) + "-" + owned.String(), Reporter: string(a.opts.Member), At: time.Now().UnixMilli(),
	}
	all := len(diverged.Transactions)
	if all > listedMost {
		diverged.Kept = filepath.Join(a.opts.StateDir, "diverged-"+d.ID+".json")
		if err := saveJSON(diverged.Kept, diverged); err != nil {
			return err
		}
		diverged.Total, diverged.Transactions = all, diverged.Transactions[:listedMost]
	}
	if d.Report, err = json.Marshal(diverged); err != nil {
		return err
	}
	if err := a.store.PutDivergence(ctx, d); err != nil {
		return err
	}
	a.log.Info("divergence listed", "transactions", all, "unkeyed", diverged.Unkeyed, "from", diverged.From, "until", diverged.Until)
	return a.remember(func(s *unit.Self) { s.Compared = action.Ownership })
}

func (a *Agent) progress(what string, done, total int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Why, a.status.Done, a.status.Total = what, done, total
}

func (a *Agent) rewind(ctx context.Context, action unit.Action, rec unit.Record) error {
	up, err := a.upstream(rec, action.Upstream)
	if err != nil {
		return err
	}
	a.mu.Lock()
	running := a.seen.Running
	a.mu.Unlock()
	if running {
		if err := a.db.Stop(ctx, false); err != nil {
			return err
		}
	}
	if err := a.db.Rewind(ctx, up, a.progress); err != nil {
		if errs.KindOf(err) == errs.Refused {
			a.log.Warn("the directory cannot be rewound: it is copied anew", "err", err)
			return a.remember(func(s *unit.Self) { s.MustCopy = true })
		}
		return err
	}
	return a.madeAnew(rec)
}

// madeAnew forgets what was true of the directory before it was rewound or replaced.
func (a *Agent) madeAnew(rec unit.Record) error {
	a.mu.Lock()
	a.beyond = estate.Ownership{}
	a.mu.Unlock()
	return a.remember(func(s *unit.Self) { s.Renew(rec.LifeOf(s.Member)) })
}

func (a *Agent) reinitialise(ctx context.Context, action unit.Action, rec unit.Record) error {
	up, err := a.upstream(rec, action.Upstream)
	if err != nil {
		return err
	}
	a.mu.Lock()
	running := a.seen.Running
	a.mu.Unlock()
	if running {
		if err := a.db.Stop(ctx, true); err != nil {
			return err
		}
	}
	if err := a.db.Reinitialise(ctx, up, a.progress); err != nil {
		return err
	}
	return a.madeAnew(rec)
}

// growBy proves the wait, then tells the store; where the store does not take it, the former set is put back (I2).
func (a *Agent) growBy(ctx context.Context, action unit.Action, group wire.Group) error {
	a.mu.Lock()
	session := a.self.Session
	a.track.Force(action.Lives)
	a.mu.Unlock()
	grown, err := a.db.Grow(ctx, lifeNames(action.Lives), action.Candidate.String())
	a.mu.Lock()
	a.track.Forced()
	a.mu.Unlock()
	if err == nil {
		a.log.Info("wait proven", "candidate", action.Candidate, "mark", grown.Mark, "frozen", grown.Frozen)
		err = a.tellGrown(ctx, action, group, unit.Transition{
			Kind: unit.Grow, By: a.me(), Session: session, Ownership: group.Record.Ownership, Member: action.Candidate, LSN: grown.Mark, Now: time.Now().UnixMilli(),
		})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.track.GrowFailed(a.now()) // each proof holds commits up: the next one waits longer
		return err
	}
	a.track.Grown()
	return nil
}

// tellGrown brings a proven growth into the store.
func (a *Agent) tellGrown(ctx context.Context, action unit.Action, group wire.Group, t unit.Transition) error {
	if group.Record.InSyncLife(action.Candidate) {
		return nil // it was in the record all the time, and is in force again
	}
	// As soon as the store has it the candidate may be decided: plain reads must not rest on less than its promise by then (I8).
	if err := a.boundLease(ctx); err != nil {
		return err
	}
	return a.post(ctx, group, t)
}
