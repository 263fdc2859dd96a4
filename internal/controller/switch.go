package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// forecastFloor is what a planned switch is expected to pause writes for where there is no history, in milliseconds.
const (
	forecastFloorP50 = 300
	forecastFloorP95 = 500
	// longTransaction is the age from which an open transaction is worth a word before a switch.
	longTransaction = time.Second
)

// find gives the group that carries the unit and its member at the site.
func (c *Controller) find(ctx context.Context, id estate.UnitID) (wire.Group, error) {
	groups, err := c.store.Groups(ctx)
	if err != nil {
		return wire.Group{}, err
	}
	var known []string
	for _, g := range groups {
		for _, u := range g.Record.Units {
			if u == id {
				return g, nil
			}
			known = append(known, string(u))
		}
	}
	slices.Sort(known)
	return wire.Group{}, errs.New(errs.NotFound, "no unit %q; there are: %s", id, strings.Join(known, ", "))
}

func memberAt(rec unit.Record, site estate.SiteID) (unit.Member, error) {
	var sites []string
	for _, m := range rec.Members {
		if m.Site == site {
			return m, nil
		}
		sites = append(sites, string(m.Site))
	}
	return unit.Member{}, errs.New(errs.NotFound, "%s has no copy at site %q; it has copies at: %s", rec.Group, site, strings.Join(sites, ", "))
}

// Switch makes a unit current at another site, as the step of a run that asks for it; with DryRun it says what that would take. The person who
// started the run is authenticated.
func (c *Controller) Switch(ctx context.Context, person string, id estate.UnitID, request wire.SwitchRequest) (wire.SwitchAnswer, error) {
	return c.switchBy(ctx, person, id, request, func(ctx context.Context, group estate.GroupID, t unit.Transition) (wire.Group, error) {
		return c.store.Transition(ctx, "person:"+person, group, 0, t)
	})
}

// Start makes a unit current at another site by a run that begins with that and nothing else: both are there, or neither.
func (c *Controller) Start(ctx context.Context, person string, id estate.UnitID, request wire.SwitchRequest, start wire.RunStart) (wire.SwitchAnswer, error) {
	answer, err := c.switchBy(ctx, person, id, request, func(ctx context.Context, group estate.GroupID, t unit.Transition) (wire.Group, error) {
		return c.store.PostRun(ctx, start, "person:"+person, group, t)
	})
	answer.Run = start.Head.ID
	return answer, err
}

// post has the store judge and keep a transition.
type post func(ctx context.Context, group estate.GroupID, t unit.Transition) (wire.Group, error)

