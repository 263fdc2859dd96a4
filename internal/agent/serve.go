package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// maxBody bounds what an agent reads of a request or an answer: the accounts of a judgement are the largest.
const maxBody = 64 << 20

// askBound is the longest a call to another agent may take.
const askBound = 700 * time.Millisecond

// handler answers nodes and other agents; nobody else gets past the certificate.
func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.Handle("GET /v1/state", machines(func(context.Context, []byte) (any, error) { return a.state(), nil }))
	mux.Handle("POST /v1/promise", machines(func(_ context.Context, body []byte) (any, error) { return a.grant(body) }))
	mux.Handle("POST /v1/consent", machines(func(_ context.Context, body []byte) (any, error) { return a.consent(body) }))
	mux.Handle("POST /v1/fork", machines(a.fork))
	mux.Handle("POST /v1/missing", machines(a.missing))
	mux.Handle("POST /v1/records", machines(a.records))
	mux.Handle("POST /v1/judge", machines(a.judge))
	mux.Handle("POST /v1/release", machines(a.release))
	mux.Handle("POST /v1/sandbox", machines(a.sandbox))
	mux.Handle("POST /v1/archive", machines(a.askArchive))
	return mux
}

func (a *Agent) serve(ctx context.Context) error {
	server := &http.Server{
		Handler: a.handler(), ReadHeaderTimeout: 2 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 3 * time.Minute, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(a.opts.Listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("agent cannot serve: %w", err)
	case <-ctx.Done():
	}
	_ = server.Close()
	<-failed
	return nil
}

// machines lets nodes and agents in, and nobody else.
func machines(answer func(context.Context, []byte) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := tlsIdentity(r.TLS)
		if !strings.HasPrefix(who, "agent:") && !strings.HasPrefix(who, "node:") {
			http.Error(w, "only nodes and agents may ask an agent", http.StatusForbidden)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "request too large", http.StatusRequestEntityTooLarge)
			return
		}
		out, err := answer(r.Context(), body)
		if err != nil {
			code := http.StatusBadRequest
			if errs.KindOf(err) == errs.Conflict {
				code = http.StatusConflict
			}
			http.Error(w, err.Error(), code)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out)
	})
}

// grant answers an owner: this member does not replace it for the time asked (I8).
func (a *Agent) grant(body []byte) (wire.PromiseAnswer, error) {
	var ask wire.PromiseRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		return wire.PromiseAnswer{}, errs.New(errs.Invalid, "promise request: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := wire.PromiseAnswer{Life: a.self.Now(), Full: a.seen.FreeBytes < unit.RoomNeeded}
	if ask.Group != a.opts.Group || !unit.MayPromise(a.group.Record, a.self, ask.Ownership) {
		return answer, nil
	}
	most := a.opts.Timing.Promise
	asked := min(time.Duration(ask.Millis)*time.Millisecond, most)
	answer.Granted = a.promise.Grant(ask.Ownership, asked, a.now())
	return answer, nil
}

// consent answers a node that sees the owner silent (I16).
func (a *Agent) consent(body []byte) (wire.ConsentAnswer, error) {
	var ask wire.ConsentRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		return wire.ConsentAnswer{}, errs.New(errs.Invalid, "consent request: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := wire.ConsentAnswer{Life: a.self.Now()}
	switch {
	case ask.Group != a.opts.Group:
		answer.Detail = "another group"
	case ask.Ownership.Less(a.self.Seen):
		answer.Detail = "a newer ownership is known here"
	case !a.seen.Running || !a.seen.Answering:
		answer.Detail = "the database here does not answer"
	default:
		hold := min(time.Duration(ask.HoldMillis)*time.Millisecond, 5*time.Second)
		wait, ok := a.promise.Consent(ask.Ownership, a.now(), hold)
		answer.OK, answer.WaitMillis = ok, wait.Milliseconds()+1
		if !ok {
			answer.Detail = "promised to the present owner"
		}
	}
	return answer, nil
}

// state is what this agent knows, from memory.
func (a *Agent) state() wire.AgentState {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, o := a.status, a.seen
	s.Group, s.Member, s.Site, s.Life, s.Seen = a.opts.Group, a.opts.Member, a.opts.Site, a.self.Life, a.self.Seen
	s.Running, s.Answering, s.InRecovery = o.Running, o.Answering, o.InRecovery
	s.Directory = unit.Directory(o.Directory)
	s.Upstream, s.Streaming, s.Flushed, s.Replayed = o.Upstream.Member, o.Streaming, o.Flushed, o.Replayed
	s.WaitingCommits, s.LongestMillis, s.FreeBytes = o.WaitingCommits, o.LongestTxn.Milliseconds(), o.FreeBytes
	s.Connections = o.ConnectionsInUse
	s.Findings = slices.Concat(s.Findings, a.archive.findings)
	for _, g := range o.Gates {
		s.Open = s.Open || g.Open
	}
	s.LeaseMillis = max(0, (a.leased - a.now()).Milliseconds())
	if !a.unprotected.IsZero() && a.group.Record.Owner == a.self.Now() {
		s.UnprotectedSince = a.unprotected.UnixMilli()
	}
	return s
}

func (a *Agent) peerState(ctx context.Context, m unit.Member) (wire.AgentState, error) {
	return ask[wire.AgentState](ctx, a.opts.Client, http.MethodGet, m, "/v1/state", nil)
}

func (a *Agent) askPromise(ctx context.Context, m unit.Member, request wire.PromiseRequest) (wire.PromiseAnswer, error) {
	return ask[wire.PromiseAnswer](ctx, a.opts.Client, http.MethodPost, m, "/v1/promise", request)
}

// ask calls another agent once, within askBound.
func ask[T any](ctx context.Context, client *http.Client, method string, m unit.Member, path string, request any) (T, error) {
	var out T
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	var body io.Reader
	if request != nil {
		text, err := json.Marshal(request)
		if err != nil {
			return out, err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+m.Agent+path, body)
	if err != nil {
		return out, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return out, errs.New(errs.Unavailable, "agent of %s does not answer: %w", m.ID, err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		return out, errs.New(errs.Unavailable, "agent of %s: %w", m.ID, err)
	}
	if answer.StatusCode != http.StatusOK {
		return out, errs.New(errs.Refused, "agent of %s answers %s: %s", m.ID, answer.Status, strings.TrimSpace(string(text)))
	}
	return out, json.Unmarshal(text, &out)
}
