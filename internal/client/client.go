// Package client is the Go side of a node's API, for agents, gateways, other nodes and the command line.
//
// It knows all nodes and prefers the first, which should be the nearest: calls that may be repeated go to the next node as soon as
// one refuses the connection, answers 503 or takes too long; a node that failed is asked last for a while.
// Calls that must not happen twice go on to another node only while it is certain that nothing was done, or with an Idempotency-Key, as
// people's changes do: the nodes make a change at most once for a key.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// Options configure a Client.
type Options struct {
	// Endpoints are the nodes' addresses, https://host:port, the nearest first; at least one.
	Endpoints []string
	// TLS trusts the estate's authority and, for machines, shows their certificate; nil for plain HTTP (tests only).
	TLS *tls.Config
	// Token is a person's bearer token, "" for machines.
	Token string
	// Dial replaces the way to open connections; nil uses the net package and its resolver.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout bounds a whole call whose context has no earlier deadline (default 2.5 s).
	Timeout time.Duration
	// Attempt is how long one node may take before the next one is tried (default 700 ms); it doubles each round.
	Attempt time.Duration
	Logger  *slog.Logger // nil for none
}

// Limits of the client.
const (
	defaultTimeout = 2500 * time.Millisecond
	defaultAttempt = 700 * time.Millisecond
	roundPause     = 150 * time.Millisecond // between two rounds over all nodes
	firstShunning  = 2 * time.Second        // how long a node that failed is asked last; doubles
	longShunning   = 30 * time.Second
	mostAnswer     = 64 << 20
)

// Client calls the API. It is safe for concurrent use.
type Client struct {
	o         Options
	http      *http.Client
	endpoints []*endpoint
}

// endpoint is one node and how it did lately.
type endpoint struct {
	url string

	mu      sync.Mutex
	shun    time.Duration
	shunned time.Time // until then it is asked last
}

// New makes a client; it opens no connection yet.
func New(o Options) (*Client, error) {
	if len(o.Endpoints) == 0 {
		return nil, errs.New(errs.Invalid, "no node is named: give at least one as https://HOST:PORT")
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Attempt == 0 {
		o.Attempt = defaultAttempt
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: o.Attempt, KeepAlive: 5 * time.Second}).DialContext
	}
	c := &Client{o: o}
	for _, e := range o.Endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, errs.New(errs.Invalid, "node %q: give https://HOST:PORT", e)
		}
		c.endpoints = append(c.endpoints, &endpoint{url: strings.TrimSuffix(e, "/")})
	}
	// HTTP/1.1: a call that is given up closes its own connection, so a frozen link never poisons the next call.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	c.http = &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: o.TLS, DialContext: o.Dial, Protocols: protocols,
			TLSHandshakeTimeout: 2 * o.Attempt, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close gives idle connections back. Running calls go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// At is a client of one node alone, with the same identity and connections.
func (c *Client) At(node string) (*Client, error) {
	for _, e := range c.endpoints {
		if e.url == strings.TrimSuffix(node, "/") {
			return &Client{o: c.o, http: c.http, endpoints: []*endpoint{e}}, nil
		}
	}
	return nil, errs.New(errs.NotFound, "node %q is not one of this client's nodes", node)
}

// order gives the nodes as they should be tried now: in the given order, those that failed lately last.
func (c *Client) order() []*endpoint {
	now := time.Now()
	nodes := slices.Clone(c.endpoints)
	slices.SortStableFunc(nodes, func(a, b *endpoint) int {
		x, y := a.isShunned(now), b.isShunned(now)
		switch {
		case x == y:
			return 0
		case x:
			return 1
		}
		return -1
	})
	return nodes
}

func (e *endpoint) isShunned(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return now.Before(e.shunned)
}

// did notes how the node did: well, or badly and to be asked last for a while.
func (e *endpoint) did(well bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if well {
		e.shun, e.shunned = 0, time.Time{}
		return
	}
	e.shun = min(max(2*e.shun, firstShunning), longShunning)
	e.shunned = time.Now().Add(e.shun)
}

// call is one request.
type call struct {
	method, path string
	query        url.Values
	in           any    // JSON body, nil for none
	text         []byte // body that is not JSON
	contentType  string
	out          any     // decoded from the answer, nil to drop it
	next         *string // set to the path and query of the next page, "" where there is none
	// once: it must not be done twice, so it goes to another node only while nothing was done, or with a key.
	once bool
	// changes: when it is uncertain whether it was done, the error says so.
	changes bool
	// key is the Idempotency-Key of a person's change: with it another node can be asked even where it may have been done.
	key string
}

// outcome is what came of one attempt.
type outcome struct {
	err error
	// sent: the node may have done it although there was no answer.
	sent bool
	// elsewhere: another node may do better.
	elsewhere bool
}

