package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/document"
	"perdure/internal/duty"
	"perdure/internal/estate"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// StartRun starts a run of a plan. With an ID it may be repeated.
func (c *Client) StartRun(ctx context.Context, ask wire.StartRun) (wire.Run, error) {
	var v wire.Run
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/runs", in: ask, out: &v, once: ask.ID == "", changes: true})
	return v, err
}

// Runs lists the newest runs, the newest first; most 0 is all of them.
func (c *Client) Runs(ctx context.Context, most int) ([]wire.Run, error) {
	return list[wire.Run](ctx, c, "/api/v1/runs", nil, most)
}

// Run is a run, and how every step stands.
func (c *Client) Run(ctx context.Context, id string) (wire.RunState, error) {
	return get[wire.RunState](ctx, c, "/api/v1/runs/"+esc(id), nil)
}

// RunJournal gives the entries of a run after a number.
func (c *Client) RunJournal(ctx context.Context, id string, after int) ([]run.Entry, error) {
	return list[run.Entry](ctx, c, "/api/v1/runs/"+esc(id)+"/journal", url.Values{"after": {strconv.Itoa(after)}}, 0)
}

// Calendar is how windows, freezes, cut-offs and schedules stand now.
func (c *Client) Calendar(ctx context.Context, r wire.Read) (calendar.View, error) {
	return get[calendar.View](ctx, c, "/api/v1/calendar", read(r))
}

// ApproveWindow approves a window as it was seen. The same again changes nothing, so it may be repeated.
func (c *Client) ApproveWindow(ctx context.Context, window string, word wire.ApproveWindow) (calendar.Approved, error) {
	var v calendar.Approved
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/windows/" + esc(window) + "/approve", in: word, out: &v, changes: true})
	return v, err
}

// RevokeWindow takes the approvals of a window back.
func (c *Client) RevokeWindow(ctx context.Context, window, reason string) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/api/v1/windows/" + esc(window) + "/revoke", in: wire.RevokeWindow{Reason: reason}, changes: true})
}

// Duty is who is on duty now, and what has to be seen to.
func (c *Client) Duty(ctx context.Context) (duty.View, error) {
	return get[duty.View](ctx, c, "/api/v1/duty", nil)
}

// RunMeasures is how long everything in a run took.
func (c *Client) RunMeasures(ctx context.Context, id string) (measure.Measures, error) {
	return get[measure.Measures](ctx, c, "/api/v1/runs/"+esc(id)+"/measures", nil)
}

// RunReport writes the document of a run: as is record or evaluation, format html, docx or xlsx, lang en or zh-CN.
func (c *Client) RunReport(ctx context.Context, id, as, format, lang, zone string, w io.Writer) (int64, error) {
	query := url.Values{"as": {as}, "format": {format}, "lang": {lang}, "zone": {zone}}
	return c.download(ctx, call{method: http.MethodGet, path: "/api/v1/runs/" + esc(id) + "/report", query: query}, "report", w)
}

// Preflight says what can be said of a run before it is started.
func (c *Client) Preflight(ctx context.Context, plan string, ask wire.PreflightRequest) (measure.Preflight, error) {
	var v measure.Preflight
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/plans/" + esc(plan) + "/preflight", in: ask, out: &v})
	return v, err
}

// Armed lists the runs that have to be able to begin at any moment, with what was found of them.
func (c *Client) Armed(ctx context.Context) ([]wire.Armed, error) {
	return get[[]wire.Armed](ctx, c, "/api/v1/armed", nil)
}

// PlanDocument is the recovery plan (drp) or the drill plan (drill-plan) of a plan as a file. An empty mode is the first that recovers something.
func (c *Client) PlanDocument(ctx context.Context, name, as string, mode plan.Mode, format, lang string) (document.Paper, error) {
	query := url.Values{"as": {as}, "format": {format}, "lang": {lang}}
	if mode != "" {
		query.Set("mode", string(mode))
	}
	return get[document.Paper](ctx, c, "/api/v1/plans/"+esc(name)+"/document", query)
}

