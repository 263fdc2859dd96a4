package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/errs"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
	"perdure/internal/wire"
)

const taskPlan = `
apiVersion: perdure/v1
kind: Plan
name: count
title: Count
modes: [takeover]
rto: 1m
parameters: [{name: to, required: true}]
steps:
- {id: ask, manual: {owner: operator, instruction: "Count at ${params.to}.", fields: [{name: difference, type: number, required: true}]}}
- {id: agree, approval: {of: [commander], text: "Good?"}}
`

// planner has the plans of the manifest, and count, and else the drill of people_test.go, where there is none.
type planner struct {
	plans
	t *testing.T
}

func (p planner) Program(text, name string, mode plan.Mode) (*plan.Program, error) {
	switch {
	case text != "" && text != always, plan.IsBuiltIn(name):
		return p.plans.Program(text, name, mode)
	case name == "count":
		return runtest.Program(p.t, taskPlan, mode), nil
	}
	return drills{p.t}.Program(text, name, mode)
}

// counted is a run that is over.
func counted(t *testing.T, n *node, id string) {
	t.Helper()
	p := runtest.Program(t, taskPlan, plan.Takeover)
	journal := runtest.Journal(t, `
0s ann started - {"params":{"to":"b"}}
0s node:a took - {"term":1}
1s node:a opened ask {"text":"Count at b."}
31s bob completed ask {"result":{"difference":1.5}}
31s node:a opened agree {"text":"Good?"}
91s bob approved agree {"for":"commander"}
91s node:a finished - {"outcome":"done"}
`)
	head, err := n.store.CreateRun(t.Context(), wire.RunStart{Head: wire.Run{ID: id, Plan: p.Plan, Title: p.Title, Mode: p.Mode, StartedBy: "ann", StartedAt: journal[0].At.UnixMilli()}, Program: p, Journal: []run.Entry{journal[0]}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := run.Replay(id, p, journal)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.store.Append(t.Context(), nil, head.At(r), journal[1:], nil, nil); err != nil {
		t.Fatal(err)
	}
}

func TestMeasuresAndReportsOfARunAreAnswered(t *testing.T) {
	n := start(t)
	counted(t, n, "r1")
	viewer := n.as("viewer")
	var m measure.Measures
	if err := json.Unmarshal(viewer.want(200, "GET", "/api/v1/runs/r1/measures", nil).body, &m); err != nil {
		t.Fatal(err)
	}
	if m.RTO.Took == nil || *m.RTO.Took != 91*time.Second || m.RTO.Met == nil || *m.RTO.Met || m.Clocks.Detect != nil || m.Steps[0].People != 30*time.Second {
		t.Errorf("%+v", m)
	}
	for format, media := range map[string]string{"html": "text/html; charset=utf-8", "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"} {
		path := "/api/v1/runs/r1/report?lang=zh-CN&zone=%2B08:00&format=" + format
		a, b := viewer.want(200, "GET", path, nil), viewer.want(200, "GET", path, nil)
		if !bytes.Equal(a.body, b.body) || a.head.Get("Content-Type") != media || !strings.Contains(a.head.Get("Content-Disposition"), "r1."+format) {
			t.Errorf("%s: %v", format, a.head)
		}
		if format == "html" && (!bytes.Contains(a.body, []byte("切换报告")) || !bytes.Contains(a.body, []byte("16:00:31.000")) || !bytes.Contains(a.body, []byte("difference: 1.5"))) {
			t.Errorf("%s", a.body)
		}
	}
	if r := viewer.want(200, "GET", "/api/v1/runs/r1/report?zone=Asia/Tokyo", nil); !bytes.Contains(r.body, []byte("Asia/Tokyo")) || !bytes.Contains(r.body, []byte("17:00:31.000")) {
		t.Errorf("%s", r.body)
	}
	if r := viewer.want(200, "GET", "/api/v1/runs/r1/report?as=evaluation&lang=zh-CN", nil); !bytes.Contains(r.body, []byte("<h1>切换评估报告</h1>")) || !bytes.Contains(r.body, []byte("未达成")) {
		t.Errorf("%s", r.body)
	}
	for _, wrong := range []string{"as=essay", "format=pdf", "lang=fr", "zone=Local", "zone=Mars/Olympus", "zone=%2B25:00", "zone=../x", "zone="} {
		if r := viewer.do("GET", "/api/v1/runs/r1/report?"+wrong, nil); r.status != 422 && (r.status != 200 || wrong != "zone=") {
			t.Errorf("%s: %d %s", wrong, r.status, r.body)
		}
	}
	viewer.want(404, "GET", "/api/v1/runs/none/report", nil)
	viewer.want(404, "GET", "/api/v1/runs/none/measures", nil)
}

func TestStepOfARunTellsWhatItAsksOfPeople(t *testing.T) {
	n := start(t)
	counted(t, n, "r1")
	var state wire.RunState
	if err := json.Unmarshal(n.as("viewer").want(200, "GET", "/api/v1/runs/r1", nil).body, &state); err != nil {
		t.Fatal(err)
	}
	ask, agree := state.Steps[0], state.Steps[1]
	if ask.Text != "Count at b." || ask.Owner != "operator" || len(ask.Fields) != 1 || ask.Fields[0].Name != "difference" || !ask.Fields[0].Required {
		t.Errorf("%+v", ask)
	}
	if agree.Text != "Good?" || fmt.Sprint(agree.Of) != "[commander]" || agree.Need != 1 {
		t.Errorf("%+v", agree)
	}
}

func TestPreflightStandsOnEarlierRuns(t *testing.T) {
	n := start(t)
	viewer := n.as("viewer")
	ask := func(ask wire.PreflightRequest) measure.Preflight {
		t.Helper()
		var f measure.Preflight
		if err := json.Unmarshal(viewer.want(200, "POST", "/api/v1/plans/count/preflight", ask).body, &f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := ask(wire.PreflightRequest{Mode: plan.Takeover})
	if f.Forecast.P50 != nil || f.Forecast.Runs != 0 || len(f.Findings) != 0 || fmt.Sprint(f.Missing) != "[to]" || fmt.Sprint(f.Forecast.Endless) != "[ask agree]" {
		t.Errorf("%+v", f)
	}
	counted(t, n, "r1")
	counted(t, n, "r2")
	f = ask(wire.PreflightRequest{Mode: plan.Takeover, Params: map[string]any{"to": "b"}})
	if f.Forecast.P50 == nil || *f.Forecast.P50 != 91*time.Second || f.Forecast.Runs != 2 || len(f.Findings) != 1 || f.Findings[0].Kind != measure.LateMostly || f.Missing != nil {
		t.Errorf("%+v", f)
	}
	viewer.want(422, "POST", "/api/v1/plans/count/preflight", wire.PreflightRequest{Mode: "war"})
	viewer.want(422, "POST", "/api/v1/plans/count/preflight", wire.PreflightRequest{Mode: plan.Takeover, Params: map[string]any{"to": 7}})
}

const lookedPlan = `apiVersion: perdure/v1
kind: Plan
name: looked
modes: [takeover]
parameters: [{name: unit, required: true}]
steps:
- {id: one, check: {driver: unit, action: state, target: u1, expect: result.accepting}}
- {id: again, check: {driver: unit, action: state, target: u1, expect: result.inSync > 1.0}}
- {id: slow, check: {driver: unit, action: state, target: u2}}
- {id: broken, check: {driver: unit, action: state, target: u3}}
- {id: given, check: {driver: unit, action: state, target: "${params.unit}"}}
- {id: switch, act: {driver: unit, action: switch, target: u1, with: {to: b}}, precheck: {driver: unit, action: state, target: u1}}
`

// A preflight looks at everything that can be looked at beforehand, once, and one that does not answer holds up none of the others.
func TestPreflightLooks(t *testing.T) {
	n := start(t)
	if _, err := n.store.ApplyManifest(t.Context(), "test", lookedPlan, 0, nil, wire.ManifestPlan{}); err != nil {
		t.Fatal(err)
	}
	var looks atomic.Int64
	n.controls.looks = map[string]func(context.Context) (map[string]any, error){
		"u1": func(context.Context) (map[string]any, error) {
			looks.Add(1)
			return map[string]any{"accepting": true, "inSync": 1.0}, nil
		},
		"u2": func(ctx context.Context) (map[string]any, error) {
			<-ctx.Done()
			return nil, errs.New(errs.Unavailable, "nobody answers for u2")
		},
		"u3": func(context.Context) (map[string]any, error) { return nil, errs.New(errs.NotFound, "there is no u3") },
	}
	var f measure.Preflight
	n.as("viewer").want(200, "POST", "/api/v1/plans/looked/preflight", wire.PreflightRequest{Mode: plan.Takeover}).into(t, &f)
	var got []string
	for _, l := range f.Looked {
		got = append(got, fmt.Sprintf("%s %q %q", l.Step, l.Wrong, l.Unknown))
	}
	want := []string{
		`one "" ""`, `again "it is not as expected: result.inSync > 1.0" ""`, `slow "nobody answers for u2" ""`, `broken "there is no u3" ""`,
		`given "" "cannot evaluate params.unit: no such key: unit"`, `switch "" ""`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var wrong []string
	for _, one := range f.Findings {
		wrong = append(wrong, string(one.Kind)+" "+one.Step)
	}
	if fmt.Sprint(wrong) != "[precheck again precheck slow precheck broken]" {
		t.Errorf("%v", wrong)
	}
	if looks.Load() != 1 {
		t.Errorf("u1 was looked at %d times", looks.Load())
	}
}

func TestStartSaysWhenServiceWasDisrupted(t *testing.T) {
	n := start(t)
	n.manifestOf(always)
	operator := n.as("operator")
	now := time.Now().UTC().Truncate(time.Millisecond)
	ask := wire.StartRun{Plan: "count", Mode: plan.Takeover, Params: map[string]any{"to": "b"}, ID: "r1", DisruptedAt: now.Add(-time.Minute), DetectedAt: now.Add(-time.Second)}
	n.as("operator").want(200, "POST", "/api/v1/runs", ask)
	journal, err := n.store.Journal(t.Context(), "r1", 0)
	if err != nil || !journal[0].DisruptedAt.Equal(ask.DisruptedAt) || !journal[0].DetectedAt.Equal(ask.DetectedAt) {
		t.Errorf("%+v, %v", journal, err)
	}
	for name, wrong := range map[string]wire.StartRun{
		"in the future": {DisruptedAt: now.Add(time.Hour)},
		"out of order":  {DisruptedAt: now.Add(-time.Second), DetectedAt: now.Add(-time.Minute)},
	} {
		wrong.Plan, wrong.Mode, wrong.Params, wrong.ID = "count", plan.Takeover, ask.Params, "r2"
		if r := operator.do("POST", "/api/v1/runs", wrong); r.status != 422 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}
