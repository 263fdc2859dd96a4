package api_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"perdure/internal/estate"
	"perdure/internal/heldorder"
	"perdure/internal/plan"
	"perdure/internal/wire"
)

const heldOrders = "reference,account,key,amount,time,note\n" +
	"N-1,acc-1,n-1,10.00,2026-11-23T12:00:00Z,wages\n" +
	"N-2,acc-2,n-2,5.50,2026-11-23T12:01:00Z,\n"

// takenOver is a run in mode takeover in which branch-north and branch-south have tasks, on an estate with one system.
func (n *node) takenOver(id string) {
	n.t.Helper()
	var text strings.Builder
	for _, file := range []string{"sites.yaml", "corebank.yaml"} {
		data, err := os.ReadFile("../../examples/one-unit/" + file)
		if err != nil {
			n.t.Fatal(err)
		}
		text.Write(data)
		text.WriteString("\n---\n")
	}
	n.manifestOf(text.String() + aPlan + "---\n" + branches + always)
	n.held(id, plan.Takeover)
}

func (c *caller) orders(query string) []heldorder.Entry {
	c.n.t.Helper()
	var list []heldorder.Entry
	c.want(200, "GET", "/api/v1/runs/r/orders"+query, nil).into(c.n.t, &list)
	return list
}

func (c *caller) hands(status int, query, file string) wire.OrdersAnswer {
	c.n.t.Helper()
	var a wire.OrdersAnswer
	r := c.want(status, "PUT", "/api/v1/runs/r/orders"+query, csv(file))
	if status == 200 {
		r.into(c.n.t, &a)
	}
	return a
}

func TestOrdersAreHandedInByWhoHoldsThem(t *testing.T) {
	n := start(t)
	n.takenOver("r")
	li, qi, viewer, operator := n.takesPart("li", "branch-north"), n.takesPart("qi", "branch-south"), n.as("viewer"), n.as("operator")
	if a := li.hands(200, "?dryRun=true", heldOrders); a.New != 2 || !a.Dry || a.Totals.Open != 2 || len(viewer.orders("")) != 0 {
		t.Fatalf("%+v", a)
	}
	if a := li.hands(200, "", heldOrders); a.New != 2 || a.Same != 0 || a.Totals.OpenAmount != "15.50" {
		t.Fatalf("%+v", a)
	}
	if a := li.hands(200, "", heldOrders); a.New != 0 || a.Same != 2 {
		t.Fatalf("%+v", a)
	}
	// Under another holder they are others; their keys are not.
	qi.hands(422, "", heldOrders)
	qi.hands(403, "?holder=branch-north", heldOrders)
	if a := qi.hands(200, "", strings.NewReplacer("N-", "S-", ",n-", ",s-").Replace(heldOrders)); a.New != 2 || a.Totals.All() != 2 {
		t.Fatalf("somebody of a branch is told of others': %+v", a)
	}
	operator.hands(422, "", "reference,account,key,amount,time\n")                 // of whom
	operator.hands(404, "?holder=nobody", "reference,account,key,amount,time\n")   // not declared
	viewer.hands(403, "?holder=branch-north", "reference,account,key,amount,time") // reads
	if r := operator.want(422, "PUT", "/api/v1/runs/r/orders?holder=branch-south", csv("reference,account,key,amount,time\nS-9,a,k,0,2026-11-23T12:00:00Z\n")); !strings.Contains(string(r.body), "line 2, amount") {
		t.Errorf("%s", r.body)
	}
	if a := operator.hands(200, "?holder=branch-south", "reference,account,key,amount,time,kind\nS-3,acc-9,s-3,1,2026-11-23T12:00:00Z,dr\n"); a.Totals.All() != 5 || a.Totals.DR != 1 || len(a.Units) != 1 || a.Units[0].Unit != "u1" {
		t.Errorf("%+v", a)
	}
	// Everybody of a participant sees theirs, who reads sees all, page by page.
	for c, want := range map[*caller]int{li: 2, qi: 3, viewer: 5} {
		if got := c.orders(""); len(got) != want {
			t.Errorf("%d orders, not %d", len(got), want)
		}
	}
	if got := qi.orders("?holder=branch-north"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	seen := map[heldorder.Ref]bool{}
	for next := "/api/v1/runs/r/orders?limit=2&state=open"; next != ""; {
		var list []heldorder.Entry
		r := viewer.want(200, "GET", next, nil)
		r.into(t, &list)
		for _, e := range list {
			seen[e.Ref()] = true
		}
		link, _, found := strings.Cut(strings.TrimPrefix(r.head.Get("Link"), "<"), ">")
		if next = link; !found {
			next = ""
		}
	}
	if len(seen) != 5 {
		t.Errorf("pages had %v", seen)
	}
	// They end by who holds them, or by who steers the run, with a reason.
	drop := func(c *caller, status int, holder, reference, reason string) {
		t.Helper()
		c.want(status, "POST", "/api/v1/runs/r/orders/dropped", wire.DropOrders{Orders: []heldorder.Ref{{Holder: holder, Reference: reference}}, Reason: reason})
	}
	drop(qi, 404, "branch-north", "N-1", "why")
	drop(viewer, 403, "branch-north", "N-1", "why")
	drop(li, 422, "branch-north", "N-1", "")
	drop(li, 200, "branch-north", "N-1", "taken back")
	drop(li, 200, "branch-north", "N-1", "taken back")
	drop(operator, 409, "branch-north", "N-1", "another")
	drop(operator, 404, "branch-north", "N-7", "why")
	drop(operator, 200, "branch-south", "S-3", "entered twice")
	if got := viewer.orders("?state=dropped"); len(got) != 2 || got[0].DroppedBy != "li" || got[0].Reason != "taken back" || got[1].DroppedBy != "the-operator" {
		t.Errorf("%+v", got)
	}
}

func TestOrdersAreHeldForWhatTakesOver(t *testing.T) {
	n := start(t)
	n.takenOver("r")
	n.held("drill", plan.Drill)
	n.as("operator").want(409, "PUT", "/api/v1/runs/drill/orders?holder=branch-north", csv(heldOrders))
	n.as("operator").want(404, "PUT", "/api/v1/runs/none/orders?holder=branch-north", csv(heldOrders))
	// Who only takes part is told the same of a run that is none of theirs, and of none.
	east := n.takesPart("wu", "branch-north")
	n.as("operator").want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Drill, ID: "other"})
	for _, run := range []string{"none", "other"} {
		r := east.want(404, "GET", "/api/v1/runs/"+run+"/orders", nil)
		if want := fmt.Sprintf("no orders of a run %s are wu's to see", run); !strings.Contains(string(r.body), want) {
			t.Errorf("%s", r.body)
		}
	}
}

