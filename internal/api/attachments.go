package api

import (
	"context"
	"mime"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

type attachInput struct {
	Run     string `path:"run"`
	Step    string `query:"step" required:"true" doc:"the task that it is for"`
	Name    string `query:"name" required:"true" maxLength:"1024" doc:"what the file is called"`
	RawBody []byte `contentType:"application/octet-stream"`
}

// attach keeps a file for a task that is open, of whoever may complete it. It counts once the task was completed with it.
func (s *Server) attach(ctx context.Context, in *attachInput) (*body[wire.KeptAttachment], error) {
	id := who(ctx)
	if err := s.mayAttach(ctx, id, in.Run, in.Step); err != nil {
		return nil, err
	}
	a, err := run.NewAttachment(in.Name, in.RawBody)
	if err != nil {
		return nil, err
	}
	return answer(s.d.Store.PutAttachment(ctx, in.Run, wire.KeptAttachment{Attachment: a, Step: in.Step, By: id.Person}, in.RawBody))
}

func (s *Server) mayAttach(ctx context.Context, id identity, name, step string) error {
	unknown := errs.New(errs.NotFound, "no task of a run %s, step %s, waits for %s; perdure inbox shows what does", name, step, id.Person)
	head, r, err := s.replay(ctx, name)
	switch kind := errs.KindOf(err); {
	case kind == errs.NotFound || kind == errs.Invalid:
		return unknown
	case err != nil:
		return err
	}
	n, ok := r.Node(step)
	if !ok || n.Step.Manual == nil {
		return unknown
	}
	if state, _ := r.Step(step); state.Status != run.Open || !s.desk(ctx).person(id, head).Answers(n.Step.Manual.Owner) && !id.steers(head) {
		return unknown
	}
	return nil
}

// attached gives what is kept of the files that a task is completed with.
func (s *Server) attached(ctx context.Context, name string, e run.Entry, files []string) ([]run.Attachment, error) {
	switch {
	case len(files) == 0:
		return nil, nil
	case e.What != run.Completed:
		return nil, errs.New(errs.Invalid, "files are handed in when a task is completed, and not with %q", e.What)
	case len(files) > plan.MostAttachments:
		return nil, errs.New(errs.Invalid, "%d files are attached, at most %d can be", len(files), plan.MostAttachments)
	}
	var out []run.Attachment
	for _, sum := range files {
		kept, err := s.d.Store.Attachments(ctx, name, sum)
		if err != nil && errs.KindOf(err) != errs.NotFound {
			return nil, err
		}
		// Else who answers one task could take what was handed in for another one.
		i := slices.IndexFunc(kept, func(a wire.KeptAttachment) bool { return a.Step == e.Node })
		if i < 0 {
			return nil, errs.New(errs.NotFound, "no file of SHA-256 %s was handed in for step %s of run %s", sum, e.Node, name)
		}
		out = append(out, kept[i].Attachment)
	}
	return out, nil
}

type attachmentInput struct {
	Run    string `path:"run"`
	SHA256 string `path:"sha256"`
}

// attachment gives the bytes of a file to who may see the task that it is of.
func (s *Server) attachment(ctx huma.Context, in *attachmentInput) {
	r, w := humago.Unwrap(ctx)
	a, data, err := s.attachmentOf(ctx.Context(), who(ctx.Context()), in)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	head := w.Header()
	head.Set("Content-Type", a.Type)
	head.Set("Content-Length", strconv.Itoa(len(data)))
	head.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.Name}))
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Content-Security-Policy", "sandbox; default-src 'none'") // it is of somebody else
	_, _ = w.Write(data)                                               // whoever gets a cut file sees it by its length
}

func (s *Server) attachmentOf(ctx context.Context, id identity, in *attachmentInput) (wire.KeptAttachment, []byte, error) {
	unknown := errs.New(errs.NotFound, "there is no file %s of a run %s", in.SHA256, in.Run)
	kept, err := s.d.Store.Attachments(ctx, in.Run, in.SHA256)
	switch kind := errs.KindOf(err); {
	case kind == errs.NotFound || kind == errs.Invalid:
		return wire.KeptAttachment{}, nil, unknown
	case err != nil:
		return wire.KeptAttachment{}, nil, err
	}
	if !id.has(Viewer) { // whoever only takes part sees those of their own tasks, and what the run shows to participants
		head, r, err := s.replay(ctx, in.Run)
		if err != nil {
			return wire.KeptAttachment{}, nil, err
		}
		by := s.desk(ctx).person(id, head)
		kept = slices.DeleteFunc(kept, func(a wire.KeptAttachment) bool {
			n, ok := r.Node(a.Step)
			switch {
			case ok && n.Step.Manual != nil:
				return !by.Answers(n.Step.Manual.Owner)
			case ok && n.Step.Act != nil: // what was made for them; what an attempt has left otherwise counts nothing
				return !slices.ContainsFunc(r.ShownTo(by), func(o run.Attachment) bool { return o.SHA256 == a.SHA256 })
			}
			return true
		})
		if len(kept) == 0 {
			return wire.KeptAttachment{}, nil, unknown
		}
	}
	data, err := s.d.Store.AttachmentData(ctx, in.Run, in.SHA256)
	return kept[0], data, err
}

// attachedFiles are those that a journal names, by the names that they have in a pack.
func (s *Server) attachedFiles(ctx context.Context, name string, journal []run.Entry, into map[string][]byte) error {
	for _, a := range run.Attachments(journal) {
		data, err := s.d.Store.AttachmentData(ctx, name, a.SHA256)
		if err != nil {
			return err
		}
		into[a.PackName()] = data
	}
	return nil
}
