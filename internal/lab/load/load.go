// Package load puts a steady, keyed payment load on an estate through its gateways and records every call in a history.
//
// It is open-loop: each lane (the clients of one site that use one unit) sends at its own rate whatever the product does, and a lane that
// waits for one unit never holds up another. A client sends a request to its own site's gateway and goes on to the next in its list when
// that is reset, unreachable or silent, always with the same Idempotency-Key, until it has a proper answer or its patience (10 s) is over.
// Calls that stay unresolved are sent again after the load (Settle), so that the checker knows what became of them.
package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// Site is where clients are.
type Site struct {
	ID estate.SiteID
	// Gateways are base addresses such as http://gateway.a.perdure.internal:7500, in the order the clients try them.
	Gateways []string
	// Hosts is the site's own view of names; a name that is missing is resolved by the system.
	Hosts map[string]string
	// Share is the part of each unit's rate that comes from here, relative to the other sites; 0 means 1.
	Share float64
}

// Unit is who is called.
type Unit struct {
	ID estate.UnitID
	// Accounts must be routed to the unit; at least two.
	Accounts []string
	// Rate is calls per second over all sites.
	Rate float64
}

// Mix weighs the operations; all zero means DefaultMix.
type Mix struct{ Transfer, Credit, Debit, Cross, Balance int }

// DefaultMix is mostly transfers, with each of the others.
var defaultMix = Mix{Transfer: 60, Credit: 10, Debit: 10, Cross: 8, Balance: 12}

// Options say what load is put on whom.
type Options struct {
	Sites []Site
	Units []Unit
	Mix   Mix
	// Hot is how many accounts of each unit are hot, HotShare the part of the calls that use one of them (0..1).
	Hot      int
	HotShare float64
	// CrossShare is the part of the calls that go from one unit to another in any case, beside those of Mix (0..1).
	CrossShare float64
	// Overdraft is the part of the debits that ask for more than any account holds and have to be refused (0..1).
	Overdraft float64
	// Duplicates is the part of the writes whose key is sent a second time, half of them while the first is under way (0..1).
	Duplicates float64
	// Workers bounds the calls under way per lane; 0 means 128. When all are busy the lane skips calls and counts them.
	Workers int
	// AttemptTimeout bounds one sending, DialTimeout one connection; 0 means 5 s and 1 s.
	AttemptTimeout, DialTimeout time.Duration
	// Once: what got no answer is never sent again, neither to another gateway nor by Settle.
	Once bool
	// Avoid is how long a gateway that failed is not tried first; 0 means 1 s.
	Avoid time.Duration
	// Replays is how many answered keys are sent again by Settle, to see that a replay is the same; 0 means 200, negative none.
	Replays int
	// TLS is used for gateways with https addresses.
	TLS  *tls.Config
	Seed uint64
}

func (o Options) withDefaults() Options {
	if o.Mix == (Mix{}) {
		o.Mix = defaultMix
	}
	o.Workers = cmp.Or(o.Workers, 128)
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, 5*time.Second)
	o.DialTimeout = cmp.Or(o.DialTimeout, time.Second)
	o.Avoid = cmp.Or(o.Avoid, time.Second)
	o.Replays = max(0, cmp.Or(o.Replays, 200))
	o.Sites = slices.Clone(o.Sites)
	for i := range o.Sites {
		o.Sites[i].Share = cmp.Or(o.Sites[i].Share, 1)
	}
	return o
}

func (o Options) validate() error {
	if len(o.Sites) == 0 || len(o.Units) == 0 {
		return errs.New(errs.Invalid, "cannot make load: it needs at least one site and one unit")
	}
	for _, s := range o.Sites {
		if len(s.Gateways) == 0 || s.Share < 0 {
			return errs.New(errs.Invalid, "cannot make load from site %s: it needs at least one gateway and a share of 0 or more", s.ID)
		}
	}
	for _, u := range o.Units {
		if len(u.Accounts) < 2 || u.Rate <= 0 {
			return errs.New(errs.Invalid, "cannot make load on unit %s: it needs at least two accounts and a rate above 0", u.ID)
		}
	}
	if m := o.Mix; min(m.Transfer, m.Credit, m.Debit, m.Cross, m.Balance) < 0 {
		return errs.New(errs.Invalid, "cannot make load: a weight of the mix is negative")
	}
	for _, p := range []float64{o.HotShare, o.CrossShare, o.Overdraft, o.Duplicates} {
		if p < 0 || p > 1 {
			return errs.New(errs.Invalid, "cannot make load: %v is not a part between 0 and 1", p)
		}
	}
	return nil
}

// Generator makes the load. New, then Run once, then Settle once, then Close.
type Generator struct {
	opt      Options
	out      *history.Writer
	log      *slog.Logger
	clients  []*client // by site
	lanes    []*lane
	calls    atomic.Uint64
	counters *counters
	open     *unresolved
	sample   *sample
}

// New prepares the load and records who the clients are.
func New(opt Options, out *history.Writer, log *slog.Logger) (*Generator, error) {
	if err := opt.validate(); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	g := &Generator{opt: opt, out: out, log: log, open: &unresolved{}, sample: newSample(opt.Replays, opt.Seed)}
	g.counters = newCounters(opt)
	total := 0.0
	for i, s := range opt.Sites {
		c, err := newClient(s, opt, len(opt.Units)*opt.Workers*2)
		if err != nil {
			return nil, err
		}
		g.clients = append(g.clients, c)
		total += opt.Sites[i].Share
		if err := out.Append(history.Event{Client: &history.Client{Site: s.ID, Caller: c.caller, Gateways: s.Gateways}}); err != nil {
			return nil, err
		}
	}
	for si := range opt.Sites {
		for ui, u := range opt.Units {
			rate := u.Rate * opt.Sites[si].Share / total
			if rate == 0 {
				continue
			}
			random := rand.New(rand.NewPCG(opt.Seed, uint64(si)<<32|uint64(ui)))
			g.lanes = append(g.lanes, &lane{
				gen: g, client: g.clients[si], unit: ui, rate: rate, random: random,
				due: make(chan request, opt.Workers),
			})
		}
	}
	return g, nil
}

