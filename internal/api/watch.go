package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

type watchInput struct {
	After       int64  `query:"after" minimum:"0" doc:"resume behind this revision; 0 begins with the whole state"`
	Incarnation string `query:"incarnation" doc:"counter.id that the revision belongs to; another one begins with the whole state"`
	Prefix      string `query:"prefix" doc:"comma-separated key prefixes, for example groups/,instances/,manifest; all where empty"`
}

func (in *watchInput) position() (wire.Position, error) {
	if in.After == 0 || in.Incarnation == "" {
		return wire.Position{}, nil
	}
	o, err := estate.ParseOwnership(in.Incarnation + ".0")
	if err != nil {
		return wire.Position{}, errs.New(errs.Invalid, "incarnation %q: give counter.id as heartbeat lines show it", in.Incarnation)
	}
	return wire.Position{Incarnation: o.Incarnation, Revision: in.After}, nil
}

// watch streams changes from the local member, so that it goes on without a quorum. The store's watch runs in its own
// goroutine and hands updates over; this one writes lines and heartbeats.
func (s *Server) watch(hctx huma.Context, in *watchInput) {
	r, w := humago.Unwrap(hctx)
	from, err := in.position()
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	select {
	case s.watches <- struct{}{}:
		defer func() { <-s.watches }()
	default:
		writeProblem(w, r, errs.New(errs.Unavailable, "this node serves %d watches already; ask another node", cap(s.watches)))
		return
	}
	ctx, cancel := context.WithCancel(hctx.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	var prefixes []string
	if in.Prefix != "" {
		prefixes = strings.Split(in.Prefix, ",")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // the request is read; its deadline would end the stream
	updates := make(chan wire.Update)
	ended := make(chan struct{})
	var failed error // of the store's watch; read after ended
	go func() {
		defer close(ended)
		failed = s.d.Store.Watch(ctx, from, prefixes, func(u wire.Update) error {
			select {
			case updates <- u:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	lines := &lineWriter{w: w, control: http.NewResponseController(w), node: s.o.Node}
	s.pump(ctx, lines, updates, ended, func() bool { return s.stillIn(ctx, r) })
	cancel()
	<-ended
	if failed != nil && !lines.begun && hctx.Context().Err() == nil {
		writeProblem(w, r, failed)
	}
}

// pump writes until one side ends.
func (s *Server) pump(ctx context.Context, lines *lineWriter, updates <-chan wire.Update, ended <-chan struct{}, stillIn func() bool) {
	beat := time.NewTicker(s.o.Heartbeat)
	defer beat.Stop()
	for {
		if s.d.Standing.Over() != nil {
			if own, _ := s.d.Standing.View(); own.Superseded != nil {
				_ = lines.superseded(*own.Superseded) // the last word: whoever cannot be told finds the next node anyway
			}
			return
		}
		var failed error
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case u := <-updates:
			if u.Heartbeat {
				lines.at, lines.known = u.Position, true
				if lines.begun {
					continue
				}
				failed = lines.heartbeat(s.quorum(ctx))
			} else {
				failed = lines.update(u)
			}
		case <-beat.C:
			if !stillIn() {
				return
			}
			if !lines.known {
				continue // nothing was read yet: there is nothing to be fresh about
			}
			failed = lines.heartbeat(s.quorum(ctx))
		}
		if failed != nil {
			return
		}
	}
}

// stillIn reports whether the session that a watch was begun in goes on: its end ends what it sees.
func (s *Server) stillIn(ctx context.Context, r *http.Request) bool {
	if who(ctx).Session == "" {
		return true
	}
	_, err := s.identify(r)
	return errs.KindOf(err) != errs.Unauthorised
}

func (s *Server) quorum(ctx context.Context) bool { return s.d.Member.HasLeader(ctx) }

// lineWriter writes the lines of one watch.
type lineWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	node    string
	at      wire.Position
	known   bool
	begun   bool
	buffer  bytes.Buffer
}

func (l *lineWriter) heartbeat(quorum bool) error {
	incarnation := l.at.Incarnation
	l.add(wire.Line{Revision: l.at.Revision, Heartbeat: true, Node: l.node, Incarnation: &incarnation, Quorum: quorum})
	return l.flush()
}

// superseded says which incarnation is in force elsewhere.
func (l *lineWriter) superseded(by estate.Incarnation) error {
	l.add(wire.Line{Heartbeat: true, Node: l.node, Superseded: &by})
	return l.flush()
}

func (l *lineWriter) update(u wire.Update) error {
	l.at, l.known = u.Position, true
	if u.Reset {
		incarnation := u.Position.Incarnation
		l.add(wire.Line{Revision: u.Position.Revision, Reset: true, Node: l.node, Incarnation: &incarnation, More: len(u.Changes) > 0})
	}
	for i, c := range u.Changes {
		l.add(wire.Line{Revision: c.Revision, Key: c.Key, Value: c.Value, Deleted: c.Deleted, More: i < len(u.Changes)-1})
	}
	return l.flush()
}

func (l *lineWriter) add(line wire.Line) {
	data, err := json.Marshal(line)
	if err != nil { // values are JSON: they were encoded by this product
		data, _ = json.Marshal(wire.Line{Revision: line.Revision, Key: line.Key, Deleted: true, More: line.More})
	}
	l.buffer.Write(data)
	l.buffer.WriteByte('\n')
}

func (l *lineWriter) flush() error {
	if !l.begun {
		l.w.Header().Set("Content-Type", "application/x-ndjson")
		l.w.Header().Set("Cache-Control", "no-store")
		l.w.WriteHeader(http.StatusOK)
		l.begun = true
	}
	_ = l.control.SetWriteDeadline(time.Now().Add(streamStall))
	_, err := l.w.Write(l.buffer.Bytes())
	l.buffer.Reset()
	if err != nil {
		return err
	}
	return l.control.Flush()
}
