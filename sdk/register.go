package sdk

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Registration tells the gateways, through the nodes, that this instance serves requests.
type Registration struct {
	// Nodes are base addresses such as https://node.a.perdure.internal:7400; the first that answers is used.
	Nodes            []string
	System, Site, ID string
	// URL is where gateways reach this instance: scheme://host:port. Units are those it serves; none means all of the system.
	URL   string
	Units []string
	// Every is how often it is renewed, TTL how long it lasts without; defaults 2 s and 6 s.
	Every, TTL time.Duration
	// Client makes the calls; it carries the instance's certificate. Default: http.DefaultClient.
	Client *http.Client
	Log    *slog.Logger
}

// Register keeps the registration until ctx ends, then takes it back and returns. Gateways go on with what they know while no node
// answers, so failing to renew is logged and tried again; the error is not nil only for a registration that makes no sense.
func Register(ctx context.Context, r Registration) error {
	r.Every, r.TTL = cmp.Or(r.Every, 2*time.Second), cmp.Or(r.TTL, 6*time.Second)
	if r.Client == nil {
		r.Client = http.DefaultClient
	}
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	if len(r.Nodes) == 0 || r.System == "" || r.Site == "" || r.ID == "" || r.URL == "" {
		return errors.New("cannot register: nodes, system, site, id and url are needed")
	}
	if r.TTL < r.Every {
		return fmt.Errorf("cannot register: a TTL of %s ends before the renewal every %s", r.TTL, r.Every)
	}
	body, err := json.Marshal(struct {
		System     string   `json:"system"`
		Site       string   `json:"site"`
		ID         string   `json:"id"`
		URL        string   `json:"url"`
		Units      []string `json:"units,omitempty"`
		TTLSeconds int      `json:"ttlSeconds"`
	}{r.System, r.Site, r.ID, r.URL, r.Units, int((r.TTL + time.Second - 1) / time.Second)})
	if err != nil {
		return fmt.Errorf("cannot register: %w", err)
	}
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	failing := false
	for {
		err := r.call(ctx, http.MethodPut, body)
		if failed := err != nil && ctx.Err() == nil; failed != failing {
			failing = failed
			if failed {
				r.Log.Warn("instance is not registered", "instance", r.ID, "error", err)
			} else {
				r.Log.Info("instance is registered", "instance", r.ID)
			}
		}
		select {
		case <-ctx.Done():
			leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Every)
			defer cancel()
			if err := r.call(leaving, http.MethodDelete, nil); err != nil {
				r.Log.Info("instance leaves without saying so", "instance", r.ID, "error", err)
			}
			return nil
		case <-tick.C:
		}
	}
}

// call asks the nodes in turn until one carries it out.
func (r *Registration) call(ctx context.Context, method string, body []byte) error {
	var failures []error
	for _, node := range r.Nodes {
		err := r.ask(ctx, method, node, body)
		if err == nil {
			return nil
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

func (r *Registration) ask(ctx context.Context, method, node string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, r.Every)
	defer cancel()
	path := "/api/v1/instances/" + url.PathEscape(r.System) + "/" + url.PathEscape(r.Site) + "/" + url.PathEscape(r.ID)
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(node, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := r.Client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: status %d: %s", method, req.URL.Redacted(), res.StatusCode, text)
	}
	return nil
}
