package resource

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/heldorder"
	"perdure/internal/plan"
	"perdure/internal/wire"
)

// Orderbook keeps the orders of runs.
type Orderbook interface {
	OrderHeads(ctx context.Context, r wire.Read) ([]heldorder.Head, error)
	Orders(ctx context.Context, run string) (*heldorder.Ledger, error)
	SayOrders(ctx context.Context, run, who string, w heldorder.Word, line func(int) int, dry bool) (*heldorder.Ledger, heldorder.Word, error)
}

// Owners answers for the owners of units.
type Owners interface {
	// Unit gives the record of the group that carries the unit.
	Unit(ctx context.Context, id estate.UnitID) (wire.Group, error)
	// Recorded says what the unit's owner has recorded under keys, and in which ownership.
	Recorded(ctx context.Context, id estate.UnitID, keys []driver.Key) (estate.Ownership, []driver.Record, error)
}

// Orders is the driver of held orders 业务留单: it says how many of a unit are open over all runs, and has the unit's owner prove those that were entered.
type Orders struct {
	Book   Orderbook
	Owners Owners
	// By is who asks, for the audit log: "node:a".
	By string
}

// Actions gives what the product says of its own driver.
func (Orders) Actions() plan.Catalogue { return plan.BuiltIn().Of("orders") }

// Ensure asks the owner for every order that is open, where the action does so, and counts.
func (o Orders) Ensure(ctx context.Context, c Call) (map[string]any, error) {
	only := text(c.With["run"])
	if c.Action == "reconcile" {
		if err := o.prove(ctx, estate.UnitID(c.Target), only); err != nil {
			return nil, err
		}
	}
	totals, where, err := o.count(ctx, estate.UnitID(c.Target), only)
	if err != nil {
		return nil, err
	}
	if c.Action == "reconcile" && totals.Open > 0 {
		return nil, refused(c.Target, totals, where)
	}
	return orderFigures(totals), nil
}

// Observe says how the orders stand. What was written of an attempt stays written, so there is nothing that may have happened by halves.
func (o Orders) Observe(ctx context.Context, c Call) (map[string]any, bool, error) {
	totals, _, err := o.count(ctx, estate.UnitID(c.Target), text(c.With["run"]))
	if err != nil {
		return nil, false, err
	}
	return orderFigures(totals), totals.Open == 0, nil
}

// Facts are those of a unit, over all runs.
func (o Orders) Facts(ctx context.Context, target string) (map[string]any, error) {
	totals, _, err := o.count(ctx, estate.UnitID(target), "")
	if err != nil {
		return nil, err
	}
	return orderFigures(totals), nil
}

// Settled refuses a switch home of a unit while an order of its group is open, by what is written (H3): nobody is asked.
func (o Orders) Settled(ctx context.Context, id estate.UnitID) error {
	totals, where, err := o.count(ctx, id, "")
	if err != nil || totals.Open == 0 {
		return err
	}
	return refused(string(id), totals, where)
}

func refused(of string, t heldorder.Totals, where []string) error {
	return errs.New(errs.Refused, "%d orders of %s are open, about %s in all (run %s): enter them and have them found with perdure run orders prove RUN, or drop them with a reason; perdure run orders list RUN --state open shows them",
		t.Open, of, t.OpenAmount, strings.Join(where, ", "))
}

func orderFigures(t heldorder.Totals) map[string]any {
	return map[string]any{
		"orders": float64(t.All()), "held": float64(t.Held), "dr": float64(t.DR), "open": float64(t.Open), "entered": float64(t.Entered), "dropped": float64(t.Dropped),
		"openAmount": t.OpenAmount, "enteredAmount": t.EnteredAmount, "droppedAmount": t.DroppedAmount,
	}
}

// count gives the totals of all units that are switched with one, and which runs have open orders of theirs. What a loss has put in doubt counts as open (H4).
func (o Orders) count(ctx context.Context, id estate.UnitID, only string) (heldorder.Totals, []string, error) {
	g, heads, err := o.of(ctx, id, only)
	if err != nil {
		return heldorder.Totals{}, nil, err
	}
	now := time.Now()
	var all []heldorder.Totals
	var where []string
	for _, h := range heads {
		open := 0
		for _, t := range h.Units {
			if !slices.Contains(g.Record.Units, t.Unit) {
				continue
			}
			if !t.Settled(&g.Record, now) && len(t.Proved) > 0 {
				l, err := o.Book.Orders(ctx, h.Run)
				if err != nil {
					return heldorder.Totals{}, nil, err
				}
				t = l.TotalsNow(t.Unit, &g.Record, now)
			}
			open += t.Open
			all = append(all, t)
		}
		if open > 0 {
			where = append(where, fmt.Sprintf("%s: %d", h.Run, open))
		}
	}
	return heldorder.Together(all), where, nil
}

func (o Orders) of(ctx context.Context, id estate.UnitID, only string) (wire.Group, []heldorder.Head, error) {
	g, err := o.Owners.Unit(ctx, id)
	if err != nil {
		return g, nil, err
	}
	heads, err := o.Book.OrderHeads(ctx, wire.Fresh)
	if only != "" {
		heads = slices.DeleteFunc(heads, func(h heldorder.Head) bool { return h.Run != only })
	}
	return g, heads, err
}

// prove asks the owners of all units of a group for the orders that are not proved, run by run, and writes what is new.
func (o Orders) prove(ctx context.Context, id estate.UnitID, only string) error {
	g, heads, err := o.of(ctx, id, only)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, h := range heads {
		if !slices.ContainsFunc(h.Units, func(t heldorder.Totals) bool {
			return slices.Contains(g.Record.Units, t.Unit) && !t.Settled(&g.Record, now)
		}) {
			continue
		}
		l, err := o.Book.Orders(ctx, h.Run)
		if err != nil {
			return err
		}
		for _, u := range g.Record.Units {
			if err := o.ask(ctx, h.Run, o.By, l.Unproved(u, &g.Record, now)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Prove asks the owners for all orders of a run that are not proved, and writes what is new. by is who wants to know.
func (o Orders) Prove(ctx context.Context, run, by string) error {
	l, err := o.Book.Orders(ctx, run)
	if err != nil {
		return err
	}
	var failed error
	for _, t := range l.Totals("") {
		g, err := o.Owners.Unit(ctx, t.Unit)
		if err == nil {
			err = o.ask(ctx, run, by, l.Unproved(t.Unit, &g.Record, time.Now()))
		}
		failed = cmp.Or(failed, err) // what other owners say is worth knowing
	}
	return failed
}

// ask has the owner of a unit say what it has of orders of that unit.
func (o Orders) ask(ctx context.Context, run, by string, orders []heldorder.Order) error {
	if len(orders) == 0 {
		return nil
	}
	keys := make([]driver.Key, len(orders))
	for i := range orders {
		keys[i] = driver.Key{Caller: orders[i].Caller, RoutingKey: orders[i].Account, Key: orders[i].Key}
	}
	in, found, err := o.Owners.Recorded(ctx, orders[0].Unit, keys)
	if err != nil {
		return err
	}
	records := make([]*heldorder.Record, len(orders))
	for _, r := range found {
		records[r.Index] = &heldorder.Record{Status: r.Status, Amount: r.Amount}
	}
	proofs := make([]heldorder.Proof, len(orders))
	for i := range orders {
		proofs[i] = heldorder.Compare(&orders[i], in, records[i])
	}
	_, _, err = o.Book.SayOrders(ctx, run, by, heldorder.Word{What: heldorder.Ask, By: by, Proofs: proofs}, nil, false)
	return err
}
