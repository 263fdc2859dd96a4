package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"perdure/internal/plan"
	"perdure/internal/wire"
)

// heard is one server-sent event.
type heard struct {
	id, name string
	line     wire.Line
}

// listener reads a stream of server-sent events.
type listener struct {
	t     *testing.T
	lines *bufio.Scanner
	leave context.CancelFunc
}

func (c *caller) listen(path, last string) *listener {
	c.n.t.Helper()
	ctx, leave := context.WithCancel(c.n.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", c.n.url+path, nil)
	if err != nil {
		c.n.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := c.http.Do(req)
	if err == nil {
		c.n.t.Cleanup(func() { _ = resp.Body.Close() })
	}
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		c.n.t.Fatal(resp, err)
	}
	return &listener{t: c.n.t, lines: bufio.NewScanner(resp.Body), leave: leave}
}

// next gives the next event that is no heartbeat.
func (l *listener) next() heard {
	l.t.Helper()
	var h heard
	for l.lines.Scan() {
		field, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch field {
		case "id":
			h.id = value
		case "event":
			h.name = value
		case "data":
			if err := json.Unmarshal([]byte(value), &h.line); err != nil {
				l.t.Fatal(err)
			}
		case "":
			if h.name != "" && h.name != "heartbeat" {
				return h
			}
			h = heard{}
		}
	}
	l.t.Fatal("the stream ended", l.lines.Err())
	return h
}

func TestLiveEventsGoOnWhereTheirReaderWasCutOff(t *testing.T) {
	n := start(t)
	bob := n.person("bob", wire.Operator)
	begin := func(id string) {
		bob.want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Drill, ID: id})
	}
	begin("r1")
	first := bob.listen("/api/v1/live?prefix=runs/", "")
	if h := first.next(); h.name != "reset" || !h.line.Reset || h.id != "" {
		t.Fatalf("%+v", h) // the state is not whole yet: there is no id to go on behind
	}
	state := first.next()
	if state.name != "change" || state.line.Key != "runs/r1" || state.id == "" {
		t.Fatalf("%+v", state)
	}
	begin("r2")
	for h := state; h.line.Key != "runs/r2"; h = first.next() {
	}
	first.leave()
	// It has the id of the state, and was cut off: what came since is told, and nothing of before.
	second := bob.listen("/api/v1/live?prefix=runs/", state.id)
	if h := second.next(); h.name != "change" || h.line.Key != "runs/r2" || h.id == "" {
		t.Fatalf("%+v", h)
	}
	second.leave()
	// The id of another incarnation says nothing here.
	third := bob.listen("/api/v1/live?prefix=runs/", "99.beef/7")
	if h := third.next(); h.name != "reset" {
		t.Fatalf("%+v", h)
	}
	third.leave()
	for _, last := range []string{"7", "1.x/y", "1.x/-1", "/"} {
		c := *bob
		c.headers = map[string]string{"Last-Event-ID": last}
		c.want(422, "GET", "/api/v1/live", nil)
	}
	bob.want(403, "GET", "/api/v1/live?prefix=keyed/", nil)
	n.as("agent:u1-a").want(403, "GET", "/api/v1/live", nil)
}
