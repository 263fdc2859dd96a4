package sdk_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"perdure/internal/guard"
	"perdure/sdk"
)

// TestBlockedAccountsAreAnsweredWith423: in every shape of work, with the ownership, so that a gateway delivers it; nothing is stored, and
// the same request is carried out once its account is verified (I7).
func TestBlockedAccountsAreAnsweredWith423(t *testing.T) {
	c := newCounter(t, nil)
	c.server.Exec(`create function bank.move(r perdure.request, p_side text) returns perdure.answer language plpgsql volatile as $$
declare a perdure.answer;
begin
  a := perdure.once(r);
  if a.status is not null then return a; end if;
  if perdure.quarantined() then perform perdure.admit(r.unit, r.routing_key, p_side); end if;
  insert into bank.payment (shape, key) values (p_side, r.key);
  return perdure.settle(r, 201, 'text/plain', 'moved', array[r.routing_key], 5);
end $$`)
	c.exec(guard.QuarantineSQL, "u1", true, "1.ab12.1")
	c.exec(guard.JudgeSQL, "verified", "verified", "ann")
	c.exec(guard.JudgeSQL, "inconsistent", "inconsistent", "ann")
	service := &sdk.Service{Units: map[string]*sdk.Unit{"u1": c.unit}}
	mux := http.NewServeMux()
	mux.Handle("POST /function/{side}/{account}", service.Handle(func(in *sdk.Incoming) (sdk.Work, error) {
		in.RoutingKey = in.PathValue("account") // there is no gateway here
		return sdk.Function("bank.move", in.PathValue("side")), nil
	}))
	mux.Handle("POST /pipeline/{side}/{account}", service.Handle(func(in *sdk.Incoming) (sdk.Work, error) {
		in.RoutingKey = in.PathValue("account")
		return sdk.Pipeline{
			Queue: func(b *pgx.Batch) {
				b.Queue("select perdure.admit('u1', $1, $2)", in.PathValue("account"), in.PathValue("side"))
				b.Queue("insert into bank.payment (shape, key) values ($1, $2)", in.PathValue("side"), in.Header.Get(sdk.HeaderKey))
			},
			Result: sdk.Result{Status: 201, ContentType: "text/plain", Body: []byte("moved"), Accounts: []string{in.PathValue("account")}, Amount: "5"},
		}, nil
	}))
	server := httptest.NewServer(mux)
	defer server.Close()
	post := func(shape, side, account string) said {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.Join([]string{server.URL, shape, side, account}, "/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(sdk.HeaderKey, `"`+strings.Join([]string{shape, side, account}, " ")+`"`)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return said{res.StatusCode, res.Header, string(body)}
	}
	for _, shape := range []string{"function", "pipeline"} {
		for _, w := range []struct {
			account, side string
			status        int
		}{
			{"unverified", "debit", http.StatusLocked},
			{"unverified", "credit", http.StatusLocked},
			{"verified", "debit", http.StatusCreated},
			{"verified", "credit", http.StatusCreated},
			{"inconsistent", "debit", http.StatusLocked},
			{"inconsistent", "credit", http.StatusCreated},
		} {
			got := post(shape, w.side, w.account)
			if got.status != w.status || got.header.Get(sdk.HeaderOwnership) != "1.ab12.1" {
				t.Errorf("%s: a %s of an account that is %s: %d %s %v", shape, w.side, w.account, got.status, got.body, got.header)
			}
			if w.status == http.StatusLocked && !strings.Contains(got.body, "account "+w.account+" is "+w.account) {
				t.Errorf("%s: the answer does not say why: %s", shape, got.body)
			}
		}
		c.exec(guard.JudgeSQL, "unverified", "verified", "ann")
		if got := post(shape, "debit", "unverified"); got.status != http.StatusCreated || got.header.Get(sdk.HeaderOutcome) != "committed" {
			t.Errorf("%s: after the account was verified: %d %s", shape, got.status, got.body)
		}
		c.exec(guard.JudgeSQL, "unverified", nil, "ann")
	}
}
