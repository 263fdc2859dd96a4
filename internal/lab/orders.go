package lab

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/lab/history"
	"perdure/internal/lab/load"
	"perdure/internal/lab/story"
)

// heldOrders are the orders that a story has held: what they ask for, in the order in which they are entered and dropped.
type heldOrders struct {
	run    string
	orders []history.Call
	done   int // so many of them were entered or dropped
}

// holder is the participant of the estates of the lab that holds orders.
const holder = "head-office"

func (h *heldOrders) reference(n int) string { return fmt.Sprintf("HO-%03d", n+1) }

// orders does with held orders what people do: they are handed in by a file, sent through a gateway when they are entered, and dropped.
func (r *running) orders(ctx context.Context, binary string, out *story.Progress, a story.Orders) error {
	if a.What == story.Hold {
		return r.hold(ctx, binary, out, a)
	}
	if r.held == nil {
		return errs.New(errs.Conflict, "no orders were held")
	}
	if a.What == story.Prove {
		said, err := r.command(ctx, binary, a.As, a.At, "run", "orders", "prove", r.held.run)
		tell(out, said)
		return refused(err, a.Refused)
	}
	from, until := r.held.done, r.held.done+a.Number
	if until > len(r.held.orders) {
		return errs.New(errs.Invalid, "%d of %d orders are left", len(r.held.orders)-from, len(r.held.orders))
	}
	if a.What == story.Enter {
		r.held.done = until
		return r.enter(ctx, binary, out, r.held.orders[from:until])
	}
	args := []string{"run", "orders", "drop", r.held.run}
	for n := from; n < until; n++ {
		args = append(args, holder+"/"+r.held.reference(n))
	}
	said, err := r.command(ctx, binary, a.As, a.At, append(args, "--reason", a.Reason)...)
	tell(out, said)
	if err := refused(err, a.Refused); err != nil || a.Refused != "" {
		return err
	}
	r.held.done = until
	return nil
}

func tell(out *story.Progress, said []byte) {
	for line := range strings.Lines(string(said)) {
		out.Say("   %s", strings.TrimRight(line, "\n"))
	}
}

// hold hands in orders of accounts of a unit: first to be looked at, then twice, of which the second time changes nothing.
func (r *running) hold(ctx context.Context, binary string, out *story.Progress, a story.Orders) error {
	if r.run == "" {
		return errs.New(errs.Conflict, "no run was started")
	}
	var accounts []string
	r.loadMu.Lock()
	for _, u := range r.asked.Units {
		if u.ID == a.Unit {
			accounts = u.Accounts
		}
	}
	r.loadMu.Unlock()
	if len(accounts) == 0 {
		return errs.New(errs.Conflict, "there is no load, so no account of %s to hold orders of", a.Unit)
	}
	var file bytes.Buffer
	w := csv.NewWriter(&file)
	lines := [][]string{{"reference", "account", "caller", "key", "amount", "time", "kind", "note"}}
	h := &heldOrders{run: r.run}
	caller := "load-" + string(r.layout.Sites[0])
	for n := range a.Number {
		c := history.Call{Caller: caller, Key: fmt.Sprintf("held-%s-%d", r.run, n), Op: history.Credit, From: accounts[n%len(accounts)], Amount: history.Cents(int64(1000 + n)), Unit: a.Unit}
		kind := "held"
		if n%3 == 2 {
			kind = "dr"
		}
		h.orders = append(h.orders, c)
		lines = append(lines, []string{h.reference(n), c.From, c.Caller, c.Key, c.Amount.String(), time.Now().Format(time.RFC3339), kind, "of the story"})
	}
	if err := w.WriteAll(lines); err != nil {
		return errs.New(errs.Internal, "cannot write orders: %w", err)
	}
	path := filepath.Join(r.layout.Dir, "held-orders.csv")
	if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
		return errs.New(errs.Unavailable, "cannot write %s: %w", path, err)
	}
	for _, more := range [][]string{{"--dry-run"}, nil, nil} {
		said, err := r.command(ctx, binary, a.As, a.At, append([]string{"run", "orders", "import", r.run, path, "--holder", holder}, more...)...)
		tell(out, said)
		if err := refused(err, a.Refused); err != nil || a.Refused != "" {
			return err
		}
	}
	r.held = h
	return nil
}

// enter sends the requests of orders through a gateway at the site where their unit is, as the front office does: they are calls of the history like all
// others.
func (r *running) enter(ctx context.Context, binary string, out *story.Progress, orders []history.Call) error {
	ctx, cancel := context.WithTimeout(ctx, resendWait)
	defer cancel()
	rec, err := r.groupOf(ctx, orders[0].Unit)
	if err != nil {
		return err
	}
	work := resending{Requests: orders}
	for e, err := range r.hist.SoFar() {
		if err != nil {
			return err
		}
		if e.Begin != nil {
			work.Began = e.Begin.At
			break
		}
	}
	for n, id := range r.layout.Sites {
		if r.hasGateway(id) && (work.Site.ID == "" || id == rec.OwnerSite()) {
			work.Site = load.Site{ID: id, Gateways: r.layout.Gateways(id), Hosts: r.layout.Hosts(n + 1)}
		}
	}
	r.loadMu.Lock()
	if r.gen == nil {
		r.loadMu.Unlock()
		return errs.New(errs.Conflict, "there is no load: orders are entered beside it")
	}
	first := r.gen.Number(len(orders))
	r.loadMu.Unlock()
	for i := range work.Requests {
		work.Requests[i].ID = first + uint64(i)
	}
	tally, err := r.sendAgain(ctx, binary, out, work)
	out.Say("   %d held orders were entered: %d carried out, %d refused", tally.all, tally.committed, tally.refused)
	return err
}