func (c *Controller) switchBy(ctx context.Context, person string, id estate.UnitID, request wire.SwitchRequest, commit post) (wire.SwitchAnswer, error) {
	g, err := c.find(ctx, id)
	if err != nil {
		return wire.SwitchAnswer{}, err
	}
	if err := c.opts.MayAct(); err != nil && !request.DryRun {
		return wire.SwitchAnswer{}, err
	}
	target, err := memberAt(g.Record, request.To)
	if err != nil {
		return wire.SwitchAnswer{}, err
	}
	if request.Mode == "" {
		request.Mode = unit.Takeover
	}
	if request.ID == "" {
		request.ID = switchID(person, time.Now())
	}
	answer := wire.SwitchAnswer{Unit: id, Group: g.Record.Group, DryRun: request.DryRun, Revision: g.Revision}
	if s := g.Record.Switch; s != nil && s.ID == request.ID {
		answer.Switch = s // the same request again
		return answer, nil
	}
	t := unit.Transition{
		Person: person, Ownership: g.Record.Ownership, Mode: request.Mode, SwitchID: request.ID, Reason: request.Reason,
		Member: estate.Life{Member: target.ID, N: target.Life}, Now: time.Now().UnixMilli(),
	}
	var forbidden error // what the databases have met forbids it
	switch request.Mode {
	case unit.Takeover, unit.SwitchBack:
		t.Kind = unit.Begin
		var able error
		answer.Checks, able = c.preflight(ctx, g.Record, target)
		answer.Forecast = forecast(g.Record)
		if able != nil && !request.DryRun {
			// What the record forbids anyway is said in its own words.
			if _, err := unit.Apply(g.Record, t); err != nil {
				able = err
			}
			return answer, able
		}
	case unit.Emergency:
		if g.Record.Lossless(t.Member) {
			t.Kind = unit.Decide
			answer.Checks = []wire.Check{{Name: "in-sync", OK: true, Detail: string(target.ID) + " holds everything that was acknowledged: nothing is lost"}}
			break
		}
		t.Kind = unit.Propose
		var loss unit.Loss
		loss, forbidden = c.proposal(ctx, g, target)
		t.Loss, answer.Loss = &loss, &loss
		answer.Checks = []wire.Check{{Name: "in-sync", OK: false, Detail: loss.Statement}}
	default:
		return answer, errs.New(errs.Invalid, "mode %q is not known; allowed: takeover, switch-back, emergency", request.Mode)
	}
	if request.DryRun {
		if _, err := unit.Apply(g.Record, t); err != nil {
			forbidden = err
		}
		if forbidden != nil {
			answer.Checks = append(answer.Checks, wire.Check{Name: wire.RulesCheck, OK: false, Detail: forbidden.Error()})
		}
		return answer, nil
	}
	if forbidden != nil {
		return answer, forbidden
	}
	if t.Kind == unit.Decide {
		bounded, cancel := context.WithTimeout(ctx, 2*c.opts.Timing.Promise)
		err := c.consent(bounded, g.Record, t.Member)
		cancel()
		if err != nil {
			order, able := c.inOrder(ctx, g.Record, target, t)
			if !able {
				return answer, err
			}
			t = order
			answer.Checks = append(answer.Checks, wire.Check{Name: "owner", OK: true, Detail: "it lives, and its copies wait for it: it hands over in order"})
		}
	}
	// Agents change the record all the time; what a person asks is judged on the newest one, under the ownership they saw.
	after, err := commit(ctx, g.Record.Group, t)
	if err != nil {
		return answer, err
	}
	c.learn(after)
	answer.Switch, answer.Revision = after.Record.Switch, after.Revision
	return answer, nil
}

// inOrder is the planned switch that does what an emergency asks for where the owner lives and can do its part: its copies have promised to wait for it, so
// they decide nothing, and an emergency is no reason to lose more than a planned switch would. Until then production goes on, so the time that it took
// to find out interrupts nobody.
func (c *Controller) inOrder(ctx context.Context, rec unit.Record, target unit.Member, t unit.Transition) (order unit.Transition, able bool) {
	order = t
	order.Kind, order.Mode = unit.Begin, unit.Takeover
	if _, err := unit.Apply(rec, order); err != nil {
		return t, false
	}
	_, err := c.preflight(ctx, rec, target)
	return order, err == nil
}

// Abort undoes a switch that is not decided.
func (c *Controller) Abort(ctx context.Context, person string, id estate.UnitID, request wire.AbortRequest) (wire.SwitchAnswer, error) {
	return c.act(ctx, person, id, unit.Transition{Kind: unit.Abort, Reason: request.Reason})
}

// Accept is one person's acceptance of the loss shown; the second one sets the switch going (I11).
func (c *Controller) Accept(ctx context.Context, person string, id estate.UnitID, request wire.AcceptRequest) (wire.SwitchAnswer, error) {
	return c.act(ctx, person, id, unit.Transition{Kind: unit.Accept, SwitchID: request.Switch, Reason: request.Reason})
}

func (c *Controller) act(ctx context.Context, person string, id estate.UnitID, t unit.Transition) (wire.SwitchAnswer, error) {
	g, err := c.find(ctx, id)
	if err != nil {
		return wire.SwitchAnswer{}, err
	}
	answer := wire.SwitchAnswer{Unit: id, Group: g.Record.Group, Revision: g.Revision}
	if err := c.opts.MayAct(); err != nil {
		return answer, err
	}
	if s := g.Record.Switch; t.Kind == unit.Accept && s.Active() && s.Phase == unit.Accepting {
		if err := c.unmet(ctx, g, c.askAll(ctx, g.Record)); err != nil {
			return answer, err
		}
	}
	t.Person, t.Ownership, t.Now = person, g.Record.Ownership, time.Now().UnixMilli()
	after, err := c.store.Transition(ctx, "person:"+person, g.Record.Group, 0, t)
	if err != nil {
		return answer, err
	}
	c.learn(after)
	answer.Switch, answer.Revision = after.Record.Switch, after.Revision
	return answer, nil
}

