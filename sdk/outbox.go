package sdk

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Message is one row of the outbox. Key is its Idempotency-Key at the destination, the same for every attempt.
type Message struct {
	ID          int64
	Unit        string
	Destination string
	RoutingKey  string
	Key         string
	Headers     map[string]string
	Payload     []byte
	Attempts    int // this one included
	Age         time.Duration
	retention   time.Duration // of the unit that sends
}

// Verdict is how an attempt to deliver ended.
type Verdict string

// The closed list of verdicts.
const (
	Delivered Verdict = "delivered" // the destination has it
	Declined  Verdict = "refused"   // the destination has refused it for good, and will refuse this key for ever
	Later     Verdict = "later"     // nobody knows: send it again
)

// Sender delivers one message and says what became of it; answer is kept with the message for people.
type Sender func(ctx context.Context, m Message) (v Verdict, answer string)

// Dispatcher sends what work of one unit put into the outbox: at least once from here, and once at a destination that knows the
// message by its key. A message is sent only after the transaction that took it has committed as a success: that commit is the
// barrier that everything it saw passed too (I3). Any number of dispatchers may run for a unit; only the owner's finds messages.
type Dispatcher struct {
	Unit *Unit
	Send Sender
	// Declined is called for a refused message and has to note it (perdure.outbox_done with outcome refused) in one transaction with
	// its compensation; it is called again after an error. Nil: the message is noted as refused.
	Declined func(ctx context.Context, u *Unit, m Message, answer string) error
	// Every is how often the outbox is looked at, Batch how many messages are under way; defaults 200 ms and 32.
	Every time.Duration
	Batch int
	// Hold is how long a message is left to whoever took it; default 30 s. It bounds one attempt.
	Hold time.Duration
	// GiveUp parks a message for a person when it is older and an earlier attempt may have arrived, because the destination may have
	// forgotten its key by then; default 6 days, and never more than nine tenths of the unit's own retention. It has to be less than the
	// retention of any other destination.
	GiveUp time.Duration
	Log    *slog.Logger

	nudge chan struct{}
	once  sync.Once
}

func (d *Dispatcher) init() {
	d.once.Do(func() {
		d.nudge = make(chan struct{}, 1)
		d.Every, d.Batch = cmp.Or(d.Every, 200*time.Millisecond), cmp.Or(d.Batch, 32)
		d.Hold, d.GiveUp = cmp.Or(d.Hold, 30*time.Second), cmp.Or(d.GiveUp, 6*24*time.Hour)
		if d.Log == nil {
			d.Log = slog.New(slog.DiscardHandler)
		}
	})
}

// Nudge makes the dispatcher look at once.
func (d *Dispatcher) Nudge() {
	d.init()
	poke(d.nudge)
}

// Run sends until ctx ends, and returns when nothing is under way any more. A destination that takes its time holds up its own messages only,
// as long as fewer than Batch of them are under way.
func (d *Dispatcher) Run(ctx context.Context) error {
	d.init()
	tick := time.NewTicker(d.Every)
	defer tick.Stop()
	var under sync.WaitGroup
	defer under.Wait()
	var busy atomic.Int32
	half := make(chan struct{}, 1) // half of Batch became free: enough for a claim that is worth its commit
	quiet := true
	for {
		free := d.Batch - int(busy.Load())
		var taken []func()
		var err error
		if free > 0 {
			taken, err = d.take(ctx, free)
		}
		var f *Failure
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			quiet = true
		case errors.As(err, &f) && f.Outcome == NotOwner: // a copy has nothing to send
		case quiet:
			quiet = false
			d.Log.Warn("outbox cannot be read", "unit", d.Unit.id, "error", err)
		}
		busy.Add(int32(len(taken)))
		for _, deliver := range taken {
			under.Go(func() {
				deliver()
				if int(busy.Add(-1)) == d.Batch/2 {
					poke(half)
				}
			})
		}
		more := half
		if len(taken) < free {
			more = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-d.nudge:
		case <-more:
		}
	}
}

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // somebody did
	}
}

// Round takes and sends one batch and says how many messages that were, when all were answered.
func (d *Dispatcher) Round(ctx context.Context) (int, error) {
	d.init()
	taken, err := d.take(ctx, d.Batch)
	var under sync.WaitGroup
	for _, deliver := range taken {
		under.Go(deliver)
	}
	under.Wait()
	return len(taken), err
}

