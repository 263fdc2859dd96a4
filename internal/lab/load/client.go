package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"perdure/internal/errs"
	"perdure/internal/lab/history"
)

// client is the clients of one site: their gateways in order, and which of them failed lately.
type client struct {
	site     Site
	caller   string
	gateways []*gateway
	avoid    time.Duration
	timeout  time.Duration
	patience time.Duration
	once     bool
}

// gateway is one gateway as the clients of one site see it.
type gateway struct {
	base string
	http *fasthttp.HostClient
	// until is when (on the history's clock) the gateway may be tried first again after a failure; 0 where it did not fail.
	until atomic.Int64
}

func newClient(s Site, opt Options, connections int) (*client, error) {
	c := &client{site: s, caller: "load-" + string(s.ID), avoid: opt.Avoid, timeout: opt.AttemptTimeout, patience: history.Patience, once: opt.Once}
	for _, base := range s.Gateways {
		u, err := url.Parse(base)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, errs.New(errs.Invalid, "gateway address %q: want a form like http://gateway.a.perdure.internal:7500", base)
		}
		port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		c.gateways = append(c.gateways, &gateway{base: strings.TrimRight(base, "/"), http: &fasthttp.HostClient{
			Addr:                      net.JoinHostPort(u.Hostname(), port),
			IsTLS:                     u.Scheme == "https",
			Dial:                      dialer(s.Hosts, u, opt),
			MaxConns:                  connections,
			MaxIdleConnDuration:       5 * time.Second,
			MaxIdemponentCallAttempts: 1,
			ConnPoolStrategy:          fasthttp.LIFO,
			MaxResponseBodySize:       1 << 20,
			NoDefaultUserAgentHeader:  true,
		}})
	}
	return c, nil
}

// dialError is a failure before anything of a request was sent.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// dialer connects by the site's own view of names and, for https, shakes hands within the same time.
func dialer(hosts map[string]string, u *url.URL, opt Options) fasthttp.DialFunc {
	name := u.Hostname()
	return func(addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, dialError{err}
		}
		ctx, cancel := context.WithTimeout(context.Background(), opt.DialTimeout)
		defer cancel()
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(cmp.Or(hosts[host], host), port))
		if err != nil {
			return nil, dialError{err}
		}
		if u.Scheme != "https" {
			return conn, nil
		}
		conf := opt.TLS.Clone()
		if conf == nil {
			conf = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		conf.ServerName = cmp.Or(conf.ServerName, name)
		secure := tls.Client(conn, conf)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, dialError{err}
		}
		return secure, nil
	}
}

func (c *client) close() {
	for _, g := range c.gateways {
		g.http.CloseIdleConnections()
	}
}

// first chooses the gateway a call begins with: the first of the list that did not fail lately. A gateway whose time is over is tried by
// one call at a time: the caller that takes it moves the time on.
func (c *client) first(now time.Duration) int {
	for i, g := range c.gateways {
		until := g.until.Load()
		if until == 0 {
			return i
		}
		if int64(now) >= until && g.until.CompareAndSwap(until, int64(now+c.avoid)) {
			return i
		}
	}
	return 0
}

// clock is the history's clock.
type clock interface {
	Now() history.Instant
	Since() time.Duration
}

// The pauses between two sendings of one call where no other gateway is left to try at once.
const (
	firstPause = 25 * time.Millisecond
	lastPause  = 400 * time.Millisecond
)

// do sends the request until there is a proper answer or the clients' patience is over.
func (c *client) do(clock clock, r request) history.Call {
	sent := clock.Now()
	deadline := sent.Mono + c.patience
	call := history.Call{
		ID: r.id, Phase: r.phase, First: r.first, Site: c.site.ID, Caller: c.caller, Key: r.key, Op: r.op,
		From: r.from, To: r.to, Amount: r.amount, Unit: r.unit, Sent: sent, Outcome: history.Unresolved,
	}
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	at, failures, pause := c.first(sent.Mono), 0, firstPause
	for {
		now := clock.Since()
		if now >= deadline {
			break
		}
		g := c.gateways[at]
		write(req, g.base, c.caller, r)
		err := g.http.DoTimeout(req, res, min(c.timeout, deadline-now))
		a := history.Attempt{Gateway: g.base, From: now, Until: clock.Since()}
		again := c.judge(g, &a, res, err, &call)
		call.Attempts = append(call.Attempts, a)
		if !again || c.once {
			break
		}
		if a.Reconnected() {
			at = (at + 1) % len(c.gateways)
			failures++
			if failures%len(c.gateways) != 0 {
				continue
			}
		}
		if !rest(deadline-clock.Since(), pause) {
			break
		}
		pause = min(2*pause, lastPause)
	}
	call.Done = clock.Since()
	return call
}

