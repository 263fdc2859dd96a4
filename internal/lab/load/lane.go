package load

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// whenTwice says whether and when the key of a request is sent a second time.
type whenTwice int

const (
	once whenTwice = iota
	meanwhile
	afterwards
)

// request is one call to be made.
type request struct {
	id        uint64
	first     uint64
	phase     history.Phase
	op        history.Op
	key       string
	from, to  string
	amount    history.Amount
	unit      estate.UnitID
	unitIndex int
	duplicate whenTwice
}

// again is the same request for another reason.
func (r request) again(phase history.Phase) request {
	r.first, r.phase, r.duplicate = r.id, phase, once
	r.id = 0
	return r
}

// lane is the clients of one site that use one unit.
type lane struct {
	gen    *Generator
	client *client
	unit   int
	rate   float64 // calls per second
	random *rand.Rand
	due    chan request
}

// pace makes requests at the lane's rate, each at a random moment of its interval, until ctx ends. It never waits for a worker:
// a request that finds all of them busy and the queue full is skipped.
func (l *lane) pace(ctx context.Context) {
	defer close(l.due)
	interval := time.Duration(float64(time.Second) / l.rate)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := int64(0); ; n++ {
		at := start.Add(time.Duration(n)*interval + time.Duration(l.random.Int64N(int64(interval)+1)))
		timer.Reset(time.Until(at))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case l.due <- l.draw():
		default:
			l.gen.counters.skipped.Add(1)
		}
	}
}

// draw chooses the next request of the lane.
func (l *lane) draw() request {
	o := &l.gen.opt
	unit := o.Units[l.unit]
	r := request{id: l.gen.calls.Add(1), unit: unit.ID, unitIndex: l.unit, op: l.drawOp(), from: l.drawAccount(unit)}
	switch r.op {
	case history.Balance:
		return r
	case history.Transfer:
		for r.to = l.drawAccount(unit); r.to == r.from; {
			r.to = unit.Accounts[l.random.IntN(len(unit.Accounts))]
		}
	case history.Cross:
		other := (l.unit + 1 + l.random.IntN(len(o.Units)-1)) % len(o.Units)
		r.to = l.drawAccount(o.Units[other])
	case history.Credit, history.Debit:
	}
	r.key = newKey(l.random, time.Now())
	r.amount = history.Cents(1 + l.random.Int64N(999))
	if r.op == history.Debit && l.random.Float64() < o.Overdraft {
		r.amount = history.Cents(100_000_000_000)
	}
	if l.random.Float64() < o.Duplicates {
		r.duplicate = meanwhile + whenTwice(l.random.IntN(2))
	}
	return r
}

func (l *lane) drawOp() history.Op {
	m := l.gen.opt.Mix
	if len(l.gen.opt.Units) < 2 {
		m.Transfer, m.Cross = m.Transfer+m.Cross, 0
	}
	if share := l.gen.opt.CrossShare; share > 0 && len(l.gen.opt.Units) > 1 && l.random.Float64() < share {
		return history.Cross
	}
	n := l.random.IntN(max(1, m.Transfer+m.Credit+m.Debit+m.Cross+m.Balance))
	for _, w := range []struct {
		op     history.Op
		weight int
	}{{history.Transfer, m.Transfer}, {history.Credit, m.Credit}, {history.Debit, m.Debit}, {history.Cross, m.Cross}} {
		if n < w.weight {
			return w.op
		}
		n -= w.weight
	}
	return history.Balance
}

// drawAccount chooses one of the unit's accounts, one of its first (hot) ones in HotShare of the cases.
func (l *lane) drawAccount(u Unit) string {
	o := &l.gen.opt
	if o.Hot > 0 && l.random.Float64() < o.HotShare {
		return u.Accounts[l.random.IntN(min(o.Hot, len(u.Accounts)))]
	}
	return u.Accounts[l.random.IntN(len(u.Accounts))]
}

// newKey makes a UUID of version 7, so that its age can be told from it.
func newKey(random *rand.Rand, now time.Time) string {
	ms, r := uint64(now.UnixMilli()), random.Uint64()
	b := make([]byte, 0, 16)
	for shift := 40; shift >= 0; shift -= 8 {
		b = append(b, byte(ms>>shift))
	}
	b = append(b, 0x70|byte(r>>56)&0x0f, byte(r>>48))
	tail := random.Uint64()
	b = append(b, 0x80|byte(tail>>56)&0x3f)
	for shift := 48; shift >= 0; shift -= 8 {
		b = append(b, byte(tail>>shift))
	}
	h := hex.EncodeToString(b)
	return string(slices.Concat([]byte(h[:8]), []byte("-"), []byte(h[8:12]), []byte("-"), []byte(h[12:16]), []byte("-"), []byte(h[16:20]), []byte("-"), []byte(h[20:])))
}
