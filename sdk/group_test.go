package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"perdure/sdk"
)

// grouped sends a request for every key at once and gives what came of them, in their order.
func (c *counter) grouped(u *sdk.Unit, function string, keys ...string) []settled {
	c.Helper()
	var waits []<-chan settled
	for _, key := range keys {
		waits = append(waits, c.run(c.Context(), u, key, sdk.Grouped(function)))
	}
	var all []settled
	for _, w := range waits {
		all = append(all, <-w)
	}
	return all
}

func (c *counter) run(ctx context.Context, u *sdk.Unit, key string, w sdk.Work) <-chan settled {
	done := make(chan settled, 1)
	go func() {
		a, err := u.Run(ctx, sdk.Request{Caller: sdk.Anonymous, RoutingKey: "acc-1", Key: key, Hash: []byte("pay")}, w)
		done <- settled{a, err}
	}()
	return done
}

// count gives a number that the database knows.
func (c *counter) count(sql string, args ...any) (n int) {
	c.Helper()
	if err := c.agent.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		c.Fatalf("%s: %v", sql, err)
	}
	return n
}

func keysOf(prefix string, n int) []string {
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("%s-%d", prefix, i))
	}
	return keys
}

const shared = "select count(*) - count(distinct xid) from perdure.record where key like $1 || '-%'"

// together sends rounds of requests until some of one round have shared a transaction, and gives their prefix.
func (c *counter) together(u *sdk.Unit, function string) (prefix string) {
	c.Helper()
	n := 0
	c.server.Await("requests share a transaction", func(context.Context) error {
		n++
		prefix = fmt.Sprintf("%s-%d", function, n)
		for i, got := range c.grouped(u, function, keysOf(prefix, 16)...) {
			key := fmt.Sprintf("%s-%d", prefix, i)
			if got.error != nil || got.Outcome != sdk.Committed || string(got.Body) != `{"paid":"`+key+`"}` || got.Ownership != "1.ab12.1" {
				c.Fatalf("%s: %+v, %v", key, got.Answer, got.error)
			}
		}
		if c.count(shared, prefix) == 0 {
			return errors.New("each went by itself")
		}
		return nil
	})
	return prefix
}

func TestRequestsThatShareATransactionHaveTheirOwnEffectsAndAnswers(t *testing.T) {
	c := newCounter(t, nil)
	for _, function := range []string{"bank.claim", "bank.pay"} {
		prefix := c.together(c.unit, function)
		for i, key := range keysOf(prefix, 16) {
			if c.payments(key) != 1 {
				t.Errorf("%s has %d effects", key, c.payments(key))
			}
			if got := <-c.run(t.Context(), c.unit, key, sdk.Grouped(function)); got.error != nil || got.Outcome != sdk.Replayed || string(got.Body) != `{"paid":"`+key+`"}` {
				t.Errorf("repetition %d: %+v, %v", i, got.Answer, got.error)
			}
		}
	}
	alone := c.opened(sdk.Options{Together: 1})
	c.grouped(alone, "bank.claim", keysOf("alone", 16)...)
	if n := c.count(shared, "alone"); n != 0 {
		t.Errorf("%d requests shared a transaction with others where none may", n)
	}
}

func TestARequestThatFailsHarmsNobodyInItsGroup(t *testing.T) {
	c := newCounter(t, nil)
	c.server.Exec(`create function bank.odd(r perdure.request) returns perdure.answer language plpgsql volatile as $$
	declare v_owner text := perdure.claim(r);
	begin
	  insert into bank.payment (shape, key) values ('odd', r.key);
	  if r.key like 'bad-%' then raise exception 'it breaks'; end if;
	  if r.key like 'no-%' then return perdure.refuse(422, 'no'); end if;
	  return perdure.settle(r, 201, 'text/plain', convert_to(r.key, 'UTF8'), '{}', null);
	end $$`)
	u := c.opened(sdk.Options{RunningWait: -1})
	if got := <-c.run(t.Context(), u, "done", sdk.Function("bank.odd")); got.error != nil {
		t.Fatal(got.error)
	}
	for round := range 5 {
		good, bad, no := keysOf(fmt.Sprintf("good-%d", round), 10), fmt.Sprintf("bad-%d", round), fmt.Sprintf("no-%d", round)
		all := c.grouped(u, "bank.odd", append(good, bad, no, "done", "done")...)
		for i, key := range good {
			if got := all[i]; got.error != nil || got.Outcome != sdk.Committed || string(got.Body) != key || c.payments(key) != 1 {
				t.Errorf("%s: %+v, %v, %d effects", key, got.Answer, got.error, c.payments(key))
			}
		}
		var broke, refused *sdk.Failure
		if !errors.As(all[10].error, &broke) || broke.Outcome != sdk.Rejected || !strings.Contains(broke.Detail, "it breaks") || c.payments(bad) != 0 {
			t.Errorf("%s: %+v, %v, %d effects", bad, all[10].Answer, all[10].error, c.payments(bad))
		}
		if !errors.As(all[11].error, &refused) || refused.Outcome != sdk.Rejected || refused.SQLState != "PD010" || c.payments(no) != 0 {
			t.Errorf("%s: %+v, %v, %d effects", no, all[11].Answer, all[11].error, c.payments(no))
		}
		// The two with one key: each was told the stored answer, or that the other is being carried out.
		for _, got := range all[12:] {
			var running *sdk.Failure
			if got.Outcome != sdk.Replayed && (!errors.As(got.error, &running) || running.Outcome != sdk.Running) {
				t.Errorf("a repetition: %+v, %v", got.Answer, got.error)
			}
		}
	}
	if c.payments("done") != 1 {
		t.Errorf("%d effects of one key", c.payments("done"))
	}
}

