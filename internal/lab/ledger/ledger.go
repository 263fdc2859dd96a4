// Package ledger reads what lies in the lab's databases, beside the product: idempotency records, accounts, journal and outbox of the
// reference system. It reads the servers of final owners for the checker's verdict, and copies of former owners' directories for the
// checker's own difference. It changes nothing.
package ledger

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/history"
)

// superuser and database are those of the servers that agents make.
const (
	superuser = "perdure_agent"
	database  = "perdure"
)

// connectWait bounds one connection.
const connectWait = 5 * time.Second

// Connect opens a session to the server that runs on the data directory, through its private socket.
func Connect(ctx context.Context, dir string) (*pgx.Conn, error) {
	socket, port, err := endpoint(dir)
	if err != nil {
		return nil, err
	}
	return connect(ctx, socket, port, superuser)
}

func connect(ctx context.Context, socket string, port uint16, user string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, errs.New(errs.Internal, "connection settings: %w", err)
	}
	c.Host, c.Port, c.User, c.Database, c.Password, c.Fallbacks = socket, port, user, database, "", nil
	c.ConnectTimeout = connectWait
	c.RuntimeParams["application_name"] = "perdure lab"
	c.RuntimeParams["default_transaction_read_only"] = "on"
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot read the database in %s: %w", socket, err)
	}
	return conn, nil
}

// endpoint reads where the server on the directory listens from its lock file.
func endpoint(dir string) (socket string, port uint16, err error) {
	f, err := os.Open(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return "", 0, errs.New(errs.Unavailable, "no server runs on %s: %w", dir, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		switch n {
		case 4:
			p, err := strconv.ParseUint(strings.TrimSpace(lines.Text()), 10, 16)
			if err != nil {
				return "", 0, errs.New(errs.Unavailable, "the lock file of %s has no port", dir)
			}
			port = uint16(p)
		case 5:
			socket = strings.TrimSpace(lines.Text())
		}
	}
	if socket == "" || port == 0 {
		return "", 0, errs.New(errs.Unavailable, "the server on %s is only starting", dir)
	}
	return socket, port, nil
}

// Unit says which accounts are a unit's: those whose slot it owns.
type Unit struct {
	ID   estate.UnitID
	Owns func(slot int) bool
}

// Read reads everything of the units from the session of their group's server.
func Read(ctx context.Context, conn *pgx.Conn, units []Unit, into *checker.Contents) error {
	if len(units) == 0 {
		return nil
	}
	r := &reader{units: units, slots: map[string]int{}, into: into}
	// One snapshot: money that moves while we read is either here or there.
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read the database: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	for _, step := range []func(context.Context, pgx.Tx) error{r.records, r.accounts, r.postings, r.messages} {
		if err := step(ctx, tx); err != nil {
			return errs.New(errs.Unavailable, "cannot read the database: %w", err)
		}
	}
	for _, u := range units {
		into.UnitIDs = append(into.UnitIDs, u.ID)
	}
	return nil
}

type reader struct {
	units []Unit
	slots map[string]int // of accounts
	into  *checker.Contents
}

// unitOf gives the unit of an account; what belongs to no slot belongs to the first.
func (r *reader) unitOf(account string) estate.UnitID {
	if slot, ok := r.slots[account]; ok {
		for _, u := range r.units {
			if u.Owns(slot) {
				return u.ID
			}
		}
	}
	return r.units[0].ID
}

func (r *reader) records(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select unit, seq, caller, routing_key, key, status, coalesce(amount::text, '0'), accounts, ownership, result
		from perdure.record order by seq`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var rec checker.Record
		var amount, ownership string
		var result []byte
		if err := rows.Scan(&rec.Unit, &rec.Seq, &rec.Caller, &rec.RoutingKey, &rec.Key, &rec.Status, &amount, &rec.Accounts, &ownership, &result); err != nil {
			return err
		}
		if rec.Amount, err = history.ParseAmount(amount); err != nil {
			return err
		}
		if rec.Ownership, err = estate.ParseOwnership(ownership); err != nil {
			return err
		}
		rec.Result = history.Digest(result)
		r.into.RecordRows = append(r.into.RecordRows, rec)
	}
	return rows.Err()
}

func (r *reader) accounts(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select l.id, l.kind, l.opening::text, l.balance::text, coalesce(a.slot, -1)
		from corebank.ledger l left join corebank.account a on a.id = l.id and l.kind = 'customer' order by l.id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var a checker.Account
		var kind, opening, balance string
		var slot int
		if err := rows.Scan(&a.ID, &kind, &opening, &balance, &slot); err != nil {
			return err
		}
		if a.Opening, err = history.ParseAmount(opening); err != nil {
			return err
		}
		if a.Balance, err = history.ParseAmount(balance); err != nil {
			return err
		}
		if slot >= 0 {
			r.slots[a.ID] = slot
		}
		a.Unit, a.Kind = r.unitOf(a.ID), checker.AccountKind(kind)
		r.into.AccountRows = append(r.into.AccountRows, a)
	}
	return rows.Err()
}

func (r *reader) postings(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select entry, account, amount::text, caller, routing_key, key from corebank.journal order by entry`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var p checker.Posting
		var amount string
		if err := rows.Scan(&p.Entry, &p.Account, &amount, &p.Cause.Caller, &p.Cause.RoutingKey, &p.Cause.Key); err != nil {
			return err
		}
		if p.Amount, err = history.ParseAmount(amount); err != nil {
			return err
		}
		p.Unit = r.unitOf(p.Cause.RoutingKey)
		r.into.PostingRows = append(r.into.PostingRows, p)
	}
	return rows.Err()
}

