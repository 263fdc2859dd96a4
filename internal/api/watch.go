package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
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
	i, err := incarnation(in.Incarnation)
	return wire.Position{Incarnation: i, Revision: in.After}, err
}

func incarnation(text string) (estate.Incarnation, error) {
	o, err := estate.ParseOwnership(text + ".0")
	if err != nil {
		return estate.Incarnation{}, errs.New(errs.Invalid, "incarnation %q: give counter.id as heartbeat lines show it", text)
	}
	return o.Incarnation, nil
}

// watch streams changes as one JSON object per line.
func (s *Server) watch(hctx huma.Context, in *watchInput) {
	from, err := in.position()
	s.follow(hctx, from, err, in.Prefix, &lines{})
}

type liveInput struct {
	Prefix string `query:"prefix" doc:"comma-separated key prefixes, for example runs/,groups/,incidents/; all where empty"`
	Last   string `header:"Last-Event-ID" doc:"id of the last event that is known, as a browser sends it when it connects again; without it, and where it is too old, the whole state comes first"`
}

// live streams changes as server-sent events.
func (s *Server) live(hctx huma.Context, in *liveInput) {
	from, err := positionOf(in.Last)
	s.follow(hctx, from, err, in.Prefix, &serverSent{})
}

// idOf names a position as the id of an event; positionOf reads it.
func idOf(p wire.Position) string {
	return fmt.Sprintf("%d.%s/%d", p.Incarnation.Counter, p.Incarnation.ID, p.Revision)
}

func positionOf(id string) (wire.Position, error) {
	if id == "" {
		return wire.Position{}, nil
	}
	name, number, _ := strings.Cut(id, "/")
	revision, err := strconv.ParseInt(number, 10, 64)
	i, wrong := incarnation(name)
	if err != nil || wrong != nil || revision < 0 {
		return wire.Position{}, errs.New(errs.Invalid, "Last-Event-ID %q: give the id of an event of this stream", id)
	}
	return wire.Position{Incarnation: i, Revision: revision}, nil
}

// follow streams changes from the local member, so that it goes on without a quorum. The store's watch runs in its own
// goroutine and hands updates over; this one writes them and heartbeats.
func (s *Server) follow(hctx huma.Context, from wire.Position, err error, prefix string, how form) {
	r, w := humago.Unwrap(hctx)
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
	if prefix != "" {
		prefixes = strings.Split(prefix, ",")
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
	out := &lineWriter{w: w, control: http.NewResponseController(w), node: s.o.Node, form: how}
	s.pump(ctx, out, updates, ended, func() bool { return s.stillIn(ctx, r) })
	cancel()
	<-ended
	if failed != nil && !out.begun && hctx.Context().Err() == nil {
		writeProblem(w, r, failed)
	}
}

// pump writes until one side ends.
func (s *Server) pump(ctx context.Context, out *lineWriter, updates <-chan wire.Update, ended <-chan struct{}, stillIn func() bool) {
	beat := time.NewTicker(s.o.Heartbeat)
	defer beat.Stop()
	for {
		if s.d.Standing.Over() != nil {
			if own, _ := s.d.Standing.View(); own.Superseded != nil {
				_ = out.superseded(*own.Superseded) // the last word: whoever cannot be told finds the next node anyway
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
				out.at, out.known = u.Position, true
				if out.begun {
					continue
				}
				failed = out.heartbeat(s.quorum(ctx))
			} else {
				failed = out.update(u)
			}
		case <-beat.C:
			if !stillIn() {
				return
			}
			if !out.known {
				continue // nothing was read yet: there is nothing to be fresh about
			}
			failed = out.heartbeat(s.quorum(ctx))
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

// form is how a stream writes its lines.
type form interface {
	contentType() string
	// begin is written before the first line.
	begin(b *bytes.Buffer)
	// line adds a line; at is where its reader stands when it has read it, the zero position if it is not the last line of its revision.
	line(b *bytes.Buffer, l wire.Line, data []byte, at wire.Position)
}

// lines is one JSON object per line.
type lines struct{}

func (*lines) contentType() string { return "application/x-ndjson" }
func (*lines) begin(*bytes.Buffer) {}
func (*lines) line(b *bytes.Buffer, _ wire.Line, data []byte, _ wire.Position) {
	b.Write(data)
	b.WriteByte('\n')
}

// serverSent is the form of server-sent events: a browser that was cut off connects again with the id of the last event it has whole.
type serverSent struct{}

func (*serverSent) contentType() string   { return "text/event-stream" }
func (*serverSent) begin(b *bytes.Buffer) { b.WriteString("retry: 1000\n\n") }
func (*serverSent) line(b *bytes.Buffer, l wire.Line, data []byte, at wire.Position) {
	name := "change"
	switch {
	case l.Superseded != nil:
		name = "superseded"
	case l.Heartbeat:
		name = "heartbeat"
	case l.Reset:
		name = "reset"
	}
	if at.Revision != 0 {
		fmt.Fprintf(b, "id: %s\n", idOf(at))
	}
	fmt.Fprintf(b, "event: %s\ndata: %s\n\n", name, data)
}

// lineWriter writes the lines of one watch.
type lineWriter struct {
	form    form
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
	at := l.at
	if line.More {
		at = wire.Position{}
	}
	l.form.line(&l.buffer, line, data, at)
}

func (l *lineWriter) flush() error {
	if !l.begun {
		l.w.Header().Set("Content-Type", l.form.contentType())
		l.w.Header().Set("Cache-Control", "no-store")
		l.w.WriteHeader(http.StatusOK)
		l.begun = true
		var first bytes.Buffer
		l.form.begin(&first)
		if _, err := l.w.Write(first.Bytes()); err != nil {
			return err
		}
	}
	_ = l.control.SetWriteDeadline(time.Now().Add(streamStall))
	_, err := l.w.Write(l.buffer.Bytes())
	l.buffer.Reset()
	if err != nil {
		return err
	}
	return l.control.Flush()
}
