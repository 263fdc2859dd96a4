package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"os"

	"perdure/internal/errs"
)

// Read gives the events of a history in the order they were written, holding one line in memory.
// It stops with an error at the first line that cannot be read: a last line without its end means that the run was cut short.
func Read(path string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(Event{}, errs.New(errs.NotFound, "cannot read the history: %w", err))
			return
		}
		defer func() { _ = f.Close() }()
		decode(f, path, yield)
	}
}

// decode yields the events of r until the consumer stops or r ends.
func decode(r io.Reader, name string, yield func(Event, error) bool) {
	lines := bufio.NewReaderSize(r, bufferSize)
	for n := 1; ; n++ {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return
		}
		if errors.Is(err, io.EOF) {
			yield(Event{}, errs.New(errs.Invalid, "%s:%d: the last line is not complete: the run was cut short", name, n))
			return
		}
		if err != nil {
			yield(Event{}, errs.New(errs.Unavailable, "%s:%d: %w", name, n, err))
			return
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		var e Event
		if err := d.Decode(&e); err != nil {
			yield(Event{}, errs.New(errs.Invalid, "%s:%d: %w", name, n, err))
			return
		}
		if !yield(e, nil) {
			return
		}
	}
}

// readLine reads up to the next newline without a bound on its length.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.ReadSlice('\n')
		long = append(long, line...)
	}
	return long, err
}
