package gateway

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// AccessLog says which requests are logged.
type AccessLog string

// The access logs there are. None of them has bodies, headers or routing keys: they are business data.
const (
	LogOff    AccessLog = "off"
	LogErrors AccessLog = "errors" // refused, failed, held and sent-again ones, at most linesPerSecond
	LogAll    AccessLog = "all"
)

// linesPerSecond bounds the log while everything is held or refused at once.
const linesPerSecond = 200

// lineLimit lets so many lines a second through and counts the others.
type lineLimit struct {
	second  atomic.Int64
	lines   atomic.Int64
	dropped atomic.Int64
}

func (l *lineLimit) let(second int64) bool {
	if l.second.Swap(second) != second {
		l.lines.Store(0)
	}
	if l.lines.Add(1) <= linesPerSecond {
		return true
	}
	l.dropped.Add(1)
	return false
}

// account counts a finished request and logs it where the access log wants it.
func (g *Gateway) account(x *exchange, p *problem) {
	now := time.Now()
	took := now.Sub(x.start)
	g.metrics.count(x, p, took)
	if !g.logs(x, p, now) {
		return
	}
	attrs := make([]slog.Attr, 0, 14)
	attrs = append(attrs, slog.String("method", string(x.ctx.Request.Header.Method())), slog.String("path", string(safePath(&x.ctx.Request))),
		slog.Int("status", x.ctx.Response.StatusCode()), slog.Duration("took", took))
	if x.unit != nil {
		attrs = append(attrs, slog.String("system", string(x.system.ID)), slog.String("unit", string(x.unit.entry.Unit)), slog.String("ownership", x.unit.entry.Stamp))
	}
	if x.served != nil {
		attrs = append(attrs, slog.String("instance", x.served.ID), slog.String("at", string(x.served.Site)))
	}
	if x.attempts > 1 || !x.heldAt.IsZero() {
		attrs = append(attrs, slog.Int("attempts", x.attempts), slog.Duration("held", x.heldFor()), slog.String("because", x.lastWhy))
	}
	if p != nil {
		attrs = append(attrs, slog.String("problem", p.slug))
	}
	if n := g.lines.dropped.Swap(0); n > 0 {
		attrs = append(attrs, slog.Int64("linesLeftOut", n))
	}
	g.log.LogAttrs(x.ctx, slog.LevelInfo, "request", attrs...)
}

func (g *Gateway) logs(x *exchange, p *problem, now time.Time) bool {
	switch g.o.AccessLog {
	case LogOff:
		return false
	case LogAll:
		return true
	case LogErrors:
	}
	if p != nil || !x.heldAt.IsZero() || x.attempts > 1 || x.ctx.Response.StatusCode() >= 500 {
		return g.lines.let(g.at(now) / int64(time.Second))
	}
	return false
}
