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

// approach is a request before the owner it goes to: whether it may ask now, and whom it waits for otherwise. The zero value is that
// of a request that was not judged yet.
type approach struct {
	unit   *unitView // as it was when the request was last judged: a wait is over when that one has changed
	crowd  *lookout  // of the unit, for requests of this kind
	turned bool      // the last attempt was turned away
	scouts *lookout  // the request is the scout of this crowd
	waited *lookout  // it has waited for this one's scout, and asks by itself now
	pause  time.Duration
}

// to turns the request to where it was judged to go.
func (a *approach) to(u *unitView, reads bool) {
	a.unit, a.crowd, a.turned = u, u.lookout(reads), false
}

// ahead reports whether the request may be sent: once the ownership is proven everybody may, before that the scout, and who
// waited for it. Otherwise it gives what to wait for.
func (a *approach) ahead() (clear <-chan struct{}, ahead bool) {
	if a.crowd.proven.Load() || a.waited == a.crowd {
		return nil, true
	}
	a.waited = a.crowd
	return a.stepUp()
}

// again is how long a request that was turned away waits before it asks again, and for whom beside the clock.
func (a *approach) again() (pause time.Duration, clear <-chan struct{}) {
	if clear, scout := a.stepUp(); !scout {
		return waiterPause, clear
	}
	a.pause = min(a.pause+scoutPause, scoutLimit)
	return a.pause, nil
}

// stepUp makes the request the scout of its crowd, unless there is one: then it gives what to wait for.
func (a *approach) stepUp() (clear <-chan struct{}, scout bool) {
	if a.scouts == a.crowd {
		return nil, true
	}
	a.leave()
	if clear, scout = a.crowd.join(); scout {
		a.scouts, a.pause = a.crowd, 0
	}
	return clear, scout
}

// leave ends the watch of a scout; every request that was not turned away again calls it.
func (a *approach) leave() {
	if a.scouts != nil {
		a.scouts.leave()
		a.scouts = nil
	}
}
