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
	ln := net.Listener(clientListener{g.ln, g})
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
	if x.hops {
		h.Del("Connection")
		h.Del("Keep-Alive")
	}
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

// clientListener gives connections that keep their own deadlines.
type clientListener struct {
	net.Listener
	g *Gateway
}

// Accept waits for the next client.
func (l clientListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &clientConn{Conn: c, g: l.g, waiting: true}, nil
}

// clientConn ends a client that is silent between requests, or too slow within one, after Options.ReadTimeout, and one that does not
// take its answer after Options.WriteTimeout. A deadline that is less than a second away from the wanted one is left as it is:
// a change of a runtime timer per request costs more than being up to a second early.
type clientConn struct {
	net.Conn
	g               *Gateway
	waiting         bool  // for the first byte of a request
	readBy, wroteBy int64 // deadlines in force, on the gateway's clock
}

const deadlineSlack = int64(time.Second)

// Read reads; all of a request has to arrive within ReadTimeout of its first byte.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.waiting {
		if err := c.expectBy(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	if c.waiting && n > 0 {
		c.waiting = false
		if e := c.expectBy(); e != nil {
			return n, e
		}
	}
	return n, err
}

func (c *clientConn) expectBy() error {
	by := c.g.clock.Load() + int64(c.g.o.ReadTimeout)
	if by-c.readBy < deadlineSlack {
		return nil
	}
	c.readBy = by
	return c.SetReadDeadline(time.Now().Add(c.g.o.ReadTimeout))
}

// Write writes an answer; after it a request is waited for.
func (c *clientConn) Write(p []byte) (int, error) {
	c.waiting = true
	if by := c.g.clock.Load() + int64(c.g.o.WriteTimeout); by-c.wroteBy >= deadlineSlack {
		c.wroteBy = by
		if err := c.SetWriteDeadline(time.Now().Add(c.g.o.WriteTimeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}
