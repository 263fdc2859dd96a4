package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

// EnsureFollower makes the role (on an owner) and the slot of a member. The slot keeps no log before the member uses it, so
// it costs nothing to have one for every member everywhere; one that lost its log is made anew.
func (d *Database) EnsureFollower(ctx context.Context, member estate.MemberID) error {
	done, err := d.begin(ctx, "make a follower of")
	if err != nil {
		return err
	}
	defer done()
	return d.session("control").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var recovering bool
		if err := conn.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&recovering); err != nil {
			return failed(err, "cannot let %s follow %s", member, d.o.Member)
		}
		if !recovering {
			if err := d.ensureRole(ctx, conn, member); err != nil {
				return err
			}
		}
		slot := SlotOf(member)
		var status *string
		var active bool
		err := conn.QueryRow(ctx, "select wal_status, active from pg_replication_slots where slot_name = $1", slot).Scan(&status, &active)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
		case err != nil:
			return failed(err, "cannot let %s follow %s", member, d.o.Member)
		case status == nil || *status != "lost" || active:
			return nil
		default:
			if _, err := conn.Exec(ctx, "select pg_drop_replication_slot($1)", slot); err != nil {
				return failed(err, "cannot drop the slot of %s, which lost its log", member)
			}
		}
		if _, err := conn.Exec(ctx, "select pg_create_physical_replication_slot($1)", slot); err != nil && sqlState(err) != "42710" {
			return failed(err, "cannot make the slot of %s on %s", member, d.o.Member)
		}
		return nil
	})
}

// Strays lists the slots with a follower's name that are none of the members'. Slots of other names are somebody else's.
func (d *Database) Strays(ctx context.Context, members []estate.MemberID) ([]string, error) {
	own := []string{SlotOf(d.o.Member)}
	for _, m := range members {
		own = append(own, SlotOf(m))
	}
	var strays []string
	err := d.session("purge").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `select slot_name::text from pg_replication_slots
			where slot_type = 'physical' and not temporary and slot_name ~ '^perdure_[a-z0-9_]{1,40}$' and slot_name <> all($1) order by slot_name`, own)
		if err != nil {
			return err
		}
		strays, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return strays, failed(err, "cannot look for slots of %s that nobody needs", d.o.Member)
}

// ForgetFollower disconnects whoever uses the slot and drops it and, on an owner, the role that goes with it. The slot comes last: it is
// what a repetition finds.
func (d *Database) ForgetFollower(ctx context.Context, slot string) error {
	role := "perdure_replica_" + strings.TrimPrefix(slot, "perdure_")
	return d.session("purge").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var droppable bool
		err := conn.QueryRow(ctx, "select not pg_is_in_recovery() and exists (select from pg_roles where rolname = $1)", role).Scan(&droppable)
		if err == nil && droppable {
			_, err = conn.Exec(ctx, "drop role if exists "+quoteName(role))
		}
		if err != nil {
			return failed(err, "cannot drop role %s", role)
		}
		err = poll(ctx, func() (bool, error) {
			_, err := conn.Exec(ctx, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1", slot)
			if sqlState(err) == "55006" { // in use: its walsender is told to end
				_, err = conn.Exec(ctx, "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active", slot)
				return false, err
			}
			return true, err
		})
		return failed(err, "cannot drop slot %s of %s", slot, d.o.Member)
	})
}

// ensureGroupRoles makes what all followers share: reading for a rewind and for reconciling, and nothing else.
func ensureGroupRoles(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `do $$ begin
		if not exists (select from pg_roles where rolname = 'perdure_replica') then create role perdure_replica nologin; end if;
	end $$`)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `do $$ begin
		grant pg_checkpoint to perdure_replica;
		grant execute on function pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
			pg_read_binary_file(text, bigint, bigint, boolean) to perdure_replica;
		if to_regclass('perdure.record') is not null then
			grant usage on schema perdure to perdure_replica;
			grant select on perdure.record to perdure_replica;
		end if;
	end $$`)
	return err
}

// ensureRole makes the role of a member, or gives it the present password. The server never sees the password itself.
func (d *Database) ensureRole(ctx context.Context, conn *pgx.Conn, member estate.MemberID) error {
	role := RoleOf(member)
	password, err := d.o.Password(role)
	if err != nil {
		return errs.New(errs.Invalid, "no replication password for %s: %w", member, err)
	}
	return d.setPassword(ctx, conn, role, "login replication in role perdure_replica", password)
}

// setPassword makes the role with the attributes where it is missing and gives it the password where it has another.
func (d *Database) setPassword(ctx context.Context, conn *pgx.Conn, role, attributes, password string) error {
	var verifier *string
	err := conn.QueryRow(ctx, "select rolpassword from pg_authid where rolname = $1", role).Scan(&verifier)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return failed(err, "cannot look up role %s", role)
	}
	missing := errors.Is(err, pgx.ErrNoRows)
	if !missing && verifier != nil && scramMatches(*verifier, password) {
		return nil
	}
	fresh, err := scramVerifier(password)
	if err != nil {
		return errs.New(errs.Internal, "password of role %s: %w", role, err)
	}
	statement := fmt.Sprintf("alter role %s password '%s'", quoteName(role), fresh)
	if missing {
		statement = fmt.Sprintf("create role %s %s password '%s'", quoteName(role), attributes, fresh)
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		return failed(err, "cannot make role %s", role)
	}
	return nil
}

const scramIterations = 4096

// scramVerifier is what PostgreSQL stores for a password, so that the password itself never reaches its log.
func scramVerifier(password string) (string, error) {
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	return scramWith(password, salt, scramIterations)
}

func scramWith(password string, salt []byte, iterations int) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	sum := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	stored := sha256.Sum256(sum(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(stored[:]), b64(sum(salted, "Server Key"))), nil
}

// scramMatches reports whether a stored verifier belongs to the password.
func scramMatches(verifier, password string) bool {
	var iterations int
	var rest string
	if _, err := fmt.Sscanf(verifier, "SCRAM-SHA-256$%d:%s", &iterations, &rest); err != nil {
		return false
	}
	for i, c := range rest {
		if c == '$' {
			salt, err := base64.StdEncoding.DecodeString(rest[:i])
			if err != nil {
				return false
			}
			again, err := scramWith(password, salt, iterations)
			return err == nil && hmac.Equal([]byte(again), []byte(verifier))
		}
	}
	return false
}
