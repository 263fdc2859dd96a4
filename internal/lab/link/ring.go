package link

import (
	"sync"
	"time"
)

const (
	ringLeast = 4 << 10
	// ringMost bounds what one direction of one connection holds; with 15 ms it lets 64 MiB/s through.
	ringMost = 1 << 20
	// marksMost bounds how many separately timed pieces are on their way.
	marksMost = 1024
)

// ring holds the bytes that are on their way in one direction of one connection, in order, each piece with the moment
// at which it arrives. It is bounded: when it is full the reader waits, and so does the sender through its own socket.
type ring struct {
	mu    sync.Mutex
	data  []byte
	head  int // first byte
	size  int // bytes held
	marks []mark
	first int // index into marks of the first one
	held  int // marks held
	end   ending
	endAt time.Duration
	// closed: the connection is torn down; everybody leaves.
	closed bool
	room   sync.Cond // the reader waits here
	some   chan struct{}
}

type mark struct {
	at    time.Duration
	bytes int
}

// ending says how the sender finished.
type ending int

const (
	goesOn   ending = iota
	finished        // end of stream: half-close the other side
	broken          // reset: reset the other side
)

func newRing() *ring {
	r := &ring{data: make([]byte, ringLeast), marks: make([]mark, 8), some: make(chan struct{}, 1)}
	r.room.L = &r.mu
	return r
}

// space gives a free stretch to read into, waiting while the ring is full; nil when the connection is torn down.
// Only one reader uses a ring.
func (r *ring) space() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.closed && ((r.size == len(r.data) && len(r.data) == ringMost) || r.held == marksMost) {
		r.room.Wait()
	}
	if r.closed {
		return nil
	}
	if r.size == len(r.data) {
		r.grow()
	}
	tail := (r.head + r.size) % len(r.data)
	if tail < r.head || (tail == r.head && r.size > 0) {
		return r.data[tail:r.head]
	}
	return r.data[tail:]
}

func (r *ring) grow() {
	bigger := make([]byte, min(4*len(r.data), ringMost))
	n := copy(bigger, r.data[r.head:min(r.head+r.size, len(r.data))])
	copy(bigger[n:], r.data[:r.size-n])
	r.data, r.head = bigger, 0
}

// filled says that n bytes of the last space are data which arrives at the moment; moments never go backwards.
func (r *ring) filled(n int, at time.Duration) {
	r.mu.Lock()
	r.size += n
	if r.held == len(r.marks) {
		bigger := make([]mark, 4*len(r.marks))
		for i := range r.held {
			bigger[i] = r.marks[(r.first+i)%len(r.marks)]
		}
		r.marks, r.first = bigger, 0
	}
	r.marks[(r.first+r.held)%len(r.marks)] = mark{at, n}
	r.held++
	r.mu.Unlock()
	r.signal()
}

// finish records how the sender ended, arriving at the moment.
func (r *ring) finish(how ending, at time.Duration) {
	r.mu.Lock()
	if r.end == goesOn {
		r.end, r.endAt = how, at
	}
	r.mu.Unlock()
	r.signal()
}

// next says when the first piece arrives; pending is false when nothing is on its way.
func (r *ring) next() (at time.Duration, pending bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held > 0 {
		return r.marks[r.first].at, true
	}
	if r.end != goesOn {
		return r.endAt, true
	}
	return 0, false
}

// due gives a stretch of what has arrived by the moment, at most what lies in one piece of memory; it stays valid until delivered.
// When all bytes are delivered it gives the ending instead.
func (r *ring) due(now time.Duration) ([]byte, ending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == 0 {
		if r.end != goesOn && r.endAt <= now {
			return nil, r.end
		}
		return nil, goesOn
	}
	n := 0
	for i := 0; i < r.held && r.marks[(r.first+i)%len(r.marks)].at <= now; i++ {
		n += r.marks[(r.first+i)%len(r.marks)].bytes
	}
	return r.data[r.head:min(r.head+n, len(r.data))], goesOn
}

// delivered gives n bytes back.
func (r *ring) delivered(n int) {
	r.mu.Lock()
	r.head = (r.head + n) % len(r.data)
	r.size -= n
	for n > 0 {
		m := &r.marks[r.first]
		if m.bytes > n {
			m.bytes -= n
			break
		}
		n -= m.bytes
		r.first = (r.first + 1) % len(r.marks)
		r.held--
	}
	r.mu.Unlock()
	r.room.Signal()
}

// close lets everybody go.
func (r *ring) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.room.Broadcast()
	r.signal()
}

func (r *ring) signal() {
	select {
	case r.some <- struct{}{}:
	default:
	}
}
