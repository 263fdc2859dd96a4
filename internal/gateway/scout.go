package gateway

import (
	"sync"
	"sync/atomic"
	"time"
)

// lookout keeps a crowd off an owner that says it is not the owner yet, or any more: of the requests that it turned away one, the
// scout, goes on asking, the others wait for what it finds. A new ownership begins so: it is in the table a moment before it serves.
// Otherwise the retries of everything that is held would slow down the very opening that they wait for. The zero value is ready.
type lookout struct {
	proven atomic.Bool // the owner took a request in this ownership
	mu     sync.Mutex
	clear  chan struct{} // closed when the scout was taken, or gave up; nil: there is no scout
}

const (
	scoutPause    = 5 * time.Millisecond
	scoutLimit    = 20 * time.Millisecond
	waiterPause   = time.Second            // even beside a scout everybody asks now and then
	unprovenPause = 200 * time.Millisecond // nobody was turned away yet: the scout's own request may just be a long one
)

// join makes the caller the scout where there is none; otherwise it gives what to wait for.
func (l *lookout) join() (clear <-chan struct{}, scout bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clear != nil {
		return l.clear, false
	}
	l.clear = make(chan struct{})
	return nil, true
}

// leave ends the scout's watch and wakes who waits.
func (l *lookout) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.clear)
	l.clear = nil
}

// prove notes that the owner took a request. Every request calls it: only the first one writes.
func (l *lookout) prove() {
	if !l.proven.Load() {
		l.proven.Store(true)
	}
}

// lookout is that of plain reads or of everything else: a lease that is over turns away reads alone.
func (u *unitView) lookout(reads bool) *lookout {
	if reads {
		return &u.readLookout
	}
	return &u.writeLookout
}

// watch is how long a request that was turned away waits before it asks again, and for whom beside the clock.
func (x *exchange) watch() (pause time.Duration, clear <-chan struct{}) {
	if clear, scout := x.stepUp(); !scout {
		return waiterPause, clear
	}
	x.pause = min(x.pause+scoutPause, scoutLimit)
	return x.pause, nil
}

// stepUp makes the request the scout of where it is going, unless there is one: then it gives what to wait for.
func (x *exchange) stepUp() (clear <-chan struct{}, scout bool) {
	here := x.judged.lookout(x.reads)
	if x.scouting == here {
		return nil, true
	}
	x.endWatch()
	if clear, scout = here.join(); scout {
		x.scouting, x.pause = here, 0
	}
	return clear, scout
}

// goesAhead reports whether the request may be sent: once the ownership is proven everybody may, before that the scout, and who
// waited for it. Otherwise it gives what to wait for.
func (x *exchange) goesAhead() (clear <-chan struct{}, ahead bool) {
	if x.judged.lookout(x.reads).proven.Load() || x.waited == x.judged {
		return nil, true
	}
	x.waited = x.judged
	return x.stepUp()
}

// endWatch is called by every request that was not turned away again.
func (x *exchange) endWatch() {
	if x.scouting != nil {
		x.scouting.leave()
		x.scouting = nil
	}
}