func TestWhatCannotBeSentOrReadIsTheTroubleOfItsRequestOnly(t *testing.T) {
	c := newCounter(t, nil)
	c.server.Exec(`create function bank.several(r perdure.request, n int) returns perdure.answer language plpgsql volatile as $$
	declare v_owner text := perdure.claim(r);
	begin
	  insert into bank.payment (shape, key) values ('several', r.key);
	  return perdure.settle(r, 201, 'text/plain', convert_to(r.key, 'UTF8'), '{}', null);
	end $$`)
	c.server.Exec(`create function bank.wrong(r perdure.request, n int) returns perdure.request language plpgsql volatile as $$
	begin
	  perform bank.several(r, n);
	  return r;
	end $$`)
	u := c.opened(sdk.Options{}) // it waits a little for a key that the end of a group still holds
	for round := range 5 {
		var waits []<-chan settled
		keys := keysOf(fmt.Sprintf("number-%d", round), 12)
		for i, key := range keys {
			var w sdk.Work
			switch i {
			case 5:
				w = sdk.Grouped("bank.several", make(chan int))
			case 9:
				w = sdk.Grouped("bank.wrong", 1)
			default:
				w = sdk.Grouped("bank.several", i)
			}
			waits = append(waits, c.run(t.Context(), u, key, w))
		}
		for i, key := range keys {
			got := <-waits[i]
			var f *sdk.Failure
			switch {
			case i == 5 && (!errors.As(got.error, &f) || c.payments(key) != 0):
				t.Errorf("what cannot be sent: %+v, %v, %d effects", got.Answer, got.error, c.payments(key))
			case i == 9 && (!errors.As(got.error, &f) || f.Title != "The work gave no answer"):
				t.Errorf("what cannot be read: %+v, %v", got.Answer, got.error)
			case i != 5 && i != 9 && (got.error != nil || got.Outcome != sdk.Committed || c.payments(key) != 1):
				t.Errorf("%s: %+v, %v, %d effects", key, got.Answer, got.error, c.payments(key))
			}
		}
	}
}

func TestNewRequestsWithOneKeyInAGroupHaveOneEffect(t *testing.T) {
	c := newCounter(t, nil)
	u := c.opened(sdk.Options{RunningWait: time.Minute})
	for round := range 5 {
		key := fmt.Sprintf("same-%d", round)
		keys := append([]string{key, key, key}, keysOf(fmt.Sprintf("other-%d", round), 10)...)
		for i, got := range c.grouped(u, "bank.claim", keys...) {
			if got.error != nil || string(got.Body) != `{"paid":"`+keys[i]+`"}` || c.payments(keys[i]) != 1 {
				t.Errorf("%s: %+v, %v, %d effects", keys[i], got.Answer, got.error, c.payments(keys[i]))
			}
		}
	}
}

// Requests of two groups may lock the same rows in opposite orders, which no single one of them does.
func TestGroupsThatWaitForEachOtherFallApartAndAreDone(t *testing.T) {
	c := newCounter(t, map[string]string{"deadlock_timeout": "1h"}) // only the groups' own bound ends it
	c.server.Exec(`create table bank.account (id int primary key, n int not null); insert into bank.account select i, 0 from generate_series(0, 3) i;
	grant select, update on bank.account to perdure_app;
	create function bank.hot(r perdure.request, p_id int) returns perdure.answer language plpgsql volatile as $$
	declare v_owner text := perdure.claim(r);
	begin
	  update bank.account set n = n + 1 where id = p_id;
	  return perdure.settle(r, 201, 'text/plain', '', '{}', null);
	end $$`)
	const instances, each = 3, 40
	var waits []<-chan settled
	for i := range instances {
		u := c.opened(sdk.Options{})
		for n := range each {
			waits = append(waits, c.run(t.Context(), u, fmt.Sprintf("hot-%d-%d", i, n), sdk.Grouped("bank.hot", (n*(i+1)+n/4)%4)))
		}
	}
	for _, w := range waits {
		if got := <-w; got.error != nil {
			t.Fatal(got.error)
		}
	}
	if n := c.count("select sum(n)::int from bank.account"); n != instances*each {
		t.Errorf("%d effects of %d", n, instances*each)
	}
}

