package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/history"
	"perdure/internal/lab/site"
	"perdure/internal/lab/story"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Do implements story.World.
func (l *Lab) Do(ctx context.Context, action story.Action) error {
	r := l.running
	switch a := action.(type) {
	case story.Estate:
		return l.lay(ctx, a.Name)
	case story.Policy:
		return l.plan.amend(a)
	case story.Disk:
		l.plan.disks = append(l.plan.disks, a)
		return nil
	case story.Latency:
		if r == nil {
			l.plan.latency = append(l.plan.latency, a)
			return nil
		}
		return r.latency(a)
	case story.Start:
		if len(a.Sites)+len(a.Processes) == 0 {
			return l.startAndWait(ctx)
		}
		return r.resume(ctx, a)
	case story.Load:
		if l.loaded.IsZero() {
			l.loaded = time.Now()
		}
		return l.load(ctx, a)
	case story.LoadStop:
		return r.loadStop(ctx)
	case story.Switch:
		return r.switchUnit(ctx, l.out, a)
	case story.Accept:
		return r.accept(ctx, a)
	case story.Verify:
		return r.verify(ctx, l.out, a)
	case story.Release:
		return r.release(ctx, a)
	case story.Resend:
		return r.resend(ctx, l.o.Binary, l.out, a)
	case story.Generate:
		return r.generatePlan(ctx, l.o.Binary, l.out, a)
	case story.StartRun:
		return r.startRun(ctx, l.o.Binary, a)
	case story.Answer:
		return r.answerRun(ctx, l.o.Binary, a)
	case story.Orders:
		return r.orders(ctx, l.o.Binary, l.out, a)
	case story.Fetch:
		return r.fetch(ctx, l.o.Binary, l.out, a)
	case story.Window:
		return r.window(ctx, l.o.Binary, a)
	case story.Evidence:
		return r.evidence(ctx, l.o.Binary, l.out, a)
	case story.Recover:
		return l.recoverNode(ctx, a)
	case story.Fault:
		return r.fault(ctx, l.out, a)
	case story.Heal:
		return r.heal(ctx, a)
	case story.Kills:
		return l.kills(ctx, a)
	case story.Check:
		return l.finish(ctx, false)
	}
	return errs.New(errs.Internal, "the lab does not know %T", action)
}

// readyWait bounds how long a new estate may take until everything is in sync.
const readyWait = 120 * time.Second

// startAndWait starts the estate and waits until every unit is open and every copy follows.
func (l *Lab) startAndWait(ctx context.Context) error {
	if err := l.start(ctx); err != nil {
		return err
	}
	bound, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	stands := ""
	err := until(bound, "the estate is not ready", func() error {
		var ok bool
		if ok, stands = l.Holds(bound, story.Condition{Kind: story.EstateReady}); ok {
			return nil
		}
		return errs.New(errs.Unavailable, "%s", stands)
	})
	if err != nil {
		return errs.New(errs.Unavailable, "%w; logs are in %s/log", err, l.o.Dir)
	}
	return nil
}

// Begin implements story.World.
func (l *Lab) Begin(ctx context.Context, s story.Step) error { return l.mark(ctx, s, history.Starts) }

// End implements story.World.
func (l *Lab) End(ctx context.Context, s story.Step) error { return l.mark(ctx, s, history.Ends) }

func (l *Lab) mark(ctx context.Context, s story.Step, edge history.Edge) error {
	r := l.running
	if r == nil {
		return errs.New(errs.Invalid, "a step needs an estate that was started")
	}
	if edge == history.Ends {
		// What the product says of itself is taken down while it remembers.
		if err := r.takeDown(ctx); err != nil {
			l.out.Say("what the product says of itself could not be taken down: %v", err)
		}
	}
	return r.hist.Mark(history.Mark{Edge: edge, Step: s.Name, Title: s.Title, Mode: s.Mode, Expect: s.Expect})
}

// takeDown writes the groups' records and new lists of divergence into the history.
func (r *running) takeDown(ctx context.Context) error {
	groups, err := r.groups(ctx)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := r.hist.Append(history.Event{Group: &history.Group{At: r.hist.Now(), Record: g.Record}}); err != nil {
			return err
		}
		if err := r.takeDivergences(ctx, g.Record.Group); err != nil {
			return err
		}
	}
	return nil
}

