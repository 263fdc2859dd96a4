package cli

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"perdure/internal/errs"
	"perdure/internal/heldorder"
	"perdure/internal/wire"
)

func (s *session) ordersCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "orders", Short: "Orders that were held because of a takeover 业务留单, until each is entered or dropped", Args: cobra.ArbitraryArgs, RunE: parent,
		Long: `A run in mode takeover or emergency has a ledger of orders: those that participants held, and those that were taken at the DR side on paper.
An order is entered like any request, through the gateway with its idempotency key. "prove" asks the owner of its unit for the record of that key; where it is
there, of a request that was carried out and with the same amount, the order is entered. Nobody says so by hand. What is not entered is dropped, with a reason.
No unit is switched back while an order of it is open. An emergency waits for none.`,
	}
	c.AddCommand(s.importOrdersCommand(), s.listOrdersCommand(), s.orderTotalsCommand(), s.proveOrdersCommand(), s.dropOrdersCommand())
	return c
}

func (s *session) importOrdersCommand() *cobra.Command {
	var holder, system string
	var dry bool
	c := &cobra.Command{
		Use: "import RUN FILE", Short: "Hand in a CSV file of orders, whole or not at all; the same file again changes nothing",
		Long: `The first line names the columns, each further line is one order:

  reference  what the order is called by who holds it; once for each holder
  account    routing key of the request that enters it
  key        idempotency key of that request
  amount     decimal above 0
  time       when it was taken, such as 2026-11-22T08:00:00+08:00
  kind       held: to be entered after the takeover (default); dr: taken at the DR side past the gateway
  system     system that has the account (default: --system, or the estate's only one)
  caller     who sends the request (default: anonymous)
  note       a line for people

The last four may be left out. A file has at most 20,000 orders and 8 MiB, as has a run.`,
		Example: `  perdure run orders import takeover-0412 branch.csv --dry-run
  perdure run orders import takeover-0412 branch.csv --holder branch-north`,
		Args: exactly("RUN", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[1])
			if err != nil {
				return errs.New(errs.NotFound, "cannot read the orders: %w", err)
			}
			defer file.Close()
			data, err := io.ReadAll(io.LimitReader(file, heldorder.MostBytes+1))
			if err != nil {
				return errs.New(errs.Invalid, "cannot read the orders: %w", err)
			}
			if len(data) > heldorder.MostBytes {
				return errs.New(errs.Invalid, "%s is larger than a file of orders may be: %d bytes are the most", args[1], heldorder.MostBytes)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			query := url.Values{}
			if holder != "" {
				query.Set("holder", holder)
			}
			if system != "" {
				query.Set("system", system)
			}
			a, err := c.ImportOrders(cmd.Context(), args[0], query, dry, data)
			if err != nil {
				if errs.KindOf(err) == errs.Invalid {
					return errs.New(errs.Invalid, "%s: %w", filepath.Base(args[1]), err)
				}
				return err
			}
			said := ordersImported
			if dry {
				said = ordersLookedAt
			}
			return s.showOrderTotals(a, s.say(said, a.New, a.Same))
		},
	}
	c.Flags().StringVar(&holder, "holder", "", "participant that holds them; who belongs to one hands in theirs")
	c.Flags().StringVar(&system, "system", "", "system of lines that name none")
	c.Flags().BoolVar(&dry, "dry-run", false, "look only, write nothing")
	return c
}

func (s *session) showOrderTotals(a wire.OrdersAnswer, said string) error {
	if s.json {
		return s.emit(a)
	}
	if said != "" {
		fmt.Fprintln(s.Out, said)
	}
	line := func(t heldorder.Totals) string {
		return s.say(orderTotals, t.Held, t.DR, t.Open, t.OpenAmount, t.Entered, t.EnteredAmount, t.Dropped, t.DroppedAmount)
	}
	if len(a.Units) > 1 {
		for _, t := range a.Units {
			fmt.Fprintf(s.Out, "%s: %s\n", t.Unit, line(t))
		}
		fmt.Fprintf(s.Out, "%s: ", s.say(allUnits))
	}
	fmt.Fprintln(s.Out, line(a.Totals))
	return nil
}

