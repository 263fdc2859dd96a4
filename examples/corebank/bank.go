package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/sdk"
)

// outboxCaller is the caller of everything the outbox sends.
const outboxCaller = "corebank-outbox"

// mostLines bounds a statement.
const mostLines = 200

var (
	accountForm = regexp.MustCompile(`^[A-Za-z0-9._~:@+=/#*-]{1,128}$`)
	amountForm  = regexp.MustCompile(`^(0|[1-9][0-9]{0,14})(\.[0-9]{1,2})?$`)
	zeroForm    = regexp.MustCompile(`^0(\.0{1,2})?$`)
)

// bank is one instance.
type bank struct {
	service *sdk.Service
	outbox  map[string]*sdk.Dispatcher // by unit
}

func (b *bank) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/transfers", b.service.Handle(transfer))
	mux.Handle("POST /v1/cross-transfers", b.nudging(b.service.Handle(crossTransfer)))
	mux.Handle("POST /v1/credits", b.service.Handle(credit))
	mux.Handle("POST /v1/debits", b.service.Handle(debit))
	mux.HandleFunc("GET /v1/accounts/{id}/balance", b.balance)
	mux.HandleFunc("GET /v1/accounts/{id}/statement", b.statement)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	return mux
}

// nudging makes the outbox look at once after a request that may have put something into it.
func (b *bank) nudging(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		if d := b.outbox[r.Header.Get(sdk.HeaderUnit)]; d != nil {
			d.Nudge()
		}
	})
}

// movement is the payload of all four requests; which fields are needed depends on the request.
type movement struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Account string `json:"account"`
	Amount  string `json:"amount"`
	// Origin is the unit that has debited what is credited; only the outbox sets it.
	Origin string `json:"origin"`
}

func invalid(format string, args ...any) error {
	return sdk.Refuse(http.StatusBadRequest, "The request is wrong", fmt.Sprintf(format, args...))
}

func read(in *sdk.Incoming) (movement, error) {
	var m movement
	if err := in.Decode(&m); err != nil {
		return m, err
	}
	if !amountForm.MatchString(m.Amount) || zeroForm.MatchString(m.Amount) {
		return m, invalid("amount %q: want a decimal above 0 with at most two places, as text", m.Amount)
	}
	return m, nil
}

func wanted(field, account string) error {
	if !accountForm.MatchString(account) {
		return invalid("%s %q: want an account of 1 to 128 letters, digits and -._~:@+=/#*", field, account)
	}
	return nil
}

// pair reads a movement between two accounts.
func pair(in *sdk.Incoming) (movement, error) {
	m, err := read(in)
	if err == nil {
		err = cmp.Or(wanted("from", m.From), wanted("to", m.To))
	}
	switch {
	case err != nil:
		return m, err
	case m.From == m.To:
		return m, invalid("from and to are the same account")
	case m.Account != "" || m.Origin != "":
		return m, invalid("only from, to and amount are allowed")
	}
	in.RoutingKey = cmp.Or(in.RoutingKey, m.From)
	return m, nil
}

// single reads a movement of one account.
func single(in *sdk.Incoming) (movement, error) {
	m, err := read(in)
	if err == nil {
		err = wanted("account", m.Account)
	}
	switch {
	case err != nil:
		return m, err
	case m.From != "" || m.To != "":
		return m, invalid("only account and amount are allowed")
	}
	in.RoutingKey = cmp.Or(in.RoutingKey, m.Account)
	return m, nil
}

func transfer(in *sdk.Incoming) (sdk.Work, error) {
	m, err := pair(in)
	return sdk.Grouped("corebank.transfer", m.From, m.To, m.Amount), err
}

func crossTransfer(in *sdk.Incoming) (sdk.Work, error) {
	m, err := pair(in)
	return sdk.Grouped("corebank.debit", m.From, m.Amount, m.To), err
}

func credit(in *sdk.Incoming) (sdk.Work, error) {
	m, err := single(in)
	if err == nil && m.Origin != "" && in.Caller != outboxCaller {
		err = sdk.Refuse(http.StatusForbidden, "Not allowed", "only the outbox says where money comes from")
	}
	return sdk.Grouped("corebank.credit", m.Account, m.Amount, m.Origin), err
}

func debit(in *sdk.Incoming) (sdk.Work, error) {
	m, err := single(in)
	return sdk.Grouped("corebank.debit", m.Account, m.Amount, ""), err
}

// giveBack returns what another unit refused for good to the account it came from, and settles the message, in one transaction.
func giveBack(ctx context.Context, u *sdk.Unit, m sdk.Message, answer string) error {
	_, err := u.Run(ctx, sdk.Request{
		Caller: outboxCaller, RoutingKey: m.RoutingKey, Key: "give-back-" + m.Key, Hash: sdk.Fingerprint("GIVE-BACK", m.Key, nil),
	}, sdk.Function("corebank.give_back", m.ID, answer))
	return err
}

func noAccount(id string) error {
	return sdk.Refuse(http.StatusNotFound, "No such account", fmt.Sprintf("there is no account %s in this unit", id))
}

// balance is a fact about money: it leaves only behind the barrier.
func (b *bank) balance(w http.ResponseWriter, r *http.Request) {
	b.answer(w, r, func(ctx context.Context, u *sdk.Unit, id string) (any, string, error) {
		found, ownership, err := sdk.Read(ctx, u, sdk.Durable, texts, `select balance::text from corebank.account where id = $1`, id)
		switch {
		case err != nil:
			return nil, "", err
		case len(found) == 0:
			return nil, "", noAccount(id)
		}
		return map[string]string{"account": id, "balance": found[0]}, ownership, nil
	})
}

func texts(rows pgx.Rows) ([]string, error) { return pgx.CollectRows(rows, pgx.RowTo[string]) }

// line is one line of a statement.
type line struct {
	Entry   int64     `json:"entry"`
	Amount  string    `json:"amount"`
	Balance *string   `json:"balance"`
	At      time.Time `json:"at"`
}

// statement gives the newest lines of an account, newest first.
func (b *bank) statement(w http.ResponseWriter, r *http.Request) {
	b.answer(w, r, func(ctx context.Context, u *sdk.Unit, id string) (any, string, error) {
		lines, ownership, err := sdk.Read(ctx, u, sdk.Durable, func(rows pgx.Rows) ([]line, error) {
			return pgx.CollectRows(rows, pgx.RowToStructByPos[line])
		}, `select entry, amount::text, balance::text, at from corebank.journal where account = $1 order by entry desc limit $2`, id, mostLines)
		return map[string]any{"account": id, "lines": lines}, ownership, err
	})
}

func (b *bank) answer(w http.ResponseWriter, r *http.Request, ask func(context.Context, *sdk.Unit, string) (any, string, error)) {
	id := r.PathValue("id")
	if err := wanted("account", id); err != nil {
		b.service.Fail(w, r, err)
		return
	}
	u, err := b.service.Unit(r)
	if err != nil {
		b.service.Fail(w, r, err)
		return
	}
	value, ownership, err := ask(r.Context(), u, id)
	if err != nil {
		b.service.Fail(w, r, err)
		return
	}
	text, err := json.Marshal(value)
	if err != nil {
		b.service.Fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set(sdk.HeaderOwnership, ownership)
	h.Set(sdk.HeaderOutcome, string(sdk.Committed))
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // a client that has gone asks again
}