func (r *running) takeDivergences(ctx context.Context, g estate.GroupID) error {
	c, err := r.as("", "")
	if err != nil {
		return err
	}
	all, err := c.Divergences(ctx, g, wire.Local)
	if err != nil {
		return err
	}
	for _, d := range all {
		key := string(g) + " " + d.ID
		if r.marked[key] == d.At {
			continue
		}
		member, left, err := reported(d)
		if err != nil {
			return err
		}
		e := history.Divergence{At: r.hist.Now(), Group: g, Member: member, Left: left, Listed: d.At}
		var list driver.Diverged
		if err := json.Unmarshal(d.Report, &list); err != nil {
			return errs.New(errs.Internal, "divergence %s: %w", d.ID, err)
		}
		e.List = list
		if err := r.hist.Append(history.Event{Divergence: &e}); err != nil {
			return err
		}
		r.marked[key] = d.At
	}
	return nil
}

// reported reads from a report's name who left which ownership: "u1-a-1.fe615278.3".
func reported(d wire.Divergence) (estate.MemberID, estate.Ownership, error) {
	i := strings.LastIndexByte(d.ID, '-')
	if i < 1 {
		return "", estate.Ownership{}, errs.New(errs.Internal, "divergence %q: want member-ownership", d.ID)
	}
	left, err := estate.ParseOwnership(d.ID[i+1:])
	if err != nil {
		return "", left, errs.New(errs.Internal, "divergence %q: %w", d.ID, err)
	}
	return estate.MemberID(d.ID[:i]), left, nil
}

// groups reads the records from whichever node knows them best: the quorum, or one node alone when there is none.
func (r *running) groups(ctx context.Context) ([]wire.Group, error) {
	c, err := r.as("", "")
	if err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	groups, err := c.Groups(short, wire.Fresh)
	if err == nil {
		return groups, nil
	}
	var best []wire.Group
	for _, one := range r.nodes {
		short, cancel := context.WithTimeout(ctx, time.Second)
		local, lerr := one.Groups(short, wire.Local)
		cancel()
		if lerr == nil && newer(local, best) {
			best = local
		}
	}
	if best != nil {
		return best, nil
	}
	return nil, err
}

// newer reports whether one view of the records is newer than another.
func newer(a, b []wire.Group) bool {
	for i := range a {
		if i >= len(b) {
			return true
		}
		if c := a[i].Record.Ownership.Compare(b[i].Record.Ownership); c != 0 {
			return c > 0
		}
		if a[i].Revision != b[i].Revision {
			return a[i].Revision > b[i].Revision
		}
	}
	return false
}

// groupOf finds the group that carries a unit.
func (r *running) groupOf(ctx context.Context, u estate.UnitID) (unit.Record, error) {
	groups, err := r.groups(ctx)
	if err != nil {
		return unit.Record{}, err
	}
	for _, g := range groups {
		if slices.Contains(g.Record.Units, u) || string(g.Record.Group) == string(u) {
			return g.Record, nil
		}
	}
	return unit.Record{}, errs.New(errs.NotFound, "no unit %q; there are: %s", u, strings.Join(r.plan.unitNames(), ", "))
}

// A switch that meets another change of the record, or of which nobody knows whether it was begun, is asked for again: it has its name.
const (
	switchTries = 5
	switchPause = 200 * time.Millisecond
)

// switchUnit asks the product for a switch, as a person would, and shows what it says.
func (r *running) switchUnit(ctx context.Context, out *story.Progress, a story.Switch) error {
	c, err := r.as(a.As, a.At)
	if err != nil {
		return err
	}
	mode := unit.Mode(a.Mode)
	if mode == "" {
		mode = unit.Takeover
	}
	// One request, repeated under its name as people would when the record changed under their hands.
	request := wire.SwitchRequest{To: a.To, Mode: mode, Reason: "story", ID: fmt.Sprintf("story-%s-%d", a.Unit, r.hist.Since().Milliseconds())}
	var answer wire.SwitchAnswer
	for range switchTries {
		answer, err = c.Switch(ctx, a.Unit, request)
		if kind := errs.KindOf(err); kind != errs.Conflict && kind != errs.Unknown || a.Refused != "" {
			break
		}
		if perr := story.Pass(ctx, switchPause); perr != nil {
			return perr
		}
	}
	if err := refused(err, a.Refused); err != nil || a.Refused != "" {
		return err
	}
	if answer.Forecast != nil {
		out.Say("   forecast: writes pause %d ms (p95 %d ms), from %s", answer.Forecast.PauseP50Millis, answer.Forecast.PauseP95Millis, answer.Forecast.Basis)
	}
	if loss := answer.Loss; loss != nil {
		showLoss(out, *loss)
	}
	return nil
}

