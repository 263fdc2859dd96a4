package sdk

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Work is what a request does in the database: Function, Grouped, Pipeline or Interactive.
type Work interface {
	// run does the work once, on the connection of the turn. Its error is a *Failure, a *Refusal, or an error of the database.
	run(ctx context.Context, t *turn, r Request) (Answer, error)
}

// requestRow is a perdure.request of the parameters $1 to $7, which args gives.
const requestRow = `row($1, $2, $3, $4, $5, $6, $7)::perdure.request`

func (r *Request) args(more ...any) []any {
	return append([]any{r.Unit, r.Slot, r.Caller, r.RoutingKey, r.Key, r.Hash, keyMade(r.Key)}, more...)
}

type function struct {
	sql  string
	args []any
	none error // what it means that the function gave null; nil: it committed without a record
}

// Function is work in one statement and one round trip: a function of the database that begins with perdure.claim or perdure.once
// and ends with perdure.settle. It takes the perdure.request and then args, and returns perdure.answer. Name may have a schema:
// "bank.transfer".
func Function(name string, args ...any) Work { return newFunction(name, args) }

func newFunction(name string, args []any) function {
	var b strings.Builder
	b.Grow(len(name) + 160)
	b.WriteString("select record_send(")
	b.WriteString(pgx.Identifier(strings.Split(name, ".")).Sanitize())
	b.WriteString("(" + requestRow)
	for i := range args {
		b.WriteString(", $")
		b.WriteString(strconv.Itoa(i + 8))
	}
	b.WriteString("))")
	return function{sql: b.String(), args: args}
}

func (w function) run(ctx context.Context, t *turn, r Request) (Answer, error) {
	if _, err := t.take(ctx); err != nil {
		return Answer{}, err
	}
	return detached(ctx, t, func(ctx context.Context, c *pgx.Conn) (Answer, error) { return w.call(ctx, c, r) })
}

func (w function) call(ctx context.Context, c *pgx.Conn, r Request) (Answer, error) {
	a, ok, err := scanAnswer(c.QueryRow(ctx, w.sql, r.args(w.args...)...))
	switch {
	case err != nil || ok:
		return a, err
	case w.none != nil:
		return a, w.none
	}
	return a, unsettled(w.sql)
}

// onceSQL asks for the answer that the key has already; null: it has none.
const onceSQL = `select record_send(perdure.once(` + requestRow + `))`

func unsettled(sql string) *Failure {
	f := unknown(nil, "the work was committed without perdure.settle: %s", sql)
	f.Status, f.Title = http.StatusInternalServerError, "The work left no record"
	return f
}

// Pipeline is work in any statements, sent in one go: no statement can look at an earlier one's result, so what must not be
// committed has to raise an error in the database (a constraint, perdure.refuse). Result is what the work answers if nothing raises.
type Pipeline struct {
	Queue  func(*pgx.Batch)
	Result Result
	// Refuse may turn an error of the database, such as a violated constraint, into a refusal that is stored; it may be nil.
	Refuse func(*pgconn.PgError) *Refusal
}

func (w Pipeline) run(ctx context.Context, t *turn, r Request) (Answer, error) {
	b := &pgx.Batch{}
	b.Queue(`select perdure.claim(`+requestRow+`)`, r.args()...)
	w.Queue(b)
	if _, err := t.take(ctx); err != nil {
		return Answer{}, err
	}
	a, err := detached(ctx, t, func(ctx context.Context, c *pgx.Conn) (Answer, error) {
		var a Answer
		b.Queue(settleSQL, r.args(w.Result.args()...)...).QueryRow(func(row pgx.Row) (err error) {
			a, _, err = scanAnswer(row)
			return err
		})
		// No BEGIN: everything up to the one Sync is one transaction, committed by it. Only Close has seen that (I3).
		err := c.SendBatch(ctx, b).Close()
		return a, err
	})
	return a, refusedByWork(err, w.Refuse)
}

