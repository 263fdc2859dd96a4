package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// look is how often the progress of a switch is read.
const look = 100 * time.Millisecond

// follow shows the phases of a switch until it ends, waits for people, or the time is over. The switch does not need this command.
func (s *session) follow(ctx context.Context, c *client.Client, u estate.UnitID, answer wire.SwitchAnswer, f switchFlags) error {
	if answer.Switch == nil {
		return errs.New(errs.Internal, "the node took the request but names no switch; see perdure status")
	}
	f.id = answer.Switch.ID
	if f.noWait || waitsForPeople(answer.Switch) {
		if s.json {
			return s.emit(answer)
		}
		s.showWaiting(u, answer.Switch)
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, f.wait, errStillRunning)
	defer cancel()
	p := progress{session: s, shown: map[unit.Phase]bool{}}
	last := unit.Record{Switch: answer.Switch}
	p.show(&last)
	tick := time.NewTicker(look)
	defer tick.Stop()
	for last.Switch.Active() {
		select {
		case <-ctx.Done():
			return stillRunning(ctx, u, last.Switch)
		case <-tick.C:
		}
		g, err := groupOf(ctx, c, u, wire.Fresh)
		switch kind := errs.KindOf(err); {
		case ctx.Err() != nil:
			return stillRunning(ctx, u, last.Switch)
		case kind == errs.Unavailable || kind == errs.Unknown:
			continue // a node is gone: the next look asks another one
		case err != nil:
			return err
		case g.Record.Switch == nil || g.Record.Switch.ID != f.id:
			return errs.New(errs.Conflict, "switch %s ended and another one began; see perdure status", f.id)
		}
		last = g.Record
		p.show(&last)
	}
	return s.finish(u, answer.Run, &last)
}

// waitsForPeople reports whether an emergency needs a further person's word. With two it goes on by itself, though its phase is
// still that of acceptance until the nodes have decided.
func waitsForPeople(sw *unit.Switch) bool {
	return sw.Phase == unit.Accepting && len(sw.Approvals) < 2
}

var errStillRunning = errs.New(errs.Unavailable, "the time to follow the switch is over")

// stillRunning tells a person who stops following that the switch goes on.
func stillRunning(ctx context.Context, u estate.UnitID, sw *unit.Switch) error {
	if context.Cause(ctx) == errStillRunning { //nolint:errorlint // the very value is meant
		return errs.New(errs.Unavailable, "switch %s of unit %s is still %s; it goes on without this command, see perdure status", sw.ID, u, sw.Phase)
	}
	return context.Canceled
}

func (s *session) showWaiting(u estate.UnitID, sw *unit.Switch) {
	if !waitsForPeople(sw) {
		fmt.Fprintln(s.Out, s.say(startedLine, sw.ID))
		return
	}
	fmt.Fprintln(s.Out, s.say(acceptedBy, len(sw.Approvals), u))
	for _, a := range sw.Approvals {
		fmt.Fprintf(s.Out, "  %s  %s  %s\n", at(a.At), a.By, a.Reason)
	}
}

// progress shows each phase once, as it begins.
type progress struct {
	*session
	shown map[unit.Phase]bool
}

func (p *progress) show(r *unit.Record) {
	if p.json {
		return
	}
	began := firstTime(r.Switch)
	for _, phase := range phasesOf(r.Switch) {
		if p.shown[phase] || phase == unit.Done || phase == unit.Failed {
			continue
		}
		p.shown[phase] = true
		fmt.Fprintf(p.Out, "  %8s  %s\n", "+"+millis(r.Switch.At[phase]-began), p.word(string(phase)))
	}
}

// phasesOf gives the phases a switch went through, in the order they began.
func phasesOf(sw *unit.Switch) []unit.Phase {
	order := []unit.Phase{unit.Accepting, unit.Closing, unit.Drained, unit.Promotion, unit.Growing, unit.Done, unit.Failed}
	var out []unit.Phase
	for _, p := range order {
		if _, ok := sw.At[p]; ok {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b unit.Phase) int { return int(sw.At[a] - sw.At[b]) })
	return out
}

// finish shows how long each phase took, and ends with an error where the switch failed.
func (s *session) finish(u estate.UnitID, run string, r *unit.Record) error {
	sw := r.Switch
	if s.json {
		if err := s.emit(wire.SwitchView{Group: r.Group, Units: r.Units, State: r.State, Switch: *sw, Active: false, Run: run}); err != nil {
			return err
		}
	} else {
		s.showTimings(u, r)
	}
	if sw.Phase == unit.Failed {
		return errs.New(errs.Internal, "switch %s of unit %s failed and was undone: %s", sw.ID, u, dash(sw.Reason))
	}
	return nil
}

func (s *session) showTimings(u estate.UnitID, r *unit.Record) {
	sw := r.Switch
	phases := phasesOf(sw)
	g := &grid{}
	for i, phase := range phases[:max(len(phases)-1, 0)] {
		g.row(s.word(string(phase)), millis(sw.At[phases[i+1]]-sw.At[phase]))
	}
	g.write(s, s.Out, "    ")
	if sw.Phase == unit.Done {
		fmt.Fprintf(s.Out, "%s\n", s.paint(green, s.say(switchDone, u, r.OwnerSite(), r.Ownership.Epoch, millis(lastTime(sw)-firstTime(sw)))))
	}
	if n := len(r.Past); n > 0 && r.Past[n-1].Pause > 0 && sw.Phase == unit.Done {
		fmt.Fprintf(s.Out, "  %s\n", s.say(writePause, millis(r.Past[n-1].Pause)))
	}
}
