package document

import (
	"strconv"

	"perdure/internal/heldorder"
	"perdure/internal/run"
)

// mostOrders are listed of those that are open, and of those that were dropped.
const mostOrders = 200

// orders is what became of the orders that were held because of the run: for each unit, then those that are open and those that were dropped, with the reason.
func (w *writer) orders() []Section {
	l := w.src.Orders
	if l == nil || len(l.Entries()) == 0 {
		return nil
	}
	t := w.t
	s := Section{Title: t.say("orders"), Head: w.heads("orders.unit", "orders.held", "orders.dr", "orders.open", "orders.openAmount", "orders.entered", "orders.enteredAmount", "orders.dropped", "orders.droppedAmount")}
	row := func(name string, of heldorder.Totals) {
		s.Rows = append(s.Rows, []string{
			name, strconv.Itoa(of.Held), strconv.Itoa(of.DR), strconv.Itoa(of.Open), of.OpenAmount, strconv.Itoa(of.Entered), of.EnteredAmount, strconv.Itoa(of.Dropped), of.DroppedAmount,
		})
	}
	units := l.Totals("")
	for _, of := range units {
		row(string(of.Unit), of)
	}
	row(t.say("orders.all"), heldorder.Together(units))
	return []Section{
		s,
		w.orderList("orders.openList", heldorder.Open, "orders.found", func(e *heldorder.Entry) string { return w.found(e.Proof) }),
		w.orderList("orders.droppedList", heldorder.Dropped, "orders.why", func(e *heldorder.Entry) string { return e.DroppedBy + ": " + e.Reason }),
	}
}

// orderList lists the orders of a state, up to a bound.
func (w *writer) orderList(title string, state heldorder.State, last string, says func(*heldorder.Entry) string) Section {
	s := Section{Title: w.t.say(title), Head: w.heads("orders.holder", "orders.reference", "orders.kind", "orders.unit", "orders.account", "orders.amount", "orders.taken", last)}
	more := 0
	for i := range w.src.Orders.Entries() {
		e := &w.src.Orders.Entries()[i]
		switch {
		case e.State != state:
		case len(s.Rows) == mostOrders:
			more++
		default:
			s.Rows = append(s.Rows, []string{e.Holder, e.Reference, w.t.word("orders.kind", string(e.Kind)), string(e.Unit), e.Account + "\n" + e.Key, e.Amount, w.at(e.At), says(e)})
		}
	}
	if more > 0 {
		s.Rows = append(s.Rows, []string{w.t.say("orders.more", more), "", "", "", "", "", "", ""})
	}
	return s
}

// found says what the owner of the unit has under the key of an order that is open.
func (w *writer) found(p *heldorder.Proof) string {
	if p == nil {
		return w.t.say("orders.never")
	}
	switch p.Found {
	case heldorder.Declined:
		return w.t.say("orders.refused", p.Status)
	case heldorder.Differs:
		return w.t.say("orders.differs", p.Amount)
	case heldorder.Present, heldorder.Absent:
	}
	return w.t.say("orders.gone")
}

// reconciled is what the steps of the run found that no order was open after.
func (w *writer) reconciled() Section {
	s := Section{Title: w.t.say("orders.reconciled"), Head: w.heads("step", "orders.unit", "orders.held", "orders.dr", "orders.entered", "orders.enteredAmount", "orders.dropped", "orders.droppedAmount")}
	for i := range w.r.Steps {
		act, state := w.src.Program.Nodes[i].Step.Act, &w.r.Steps[i]
		if act == nil || act.Driver != "orders" || act.Action != "reconcile" || state.Status != run.DoneStep || state.Call == nil { // nil: a person says so
			continue
		}
		row := []string{w.named(i), state.Call.Target}
		for _, name := range []string{"held", "dr", "entered", "enteredAmount", "dropped", "droppedAmount"} {
			row = append(row, w.value(state.Result[name]))
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}
