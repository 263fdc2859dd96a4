package history

import (
	"bufio"
	"encoding/json"
	"io"
	"iter"
	"os"
	"sync"
	"time"

	"perdure/internal/errs"
)

// bufferSize bounds what a Writer holds in memory.
const bufferSize = 256 << 10

// flushAfter is the longest a line waits in memory while others are written.
const flushAfter = time.Second

// Writer appends events to a history. Its methods may be called from any goroutine.
// After the first failure every further Append gives the same error: a history with a hole proves nothing.
type Writer struct {
	began time.Time

	mu      sync.Mutex
	file    *os.File
	buf     *bufio.Writer
	flushed time.Time
	events  uint64
	closed  bool
	err     error
}

// Create starts a history in a new file; it refuses to overwrite one.
func Create(path, estate string, seed uint64) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, errs.New(errs.Conflict, "cannot start the history: %w; choose a new folder for the run", err)
	}
	now := time.Now()
	w := &Writer{began: now, file: f, buf: bufio.NewWriterSize(f, bufferSize), flushed: now}
	begin := Begin{Format: 1, At: Instant{Wall: now.UnixNano()}, Estate: estate, Seed: seed, Clearings: true}
	if err := w.Append(Event{Begin: &begin}); err != nil {
		_ = f.Close()
		return nil, err
	}
	return w, nil
}

// Now is the present moment on the history's clock.
func (w *Writer) Now() Instant {
	now := time.Now()
	return Instant{Mono: now.Sub(w.began), Wall: now.UnixNano()}
}

// Since is Now without the wall clock.
func (w *Writer) Since() time.Duration { return time.Since(w.began) }

// Clock is the clock of a history in another process than its writer's.
type Clock struct{ began time.Time }

// Follow gives the clock of the history that began then. The system's time is looked at once; from then on the clock is monotonic.
func Follow(began Instant) Clock {
	now := time.Now()
	return Clock{began: now.Add(-time.Duration(now.UnixNano() - began.Wall))}
}

// Now is the present moment.
func (c Clock) Now() Instant {
	now := time.Now()
	return Instant{Mono: now.Sub(c.began), Wall: now.UnixNano()}
}

// Since is Now without the wall clock.
func (c Clock) Since() time.Duration { return time.Since(c.began) }

// Append writes one event. Marks, faults and facts are on disk (fsync) when it returns; calls follow within a second or with the next mark.
func (w *Writer) Append(e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return errs.New(errs.Internal, "cannot write an event of the history: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed && w.err == nil {
		return errs.New(errs.Conflict, "cannot write to the history %s: it is closed", w.file.Name())
	}
	if err := w.write(line); err != nil {
		return err
	}
	if e.Mark != nil || e.Fault != nil || e.Load != nil || e.Copy != nil {
		return w.sync()
	}
	if now := time.Now(); now.Sub(w.flushed) > flushAfter {
		w.flushed = now
		if err := w.buf.Flush(); err != nil {
			return w.fail(err)
		}
	}
	return nil
}

// write puts one line into the buffer.
func (w *Writer) write(line []byte) error {
	if w.err != nil {
		return w.err
	}
	w.events++
	if _, err := w.buf.Write(append(line, '\n')); err != nil {
		return w.fail(err)
	}
	return nil
}

// fail keeps the first error.
func (w *Writer) fail(err error) error {
	w.err = errs.New(errs.Internal, "cannot write the history %s: %w; make room and start the run again", w.file.Name(), err)
	return w.err
}

func (w *Writer) sync() error {
	w.flushed = time.Now()
	if err := w.buf.Flush(); err != nil {
		return w.fail(err)
	}
	if err := w.file.Sync(); err != nil {
		return w.fail(err)
	}
	return nil
}

// SoFar gives the events that were written until now, while others go on to write.
func (w *Writer) SoFar() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		size, err := w.flush()
		if err != nil {
			yield(Event{}, err)
			return
		}
		f, err := os.Open(w.file.Name())
		if err != nil {
			yield(Event{}, errs.New(errs.NotFound, "cannot read the history: %w", err))
			return
		}
		defer func() { _ = f.Close() }()
		decode(io.LimitReader(f, size), w.file.Name(), yield)
	}
}

// flush puts what waits in memory into the file, and gives the size that the file has then: it ends with a whole line.
func (w *Writer) flush() (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && !w.closed {
		w.flushed = time.Now()
		if err := w.buf.Flush(); err != nil {
			return 0, w.fail(err)
		}
	}
	info, err := os.Stat(w.file.Name())
	if err != nil {
		return 0, errs.New(errs.NotFound, "cannot read the history: %w", err)
	}
	return info.Size(), w.err
}

// Mark appends the mark at this moment.
func (w *Writer) Mark(m Mark) error {
	m.At = w.Now()
	return w.Append(Event{Mark: &m})
}

// Fault appends the fault at this moment. Write the start before breaking something and the end after it is mended.
func (w *Writer) Fault(f Fault) error {
	f.At = w.Now()
	return w.Append(Event{Fault: &f})
}

// Close writes the end event and syncs. A second Close does nothing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	line, err := json.Marshal(Event{End: &End{At: w.Now(), Events: w.events}})
	if err == nil {
		err = w.write(line)
	}
	if err == nil {
		err = w.sync()
	}
	if e := w.file.Close(); err == nil && e != nil {
		err = w.fail(e)
	}
	return err
}
