package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

const (
	probeEvery = 150 * time.Millisecond
	probeBound = 700 * time.Millisecond
	// agentPatience is how long an agent may take before the database is asked beside it.
	agentPatience = 250 * time.Millisecond
	maxAnswer     = 256 << 10
)

// probe asks the owner's agent, and where that does not answer the owner's database itself, again and again.
// A probe only reads: a slow copy never makes its owner look dead (I16).
func (c *Controller) probe(ctx context.Context, group estate.GroupID) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	inFlight := make(chan struct{}, 4)
	done := make(chan struct{})
	running := 0
	defer func() {
		for ; running > 0; running-- {
			<-done
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			running--
			continue
		case <-tick.C:
		}
		own, ok := c.look(group)
		g := own.group
		m, known := g.Record.Member(g.Record.Owner.Member)
		if !ok || !known {
			continue
		}
		// Several at once: a lost packet on one connection must not hide the answer on another.
		select {
		case inFlight <- struct{}{}:
		default:
			continue
		}
		running++
		go func() {
			c.note(group, g.Record.Owner, c.listen(ctx, m))
			<-inFlight
			done <- struct{}{}
		}()
	}
}

func (c *Controller) note(group estate.GroupID, owner estate.Life, s sign) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.groups[group]
	if w == nil || w.group.Record.Owner != owner {
		return
	}
	w.detail = s.detail
	if s.heard {
		w.heard = c.now()
	}
	if s.agent {
		w.agent = c.now()
	}
}

// sign is what one probe found out: whether the owner gives a sign of life, and whether its agent does.
type sign struct {
	heard, agent bool
	detail       string
}

// listen asks the owner for a sign of life: its agent says that its database answers, or, where the agent is silent, the
// database's port does. A dead agent never costs an owner its place (I1).
func (c *Controller) listen(ctx context.Context, m unit.Member) sign {
	ctx, cancel := context.WithTimeout(ctx, probeBound)
	defer cancel()
	type said struct {
		state wire.AgentState
		err   error
	}
	agent := make(chan said, 1)
	go func() {
		state, err := c.agentState(ctx, m)
		agent <- said{state, err}
	}()
	patience := time.NewTimer(agentPatience)
	defer patience.Stop()
	var answer said
	select {
	case answer = <-agent:
	case <-patience.C:
		if postgresAnswers(ctx, m.Database) {
			answer = <-agent
			return sign{heard: true, agent: answer.err == nil, detail: "its agent is slow, its database answers"}
		}
		answer = <-agent
	}
	switch {
	case answer.err != nil && ctx.Err() == nil && postgresAnswers(ctx, m.Database):
		return sign{heard: true, detail: "its agent is silent, its database answers"}
	case answer.err != nil:
		return sign{detail: answer.err.Error()}
	case !answer.state.Running:
		return sign{agent: true, detail: "its database does not run"}
	case !answer.state.Answering:
		return sign{agent: true, detail: "its database does not answer"}
	}
	return sign{heard: true, agent: true}
}

// postgresAnswers sends the one request a server answers before any login (SSLRequest) and reads its one byte.
func postgresAnswers(ctx context.Context, address string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
		return false
	}
	var answer [1]byte
	_, err = io.ReadFull(conn, answer[:])
	return err == nil && (answer[0] == 'S' || answer[0] == 'N')
}

func (c *Controller) agentState(ctx context.Context, m unit.Member) (wire.AgentState, error) {
	return ask[wire.AgentState](ctx, c.opts.Client, http.MethodGet, m, "/v1/state", nil)
}

// consent asks the candidate to replace the owner; it waits out what is left of a promise (I8).
func (c *Controller) consent(ctx context.Context, rec unit.Record, candidate estate.Life) error {
	m, ok := rec.Member(candidate.Member)
	if !ok {
		return errs.New(errs.NotFound, "%s has no member %q", rec.Group, candidate.Member)
	}
	for {
		bounded, cancel := context.WithTimeout(ctx, probeBound)
		answer, err := ask[wire.ConsentAnswer](bounded, c.opts.Client, http.MethodPost, m, "/v1/consent",
			wire.ConsentRequest{Group: rec.Group, Ownership: rec.Ownership, HoldMillis: 2000})
		cancel()
		switch {
		case err != nil:
			return err
		case answer.Life != candidate:
			return errs.Refuse("I2", "%s is in life %d now", candidate, answer.Life.N)
		case answer.OK:
			return nil
		case answer.WaitMillis <= 1:
			return errs.New(errs.Refused, "%s does not consent: %s", candidate, answer.Detail)
		}
		select {
		case <-ctx.Done():
			return errs.New(errs.Refused, "%s does not consent: %s", candidate, answer.Detail)
		case <-time.After(time.Duration(answer.WaitMillis) * time.Millisecond):
		}
	}
}

// ask calls an agent once.
func ask[T any](ctx context.Context, client *http.Client, method string, m unit.Member, path string, request any) (T, error) {
	var out T
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
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return out, errs.New(errs.Unavailable, "agent of %s: %w", m.ID, err)
	}
	if answer.StatusCode != http.StatusOK {
		return out, errs.New(errs.Refused, "agent of %s answers %s: %s", m.ID, answer.Status, strings.TrimSpace(string(text)))
	}
	return out, json.Unmarshal(text, &out)
}

func decodeState(text json.RawMessage) (wire.AgentState, error) {
	var s wire.AgentState
	err := json.Unmarshal(text, &s)
	return s, err
}