func showLoss(out *story.Progress, loss unit.Loss) {
	number := func(n int64) string {
		if n < 0 {
			return "UNKNOWN"
		}
		return fmt.Sprint(n)
	}
	amount := loss.Amount
	if amount == "" {
		amount = "UNKNOWN"
	}
	out.Say("   estimated loss: %s transactions, %s accounts, amount %s; source: %s", number(loss.Transactions), number(loss.Accounts), amount, loss.Source)
	if loss.Statement != "" {
		out.Say("   %s", loss.Statement)
	}
	for _, o := range loss.Others {
		out.Say("   %s at %s: %s", o.Member, o.Site, o.State.Says())
	}
}

// refused judges an error against the part of a message that the story expects, "" where it expects none.
func refused(err error, part string) error {
	switch {
	case part == "":
		return err
	case err == nil:
		return errs.New(errs.Refused, "it was carried out, and had to be refused")
	case !strings.Contains(err.Error(), part):
		return errs.New(errs.Refused, "it was refused with another message than %q: %w", part, err)
	}
	return nil
}

// accept accepts the loss that is shown, as a person.
func (r *running) accept(ctx context.Context, a story.Accept) error {
	rec, err := r.groupOf(ctx, a.Unit)
	if err != nil {
		return err
	}
	if rec.Switch == nil {
		return errs.New(errs.Conflict, "there is no switch of %s whose loss could be accepted", a.Unit)
	}
	c, err := r.as(a.As, a.At)
	if err != nil {
		return err
	}
	_, err = c.Accept(ctx, a.Unit, wire.AcceptRequest{Switch: rec.Switch.ID, Reason: a.Reason})
	return refused(err, a.Refused)
}

// recoverNode makes the node of a site the first of a new incarnation: it is stopped, recovered by the command people use, and started.
func (l *Lab) recoverNode(ctx context.Context, a story.Recover) error {
	r := l.running
	person := a.As
	if person == "" {
		person = "ann"
	}
	for _, p := range r.layout.Of(site.Node) {
		if p.Site != a.At {
			continue
		}
		if err := r.sup.Stop(ctx, p.Name); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, l.o.Binary, "node", "recover", "--config", p.Config, "--by", person, "--reason", "the other sites are lost", "--yes")
		if text, err := cmd.CombinedOutput(); err != nil {
			return errs.New(errs.Unavailable, "node recover failed: %s: %w", strings.TrimSpace(string(text)), err)
		}
		r.home.Store(&a.At)
		return r.sup.Resume(p.Name)
	}
	return errs.New(errs.NotFound, "there is no node at site %q", a.At)
}

// resume starts what was killed; what lies in directories of former owners is copied for the checker before their agents see them.
func (r *running) resume(ctx context.Context, a story.Start) error {
	for _, s := range a.Sites {
		if r.layout.Number(s) == 0 {
			return r.noSite(s)
		}
		if err := r.copyFormer(ctx, s, true); err != nil {
			return err
		}
	}
	for _, s := range a.Sites {
		if err := r.sup.ResumeSite(s); err != nil {
			return err
		}
		r.mended(func(b *broken) bool { return b.kills() && slices.Contains(b.fault.Sites, s) })
	}
	if len(a.Processes) > 0 {
		if err := r.sup.Resume(a.Processes...); err != nil {
			return err
		}
		r.mended(func(b *broken) bool { return b.kills() && slices.ContainsFunc(b.names, in(a.Processes)) })
	}
	return nil
}

func (r *running) noSite(s estate.SiteID) error {
	return errs.New(errs.NotFound, "no site %q; there are: %v", s, r.layout.Sites)
}

// verify has the accounts of a quarantined unit judged, and shows the outcome.
func (r *running) verify(ctx context.Context, out *story.Progress, a story.Verify) error {
	c, err := r.as(a.As, a.At)
	if err != nil {
		return err
	}
	if err := r.clears(a.Unit, history.Verifies); err != nil {
		return err
	}
	answer, err := c.Verify(ctx, a.Unit, time.Time{})
	if err != nil {
		return err
	}
	j := answer.Judged
	out.Say("   accounts judged in %d ms against %d receipts (%s): %d verified and open, %d inconsistent and credit-only, %d receipts without effect",
		answer.Millis, answer.Receipts, answer.Source, j.Verified, j.Inconsistent, answer.Lost)
	return nil
}

// clears writes down that accounts may be served from now on.
func (r *running) clears(u estate.UnitID, what string) error {
	return r.hist.Append(history.Event{Clearing: &history.Clearing{At: r.hist.Now(), Unit: u, What: what}})
}

// release ends the quarantine of a unit.
func (r *running) release(ctx context.Context, a story.Release) error {
	c, err := r.as(a.As, a.At)
	if err != nil {
		return err
	}
	if err := r.clears(a.Unit, history.Releases); err != nil {
		return err
	}
	_, err = c.Release(ctx, a.Unit, wire.ReleaseRequest{Reason: a.Reason})
	return err
}