func TestAGroupBehindALockedRowFallsApartAndTheOthersGoOn(t *testing.T) {
	c := newCounter(t, nil)
	c.server.Exec(`create function bank.slow(r perdure.request) returns perdure.answer language plpgsql volatile as $$
	declare v_owner text := perdure.claim(r);
	begin
	  if r.key like 'slow-%' then perform pg_advisory_xact_lock(7); end if;
	  insert into bank.payment (shape, key) values ('slow', r.key);
	  return perdure.settle(r, 201, 'text/plain', '', '{}', null);
	end $$`)
	c.exec("select pg_advisory_lock(7)")
	u := c.opened(sdk.Options{})
	var slow []<-chan settled
	for _, key := range keysOf("slow", 4) { // two have a lane each, two are in groups
		slow = append(slow, c.run(t.Context(), u, key, sdk.Grouped("bank.slow")))
	}
	for i, got := range c.grouped(u, "bank.slow", keysOf("quick", 6)...) {
		if got.error != nil {
			t.Errorf("request %d beside those that wait: %v", i, got.error)
		}
	}
	c.exec("select pg_advisory_unlock(7)")
	for i, w := range slow {
		if got := <-w; got.error != nil {
			t.Errorf("request %d that waited: %v", i, got.error)
		}
	}
	if n := c.count("select count(*) from bank.payment"); n != 10 {
		t.Errorf("%d effects of 10", n)
	}
}

func TestAGroupWhoseCommitIsCutShortIsUnknownToEachOfIt(t *testing.T) {
	c := newCounter(t, nil)
	for how, end := range map[string]string{"lost": "select pg_terminate_backend($1)", "cancelled": "select pg_cancel_backend($1)"} {
		c.stalled()
		keys := keysOf(how, 10)
		var waits []<-chan settled
		for _, key := range keys {
			waits = append(waits, c.run(t.Context(), c.unit, key, sdk.Grouped("bank.pay")))
		}
		const written = "select count(distinct pid) from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'perdure-sdk'"
		var left int
		c.server.Await("no request is on its way but in a commit", func(ctx context.Context) error {
			left = c.count("select count(*) from pg_stat_activity where application_name = 'perdure-sdk' and state = 'active' and wait_event is distinct from 'SyncRep'")
			if n := c.count(written); n < 3 || left > 0 {
				return fmt.Errorf("%d commits wait, %d are active", n, left)
			}
			return nil
		})
		for answered := 0; answered < len(waits); {
			rows, err := c.agent.Query(t.Context(), "select pid from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'perdure-sdk'")
			if err != nil {
				t.Fatal(err)
			}
			var pids []int
			for rows.Next() {
				var pid int
				if err := rows.Scan(&pid); err != nil {
					t.Fatal(err)
				}
				pids = append(pids, pid)
			}
			for _, pid := range pids {
				c.exec(end, pid)
			}
			answered = 0
			for _, w := range waits {
				answered += len(w)
			}
		}
		for i, w := range waits {
			var f *sdk.Failure
			if got := <-w; !errors.As(got.error, &f) || f.Outcome != sdk.Unknown {
				t.Errorf("%s, %s: %+v, %v", how, keys[i], got.Answer, got.error)
			}
		}
		c.released()
		for _, key := range keys {
			c.server.Await("the repetition is answered", func(ctx context.Context) error {
				got := <-c.run(ctx, c.unit, key, sdk.Grouped("bank.pay"))
				if got.error == nil && got.Outcome != sdk.Replayed {
					t.Fatalf("%s, %s had a second effect: %+v", how, key, got.Answer)
				}
				return got.error
			})
			if c.payments(key) != 1 {
				t.Errorf("%s, %s: %d effects", how, key, c.payments(key))
			}
		}
	}
}

