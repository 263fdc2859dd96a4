package heldorder_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/heldorder"
)

func reader() heldorder.Reader {
	return heldorder.Reader{Holder: "branch", System: "core", Unit: func(system estate.SystemID, account string) (estate.UnitID, error) {
		if system != "core" && system != "cards" {
			return "", fmt.Errorf("there is no system %s; allowed: core, cards", system)
		}
		return estate.UnitID("u" + account[len(account)-1:]), nil
	}}
}

func TestOrdersAreReadFromAFile(t *testing.T) {
	text := "\ufeffreference,time,account,key,amount,note,kind,system,caller\r\n" +
		"B-1,2026-11-23T20:00:00+08:00,acc-1,k-1,10.50,\"wages, urgent\",,,\r\n" +
		"B-2,2026-11-23T12:00:01Z,acc-2,k-2,7,,dr,cards,teller\r\n"
	orders, line, problems := reader().Read([]byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []heldorder.Order{
		{Holder: "branch", Reference: "B-1", Kind: heldorder.Held, System: "core", Unit: "u1", Account: "acc-1", Caller: "anonymous", Key: "k-1", Amount: "10.50", At: noon, Note: "wages, urgent"},
		{Holder: "branch", Reference: "B-2", Kind: heldorder.DR, System: "cards", Unit: "u2", Account: "acc-2", Caller: "teller", Key: "k-2", Amount: "7", At: noon.Add(time.Second)},
	}
	if diff := cmp.Diff(want, orders); diff != "" || line(1) != 3 {
		t.Errorf("line %d: %s", line(1), diff)
	}
}

func TestExampleOfOrdersIsRead(t *testing.T) {
	data, err := os.ReadFile("../../examples/estate/held-orders.csv")
	if err != nil {
		t.Fatal(err)
	}
	orders, _, problems := reader().Read(data)
	if len(problems) > 0 || len(orders) < 2 {
		t.Errorf("%v, %v", orders, problems)
	}
}

func TestWrongFilesSayWhereAndWhatIsAllowed(t *testing.T) {
	const head = "reference,account,key,amount,time,kind,system,caller,note\n"
	const rest = ",2026-11-23T12:00:00Z,,,,\n"
	for name, c := range map[string][2]string{
		"nothing":             {"", "line 1: the first line has to name the columns: reference,account,key,amount,time"},
		"a column is missing": {"reference,account,key,amount\n", "line 1, time: the column is missing"},
		"a column twice":      {"reference,account,key,amount,time,time\n", "line 1, time: the column is there twice"},
		"another column":      {"reference,account,key,amount,time,colour\n", "line 1, colour: there is no such column; allowed: reference, account"},
		"few fields":          {head + "1,acc-1,k1\n", "line 2: it has 3 fields, and the first line names 9"},
		"quotes":              {head + "1,acc\"-1,k1,1" + rest, "line 2: this cannot be read as CSV"},
		"no reference":        {head + ",acc-1,k1,1" + rest, "line 2, reference: is missing"},
		"no amount":           {head + "1,acc-1,k1,1,000" + rest, "line 2: it has 10 fields"},
		"thousands":           {head + "1,acc-1,k1,\"1,000\"" + rest, "line 2, amount: has to be a decimal above 0"},
		"below 0":             {head + "1,acc-1,k1,-1" + rest, "line 2, amount: has to be"},
		"a fraction":          {head + "1,acc-1,k1,1/2" + rest, "line 2, amount: has to be"},
		"nought":              {head + "1,acc-1,k1,0.0" + rest, "line 2, amount: has to be"},
		"a time of day":       {head + "1,acc-1,k1,1,12:00,,,,\n", "line 2, time: \"12:00\" has to be an instant such as"},
		"kind":                {head + "1,acc-1,k1,1,2026-11-23T12:00:00Z,paper,,,\n", "line 2, kind: has to be held"},
		"system":              {head + "1,acc-1,k1,1,2026-11-23T12:00:00Z,,cores,,\n", "line 2, account: there is no system cores"},
		"a key with a space":  {head + "1,acc-1,k 1,1" + rest, "line 2, key: has to be visible ASCII"},
		"a blank in front":    {head + "1, acc-1,k1,1" + rest, "line 2, account: has to be text of one line"},
		"two lines":           {head + "1,acc-1,k1,1,2026-11-23T12:00:00Z,,,,\"a\nb\"\n", "line 2, note: has to be text of one line"},
		"long":                {head + strings.Repeat("x", 65) + ",acc-1,k1,1" + rest, "line 2, reference: is too long: 64 bytes"},
		"all lines are told":  {head + "1,acc-1,k1,x" + rest + "2,acc-1,k2,1" + rest + "3,acc-1,k3,y" + rest, "line 4, amount"},
		"up to some":          {head + strings.Repeat("1,acc-1,k1,x"+rest, 30), "and 1 more"},
		"latin":               {head + "1,acc-1,k1,1,2026-11-23T12:00:00Z,,,,Z\xfcrich\n", "line 2, note"},
	} {
		orders, _, problems := reader().Read([]byte(c[0]))
		err := heldorder.Wrong(problems)
		if orders != nil || errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v, %v; want %q", name, orders, err, c[1])
		}
	}
	if _, _, problems := reader().Read(make([]byte, heldorder.MostBytes+1)); len(problems) != 1 {
		t.Error(problems)
	}
}

// FuzzRead: whatever a file has, it is orders that a ledger takes, or problems with their lines.
func FuzzRead(f *testing.F) {
	f.Add([]byte("reference,account,key,amount,time\n1,acc-1,k1,10.00,2026-11-23T12:00:00Z\n2,acc-2,k2,1,2026-11-23T12:00:00Z\n"))
	f.Add([]byte("\ufeffreference,account,key,amount,time,kind,note\r\n\"1\",acc-1,k1,10.00,2026-11-23T12:00:00+08:00,dr,\"a, b\"\r\n"))
	f.Add([]byte("reference,account,key,amount,time\n\"1,acc-1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		orders, line, problems := reader().Read(data)
		if (len(problems) > 0) != (heldorder.Wrong(problems) != nil) || len(problems) > 0 && orders != nil {
			t.Fatalf("%d orders, %v", len(orders), problems)
		}
		if len(problems) > 0 {
			return
		}
		l := &heldorder.Ledger{Run: "r"}
		w, problems, err := l.Judge(heldorder.Word{What: heldorder.Import, By: "ann", Orders: orders}, line)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems { // only what one line alone does not show
			if p.Line < 2 || p.Field != "reference" && p.Field != "key" {
				t.Fatalf("%+v", p)
			}
		}
		if len(problems) == 0 && !w.Empty() {
			if err := l.Add(w); err != nil {
				t.Fatal(err)
			}
		}
	})
}