func (r *reader) messages(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select unit, caller, cause_routing_key, cause_key, routing_key, key, payload, coalesce(outcome, ''),
		coalesce((extract(epoch from done) * 1000)::bigint, 0) from perdure.outbox order by id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var m checker.Message
		var payload []byte
		var outcome string
		if err := rows.Scan(&m.Unit, &m.Cause.Caller, &m.Cause.RoutingKey, &m.Cause.Key, &m.RoutingKey, &m.Key, &payload, &outcome, &m.DeliveredAt); err != nil {
			return err
		}
		var body struct {
			Account string         `json:"account"`
			Amount  history.Amount `json:"amount"`
		}
		if err := json.Unmarshal(payload, &body); err != nil {
			return errs.New(errs.Internal, "a message of the outbox cannot be read: %w", err)
		}
		m.Account, m.Amount = body.Account, body.Amount
		m.Delivered, m.Returned = outcome == "delivered", outcome == "refused"
		r.into.MessageRows = append(r.into.MessageRows, m)
	}
	return rows.Err()
}

// Waiting counts messages of the outbox that are still on their way.
func Waiting(ctx context.Context, conn *pgx.Conn) (int, error) {
	var n int
	if err := conn.QueryRow(ctx, `select count(*) from perdure.outbox where done is null`).Scan(&n); err != nil {
		return 0, errs.New(errs.Unavailable, "cannot read the outbox: %w", err)
	}
	return n, nil
}

// Rows reads the idempotency records that were made in an ownership from left on.
func Rows(ctx context.Context, conn *pgx.Conn, name string, left estate.Ownership) ([]history.Row, error) {
	rows, err := conn.Query(ctx, `select unit, seq, caller, routing_key, key, coalesce(amount::text, '0'), accounts, ownership from perdure.record order by seq`)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot read the copy %s: %w", name, err)
	}
	defer rows.Close()
	var all []history.Row
	for rows.Next() {
		row := history.Row{Copy: name}
		var amount, ownership string
		if err := rows.Scan(&row.Unit, &row.Seq, &row.Caller, &row.RoutingKey, &row.Key, &amount, &row.Accounts, &ownership); err != nil {
			return nil, errs.New(errs.Unavailable, "cannot read the copy %s: %w", name, err)
		}
		if row.Ownership, err = estate.ParseOwnership(ownership); err != nil {
			return nil, errs.New(errs.Internal, "copy %s: %w", name, err)
		}
		if row.Ownership.Less(left) {
			continue
		}
		if row.Amount, err = history.ParseAmount(amount); err != nil {
			return nil, errs.New(errs.Internal, "copy %s: %w", name, err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		return nil, errs.New(errs.Unavailable, "cannot read the copy %s: %w", name, err)
	}
	return all, nil
}
