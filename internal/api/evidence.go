package api

import (
	"context"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// Evidence makes packs of the evidence log.
type Evidence interface {
	// Pack makes the pack of a run, with files beside its leaves.
	Pack(ctx context.Context, who, run string, files map[string][]byte) ([]byte, error)
	// Stretch makes a pack of the log from an entry on, as much as one takes.
	Stretch(ctx context.Context, who string, from int64) ([]byte, error)
	// Journal says in which log the journal of a run is, and as which entries.
	Journal(ctx context.Context, run string) (origin string, leaves []int64, err error)
	// Retiring says what a retirement of what is older than an instant would take out; zero: of what the policy lets go.
	Retiring(ctx context.Context, before time.Time) (wire.Retiring, error)
	// Retire begins to take it out.
	Retire(ctx context.Context, who string, ask wire.Retire) (wire.Retirement, error)
}

// archivist gives what keeps the evidence log.
func (s *Server) archivist() (Evidence, error) {
	if s.d.Evidence == nil {
		return nil, errs.New(errs.Unavailable, "this node keeps no evidence")
	}
	return s.d.Evidence, nil
}

func (s *Server) evidenceRetiring(ctx context.Context, in *struct {
	Before time.Time `query:"before" doc:"what is older; where it is missing, what the policy lets go"`
},
) (*body[wire.Retiring], error) {
	e, err := s.archivist()
	if err != nil {
		return nil, err
	}
	return answer(e.Retiring(ctx, in.Before))
}

func (s *Server) evidenceRetire(ctx context.Context, in *struct{ Body wire.Retire }) (*body[wire.Retirement], error) {
	e, err := s.archivist()
	if err == nil {
		err = s.forReal(ctx, who(ctx))
	}
	if err == nil && strings.TrimSpace(in.Body.Reason) == "" {
		err = errs.New(errs.Invalid, "reason is missing: it stands in the audit log")
	}
	if err != nil {
		return nil, err
	}
	return answer(e.Retire(ctx, who(ctx).Name, in.Body))
}

func (s *Server) evidenceKeys(ctx context.Context, _ *nothing) (*body[[]wire.LogKey], error) {
	return answer(s.d.Store.LogKeys(ctx))
}

func (s *Server) evidencePack(ctx huma.Context, in *runInput) {
	r, w := humago.Unwrap(ctx)
	if s.d.Evidence == nil {
		writeProblem(w, r, errs.New(errs.Unavailable, "this node makes no packs of evidence"))
		return
	}
	pack, err := s.packOf(ctx.Context(), in.Run)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(pack) // whoever gets a cut pack sees that it has no end
}

// packTries is how often a pack is made anew because something was said to the orders of its run meanwhile.
const packTries = 4

// packOf makes the pack of a run. The log names all that was said to its orders, so what the pack has of that has to be as new.
func (s *Server) packOf(ctx context.Context, run string) ([]byte, error) {
	for range packTries {
		before, err := s.d.Store.OrderHead(ctx, run, wire.Fresh)
		if err != nil {
			return nil, err
		}
		files, err := s.filesOf(ctx, run)
		if err != nil {
			return nil, err
		}
		pack, err := s.d.Evidence.Pack(ctx, who(ctx).Name, run, files)
		if err != nil {
			return nil, err
		}
		if after, err := s.d.Store.OrderHead(ctx, run, wire.Fresh); err != nil || after.Seq == before.Seq {
			return pack, err
		}
	}
	return nil, errs.New(errs.Conflict, "the orders of run %s keep changing while its evidence is packed: try again", run)
}

type stretchInput struct {
	From int64 `query:"from" minimum:"0" doc:"the first entry of the log; where the last pack ended"`
}

// evidenceStretch answers 404 where there is nothing from the entry on.
func (s *Server) evidenceStretch(ctx huma.Context, in *stretchInput) {
	r, w := humago.Unwrap(ctx)
	if s.d.Evidence == nil {
		writeProblem(w, r, errs.New(errs.Unavailable, "this node makes no packs of evidence"))
		return
	}
	pack, err := s.d.Evidence.Stretch(ctx.Context(), who(ctx.Context()).Name, in.From)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(pack) // whoever gets a cut pack sees that it has no end
}
