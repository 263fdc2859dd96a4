package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/sdk"
)

// A payment service: one handler, one call. The function bank.transfer begins with perdure.once and ends with perdure.settle.
func Example() {
	unit, err := sdk.Open("u1", "host=db.a port=5432 dbname=bank user=perdure_app", sdk.Options{})
	if err != nil {
		slog.Error("cannot start", "error", err)
		return
	}
	defer unit.Close()
	service := &sdk.Service{Units: map[string]*sdk.Unit{"u1": unit}, Log: slog.Default()}

	mux := http.NewServeMux()
	mux.Handle("POST /v1/transfers", service.Handle(func(in *sdk.Incoming) (sdk.Work, error) {
		var t struct{ From, To, Amount string }
		if err := in.Decode(&t); err != nil {
			return nil, err
		}
		return sdk.Function("bank.transfer", t.From, t.To, t.Amount), nil
	}))

	// A request without a key is refused before anything is asked of a database.
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/v1/transfers", strings.NewReader(`{}`)))
	fmt.Println(answer.Code, answer.Header().Get("Content-Type"))
	// Output: 400 application/problem+json
}

// Serving until the process is told to end: what has begun is answered first.
func ExampleService() {
	serve := func(ctx context.Context, service *sdk.Service, decide func(*sdk.Incoming) (sdk.Work, error)) error {
		server := &http.Server{Addr: ":7600", Handler: service.Handle(decide), ReadHeaderTimeout: 5 * time.Second}
		context.AfterFunc(ctx, func() {
			finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
			defer cancel()
			_ = server.Shutdown(finish) // what has not ended by then is unknown to its clients
		})
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
	_ = serve
	// Output:
}

// Work in any SQL, sent at once. What must not be committed raises an error in the database.
func ExamplePipeline() {
	pay := func(from, to, amount string) sdk.Work {
		return sdk.Pipeline{
			Queue: func(b *pgx.Batch) {
				b.Queue("update bank.account set balance = balance - $2 where id = $1", from, amount) // check (balance >= 0)
				b.Queue("update bank.account set balance = balance + $2 where id = $1", to, amount)
			},
			Result: sdk.Result{Status: http.StatusCreated, ContentType: "application/json", Body: []byte(`{"paid":true}`), Accounts: []string{from, to}, Amount: amount},
		}
	}
	_ = pay("acc-1", "acc-2", "12.50")
	// Output:
}

// Work in code between statements, with a message to another unit in the same transaction.
func ExampleInteractive() {
	pay := func(r sdk.Request, from string, amount int64) sdk.Work {
		return sdk.Interactive(func(ctx context.Context, tx sdk.Tx) (sdk.Result, error) {
			var left int64
			if err := tx.QueryRow(ctx, "update bank.account set balance = balance - $2 where id = $1 returning balance", from, amount).Scan(&left); err != nil {
				return sdk.Result{}, err
			}
			if left < 0 {
				return sdk.Result{}, sdk.Refuse(http.StatusUnprocessableEntity, "Insufficient funds", "the account holds less")
			}
			_, err := tx.Exec(ctx, "select perdure.send(row($1, $2, $3, $4, $5, $6, null)::perdure.request, '/v1/credits', 'acc-9', $7)",
				r.Unit, r.Slot, r.Caller, r.RoutingKey, r.Key, r.Hash, []byte(`{"account":"acc-9"}`))
			return sdk.Result{Status: http.StatusAccepted, ContentType: "application/json", Body: []byte(`{}`), Accounts: []string{from}}, err
		})
	}
	_ = pay(sdk.Request{}, "acc-1", 1250)
	// Output:
}

// Balances leave behind a barrier, or under the lease where they may be on their way still.
func ExampleRead() {
	balance := func(ctx context.Context, u *sdk.Unit, account string) (string, error) {
		value, _, err := sdk.Read(ctx, u, sdk.Durable, func(rows pgx.Rows) (string, error) {
			return pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
		}, "select balance::text from bank.account where id = $1", account)
		return value, err
	}
	_ = balance
	// Output:
}

// An instance tells the gateways about itself until it leaves.
func ExampleRegister() {
	run := func(ctx context.Context, machine *http.Client) error {
		return sdk.Register(ctx, sdk.Registration{
			Nodes:  []string{"https://node.a.perdure.internal:7400", "https://node.b.perdure.internal:7400"},
			System: "bank", Site: "a", ID: "bank-a", URL: "https://app.a.perdure.internal:7600", Client: machine,
		})
	}
	_ = run
	// Output:
}
