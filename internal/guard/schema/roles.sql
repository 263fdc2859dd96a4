
-- Roles and rights of schema perdure; run by every install and upgrade, as a superuser. Passwords and pg_hba are the operator's.

do $$
begin
  if not exists (select from pg_roles where rolname = 'perdure_agent') then
    create role perdure_agent login replication;
  end if;
  if not exists (select from pg_roles where rolname = 'perdure_app') then
    create role perdure_app login;
  end if;
  if not exists (select from pg_roles where rolname = 'perdure_guard') then
    create role perdure_guard;
  end if;
end $$;
alter role perdure_agent set synchronous_commit = 'local';
alter role perdure_guard nologin nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
grant pg_monitor, pg_signal_backend to perdure_agent;
grant execute on function pg_promote(boolean, integer), pg_reload_conf() to perdure_agent;
grant alter system on parameter synchronous_standby_names, primary_conninfo, primary_slot_name to perdure_agent;

-- Everything belongs to the agent; what applications call runs as perdure_guard.
alter schema perdure owner to perdure_agent;
do $$
declare
  o record;
begin
  for o in select c.oid::regclass as name, c.relkind from pg_class c
    where c.relnamespace = 'perdure'::regnamespace and c.relkind in ('r', 'v', 'S')
      and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('i', 'a') and c.relkind = 'S')
  loop
    execute format('alter %s %s owner to perdure_agent', case o.relkind when 'r' then 'table' when 'v' then 'view' else 'sequence' end, o.name);
  end loop;
  for o in select t.oid::regtype as name from pg_type t join pg_class c on c.oid = t.typrelid
    where t.typnamespace = 'perdure'::regnamespace and c.relkind = 'c'
  loop
    execute format('alter type %s owner to perdure_agent', o.name);
  end loop;
  for o in select p.oid::regprocedure as name, p.prosecdef from pg_proc p where p.pronamespace = 'perdure'::regnamespace
  loop
    execute format('revoke all on function %s from public', o.name);
    execute format('alter function %s owner to perdure_agent', o.name);
    execute format('grant execute on function %s to perdure_guard', o.name);
    if o.prosecdef then
      execute format('grant execute on function %s to perdure_agent, perdure_app', o.name);
      -- The owner of a function needs CREATE on its schema for the moment of the change.
      execute format('grant create on schema perdure to perdure_guard');
      execute format('alter function %s owner to perdure_guard', o.name);
    end if;
  end loop;
end $$;
revoke all on schema perdure from public, perdure_app, perdure_guard;
grant usage on schema perdure to public;
revoke all on all tables in schema perdure from public, perdure_app, perdure_guard;
grant select on perdure.gate, perdure.record, perdure.policy, perdure.quarantine to perdure_guard;
grant insert, delete on perdure.record to perdure_guard;
grant update (slot) on perdure.record to perdure_guard; -- changed by nobody: a row lock asks for it
grant select, insert, update, delete on perdure.outbox to perdure_guard;
grant select, insert, update on perdure.purged to perdure_guard;
grant select on perdure.unguarded, perdure.exempt, perdure.outbox, perdure.record, perdure.policy, perdure.quarantine to perdure_app;
grant execute on function perdure.quarantined(), perdure.conclude(perdure.request, int, text, bytea), perdure.refuse(int, text), perdure.key_time(text), perdure.misused() to perdure_app, perdure_agent;
grant execute on function perdure.require(), perdure.protect(regclass) to public;
