package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/site"
	"perdure/internal/lab/story"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Holds implements story.World.
func (l *Lab) Holds(ctx context.Context, c story.Condition) (bool, string) {
	r := l.running
	if r == nil {
		return false, "the estate is not started"
	}
	switch c.Kind {
	case story.GapClosed:
		return r.gapClosed(c.Unit)
	case story.LoadSteady:
		return r.loadSteady()
	case story.StoreLed:
		return r.storeLed(ctx)
	case story.RunOver, story.RunAsks, story.RunAt:
		return r.runIs(ctx, c)
	case story.SandboxesGone:
		return r.sandboxesGone()
	default:
	}
	groups, err := r.groups(ctx)
	if err != nil {
		return false, err.Error()
	}
	switch c.Kind {
	case story.EstateReady:
		return r.ready(ctx, groups)
	case story.MemberInSync, story.MemberFollowing:
		for _, g := range groups {
			if m, ok := g.Record.Member(c.Member); ok {
				return memberIs(g.Record, m, c.Kind)
			}
		}
		return false, fmt.Sprintf("no member %s", c.Member)
	default:
	}
	for _, g := range groups {
		if slices.Contains(g.Record.Units, c.Unit) {
			return r.unitIs(ctx, g, c)
		}
	}
	return false, fmt.Sprintf("no unit %s", c.Unit)
}

func (r *running) unitIs(ctx context.Context, g wire.Group, c story.Condition) (bool, string) {
	rec := g.Record
	switch c.Kind {
	case story.UnitAt:
		ok := rec.State == unit.Open && rec.OwnerSite() == c.Site && (!c.InSync || inSync(rec))
		return ok, stands(rec)
	case story.UnitInSync:
		return rec.State == unit.Open && inSync(rec), stands(rec)
	case story.UnitUnprotected:
		return rec.Unprotected(), stands(rec)
	case story.SwitchIs:
		if rec.Switch == nil {
			return false, "no switch"
		}
		return string(rec.Switch.Phase) == c.Phase, "the switch is " + string(rec.Switch.Phase)
	case story.DivergenceListed:
		return r.divergenceListed(ctx, rec)
	case story.QuarantineOver:
		if rec.Quarantine {
			return false, "in quarantine"
		}
		return true, ""
	default:
	}
	return false, "the lab does not know this condition"
}

// inSync reports whether every copy that should acknowledge, and lives, is in the set.
func inSync(rec unit.Record) bool { return len(rec.InSync) > 0 }

// stands says in a few words how a group stands.
func stands(rec unit.Record) string {
	text := fmt.Sprintf("%s %s at %s, epoch %d", rec.Group, rec.State, rec.OwnerSite(), rec.Ownership.Epoch)
	var names []string
	for _, m := range rec.InSync {
		names = append(names, string(m.Member))
	}
	if len(names) == 0 {
		text += ", unprotected"
	} else {
		text += ", in sync: " + strings.Join(names, " ")
	}
	if rec.Switch.Active() {
		text += ", switch " + string(rec.Switch.Phase)
	}
	return text
}

func memberIs(rec unit.Record, m unit.Member, kind story.ConditionKind) (bool, string) {
	if kind == story.MemberInSync {
		for _, in := range rec.InSync {
			if in.Member == m.ID {
				return true, ""
			}
		}
		return false, stands(rec)
	}
	if m.ID == rec.Owner.Member {
		return false, string(m.ID) + " owns"
	}
	return m.Following == rec.Ownership && !m.Ahead, fmt.Sprintf("%s follows %s, the group is at %s", m.ID, m.Following, rec.Ownership)
}

// divergenceListed: the member that owned before, at another place, listed what it had.
func (r *running) divergenceListed(ctx context.Context, rec unit.Record) (bool, string) {
	if _, err := r.divergence(ctx, rec); err != nil {
		return false, err.Error()
	}
	return true, ""
}

// divergence gives the newest list of what the member that owned before, at another place, had and its successor had not.
func (r *running) divergence(ctx context.Context, rec unit.Record) (wire.Divergence, error) {
	var list wire.Divergence
	var member estate.MemberID
	var left estate.Ownership
	for _, p := range slices.Backward(rec.Past) {
		if p.Owner.Member != rec.Owner.Member && p.Opened != 0 { // a recovered record goes on in an ownership that nobody opened
			member, left = p.Owner.Member, p.Ownership
			break
		}
	}
	if member == "" {
		return list, errs.New(errs.NotFound, "nobody owned it before")
	}
	c, err := r.as("", "")
	if err != nil {
		return list, err
	}
	all, err := c.Divergences(ctx, rec.Group, wire.Local)
	if err != nil {
		return list, err
	}
	newest := estate.Ownership{}
	for _, d := range all {
		who, o, err := reported(d)
		if err == nil && who == member && !o.Less(left) && newest.Less(o) {
			list, newest = d, o
		}
	}
	if newest.IsZero() {
		return list, errs.New(errs.NotFound, "%s has not listed what it had in %s", member, left)
	}
	return list, nil
}

