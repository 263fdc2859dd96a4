package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// WatchOptions say what to watch.
type WatchOptions struct {
	// Prefixes of keys, for example "groups/"; all where empty.
	Prefixes []string
	// From resumes behind a position; the zero value begins with the whole state.
	From wire.Position
	// StaleAfter is how long a node may say nothing before another one is asked (default 3 s; nodes send a line each second).
	StaleAfter time.Duration
}

// Limits of a watch.
const (
	defaultStale = 3 * time.Second
	firstLine    = 1500 * time.Millisecond // how long a node may take to begin
	// quorumPatience is how long a node that lost the quorum is kept while others may have it, minorityPatience while none has.
	quorumPatience   = 3 * time.Second
	minorityPatience = 30 * time.Second
	mostLine         = 32 << 20
)

// Watch hands every change to handle until ctx ends or handle fails, whatever happens to single nodes: it resumes on another one
// where it stopped. One update is the whole state (Reset), all changes of one store revision, a heartbeat, or the news that
// nothing was heard for StaleAfter (Stale), sent once each time. handle is called from this goroutine alone.
// It returns early only for what repeating cannot cure: wrong credentials or a forbidden prefix.
func (c *Client) Watch(ctx context.Context, o WatchOptions, handle func(wire.Update) error) error {
	if o.StaleAfter == 0 {
		o.StaleAfter = defaultStale
	}
	w := &watch{c: c, o: o, handle: handle, at: o.From, heard: time.Now()}
	why := map[string]error{} // what each node said or did last
	for round := 0; ctx.Err() == nil; round++ {
		patience := quorumPatience
		if round%2 == 1 || len(c.endpoints) == 1 { // nobody had a quorum in the last round: stay where the data is
			patience = minorityPatience
		}
		for _, e := range c.order() {
			before := w.lines
			err := w.session(ctx, e, patience)
			if ctx.Err() != nil {
				break
			}
			var broken *handlerError
			if errors.As(err, &broken) {
				return broken.err
			}
			if kind := errs.KindOf(err); kind == errs.Unauthorised || kind == errs.Forbidden || kind == errs.Invalid {
				return err
			}
			why[e.url] = err
			c.o.Logger.Debug("watch goes on elsewhere", "node", e.url, "error", err)
			e.did(w.lines > before && !errors.Is(err, errSilent) && !errors.Is(err, errSuperseded))
			if err := w.tellStale(why); err != nil {
				return err
			}
			if errors.Is(err, errNoQuorum) || errors.Is(err, errSuperseded) {
				continue
			}
			if w.lines > before {
				round = -1 // it worked for a while: begin with the nearest again
				break
			}
		}
		pause := time.NewTimer(roundPause)
		select {
		case <-ctx.Done():
			pause.Stop()
		case <-pause.C:
		}
	}
	return nil
}

var (
	errSilent   = errors.New("nothing was heard")
	errNoQuorum = errors.New("the node has no quorum")
	// errSuperseded: what the node knows is over (I10).
	errSuperseded = errors.New("the node belongs to a store that was recovered elsewhere")
)

// handlerError is a failure of the caller's function, which ends the watch.
type handlerError struct{ err error }

func (e *handlerError) Error() string { return e.err.Error() }

type watch struct {
	c      *Client
	o      WatchOptions
	handle func(wire.Update) error
	at     wire.Position
	heard  time.Time
	stale  bool
	lines  int64

	pending  wire.Update // a snapshot or revision of which lines are still to come
	minority time.Time   // since when the node has had no quorum
}

func (w *watch) tellStale(why map[string]error) error {
	if w.stale || time.Since(w.heard) < w.o.StaleAfter {
		return nil
	}
	w.stale = true
	var nodes []any
	for _, url := range slices.Sorted(maps.Keys(why)) {
		nodes = append(nodes, slog.String(url, why[url].Error()))
	}
	w.c.o.Logger.Warn("no node of the control plane is heard", slog.Group("nodes", nodes...))
	return w.handle(wire.Update{Stale: true, Position: w.at})
}

// session watches at one node until it fails.
func (w *watch) session(ctx context.Context, e *endpoint, patience time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.pending, w.minority = wire.Update{}, time.Time{}
	watchdog := time.AfterFunc(firstLine, func() { cancel(errSilent) })
	defer watchdog.Stop()
	query := url.Values{}
	if len(w.o.Prefixes) > 0 {
		query.Set("prefix", strings.Join(w.o.Prefixes, ","))
	}
	if w.at.Revision != 0 {
		query.Set("after", strconv.FormatInt(w.at.Revision, 10))
		query.Set("incarnation", strconv.FormatUint(w.at.Incarnation.Counter, 10)+"."+w.at.Incarnation.ID)
	}
	resp, err := w.c.send(ctx, e, call{method: http.MethodGet, path: "/api/v1/watch", query: query}, nil)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		return problem(resp, data)
	}
	reader := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		line, err := readLine(reader)
		if err != nil {
			return causeOf(ctx, err)
		}
		watchdog.Reset(w.o.StaleAfter)
		if w.stale {
			w.c.o.Logger.Info("a node of the control plane is heard again", "node", e.url)
		}
		w.heard, w.stale = time.Now(), false
		w.lines++
		if err := w.take(line); err != nil {
			return err
		}
		if !w.minority.IsZero() && time.Since(w.minority) > patience {
			return errNoQuorum
		}
	}
}

func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func readLine(r *bufio.Reader) (wire.Line, error) {
	var data []byte
	for {
		part, err := r.ReadSlice('\n')
		data = append(data, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return wire.Line{}, err
		}
		if len(data) > mostLine {
			return wire.Line{}, errs.New(errs.Internal, "a line of the watch is longer than %d bytes", mostLine)
		}
	}
	var line wire.Line
	if err := json.Unmarshal(data, &line); err != nil {
		return line, errs.New(errs.Internal, "a line of the watch cannot be read: %w", err)
	}
	return line, nil
}

// take adds one line to what is known and hands it on when it is whole.
func (w *watch) take(line wire.Line) error {
	switch {
	case line.Heartbeat:
		return w.takeHeartbeat(line)
	case line.Reset:
		w.pending = wire.Update{Reset: true, Position: wire.Position{Revision: line.Revision}, Node: line.Node}
		if line.Incarnation != nil {
			w.pending.Position.Incarnation = *line.Incarnation
		}
	default:
		if !w.pending.Reset {
			w.pending.Position = wire.Position{Incarnation: w.at.Incarnation, Revision: line.Revision}
		}
		change := wire.Change{Key: line.Key, Value: line.Value, Deleted: line.Deleted, Revision: line.Revision}
		w.pending.Changes = append(w.pending.Changes, change)
	}
	if line.More {
		return nil
	}
	update := w.pending
	w.pending, w.at = wire.Update{}, update.Position
	return w.give(update)
}

func (w *watch) takeHeartbeat(line wire.Line) error {
	if line.Quorum {
		w.minority = time.Time{}
	} else if w.minority.IsZero() {
		w.minority = time.Now()
	}
	if line.Incarnation != nil && *line.Incarnation == w.at.Incarnation && line.Revision > w.at.Revision {
		w.at.Revision = line.Revision
	}
	if err := w.give(wire.Update{Heartbeat: true, Position: w.at, Quorum: line.Quorum, Node: line.Node, Superseded: line.Superseded}); err != nil {
		return err
	}
	if line.Superseded != nil {
		return errSuperseded
	}
	return nil
}

func (w *watch) give(u wire.Update) error {
	if err := w.handle(u); err != nil {
		return &handlerError{err}
	}
	return nil
}
