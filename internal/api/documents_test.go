package api_test

import (
	"bytes"
	"strings"
	"testing"

	"perdure/internal/document"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

const documented = `
apiVersion: perdure/v1
kind: Site
name: a
city: east
nodes: [{}]
---
apiVersion: perdure/v1
kind: System
name: mail
modules: [{name: queue, archetype: flow}]
targets: {rto: 1h, rpo: 1h}
deployments: [{site: a}]
---
apiVersion: perdure/v1
kind: Plan
name: restore
title: Restore the mail
modes: [emergency, drill]
system: mail
steps:
- {id: ask, approval: {of: [commander], text: Restore it}}
- {id: work, manual: {owner: operator, instruction: Restore it.}}
`

func (c *caller) paper(path string) document.Paper {
	c.n.t.Helper()
	var p document.Paper
	c.want(200, "GET", path, nil).into(c.n.t, &p)
	return p
}

func has(findings []document.Finding, kind document.FindingKind, subject string) bool {
	for _, f := range findings {
		if f.Kind == kind && f.Subject == subject {
			return true
		}
	}
	return false
}

func TestDocumentsOfPlansAreAnsweredWithWhatNobodySaid(t *testing.T) {
	n := start(t)
	m, err := n.store.ApplyManifest(t.Context(), "test", documented, 0, nil, wire.ManifestPlan{})
	if err != nil {
		t.Fatal(err)
	}
	viewer := n.as("viewer")
	const path = "/api/v1/plans/restore/document?lang=zh-CN"
	before := viewer.paper(path)
	if !has(before.Findings, document.Nobody, "commander") || before.Title != "灾难恢复计划" || !bytes.Contains(before.File, []byte("紧急切换")) {
		t.Errorf("%s: %+v", before.Title, before.Findings)
	}
	n.user("ann", wire.Commander)
	n.user("bob", wire.Operator)
	n.user("eve", wire.Commander)
	n.as("admin").want(200, "POST", "/api/v1/users/eve/lock", nil)
	after := viewer.paper(path)
	if has(after.Findings, document.Nobody, "commander") || !bytes.Contains(after.File, []byte("ann")) || !bytes.Contains(after.File, []byte("bob")) || bytes.Contains(after.File, []byte("eve")) {
		t.Errorf("%+v", after.Findings)
	}
	if again := viewer.paper(path); !bytes.Equal(again.File, after.File) {
		t.Error("the same asked again is another file")
	}
	// The program is that which a run is pinned to: its report has the same sum.
	program, err := plans{}.Program(m.Text, "restore", plan.Drill)
	if err != nil {
		t.Fatal(err)
	}
	head, err := n.store.CreateRun(t.Context(), wire.RunStart{Head: wire.Run{ID: "r1", Plan: "restore", Mode: plan.Drill, StartedBy: "ann"}, Program: program, Journal: []run.Entry{{Seq: 1, By: "ann", What: run.Started}}})
	if err != nil {
		t.Fatal(err)
	}
	if drill := viewer.paper("/api/v1/plans/restore/document?as=drill-plan&mode=drill"); head.Program == "" || !bytes.Contains(drill.File, []byte(head.Program)) || drill.Title != "Drill plan" {
		t.Errorf("%s has not the sum %s", drill.Title, head.Program)
	}
	for format, begin := range map[string]string{"html": "<!DOCTYPE", "docx": "PK", "xlsx": "PK"} {
		for _, path := range []string{"/api/v1/plans/restore/document?", "/api/v1/response?system=mail&", "/api/v1/response?site=a&"} {
			if p := viewer.paper(path + "format=" + format); !strings.HasPrefix(string(p.File), begin) {
				t.Errorf("%s: %.20q", format, p.File)
			}
		}
	}
	response := viewer.paper("/api/v1/response?system=mail")
	if response.Title != "Emergency response plan" || !has(response.Findings, document.Nobody, "mail") || !bytes.Contains(response.File, []byte("perdure run start restore --mode emergency")) {
		t.Errorf("%s: %+v", response.Title, response.Findings)
	}
	for path, status := range map[string]int{
		"/api/v1/plans/nothing/document": 404, "/api/v1/plans/restore/document?mode=inspection": 422, "/api/v1/plans/restore/document?mode=takeover": 422, "/api/v1/plans/restore/document?as=essay": 422,
		"/api/v1/response": 422, "/api/v1/response?system=mail&site=a": 422, "/api/v1/response?system=nothing": 404, "/api/v1/response?site=nothing": 404, "/api/v1/response?system=mail&format=pdf": 422,
	} {
		if r := viewer.do("GET", path, nil); r.status != status {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

func TestDocumentOfAPlanStandsOnEarlierRuns(t *testing.T) {
	n := start(t)
	text := strings.Replace(taskPlan, "\n", "", 1)
	if _, err := n.store.ApplyManifest(t.Context(), "test", text, 0, nil, wire.ManifestPlan{}); err != nil {
		t.Fatal(err)
	}
	viewer := n.as("viewer")
	if p := viewer.paper("/api/v1/plans/count/document"); bytes.Contains(p.File, []byte("P50")) {
		t.Error("P50 is told without any run")
	}
	counted(t, n, "r1")
	p := viewer.paper("/api/v1/plans/count/document")
	if !bytes.Contains(p.File, []byte("(P50)</th><td>1 min 31 s</td>")) || !has(p.Findings, document.Late, "count") {
		t.Errorf("%+v\n%s", p.Findings, p.File)
	}
}
