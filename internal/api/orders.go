package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/heldorder"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	routing "perdure/internal/route"
	"perdure/internal/wire"
)

// OrderStore is what the API needs of the store about orders that were held.
type OrderStore interface {
	OrderHead(ctx context.Context, run string, r wire.Read) (heldorder.Head, error)
	Orders(ctx context.Context, run string) (*heldorder.Ledger, error)
	// OrderWords gives all that was said to them, one word a line.
	OrderWords(ctx context.Context, run string) ([]byte, error)
	SayOrders(ctx context.Context, run, who string, w heldorder.Word, line func(int) int, dry bool) (*heldorder.Ledger, heldorder.Word, error)
}

// Prover has owners of units say which orders they have.
type Prover interface {
	Prove(ctx context.Context, run, by string) error
}

// mayHold gives the head of a run whose orders the person may see, and whose alone; "": everybody's. Who only takes part is told of any other run the same,
// whether it is there or not.
func (s *Server) mayHold(ctx context.Context, id identity, name string) (head wire.Run, holder string, err error) {
	unknown := errs.New(errs.NotFound, "no orders of a run %s are %s's to see", name, id.Person)
	head, err = s.d.Store.Run(ctx, name, wire.Fresh)
	if id.has(Viewer) {
		return head, "", err
	}
	switch kind := errs.KindOf(err); {
	case kind == errs.NotFound || kind == errs.Invalid:
		return head, "", unknown
	case err != nil:
		return head, "", err
	case id.Participant == "":
		return head, "", unknown
	}
	program, err := s.d.Store.Program(ctx, name)
	if err != nil {
		return head, "", err
	}
	by := s.desk(ctx).person(id, head)
	if !slices.ContainsFunc(program.Nodes, func(n plan.Node) bool { return n.Step.Manual != nil && by.Answers(n.Step.Manual.Owner) }) {
		return head, "", unknown
	}
	return head, id.Participant, nil
}

type importOrdersInput struct {
	Run     string          `path:"run"`
	Holder  string          `query:"holder" maxLength:"64" doc:"participant that holds them; who belongs to one hands in theirs"`
	System  estate.SystemID `query:"system" maxLength:"64" doc:"system of lines that name none; by default the estate's only one with accounts"`
	DryRun  bool            `query:"dryRun" doc:"look only, write nothing"`
	RawBody []byte          `contentType:"text/csv"`
}

// importOrders takes a file of orders, whole or not at all.
func (s *Server) importOrders(ctx context.Context, in *importOrdersInput) (*body[wire.OrdersAnswer], error) {
	id := who(ctx)
	head, holder, err := s.mayHold(ctx, id, in.Run)
	switch {
	case err != nil:
		return nil, err
	case head.Tabletop || head.Mode != plan.Takeover && head.Mode != plan.Emergency:
		return nil, errs.New(errs.Refused, "run %s switches nothing in mode takeover or emergency: no orders are held because of it", in.Run)
	case holder == "":
		if err := id.maySteer(head); err != nil {
			return nil, err
		}
		if err := s.declared(ctx, in.Holder); err != nil {
			return nil, err
		}
		holder = in.Holder
	case in.Holder != "" && in.Holder != holder:
		return nil, errs.New(errs.Forbidden, "%s hands in the orders of %s, and of nobody else", id.Name, holder)
	}
	if !in.DryRun { // it keeps units from going home
		if err := s.forReal(ctx, id); err != nil {
			return nil, err
		}
	}
	reader, err := s.orderReader(ctx, in.System)
	if err != nil {
		return nil, err
	}
	reader.Holder = holder
	orders, line, problems := reader.Read(in.RawBody)
	if err := heldorder.Wrong(problems); err != nil {
		return nil, err
	}
	l, said, err := s.d.Store.SayOrders(ctx, in.Run, id.Name, heldorder.Word{What: heldorder.Import, By: id.Person, Orders: orders}, line, in.DryRun)
	if err != nil {
		return nil, err
	}
	out := s.ordersAnswer(l, holderOf(id), len(said.Orders), len(orders))
	out.Dry = in.DryRun
	return &body[wire.OrdersAnswer]{out}, nil
}

// holderOf is whose orders alone a person sees; "": everybody's.
func holderOf(id identity) string {
	if id.has(Viewer) {
		return ""
	}
	return id.Participant
}

func (s *Server) ordersAnswer(l *heldorder.Ledger, holder string, fresh, all int) wire.OrdersAnswer {
	units := l.Totals(holder)
	return wire.OrdersAnswer{New: fresh, Same: all - fresh, Totals: heldorder.Together(units), Units: units}
}