func TestClientThatLeavesAGroupCancelsNothingAndHoldsUpNobody(t *testing.T) {
	c := newCounter(t, nil)
	c.stalled()
	ctx, leave := context.WithCancel(t.Context())
	u := c.opened(sdk.Options{MaxConns: 3})
	keys := keysOf("left", 12) // two alone, a group on the third connection, the rest waits
	var waits []<-chan settled
	for i, key := range keys {
		of := ctx
		if i%2 == 1 {
			of = t.Context()
		}
		waits = append(waits, c.run(of, u, key, sdk.Grouped("bank.pay")))
	}
	c.server.Await("three commits wait", func(context.Context) error {
		if n := c.count("select count(*) from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'perdure-sdk'"); n != 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	leave()
	nothing := map[string]bool{}
	for i := 0; i < len(keys); i += 2 {
		var f *sdk.Failure
		if got := <-waits[i]; !errors.As(got.error, &f) || f.Outcome != sdk.Unknown && f.Outcome != sdk.NotOwner {
			t.Errorf("%s left: %+v, %v", keys[i], got.Answer, got.error)
		} else {
			nothing[keys[i]] = f.Outcome == sdk.NotOwner
		}
	}
	c.released()
	for i := 1; i < len(keys); i += 2 {
		if got := <-waits[i]; got.error != nil || got.Outcome != sdk.Committed {
			t.Errorf("%s stayed: %+v, %v", keys[i], got.Answer, got.error)
		}
	}
	for i := 0; i < len(keys); i += 2 {
		if want := map[bool]int{true: 0, false: 1}[nothing[keys[i]]]; c.payments(keys[i]) != want {
			c.server.Await("what was on its way is done", func(context.Context) error {
				if n := c.payments(keys[i]); n != want {
					return fmt.Errorf("%s: %d effects, want %d", keys[i], n, want)
				}
				return nil
			})
		}
	}
}

func TestClientsThatLeaveBeforeTheirGroupHasAConnectionLeaveNothing(t *testing.T) {
	c := newCounter(t, nil)
	c.stalled()
	u := c.opened(sdk.Options{MaxConns: 3})
	var held []<-chan settled
	for _, key := range keysOf("held", 3) {
		held = append(held, c.run(t.Context(), u, key, sdk.Function("bank.pay")))
	}
	c.server.Await("all connections are in use", func(context.Context) error {
		if n := c.count("select count(*) from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'perdure-sdk'"); n != 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	ctx, leave := context.WithTimeout(t.Context(), 300*time.Millisecond) // a group is made in the meantime, and waits
	defer leave()
	keys := keysOf("early", 12)
	var waits []<-chan settled
	for _, key := range keys {
		waits = append(waits, c.run(ctx, u, key, sdk.Grouped("bank.pay")))
	}
	for i, key := range keys {
		var f *sdk.Failure
		if got := <-waits[i]; !errors.As(got.error, &f) || f.Outcome != sdk.NotOwner {
			t.Errorf("%s: %+v, %v", key, got.Answer, got.error)
		}
	}
	c.released()
	for _, w := range held {
		if got := <-w; got.error != nil {
			t.Error(got.error)
		}
	}
	if got := <-c.run(t.Context(), u, "after", sdk.Grouped("bank.pay")); got.error != nil {
		t.Error(got.error)
	}
	for _, key := range keys {
		if n := c.payments(key); n != 0 {
			t.Errorf("%s has %d effects", key, n)
		}
	}
}

func TestAGroupGoesOnWhereTheUnitIsClosedAndOpened(t *testing.T) {
	c := newCounter(t, nil)
	c.exec("select perdure.close(array['u1'])")
	for i, got := range c.grouped(c.unit, "bank.claim", keysOf("closed", 16)...) {
		var f *sdk.Failure
		if !errors.As(got.error, &f) || f.Outcome != sdk.NotOwner {
			t.Errorf("%d: %+v, %v", i, got.Answer, got.error)
		}
	}
	c.open(2)
	for i, got := range c.grouped(c.unit, "bank.claim", keysOf("closed", 16)...) {
		if got.error != nil || got.Outcome != sdk.Committed || got.Ownership != "1.ab12.2" {
			t.Errorf("%d: %+v, %v", i, got.Answer, got.error)
		}
	}
}

func TestClosingAUnitAnswersThoseThatWaitInGroups(t *testing.T) {
	c := newCounter(t, nil)
	c.stalled()
	u, err := sdk.Open("u1", c.server.URL("perdure_app"), sdk.Options{MaxConns: 3})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	var waits []<-chan settled
	for _, key := range keysOf("closing", 12) {
		waits = append(waits, c.run(ctx, u, key, sdk.Grouped("bank.pay")))
	}
	c.server.Await("three commits wait", func(context.Context) error {
		if n := c.count("select count(*) from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'perdure-sdk'"); n != 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	leave()
	for _, w := range waits {
		if got := <-w; got.error == nil {
			t.Errorf("%+v", got.Answer)
		}
	}
	u.Close() // it would hang while a connection is in use
}
