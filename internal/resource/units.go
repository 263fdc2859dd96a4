package resource

import (
	"context"
	"strconv"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Switcher makes units current at other sites.
type Switcher interface {
	// Unit gives the record of the group that carries the unit.
	Unit(ctx context.Context, id estate.UnitID) (wire.Group, error)
	Switch(ctx context.Context, person string, id estate.UnitID, request wire.SwitchRequest) (wire.SwitchAnswer, error)
}

// Units is the driver of units: a switch of a unit as a step.
type Units struct{ Switcher Switcher }

// Between two looks at a switch that is under way.
const lookAgain = 100 * time.Millisecond

// Actions gives what the product says of its own driver.
func (Units) Actions() plan.Catalogue { return plan.BuiltIn().Of("unit") }

// Ensure makes the unit current at the site, and waits until it is. A switch of the same step that is under way is waited for.
func (u Units) Ensure(ctx context.Context, c Call) (map[string]any, error) {
	if c.Action == "state" {
		return u.Facts(ctx, c.Target)
	}
	if c.Posted {
		return u.follow(ctx, c, c.Token())
	}
	id := estate.UnitID(c.Target)
	before, err := u.Switcher.Unit(ctx, id)
	if err != nil {
		return nil, err
	}
	if result, done := told(before, c); done {
		return result, nil
	}
	mode, err := switchMode(c.Mode)
	if err != nil {
		return nil, err
	}
	answer, err := u.Switcher.Switch(ctx, c.By, id, wire.SwitchRequest{To: siteOf(c), Mode: mode, Reason: "run " + c.Key, ID: switchID(c.Token(), before.Record.Switch)})
	if err != nil {
		return nil, err
	}
	if answer.Switch == nil {
		return nil, errs.New(errs.Internal, "the switch of %s to %s was begun and has no name", id, siteOf(c))
	}
	return u.follow(ctx, c, answer.Switch.ID)
}

// follow waits for the end of a switch.
func (u Units) follow(ctx context.Context, c Call, name string) (map[string]any, error) {
	id, to := estate.UnitID(c.Target), siteOf(c)
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		if g, err := u.Switcher.Unit(ctx, id); err == nil { // the store may be between two leaders
			if result, done := told(g, c); done {
				return result, nil
			}
			switch s := g.Record.Switch; {
			case s == nil || s.ID != name:
				return nil, errs.New(errs.Conflict, "the switch of %s to %s was overtaken by another one", id, to)
			case s.Phase == unit.Failed:
				return nil, errs.New(errs.Conflict, "the switch of %s to %s was undone: %s", id, to, s.Reason)
			case !s.Active():
				return nil, errs.New(errs.Conflict, "the switch of %s to %s was done, and %s is %s at %s now", id, to, id, g.Record.State, g.Record.OwnerSite())
			}
		}
		select {
		case <-ctx.Done():
			return nil, errs.New(errs.Unknown, "the switch of %s to %s was begun and is not over: %w", id, to, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func siteOf(c Call) estate.SiteID { return estate.SiteID(text(c.With["to"])) }

// switchID is the same for all attempts of a step while their switch is under way. After one that was undone the next attempt asks for
// another switch: a request of the same ID would be given the old answer for ever.
func switchID(first string, last *unit.Switch) string {
	if last == nil {
		return first
	}
	again, isOurs := strings.CutPrefix(last.ID, first)
	number, isNumber := strings.CutPrefix(again, ":")
	n, err := strconv.Atoi(number)
	switch {
	case !isOurs || again != "" && (!isNumber || err != nil):
		return first
	case last.Active():
		return last.ID
	case again == "":
		n = 1
	}
	return first + ":" + strconv.Itoa(n+1)
}

// Observe says whether the unit is open at the site.
func (u Units) Observe(ctx context.Context, c Call) (map[string]any, bool, error) {
	g, err := u.Switcher.Unit(ctx, estate.UnitID(c.Target))
	if err != nil {
		return nil, false, err
	}
	result, done := told(g, c)
	return result, done, nil
}

// told is what a switch to the site gives once it is there. A planned one is over when the in-sync set is grown again (I2); an emergency when
// the unit is open, for the copies it would grow by may be gone for long.
func told(g wire.Group, c Call) (map[string]any, bool) {
	rec, to := g.Record, siteOf(c)
	over := !rec.Switch.Active() || c.Mode == plan.Emergency && rec.Switch.Phase == unit.Growing
	if rec.State != unit.Open || rec.OwnerSite() != to || !over {
		return nil, false
	}
	result := map[string]any{"site": string(to), "ownership": rec.Ownership.String(), "pauseMillis": float64(0)}
	if n := len(rec.Past); n > 0 {
		result["pauseMillis"] = float64(rec.Past[n-1].Pause)
	}
	lost(result, rec.Switch, c)
	return result, true
}

// lost notes what the people who decided on the switch of this call accepted to lose. Where they were asked nothing, its target was in the in-sync
// set, or the unit was at the site before.
func lost(result map[string]any, s *unit.Switch, c Call) {
	loss := unit.Loss{Amount: "0", Millis: new(int64), Source: "nothing was switched: it was there"}
	if s != nil && strings.HasPrefix(s.ID, c.Token()) {
		loss.Source = "its target was in the in-sync set: it had everything that was acknowledged"
		if s.Lossy {
			loss = unit.Loss{Transactions: -1, Accounts: -1}
			if s.Loss != nil {
				loss = *s.Loss
				loss.Source = strings.TrimPrefix(loss.Statement+"; "+loss.Source, "; ")
			}
		}
	}
	millis := int64(-1)
	if loss.Millis != nil {
		millis = *loss.Millis
	}
	result["lostTransactions"], result["lostAccounts"], result["lostMillis"] = float64(loss.Transactions), float64(loss.Accounts), float64(millis)
	result["lostAmount"], result["lossSource"] = loss.Amount, loss.Source
}

// Facts say how a unit stands.
func (u Units) Facts(ctx context.Context, target string) (map[string]any, error) {
	g, err := u.Switcher.Unit(ctx, estate.UnitID(strings.TrimPrefix(target, "unit/")))
	if err != nil {
		return nil, err
	}
	rec := g.Record
	return map[string]any{
		"site": string(rec.OwnerSite()), "state": string(rec.State), "ownership": rec.Ownership.String(), "inSync": float64(len(rec.InSync)),
		"accepting": rec.State == unit.Open, "quarantined": rec.Quarantine,
	}, nil
}

func switchMode(m plan.Mode) (unit.Mode, error) {
	switch m {
	case plan.Takeover, plan.Move, plan.Change:
		return unit.Takeover, nil
	case plan.SwitchBack:
		return unit.SwitchBack, nil
	case plan.Emergency:
		return unit.Emergency, nil
	case plan.Drill, plan.Failover, plan.Experiment, plan.Verification, plan.Inspection:
	}
	return "", errs.New(errs.Refused, "a run in mode %s switches no unit", m)
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
