package gateway

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"perdure/internal/route"
)

// server is the traffic port's HTTP server.
func (g *Gateway) server() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      g.handle,
		ErrorHandler:                 g.malformed,
		Logger:                       quiet{},
		ReadBufferSize:               g.o.MaxHeader,
		WriteBufferSize:              8 << 10,
		ReadTimeout:                  g.o.ReadTimeout,
		IdleTimeout:                  g.o.ReadTimeout,
		WriteTimeout:                 g.o.WriteTimeout,
		MaxRequestBodySize:           route.DefaultMaxBody,
		HeaderReceived:               g.bodyLimit,
		Concurrency:                  g.o.MaxClients,
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
	}
}

// bodyLimit says how much of a body may be read, once the head is known: the limit of the request's system.
func (g *Gateway) bodyLimit(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	path := h.RequestURI()
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		path = path[:i]
	}
	v := g.view.Load()
	if i := v.table.Match(h.Host(), path); i >= 0 {
		return fasthttp.RequestConfig{MaxRequestBodySize: v.systems[i].Limits.MaxBody}
	}
	return fasthttp.RequestConfig{}
}

// front is the traffic port's listener.
func (g *Gateway) front() net.Listener {
	ln := net.Listener(lazyListener{g.ln})
	if g.o.TLS != nil {
		c := g.o.TLS.Clone()
		c.NextProtos = []string{"http/1.1"}
		ln = tls.NewListener(ln, c)
	}
	return ln
}

func (g *Gateway) adminListener() net.Listener {
	if g.o.AdminTLS != nil {
		return tls.NewListener(g.alog, g.o.AdminTLS)
	}
	return g.alog
}

// handle takes one request from arrival to answer.
func (g *Gateway) handle(ctx *fasthttp.RequestCtx) {
	g.active.Add(1)
	x := g.exchanges.get(g, ctx)
	x.start = time.Now()
	defer func() {
		// fasthttp does not recover: one broken request must not take the gateway down with it.
		if r := recover(); r != nil {
			g.broke(ctx, r)
		}
		if x.entered {
			x.system.gate.leave()
		}
		g.exchanges.put(x)
		g.active.Add(-1)
	}()
	p := x.find()
	if p == nil {
		limit := &x.system.Limits
		if why := x.system.gate.enter(limit, g.at(x.start)); why != "" {
			g.metrics.shed(x.system.ID, why)
			p = overLimit(why)
		} else {
			x.deadline = x.start.Add(x.system.Hold.Time)
			x.entered = true
			p = x.run()
		}
	}
	if p != nil {
		p.write(ctx)
	} else {
		x.deliver()
	}
	g.account(x, p)
}

func overLimit(why string) *problem {
	if why == "rate" {
		return &problem{status: 429, slug: "rate", title: "Too many requests", detail: "the system's rate limit is reached: send it again later", retryAfter: time.Second}
	}
	return &problem{status: 503, slug: "concurrency", title: "Too many requests at once", detail: "the gateway works on as many requests of the system as it may: send it again later", retryAfter: time.Second}
}

// deliver makes the application's answer the client's.
func (x *exchange) deliver() {
	h := &x.ctx.Response.Header
	if x.receipt != nil {
		x.g.record(x)
		h.Del("Perdure-Receipt")
	}
	h.ResetConnectionClose()
	h.Del("Connection")
	h.Del("Keep-Alive")
	if x.attempts > 1 {
		h.Set("Perdure-Replays", strconv.Itoa(x.attempts-1))
	}
	if d := x.heldFor(); d > 0 {
		h.Set("Perdure-Held-Ms", strconv.FormatInt(int64((d+time.Millisecond-1)/time.Millisecond), 10))
	}
}

// heldFor is how much later than on its arrival the request was sent for the last time, where it was held or sent again.
func (x *exchange) heldFor() time.Duration {
	if x.heldAt.IsZero() {
		return 0
	}
	return max(0, x.sentAt.Sub(x.start))
}

// malformed answers requests that could not be read; none of them has reached an application.
func (g *Gateway) malformed(ctx *fasthttp.RequestCtx, err error) {
	p := smuggled("the request could not be read as HTTP/1.1")
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small):
		p.status, p.slug, p.title = 431, "head-too-large", "The head is too large"
		p.detail = "the request line and headers may have " + strconv.Itoa(g.o.MaxHeader) + " bytes"
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		p.status, p.slug, p.title, p.detail = 413, "too-large", "The body is too large", "the gateway does not take bodies of this size"
	case errors.As(err, &timeout) && timeout.Timeout():
		p.status, p.slug, p.title, p.detail = 408, "timeout", "The request took too long", "send the whole request at once"
	}
	g.metrics.malformed.Inc()
	p.write(ctx)
}

func (g *Gateway) broke(ctx *fasthttp.RequestCtx, r any) {
	g.log.Error("a request broke the gateway's own code: report it", "panic", r, "path", string(safePath(&ctx.Request)))
	p := &problem{status: 500, slug: "internal", title: "The gateway failed", detail: "this is a defect of the gateway; whether the request took effect is unknown", outcome: "unknown", close: true}
	p.write(ctx)
}

// quiet drops fasthttp's own lines: they are about single connections, and metrics count those.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// lazyListener gives connections that move their deadlines rarely.
type lazyListener struct{ net.Listener }

func (l lazyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lazyConn{Conn: c}, nil
}

// lazyConn ignores a new deadline that lies less than a second after the one in force: fasthttp sets three per request,
// and every one of them costs a change of a runtime timer. Deadlines are thus up to one second early.
type lazyConn struct {
	net.Conn
	read, write time.Time
}

const deadlineSlack = time.Second

// SetReadDeadline moves the deadline of Read.
func (c *lazyConn) SetReadDeadline(t time.Time) error {
	if near(c.read, t) {
		return nil
	}
	c.read = t
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline moves the deadline of Write.
func (c *lazyConn) SetWriteDeadline(t time.Time) error {
	if near(c.write, t) {
		return nil
	}
	c.write = t
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline moves both.
func (c *lazyConn) SetDeadline(t time.Time) error {
	c.read, c.write = t, t
	return c.Conn.SetDeadline(t)
}

func near(old, t time.Time) bool {
	if old.IsZero() || t.IsZero() {
		return false
	}
	d := t.Sub(old)
	return d >= 0 && d < deadlineSlack
}
