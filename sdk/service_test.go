package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/guard"
	"perdure/internal/pgtest"
	"perdure/sdk"
)

// businessSQL is the least business: every payment leaves one row.
const businessSQL = `
create schema bank;
create table bank.payment (id bigint generated always as identity, shape text not null, key text not null);
select perdure.protect('bank.payment');
grant usage on schema bank to perdure_app;
grant select, insert on bank.payment to perdure_app;
create function bank.pay(r perdure.request) returns perdure.answer language plpgsql volatile as $$
declare a perdure.answer;
begin
  a := perdure.once(r);
  if a.status is not null then return a; end if;
  insert into bank.payment (shape, key) values ('function', r.key);
  return perdure.settle(r, 201, 'application/json', convert_to('{"paid":"' || r.key || '"}', 'UTF8'), array['acc-1'], 5);
end $$;
-- This one does not look first, and can be paid once only, by whatever key.
create function bank.claim(r perdure.request) returns perdure.answer language plpgsql volatile as $$
declare v_owner text := perdure.claim(r);
begin
  if exists (select from bank.payment p where p.shape = 'once only') and r.routing_key = 'once only' then
    raise exception using errcode = 'P0001', message = 'nothing is left to be paid';
  end if;
  insert into bank.payment (shape, key) values (case r.routing_key when 'once only' then 'once only' else 'claim' end, r.key);
  return perdure.settle(r, 201, 'application/json', convert_to('{"paid":"' || r.key || '"}', 'UTF8'), array['acc-1'], 5);
end $$;`

// counter is a service with the three shapes of work, on a real server.
type counter struct {
	*testing.T
	server *pgtest.Server
	agent  *pgx.Conn
	unit   *sdk.Unit
	http   *httptest.Server
}

