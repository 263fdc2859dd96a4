package sdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options say how a unit's database is used. The zero value is the default of each.
type Options struct {
	// MaxConns bounds the connections of this instance to the unit's database; default 16. Commits that wait for a copy hold theirs.
	MaxConns int
	// WarmConns are kept open, to a copy too, so that a switch does not begin with a storm of logins; default 8, at most MaxConns.
	WarmConns int
	// RunningWait is how long a request waits for another one with the same key before it answers 409; default 1 s, negative: not at all.
	RunningWait time.Duration
	// AbandonAfter is how long work that nobody waits for any more may go on before its connection is closed; default 1 min.
	// It is never cancelled (I3).
	AbandonAfter time.Duration
	// StatementTimeout ends a statement that runs too long; 0: none. It does not end the wait of a COMMIT for the copies.
	StatementTimeout time.Duration
	// Name is the application name of the connections; default "perdure-sdk".
	Name string
	Log  *slog.Logger
}

// Unit is the database of one unit as this instance reaches it: it may be the owner's or a copy, the guard tells.
// It is safe for use by many goroutines.
type Unit struct {
	id   string
	opt  Options
	pool *pgxpool.Pool

	// hands takes work for a goroutine that has nothing to do: a new one would grow its stack anew for every request. There are never
	// more than connections.
	hands chan func()
	done  chan struct{} // closed by Close

	mu        sync.Mutex
	closed    bool
	abandoned map[*call]struct{}
}

// Open makes a Unit from a connection string (URL or key=value). It does not wait for connections: the database may be down, and
// come back.
func Open(unit, conninfo string, o Options) (*Unit, error) {
	if unit == "" {
		return nil, errors.New("cannot open a unit without a name")
	}
	cfg, err := pgxpool.ParseConfig(conninfo)
	if err != nil {
		return nil, fmt.Errorf("cannot open unit %s: %w", unit, err)
	}
	o.MaxConns = cmp.Or(o.MaxConns, defaultMaxConns)
	o.RunningWait = max(0, cmp.Or(o.RunningWait, defaultRunningWait))
	o.AbandonAfter = cmp.Or(o.AbandonAfter, defaultAbandonAfter)
	o.Name = cmp.Or(o.Name, "perdure-sdk")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.WarmConns = min(cmp.Or(o.WarmConns, defaultWarmConns), o.MaxConns)
	cfg.MaxConns, cfg.MinConns, cfg.HealthCheckPeriod = int32(o.MaxConns), int32(max(0, o.WarmConns)), warmPeriod
	cfg.ConnConfig.ConnectTimeout = cmp.Or(cfg.ConnConfig.ConnectTimeout, defaultConnectWait)
	params := cfg.ConnConfig.RuntimeParams
	params["application_name"] = cmp.Or(params["application_name"], o.Name)
	// A client that stops in the middle of an interactive transaction must not hold the fence up.
	params["idle_in_transaction_session_timeout"] = cmp.Or(params["idle_in_transaction_session_timeout"], "15s")
	// The warning that a COMMIT stopped waiting has to arrive, whatever the role or the address says.
	params["client_min_messages"] = "warning"
	if o.StatementTimeout > 0 {
		params["statement_timeout"] = fmt.Sprintf("%dms", o.StatementTimeout.Milliseconds())
	}
	cfg.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		prepare(c)
		return nil
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot open unit %s: %w", unit, err)
	}
	return &Unit{id: unit, opt: o, pool: pool, hands: make(chan func()), done: make(chan struct{}), abandoned: map[*call]struct{}{}}, nil
}

// ID is the unit's name.
func (u *Unit) ID() string { return u.id }

// Close closes the connections; work that nobody waits for loses its connection, uncancelled.
func (u *Unit) Close() {
	u.mu.Lock()
	if !u.closed {
		close(u.done)
	}
	u.closed = true
	left := make([]*call, 0, len(u.abandoned))
	for c := range u.abandoned {
		left = append(left, c)
	}
	u.mu.Unlock()
	for _, c := range left {
		c.cut()
	}
	u.pool.Close()
}

// begin does the work beside the caller.
func (u *Unit) begin(work func()) {
	select {
	case u.hands <- work:
	default:
		go u.lend(work)
	}
}

// lend does the work, and then what else comes, until Close.
func (u *Unit) lend(work func()) {
	for {
		work()
		select {
		case work = <-u.hands:
		case <-u.done:
			return
		}
	}
}

// call is one use of a connection by work that may be given up.
type call struct {
	mu       sync.Mutex
	finished bool
	nc       net.Conn
	timer    *time.Timer
}

// cut closes the connection under the work, if the work still has it. Nothing is sent, so nothing is cancelled.
func (c *call) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.finished {
		_ = c.nc.Close() // the work meets the error
	}
}

// abandon lets the work go on by itself for a while.
func (u *Unit) abandon(c *call) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.finished:
	case u.closed:
		_ = c.nc.Close() // the work meets the error
	default:
		c.timer = time.AfterFunc(u.opt.AbandonAfter, c.cut)
		u.abandoned[c] = struct{}{}
	}
}

// forget is called when the work has ended, before its connection goes back.
func (u *Unit) forget(c *call) {
	c.mu.Lock()
	c.finished = true
	abandoned := c.timer != nil
	if abandoned {
		c.timer.Stop()
	}
	c.mu.Unlock()
	if abandoned {
		u.mu.Lock()
		delete(u.abandoned, c)
		u.mu.Unlock()
	}
}

// ended is what detached work gives.
type ended[T any] struct {
	value T
	err   error
}

// detached carries out what ends in a COMMIT, on a context that is not cancelled (I3). Where the caller's context ends first the
// answer is unknown, and the work goes on. It gives the connection back in any case. Work shares nothing with its caller but its value.
func detached[T any](ctx context.Context, u *Unit, conn *pgxpool.Conn, work func(context.Context, *pgx.Conn) (T, error)) (T, error) {
	free := context.WithoutCancel(ctx)
	run := func() ended[T] {
		s := sessionOf(conn.Conn())
		s.warned = false
		v, err := work(free, conn.Conn())
		if err == nil && s.cutShort() {
			err = unknown(nil, "the wait for the copies was cut short, so COMMIT proves nothing")
		}
		return ended[T]{value: v, err: err}
	}
	if ctx.Done() == nil {
		defer conn.Release()
		e := run()
		return e.value, e.err
	}
	c := &call{nc: conn.Conn().PgConn().Conn()}
	done := make(chan ended[T], 1)
	u.begin(func() {
		e := run()
		u.forget(c)
		conn.Release()
		done <- e
	})
	select {
	case e := <-done:
		return e.value, e.err
	case <-ctx.Done():
	}
	u.abandon(c)
	select {
	case e := <-done: // it ended just now
		return e.value, e.err
	default:
		var none T
		return none, unknown(context.Cause(ctx), "no answer from the database in time")
	}
}

// acquire takes a connection; where that fails nothing was sent.
func (u *Unit) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := u.pool.Acquire(ctx)
	if err != nil {
		return nil, nothing(err, "the database of unit %s cannot be reached", u.id)
	}
	return conn, nil
}
