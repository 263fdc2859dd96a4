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
	// Together bounds how many requests of Grouped work share a transaction; default 16, 1: none do.
	Together int
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

	// hands takes work for a goroutine that has nothing to do: a new one would grow its stack anew for every request. There are at
	// most twice as many as connections.
	hands chan func()
	done  chan struct{} // closed by Close

	// keepers has a place for each request that keeps its connection while it waits for another one with its key: at most half may.
	keepers chan struct{}

	groups groups

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
	o.Together = max(1, cmp.Or(o.Together, defaultTogether))
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
	return &Unit{
		id: unit, opt: o, pool: pool, hands: make(chan func()), done: make(chan struct{}),
		keepers: make(chan struct{}, o.MaxConns/2), abandoned: map[*call]struct{}{},
		groups: groups{most: o.Together},
	}, nil
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

// turn is a request's use of a connection. It lasts until the request is done, however often its work is begun: where connections are
// few, the next turn is at the end of a long queue.
type turn struct {
	unit  *Unit
	conn  *pgxpool.Conn // nil: none yet, or none any more
	keeps bool          // one of the unit's keepers
	alone bool          // the request was tried before: it goes by itself
}

// take gives the connection of the turn, or waits for one; where that fails nothing was sent.
func (t *turn) take(ctx context.Context) (*pgx.Conn, error) {
	if t.conn != nil {
		if c := t.conn.Conn(); ctx.Err() == nil && !c.IsClosed() && c.PgConn().TxStatus() == 'I' {
			return c, nil
		}
		t.release()
	}
	conn, err := t.unit.pool.Acquire(ctx)
	if err != nil {
		return nil, nothing(err, "the database of unit %s cannot be reached, or all connections to it are in use", t.unit.id)
	}
	t.conn = conn
	return conn.Conn(), nil
}

// release gives the connection back; the pool closes what is still in a transaction.
func (t *turn) release() {
	if t.conn != nil {
		t.conn.Release()
		t.conn = nil
	}
}

// idle is called when the request waits for another one with its key. It keeps its connection if not too many do.
func (t *turn) idle() {
	if t.keeps {
		return
	}
	select {
	case t.unit.keepers <- struct{}{}:
		t.keeps = true
	default:
		t.release()
	}
}

// over ends the turn.
func (t *turn) over() {
	t.release()
	if t.keeps {
		t.keeps = false
		<-t.unit.keepers
	}
}

// call is one use of a connection by work that may be given up.
type call struct {
	mu        sync.Mutex
	finished  bool
	abandoned bool // nobody waits: the connection is the work's to give back
	nc        net.Conn
	timer     *time.Timer
}

// cut closes the connection under the work, if the work still has it. Nothing is sent, so nothing is cancelled.
func (c *call) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.finished {
		_ = c.nc.Close() // the work meets the error
	}
}

// abandon lets the work go on by itself for a while; false: it has ended.
func (u *Unit) abandon(c *call) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return false
	}
	c.abandoned = true
	if u.closed {
		_ = c.nc.Close() // the work meets the error
		return true
	}
	c.timer = time.AfterFunc(u.opt.AbandonAfter, c.cut)
	u.abandoned[c] = struct{}{}
	return true
}

// forget is called when the work has ended, before its connection goes back; it reports whether the work was abandoned.
func (u *Unit) forget(c *call) bool {
	c.mu.Lock()
	c.finished = true
	abandoned := c.abandoned
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	if abandoned {
		u.mu.Lock()
		delete(u.abandoned, c)
		u.mu.Unlock()
	}
	return abandoned
}

// ended is what detached work gives.
type ended[T any] struct {
	value T
	err   error
}

// detached carries out on the turn's connection what ends in a COMMIT, on a context that is not cancelled (I3). Where the caller's
// context ends first the answer is unknown, and the work goes on and takes the connection with it. Work shares nothing with its
// caller but its value.
func detached[T any](ctx context.Context, t *turn, work func(context.Context, *pgx.Conn) (T, error)) (T, error) {
	u, conn, free := t.unit, t.conn, context.WithoutCancel(ctx)
	run := func() ended[T] {
		v, err := proven(free, conn.Conn(), work)
		return ended[T]{value: v, err: err}
	}
	if ctx.Done() == nil {
		e := run()
		return e.value, e.err
	}
	c := &call{nc: conn.Conn().PgConn().Conn()}
	done := make(chan ended[T], 1)
	u.begin(func() {
		e := run()
		if u.forget(c) {
			conn.Release()
		}
		done <- e
	})
	select {
	case e := <-done:
		return e.value, e.err
	case <-ctx.Done():
	}
	if !u.abandon(c) {
		e := <-done // it ended just now
		return e.value, e.err
	}
	t.conn = nil
	var none T
	return none, unknown(context.Cause(ctx), "no answer from the database in time")
}

// proven carries out what ends in a COMMIT, and takes that for one only if no warning came with it (I3).
func proven[T any](ctx context.Context, c *pgx.Conn, work func(context.Context, *pgx.Conn) (T, error)) (T, error) {
	s := sessionOf(c)
	s.warned = false
	v, err := work(ctx, c)
	if err == nil && s.cutShort() {
		err = unknown(nil, "the wait for the copies was cut short, so COMMIT proves nothing")
	}
	return v, err
}