// ready: every unit is open where it belongs, every copy follows, all that should acknowledge do, and the gateways know.
func (r *running) ready(ctx context.Context, groups []wire.Group) (bool, string) {
	want := 0
	for _, s := range r.layout.Set.Systems {
		want += len(s.Groups)
	}
	if len(groups) < want {
		return false, fmt.Sprintf("%d of %d groups are known", len(groups), want)
	}
	var newest int64
	for _, g := range groups {
		rec := g.Record
		newest = max(newest, g.Revision)
		if rec.State != unit.Open || rec.Switch.Active() {
			return false, stands(rec)
		}
		for _, m := range rec.Members {
			if m.ID == rec.Owner.Member {
				continue
			}
			if m.Cold() && m.Following.IsZero() {
				if ok, why := r.archived(m); !ok {
					return false, why
				}
				continue
			}
			kind := story.MemberInSync
			if m.Role == unit.AsyncRole {
				kind = story.MemberFollowing
			}
			if ok, why := memberIs(rec, m, kind); !ok {
				return false, why
			}
		}
	}
	return r.gatewaysKnow(ctx, newest)
}

// archived: a cold copy keeps a base backup.
func (r *running) archived(m unit.Member) (bool, string) {
	dir, _ := r.layout.DataDir(m.ID)
	lists, err := filepath.Glob(filepath.Join(dir+".archive", "base-*.json"))
	return err == nil && len(lists) > 0, string(m.ID) + " has no base backup yet"
}

func (r *running) gatewaysKnow(ctx context.Context, revision int64) (bool, string) {
	c, err := r.as("", "")
	if err != nil {
		return false, err.Error()
	}
	acks, err := c.Gateways(ctx, wire.Local)
	if err != nil {
		return false, err.Error()
	}
	known := 0
	for _, a := range acks {
		if a.Version >= revision {
			known++
		}
	}
	if all := len(r.layout.Of(site.Gateway)); known < all {
		return false, fmt.Sprintf("%d of %d gateways have the newest table", known, all)
	}
	return true, ""
}

func (r *running) storeLed(ctx context.Context) (bool, string) {
	for s, c := range r.nodes {
		if home := r.home.Load(); home != nil && *home != s {
			continue
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		e, err := c.Estate(short)
		cancel()
		if err == nil && e.Store.Quorum && e.Store.Leader != "" {
			return true, fmt.Sprintf("node at %s knows the leader %s", s, e.Store.Leader)
		}
	}
	return false, "no node knows a leader"
}

// fresh is how recent an acknowledged write has to be for a gap to count as closed; the history has the exact figures.
const fresh = 400 * time.Millisecond

// settled is how long after the last fault acknowledged writes begin to count: before, they may have been under way already.
const settled = time.Second

func (r *running) gapClosed(u estate.UnitID) (bool, string) {
	s, ok := r.snapshot()
	if !ok {
		return false, "there is no load"
	}
	r.faultMu.Lock()
	struck := r.struck
	r.faultMu.Unlock()
	if since := time.Since(struck); since < settled {
		return false, fmt.Sprintf("the last fault began %.1fs ago", since.Seconds())
	}
	for _, one := range s.Units {
		if u != "" && one.Unit != u {
			continue
		}
		if one.SinceLast < 0 || one.SinceLast > fresh {
			return false, fmt.Sprintf("%s: no acknowledged write for %.1fs", one.Unit, one.SinceLast.Seconds())
		}
	}
	return true, ""
}

func (r *running) loadSteady() (bool, string) {
	s, ok := r.snapshot()
	if !ok {
		return false, "there is no load"
	}
	asked := 0.0
	for _, u := range r.asked.Units {
		asked += u.Rate
	}
	// A good part of the calls are reads or refused by the business.
	if s.Rate < 0.7*asked {
		return false, fmt.Sprintf("%.0f of about %.0f writes/s", s.Rate, 0.85*asked)
	}
	return true, ""
}
