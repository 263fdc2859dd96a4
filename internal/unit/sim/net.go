package sim

import "time"

const maxSites = 5

// network is what lies between the sites. A direction that is cut loses what is sent and what is on its way.
type network struct {
	cut    [maxSites][maxSites]bool
	walCut [maxSites][maxSites]bool // replication only
	ctlCut [maxSites][maxSites]bool // everything but replication
	delay  [maxSites][maxSites]time.Duration
	loss   int // per mille of the messages between sites
	copies int // per mille that arrive twice
	late   int // per mille that take up to lateBy
	lateBy time.Duration
}

func at(p *proc) int { return p.site.index }

// reaches reports whether messages go from one process's site to the other's.
func (w *world) reaches(from, to *proc) bool {
	i, j := at(from), at(to)
	return !w.net.cut[i][j] && !w.net.ctlCut[i][j]
}

// linked reports whether they go both ways.
func (w *world) linked(a, b *proc) bool { return w.reaches(a, b) && w.reaches(b, a) }

// letsIn reports whether a process can be called by another one.
func (w *world) letsIn(p, from *proc) bool {
	return p.site.deaf == 0 || !p.member || p.site == from.site
}

// walReaches reports whether replication goes that way.
func (w *world) walReaches(from, to *proc) bool {
	i, j := at(from), at(to)
	return !w.net.cut[i][j] && !w.net.walCut[i][j]
}

func (w *world) walLinked(a, b *proc) bool { return w.walReaches(a, b) && w.walReaches(b, a) }

func (w *world) latency(from, to *proc) time.Duration {
	d := w.net.delay[at(from)][at(to)]
	d += time.Duration(w.rng.Int64N(int64(d)/2 + 1))
	if from.site != to.site && w.net.late > 0 && w.chance(w.net.late) {
		d += w.between(0, w.net.lateBy)
	}
	return d
}

// send lets fn happen in the other process after the way there. Messages overtake each other, are lost, come twice.
func (w *world) send(from, to *proc, fn func()) {
	if !w.reaches(from, to) {
		return
	}
	between := from.site != to.site
	if between && w.net.loss > 0 && w.chance(w.net.loss) {
		return
	}
	w.deliver(from, to, fn)
	if between && w.net.copies > 0 && w.chance(w.net.copies) {
		w.deliver(from, to, fn)
	}
}

func (w *world) deliver(from, to *proc, fn func()) {
	if from.site == to.site {
		w.push(w.now+int64(w.latency(from, to)), to, fn)
		return
	}
	w.push(w.now+int64(w.latency(from, to)), to, func() {
		if w.reaches(from, to) {
			fn()
		}
	})
}

// sendWAL is one segment of a replication connection; what is lost is sent again by its sender.
func (w *world) sendWAL(from, to *proc, fn func()) {
	if !w.walReaches(from, to) || from.site != to.site && w.net.loss > 0 && w.chance(w.net.loss) {
		return
	}
	w.push(w.now+int64(w.latency(from, to)), to, func() {
		if w.walReaches(from, to) {
			fn()
		}
	})
}

// call asks another process and waits for the answer, or for the time-out on the asker's clock. A dead asker waits for nothing.
func call[T any](w *world, from, to *proc, timeout time.Duration, serve func(reply func(T)), done func(T, bool)) {
	settled := false
	boot := from.boot
	w.send(from, to, func() {
		if !w.letsIn(to, from) {
			return
		}
		serve(func(v T) {
			w.send(to, from, func() {
				if !settled && from.boot == boot {
					settled = true
					done(v, true)
				}
			})
		})
	})
	from.after(timeout, func() {
		if !settled {
			settled = true
			var zero T
			done(zero, false)
		}
	})
}
