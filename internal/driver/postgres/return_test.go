package postgres

import (
	"slices"
	"testing"

	"perdure/internal/driver"
)

// failedOver gives a former owner, killed with commits that its copy does not have, and its open successor.
func failedOver(t *testing.T) (old, successor *member) {
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	link := p.behindLink()
	s.copyOf(p)
	p.growTo(s)
	p.paid("both-1")
	p.paid("both-2")
	link.freeze()
	for _, key := range []string{"lost-1", "lost-2", "retried"} {
		p.payInBackground(key)
	}
	unkeyed := p.app()
	go func() { _, _ = unkeyed.Exec(p.ctx(), "insert into account values ('unkeyed', 1)") }()
	nested := p.app()
	go func() {
		_, _ = nested.Exec(p.ctx(), `do $$ begin begin perform perdure.enter('u1'); insert into account values ('nested', 1); exception when division_by_zero then null; end; end $$`)
	}()
	p.until("the commits wait for the copy", func(o driver.Observation) bool { return o.WaitingCommits == 5 })
	p.kill()
	link.cut()
	link.thaw()
	if _, err := s.Sever(s.ctx()); err != nil {
		t.Fatal(err)
	}
	s.must(s.Promote(s.ctx()))
	s.open(2)
	return p, s
}

func TestDivergedTransactionsAreExact(t *testing.T) {
	p, s := failedOver(t)
	s.paid("retried")
	s.paid("new")
	d, err := p.Diverged(p.ctx(), s.up())
	p.must(err)
	t.Logf("%+v", d)
	var keys []string
	for _, x := range d.Transactions {
		keys = append(keys, x.Key)
		if x.Settled != (x.Key == "retried") {
			t.Errorf("%s: settled %v", x.Key, x.Settled)
		}
		if x.Commit < d.From || x.Commit >= d.Until || x.Amount != "12.5" || x.Unit != "u1" || !slices.Equal(x.Accounts, []string{"of-" + x.Key}) {
			t.Errorf("%+v", x)
		}
	}
	slices.Sort(keys)
	if want := []string{"lost-1", "lost-2", "retried"}; !slices.Equal(keys, want) {
		t.Errorf("diverged %v, want %v", keys, want)
	}
	if d.Unkeyed != 2 {
		t.Errorf("%d transactions without a key, want 2", d.Unkeyed)
	}
	again, err := p.Diverged(p.ctx(), s.up())
	p.must(err)
	if len(again.Transactions) != 3 || again.Unkeyed != 2 {
		t.Errorf("the second list differs: %+v", again)
	}
	p.must(p.Rewind(p.ctx(), s.up(), nil))
	if got := p.observe().Directory; got != driver.Standby {
		t.Fatalf("the rewound directory is %s", got)
	}
	p.must(s.EnsureFollower(s.ctx(), "u1-a"))
	p.life++
	p.must(p.Follow(p.ctx(), s.up(), p.now()))
	p.streams()
	s.growTo(p)
	if got, want := p.keys(), []string{"both-1", "both-2", "new", "retried"}; !slices.Equal(got, want) {
		t.Errorf("the returned copy has %v, want %v", got, want)
	}
}
