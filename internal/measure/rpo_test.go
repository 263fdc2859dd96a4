package measure_test

import (
	"fmt"
	"testing"
	"time"

	"perdure/internal/measure"
	"perdure/internal/plan"
)

const twoUnits = `
apiVersion: perdure/v1
kind: Plan
name: leave
modes: [takeover, emergency]
steps:
- {id: u1, after: [], onFailure: ask, act: {driver: unit, action: switch, target: u1, with: {to: b}}}
- {id: u2, after: [], act: {driver: unit, action: switch, target: u2, with: {to: b}}}
- {id: tell, notify: {to: [operator], text: done}}
`

// switched is a run in which both units were switched; the results are those of their switches.
func switched(u1, u2 string) string {
	return fmt.Sprintf(`
0s ann started - {"text":"power"}
0s node:a took - {"term":1}
1s node:a began u1 {"attempt":1,"call":{"driver":"unit","action":"switch","target":"u1","with":{"to":"b"}}}
1s node:a began u2 {"attempt":1,"call":{"driver":"unit","action":"switch","target":"u2","with":{"to":"b"}}}
2s node:a ended u1 {"attempt":1,"outcome":"done","result":%s}
3s node:a ended u2 {"attempt":1,"outcome":"done","result":%s}
`, u1, u2)
}

func lost(transactions, accounts int, amount string, millis int) string {
	return fmt.Sprintf(`{"site":"b","lostTransactions":%d,"lostAccounts":%d,"lostAmount":%q,"lostMillis":%d,"lossSource":"receipts"}`, transactions, accounts, amount, millis)
}

func TestWhatSwitchesLostIsAddedUpAndWhatOneDoesNotKnowNobodyKnows(t *testing.T) {
	show := func(r *measure.RPO) string {
		if r == nil {
			return "none"
		}
		figure := func(n *int64) string {
			if n == nil {
				return "?"
			}
			return fmt.Sprint(*n)
		}
		took, met := "?", "?"
		if r.Time != nil {
			took = r.Time.String()
		}
		if r.Met != nil {
			met = fmt.Sprint(*r.Met)
		}
		return fmt.Sprintf("%d units: %s, %s, %q, %s, met %s", r.Switched, figure(r.Transactions), figure(r.Accounts), r.Amount, took, met)
	}
	zero := lost(0, 0, "0", 0)
	for _, c := range []struct {
		mode    plan.Mode
		journal string
		want    string
	}{
		{plan.Takeover, switched(zero, zero), `2 units: 0, 0, "0.00", 0s, met true`},
		{plan.Takeover, switched(zero, lost(1, 1, "5", 20)), `2 units: 1, 1, "5.00", 20ms, met false`},
		{plan.Emergency, switched(lost(3, 2, "30.10", 1500), lost(2, 2, "0.20", 900)), `2 units: 5, 4, "30.30", 1.5s, met true`},
		{plan.Emergency, switched(zero, lost(2, 2, "0.20", 3_700_000)), `2 units: 2, 2, "0.20", 1h1m40s, met false`},
		{plan.Emergency, switched(lost(-1, -1, "", -1), zero), `2 units: ?, ?, "", ?, met ?`},
		{plan.Takeover, switched(lost(-1, -1, "", -1), zero), `2 units: ?, ?, "", ?, met ?`},
		{plan.Emergency, switched(`{"site":"b"}`, zero), `2 units: ?, ?, "", ?, met ?`}, // of a version that did not tell
		{plan.Emergency, "0s ann started -\n0s node:a took - {\"term\":1}\n", "none"},
		{plan.Emergency, "0s ann started -\n0s node:a took - {\"term\":1}\n1s node:a began u1 {\"attempt\":1,\"call\":{\"driver\":\"unit\",\"action\":\"switch\",\"target\":\"u1\"}}\n2s node:a ended u1 {\"attempt\":1,\"outcome\":\"failed\",\"error\":\"no\"}\n3s bob takenOver u1 {\"text\":\"by hand\"}\n", `1 units: ?, ?, "", ?, met ?`},
	} {
		m := measured(t, twoUnits, c.journal, c.mode)
		if got := show(m.RPO); got != c.want {
			t.Errorf("%s: %s, want %s", c.mode, got, c.want)
		}
		if m.RPO != nil && len(m.RPO.Sources) != m.RPO.Switched {
			t.Errorf("%+v", m.RPO.Sources)
		}
	}
	if m := measured(t, twoUnits, switched(zero, zero), plan.Emergency); m.RPO.Bound != time.Hour {
		t.Errorf("%+v", m.RPO)
	}
}
