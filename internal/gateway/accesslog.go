package gateway

import (
	"log/slog"
	"time"
)

// account counts a finished request and logs it: always where it was refused, held, replayed or failed, else one in Options.LogEvery.
// Neither bodies nor headers are logged; the routing key is business data and stays out too.
func (g *Gateway) account(x *exchange, p *problem) {
	took := time.Since(x.start)
	g.metrics.count(x, p, took)
	status := x.ctx.Response.StatusCode()
	if p == nil && status < 500 && x.heldAt.IsZero() && x.attempts <= 1 {
		if g.o.LogEvery <= 0 || g.logTurn.Add(1)%uint64(g.o.LogEvery) != 0 {
			return
		}
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.String("method", string(x.ctx.Request.Header.Method())), slog.String("path", string(safePath(&x.ctx.Request))),
		slog.Int("status", status), slog.Duration("took", took))
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
	g.log.LogAttrs(x.ctx, slog.LevelInfo, "request", attrs...)
}
