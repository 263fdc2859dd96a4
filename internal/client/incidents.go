package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"perdure/internal/incident"
	"perdure/internal/wire"
)

// OpenIncident opens an incident. With an ID it may be repeated.
func (c *Client) OpenIncident(ctx context.Context, ask wire.OpenIncident) (incident.View, error) {
	var v incident.View
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/incidents", in: ask, out: &v, once: ask.ID == "", changes: true})
	return v, err
}

// Incidents lists the newest incidents as they stand now, the newest first, most 0: all; with open only those that are not closed.
func (c *Client) Incidents(ctx context.Context, open bool, most int) ([]incident.View, error) {
	query := url.Values{}
	if open {
		query.Set("open", "true")
	}
	return list[incident.View](ctx, c, "/api/v1/incidents", query, most)
}

// Incident is one as it stands now.
func (c *Client) Incident(ctx context.Context, id string) (incident.View, error) {
	return get[incident.View](ctx, c, "/api/v1/incidents/"+esc(id), nil)
}

// IncidentReport writes the report of an incident: format html, docx or xlsx, lang en or zh-CN.
func (c *Client) IncidentReport(ctx context.Context, id, format, lang, zone string, w io.Writer) (int64, error) {
	query := url.Values{"format": {format}, "lang": {lang}, "zone": {zone}}
	return c.download(ctx, call{method: http.MethodGet, path: "/api/v1/incidents/" + esc(id) + "/report", query: query}, "report", w)
}

// SayToIncident says something to an incident. The same word again changes nothing, so it may be repeated.
func (c *Client) SayToIncident(ctx context.Context, id string, word wire.IncidentWord) (incident.View, error) {
	var v incident.View
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/incidents/" + esc(id) + "/words", in: word, out: &v, changes: true})
	return v, err
}

// Availability is how much of a period everything was served; a zero time is left to the node: 30 days until now.
func (c *Client) Availability(ctx context.Context, from, until time.Time) ([]incident.Availability, error) {
	query := url.Values{}
	for name, at := range map[string]time.Time{"from": from, "until": until} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return get[[]incident.Availability](ctx, c, "/api/v1/availability", query)
}
