package gateway

import (
	"errors"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"perdure/internal/estate"
	"perdure/internal/route"
	"perdure/sdk"
)

// exchange is one request on its way: what is sent, what has become of the attempts so far, and when it has to end.
type exchange struct {
	g   *Gateway
	ctx *fasthttp.RequestCtx

	// Of the request; slices into the request's own buffers.
	path, query, body []byte
	caller            []byte
	idem              []byte // the idempotency key as the application records it, nil: none
	idemBuf           [sdk.MaxKey]byte
	key               []byte
	keyBuf            [route.MaxKey]byte
	reads             bool
	// wire is what is sent: wire[:headLen] is the same for every attempt, the lines that depend on the owner and the body follow.
	wire    []byte
	headLen int

	view   *view
	system *systemView
	unit   *unitView
	way    approach
	slot   estate.Slot

	start    time.Time
	deadline time.Time // of the hold
	heldAt   time.Time // first held; zero: never
	sentAt   time.Time // the last attempt began
	entered  bool      // counted in the gate as inside
	holding  bool      // counted in the gate as held
	heldSize int       // bytes counted there
	pause    time.Duration
	avoid    *instance
	lastWhy  string
	attempts int
	unknown  bool // some attempt may have had an effect
	served   *instance
	unstamps int
	trouble  int      // attempts in a row that ended in an unexplained 5xx or without an answer
	homeless bool     // its system has left the table
	hopeless *problem // another attempt would end like the last
	outcome  route.Outcome
	stamp    []byte
	receipt  []byte
	hops     bool // the answer has headers for us alone
}

const (
	firstPause    = 10 * time.Millisecond
	longestPause  = 50 * time.Millisecond
	troublePause  = time.Second // between attempts that an instance answers with errors it does not explain
	lateGrace     = time.Second // an attempt that begins at the end of the hold still gets this long
	unstampsLimit = 3
)

// exchanges are pooled: a request allocates nothing of its own on the way through.
type exchangePool struct{ p sync.Pool }

func (p *exchangePool) get(g *Gateway, ctx *fasthttp.RequestCtx) *exchange {
	x, _ := p.p.Get().(*exchange)
	if x == nil {
		x = &exchange{wire: make([]byte, 0, 2048)}
	}
	x.g, x.ctx = g, ctx
	return x
}

func (p *exchangePool) put(x *exchange) {
	wire := x.wire
	if cap(wire) > 64<<10 {
		wire = make([]byte, 0, 2048)
	}
	*x = exchange{wire: wire[:0]}
	p.p.Put(x)
}

// again reports whether the request may be sent a second time after an unknown outcome (I14).
func (x *exchange) again() bool { return x.reads || x.idem != nil }

// find takes the request in: checks it, finds its system, unit and slot, and writes the head.
func (x *exchange) find() *problem {
	h := &x.ctx.Request.Header
	if p := x.begin(h.Method(), h.RequestURI(), h.Protocol()); p != nil {
		return p
	}
	v := x.g.view.Load()
	x.view = v
	i, keyHeader := v.table.Match(h.Host(), x.path), route.DefaultKeyHeader
	if i >= 0 {
		keyHeader = v.systems[i].KeyHeader
	}
	if p := x.scan(h.RawHeaders(), keyHeader); p != nil {
		return p
	}
	if i < 0 {
		return &problem{status: 404, slug: "no-system", title: "No system takes this request", detail: errNoSystem.Message}
	}
	x.system = v.systems[i]
	x.body = x.ctx.Request.Body()
	if len(x.body) > x.system.Limits.MaxBody {
		return &problem{status: 413, slug: "too-large", title: "The body is too large", detail: "the system takes bodies of at most " + strconv.Itoa(x.system.Limits.MaxBody) + " bytes"}
	}
	key, err := x.system.Key(x, x.keyBuf[:0])
	if err != nil {
		return &problem{status: 400, slug: "routing-key", title: "The request cannot be routed", detail: err.Error()}
	}
	x.key = key
	x.reads = x.system.Reads(h.Method(), x.path)
	if x.idem == nil && !x.reads && x.system.RequireKey {
		return &problem{status: 400, slug: "idempotency-key-missing", title: keyHeader + " is missing", detail: "a write to this system needs the header " + keyHeader}
	}
	if tls := x.ctx.TLSConnectionState(); tls != nil && len(tls.VerifiedChains) > 0 {
		x.caller = []byte(tls.PeerCertificates[0].Subject.CommonName)
		if len(x.caller) == 0 || len(x.caller) > maxCaller || !visible(x.caller) {
			return &problem{status: 403, slug: "caller", title: "The caller has no usable name", detail: "the certificate's common name has to be 1 to 128 visible ASCII characters"}
		}
	}
	slot, u := x.system.Lookup(key)
	x.slot, x.unit = slot, x.system.units[u]
	x.writeHead(h)
	return nil
}