// ResponsePlan is the emergency response plan of a system or of a site as a file; the other one is empty.
func (c *Client) ResponsePlan(ctx context.Context, system estate.SystemID, site estate.SiteID, format, lang string) (document.Paper, error) {
	query := url.Values{"format": {format}, "lang": {lang}}
	if system != "" {
		query.Set("system", string(system))
	}
	if site != "" {
		query.Set("site", string(site))
	}
	return get[document.Paper](ctx, c, "/api/v1/response", query)
}

// SayToRun says something to a run.
func (c *Client) SayToRun(ctx context.Context, id string, word wire.RunWord) (wire.Run, error) {
	var v wire.Run
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/runs/" + esc(id) + "/words", in: word, out: &v, once: true, changes: true})
	return v, err
}

// Challenge makes what somebody signs away from the platform to decide on an approval, good for so many minutes.
func (c *Client) Challenge(ctx context.Context, id, step string, minutes int) (wire.Challenge, error) {
	return get[wire.Challenge](ctx, c, "/api/v1/runs/"+esc(id)+"/challenge", url.Values{"step": {step}, "minutes": {strconv.Itoa(minutes)}})
}

// HandIn hands in a decision that another person has signed.
func (c *Client) HandIn(ctx context.Context, id string, word wire.SignedWord) (wire.Run, error) {
	var v wire.Run
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/runs/" + esc(id) + "/signed", in: word, out: &v, once: true, changes: true})
	return v, err
}

// Attach hands in a file for an open task of a run.
func (c *Client) Attach(ctx context.Context, id, step, name string, data []byte) (wire.KeptAttachment, error) {
	var v wire.KeptAttachment
	err := c.do(ctx, call{
		method: http.MethodPut, path: "/api/v1/runs/" + esc(id) + "/attachments", query: url.Values{"step": {step}, "name": {name}},
		text: data, contentType: "application/octet-stream", out: &v,
	})
	return v, err
}

// Attachment writes a file that was handed in with a task of a run.
func (c *Client) Attachment(ctx context.Context, id, sum string, w io.Writer) (int64, error) {
	return c.download(ctx, call{method: http.MethodGet, path: "/api/v1/runs/" + esc(id) + "/attachments/" + esc(sum)}, "file", w)
}

// EvidencePack writes the pack of a run.
func (c *Client) EvidencePack(ctx context.Context, id string, w io.Writer) (int64, error) {
	return c.download(ctx, call{method: http.MethodPost, path: "/api/v1/runs/" + esc(id) + "/pack"}, "pack", w)
}

// EvidenceStretch writes the evidence log from an entry on, as much as one pack takes.
func (c *Client) EvidenceStretch(ctx context.Context, from int64, w io.Writer) (int64, error) {
	query := url.Values{"from": {strconv.FormatInt(from, 10)}}
	return c.download(ctx, call{method: http.MethodPost, path: "/api/v1/evidence/stretch", query: query}, "evidence log", w)
}

// EvidenceRetiring says what of the evidence is old enough to be retired; before may be zero, for what the policy lets go.
func (c *Client) EvidenceRetiring(ctx context.Context, before time.Time) (wire.Retiring, error) {
	query := url.Values{}
	if !before.IsZero() {
		query.Set("before", before.UTC().Format(time.RFC3339Nano))
	}
	return get[wire.Retiring](ctx, c, "/api/v1/evidence/retirement", query)
}

// EvidenceRetire begins to take out of the store what was exported and has been kept for long enough.
func (c *Client) EvidenceRetire(ctx context.Context, ask wire.Retire) (wire.Retirement, error) {
	var v wire.Retirement
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/evidence/retirement", in: ask, out: &v, once: true, changes: true})
	return v, err
}

// EvidenceKeys are the public keys that nodes sign the evidence log with.
func (c *Client) EvidenceKeys(ctx context.Context) ([]wire.LogKey, error) {
	return get[[]wire.LogKey](ctx, c, "/api/v1/evidence/keys", nil)
}
