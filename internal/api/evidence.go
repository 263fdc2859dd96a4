package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// Evidence makes packs of the evidence log.
type Evidence interface {
	// Pack makes the pack of a run, with files beside its leaves.
	Pack(ctx context.Context, who, run string, files map[string][]byte) ([]byte, error)
	// Journal says in which log the journal of a run is, and as which entries.
	Journal(ctx context.Context, run string) (origin string, leaves []int64, err error)
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
	files, err := s.filesOf(ctx.Context(), in.Run)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	pack, err := s.d.Evidence.Pack(ctx.Context(), who(ctx.Context()).Name, in.Run, files)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(pack) // whoever gets a cut pack sees that it has no end
}
