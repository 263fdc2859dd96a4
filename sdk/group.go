package sdk

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// How requests are put together.
const (
	// lanes is how many transactions of grouped work are on their way at a time, as long as nobody has to wait for one.
	lanes = 2
	// longestWait is how long a request waits for one that is on its way before it gets a transaction beside it.
	longestWait = 10 * time.Millisecond
	// lockWait bounds the waits of shared transactions for locked rows: together they know no order in which all of them lock.
	lockWait = "50ms"
)

// Grouped is Function for work that may share its transaction with that of others: requests of the unit that come while others are on
// their way wait for each other, and then go together, at most Options.Together at a time. They share the round trip, the COMMIT and its
// wait for the copies; each has its own record and answer. Where one of them fails or meets a lock that is not free within 50 ms nothing
// of any is committed, and each is carried out by itself. Nobody waits longer than 10 ms for company while there is a connection.
//
// So what the function leaves in its transaction must not disturb another call of it or of its like: settings (set_config, set local),
// temporary tables, deferred constraints that look at the whole transaction, warnings (01000 makes the outcome of all unknown).
func Grouped(name string, args ...any) Work { return grouped{newFunction(name, args)} }

type grouped struct{ function }

func (w grouped) run(ctx context.Context, t *turn, r Request) (Answer, error) {
	if t.alone {
		return w.function.run(ctx, t, r)
	}
	t.alone = true // whatever comes of it: who is tried again disturbs nobody
	g := &t.unit.groups
	m := g.join(t.unit, w.function, r)
	if m == nil {
		defer g.leave(t.unit)
		return w.function.run(ctx, t, r)
	}
	select {
	case <-m.done:
	case <-ctx.Done():
		switch g.withdraw(t.unit, m) {
		case waiting:
			return Answer{}, nothing(context.Cause(ctx), "the database of unit %s cannot be reached, or all connections to it are in use", t.unit.id)
		case onItsWay:
			return Answer{}, unknown(context.Cause(ctx), "no answer from the database in time")
		case arrived:
		}
	}
	if m.alone {
		return w.function.run(ctx, t, r)
	}
	return m.answer, m.err
}

// groups are a unit's requests of grouped work that wait, and how many transactions are on their way.
type groups struct {
	mu      sync.Mutex
	most    int // go together; fewer after a failure, one more after each success
	busy    int
	waiting []*member
	timer   *time.Timer // nil: nobody has waited yet
}

// member is a request that waits for others, or goes with them.
type member struct {
	work  function
	r     Request
	since time.Time
	lot   *lot // nil: it waits
	done  chan struct{}

	// What came of it, once done is closed.
	answer Answer
	err    error
	alone  bool // nothing happened: carry it out by itself
}

// lot is the requests of one transaction.
type lot struct {
	members []*member
	left    int   // members that nobody waits for any more, once something was sent
	call    *call // nil: nothing was sent yet
	ctx     context.Context
	cancel  context.CancelFunc
}

// join gives nil to a request that may go at once, by itself; leave is to be called after it. The others wait as members.
func (g *groups) join(u *Unit, w function, r Request) *member {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy < lanes || u.opt.Together == 1 {
		g.busy++
		return nil
	}
	m := &member{work: w, r: r, since: time.Now(), done: make(chan struct{})}
	g.waiting = append(g.waiting, m)
	switch {
	case len(g.waiting) >= g.most && g.busy < u.opt.MaxConns:
		g.send(u)
	case len(g.waiting) == 1:
		g.alarm(u)
	}
	return m
}

// alarm sees to it that the first who waits does not wait long.
func (g *groups) alarm(u *Unit) {
	wait := time.Until(g.waiting[0].since.Add(longestWait))
	if g.timer != nil {
		g.timer.Reset(wait)
		return
	}
	g.timer = time.AfterFunc(wait, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		switch {
		case len(g.waiting) == 0, g.busy >= u.opt.MaxConns: // who leaves sends the next
		case time.Since(g.waiting[0].since) < longestWait: // who was first has withdrawn
			g.alarm(u)
		default:
			g.send(u)
		}
	})
}

// send begins a transaction beside those on their way.
func (g *groups) send(u *Unit) {
	g.busy++
	l := g.take(u)
	u.begin(func() { u.carry(l) })
}