// preflightBound is how long the agents may take to answer before a planned switch.
const preflightBound = 2 * time.Second

// preflight looks at what could make a planned switch fail or long. Its error is that one of the two members cannot do its part: such a
// switch would hold writes for its whole budget and be undone. What the record forbids is for Apply to say.
func (c *Controller) preflight(ctx context.Context, rec unit.Record, target unit.Member) ([]wire.Check, error) {
	life := estate.Life{Member: target.ID, N: target.Life}
	checks := []wire.Check{
		{Name: "open", OK: rec.State == unit.Open, Detail: "the group is " + string(rec.State)},
		{Name: "in-sync", OK: rec.InSyncLife(life), Detail: life.String() + " must hold everything that is acknowledged"},
		{Name: "no other switch", OK: !rec.Switch.Active(), Detail: "one switch at a time"},
	}
	owner, _ := rec.Member(rec.Owner.Member)
	theirs := make(chan able, 1)
	go func() { theirs <- c.able(ctx, target) }()
	of := c.able(ctx, owner)
	checks = append(checks, wire.Check{Name: "owner's agent", OK: of.problem == "", Detail: of.detail()})
	if of.answered {
		longest := time.Duration(of.state.LongestMillis) * time.Millisecond
		checks = append(checks, wire.Check{Name: "longest transaction", OK: longest < longTransaction, Detail: longest.String() + " open; transactions still open when the guard closes are ended"})
	}
	to := <-theirs
	checks = append(checks, wire.Check{Name: "target's agent", OK: to.problem == "", Detail: to.detail()})
	if to.answered {
		lag := to.state.Flushed - min(to.state.Flushed, to.state.Replayed)
		checks = append(checks, wire.Check{Name: "replay lag", OK: lag < 16<<20, Detail: fmt.Sprintf("%d bytes to replay", lag)})
	}
	switch {
	case of.problem != "":
		return checks, errs.New(errs.Refused, "cannot switch %s: the owner %s cannot hand over: %s; mend that, or use --mode emergency", rec.Group, owner.ID, of.problem)
	case to.problem != "":
		return checks, errs.New(errs.Refused, "cannot switch %s to %s: it cannot take over: %s; mend that, or choose another copy", rec.Group, target.ID, to.problem)
	}
	return checks, nil
}

// able is whether a member can do its part of a planned switch, as far as its agent says.
type able struct {
	state    wire.AgentState
	answered bool
	problem  string // "" where it can
}

func (a able) detail() string {
	if a.problem != "" {
		return a.problem
	}
	return "its database runs and answers"
}

func (c *Controller) able(ctx context.Context, m unit.Member) able {
	ctx, cancel := context.WithTimeout(ctx, preflightBound)
	defer cancel()
	state, err := c.agentState(ctx, m)
	switch {
	case err != nil:
		return able{problem: err.Error()}
	case !state.Running:
		return able{state: state, answered: true, problem: "its database does not run"}
	case !state.Answering:
		return able{state: state, answered: true, problem: "its database does not answer"}
	}
	return able{state: state, answered: true}
}

// forecast takes the pauses of the group's earlier planned switches.
func forecast(rec unit.Record) *wire.Forecast {
	var pauses []int64
	for _, p := range rec.Past {
		if p.Pause > 0 {
			pauses = append(pauses, p.Pause)
		}
	}
	if len(pauses) == 0 {
		return &wire.Forecast{PauseP50Millis: forecastFloorP50, PauseP95Millis: forecastFloorP95, Basis: "no earlier planned switch of this group: the product's target figures"}
	}
	slices.Sort(pauses)
	return &wire.Forecast{
		PauseP50Millis: pauses[len(pauses)/2], PauseP95Millis: pauses[(len(pauses)*95-1)/100],
		Basis: fmt.Sprintf("%d earlier planned switches of this group", len(pauses)),
	}
}

// Unit gives the record of the group that carries a unit.
func (c *Controller) Unit(ctx context.Context, id estate.UnitID) (wire.Group, error) {
	return c.find(ctx, id)
}