const settleSQL = `select record_send(perdure.settle(` + requestRow + `, $8, $9, $10, $11, $12::text::numeric))`

func (r Result) args() []any {
	var amount *string
	if r.Amount != "" {
		amount = &r.Amount
	}
	body, accounts := r.Body, r.Accounts
	if body == nil {
		body = []byte{}
	}
	if accounts == nil {
		accounts = []string{}
	}
	return []any{r.Status, r.ContentType, body, accounts, amount}
}

// refusedByWork turns an error that the work raised on purpose into a refusal.
func refusedByWork(err error, refuse func(*pgconn.PgError) *Refusal) error {
	var pg *pgconn.PgError
	if err == nil || !errors.As(err, &pg) || pg.SeverityUnlocalized != "ERROR" {
		return err
	}
	if pg.Code == stateRefused {
		status, convErr := strconv.Atoi(pg.Detail)
		if convErr != nil || status < 400 || status > 499 {
			status = http.StatusUnprocessableEntity
		}
		return Refuse(status, "Refused", pg.Message)
	}
	if refuse != nil {
		if r := refuse(pg); r != nil {
			return r
		}
	}
	return err
}

// Tx is what interactive work does its statements on.
type Tx interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Interactive is work in code between statements. It costs a round trip for each statement and two more. An error rolls it back;
// a *Refusal is stored as the result. It must not commit, and must not act outside the database: that is what the outbox is for.
type Interactive func(ctx context.Context, tx Tx) (Result, error)

func (w Interactive) run(ctx context.Context, t *turn, r Request) (Answer, error) {
	c, err := t.take(ctx)
	if err != nil {
		return Answer{}, err
	}
	var (
		answer Answer
		known  bool
	)
	b := &pgx.Batch{}
	b.Queue(`begin isolation level read committed`)
	b.Queue(onceSQL, r.args()...).QueryRow(func(row pgx.Row) (err error) {
		answer, known, err = scanAnswer(row)
		return err
	})
	if err := c.SendBatch(ctx, b).Close(); err != nil {
		return Answer{}, t.unit.rollback(ctx, c, err)
	}
	finish := &pgx.Batch{}
	if !known {
		result, err := w(ctx, c)
		if err != nil {
			return Answer{}, t.unit.rollback(ctx, c, err)
		}
		finish.Queue(settleSQL, r.args(result.args()...)...).QueryRow(func(row pgx.Row) (err error) {
			answer, known, err = scanAnswer(row)
			return err
		})
	}
	var tag pgconn.CommandTag
	finish.Queue(`commit`).Exec(func(ct pgconn.CommandTag) error {
		tag = ct
		return nil
	})
	return detached(ctx, t, func(ctx context.Context, c *pgx.Conn) (Answer, error) {
		if err := c.SendBatch(ctx, finish).Close(); err != nil {
			if c.IsClosed() {
				return Answer{}, err // COMMIT may have been carried out
			}
			return Answer{}, t.unit.rollback(ctx, c, err)
		}
		if tag.String() != "COMMIT" { // ROLLBACK is how a failed transaction answers COMMIT
			return Answer{}, internal(nil, "the transaction had failed before COMMIT")
		}
		return answer, nil
	})
}

// rollback ends the transaction if there still is one, and says what the error means: COMMIT was not sent, so nothing can have happened.
func (u *Unit) rollback(ctx context.Context, c *pgx.Conn, cause error) error {
	if c.IsClosed() {
		return nothing(cause, "the connection was lost before COMMIT")
	}
	if c.PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackWait)
		defer cancel()
		if _, err := c.Exec(ctx, `rollback`); err != nil {
			u.opt.Log.Debug("cannot roll back", "unit", u.id, "error", err)
		}
	}
	var (
		pg      *pgconn.PgError
		refusal *Refusal
		f       *Failure
	)
	if errors.As(cause, &pg) || errors.As(cause, &refusal) || errors.As(cause, &f) {
		return cause
	}
	return internal(cause, "%v", cause)
}