// Run puts the load on until ctx ends, then waits for the calls under way (at most the clients' patience).
// It fails only when the history cannot be written.
func (g *Generator) Run(ctx context.Context) error {
	if err := g.out.Append(history.Event{Load: &history.Load{At: g.out.Now(), What: history.LoadBegins}}); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var (
		group  sync.WaitGroup
		once   sync.Once
		failed error
	)
	fail := func(err error) { once.Do(func() { failed = err; stop() }) }
	for _, l := range g.lanes {
		group.Go(func() { l.pace(ctx) })
		for range g.opt.Workers {
			group.Go(func() {
				for r := range l.due {
					if err := g.serve(l.client, r); err != nil {
						fail(err)
					}
				}
			})
		}
	}
	group.Wait()
	if failed != nil {
		return failed
	}
	skipped := g.counters.skipped.Load()
	if skipped > 0 {
		g.log.Warn("load was below its rate: all workers of a lane were busy", "skipped", skipped)
	}
	return g.out.Append(history.Event{Load: &history.Load{At: g.out.Now(), What: history.LoadEnds, Skipped: skipped}})
}

// serve carries out one request and its duplicates, if it is to have any.
func (g *Generator) serve(c *client, r request) error {
	var twin sync.WaitGroup
	var twinErr error
	if r.duplicate == meanwhile {
		twin.Go(func() { _, twinErr = g.call(c, r.again(history.Duplicate)) })
	}
	call, err := g.call(c, r)
	twin.Wait()
	if err == nil {
		err = twinErr
	}
	if err != nil {
		return err
	}
	if r.duplicate == afterwards && call.Outcome == history.Acknowledged {
		_, err = g.call(c, r.again(history.Duplicate))
	}
	return err
}

// call carries out one request, counts it, remembers it where it has to be sent again, and records it.
func (g *Generator) call(c *client, r request) (history.Call, error) {
	if r.id == 0 {
		r.id = g.calls.Add(1)
	}
	g.counters.begin()
	call := c.do(g.out, r)
	g.counters.end(r, &call, time.Now())
	if r.op.Writes() && r.phase == history.Steady {
		switch call.Outcome {
		case history.Unresolved:
			if !c.once {
				g.open.add(c, r)
			}
		case history.Acknowledged:
			g.sample.offer(c, r)
		case history.Refused, history.Wrong:
			if call.Passing() && !c.once {
				g.open.add(c, r)
			}
		}
	}
	return call, g.out.Append(history.Event{Call: &call})
}

// Settle sends the keys of all unresolved calls again until each has a proper answer or ctx ends, then a sample of the answered ones.
// It gives how many stay unresolved; those may or may not have happened, and the checker takes either.
func (g *Generator) Settle(ctx context.Context) (int, error) {
	left := g.open.take()
	for len(left) > 0 && ctx.Err() == nil {
		next, err := g.resend(ctx, left, history.Settle)
		if err != nil {
			return len(left), err
		}
		left = next
	}
	_, err := g.resend(ctx, g.sample.take(), history.Replay)
	return len(left), err
}

// resend sends each request again, a few at a time, and gives those without a proper answer.
func (g *Generator) resend(ctx context.Context, rs []pending, phase history.Phase) ([]pending, error) {
	var (
		mu    sync.Mutex
		left  []pending
		first error
		group sync.WaitGroup
	)
	work := make(chan pending)
	for range min(32, len(rs)) {
		group.Go(func() {
			for p := range work {
				call, err := g.call(p.client, p.request.again(phase))
				mu.Lock()
				if call.Outcome == history.Unresolved {
					left = append(left, p)
				}
				first = cmp.Or(first, err)
				mu.Unlock()
			}
		})
	}
	for i, p := range rs {
		if ctx.Err() != nil {
			mu.Lock()
			left = append(left, rs[i:]...)
			mu.Unlock()
			break
		}
		work <- p
	}
	close(work)
	group.Wait()
	return left, first
}

// Cut tells the live counters that the clients of a site are inside a cut-off site, or no longer; the history learns it from the story's faults.
func (g *Generator) Cut(site estate.SiteID, cut bool) { g.counters.cut(site, cut) }

// Number gives the first of n numbers of calls that are nobody else's.
func (g *Generator) Number(n int) uint64 { return g.calls.Add(uint64(n)) - uint64(n) + 1 }

// Snapshot is the state of the load at this moment.
func (g *Generator) Snapshot() Snapshot { return g.counters.snapshot(time.Now()) }

// Close ends idle connections.
func (g *Generator) Close() {
	for _, c := range g.clients {
		c.close()
	}
}

// SplitAccounts names n accounts and gives each unit those whose slot it owns, for estates without overrides of single keys.
func SplitAccounts(n, slots int, owner func(estate.Slot) estate.UnitID) map[estate.UnitID][]string {
	split := make(map[estate.UnitID][]string)
	for i := range n {
		name := fmt.Sprintf("acc-%06d", i)
		u := owner(estate.SlotOf([]byte(name), slots))
		split[u] = append(split[u], name)
	}
	return split
}
