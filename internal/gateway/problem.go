package gateway

import (
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"perdure/internal/route"
)

// problem is an answer the gateway gives by itself, as application/problem+json (RFC 9457).
type problem struct {
	status     int
	slug       string // of the type URI
	title      string
	detail     string
	retryAfter time.Duration
	outcome    route.Outcome // what may be said about the request's effect; "" where it was never looked at
	close      bool          // the connection cannot be trusted any more
}

func (p *problem) write(ctx *fasthttp.RequestCtx) {
	r := &ctx.Response
	r.Reset()
	r.SetStatusCode(p.status)
	r.Header.SetContentType("application/problem+json")
	if p.retryAfter > 0 {
		r.Header.Set("Retry-After", strconv.Itoa(max(1, int(p.retryAfter/time.Second))))
	}
	if p.outcome != "" {
		r.Header.Set("Perdure-Outcome", string(p.outcome))
	}
	if p.close {
		r.SetConnectionClose()
	}
	b := make([]byte, 0, 512)
	b = append(b, `{"type":"urn:perdure:problem:`...)
	b = append(b, p.slug...)
	b = append(b, `","title":`...)
	b = appendJSONString(b, p.title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(p.status), 10)
	b = append(b, `,"detail":`...)
	b = appendJSONString(b, p.detail)
	b = append(b, `,"instance":`...)
	b = appendJSONString(b, string(safePath(&ctx.Request)))
	b = append(b, '}')
	r.SetBodyRaw(b)
}

func safePath(r *fasthttp.Request) []byte {
	p := r.Header.RequestURI()
	for i, c := range p {
		if c == '?' || i > 200 {
			return p[:i]
		}
	}
	return p
}

// appendJSONString appends s as a JSON string; bytes outside printable ASCII are replaced.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c > 0x7e:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func badRequest(detail string) *problem {
	return &problem{status: 400, slug: "malformed-request", title: "The request is malformed", detail: detail}
}

// smuggled is a request whose end cannot be trusted: it is refused and its connection closed.
func smuggled(detail string) *problem {
	p := badRequest(detail)
	p.close = true
	return p
}