func (x *exchange) writeHead(h *fasthttp.RequestHeader) {
	w := x.wire
	if len(x.body) > 0 || !(h.IsGet() || h.IsHead()) {
		w = append(w, "Content-Length: "...)
		w = strconv.AppendInt(w, int64(len(x.body)), 10)
		w = append(w, '\r', '\n')
	}
	if x.caller == nil {
		x.caller = x.g.anonymous
	}
	w = append(append(w, "Perdure-Caller: "...), x.caller...)
	w = append(append(w, "\r\nPerdure-Routing-Key: "...), x.key...)
	w = append(w, "\r\nPerdure-Slot: "...)
	w = strconv.AppendUint(w, uint64(x.slot), 10)
	w = append(w, '\r', '\n')
	x.wire, x.headLen = w, len(w)
}

// locate finds the unit anew in the newest view: slots may have moved, owners may have changed.
func (x *exchange) locate() {
	v := x.g.view.Load()
	if v == x.view {
		return
	}
	x.view, x.homeless = v, true
	for _, s := range v.systems {
		if s.ID == x.system.ID {
			x.system, x.homeless = s, false
			_, u := s.Lookup(x.key)
			x.unit = s.units[u]
			return
		}
	}
}

// result is how one attempt ended.
type result uint8

const (
	resultNotSent result = iota // nothing left this process: nothing happened
	resultLost                  // it was sent, no whole answer came
	resultAnswer                // a whole answer lies in ctx.Response
)

// run carries the request to an answer: judge, attempt, weigh, and hold in between, until the answer counts or the hold is over.
func (x *exchange) run() *problem {
	defer x.release()
	for {
		now := x.start
		if x.attempts > 0 || x.holding {
			now = time.Now()
			x.locate()
			// Nobody would take the answer, and its work would keep others from theirs: they come back with the same key elsewhere.
			if hasLeft(x.ctx.Conn()) {
				return x.clientLeft()
			}
		}
		if x.homeless {
			return x.noSystem()
		}
		x.way.to(x.unit, x.reads)
		onlyChange := true // can help; after a failed attempt a pause is enough
		switch route.Judge(&x.unit.entry.State, x.g.o.Site, now) {
		case route.Refuse:
			return x.closedFor()
		case route.Hold:
			x.lastWhy = "the unit is changing hands"
		case route.Serve, route.Forward:
			in := x.unit.pick(x.avoid)
			if in == nil {
				x.lastWhy = "the owner's site has no instance"
				break
			}
			if clear, ahead := x.way.ahead(); !ahead {
				x.lastWhy = "the owner has not taken a request yet"
				if p := x.pauseFor(unprovenPause, clear); p != nil {
					return p
				}
				continue
			}
			done, p := x.attempt(in, now)
			if done || p != nil {
				return p
			}
			onlyChange = false
		}
		if !x.way.turned {
			x.way.leave()
		}
		if p := x.wait(onlyChange); p != nil {
			return p
		}
	}
}

// attempt sends the request once and judges what comes back. done: the answer in ctx.Response is for the client.
func (x *exchange) attempt(in *instance, now time.Time) (done bool, p *problem) {
	x.avoid = in
	switch x.send(x.unit, in, now) {
	case resultNotSent:
		return false, nil
	case resultLost:
		x.unknown = true
		if x.hopeless != nil {
			return false, x.hopeless
		}
		if !x.again() {
			return false, unknownOutcome("the connection to the application was lost before it answered")
		}
		return false, nil
	case resultAnswer:
	}
	x.served = in
	verdict := x.weigh()
	if verdict != route.Deliver {
		x.g.metrics.dropped(verdict)
	}
	switch verdict {
	case route.Deliver:
		x.way.crowd.prove()
		return true, nil
	case route.Elsewhere:
		x.way.turned = true
		x.lastWhy = "the application says that it is not the owner's"
	case route.Running:
		x.lastWhy = "an earlier attempt with this key is still running"
	case route.Unknown:
		x.unknown = true
		if !x.again() {
			return false, unknownOutcome("the application cannot say whether it took effect")
		}
		x.lastWhy = "the application could not say whether it took effect"
	case route.Unstamped:
		x.unknown = true
		x.unstamps++
		if !x.again() || x.unstamps >= unstampsLimit {
			return false, &problem{
				status: 502, slug: "unstamped-answer", title: "The answer does not count", outcome: route.NotKnown,
				detail: "the application answered " + strconv.Itoa(x.ctx.Response.StatusCode()) + " without Perdure-Ownership, so nobody can tell in which ownership it was made",
			}
		}
		x.lastWhy = "the answer carried no ownership"
	}
	return false, nil
}

func unknownOutcome(detail string) *problem {
	return &problem{
		status: 502, slug: "unknown-outcome", title: "The outcome is unknown", outcome: route.NotKnown,
		detail: detail + "; the request carries no idempotency key, so it is not sent again: look before you repeat it",
	}
}