// owners prove what the test says.
type owners struct {
	n     *node
	proof heldorder.Found
}

func (o owners) Prove(ctx context.Context, run, by string) error {
	l, err := o.n.store.Orders(ctx, run)
	if err != nil {
		return err
	}
	e := l.Entries()[0]
	p := heldorder.Proof{Ref: e.Ref(), Found: o.proof, Status: 201, Ownership: estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: 2}}
	_, _, err = o.n.store.SayOrders(ctx, run, by, heldorder.Word{What: heldorder.Ask, By: by, Proofs: []heldorder.Proof{p}}, nil, false)
	return err
}

func TestOwnersAreAskedByWhoSteersTheRun(t *testing.T) {
	n := start(t)
	n.takenOver("r")
	n.as("operator").hands(200, "?holder=branch-north", heldOrders)
	n.as("viewer").want(403, "POST", "/api/v1/runs/r/orders/proofs", nil)
	n.takesPart("li", "branch-north").want(403, "POST", "/api/v1/runs/r/orders/proofs", nil)
	var a wire.OrdersAnswer
	n.as("operator").want(200, "POST", "/api/v1/runs/r/orders/proofs", nil).into(t, &a)
	if a.New != 1 || a.Totals.Entered != 1 || a.Totals.EnteredAmount != "10.00" || a.Totals.Open != 1 {
		t.Errorf("%+v", a)
	}
	n.as("operator").want(409, "POST", "/api/v1/runs/r/orders/dropped", wire.DropOrders{Orders: []heldorder.Ref{{Holder: "branch-north", Reference: "N-1"}}, Reason: "why"})
}
