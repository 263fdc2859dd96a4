package link

import (
	"container/heap"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// clock wakes sleepers with a precision of about 50 µs. The runtime's own timers are rounded up to a whole
// millisecond on an idle machine, twice the latency between two sites of one city, so one kernel timer is
// shared by all connections instead.
type clock struct {
	file  *os.File // the kernel timer, read through the runtime's poller
	fd    int
	start time.Time

	mu       sync.Mutex
	sleepers sleepers
	armed    time.Duration // when the kernel timer fires, since start; 0: not armed
	done     chan struct{}
}

// slack is how early a sleeper may be woken so that neighbours share one wake-up.
const slack = 30 * time.Microsecond

type sleeper struct {
	at   time.Duration // since the clock's start
	wake chan struct{}
}

type sleepers []sleeper

func (s sleepers) Len() int           { return len(s) }
func (s sleepers) Less(i, j int) bool { return s[i].at < s[j].at }
func (s sleepers) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *sleepers) Push(x any)        { *s = append(*s, x.(sleeper)) }
func (s *sleepers) Pop() any {
	old := *s
	last := old[len(old)-1]
	old[len(old)-1] = sleeper{}
	*s = old[:len(old)-1]
	return last
}

func newClock() (*clock, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	c := &clock{file: os.NewFile(uintptr(fd), "link clock"), fd: fd, start: time.Now(), done: make(chan struct{})}
	go c.run()
	return c, nil
}

// now is the time since the clock's start, on the monotonic clock.
func (c *clock) now() time.Duration { return time.Since(c.start) }

// sleepUntil returns at the moment, or earlier when stop closes; it reports whether the moment was reached.
// wake must be the caller's own channel with room for one value; it is empty again when sleepUntil returns true.
func (c *clock) sleepUntil(at time.Duration, wake chan struct{}, stop <-chan struct{}) bool {
	if at <= c.now()+slack {
		return true
	}
	c.mu.Lock()
	heap.Push(&c.sleepers, sleeper{at, wake})
	if c.armed == 0 || at < c.armed {
		c.arm(at)
	}
	c.mu.Unlock()
	select {
	case <-wake:
		return true
	case <-stop:
		return false
	}
}

// arm sets the kernel timer; the caller holds mu.
func (c *clock) arm(at time.Duration) {
	left := max(at-c.now(), time.Microsecond)
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(left.Nanoseconds())}
	if err := unix.TimerfdSettime(c.fd, 0, &spec, nil); err == nil {
		c.armed = at
	}
}

func (c *clock) run() {
	defer close(c.done)
	var buf [8]byte
	for {
		if _, err := c.file.Read(buf[:]); err != nil {
			return
		}
		c.mu.Lock()
		c.armed = 0
		limit := c.now() + slack
		for len(c.sleepers) > 0 && c.sleepers[0].at <= limit {
			s := heap.Pop(&c.sleepers).(sleeper)
			select {
			case s.wake <- struct{}{}:
			default: // its owner gave up
			}
		}
		if len(c.sleepers) > 0 {
			c.arm(c.sleepers[0].at)
		}
		c.mu.Unlock()
	}
}

// stop ends the clock. Sleepers must have been stopped through their own stop channels.
func (c *clock) stop() {
	c.mu.Lock()
	err := c.file.Close()
	c.mu.Unlock()
	if err == nil {
		<-c.done
	}
}
