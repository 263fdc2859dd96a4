package sim

import (
	"slices"
	"time"

	"perdure/internal/estate"
)

const (
	// walTimeout is when either end gives a silent connection up.
	walTimeout = 3 * time.Second
	// resendAfter stands for TCP.
	resendAfter = 300 * time.Millisecond
	// ghost is the name that nobody has: the proof of the wait.
	ghost = "nobody.0"
)

// sender is a WAL sender and the receiver at its other end.
type sender struct {
	up, down *database
	name     estate.Life
	label    string
	open     bool     // as the upstream knows
	names    []string // its own copy of the sync names
	sent     int
	flushed  int
	inFlight bool
	at       int64 // when the batch in flight was sent
	heard    int64 // when the other end was last heard, by either
}

// rename lets a copy stream under the name of another life of its member.
func (d *database) rename(life estate.Life) {
	if d.life == life {
		return
	}
	d.life = life
	d.dropReceiver()
	d.connectLater(0)
}

// connectLater lets the WAL receiver try again.
func (d *database) connectLater(wait time.Duration) {
	start := d.start
	d.p.after(wait+d.w.between(5*time.Millisecond, 40*time.Millisecond), func() {
		if d.start == start {
			d.connect()
		}
	})
}

// connect opens a connection to the upstream; history decides whether anything comes.
func (d *database) connect() {
	if d.streaming != nil || !d.recovering || !d.ready || d.upstream == nil {
		return
	}
	u := d.upstream
	retry := func() { d.connectLater(500 * time.Millisecond) }
	if !u.p.running() || !u.ready || u.half || !u.slots[d.m.id] || !d.w.walLinked(d.p, u.p) || !d.follows(u) {
		retry()
		return
	}
	if slices.ContainsFunc(u.senders, func(s *sender) bool { return s.down == d }) {
		retry() // the slot is in use
		return
	}
	s := &sender{up: u, down: d, name: d.life, label: d.life.String(), open: true, names: u.names, sent: d.len(), flushed: d.len(), heard: d.w.now}
	u.senders = append(u.senders, s)
	d.streaming = s
	if d.w.tracing() {
		d.w.tracef(d.p.name, "streams from %s at %d as %s", u.p.name, d.len(), s.label)
	}
	u.release(s)
	u.pumpTo(s)
}

// follows reports whether this log is a beginning of the other one.
func (d *database) follows(u *database) bool {
	n := d.len()
	return n <= u.len() && (n == 0 || u.wal[n-1] == d.wal[n-1])
}

func (d *database) pump() {
	for _, s := range d.senders {
		d.pumpTo(s)
	}
}

func (d *database) pumpTo(s *sender) {
	if !s.open || s.inFlight || s.sent >= d.len() || !d.p.running() {
		return
	}
	from, batch := s.sent, d.wal[s.sent:len(d.wal):len(d.wal)]
	s.sent, s.inFlight, s.at = d.len(), true, d.w.now
	down := s.down
	d.w.sendWAL(d.p, down.p, func() { down.receive(s, from, batch) })
}

// receive writes a batch and tells that it is on disk.
func (d *database) receive(s *sender, from int, batch []*entry) {
	if d.streaming != s || !d.ready {
		return
	}
	s.heard = d.w.now
	wait := d.w.between(100*time.Microsecond, 600*time.Microsecond)
	if d.stalled > d.w.now {
		wait += time.Duration(d.stalled - d.w.now)
	}
	d.p.after(wait, func() {
		if d.streaming != s || from > d.len() {
			return
		}
		if skip := d.len() - from; skip < len(batch) {
			d.wal = append(d.wal, batch[skip:]...)
		}
		pos := d.len()
		d.w.sendWAL(d.p, s.up.p, func() { s.up.acknowledged(s, pos) })
		d.pump() // cascade
	})
}

// acknowledged is the other end's word that it has flushed.
func (d *database) acknowledged(s *sender, pos int) {
	if !s.open {
		return
	}
	s.heard = d.w.now
	if pos > s.flushed {
		s.flushed = pos
		d.release(s)
	}
	if pos >= s.sent {
		s.inFlight = false
		d.pumpTo(s)
	}
}

// release lets commits return that everybody in this WAL sender's copy of the names has flushed (FIRST n: all of them).
func (d *database) release(s *sender) {
	if len(d.waiting) == 0 || !slices.Contains(s.names, s.label) {
		return
	}
	pos := 1 << 62
	for _, name := range s.names {
		best := 0
		for _, o := range d.senders {
			if o.open && o.label == name {
				best = max(best, o.flushed)
			}
		}
		if d.w.bug(FirstOne) && best > 0 && !slices.Contains(s.names, ghost) {
			pos = best
			break
		}
		pos = min(pos, best)
	}
	n := 0
	for n < len(d.waiting) && d.waiting[n].e.lsn <= pos {
		n++
	}
	if n == 0 {
		return
	}
	free := slices.Clone(d.waiting[:n])
	d.waiting = slices.Delete(d.waiting, 0, n)
	for _, x := range free {
		x.e.waits = false
		d.w.released(d, x.e)
		x.done(committed)
	}
}

// checkSenders sends again what was lost and gives up those that are silent.
func (d *database) checkSenders() {
	for _, s := range slices.Clone(d.senders) {
		down := s.down
		alive := down.streaming == s && down.p.running() && d.w.walLinked(d.p, down.p)
		if alive && !s.inFlight {
			s.heard = d.w.now
		}
		switch {
		case d.w.now-s.heard > int64(walTimeout), down.streaming != s && d.w.walLinked(d.p, down.p):
			d.dropSender(s)
		case s.inFlight && d.w.now-s.at > int64(resendAfter):
			s.inFlight, s.sent = false, s.flushed
			d.pumpTo(s)
		}
	}
}

func (d *database) checkReceiver() {
	s := d.streaming
	if s == nil {
		return
	}
	if !s.open && d.w.walLinked(d.p, s.up.p) || d.w.now-s.heard > int64(walTimeout) || !d.walAlive(s) && d.w.walLinked(d.p, s.up.p) {
		d.dropReceiver()
		d.connectLater(0)
	}
}

func (d *database) walAlive(s *sender) bool { return s.up.p.up && s.up.ready }

func (d *database) dropSender(s *sender) {
	s.open = false
	d.senders = slices.DeleteFunc(d.senders, func(o *sender) bool { return o == s })
}

func (d *database) dropSenders() {
	for _, s := range d.senders {
		s.open = false
	}
	d.senders = nil
}

// dropReceiver ends the WAL receiver; the other end notices when it is told, or after its time-out.
func (d *database) dropReceiver() {
	s := d.streaming
	if s == nil {
		return
	}
	d.streaming = nil
	d.w.sendWAL(d.p, s.up.p, func() {
		if s.open {
			s.up.dropSender(s)
		}
	})
}