func (s *session) listOrdersCommand() *cobra.Command {
	var state, holder string
	var limit int
	c := &cobra.Command{
		Use: "list RUN", Short: "The orders of a run, and how each stands", Args: exactly("RUN"),
		Example: `  perdure run orders list takeover-0412 --state open`,
		RunE: func(cmd *cobra.Command, args []string) error {
			states := []string{string(heldorder.Open), string(heldorder.Entered), string(heldorder.Dropped)}
			switch {
			case limit < 0:
				return usagef("--limit %d is out of range; allowed: 1 and more, or 0 for all", limit)
			case state != "" && !slices.Contains(states, state):
				return usagef("--state %q is not known; allowed: %s", state, strings.Join(states, ", "))
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			query := url.Values{}
			if state != "" {
				query.Set("state", state)
			}
			if holder != "" {
				query.Set("holder", holder)
			}
			list, err := c.Orders(cmd.Context(), args[0], query, limit)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(append([]heldorder.Entry{}, list...))
			}
			if len(list) == 0 {
				fmt.Fprintln(s.Out, s.say(noOrders))
				return nil
			}
			var g grid
			g.cells(cell{s.say(colHolder), faint}, cell{s.say(colReference), faint}, cell{s.say(colKind), faint}, cell{s.say(colUnit), faint}, cell{s.say(colAccountKey), faint},
				cell{s.say(colOrderAmount), faint}, cell{s.say(colTaken), faint}, cell{s.say(colState), faint}, cell{s.say(colFinding), faint})
			for i := range list {
				e := &list[i]
				kind := kindHeld
				if e.Kind == heldorder.DR {
					kind = kindDR
				}
				state, c := orderState(e.State)
				g.cells(cell{text: e.Holder}, cell{text: e.Reference}, cell{text: s.say(kind)}, cell{text: string(e.Unit)}, cell{text: e.Account + " " + e.Key},
					cell{text: e.Amount}, cell{text: at(e.At.UnixMilli())}, cell{s.say(state), c}, cell{text: s.orderFinding(e)})
			}
			g.write(s, s.Out, "")
			return nil
		},
	}
	c.Flags().StringVar(&state, "state", "", "only those that are open, entered or dropped")
	c.Flags().StringVar(&holder, "holder", "", "only those of a participant")
	c.Flags().IntVar(&limit, "limit", 100, "how many; 0 for all")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"open", "entered", "dropped"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func orderState(s heldorder.State) (phrase, colour) {
	switch s {
	case heldorder.Entered:
		return orderEntered, green
	case heldorder.Dropped:
		return orderDropped, faint
	case heldorder.Open:
	}
	return orderOpen, yellow
}

// orderFinding says what the owner said of an order, or why it was dropped.
func (s *session) orderFinding(e *heldorder.Entry) string {
	if e.State == heldorder.Dropped {
		return s.say(droppedBy, e.DroppedBy, e.Reason)
	}
	if e.Proof == nil {
		return "-"
	}
	switch e.Proof.Found {
	case heldorder.Present:
		return s.say(foundIn, e.Proof.Ownership.String())
	case heldorder.Declined:
		return s.say(foundRefused, e.Proof.Status)
	case heldorder.Differs:
		return s.say(foundDiffers, e.Proof.Amount)
	case heldorder.Absent:
	}
	return s.say(foundGone)
}

func (s *session) orderTotalsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "totals RUN", Short: "How many orders of a run stand how, and their amounts, for each unit", Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			a, err := c.OrderTotals(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.showOrderTotals(a, "")
		},
	}
}

func (s *session) proveOrdersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "prove RUN", Short: "Ask the owners of the units for every order that is open, and write down what is there", Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			a, err := c.ProveOrders(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.showOrderTotals(a, s.say(ordersProved, a.New))
		},
	}
}

func (s *session) dropOrdersCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "drop RUN HOLDER/REFERENCE … --reason TEXT", Short: "Say that orders are not entered, and why; that stays so",
		Example: `  perdure run orders drop takeover-0412 branch-north/N-17 --reason "the customer took it back"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) > 1001 {
				return usagef("expected RUN and 1 to 1000 orders as HOLDER/REFERENCE, got %s arguments", strconv.Itoa(len(args)))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usagef("--reason is missing: it is kept with the order")
			}
			drop := wire.DropOrders{Reason: reason}
			for _, name := range args[1:] {
				holder, reference, ok := strings.Cut(name, "/")
				if !ok || holder == "" || reference == "" {
					return usagef("%q names no order: write HOLDER/REFERENCE, as perdure run orders list shows them", name)
				}
				drop.Orders = append(drop.Orders, heldorder.Ref{Holder: holder, Reference: reference})
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			a, err := c.DropOrders(cmd.Context(), args[0], drop)
			if err != nil {
				return err
			}
			return s.showOrderTotals(a, s.say(ordersDropped, a.New, a.Same))
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; it is kept with the order")
	return c
}
