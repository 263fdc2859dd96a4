package postgres

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/guard"
)

// notATestAccount is the SQLSTATE with which a sandbox refuses transactions of other accounts than those that were declared for drills.
const notATestAccount = "PD012"

// restrictSandbox lets the guard of a sandbox record transactions of test accounts and of no others: what is not recorded has no effect (I5).
func restrictSandbox(ctx context.Context, conn *pgx.Conn, accounts []string) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, statement := range []string{
			`create schema if not exists ` + sandboxSchema,
			`create table if not exists ` + sandboxSchema + `.account (id text collate "C" primary key)`,
			`truncate ` + sandboxSchema + `.account`,
			`create or replace function ` + sandboxSchema + `.only() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
			declare
			  v_other text;
			begin
			  select x.id into v_other from unnest(new.accounts || new.routing_key) x (id)
			    where not exists (select from ` + sandboxSchema + `.account a where a.id = x.id) limit 1;
			  if found then
			    raise exception using errcode = '` + notATestAccount + `', message = format('account %s is none of the test accounts: a drill takes transactions of no others', v_other);
			  end if;
			  return new;
			end $$`,
			`create or replace trigger perdure_sandbox before insert or update on perdure.record for each row execute function ` + sandboxSchema + `.only()`,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `insert into `+sandboxSchema+`.account select distinct unnest($1::text[])`, accounts)
		return err
	})
}

// TransactSandbox opens the unit in the sandbox for as long as it takes, which is the agent's own to see: nobody else gets into it.
func (d *Database) TransactSandbox(ctx context.Context, run string, test driver.SandboxTest) (out driver.SandboxTransacted, err error) {
	out.Accounts = int64(len(test.Accounts))
	done, err := d.sandboxing(ctx)
	if err != nil {
		return out, err
	}
	defer done()
	if _, err := d.ownSandbox(run, driver.SandboxOpen); err != nil {
		return out, err
	}
	defer func() { // in a session of its own: that one may be broken
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectWait)
		defer cancel()
		err = errors.Join(err, d.inSandbox(ctx, closeSandbox))
	}()
	err = d.inSandbox(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		if was, _, err := maskedIn(ctx, conn); err != nil || was != "" {
			return errors.Join(failed(err, "cannot look whether the sandbox of %s is masked", d.o.Member), maskedBefore(was))
		}
		if out.Other, err = otherAccount(ctx, conn, test); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, `insert into perdure.gate (unit, incarnation, incarnation_id, epoch, ownership, member, started, open, quarantined, retention)
			values ($1, 0, 'sandbox', 0, '0.sandbox.0', $2, pg_postmaster_start_time(), true, false, interval '7 days') on conflict (unit) do nothing`, string(test.Unit), string(d.o.Member)); err != nil {
			return failed(err, "cannot open %s in the sandbox of %s", test.Unit, d.o.Member)
		}
		for _, account := range test.Accounts {
			status, err := transactIn(ctx, conn, run, test, account)
			switch {
			case err == nil && status >= 200 && status <= 299:
				out.Accepted++
			case err == nil:
				out.Said = account + " was refused by the application with " + strconv.Itoa(status)
			case sqlState(err) == "":
				return failed(err, "cannot try a transaction in the sandbox of %s", d.o.Member)
			default:
				out.Said = account + ": " + err.Error()
			}
		}
		_, err := transactIn(ctx, conn, run, test, out.Other)
		out.Refused = sqlState(err) == notATestAccount
		return nil
	})
	return out, err
}

// maskedBefore refuses transactions in a sandbox that is masked: what they write would not be.
func maskedBefore(masks string) error {
	if masks == "" {
		return nil
	}
	return errs.New(errs.Refused, "the sandbox is masked, and what transactions write now would not be: they come before the masks")
}

// closeSandbox closes what was opened for transactions, also by an agent that died over it.
func closeSandbox(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `delete from perdure.gate where incarnation_id = 'sandbox'`)
	return failed(err, "cannot close a unit in a sandbox")
}

// transactIn carries out one transaction as the application does, and gives its status.
func transactIn(ctx context.Context, conn *pgx.Conn, run string, test driver.SandboxTest, account string) (status int, err error) {
	request, err := json.Marshal(map[string]any{
		"unit": string(test.Unit), "slot": 0, "caller": "drill", "routing_key": account, "key": "drill-" + run + "-" + account, "hash": `\x` + hex.EncodeToString([]byte(account)),
	})
	if err != nil {
		return 0, err
	}
	var row string
	if err := conn.QueryRow(ctx, `select jsonb_populate_record(null::perdure.request, $1::jsonb)::text`, string(request)).Scan(&row); err != nil {
		return 0, err
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, statement := range []string{`set local synchronous_commit = on`, `set local statement_timeout = '` + judgeTimeout + `'`, `set local search_path = "$user", public`, `set local role ` + guard.AppRole} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, test.Transaction, row, account).Scan(&status)
	})
	return status, err
}

// otherAccount is one that is no test account: the first that the system's own query gives, or one that there is not.
func otherAccount(ctx context.Context, conn *pgx.Conn, test driver.SandboxTest) (string, error) {
	other := "no-test-account"
	if test.Query == "" {
		return other, nil
	}
	rows, err := conn.Query(ctx, `select id from `+sandboxSchema+`.account`) // those of other units too
	if err != nil {
		return other, err
	}
	declared, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return other, err
	}
	all, err := accounts(ctx, conn, test.Query, map[string]bool{})
	if i := slices.IndexFunc(all, func(a string) bool { return !slices.Contains(declared, a) }); i >= 0 {
		other = all[i]
	}
	return other, err
}
