package load

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// Snapshot is the state of the load at a moment, for people who watch. The checker does not read it.
type Snapshot struct {
	At time.Time
	// Totals since the load began. Errors and Reconnects leave out the clients inside a cut-off site, which InsideErrors counts.
	Sent, Acknowledged, Refused, Errors, InsideErrors, Reconnects, Held, Replays, Skipped uint64
	// InFlight is calls under way now.
	InFlight int64
	// Rate is acknowledged writes per second over the last whole second.
	Rate  float64
	Units []UnitSnapshot
}

// UnitSnapshot is the state of the load on one unit.
type UnitSnapshot struct {
	Unit         estate.UnitID
	Acknowledged uint64
	Rate         float64
	// SinceLast is how long ago the last write was acknowledged; negative where none was.
	SinceLast time.Duration
	// Ownership is the stamp of the newest acknowledged write.
	Ownership string
}

// counters are the live counts of a generator.
type counters struct {
	sent, acknowledged, refused, errors, insideErrors, reconnects, held, replays, skipped atomic.Uint64
	inFlight                                                                              atomic.Int64
	rate                                                                                  perSecond

	units   []unitCounters
	unitIDs []estate.UnitID
	insides map[estate.SiteID]*atomic.Int64 // fixed set of sites: until when it was cut off, Unix nanoseconds
}

type unitCounters struct {
	acknowledged atomic.Uint64
	last         atomic.Int64 // Unix nanoseconds; 0: never
	rate         perSecond
	ownership    atomic.Value // string
}

func newCounters(opt Options) *counters {
	c := &counters{units: make([]unitCounters, len(opt.Units)), insides: make(map[estate.SiteID]*atomic.Int64)}
	for _, u := range opt.Units {
		c.unitIDs = append(c.unitIDs, u.ID)
	}
	for _, s := range opt.Sites {
		c.insides[s.ID] = &atomic.Int64{}
	}
	return c
}

func (c *counters) cut(site estate.SiteID, cut bool) {
	until, ok := c.insides[site]
	switch {
	case !ok:
	case cut:
		until.Store(math.MaxInt64)
	default:
		until.Store(time.Now().UnixNano())
	}
}

func (c *counters) begin() {
	c.sent.Add(1)
	c.inFlight.Add(1)
}

func (c *counters) end(r request, call *history.Call, now time.Time) {
	c.inFlight.Add(-1)
	began := now.Add(call.Sent.Mono - call.Done)
	inside := c.insides[call.Site].Load() > began.UnixNano() // for some of its time
	for _, a := range call.Attempts {
		if a.Reconnected() && !inside {
			c.reconnects.Add(1)
		}
	}
	switch {
	case call.Erred() && inside:
		c.insideErrors.Add(1)
	case call.Erred():
		c.errors.Add(1)
	}
	if call.Held > 0 {
		c.held.Add(1)
	}
	c.replays.Add(uint64(max(0, call.Replays)))
	if call.Outcome == history.Refused {
		c.refused.Add(1)
	}
	if call.Outcome != history.Acknowledged || !r.op.Writes() {
		return
	}
	c.acknowledged.Add(1)
	c.rate.add(now)
	u := &c.units[r.unitIndex]
	u.acknowledged.Add(1)
	u.last.Store(now.UnixNano())
	u.rate.add(now)
	u.ownership.Store(call.Ownership)
}

func (c *counters) snapshot(now time.Time) Snapshot {
	s := Snapshot{
		At: now, Sent: c.sent.Load(), Acknowledged: c.acknowledged.Load(), Refused: c.refused.Load(), Errors: c.errors.Load(),
		InsideErrors: c.insideErrors.Load(), Reconnects: c.reconnects.Load(), Held: c.held.Load(), Replays: c.replays.Load(),
		Skipped: c.skipped.Load(), InFlight: c.inFlight.Load(), Rate: c.rate.last(now),
	}
	for i := range c.units {
		u := &c.units[i]
		one := UnitSnapshot{Unit: c.unitIDs[i], Acknowledged: u.acknowledged.Load(), Rate: u.rate.last(now), SinceLast: -1}
		if last := u.last.Load(); last != 0 {
			one.SinceLast = now.Sub(time.Unix(0, last))
		}
		one.Ownership, _ = u.ownership.Load().(string)
		s.Units = append(s.Units, one)
	}
	return s
}

// perSecond counts events of the running and of the last whole second.
type perSecond struct {
	mu         sync.Mutex
	second     int64
	now, whole uint64
}

func (p *perSecond) add(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(at.Unix())
	p.now++
}

func (p *perSecond) last(at time.Time) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(at.Unix())
	return float64(p.whole)
}

// turn moves on to the second.
func (p *perSecond) turn(second int64) {
	switch {
	case second <= p.second:
		return
	case second == p.second+1:
		p.whole = p.now
	default:
		p.whole = 0
	}
	p.now, p.second = 0, second
}