// take claims up to limit messages; each has to be delivered at once.
func (d *Dispatcher) take(ctx context.Context, limit int) ([]func(), error) {
	taken := time.Now()
	messages, err := Query(ctx, d.Unit, func(rows pgx.Rows) ([]Message, error) {
		return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Message, error) {
			m := Message{Unit: d.Unit.id}
			var age, retention float64
			err := row.Scan(&m.ID, &m.Destination, &m.RoutingKey, &m.Key, &m.Headers, &m.Payload, &m.Attempts, &age, &retention)
			m.Age, m.retention = time.Duration(age*float64(time.Second)), time.Duration(retention*float64(time.Second))
			return m, err
		})
	}, claimSQL, d.Unit.id, limit, d.Hold.Milliseconds())
	if err != nil {
		return nil, err
	}
	attempts := make([]func(), 0, len(messages))
	for _, m := range messages {
		attempts = append(attempts, func() {
			// Whoever takes it next must not meet us still sending: the message is ours for Hold only.
			ctx, cancel := context.WithDeadline(ctx, taken.Add(d.Hold))
			defer cancel()
			if err := d.deliver(ctx, m); err != nil && ctx.Err() == nil {
				d.Log.Warn("message is not settled", "unit", m.Unit, "message", m.ID, "attempt", m.Attempts, "error", err)
			}
		})
	}
	return attempts, nil
}

func (d *Dispatcher) deliver(ctx context.Context, m Message) error {
	if m.Age > min(d.GiveUp, m.retention/10*9) && m.Attempts > 1 {
		d.Log.Error("message is parked: look whether it arrived", "unit", m.Unit, "message", m.ID, "destination", m.Destination, "key", m.Key)
		return d.done(ctx, m, "parked", "too old to be sent again")
	}
	verdict, answer := d.Send(ctx, m)
	switch verdict {
	case Delivered:
		return d.done(ctx, m, "delivered", answer)
	case Declined:
		if d.Declined != nil {
			return d.Declined(ctx, d.Unit, m, answer)
		}
		return d.done(ctx, m, "refused", answer)
	case Later:
	}
	wait := min(100*time.Millisecond<<min(m.Attempts, 10), 5*time.Second)
	return d.Unit.Exec(ctx, `select perdure.outbox_later($1, $2, $3::bigint * interval '1 millisecond', $4)`, m.Unit, m.ID, wait.Milliseconds(), answer)
}

func (d *Dispatcher) done(ctx context.Context, m Message, outcome, answer string) error {
	return d.Unit.Exec(ctx, `select perdure.outbox_done($1, $2, $3, $4)`, m.Unit, m.ID, outcome, answer)
}

// HTTPSender posts messages to base (the local gateway) + destination as caller. Delivered is what was answered with 2xx. Declined
// is only what a service of this SDK has stored as a refusal under the key: any other 4xx may follow an attempt that arrived.
func HTTPSender(client *http.Client, base, caller string) Sender {
	base = strings.TrimSuffix(base, "/")
	return func(ctx context.Context, m Message) (Verdict, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+m.Destination, bytes.NewReader(m.Payload))
		if err != nil {
			return Later, err.Error()
		}
		req.Header.Set("Content-Type", "application/json")
		for k, v := range m.Headers {
			req.Header.Set(k, v)
		}
		req.Header.Set(HeaderKey, m.Key)
		req.Header.Set(HeaderCaller, caller)
		res, err := client.Do(req)
		if err != nil {
			return Later, err.Error()
		}
		defer res.Body.Close()
		body, err := io.ReadAll(io.LimitReader(res.Body, 1024))
		answer := fmt.Sprintf("%d %s", res.StatusCode, bytes.ToValidUTF8(body, []byte("?")))
		stored := res.Header.Get(HeaderOutcome) == string(Refused) || res.Header.Get(HeaderOutcome) == string(Replayed)
		switch {
		case err != nil:
			return Later, err.Error()
		case res.StatusCode >= 200 && res.StatusCode <= 299:
			return Delivered, answer
		case stored && res.StatusCode >= 400 && res.StatusCode <= 499:
			return Declined, answer
		}
		return Later, answer
	}
}
