package sdk

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
)

// tries bounds how often work is begun anew after a deadlock.
const tries = 4

// Run carries out the request once, whoever asks how often: the work on first sight of the key, the stored answer later.
// Where the error is not nil it is a *Failure. An Answer is durable on the in-sync set when Run returns it.
func (u *Unit) Run(ctx context.Context, r Request, w Work) (Answer, error) {
	r.Unit = u.id
	if f := r.check(); f != nil {
		return Answer{}, f
	}
	var (
		looked   bool
		patience time.Time // begins when another request with the key is met, not while this one waits for a connection
		pause    = time.Millisecond
		t        = turn{unit: u}
	)
	defer t.over()
	for try := 1; ; try++ {
		a, err := w.run(ctx, &t, r)
		var refusal *Refusal
		if errors.As(err, &refusal) {
			// The work is undone; what is kept is the refusal, unless the key has got a result meanwhile.
			res := refusal.Result
			w, looked = Function("perdure.conclude", res.Status, res.ContentType, res.args()[2]), true
			continue
		}
		if err == nil {
			return a, nil
		}
		f := failure(err)
		if f.Outcome == Running && patience.IsZero() {
			patience = time.Now().Add(u.opt.RunningWait)
		}
		switch {
		case f.failedWork() && !looked:
			// Work does not look before it begins, so it may have failed because it was done before.
			w, looked = function{sql: onceSQL, none: f}, true
			continue
		case f.again() && try < tries:
		case f.Outcome == Running && time.Now().Add(pause).Before(patience):
			try = 0
			t.idle()
		default:
			return Answer{}, f
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return Answer{}, f
		case <-timer.C:
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// check refuses what could never be stored.
func (r *Request) check() *Failure {
	switch {
	case r.Key == "":
		return &Failure{Status: http.StatusBadRequest, Title: "Idempotency-Key is missing"}
	case len(r.Key) > MaxKey:
		return &Failure{Status: http.StatusBadRequest, Title: "Idempotency-Key is malformed", Detail: ErrKeyLength.Error()}
	case r.Caller == "":
		return &Failure{Status: http.StatusBadRequest, Title: "The caller is missing"}
	case r.RoutingKey == "":
		return &Failure{Status: http.StatusBadRequest, Title: "The routing key is missing"}
	case len(r.Hash) == 0:
		return &Failure{Status: http.StatusInternalServerError, Title: "The fingerprint of the request is missing"}
	}
	return nil
}

// Exec runs one statement in autocommit that enters the guard by itself and needs no key, such as perdure.outbox_done. It succeeds
// under the same conditions as Run. Its error is a *Failure.
func (u *Unit) Exec(ctx context.Context, sql string, args ...any) error {
	_, err := Query(ctx, u, func(pgx.Rows) (struct{}, error) { return struct{}{}, nil }, sql, args...)
	return err
}

// Query is Exec for a statement that gives rows; what they say is a fact that may leave the database when the error is nil (I3).
func Query[T any](ctx context.Context, u *Unit, collect func(pgx.Rows) (T, error), sql string, args ...any) (T, error) {
	b := &pgx.Batch{}
	b.Queue(sql, args...)
	v, _, err := send(ctx, u, b, 0, -1, collect)
	return v, err
}

// Reading is how much a read has to prove.
type Reading int

const (
	// Durable reads leave behind a barrier: what they show is on the whole in-sync set and will not be lost with the owner (I3).
	Durable Reading = iota
	// Leased reads cost no wait: nobody else owned the unit at the moment of the read (I8), but what they show may be on its way still.
	Leased
)

// Read asks one question of the owner and gives the ownership it was answered in. collect takes the rows; pgx.CollectRows and its
// like do that. The error is a *Failure, and never Unknown: a read may be repeated.
func Read[T any](ctx context.Context, u *Unit, how Reading, collect func(pgx.Rows) (T, error), sql string, args ...any) (value T, ownership string, err error) {
	b := &pgx.Batch{}
	if how == Leased {
		b.Queue(sql, args...)
		b.Queue(`select perdure.enter_read($1)`, u.id) // after the read: the lease held when it was made
		value, ownership, err = send(ctx, u, b, 0, 1, collect)
	} else {
		b.Queue(`select perdure.enter($1)`, u.id)
		b.Queue(sql, args...)
		b.Queue(`select perdure.barrier()`)
		value, ownership, err = send(ctx, u, b, 1, 0, collect)
	}
	var f *Failure
	if errors.As(err, &f) && f.Outcome == Unknown {
		err = nothing(f, "the read was not answered")
	}
	return value, ownership, err
}

// send carries out a batch as one transaction and takes the rows of one of its statements, and the text of another (-1: none).
func send[T any](ctx context.Context, u *Unit, b *pgx.Batch, rowsOf, stampOf int, collect func(pgx.Rows) (T, error)) (T, string, error) {
	type both struct {
		value T
		stamp string
	}
	var (
		none T
		t    = turn{unit: u}
	)
	defer t.over()
	if _, err := t.take(ctx); err != nil {
		return none, "", err
	}
	got, err := detached(ctx, &t, func(ctx context.Context, c *pgx.Conn) (both, error) {
		var got both
		b.QueuedQueries[rowsOf].Query(func(rows pgx.Rows) (err error) {
			got.value, err = collect(rows)
			return err
		})
		if stampOf >= 0 {
			b.QueuedQueries[stampOf].QueryRow(func(row pgx.Row) error { return row.Scan(&got.stamp) })
		}
		err := c.SendBatch(ctx, b).Close()
		return got, err
	})
	if err != nil {
		return none, "", failure(err)
	}
	return got.value, got.stamp, nil
}
