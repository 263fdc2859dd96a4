package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"perdure/internal/errs"
	"perdure/internal/route"
)

// A gateway that does not hear the control plane asks the other gateways for their tables: otherwise a unit that changes hands
// meanwhile would be looked for at its former owner until every request there has been held for too long.
// Inputs may come in any order and any number of times (I14), so nothing depends on which of the gateways knows most.

const (
	askEvery = 500 * time.Millisecond // a peer that answers
	askRest  = 5 * time.Second        // at most, a peer that does not: the pause doubles up to it
	askLimit = 2 * time.Second        // one question with its answer
	askBytes = 32 << 20               // one answer
)

// hearing is when the source was last heard.
type hearing struct {
	last  atomic.Int64  // on the gateway's clock
	again chan struct{} // of one turn: poked whenever it is heard
}

// heard notes that the source is heard and knows all that a majority knows.
func (g *Gateway) heard() {
	g.source.last.Store(g.at(time.Now()))
	poke(g.source.again)
}

// silence is how long the source has not been heard.
func (g *Gateway) silence() time.Duration {
	return time.Duration(g.at(time.Now()) - g.source.last.Load())
}

// borrow asks all peers whenever the source is silent, until it is heard again, for as long as the gateway lives.
func (g *Gateway) borrow() {
	for {
		for s := g.silence(); s < g.o.Silence; s = g.silence() {
			if !sleep(g.ctx, g.o.Silence-s) {
				return
			}
		}
		g.log.Warn("the control plane is not heard: asking the other gateways who owns what", "silent", g.silence(), "version", g.Version())
		g.askUntilHeard()
		if g.ctx.Err() != nil {
			return
		}
		g.log.Info("the control plane is heard again", "version", g.Version())
	}
}

// askUntilHeard asks every peer at its own pace.
func (g *Gateway) askUntilHeard() {
	ctx, stop := context.WithCancel(g.ctx)
	var asks sync.WaitGroup
	for _, p := range g.o.Peers {
		asks.Go(func() { g.ask(ctx, p) })
	}
	for g.silence() >= g.o.Silence && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-g.source.again:
		}
	}
	stop()
	asks.Wait()
}

// ask takes over what a peer lends, again and again until ctx ends.
func (g *Gateway) ask(ctx context.Context, p Peer) {
	client := &http.Client{Timeout: askLimit, Transport: &http.Transport{
		DialContext: g.o.Dial, TLSClientConfig: g.o.PeerTLS, MaxIdleConnsPerHost: 1, DisableCompression: true,
	}}
	defer client.CloseIdleConnections()
	known := "" // the tag of what it lent last
	for pause := time.Duration(0); sleep(ctx, pause); {
		in, tag, err := g.askOnce(ctx, client, p, known)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			g.metrics.peerAsks.WithLabelValues(p.Name, "failed").Inc()
			g.log.Debug("another gateway does not lend its table", "peer", p.Name, "error", err)
			pause = min(max(2*pause, askEvery), askRest)
			continue
		case tag != known && g.takeLent(in, p.Name):
			g.metrics.peerAsks.WithLabelValues(p.Name, "newer").Inc()
			g.log.Info("owners taken over from another gateway", "peer", p.Name, "its version", in.Version)
		default:
			g.metrics.peerAsks.WithLabelValues(p.Name, "same").Inc()
		}
		known, pause = tag, askEvery
	}
}

// askOnce asks a peer for its input; where that is still what the tag stands for only the tag comes back.
func (g *Gateway) askOnce(ctx context.Context, client *http.Client, p Peer, known string) (route.Input, string, error) {
	var in route.Input
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.URL, "/")+"/input", nil)
	if err != nil {
		return in, "", err
	}
	if known != "" {
		req.Header.Set("If-None-Match", known)
	}
	resp, err := client.Do(req)
	if err != nil {
		return in, "", err
	}
	defer resp.Body.Close()
	open := resp.TLS == nil && g.o.AdminOpen
	if name := machineOf(resp.TLS); !open && !strings.HasPrefix(name, "gateway:") {
		return in, "", errs.New(errs.Forbidden, "%s calls itself %q, which is no gateway of the estate", p.URL, name)
	}
	switch resp.StatusCode {
	case http.StatusNotModified:
		return in, known, nil
	case http.StatusOK:
	default:
		return in, "", errs.New(errs.Unavailable, "%s answers %s", p.URL, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, askBytes+1))
	if err == nil && len(body) > askBytes {
		err = errs.New(errs.Invalid, "%s lends more than %d bytes", p.URL, askBytes)
	}
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	return in, resp.Header.Get("Etag"), err
}

// lending is the answer to gateways that ask, made once per table.
type lending struct {
	mu    sync.Mutex
	table *route.Table
	body  []byte
	tag   string
}

// lend answers another gateway with the input of the table in force, 304 where it has that already.
func (g *Gateway) lend(w http.ResponseWriter, r *http.Request) {
	body, tag, err := g.lending.of(g.view.Load().table)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "table", "the table cannot be written")
		g.log.Error("the table cannot be lent", "error", err)
		return
	}
	w.Header().Set("Etag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func (l *lending) of(t *route.Table) ([]byte, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.table != t {
		body, err := json.Marshal(t.Input())
		if err != nil {
			return nil, "", err
		}
		l.table, l.body, l.tag = t, body, `"`+sumOf(body)+`"`
	}
	return l.body, l.tag, nil
}