// rest waits for the pause; it reports false where patience would be over before.
func rest(left, pause time.Duration) bool {
	if left <= pause {
		pause = max(0, left)
	}
	time.Sleep(pause)
	return left > 0
}

// judge says how the attempt ended, fills the call in where it is answered, and reports whether to send again.
func (c *client) judge(g *gateway, a *history.Attempt, res *fasthttp.Response, err error, call *history.Call) bool {
	if err != nil {
		a.Ending, a.Detail = ending(err), short(err.Error())
		g.until.Store(int64(a.Until + c.avoid))
		return true
	}
	g.until.Store(0)
	a.Ending, a.Status = history.Answered, res.StatusCode()
	switch {
	case a.Status >= 500, a.Status == fasthttp.StatusConflict:
		a.Detail = short(string(res.Body()))
		return true
	case a.Status < 300:
		call.Outcome = history.Acknowledged
	case properRefusal(a.Status, string(res.Header.Peek("Perdure-Outcome"))):
		call.Outcome = history.Refused
	default:
		call.Outcome = history.Wrong
		a.Detail = short(string(res.Body()))
	}
	read(res, call)
	return false
}

// properRefusal reports whether a 4xx is the business's answer: refused now, the stored refusal again, or an account in quarantine.
// Whether the unit may be in quarantine is for the checker to say.
func properRefusal(status int, outcome string) bool {
	return outcome == "refused" || status == fasthttp.StatusUnprocessableEntity && outcome == "replayed" || status == history.StatusLocked
}

func ending(err error) history.Ending {
	var dial dialError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &dial):
		return history.Unreachable
	case errors.As(err, &timeout) && timeout.Timeout():
		return history.TimedOut
	}
	return history.Reset
}

// short bounds what the history keeps of a failure.
func short(s string) string {
	const most = 160
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "?")
}

// write makes the HTTP request of the reference system.
func write(req *fasthttp.Request, base, caller string, r request) {
	req.Reset()
	if r.op == history.Balance {
		req.Header.SetMethod(fasthttp.MethodGet)
		req.SetRequestURI(base + "/v1/accounts/" + url.PathEscape(r.from) + "/balance")
		req.Header.Set("Perdure-Caller", caller)
		return
	}
	b := make([]byte, 0, 96)
	path := "/v1/transfers"
	field := func(name, value string) {
		b = append(append(b, `"`+name+`":`...), strconv.Quote(value)...)
		b = append(b, ',')
	}
	b = append(b, '{')
	switch r.op {
	case history.Credit:
		path = "/v1/credits"
		field("account", r.from)
	case history.Debit:
		path = "/v1/debits"
		field("account", r.from)
	case history.Cross:
		path = "/v1/cross-transfers"
		field("from", r.from)
		field("to", r.to)
	default:
		field("from", r.from)
		field("to", r.to)
	}
	b = append(append(b, `"amount":`...), strconv.Quote(r.amount.String())...)
	b = append(b, '}')
	req.Header.SetMethod(fasthttp.MethodPost)
	req.SetRequestURI(base + path)
	req.Header.SetContentType("application/json")
	req.Header.Set("Idempotency-Key", written(r.key))
	req.Header.Set("Perdure-Caller", caller)
	req.SetBodyRaw(b)
}

// written is how the clients write the key: half of all keys in double quotes, as the draft has it, the others bare, and the same key
// always the same. Both are one key; the history has it bare.
func written(key string) string {
	if key == "" || key[len(key)-1]%2 == 0 {
		return key
	}
	return `"` + key + `"`
}

// read takes what the answer says about itself.
func read(res *fasthttp.Response, call *history.Call) {
	header := func(name string) string { return string(res.Header.Peek(name)) }
	call.Status = res.StatusCode()
	call.Ownership, call.Stamped, call.Stale = header("Perdure-Ownership"), header("Perdure-Outcome"), header("Perdure-Stale")
	if ms, err := strconv.ParseFloat(header("Perdure-Held-Ms"), 64); err == nil {
		call.Held = time.Duration(ms * float64(time.Millisecond))
	}
	if n, err := strconv.Atoi(header("Perdure-Replays")); err == nil {
		call.Replays = n
	}
	if call.Op == history.Balance {
		if call.Outcome == history.Acknowledged {
			readBalance(res.Body(), call)
		}
		return
	}
	call.Result = history.Digest(res.Body())
}