// take makes a lot of those who wait longest.
func (g *groups) take(u *Unit) *lot {
	l := &lot{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	n := min(len(g.waiting), g.most)
	l.members = append(l.members, g.waiting[:n]...)
	g.waiting = slices.Delete(g.waiting, 0, n)
	for _, m := range l.members {
		m.lot = l
	}
	if len(g.waiting) > 0 {
		g.alarm(u)
	}
	return l
}

// leave is called when a transaction has ended: the next lot goes in its place. A lane that was opened beside the others because of a
// stall goes on only as long as it is needed.
func (g *groups) leave(u *Unit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy--
	switch {
	case len(g.waiting) == 0:
	case g.busy < lanes, len(g.waiting) >= g.most, time.Since(g.waiting[0].since) >= longestWait:
		g.send(u)
	default:
		g.alarm(u)
	}
}

// place is where a request is whose client gives up.
type place int

const (
	waiting  place = iota // nothing was sent, and nothing will be
	onItsWay              // it goes on by itself
	arrived
)

func (g *groups) withdraw(u *Unit, m *member) place {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-m.done:
		return arrived
	default:
	}
	l := m.lot
	switch {
	case l == nil:
		g.waiting = slices.DeleteFunc(g.waiting, func(w *member) bool { return w == m })
		return waiting
	case l.call == nil:
		if l.members = slices.DeleteFunc(l.members, func(w *member) bool { return w == m }); len(l.members) == 0 {
			l.cancel()
		}
		return waiting
	}
	if l.left++; l.left == len(l.members) {
		u.abandon(l.call)
	}
	return onItsWay
}

// carry takes a lot to its end, and tells its members.
func (u *Unit) carry(l *lot) {
	defer u.groups.leave(u)
	defer l.cancel()
	answers, err := u.together(l)
	g := &u.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	var (
		refused *pgconn.PgError
		unsent  pgx.ErrPreprocessingBatch // an argument that cannot be sent: there was no Sync, so nothing is committed
	)
	alone := len(l.members) > 1 && (errors.As(err, &unsent) || errors.As(err, &refused) && refused.SeverityUnlocalized == "ERROR")
	switch {
	case alone:
		g.most = max(1, len(l.members)/2)
	case err == nil && len(l.members) == g.most:
		g.most = min(g.most+1, u.opt.Together)
	}
	for i, m := range l.members {
		m.alone, m.err = alone, err
		if err == nil {
			m.answer, m.err = answers[i].answer, answers[i].err
		}
		close(m.done)
	}
}

// found is what one member's function gave.
type found struct {
	answer Answer
	err    error
}

// together carries a lot out as one transaction. An error is one of all members.
func (u *Unit) together(l *lot) ([]found, error) {
	t := turn{unit: u}
	defer t.over()
	c, err := t.take(l.ctx)
	if err != nil {
		return nil, err
	}
	u.groups.mu.Lock()
	if len(l.members) == 0 {
		u.groups.mu.Unlock()
		return nil, nothing(nil, "the clients have left")
	}
	l.call = &call{nc: c.PgConn().Conn()}
	u.groups.mu.Unlock()
	defer u.forget(l.call)
	return proven(context.Background(), c, func(ctx context.Context, c *pgx.Conn) ([]found, error) {
		if len(l.members) == 1 {
			a, err := l.members[0].work.call(ctx, c, l.members[0].r)
			return []found{{answer: a}}, err
		}
		all, b := make([]found, len(l.members)), &pgx.Batch{}
		b.Queue(`select set_config('lock_timeout', $1, true)`, lockWait)
		for i, m := range l.members {
			b.Queue(m.work.sql, m.r.args(m.work.args...)...).QueryRow(func(row pgx.Row) error {
				a, ok, err := scanAnswer(row)
				all[i] = found{a, err}
				switch {
				case err == nil && !ok:
					all[i].err = unsettled(m.work.sql)
				case errors.Is(err, errNoAnswer):
					return nil // the others have theirs
				}
				return err
			})
		}
		// As in a Pipeline: everything up to the one Sync is one transaction, and only Close has seen its COMMIT (I3).
		err := c.SendBatch(ctx, b).Close()
		return all, err
	})
}
