// Package guard is the database-side half of ownership: schema perdure, its installation and its checks.
//
// The schema holds the gate that every writing transaction passes first (I1, I9), the idempotency records (I5), the outbox
// and the barrier (I3), and the quarantine (I7). What an application calls is described in docs/sql-guard.md; what the agent
// calls is named by the constants of this package. Why it is built this way stands beside each function in schema/functions.sql.
package guard

import (
	"context"
	"embed"
	"fmt"

	"github.com/jackc/pgx/v5"

	"perdure/internal/errs"
)

// Version is the version of schema perdure that this build installs and works with.
const Version = 3

// Schema is the name of the schema.
const Schema = "perdure"

// The roles that Install makes where they are missing.
const (
	AgentRole = "perdure_agent" // owns the schema; the agent's sessions
	AppRole   = "perdure_app"   // what applications log in as, or are members of
	GuardRole = "perdure_guard" // cannot log in: what the functions that applications call run as
)

// SQLSTATEs that the functions raise.
const (
	NotOwner     = "PD001" // closed here: nothing happened, ask the owner
	Misused      = "PD002" // not the first statement, wrong isolation, lowered synchronous_commit, or no guard at all
	OtherPayload = "PD003" // the key was used with another payload
	KeyTooOld    = "PD004" // the key's own time lies outside the retention
	Running      = "PD005" // a request with this key is running
	LeaseOver    = "PD006" // plain reads only
	Quarantined  = "PD007" // the account is blocked after a lossy switch
	CannotOpen   = "PD009" // open: lower or used ownership, a copy, or prepared transactions are allowed
	Refused      = "PD010" // refused by the business
	InFlight     = "PD011" // open: transactions of the former ownership have not ended yet
)

// Statements of the agent. Its sessions run SessionSQL first: closing and leases must never wait for a copy (I9).
const (
	// SessionSQL prepares a session of the agent.
	SessionSQL = `set synchronous_commit = local`
	// OpenSQL opens units ($1 text[]) at incarnation counter $2, incarnation id $3, epoch $4 for member $5.
	// It fails with CannotOpen, or with InFlight while transactions of the former ownership live.
	OpenSQL = `select perdure.open($1, $2, $3, $4, $5)`
	// CloseSQL marks units ($1 text[]) closed: nothing that begins afterwards can write. It touches nothing logged.
	CloseSQL = `select perdure.close($1)`
	// TryFenceSQL gives a position (pg_lsn as text) after every effect of the closed units ($1 text[]), or null after 50 ms of
	// waiting for transactions in flight: try again, and end the blockers from a second session meanwhile.
	TryFenceSQL = `select perdure.fence($1)::text`
	// BlockersSQL lists who holds the fence of units ($1 text[]) up: pid, unit, in_sync_wait, age, state, application.
	BlockersSQL = `select pid, unit, in_sync_wait, age, state, application from perdure.blockers($1)`
	// EndBlockersSQL terminates those who hold the fence of units ($1 text[]) up and counts them.
	EndBlockersSQL = `select perdure.end_blockers($1)`
	// LeaseSQL lets plain reads of units ($1 text[]) pass until $2, Unix milliseconds; 0 ends the lease. It touches nothing logged.
	// It gives how many of them have no lease that could be written: MakeLeasesSQL makes those.
	LeaseSQL = `select perdure.lease($1, $2)`
	// MakeLeasesSQL makes the leases of units ($1 text[]) that are open and have none. It touches what is logged, once in a life.
	MakeLeasesSQL = `select perdure.make_leases($1)`
	// NoteSQL writes down an ownership that was heard of for units ($1 text[]): incarnation counter $2, id $3, epoch $4.
	// It gives "noted", "known" or "conflict"; whatever is lower than what it notes is closed.
	NoteSQL = `select perdure.note($1, $2, $3, $4)`
	// GatesSQL lists the guard rows of this life of the server: unit, incarnation, incarnation_id, epoch, member, open.
	// It cannot be asked of a server in recovery: unlogged tables do not exist there.
	GatesSQL = `select unit, incarnation, incarnation_id, epoch, member, open from perdure.gate where started = pg_postmaster_start_time() order by unit`
	// SeenSQL gives the highest ownership ever seen here (no row: none): incarnation, incarnation_id, epoch. It works on copies too.
	SeenSQL = `select incarnation, incarnation_id, epoch from perdure.seen order by incarnation desc, epoch desc limit 1`
	// RecordsByTransactionSQL gives the records of transactions ($1 text[] of full transaction numbers): xid, unit, caller,
	// routing_key, key, hash (hex), accounts, amount (text), recorded_at.
	RecordsByTransactionSQL = `select xid::text, unit, caller, routing_key, key, encode(hash, 'hex'), accounts, coalesce(amount, 0)::text, recorded_at
from perdure.record where xid = any ($1::text[]::xid8[]) order by xid`
	// QuarantineSQL puts unit $1 into quarantine ($2 true) or takes it out. $3 names the quarantine, the ownership with which the lossy
	// takeover began: verdicts of another one are dropped.
	QuarantineSQL = `select perdure.set_quarantine($1, $2, $3)`
	// JudgingSQL says whether units ($1 text[]) are in quarantine $2, and keeps them in it to the end of the transaction. JudgeSQL writes
	// the verdict $2 ('verified', 'inconsistent', null) of person or tool $3 on account $1.
	JudgingSQL = `select perdure.judging($1, $2)`
	JudgeSQL   = `select perdure.judge($1, $2, $3)`
	// RetentionSQL keeps the records of unit $1 for $2 (text of an interval, for example '7 days').
	RetentionSQL = `select perdure.set_retention($1, $2::text::interval)`
	// PurgeSQL removes up to $2 records of unit $1 that are older than its retention, and as many finished messages; fewer than $2: nothing old is left.
	// It enters like a write, so synchronous_commit has to be on for it.
	PurgeSQL = `select perdure.purge($1, $2)`
	// UnguardedSQL names the tables that are not behind the guard: schema, name, owner.
	UnguardedSQL = `select schema, name, owner from perdure.unguarded order by schema, name`
)