// do carries the call out on the first node that can.
func (c *Client) do(ctx context.Context, r call) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	body := r.text
	if r.in != nil {
		var err error
		if body, err = json.Marshal(r.in); err != nil {
			return errs.New(errs.Internal, "cannot encode the request %s %s: %w", r.method, r.path, err)
		}
		r.contentType = "application/json"
	}
	if r.changes && c.o.Token != "" {
		r.key = rand.Text()
	}
	var last error
	uncertain := false
	for budget := c.o.Attempt; ; budget *= 2 {
		began := time.Now()
		for _, e := range c.order() {
			got := c.attempt(ctx, e, r, body, budget)
			uncertain = uncertain || got.sent || errs.KindOf(got.err) == errs.Unknown
			switch {
			case got.err == nil || !got.elsewhere:
				return got.err
			case r.once && got.sent && r.key == "":
				return errs.New(errs.Unknown, "%s %s may have been done: node %s did not answer; look before repeating: %w", r.method, r.path, e.url, got.err)
			}
			// What a node said tells more than that another one is not there, and that more than that time was up.
			if answered(got.err) || !answered(last) && (telling(got.err) || !telling(last)) {
				last = got.err
			}
			if ctx.Err() != nil {
				return c.giveUp(r, uncertain, last)
			}
		}
		// Nobody took the change yet. A round that would be cut off could only make that uncertain.
		if end, _ := ctx.Deadline(); r.changes && !uncertain && time.Until(end) < roundPause+time.Since(began) {
			return c.giveUp(r, uncertain, last)
		}
		pause := time.NewTimer(roundPause)
		select {
		case <-ctx.Done():
			pause.Stop()
			return c.giveUp(r, uncertain, last)
		case <-pause.C:
		}
	}
}

func answered(err error) bool {
	var said *errs.Error
	return errors.As(err, &said)
}

func (c *Client) giveUp(r call, uncertain bool, last error) error {
	if r.changes && uncertain {
		return errs.New(errs.Unknown, "%s %s may have been done: no node confirmed it in time; look before repeating: %w", r.method, r.path, last)
	}
	var known *errs.Error
	if errors.As(last, &known) {
		return known
	}
	return errs.New(errs.Unavailable, "no node answered in time (asked: %s): %w", c.asked(), last)
}

// attempt asks one node.
func (c *Client) attempt(ctx context.Context, e *endpoint, r call, body []byte, budget time.Duration) outcome {
	if !r.once { // what must not be done twice may take all the time there is, once it is sent
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, budget)
		defer cancel()
	}
	// A request is on its way as soon as it has a connection; before that nothing can have been done. The transport looks for
	// another connection only when nothing of a change was written to the one before.
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { sent.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	resp, err := c.send(ctx, e, r, body)
	if err != nil {
		e.did(false)
		return outcome{err: unreached(err), sent: sent.Load(), elsewhere: true}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		e.did(false)
		return outcome{err: errs.New(errs.Unavailable, "the answer of node %s broke off: %w", e.url, err), sent: true, elsewhere: true}
	}
	if resp.StatusCode >= 300 {
		err := problem(resp, data)
		if resp.StatusCode == http.StatusBadRequest && strings.HasPrefix(e.url, "http://") && strings.Contains(string(data), "HTTPS server") {
			err = errs.New(errs.Invalid, "node %s speaks HTTPS only: write https:// in the endpoint", e.url)
		}
		kind := errs.KindOf(err)
		elsewhere := kind == errs.Unavailable || kind == errs.Unknown || resp.StatusCode >= 500
		e.did(!elsewhere)
		return outcome{err: err, sent: kind != errs.Unavailable, elsewhere: elsewhere}
	}
	e.did(true)
	if r.next != nil {
		*r.next = nextOf(resp.Header.Get("Link"))
	}
	if r.out == nil || len(data) == 0 {
		return outcome{}
	}
	if err := json.Unmarshal(data, r.out); err != nil {
		return outcome{err: errs.New(errs.Internal, "node %s answered %s %s with something else than expected; are their versions the same? %w", e.url, r.method, r.path, err)}
	}
	return outcome{}
}

// send writes the request and waits for the head of the answer.
func (c *Client) send(ctx context.Context, e *endpoint, r call, body []byte) (*http.Response, error) {
	target := e.url + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, reader)
	if err != nil {
		return nil, errs.New(errs.Invalid, "cannot ask %s: %w", target, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", r.contentType)
	}
	if c.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	return c.http.Do(req)
}

// problem reads an error answer.
func problem(resp *http.Response, data []byte) error {
	var p wire.Problem
	if err := json.Unmarshal(data, &p); err != nil || p.Detail == "" {
		p.Detail = strings.TrimSpace(string(data[:min(len(data), 200)]))
	}
	kind := errs.Kind(p.Kind)
	if kind == "" {
		kind = kindOf(resp.StatusCode)
	}
	if len(p.Errors) > 0 {
		p.Detail += ": " + places(p.Errors)
	}
	e := errs.New(kind, "%s", p.Detail)
	e.Invariant = p.Invariant
	return e
}

// places says what is wrong where, as people read it.
func places(raw json.RawMessage) string {
	var list []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	}
	if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
		return string(raw)
	}
	var texts []string
	for _, l := range list {
		texts = append(texts, strings.TrimPrefix(strings.TrimPrefix(l.Location, "body."), "path.")+": "+l.Message)
	}
	return strings.Join(texts, "; ")
}

func kindOf(status int) errs.Kind {
	switch status {
	case http.StatusUnauthorized:
		return errs.Unauthorised
	case http.StatusForbidden:
		return errs.Forbidden
	case http.StatusNotFound:
		return errs.NotFound
	case http.StatusConflict:
		return errs.Conflict
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return errs.Unavailable
	}
	if status >= 500 {
		return errs.Internal
	}
	return errs.Invalid
}
