package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"perdure/internal/errs"
	"perdure/internal/wire"
	"perdure/sdk"
)

// Limits of what is kept of a request with an Idempotency-Key.
const (
	mostKept   = 256 << 10 // bytes of an answer
	keepAnswer = 3 * time.Second
	keptPause  = 100 * time.Millisecond
)

// The headers of repeated requests.
const (
	keyHeader      = "Idempotency-Key"
	replayedHeader = "Idempotency-Replayed"
)

// KeyedStore is what the API needs of the store to make a person's change at most once.
type KeyedStore interface {
	Keyed(ctx context.Context, person, key string) (kept wire.Keyed, ok bool, err error)
	Under(ctx context.Context, person, key, fingerprint string) context.Context
	Answered(ctx context.Context, a wire.KeptAnswer) error
}

// What the table says of a route beside its access, in the operation's metadata.
const (
	metaKeyed  = "keyed"  // it may be asked with an Idempotency-Key
	metaSecret = "secret" // there is a secret in the request or in the answer: neither is kept
)

// keyed lets a route be asked with an Idempotency-Key if it is a change that people ask for.
func keyed(op *huma.Operation) {
	if op.Method != http.MethodGet && slices.ContainsFunc(accessOf(op), Access.ofPeople) {
		op.Metadata[metaKeyed] = true
		op.Parameters = append(op.Parameters, keyParameter())
	}
}

// withSecret marks a route whose request or answer has a secret in it.
func withSecret(register func(huma.API, huma.Operation)) func(huma.API, huma.Operation) {
	return func(api huma.API, op huma.Operation) {
		op.Metadata[metaSecret] = true
		register(api, op)
	}
}

// keyParameter is how the OpenAPI document names the header.
func keyParameter() *huma.Param {
	return &huma.Param{
		Name: keyHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString},
		Description: "A key of the client's choice, 1 to 255 printable characters. Within a day the change is made at most once for it: a repetition gets the same answer with " +
			replayedHeader + ": true, another request with it 422",
	}
}

// once carries a change out at most once for the key that it was asked with. The first write of the change and the key are one transaction
// of the store; the answer is kept after it, unless it holds a secret. Where the node was lost in between, a repetition is told so.
func (s *Server) once(ctx huma.Context, next func(huma.Context)) {
	id := who(ctx.Context())
	header := ctx.Header(keyHeader)
	about := ctx.Operation().Metadata
	if header == "" || id.Person == "" || about[metaKeyed] == nil {
		next(ctx)
		return
	}
	r, w := humago.Unwrap(ctx)
	answers, _ := w.(*recorder)
	key, err := sdk.ParseKey(header)
	if err != nil || answers == nil {
		writeProblem(w, r, errs.New(errs.Invalid, "%w", err))
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, ctx.Operation().MaxBodyBytes))
	if err != nil {
		writeProblem(w, r, errs.New(errs.Invalid, "cannot read the request: %w", err))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	fingerprint := fingerprintOf(r, data, about[metaSecret] == nil)
	kept, found, err := s.kept(ctx.Context(), id.Person, key)
	switch {
	case err != nil:
		writeProblem(w, r, err)
		return
	case found && kept.Fingerprint != fingerprint:
		writeProblem(w, r, errs.New(errs.Invalid, "this %s was used for another request; use a new one for each change", keyHeader))
		return
	case found && kept.Answer == nil:
		writeProblem(w, r, errs.New(errs.Conflict, "this was carried out at %s, and its answer was not kept; look before asking for it under a new key", time.UnixMilli(kept.At).UTC().Format(time.RFC3339)))
		return
	case found:
		w.Header().Set(replayedHeader, "true")
		w.Header().Set("Content-Type", kept.Answer.ContentType)
		w.WriteHeader(kept.Answer.Status)
		_, _ = w.Write(kept.Answer.Body) // the client may be gone
		return
	}
	under := s.d.Store.Under(ctx.Context(), id.Person, key, fingerprint)
	answers.copy = &bytes.Buffer{}
	next(huma.WithContext(ctx, under))
	if answers.copy.Len() > mostKept || answers.status >= http.StatusInternalServerError || about[metaSecret] != nil {
		return
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(under), keepAnswer)
	defer cancel()
	if err := s.d.Store.Answered(after, wire.KeptAnswer{Status: answers.status, ContentType: w.Header().Get("Content-Type"), Body: answers.copy.Bytes()}); err != nil {
		s.d.Logger.Warn("the answer of a change was not kept for a repetition", "path", r.URL.Path, "error", err)
	}
}

// kept waits a little for the answer of a request that may still be on its way.
func (s *Server) kept(ctx context.Context, person, key string) (kept wire.Keyed, found bool, err error) {
	wait := time.NewTimer(keepAnswer)
	defer wait.Stop()
	for {
		kept, found, err = s.d.Store.Keyed(ctx, person, key)
		if err != nil || !found || kept.Answer != nil || time.Since(time.UnixMilli(kept.At)) > requestLimit {
			return kept, found, err
		}
		again := time.NewTimer(keptPause)
		select {
		case <-again.C:
			continue
		case <-wait.C:
		case <-ctx.Done():
		}
		again.Stop()
		return kept, found, err
	}
}

// fingerprintOf tells requests with one key apart. A hash of a password is no place for it: with a secret inside, the body does not count.
func fingerprintOf(r *http.Request, data []byte, whole bool) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s\n", r.Method, r.URL.RequestURI())
	if whole {
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))
}