func newCounter(t *testing.T, settings map[string]string) *counter {
	t.Helper()
	s := pgtest.Start(t, pgtest.Options{Settings: settings})
	c := &counter{T: t, server: s, agent: s.Connect()}
	if err := guard.Install(t.Context(), c.agent); err != nil {
		t.Fatal(err)
	}
	c.exec(guard.SessionSQL)
	s.Exec(businessSQL)
	c.open(1)
	var err error
	if c.unit, err = sdk.Open("u1", s.URL("perdure_app"), sdk.Options{RunningWait: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.unit.Close)
	service := &sdk.Service{Units: map[string]*sdk.Unit{"u1": c.unit}}
	mux := http.NewServeMux()
	handle := func(shape string, work func(*sdk.Incoming) sdk.Work) {
		mux.Handle("POST /"+shape, service.Handle(func(in *sdk.Incoming) (sdk.Work, error) {
			in.RoutingKey = "acc-1" // there is no gateway here
			return work(in), nil
		}))
	}
	insert := "insert into bank.payment (shape, key) values ($1, $2)"
	paid := func(in *sdk.Incoming) sdk.Result {
		return sdk.Result{Status: 201, ContentType: "application/json", Body: fmt.Appendf(nil, `{"paid":%q}`, in.Header.Get(sdk.HeaderKey)), Accounts: []string{"acc-1"}, Amount: "5"}
	}
	handle("function", func(*sdk.Incoming) sdk.Work { return sdk.Function("bank.pay") })
	handle("claim", func(*sdk.Incoming) sdk.Work { return sdk.Function("bank.claim") })
	handle("pipeline", func(in *sdk.Incoming) sdk.Work {
		return sdk.Pipeline{
			Queue:  func(b *pgx.Batch) { b.Queue(insert, "pipeline", in.Header.Get(sdk.HeaderKey)) },
			Result: paid(in),
		}
	})
	handle("interactive", func(in *sdk.Incoming) sdk.Work {
		return sdk.Interactive(func(ctx context.Context, tx sdk.Tx) (sdk.Result, error) {
			if _, err := tx.Exec(ctx, insert, "interactive", in.Header.Get(sdk.HeaderKey)); err != nil {
				return sdk.Result{}, err
			}
			if bytes.Contains(in.Payload, []byte("too much")) {
				return sdk.Result{}, sdk.Refuse(http.StatusUnprocessableEntity, "Insufficient funds", "it is too much")
			}
			return paid(in), nil
		})
	})
	c.http = httptest.NewServer(mux)
	t.Cleanup(c.http.Close)
	return c
}

func (c *counter) exec(sql string, args ...any) {
	c.Helper()
	if _, err := c.agent.Exec(context.Background(), sql, args...); err != nil {
		c.Fatalf("%s: %v", sql, err)
	}
}

func (c *counter) open(epoch int) {
	c.Helper()
	c.exec(guard.OpenSQL, []string{"u1"}, 1, "ab12", epoch, "u1-a")
}

type said struct {
	status int
	header http.Header
	body   string
}

func (c *counter) post(shape, key, body string) said {
	c.Helper()
	r, err := http.NewRequestWithContext(c.Context(), http.MethodPost, c.http.URL+"/"+shape, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	if key != "" {
		r.Header.Set(sdk.HeaderKey, key)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatal(err)
	}
	return said{res.StatusCode, res.Header, string(text)}
}

// payments counts the effects of a key.
func (c *counter) payments(key string) int {
	c.Helper()
	var n int
	if err := c.agent.QueryRow(context.Background(), "select count(*) from bank.payment where key = $1", key).Scan(&n); err != nil {
		c.Fatal(err)
	}
	return n
}

// want looks at an answer and at the number of effects that its key has had.
func (c *counter) want(got said, status int, outcome, key string, effects int) {
	c.Helper()
	if got.status != status || got.header.Get(sdk.HeaderOutcome) != outcome {
		c.Errorf("%d %q %s, want %d %q", got.status, got.header.Get(sdk.HeaderOutcome), got.body, status, outcome)
	}
	if n := c.payments(key); n != effects {
		c.Errorf("key %s had %d effects, want %d", key, n, effects)
	}
}

func TestEveryShapeKeepsTheContractOfTheKey(t *testing.T) {
	c := newCounter(t, nil)
	for _, shape := range []string{"function", "claim", "pipeline", "interactive"} {
		key := "k-" + shape
		c.want(c.post(shape, "", "pay"), 400, "", "", 0)
		first := c.post(shape, key, "pay")
		c.want(first, 201, "committed", key, 1)
		if o := first.header.Get(sdk.HeaderOwnership); o != "1.ab12.1" {
			t.Errorf("%s: ownership %q", shape, o)
		}
		var receipt struct {
			Seq      int64
			Amount   string
			Accounts []string
		}
		if err := json.Unmarshal([]byte(first.header.Get(sdk.HeaderReceipt)), &receipt); err != nil || receipt.Amount != "5" || receipt.Seq == 0 || len(receipt.Accounts) != 1 {
			t.Errorf("%s: receipt %s, %v", shape, first.header.Get(sdk.HeaderReceipt), err)
		}
		again := c.post(shape, key, "pay")
		c.want(again, 201, "replayed", key, 1)
		if again.body != first.body || again.header.Get("Content-Type") != first.header.Get("Content-Type") || again.header.Get(sdk.HeaderReplayed) != "true" {
			t.Errorf("%s: the repetition says %+v, the first said %+v", shape, again, first)
		}
		c.want(c.post(shape, key, "pay more"), 422, "", key, 1)
		if quoted := c.post(shape, `"`+key+`"`, "pay"); quoted.status != 201 || quoted.header.Get(sdk.HeaderOutcome) != "replayed" {
			t.Errorf("%s: the same key in quotes: %+v", shape, quoted)
		}
	}
	// A refusal of the business is a result like any other: stored, and repeated word for word.
	first := c.post("interactive", "k-refused", "too much")
	c.want(first, 422, "refused", "k-refused", 0)
	again := c.post("interactive", "k-refused", "too much")
	c.want(again, 422, "replayed", "k-refused", 0)
	if again.body != first.body {
		t.Errorf("the refusal changed from %s to %s", first.body, again.body)
	}
}

// A function that claims does its work before anybody knows that it was done already; where the work cannot be done twice, the client
// still gets the first answer.
func TestARepetitionWhoseWorkFailsGetsTheStoredAnswer(t *testing.T) {
	c := newCounter(t, nil)
	run := func(key string) (sdk.Answer, error) {
		return c.unit.Run(t.Context(), sdk.Request{Caller: sdk.Anonymous, RoutingKey: "once only", Key: key, Hash: []byte("pay")}, sdk.Function("bank.claim"))
	}
	first, err := run("k1")
	if err != nil || first.Outcome != sdk.Committed {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := run("k1")
	if err != nil || again.Outcome != sdk.Replayed || string(again.Body) != string(first.Body) || again.Seq != first.Seq {
		t.Errorf("the repetition gave %+v, %v; the first %+v", again, err, first)
	}
	var failure *sdk.Failure
	if _, err := run("k2"); !errors.As(err, &failure) || failure.Outcome != sdk.Rejected || failure.SQLState != "P0001" {
		t.Errorf("another key gave %v", err)
	}
	if c.payments("k1") != 1 || c.payments("k2") != 0 {
		t.Errorf("%d and %d effects", c.payments("k1"), c.payments("k2"))
	}
}

// Where connections are few, each turn for one may take seconds: whoever has had one goes on with it.
func TestARequestTakesOneTurnForAConnectionHoweverOftenItsWorkIsBegun(t *testing.T) {
	c := newCounter(t, nil)
	request := func(key string) sdk.Request {
		return sdk.Request{Caller: sdk.Anonymous, RoutingKey: "acc-1", Key: key, Hash: []byte("pay")}
	}
	refused := sdk.Pipeline{Queue: func(b *pgx.Batch) { b.Queue("select perdure.refuse(422, 'it is too much')") }}
	declined := sdk.Interactive(func(context.Context, sdk.Tx) (sdk.Result, error) {
		return sdk.Result{}, sdk.Refuse(http.StatusUnprocessableEntity, "Refused", "it is too much")
	})
	c.server.Exec(`create sequence bank.tries; grant usage on sequence bank.tries to perdure_app;
	create function bank.third(r perdure.request) returns perdure.answer language plpgsql volatile as $$
	declare v_owner text := perdure.claim(r);
	begin
	  if nextval('bank.tries') < 3 then raise exception using errcode = '40P01', message = 'a deadlock'; end if;
	  return perdure.settle(r, 201, 'text/plain', '', '{}', null);
	end $$`)
	for _, step := range []struct {
		what, key string
		work      sdk.Work
		outcome   sdk.Outcome
	}{
		{"a new request", "k1", sdk.Function("bank.claim"), sdk.Committed},
		{"its repetition, which finds out at its end", "k1", sdk.Function("bank.claim"), sdk.Replayed},
		{"a refusal in a pipeline", "k2", refused, sdk.Refused},
		{"a refusal in code", "k3", declined, sdk.Refused},
		{"the victim of two deadlocks", "k4", sdk.Function("bank.third"), sdk.Committed},
	} {
		before := c.unit.Turns()
		a, err := c.unit.Run(t.Context(), request(step.key), step.work)
		if err != nil || a.Outcome != step.outcome {
			t.Errorf("%s: %+v, %v", step.what, a, err)
		}
		if n := c.unit.Turns() - before; n != 1 {
			t.Errorf("%s took %d turns for a connection", step.what, n)
		}
	}
}

// A function that settles another request than its own, which is recorded, fails: the key itself has no answer, and that is said once.
func TestWorkThatSettlesAnotherRequestFails(t *testing.T) {
	c := newCounter(t, nil)
	c.server.Exec(`create function bank.other(r perdure.request) returns perdure.answer language plpgsql volatile as $$
	declare v_owner text := perdure.claim(r);
	begin
	  r.key := 'k-done';
	  return perdure.settle(r, 201, 'text/plain', '', '{}', null);
	end $$`)
	run := func(key, function string) error {
		_, err := c.unit.Run(t.Context(), sdk.Request{Caller: sdk.Anonymous, RoutingKey: "acc-1", Key: key, Hash: []byte("pay")}, sdk.Function(function))
		return err
	}
	if err := run("k-done", "bank.pay"); err != nil {
		t.Fatal(err)
	}
	var failure *sdk.Failure
	if err := run("k-new", "bank.other"); !errors.As(err, &failure) || failure.SQLState != "23505" || failure.Outcome != sdk.Rejected {
		t.Errorf("%v", err)
	}
}

// The time that the SDK reads from a key is the one that the database would read.
func TestKeyTimeIsTheDatabases(t *testing.T) {
	c := newCounter(t, nil)
	now := time.Now()
	for _, key := range []string{
		"01890a5d-ac96-774b-bcce-b302099a8057", "01890A5D-AC96-774B-BCCE-B302099A8057", "01890a5d-ac96-474b-bcce-b302099a8057",
		"01890a5d-ac96-774b-7cce-b302099a8057", "01890a5dxac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a805g",
		"0189-a5d-ac96-774b-bcce-b302099a8057", "ffffffff-ffff-7fff-bfff-ffffffffffff", "00000000-0000-7000-8000-000000000000",
		"01H455VB4PEX5VSKNK084SN02Q", "81H455VB4PEX5VSKNK084SN02Q", "00000000000000000000000000", "01h455vb4pex5vsknk084sn02q",
		"7ZZZZZZZZZEX5VSKNK084SN02Q", "01H455VB4PEX5VSKNK084SN0IQ", "order-17", "", strings.Repeat("é", 18),
	} {
		var made *time.Time
		if err := c.agent.QueryRow(t.Context(), "select perdure.key_time($1)", key).Scan(&made); err != nil {
			t.Errorf("%q: %v", key, err)
			continue
		}
		at, ok := sdk.KeyTime(key, now)
		if ok != (made != nil) || ok && !at.Equal(made.Round(time.Millisecond)) {
			t.Errorf("%q: KeyTime gives %v, %v; perdure.key_time gives %v", key, at, ok, made)
		}
	}
}

func TestRunningRequestIsToldApartFromADoneOne(t *testing.T) {
	c := newCounter(t, nil)
	other := c.server.ConnectAs("perdure_app")
	for _, sql := range []string{"begin", "select perdure.once(row('u1', 0, 'anonymous', 'acc-1', 'k1', $1, null)::perdure.request)"} {
		var args []any
		if sql != "begin" {
			args = append(args, sdk.Fingerprint("POST", "/function", []byte("pay")))
		}
		if _, err := other.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	running := c.post("function", "k1", "pay")
	c.want(running, 409, "running", "k1", 0)
	if running.header.Get("Retry-After") == "" {
		t.Error("409 without Retry-After")
	}
	if _, err := other.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	c.want(c.post("function", "k1", "pay"), 201, "committed", "k1", 1)
}

// atWork has somebody else carry out a key until the function it gives is called.
func (c *counter) atWork(key string) (end func()) {
	c.Helper()
	other := c.server.ConnectAs("perdure_app")
	for _, sql := range []string{"begin", "select perdure.once(row('u1', 0, 'anonymous', 'acc-1', '" + key + "', 'pay', null)::perdure.request)"} {
		if _, err := other.Exec(c.Context(), sql); err != nil {
			c.Fatal(err)
		}
	}
	return func() {
		c.Helper()
		if _, err := other.Exec(c.Context(), "rollback"); err != nil {
			c.Fatal(err)
		}
	}
}

// opened is another instance's way to the unit's database.
func (c *counter) opened(o sdk.Options) *sdk.Unit {
	c.Helper()
	u, err := sdk.Open("u1", c.server.URL("perdure_app"), o)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(u.Close)
	return u
}

// settled is what a Run has come to.
type settled struct {
	sdk.Answer
	error
}

// started begins a request beside the test.
func (c *counter) started(u *sdk.Unit, key, function string, args ...any) <-chan settled {
	done := make(chan settled, 1)
	go func() {
		a, err := u.Run(c.Context(), sdk.Request{Caller: sdk.Anonymous, RoutingKey: "acc-1", Key: key, Hash: []byte("pay")}, sdk.Function(function, args...))
		done <- settled{a, err}
	}()
	return done
}

func (c *counter) turns(u *sdk.Unit, n int64) {
	c.Helper()
	c.server.Await(fmt.Sprintf("%d turns for a connection", n), func(context.Context) error {
		if got := u.Turns(); got < n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
}

func TestARequestWaitsForAnotherWithItsKeyOnTheConnectionItHas(t *testing.T) {
	c := newCounter(t, nil)
	u := c.opened(sdk.Options{MaxConns: 2, RunningWait: time.Minute})
	end1, end2 := c.atWork("k1"), c.atWork("k2")
	first := c.started(u, "k1", "bank.claim")
	c.turns(u, 1)
	second := c.started(u, "k2", "bank.claim")
	c.turns(u, 3) // one of the two gives its connection back, again and again
	if got := <-c.started(u, "k3", "bank.claim"); got.error != nil || got.Outcome != sdk.Committed {
		t.Errorf("a request beside those that wait: %+v, %v", got.Answer, got.error)
	}
	end1()
	end2()
	for i, waits := range []<-chan settled{first, second} {
		if got := <-waits; got.error != nil || got.Outcome != sdk.Committed {
			t.Errorf("request %d, which waited: %+v, %v", i+1, got.Answer, got.error)
		}
	}

	end := c.atWork("k4")
	before := u.Turns()
	waits := c.started(u, "k4", "bank.claim")
	c.turns(u, before+1)
	end()
	if got := <-waits; got.error != nil || u.Turns() != before+1 {
		t.Errorf("%+v, %v after %d turns for a connection", got.Answer, got.error, u.Turns()-before)
	}
}

func TestTimeInTheQueueForAConnectionIsNoWaitForTheKey(t *testing.T) {
	c := newCounter(t, nil)
	c.server.Exec(`create function bank.slow(r perdure.request) returns perdure.answer language plpgsql volatile as $$
	declare v_owner text := perdure.claim(r);
	begin
	  perform pg_advisory_xact_lock(7);
	  return perdure.settle(r, 201, 'text/plain', '', '{}', null);
	end $$`)
	const patience = time.Second
	u := c.opened(sdk.Options{MaxConns: 2, RunningWait: patience})
	end := c.atWork("k1")
	c.exec("select pg_advisory_lock(7)")
	slow := []<-chan settled{c.started(u, "slow-1", "bank.slow"), c.started(u, "slow-2", "bank.slow")}
	c.turns(u, 2)
	queued := time.Now()
	waits := c.started(u, "k1", "bank.claim")
	c.server.Await("its patience would be over", func(context.Context) error {
		if time.Since(queued) < patience+100*time.Millisecond {
			return errors.New("not yet")
		}
		return nil
	})
	c.exec("select pg_advisory_unlock(7)")
	for _, s := range slow {
		if got := <-s; got.error != nil {
			t.Fatal(got.error)
		}
	}
	c.server.Await("it hears that its key is at work", func(context.Context) error {
		if !strings.Contains(c.server.Log(), "a request with this key is running") {
			return errors.New("not yet")
		}
		return nil
	})
	end()
	if got := <-waits; got.error != nil || got.Outcome != sdk.Committed {
		t.Errorf("%+v, %v", got.Answer, got.error)
	}
}

func TestNothingHappensWhereTheUnitIsNotOpen(t *testing.T) {
	c := newCounter(t, nil)
	c.want(c.post("function", "before", "pay"), 201, "committed", "before", 1)
	c.exec(guard.CloseSQL, []string{"u1"})
	for _, shape := range []string{"function", "pipeline", "interactive"} {
		got := c.post(shape, "k-"+shape, "pay")
		c.want(got, 503, "not-owner", "k-"+shape, 0)
		if got.header.Get(sdk.HeaderOwnership) != "" {
			t.Errorf("%s: who owns nothing speaks in ownership %s", shape, got.header.Get(sdk.HeaderOwnership))
		}
	}
	c.want(c.post("function", "before", "pay"), 503, "not-owner", "before", 1) // not even what is stored
	c.open(2)
	got := c.post("function", "k-function", "pay")
	c.want(got, 201, "committed", "k-function", 1)
	if o := got.header.Get(sdk.HeaderOwnership); o != "1.ab12.2" {
		t.Errorf("ownership %q", o)
	}
	again := c.post("function", "before", "pay")
	c.want(again, 201, "replayed", "before", 1)
	// A restart of the server is another life: closed until it is opened anew (I1).
	c.server.Restart()
	c.agent = c.server.Connect()
	c.server.Await("the new life refuses", func(context.Context) error {
		if got := c.post("function", "after", "pay"); got.status != 503 || got.header.Get(sdk.HeaderOutcome) != "not-owner" {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}

func TestKeyOutsideTheRetentionIsRefusedAndNotExecuted(t *testing.T) {
	c := newCounter(t, nil)
	c.exec("select perdure.set_retention('u1', interval '1 hour')")
	at := func(when time.Time) string { // a version 7 UUID carries its time
		ms := fmt.Sprintf("%012x", when.UnixMilli())
		return ms[:8] + "-" + ms[8:] + "-7abc-8abc-0123456789ab"
	}
	old, fresh := at(time.Now().Add(-2*time.Hour)), at(time.Now())
	got := c.post("function", old, "pay")
	c.want(got, 422, "", old, 0)
	if !strings.Contains(got.body, "too old") {
		t.Errorf("%s", got.body)
	}
	c.want(c.post("function", "aged", "pay"), 201, "committed", "aged", 1)
	c.want(c.post("function", fresh, "pay"), 201, "committed", fresh, 1)
	// What is older than the retention is purged, what is not stays.
	c.exec("update perdure.record set recorded_at = recorded_at - interval '2 hours' where key = 'aged'")
	if n, err := c.purge(); err != nil || n != 1 {
		t.Errorf("purged %d, %v", n, err)
	}
	c.want(c.post("function", fresh, "pay"), 201, "replayed", fresh, 1)
	// A longer retention brings no records back: what the former one had given up stays refused.
	c.exec("select perdure.set_retention('u1', interval '1 day')")
	c.want(c.post("function", old, "pay"), 422, "", old, 0)
	c.exec("select perdure.set_retention('u1', interval '1 day')") // said again, nothing is forgotten
	c.want(c.post("function", old, "pay"), 422, "", old, 0)
	kept := at(time.Now().Add(-30 * time.Minute))
	c.want(c.post("function", kept, "pay"), 201, "committed", kept, 1)
}

// purge does what the owner's agent does.
func (c *counter) purge() (int, error) {
	return sdk.Query(c.Context(), c.unit, func(rows pgx.Rows) (int, error) { return pgx.CollectExactlyOneRow(rows, pgx.RowTo[int]) },
		"select perdure.purge('u1', 100)")
}

func TestMessagesArePurgedToTheLastWhereThereAreMoreOfThemThanRecords(t *testing.T) {
	c := newCounter(t, nil)
	c.exec(`insert into perdure.outbox (unit, caller, cause_routing_key, cause_key, destination, routing_key, key, payload, ownership, done, outcome)
		select 'u1', 'x', 'x', 'x', '/v1/credits', 'x', n::text, '', 'x', now() - interval '30 days', 'delivered' from generate_series(1, 250) n`)
	for _, want := range []int{100, 100, 50, 0} {
		if n, err := c.purge(); err != nil || n != want {
			t.Errorf("purged %d, %v; want %d", n, err, want)
		}
	}
}

// A key outside the retention whose record is still there gets its answer; a purge that runs at the same moment does not make it new.
func TestPurgeWaitsForTheRepetitionOfAnOldKey(t *testing.T) {
	c := newCounter(t, nil)
	old := fmt.Sprintf("%012x", time.Now().Add(-30*time.Minute).UnixMilli())
	old = old[:8] + "-" + old[8:] + "-7abc-8abc-0123456789ab"
	c.want(c.post("function", old, "pay"), 201, "committed", old, 1)
	c.exec("select perdure.set_retention('u1', interval '1 minute')")
	c.exec("update perdure.record set recorded_at = recorded_at - interval '2 hours'")
	conn := c.server.ConnectAs("perdure_app")
	if _, err := conn.Exec(t.Context(), "begin; select perdure.claim(row('u1', 7, 'anonymous', 'acc-1', '"+old+"', '\\x01', null)::perdure.request)"); err != nil {
		t.Fatal(err)
	}
	purged := make(chan error, 1)
	go func() {
		_, err := c.purge()
		purged <- err
	}()
	c.server.Await("the purge waits", func(ctx context.Context) error {
		var waits bool
		if err := c.agent.QueryRow(ctx, "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like '%purge%')").Scan(&waits); err != nil || waits {
			return err
		}
		return errors.New("it does not")
	})
	if _, err := conn.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	if err := <-purged; err != nil {
		t.Fatal(err)
	}
	c.want(c.post("function", old, "pay"), 422, "", old, 1)
}

// stalled makes every commit wait for a copy that there is not, as when the in-sync copy has just died.
func (c *counter) stalled() {
	c.Helper()
	c.exec("alter system set synchronous_standby_names = 'nobody'")
	c.exec("select pg_reload_conf()")
	// Whether a commit waits is decided by the checkpointer, some time after the setting shows: only a commit that waits proves it.
	c.server.Await("a probe waits", func(ctx context.Context) error {
		probe, stop := context.WithCancel(ctx)
		defer stop()
		conn := c.server.Connect()
		done := make(chan error, 1)
		go func() {
			_, err := conn.Exec(probe, "select pg_logical_emit_message(true, 'probe', '')")
			done <- err
		}()
		for {
			var waits bool
			err := c.agent.QueryRow(ctx, "select wait_event is not distinct from 'SyncRep' from pg_stat_activity where pid = $1", conn.PgConn().PID()).Scan(&waits)
			if err != nil || waits {
				stop()
				<-done
				return err
			}
			select {
			case err := <-done:
				return fmt.Errorf("a commit did not wait: %w", err)
			default:
			}
		}
	})
}

// inCommit gives the process of the SDK that waits in its COMMIT.
func (c *counter) inCommit() (pid int) {
	c.Helper()
	c.server.Await("a commit waits", func(ctx context.Context) error {
		return c.agent.QueryRow(ctx, "select pid from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'perdure-sdk'").Scan(&pid)
	})
	return pid
}

// released lets commits go on without a copy.
func (c *counter) released() {
	c.Helper()
	c.exec("alter system reset synchronous_standby_names")
	c.exec("select pg_reload_conf()")
}

func (c *counter) begin(shape, key string) <-chan said {
	answer := make(chan said, 1)
	go func() { answer <- c.post(shape, key, "pay") }()
	return answer
}

// repeated sends the request again until the database takes requests, and wants the stored answer and one effect.
func (c *counter) repeated(shape, key string) {
	c.Helper()
	var got said
	c.server.Await("the repetition is answered", func(context.Context) error {
		if got = c.post(shape, key, "pay"); got.status != 201 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	c.want(got, 201, "replayed", key, 1)
}

func TestCommitThatIsCutShortIsUnknownAndItsRepetitionHasNoSecondEffect(t *testing.T) {
	c := newCounter(t, nil)
	c.exec("alter role perdure_app set client_min_messages = error") // the SDK hears the warning all the same
	for _, shape := range []string{"function", "pipeline", "interactive"} {
		for how, end := range map[string]string{
			"the connection is lost": "select pg_terminate_backend($1)",
			// The server calls this a success, with a warning of class 01.
			"the wait is cancelled": "select pg_cancel_backend($1)",
		} {
			key := shape + ", " + how
			key = strings.ReplaceAll(strings.ReplaceAll(key, ",", ""), " ", "-")
			c.stalled()
			answer := c.begin(shape, key)
			c.exec(end, c.inCommit())
			got := <-answer
			if got.status != 503 || got.header.Get(sdk.HeaderOutcome) != "unknown" || got.header.Get(sdk.HeaderOwnership) != "" || !strings.Contains(got.body, "same Idempotency-Key") {
				t.Errorf("%s, %s: %+v", shape, how, got)
			}
			c.released()
			c.repeated(shape, key)
		}
	}
}

func TestClientThatGivesUpDuringCommitCancelsNothing(t *testing.T) {
	c := newCounter(t, nil)
	c.stalled()
	ctx, giveUp := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := c.unit.Run(ctx, sdk.Request{Caller: "anonymous", RoutingKey: "acc-1", Key: "k1", Hash: sdk.Fingerprint("POST", "/function", []byte("pay"))}, sdk.Function("bank.pay"))
		gaveUp <- err
	}()
	pid := c.inCommit()
	giveUp()
	var f *sdk.Failure
	if err := <-gaveUp; !errors.As(err, &f) || f.Outcome != sdk.Unknown {
		t.Errorf("given up: %v", err)
	}
	if still := c.inCommit(); still != pid {
		t.Errorf("process %d waits, not %d: somebody ended the COMMIT", still, pid)
	}
	c.released()
	c.repeated("function", "k1")
}

func TestMessageWhoseAnswerWasLostIsSentAgainUnderItsKey(t *testing.T) {
	c := newCounter(t, nil)
	tell := sdk.Interactive(func(ctx context.Context, tx sdk.Tx) (sdk.Result, error) {
		_, err := tx.Exec(ctx, `select perdure.send(row('u1', 0, 'teller', 'acc-1', 'k1', '\x01', null)::perdure.request, '/v1/credits', 'acc-9', '\x7b7d')`)
		return sdk.Result{Status: 202, ContentType: "text/plain", Body: []byte("sent")}, err
	})
	if _, err := c.unit.Run(t.Context(), sdk.Request{Caller: "teller", RoutingKey: "acc-1", Key: "k1", Hash: []byte{1}}, tell); err != nil {
		t.Fatal(err)
	}
	var keys []string
	taken := map[string]int{} // what the destination did, by key
	d := &sdk.Dispatcher{Unit: c.unit, Send: func(_ context.Context, m sdk.Message) (sdk.Verdict, string) {
		keys = append(keys, m.Key)
		if taken[m.Key] == 0 {
			taken[m.Key]++
			return sdk.Later, "the answer was lost"
		}
		return sdk.Delivered, "201 replayed"
	}}
	c.server.Await("the message is delivered", func(ctx context.Context) error {
		if _, err := d.Round(ctx); err != nil {
			return err
		}
		var left int
		if err := c.agent.QueryRow(ctx, "select count(*) from perdure.outbox where done is null").Scan(&left); err != nil || left > 0 {
			return fmt.Errorf("%d left, %w", left, err)
		}
		return nil
	})
	if len(keys) != 2 || keys[0] != keys[1] || taken[keys[0]] != 1 {
		t.Errorf("sent as %v, taken %v", keys, taken)
	}
	// The copy of a unit, or a closed one, has nothing to send.
	c.exec(guard.CloseSQL, []string{"u1"})
	var f *sdk.Failure
	if n, err := d.Round(t.Context()); n != 0 || !errors.As(err, &f) || f.Outcome != sdk.NotOwner {
		t.Errorf("%d messages, %v", n, err)
	}
}

// One destination stands still with as many messages as are under way at once, less one: the others' still pass.
func TestSlowDestinationHoldsUpOnlyItsOwnMessages(t *testing.T) {
	c := newCounter(t, nil)
	send := sdk.Interactive(func(ctx context.Context, tx sdk.Tx) (sdk.Result, error) {
		_, err := tx.Exec(ctx, `select perdure.send(row('u1', 0, 'teller', 'acc-1', 'k1', '\x01', null)::perdure.request,
			case when n < 3 then '/slow' else '/quick' end, 'acc-9', '\x7b7d', p_nth => n) from generate_series(0, 20) n order by n`)
		return sdk.Result{Status: 202, ContentType: "text/plain", Body: []byte("sent")}, err
	})
	if _, err := c.unit.Run(t.Context(), sdk.Request{Caller: "teller", RoutingKey: "acc-1", Key: "k1", Hash: []byte{1}}, send); err != nil {
		t.Fatal(err)
	}
	d := &sdk.Dispatcher{Unit: c.unit, Batch: 4, Every: 10 * time.Millisecond, Hold: time.Hour, Send: func(ctx context.Context, m sdk.Message) (sdk.Verdict, string) {
		if m.Destination == "/slow" {
			<-ctx.Done()
			return sdk.Later, "no answer"
		}
		return sdk.Delivered, "201"
	}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	c.server.Await("the quick ones are delivered", func(ctx context.Context) error {
		var left int
		if err := c.agent.QueryRow(ctx, "select count(*) from perdure.outbox where done is null and destination = '/quick'").Scan(&left); err != nil || left > 0 {
			return fmt.Errorf("%d left, %w", left, err)
		}
		return nil
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var slow, attempts int
	if err := c.agent.QueryRow(t.Context(), "select count(*), sum(attempts) from perdure.outbox where done is null").Scan(&slow, &attempts); err != nil || slow != 3 || attempts != 3 {
		t.Errorf("%d slow ones are left after %d attempts, %v", slow, attempts, err)
	}
}

// Its destination may have forgotten the key of a message that is nearly as old as the retention: sent once more, it would count twice.
func TestMessageAsOldAsTheRetentionIsParked(t *testing.T) {
	c := newCounter(t, nil)
	c.exec("select perdure.set_retention('u1', interval '72 hours')")
	tell := sdk.Interactive(func(ctx context.Context, tx sdk.Tx) (sdk.Result, error) {
		_, err := tx.Exec(ctx, `select perdure.send(row('u1', 0, 'teller', 'acc-1', 'k1', '\x01', null)::perdure.request, '/v1/credits', 'acc-9', '\x7b7d')`)
		return sdk.Result{Status: 202, ContentType: "text/plain", Body: []byte("sent")}, err
	})
	if _, err := c.unit.Run(t.Context(), sdk.Request{Caller: "teller", RoutingKey: "acc-1", Key: "k1", Hash: []byte{1}}, tell); err != nil {
		t.Fatal(err)
	}
	sent := 0
	d := &sdk.Dispatcher{Unit: c.unit, Send: func(context.Context, sdk.Message) (sdk.Verdict, string) {
		sent++
		return sdk.Later, "the answer was lost"
	}}
	for range 2 { // one day later it is sent again, three days later it is not
		if _, err := d.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.exec("update perdure.outbox set created = created - interval '33 hours', due = now()")
	}
	if _, err := d.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	var outcome string
	if err := c.agent.QueryRow(t.Context(), "select outcome from perdure.outbox").Scan(&outcome); err != nil || outcome != "parked" || sent != 2 {
		t.Errorf("%q after %d attempts, %v", outcome, sent, err)
	}
}

func TestInstanceRegistersRenewsAndLeaves(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	called := make(chan string, 1000)
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, r.Method+" "+r.URL.Path+" "+string(body))
		called <- r.Method
	}))
	defer node.Close()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- sdk.Register(ctx, sdk.Registration{
			Nodes: []string{dead.URL, node.URL + "/"}, System: "bank", Site: "a", ID: "bank-a-1", URL: "http://app.a:7600", Units: []string{"u1"},
			Every: 20 * time.Millisecond, TTL: 2 * time.Second,
		})
	}()
	for range 2 { // the registration, and a renewal
		if method := <-called; method != http.MethodPut {
			t.Fatalf("%s before it leaves", method)
		}
	}
	leave()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := `PUT /api/v1/instances/bank/a/bank-a-1 {"system":"bank","site":"a","id":"bank-a-1","url":"http://app.a:7600","units":["u1"],"ttlSeconds":2}`; calls[0] != want {
		t.Errorf("registered by %s, want %s", calls[0], want)
	}
	if last := calls[len(calls)-1]; !strings.HasPrefix(last, "DELETE /api/v1/instances/bank/a/bank-a-1") {
		t.Errorf("it left by %s", last)
	}
	for name, r := range map[string]sdk.Registration{
		"without a node":        {System: "bank", Site: "a", ID: "x", URL: "http://x"},
		"ends before a renewal": {Nodes: []string{"http://x"}, System: "bank", Site: "a", ID: "x", URL: "http://x", Every: time.Minute, TTL: time.Second},
	} {
		if err := sdk.Register(t.Context(), r); err == nil {
			t.Errorf("registered %s", name)
		}
	}
}