//go:embed schema/*.sql
var files embed.FS

// installLock is the advisory lock (two-integer space) under which schemas are installed.
const installLock = `select pg_advisory_xact_lock(7370, 1)`

// Install makes or upgrades schema perdure in the database of the connection, with its roles, in one transaction.
// It is safe to repeat. The connection must be a superuser's; a schema newer than this build is refused.
func Install(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var super bool
		if err := tx.QueryRow(ctx, `select rolsuper from pg_roles where rolname = current_user`).Scan(&super); err != nil {
			return fmt.Errorf("cannot install schema perdure: %w", err)
		}
		if !super {
			return errs.New(errs.Forbidden, "cannot install schema perdure: it makes roles and grants rights; connect as a superuser")
		}
		if _, err := tx.Exec(ctx, installLock); err != nil {
			return fmt.Errorf("cannot install schema perdure: %w", err)
		}
		installed, err := InstalledVersion(ctx, tx)
		if err != nil {
			return err
		}
		if installed > Version {
			return errs.New(errs.Refused, "cannot install schema perdure %d: version %d is installed; use the newer program", Version, installed)
		}
		scripts := []string{}
		for v := installed + 1; v <= Version; v++ {
			scripts = append(scripts, fmt.Sprintf("%03d.sql", v))
		}
		scripts = append(scripts, "functions.sql", "roles.sql")
		for _, name := range scripts {
			sql, err := script(name)
			if err != nil {
				return fmt.Errorf("cannot install schema perdure: %w", err)
			}
			if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("cannot install schema perdure: %s: %w", name, err)
			}
		}
		if _, err := tx.Exec(ctx, `insert into perdure.version (version) values ($1) on conflict (version) do update set at = clock_timestamp()`, Version); err != nil {
			return fmt.Errorf("cannot install schema perdure: %w", err)
		}
		return nil
	})
}

// querier is what a connection and a transaction have in common.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// InstalledVersion is the version of schema perdure in the database, 0 where there is none.
func InstalledVersion(ctx context.Context, q querier) (int, error) {
	var there bool
	if err := q.QueryRow(ctx, `select to_regclass('perdure.version') is not null`).Scan(&there); err != nil {
		return 0, fmt.Errorf("cannot look for schema perdure: %w", err)
	}
	if !there {
		return 0, nil
	}
	var v int
	if err := q.QueryRow(ctx, `select coalesce(max(version), 0) from perdure.version`).Scan(&v); err != nil {
		return 0, fmt.Errorf("cannot read the version of schema perdure: %w", err)
	}
	return v, nil
}