// declared refuses a holder that is no participant of the applied manifest, where that declares any.
func (s *Server) declared(ctx context.Context, holder string) error {
	list, err := s.participantsOf(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	switch {
	case slices.Contains(names, holder), holder != "" && len(names) == 0:
		return nil
	case holder == "" && len(names) == 0:
		return errs.New(errs.Invalid, "say who holds the orders (--holder)")
	case holder == "":
		return errs.New(errs.Invalid, "say which participant holds the orders (--holder); allowed: %s", strings.Join(names, ", "))
	}
	return errs.New(errs.NotFound, "the applied manifest has no participant %q; allowed: %s", holder, strings.Join(names, ", "))
}

// orderReader finds the unit of every account by the applied manifest.
func (s *Server) orderReader(ctx context.Context, system estate.SystemID) (heldorder.Reader, error) {
	if s.d.Plans == nil {
		return heldorder.Reader{}, errs.New(errs.Unavailable, "this node reads no manifest")
	}
	m, err := s.d.Store.Manifest(ctx, wire.Fresh)
	if err != nil {
		return heldorder.Reader{}, err
	}
	set, err := s.d.Plans.Estate(m.Text)
	if err != nil {
		return heldorder.Reader{}, err
	}
	return readerOf(&set, system)
}

func readerOf(set *manifest.Set, system estate.SystemID) (heldorder.Reader, error) {
	systems, _ := set.Routes()
	table, err := routing.Compile(routing.Input{Systems: systems})
	if err != nil {
		return heldorder.Reader{}, err
	}
	of := map[estate.SystemID]*routing.SystemTable{}
	var names []string
	for _, t := range table.Systems {
		of[t.ID] = t
		names = append(names, string(t.ID))
	}
	if system == "" && len(names) == 1 {
		system = table.Systems[0].ID
	}
	return heldorder.Reader{System: system, Unit: func(system estate.SystemID, account string) (estate.UnitID, error) {
		t := of[system]
		if t == nil {
			return "", fmt.Errorf("no system %q has accounts behind the gateways; allowed: %s", system, strings.Join(names, ", "))
		}
		_, u := t.Lookup([]byte(account))
		return t.Units[u].Unit, nil
	}}, nil
}

type listOrdersInput struct {
	Run    string          `path:"run"`
	State  heldorder.State `query:"state" enum:"open,entered,dropped" doc:"only those that stand so"`
	Holder string          `query:"holder" doc:"only those of a participant"`
	Paging
}

func (s *Server) listOrders(ctx context.Context, in *listOrdersInput) (*page[heldorder.Entry], error) {
	l, err := s.seenOrders(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	holder := holderOf(who(ctx))
	list := []heldorder.Entry{}
	for _, e := range l.Entries() {
		if (holder == "" || e.Holder == holder) && (in.Holder == "" || e.Holder == in.Holder) && (in.State == "" || e.State == in.State) {
			list = append(list, e)
		}
	}
	return pageOf(ctx, in.Paging, list, func(e heldorder.Entry) place { return place{0, e.Ref().String()} })
}

// seenOrders reads the orders of a run that the person may see something of.
func (s *Server) seenOrders(ctx context.Context, run string) (*heldorder.Ledger, error) {
	if _, _, err := s.mayHold(ctx, who(ctx), run); err != nil {
		return nil, err
	}
	return s.d.Store.Orders(ctx, run)
}

func (s *Server) orderTotals(ctx context.Context, in *runInput) (*body[wire.OrdersAnswer], error) {
	l, err := s.seenOrders(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	return &body[wire.OrdersAnswer]{s.ordersAnswer(l, holderOf(who(ctx)), 0, 0)}, nil
}

type dropOrdersInput struct {
	Run  string `path:"run"`
	Body wire.DropOrders
}

// dropOrders ends orders that are not entered; who belongs to a participant theirs.
func (s *Server) dropOrders(ctx context.Context, in *dropOrdersInput) (*body[wire.OrdersAnswer], error) {
	id := who(ctx)
	head, holder, err := s.mayHold(ctx, id, in.Run)
	if err != nil {
		return nil, err
	}
	if holder == "" {
		if err := id.maySteer(head); err != nil {
			return nil, err
		}
	}
	if err := s.forReal(ctx, id); err != nil { // it lets units go home
		return nil, err
	}
	for _, r := range in.Body.Orders {
		if holder != "" && r.Holder != holder {
			return nil, errs.New(errs.NotFound, "run %s has no order %s of %s", in.Run, r, holder)
		}
	}
	l, said, err := s.d.Store.SayOrders(ctx, in.Run, id.Name, heldorder.Word{What: heldorder.Drop, By: id.Person, Refs: in.Body.Orders, Reason: in.Body.Reason}, nil, false)
	if err != nil {
		return nil, err
	}
	return &body[wire.OrdersAnswer]{s.ordersAnswer(l, holder, len(said.Refs), len(in.Body.Orders))}, nil
}

// proveOrders asks the owners of the units for every order that is open.
func (s *Server) proveOrders(ctx context.Context, in *runInput) (*body[wire.OrdersAnswer], error) {
	id := who(ctx)
	if s.d.Orders == nil {
		return nil, errs.New(errs.Unavailable, "this node asks no owners of units")
	}
	head, err := s.d.Store.Run(ctx, in.Run, wire.Fresh)
	if err != nil {
		return nil, err
	}
	if err := id.maySteer(head); err != nil {
		return nil, err
	}
	before, err := s.d.Store.Orders(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	if err := s.d.Orders.Prove(ctx, in.Run, id.Name); err != nil {
		return nil, err
	}
	l, err := s.d.Store.Orders(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	out := s.ordersAnswer(l, "", 0, 0)
	out.New = max(0, out.Totals.Entered-heldorder.Together(before.Totals("")).Entered)
	return &body[wire.OrdersAnswer]{out}, nil
}
