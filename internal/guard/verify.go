package guard

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
)

// check is one question of I17: every row its query gives is a finding. The query gives what is wrong with what, one text a row.
type check struct {
	name, sql, problem, fix string
	fatal                   bool
}

// applications are the roles that business runs as: whoever is, or is a member of, perdure_app and can log in.
const applications = `(select r.oid, r.rolname, r.rolsuper from pg_roles r where r.rolcanlogin and (r.rolname = 'perdure_app'
  or exists (select from pg_auth_members m join pg_roles g on g.oid = m.roleid where g.rolname = 'perdure_app' and m.member = r.oid)))`

// checks are the guard's part of I17. Those of the server itself (version, checksums, slots) are the driver's.
func checks() []check {
	return []check{
		{
			name: "prepared-transactions", fatal: true,
			sql:     `select current_setting('max_prepared_transactions') where current_setting('max_prepared_transactions') <> '0'`,
			problem: "max_prepared_transactions is %s: a prepared transaction passes the fence",
			fix:     "set max_prepared_transactions = 0 and restart the server",
		},
		{
			name: "prepared-left", fatal: true,
			sql:     `select gid from pg_prepared_xacts`,
			problem: "a prepared transaction is left: %s",
			fix:     "commit or roll it back before the unit is opened",
		},
		{
			name:    "guard-on-every-table",
			sql:     `select schema || '.' || name from perdure.unguarded order by 1`,
			problem: "table %s is not behind the guard: writes in an old epoch are not refused",
			fix:     "select perdure.protect('schema.table'), or name the reason in perdure.exempt",
		},
		{
			name: "synchronous-commit",
			sql: `select case when s.setrole = 0 then 'every role' else 'role ' || pg_get_userbyid(s.setrole) end
  || case when s.setdatabase = 0 then '' else ' in database ' || (select datname from pg_database d where d.oid = s.setdatabase) end || ' (' || c || ')'
from pg_db_role_setting s cross join unnest(s.setconfig) c
where c ~* '^synchronous_commit=(off|local|remote_write|false|no|0)$'
  and s.setrole is distinct from (select oid from pg_roles where rolname = 'perdure_agent')`,
			problem: "synchronous_commit is lowered for %s: its commits are answered before the copies have them",
			fix:     "alter role (or database) ... reset synchronous_commit",
		},
		{
			name: "synchronous-commit-server",
			sql: `select setting from pg_settings where name = 'synchronous_commit' and setting not in ('on', 'remote_apply')
  and source not in ('session', 'user', 'database user', 'database', 'client')`,
			problem: "synchronous_commit of the server is %s",
			fix:     "set synchronous_commit = on and reload",
		},
		{
			name: "warnings",
			sql: `select case when s.setrole = 0 then 'every role' else 'role ' || pg_get_userbyid(s.setrole) end
from pg_db_role_setting s cross join unnest(s.setconfig) c where c ~* '^client_min_messages=error$'
union all select 'the server' from pg_settings where name = 'client_min_messages' and setting = 'error' and source in ('configuration file', 'command line')`,
			problem: "client_min_messages is error for %s: a COMMIT whose wait was cancelled looks like a success; the guard refuses its writes",
			fix:     "alter role (or database) ... reset client_min_messages, or set it to warning",
		},
		{
			name:    "application-superuser",
			sql:     `select a.rolname from ` + applications + ` a where a.rolsuper`,
			problem: "application role %s is a superuser: nothing binds it",
			fix:     "alter role ... nosuperuser",
		},
		{
			name: "application-replication",
			sql: `select r.rolname from ` + applications + ` a join pg_roles r on r.oid = a.oid where r.rolreplication
  or pg_has_role(r.oid, 'perdure_agent', 'member') and not r.rolsuper`,
			problem: "application role %s may act as the agent or as a copy",
			fix:     "alter role ... noreplication; revoke perdure_agent from the role",
		},
		{
			name: "application-owns-table",
			sql: `select distinct a.rolname || ' owns ' || t.tgrelid::regclass from ` + applications + ` a
join pg_class c on pg_has_role(a.oid, c.relowner, 'member') join pg_trigger t on t.tgrelid = c.oid
where t.tgfoid = 'perdure.require()'::regprocedure and not a.rolsuper order by 1`,
			problem: "application role %s: it can drop or disable the guard",
			fix:     "alter table ... owner to a role that applications are not members of",
		},
		{
			name: "truncate",
			sql: `select distinct case x.grantee when 0 then 'public' else pg_get_userbyid(x.grantee) end || ' on ' || c.oid::regclass
from pg_trigger t join pg_class c on c.oid = t.tgrelid cross join aclexplode(c.relacl) x
where t.tgfoid = 'perdure.require()'::regprocedure and x.privilege_type = 'TRUNCATE' and x.grantee <> c.relowner order by 1`,
			problem: "TRUNCATE is granted to %s: it is not replicated by slot moves",
			fix:     "revoke truncate on ... from ...",
		},
		{
			name: "isolation",
			sql: `select case when s.setrole = 0 then 'every role' else 'role ' || pg_get_userbyid(s.setrole) end || ' (' || c || ')'
from pg_db_role_setting s cross join unnest(s.setconfig) c where c ~* '^default_transaction_isolation=' and c !~* 'read committed'`,
			problem: "the guard refuses every write of %s: it works at read committed only",
			fix:     "alter role (or database) ... reset default_transaction_isolation",
		},
	}
}

// Verify runs the guard's part of the installation checks (I17) and lists what it finds; no finding means it is installed properly.
// It only reads. Run it on the owner's server: role and table settings are the same on its copies.
func Verify(ctx context.Context, conn *pgx.Conn) ([]driver.Finding, error) {
	installed, err := InstalledVersion(ctx, conn)
	if err != nil {
		return nil, err
	}
	if installed != Version {
		return []driver.Finding{{
			Check: "guard-version", Fatal: true,
			Problem: fmt.Sprintf("schema perdure has version %d, this program needs %d", installed, Version),
			Fix:     "run perdure guard install with this program's version",
		}}, nil
	}
	var found []driver.Finding
	for _, c := range checks() {
		rows, err := conn.Query(ctx, c.sql)
		if err != nil {
			return nil, fmt.Errorf("cannot run installation check %s: %w", c.name, err)
		}
		what, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, fmt.Errorf("cannot run installation check %s: %w", c.name, err)
		}
		for _, w := range what {
			found = append(found, driver.Finding{Check: c.name, Problem: fmt.Sprintf(c.problem, w), Fix: c.fix, Fatal: c.fatal})
		}
	}
	return found, nil
}
