package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// nothing is the input or output of a route that has none.
type nothing struct{}

// body is an answer with a JSON body.
type body[T any] struct {
	Body T
}

// answer wraps what a store call gave.
func answer[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, err
	}
	return &body[T]{Body: v}, nil
}

// Freshness is the query of reads that may be answered by the local member alone.
type Freshness struct {
	Read wire.Read `query:"read" enum:"fresh,local" default:"fresh" doc:"local reads this node's member alone: it works without a quorum and may be old"`
}

type healthy struct {
	OK bool `json:"ok"`
}

func (s *Server) health(context.Context, *nothing) (*body[healthy], error) {
	return &body[healthy]{healthy{OK: true}}, nil
}

func (s *Server) ready(ctx context.Context, _ *nothing) (*body[healthy], error) {
	if err := s.d.Standing.MayAct(); err != nil {
		return nil, err
	}
	if !s.d.Member.Status(ctx).Quorum {
		return nil, errs.New(errs.Unavailable, "the control store has no quorum")
	}
	return &body[healthy]{healthy{OK: true}}, nil
}

func (s *Server) metrics(ctx huma.Context, _ *nothing) {
	r, w := humago.Unwrap(ctx)
	if s.d.Gather == nil {
		writeProblem(w, r, errs.New(errs.Unavailable, "this node keeps no metrics"))
		return
	}
	promhttp.HandlerFor(s.d.Gather, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

func (s *Server) openapi(ctx huma.Context, _ *nothing) {
	_, w := humago.Unwrap(ctx)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(s.document) // the client may be gone
}

// estate gathers local reads: it answers without a quorum.
func (s *Server) estate(ctx context.Context, _ *nothing) (*body[wire.Estate], error) {
	e := wire.Estate{Node: s.o.Node, Version: s.o.Version, Now: time.Now().UnixMilli()}
	e.Store = s.d.Member.Status(ctx)
	e.Standing, e.Nodes = s.d.Standing.View()
	var failures [7]error
	e.Incarnation, failures[0] = s.d.Store.Incarnation(ctx, wire.Local)
	e.Manifest, failures[1] = s.d.Store.Manifest(ctx, wire.Local)
	e.Manifest.Text = ""
	e.Groups, failures[2] = s.d.Store.Groups(ctx, wire.Local)
	e.Gateways, failures[3] = s.d.Store.Acks(ctx, wire.Local)
	e.Members, failures[4] = s.d.Store.MemberStatuses(ctx, wire.Local)
	e.Instances, failures[5] = s.d.Store.Instances(ctx, wire.Local)
	e.Formats, failures[6] = s.d.Store.Formats(ctx, wire.Local)
	if err := errors.Join(failures[:]...); err != nil {
		return nil, err
	}
	return &body[wire.Estate]{e}, nil
}

func (s *Server) standing(context.Context, *nothing) (*body[wire.Standing], error) {
	own, _ := s.d.Standing.View()
	return &body[wire.Standing]{own}, nil
}

type confirmInput struct {
	Body struct {
		Reason string `json:"reason" minLength:"1" doc:"why it is certain that nobody recovered the estate elsewhere"`
	}
}

func (s *Server) confirmCold(ctx context.Context, in *confirmInput) (*body[wire.Standing], error) {
	id := who(ctx)
	if err := s.d.Standing.Confirm(id.Person); err != nil {
		return nil, err
	}
	if err := s.d.Store.Note(ctx, id.Name, "estate.confirm-cold", "node:"+s.o.Node, map[string]string{"reason": in.Body.Reason}); err != nil {
		s.d.Logger.Error("cannot write the audit event of confirm-cold", "by", id.Name, "reason", in.Body.Reason, "error", err)
	}
	return s.standing(ctx, nil)
}

type growInput struct {
	Body struct {
		Name    string `json:"name" minLength:"1"`
		PeerURL string `json:"peerUrl" minLength:"1"`
	}
}

func (s *Server) growStore(ctx context.Context, in *growInput) (*body[[]wire.StoreMember], error) {
	id := who(ctx)
	if err := id.onlyItself("node", in.Body.Name); err != nil {
		return nil, err
	}
	if err := s.d.Standing.MayAct(); err != nil {
		return nil, err
	}
	members, err := s.d.Member.Grow(ctx, in.Body.Name, in.Body.PeerURL)
	if err != nil {
		return nil, err
	}
	s.audit(ctx, id, "estate.member.add", in.Body.Name, map[string]string{"peerUrl": in.Body.PeerURL})
	return &body[[]wire.StoreMember]{members}, nil
}

type nameInput struct {
	Name string `path:"name"`
}

func (s *Server) shrinkStore(ctx context.Context, in *nameInput) (*nothing, error) {
	if err := s.d.Member.Shrink(ctx, in.Name); err != nil {
		return nil, err
	}
	s.audit(ctx, who(ctx), "estate.member.remove", in.Name, nil)
	return nil, nil
}

func (s *Server) reclaim(ctx context.Context, _ *nothing) (*body[wire.StoreStatus], error) {
	if err := s.d.Member.Reclaim(ctx); err != nil {
		return nil, err
	}
	s.audit(ctx, who(ctx), "estate.reclaim", "node:"+s.o.Node, nil)
	return &body[wire.StoreStatus]{s.d.Member.Status(ctx)}, nil
}

// audit notes what was done outside the store's own transactions. A failure is logged: the act itself cannot be taken back.
func (s *Server) audit(ctx context.Context, id identity, what, subject string, detail any) {
	if err := s.d.Store.Note(ctx, id.Name, what, subject, detail); err != nil {
		s.d.Logger.Error("cannot write the audit event", "what", what, "subject", subject, "by", id.Name, "error", err)
	}
}

// snapshot streams the store. Its last bytes are its checksum, so that a cut file is seen when it is restored.
func (s *Server) snapshot(ctx huma.Context, _ *nothing) {
	r, w := humago.Unwrap(ctx)
	limit, cancel := context.WithTimeout(ctx.Context(), snapshotLimit)
	defer cancel()
	s.audit(ctx.Context(), who(ctx.Context()), "estate.snapshot", "node:"+s.o.Node, nil)
	w.Header().Set("Content-Type", "application/octet-stream")
	out := &patientWriter{w: w, control: http.NewResponseController(w)}
	_ = out.control.SetReadDeadline(time.Time{}) // the request is read; its deadline would end the stream
	if err := s.d.Member.Snapshot(limit, out); err != nil {
		if !out.begun {
			writeProblem(w, r, err)
			return
		}
		s.d.Logger.Error("snapshot ended early", "error", err)
		panic(http.ErrAbortHandler) // the client must see a cut, not an end
	}
}

// patientWriter gives the reader new time for every piece it takes.
type patientWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

// Write implements io.Writer.
func (p *patientWriter) Write(data []byte) (int, error) {
	p.begun = true
	_ = p.control.SetWriteDeadline(time.Now().Add(requestLimit))
	return p.w.Write(data)
}
