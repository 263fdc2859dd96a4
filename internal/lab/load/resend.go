package load

import (
	"cmp"
	"context"
	"sync"

	"perdure/internal/lab/history"
)

// resenders is how many requests are sent again at a time.
const resenders = 8

// Resend brings requests in again, as people's systems do with what a list of divergence names: each by its caller, from the site, with the
// key that it was first sent with, until it has a proper answer or a client's patience is over. done is given each call, one at a time; its
// error ends everything. Of each of the requests what asks for it counts, and its ID, First, Phase and Key.
func Resend(ctx context.Context, s Site, clock history.Clock, requests []history.Call, done func(history.Call) error) error {
	opt := Options{Sites: []Site{s}}.withDefaults()
	clients := map[string]*client{}
	for _, r := range requests {
		if clients[r.Caller] != nil {
			continue
		}
		c, err := newClient(s, opt, resenders)
		if err != nil {
			return err
		}
		defer c.close()
		c.caller = r.Caller // a key is one of its caller's: for anybody else it would be another
		clients[r.Caller] = c
	}
	var (
		mu    sync.Mutex
		first error
		group sync.WaitGroup
	)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	work := make(chan history.Call)
	for range min(resenders, len(requests)) {
		group.Go(func() {
			for r := range work {
				call := clients[r.Caller].do(clock, request{
					id: r.ID, first: r.First, phase: r.Phase, op: r.Op, key: keyOf(r.Key), from: r.From, to: r.To, amount: r.Amount, unit: r.Unit,
				})
				if r.Phase == history.Resend {
					call.Listed = r.Key
				}
				mu.Lock()
				if err := done(call); err != nil {
					first = cmp.Or(first, err)
					stop()
				}
				mu.Unlock()
			}
		})
	}
	for _, r := range requests {
		select {
		case work <- r:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(work)
	group.Wait()
	return cmp.Or(first, context.Cause(ctx))
}