// send makes one attempt on a connection of its own. Whatever it read lies in ctx.Response.
func (x *exchange) send(u *unitView, in *instance, now time.Time) result {
	limit := x.system.AttemptTimeout
	if !x.again() {
		limit = x.system.UnkeyedTimeout
	}
	end := now.Add(limit)
	if x.again() {
		if last := later(x.deadline, now.Add(lateGrace)); last.Before(end) {
			end = last
		}
	}
	c, err := in.take(u, end, !x.again())
	if err != nil {
		x.lastWhy = "no instance of the owner's site can be reached"
		if errors.Is(err, errBusy) {
			x.lastWhy = "every connection to the owner's instances is in use"
		} else if !errors.Is(err, errRetired) && u.gen == u.track.gen.Load() {
			in.fared(false, true)
		}
		return resultNotSent
	}
	if u.gen != u.track.gen.Load() { // the flip came first: see track.gen
		if whole, _ := c.finish(); whole {
			c.keep(now)
		} else {
			c.close()
		}
		return resultNotSent
	}
	x.attempts++
	x.sentAt = now
	w := append(append(x.wire[:x.headLen], u.head...), x.body...)
	x.wire = w
	n, err := c.nc.Write(w)
	resp := &x.ctx.Response
	if err == nil {
		resp.SkipBody = x.ctx.Request.Header.IsHead()
		err = resp.ReadLimitBody(c.br, x.g.o.MaxAnswer)
	} else if n == 0 && in.tls == nil {
		x.attempts--
		c.drop()
		return resultNotSent
	}
	whole, why := c.finish()
	if err != nil {
		c.close()
		resp.ResetBody()
		x.lost(in, err, whole, why)
		return resultLost
	}
	// An answer that was whole before its attempt was cut is judged like any other.
	if !whole || resp.ConnectionClose() || c.br.Buffered() > 0 || !resp.Header.IsHTTP11() {
		c.close()
	} else {
		c.keep(now)
	}
	return resultAnswer
}

// lost notes why no answer came.
func (x *exchange) lost(in *instance, err error, whole bool, why uint64) {
	switch {
	case !whole && why == connCut:
		x.lastWhy = "its owner changed, or its instance died, while the request was in flight"
		return // says nothing about the instance
	case !whole && why == connLate:
		x.lastWhy = "the application did not answer in time"
	case tooLarge(err):
		x.hopeless = &problem{
			status: 502, slug: "answer-too-large", title: "The answer is too large", outcome: route.NotKnown,
			detail: "the application's answer is larger than the gateway takes: at most " + strconv.Itoa(x.g.o.MaxAnswer) + " bytes, its head at most " + strconv.Itoa(readBuffer),
		}
		return
	case errors.Is(err, io.EOF):
		x.lastWhy = "the application closed the connection"
	default:
		x.lastWhy = "the connection to the application broke"
	}
	x.trouble++
	in.fared(false, false)
}

func tooLarge(err error) bool {
	var head *fasthttp.ErrSmallBuffer
	return errors.Is(err, fasthttp.ErrBodyTooLarge) || errors.As(err, &head)
}

// weigh reads the answer's own headers and judges it against the newest table.
func (x *exchange) weigh() route.Verdict {
	resp := &x.ctx.Response
	a := route.Answer{Status: resp.StatusCode(), Again: x.unknown}
	x.stamp, x.receipt, x.outcome, x.hops = nil, nil, "", false
	for name, value := range resp.Header.All() {
		if name[0] != 'P' {
			x.hops = x.hops || string(name) == "Connection" || string(name) == "Keep-Alive"
			continue
		}
		switch string(name) {
		case "Perdure-Ownership":
			x.stamp = value
		case "Perdure-Outcome":
			x.outcome = outcomeOf(value)
		case "Perdure-Receipt":
			x.receipt = value
		}
	}
	a.Outcome = x.outcome
	// The table may have changed since the request was sent: the newest counts.
	x.locate()
	if x.stamp != nil {
		if string(x.stamp) == x.unit.entry.Stamp {
			a.Stamped, a.Ownership = true, x.unit.entry.Ownership
		} else if o, err := estate.ParseOwnership(string(x.stamp)); err == nil {
			a.Stamped, a.Ownership = true, o
		}
	}
	verdict := route.Weigh(&a, x.current())
	unexplained := a.Status >= 500 && a.Outcome == "" && verdict == route.Unknown
	if unexplained {
		x.trouble++
	} else {
		x.trouble = 0
	}
	x.served.fared(!unexplained, false)
	return verdict
}

// outcomeOf gives the closed list's own strings, so that the fast path allocates none.
func outcomeOf(b []byte) route.Outcome {
	switch string(b) {
	case "committed":
		return route.Committed
	case "replayed":
		return route.Replayed
	case "not-owner":
		return route.NotOwner
	case "unknown":
		return route.NotKnown
	case "refused":
		return route.Declined
	case "running":
		return route.StillAtWork
	}
	return ""
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
