package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// statusOf maps the closed list of kinds to HTTP.
func statusOf(kind errs.Kind) int {
	switch kind {
	case errs.Invalid:
		return http.StatusUnprocessableEntity
	case errs.NotFound:
		return http.StatusNotFound
	case errs.Conflict, errs.Refused:
		return http.StatusConflict
	case errs.Unauthorised:
		return http.StatusUnauthorized
	case errs.Forbidden:
		return http.StatusForbidden
	case errs.Unavailable, errs.Unknown:
		return http.StatusServiceUnavailable
	case errs.Internal:
		return http.StatusInternalServerError
	}
	return http.StatusInternalServerError
}

// problem is an error on its way out; it is what huma writes.
type problem struct {
	wire.Problem
}

func (p *problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *problem) ContentType(string) string { return "application/problem+json" }

func toProblem(err error, path string) *problem {
	kind := errs.KindOf(err)
	status := statusOf(kind)
	p := &problem{wire.Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: err.Error(), Instance: path, Kind: string(kind),
	}}
	var e *errs.Error
	if errors.As(err, &e) {
		p.Detail, p.Invariant = e.Message, e.Invariant
	}
	return p
}

// writeProblem answers outside huma.
func writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := toProblem(err, r.URL.Path)
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="perdure"`)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p.Problem) // the client may be gone
}
