-- Functions of schema perdure; replaced as a whole by every install and upgrade.
--
-- SQLSTATEs: PD001 not the owner · PD002 the guard was used wrongly · PD003 key used with another payload ·
-- PD004 key outside the retention · PD005 a request with this key is running · PD006 read lease over · PD007 account in
-- quarantine · PD009 cannot be opened · PD010 refused by the business · PD011 transactions in flight.
--
-- What applications call runs with the rights of perdure_guard (SECURITY DEFINER, set by roles.sql). That role can do less
-- than its callers can do through these functions, so the hot ones do without the cost of a search_path of their own.

------------------------------------------------------------------------------------------------------------- applications

-- perdure.entered is a setting of one transaction, left by enter, claim and once for what comes after them: "unit ownership". It ends
-- with the transaction, and with a savepoint that is rolled back, exactly as the lock does.

-- require is the trigger of guarded tables. It reads no table. (The same test as the trigger's WHEN clause costs three times as much:
-- that is parsed for every statement.)
create or replace function perdure.require() returns trigger
language plpgsql volatile as $$
begin
  if current_setting('perdure.entered', true) <> '' then
    return null;
  end if;
  raise exception using errcode = 'PD002',
    message = format('cannot change %I.%I: this transaction did not begin with perdure.enter, perdure.claim or perdure.once', tg_table_schema, tg_table_name),
    hint = 'Make perdure.once (or perdure.enter) the first statement of the transaction.';
end $$;

-- misused names what enter found wrong; it always raises.
create or replace function perdure.misused() returns void
language plpgsql volatile as $$
begin
  if pg_is_in_recovery() then
    raise exception using errcode = 'PD001', message = 'not the owner: this server is a copy';
  elsif current_setting('transaction_isolation') <> 'read committed' then
    raise exception using errcode = 'PD002', message = 'the guard works at isolation level read committed only';
  elsif current_setting('synchronous_commit') not in ('on', 'remote_apply') then
    raise exception using errcode = 'PD002', message = 'synchronous_commit is lowered in this session', hint = 'Set it to on.';
  elsif current_setting('client_min_messages') = 'error' then
    raise exception using errcode = 'PD002', message = 'warnings are switched off in this session: a COMMIT whose wait is cancelled would look like a success',
      hint = 'Set client_min_messages to warning.';
  end if;
  raise exception using errcode = 'PD002', message = 'this transaction wrote or locked rows before the guard',
    hint = 'Make perdure.once (or perdure.enter) the first statement of the transaction.';
end $$;

-- enter is the guard: the first statement of a writing transaction (I9). The shared lock comes first and the row is read by
-- the NEXT statement, whose snapshot is younger than the lock; so this stays VOLATILE, and two statements.
-- It gives the ownership.
create or replace function perdure.enter(p_unit text) returns text
language plpgsql volatile parallel unsafe security definer as $$
declare
  v_done text;
  v_ownership text;
  v_quarantined boolean;
begin
  if pg_is_in_recovery() or current_setting('transaction_isolation') <> 'read committed'
     or current_setting('synchronous_commit') not in ('on', 'remote_apply') or current_setting('client_min_messages') = 'error'
     or (pg_current_xact_id_if_assigned() is not null and coalesce(current_setting('perdure.entered', true), '') = '') then
    perform perdure.misused();
  end if;
  v_done := pg_advisory_xact_lock_shared(hashtextextended('perdure:' || p_unit, 0));
  select g.ownership, g.quarantined into v_ownership, v_quarantined
    from perdure.gate g where g.unit = p_unit and g.open and g.started = pg_postmaster_start_time();
  if v_ownership is null then
    raise exception using errcode = 'PD001', message = format('not the owner: unit %s is closed here', p_unit);
  end if;
  v_done := set_config('perdure.entered', p_unit || ' ' || v_ownership, true);
  if v_quarantined then
    v_done := set_config('perdure.quarantined', 'on', true);
  end if;
  return v_ownership;
end $$;

-- enter_read lets a plain read pass while the lease lasts (I8). Call it AFTER the read, in the same transaction or batch: then
-- the lease was valid when the read took its snapshot. It gives the ownership. It is no barrier: see barrier.
create or replace function perdure.enter_read(p_unit text) returns text
language plpgsql volatile parallel unsafe security definer as $$
declare
  v_ownership text;
  v_until bigint;
begin
  if pg_is_in_recovery() then
    perform perdure.misused();
  end if;
  select g.ownership, pg_sequence_last_value(g.lease) into v_ownership, v_until
    from perdure.gate g where g.unit = p_unit and g.open and g.started = pg_postmaster_start_time();
  if v_ownership is null then
    raise exception using errcode = 'PD001', message = format('not the owner: unit %s is closed here', p_unit);
  elsif v_until is null or v_until <= extract(epoch from clock_timestamp()) * 1000 then
    raise exception using errcode = 'PD006', message = format('the read lease of unit %s is over', p_unit), detail = v_ownership;
  end if;
  return v_ownership;
end $$;

-- barrier makes the COMMIT of this transaction wait until everything it has seen is durable on the in-sync set (I3).
create or replace function perdure.barrier() returns void
language plpgsql volatile parallel unsafe security definer as $$
begin
  perform pg_logical_emit_message(true, 'perdure', '');
end $$;

-- key_time is the time that a key carries: version 7 UUIDs always, ULIDs where it lies after 2020 and not in the future; else null.
create or replace function perdure.key_time(p_key text) returns timestamptz
language plpgsql stable parallel safe as $$
declare
  v_ms bigint := 0;
begin
  if length(p_key) = 36 and p_key ~ '^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$' then
    return to_timestamp(('x' || substr(p_key, 1, 8) || substr(p_key, 10, 4))::bit(48)::bigint / 1000.0);
  elsif length(p_key) = 26 and p_key ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$' then
    for i in 1..10 loop
      v_ms := v_ms * 32 + strpos('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(p_key, i, 1)) - 1;
    end loop;
    if v_ms between 1577836800000 and extract(epoch from now()) * 1000 + 3600000 then
      return to_timestamp(v_ms / 1000.0);
    end if;
  end if;
  return null;
end $$;

-- claim is enter for one request with a key. It does not look whether the key is recorded already: then settle fails for the key's
-- uniqueness (23505 on perdure.record) and nothing has happened; ask once for the stored answer. That costs a new request nothing, and
-- most are new. Further requests of the unit may be claimed in the same transaction. "Running" is a lock of the session, not a row (I5). It gives the ownership; call it by assignment, which is not a query.
create or replace function perdure.claim(r perdure.request) returns text
language plpgsql volatile parallel unsafe security definer as $$
declare
  v_done text;
  v_free boolean;
  v_ownership text;
  v_quarantined boolean;
  v_from timestamptz;
  v_made timestamptz := r.made;
begin
  if pg_is_in_recovery() or current_setting('transaction_isolation') <> 'read committed'
     or current_setting('synchronous_commit') not in ('on', 'remote_apply') or current_setting('client_min_messages') = 'error'
     or (pg_current_xact_id_if_assigned() is not null and split_part(current_setting('perdure.entered', true), ' ', 1) is distinct from r.unit) then
    perform perdure.misused();
  end if;
  v_done := pg_advisory_xact_lock_shared(hashtextextended('perdure:' || r.unit, 0));
  v_free := pg_try_advisory_xact_lock(hashtextextended(r.key, hashtextextended(r.routing_key, hashtextextended(r.caller, 1))));
  select g.ownership, g.quarantined, greatest(now() - g.retention, g.keys_from) into v_ownership, v_quarantined, v_from
    from perdure.gate g where g.unit = r.unit and g.open and g.started = pg_postmaster_start_time();
  -- One expression for what is so nearly always: each costs a good part of what it tests.
  if (v_ownership is not null and v_free and v_made >= v_from and (v_made <= now() + interval '1 hour' or v_made = 'infinity')) is not true then
    if v_ownership is null then
      raise exception using errcode = 'PD001', message = format('not the owner: unit %s is closed here', r.unit);
    elsif not v_free then
      raise exception using errcode = 'PD005', detail = v_ownership, message = 'a request with this key is running',
        hint = 'Repeat it with the same key in a moment.';
    end if;
    v_made := coalesce(v_made, perdure.key_time(r.key));
    if v_made < v_from or v_made > now() + interval '1 hour' and isfinite(v_made) then
      -- Its record is locked, so that no purge removes it before settle has found it.
      if not exists (select from perdure.record k where k.caller = r.caller and k.routing_key = r.routing_key and k.key = r.key for key share) then
        raise exception using errcode = 'PD004', detail = v_ownership,
          message = format('the key was made at %s: keys are kept from %s on', v_made, v_from),
          hint = 'Find out whether the request had its effect before it is sent with a new key.';
      end if;
    end if;
  end if;
  v_done := set_config('perdure.entered', r.unit || ' ' || v_ownership, true);
  if v_quarantined then
    v_done := set_config('perdure.quarantined', 'on', true);
  end if;
  return v_ownership;
end $$;

-- once is claim that looks: null status means go on, else the stored answer, and the transaction can write nothing more.
-- A stored answer leaves behind a barrier (I3): it counts when COMMIT has come back.
create or replace function perdure.once(r perdure.request) returns perdure.answer
language plpgsql volatile parallel unsafe security definer as $$
declare
  v_done text;
  v_ownership text := perdure.claim(r);
  v_hash bytea;
begin
  select k.hash into v_hash from perdure.record k where k.caller = r.caller and k.routing_key = r.routing_key and k.key = r.key;
  if v_hash is null then
    return null;
  elsif v_hash is distinct from r.hash then
    raise exception using errcode = 'PD003', detail = v_ownership, message = 'this key was used with another payload';
  end if;
  v_done := set_config('perdure.entered', '', true);
  perform pg_logical_emit_message(true, 'perdure', '');
  return (select row('replayed', k.status, k.content_type, k.result, v_ownership, k.xid::text::bigint, k.accounts, k.amount::text)::perdure.answer
    from perdure.record k where k.caller = r.caller and k.routing_key = r.routing_key and k.key = r.key);
end $$;

-- settle records the result of the request in the transaction of its effect and gives the answer. It is the last statement.
create or replace function perdure.settle(r perdure.request, p_status int, p_content_type text, p_result bytea, p_accounts text[], p_amount numeric)
returns perdure.answer
language plpgsql volatile parallel unsafe security definer as $$
declare
  v_entered text := current_setting('perdure.entered', true);
  v_ownership text := split_part(v_entered, ' ', 2);
begin
  if (split_part(v_entered, ' ', 1) = r.unit) is not true then
    raise exception using errcode = 'PD002', message = 'perdure.settle without perdure.claim or perdure.once in this transaction';
  end if;
  insert into perdure.record (slot, status, amount, unit, caller, routing_key, key, ownership, content_type, accounts, hash, result)
    values (r.slot, p_status, p_amount, r.unit, r.caller, r.routing_key, r.key, v_ownership, p_content_type, p_accounts, r.hash, p_result);
  return row('committed', p_status, p_content_type, p_result, v_ownership, pg_current_xact_id()::text::bigint, p_accounts, p_amount::text)::perdure.answer;
end $$;

-- refuse ends the transaction with a business refusal, for work that cannot return one; the SDK stores it as the key's result.
create or replace function perdure.refuse(p_status int, p_detail text) returns void
language plpgsql volatile as $$
begin
  raise exception using errcode = 'PD010', message = p_detail, detail = p_status::text;
end $$;

-- conclude records a result without an effect, such as the refusal of a transaction that was rolled back.
create or replace function perdure.conclude(r perdure.request, p_status int, p_content_type text, p_result bytea) returns perdure.answer
language plpgsql volatile parallel unsafe as $$
declare
  a perdure.answer;
begin
  a := perdure.once(r);
  if a.status is not null then
    return a;
  end if;
  return perdure.settle(r, p_status, p_content_type, p_result, '{}', null);
end $$;

-- quarantined says whether admit has anything to look at in this transaction. It costs next to nothing, a call of admit does not.
create or replace function perdure.quarantined() returns boolean
language sql volatile parallel unsafe as $$
  select coalesce(current_setting('perdure.quarantined', true), '') = 'on'
$$;

-- admit refuses what a quarantine forbids: unverified accounts are blocked, verified ones open, inconsistent ones credit only (I7).
-- p_side is debit or credit. Call it after once, for each account touched. Outside a quarantine it costs nothing worth naming.
create or replace function perdure.admit(p_unit text, p_account text, p_side text) returns void
language plpgsql volatile parallel unsafe security definer as $$
declare
  v_state text;
begin
  if current_setting('perdure.quarantined', true) is distinct from 'on' then
    return;
  end if;
  select q.state into v_state from perdure.quarantine q where q.account = p_account;
  if v_state is distinct from 'verified' and not (v_state is not distinct from 'inconsistent' and p_side is not distinct from 'credit')
     -- The release drops the verdicts; who entered before it is not refused for that.
     and not exists (select from perdure.gate g where g.unit = p_unit and not g.quarantined) then
    raise exception using errcode = 'PD007', detail = (select g.ownership from perdure.gate g where g.unit = p_unit),
      message = format('account %s is %s after a lossy switch: %s refused', p_account, coalesce(v_state, 'unverified'), p_side);
  end if;
end $$;

-- send puts a message into the outbox, in the transaction of its cause, and gives its key: the Idempotency-Key at the
-- destination, made from the cause, so that the same cause has the same key at every place and time. p_nth tells apart
-- messages of one cause to one destination and routing key.
create or replace function perdure.send(r perdure.request, p_destination text, p_routing_key text, p_payload bytea, p_headers jsonb default '{}', p_nth int default 0)
returns text
language plpgsql volatile parallel unsafe security definer as $$
declare
  v_key text := 'obx-' || encode(sha256(convert_to(concat_ws(e'\x1f', r.caller, r.routing_key, r.key, p_destination, p_routing_key, p_nth), 'UTF8')), 'hex');
  v_entered text := current_setting('perdure.entered', true);
  v_ownership text := split_part(v_entered, ' ', 2);
begin
  if (split_part(v_entered, ' ', 1) = r.unit) is not true then
    raise exception using errcode = 'PD002', message = 'perdure.send without perdure.claim or perdure.once in this transaction';
  end if;
  insert into perdure.outbox (unit, caller, cause_routing_key, cause_key, destination, routing_key, key, headers, payload, ownership)
    values (r.unit, r.caller, r.routing_key, r.key, p_destination, p_routing_key, v_key, p_headers, p_payload, v_ownership);
  return v_key;
end $$;

-- outbox_claim takes up to p_limit due messages for p_hold. They may be sent only after its COMMIT came back as a success:
-- that commit is the barrier (I3). A message nobody reports on becomes due again: after p_hold, or at once in another ownership,
-- because whoever took it before can report no more.
create or replace function perdure.outbox_claim(p_unit text, p_limit int, p_hold interval)
returns table (id bigint, destination text, routing_key text, key text, headers jsonb, payload bytea, attempts int, age interval)
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_ownership text := perdure.enter(p_unit);
begin
  update perdure.outbox o set due = clock_timestamp(), claimed = null
  where o.id in (
    select d.id from perdure.outbox d where d.unit = p_unit and d.done is null and d.claimed is not null and d.claimed <> v_ownership
    limit 1000 for update skip locked);
  return query
    update perdure.outbox o set due = clock_timestamp() + p_hold, attempts = o.attempts + 1, claimed = v_ownership
    where o.id in (
      select d.id from perdure.outbox d where d.unit = p_unit and d.done is null and d.due <= clock_timestamp()
      order by d.due limit p_limit for update skip locked)
    returning o.id, o.destination, o.routing_key, o.key, o.headers, o.payload, o.attempts, clock_timestamp() - o.created;
end $$;

-- outbox_done notes that the destination answered for good: delivered, refused, or parked for a person. It enters by itself,
-- unless this transaction has already, to compensate in the same transaction. False: it was done before, do nothing more.
create or replace function perdure.outbox_done(p_unit text, p_id bigint, p_outcome text, p_answer text) returns boolean
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
begin
  if coalesce(current_setting('perdure.entered', true), '') = '' then
    perform perdure.enter(p_unit);
  end if;
  update perdure.outbox set done = clock_timestamp(), outcome = p_outcome, answer = p_answer where id = p_id and unit = p_unit and done is null;
  return found;
end $$;

-- outbox_later makes a message due again after p_wait.
create or replace function perdure.outbox_later(p_unit text, p_id bigint, p_wait interval, p_answer text) returns void
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform perdure.enter(p_unit);
  update perdure.outbox set due = clock_timestamp() + p_wait, claimed = null, answer = p_answer where id = p_id and unit = p_unit and done is null;
end $$;

-- purge removes about p_limit records and as many finished messages that are older than the retention, oldest first, and says
-- how many went of what more went of: fewer than p_limit, and nothing old is left. Records stay counted; those of one transaction go
-- together. An hour is added to the retention,
-- so that a key whose time ran ahead is refused before its record is gone (I5).
create or replace function perdure.purge(p_unit text, p_limit int) returns int
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_before timestamptz;
  v_young xid8;
  v_records int;
  v_messages int;
begin
  perform perdure.enter(p_unit);
  if exists (select from perdure.policy p where p.unit = p_unit and not p.purging) then
    return 0;
  end if;
  select now() - g.retention - interval '1 hour' into v_before from perdure.gate g where g.unit = p_unit;
  -- Only what lies before the first young record is looked at: a unit with few of them beside a busy one must not look at all of those.
  select k.xid into v_young from perdure.record k where k.recorded_at >= v_before order by k.xid limit 1;
  with oldest as materialized (
    select k.caller, k.routing_key, k.key, k.recorded_at from perdure.record k
    where k.unit = p_unit and k.xid < coalesce(v_young, '18446744073709551615') order by k.xid fetch first p_limit rows with ties),
  gone as (
    delete from perdure.record k using oldest o
    where o.recorded_at < v_before and k.caller = o.caller and k.routing_key = o.routing_key and k.key = o.key
    returning k.amount)
  insert into perdure.purged as p (unit, transactions, amount)
    select p_unit, count(*), coalesce(sum(g.amount), 0) from gone g having count(*) > 0
    on conflict (unit) do update set transactions = p.transactions + excluded.transactions, amount = p.amount + excluded.amount
    returning (select count(*) from gone) into v_records;
  delete from perdure.outbox o where o.id in (
    select d.id from perdure.outbox d where d.unit = p_unit and d.done < v_before order by d.done limit p_limit);
  get diagnostics v_messages = row_count;
  return greatest(v_records, v_messages);
end $$;

-------------------------------------------------------------------------------------------------------------------- agent
-- The agent's session runs with synchronous_commit = local (I9). close and lease touch nothing that is logged.

-- lease_of gives the sequence of a unit's read lease, ended; null where there is none that can be used. PostgreSQL does not flush the
-- initial page of an unlogged sequence on a copy, so after the promotion of a copy that made no checkpoint since, the sequence is
-- damaged ("bad magic number").
create or replace function perdure.lease_of(p_unit text) returns regclass
language plpgsql volatile as $$
declare
  v_lease regclass := to_regclass('perdure.lease_' || md5(p_unit));
begin
  perform setval(v_lease, 1, false);
  return v_lease;
exception when internal_error or data_corrupted then
  return null;
end $$;

-- make_leases makes the sequences that lease said are missing. It takes its time, so opening does not wait for it.
create or replace function perdure.make_leases(p_units text[]) returns void
language plpgsql volatile as $$
declare
  v_unit text;
  v_name text;
begin
  for v_unit in select g.unit from perdure.gate g where g.unit = any (p_units) and g.open and g.started = pg_postmaster_start_time() and g.lease is null loop
    v_name := 'lease_' || md5(v_unit);
    execute format('drop sequence if exists perdure.%I', v_name);
    execute format('create unlogged sequence perdure.%I', v_name);
    execute format('grant select on sequence perdure.%I to perdure_guard', v_name);
    update perdure.gate g set lease = ('perdure.' || v_name)::regclass where g.unit = v_unit;
    perform setval(('perdure.' || v_name)::regclass, 1, false);
  end loop;
end $$;

-- outwait tries for 50 ms to outwait every transaction that entered the unit; newcomers queue behind it.
create or replace function perdure.outwait(p_unit text) returns boolean
language plpgsql volatile set lock_timeout = '50ms' as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('perdure:' || p_unit, 0));
  return true;
exception when lock_not_available then
  return false;
end $$;

-- open opens the units at an ownership above all that was ever seen here. Opening the same once more in the same life is no
-- change; anything else that was opened before needs a new epoch. PD009: it must not be opened. PD011: end the blockers, try again.
create or replace function perdure.open(p_units text[], p_incarnation bigint, p_incarnation_id text, p_epoch bigint, p_member text) returns void
language plpgsql volatile as $$
declare
  v_unit text;
  v_seen perdure.seen;
  v_policy perdure.policy;
  v_ownership text := p_incarnation || '.' || p_incarnation_id || '.' || p_epoch;
begin
  if pg_is_in_recovery() then
    raise exception using errcode = 'PD009', message = 'cannot open: this server is a copy', hint = 'Promote it first.';
  elsif current_setting('max_prepared_transactions') <> '0' then
    raise exception using errcode = 'PD009', message = 'cannot open: prepared transactions pass the fence', hint = 'Set max_prepared_transactions = 0 and restart.';
  end if;
  foreach v_unit in array p_units loop
    continue when exists (select from perdure.gate g where g.unit = v_unit and g.open and g.started = pg_postmaster_start_time()
      and g.ownership = v_ownership and g.member = p_member);
    -- Nothing that began under an earlier ownership may still be on its way (I9). Where the gate was never open in this life of the
    -- server there is nothing: what is turned away now, over and over, must not keep it from opening.
    if exists (select from perdure.gate g where g.unit = v_unit and g.started = pg_postmaster_start_time()) and not perdure.outwait(v_unit) then
      raise exception using errcode = 'PD011', message = format('cannot open unit %s: transactions of the former ownership are in flight', v_unit);
    end if;
    select * into v_seen from perdure.seen s where s.unit = v_unit for update;
    if found and v_seen.incarnation = p_incarnation and v_seen.incarnation_id <> p_incarnation_id then
      raise exception using errcode = 'PD009', message = format('cannot open unit %s at %s: incarnation %s.%s was seen here', v_unit, v_ownership, v_seen.incarnation, v_seen.incarnation_id);
    elsif found and (v_seen.incarnation, v_seen.epoch) > (p_incarnation, p_epoch) then
      raise exception using errcode = 'PD009', message = format('cannot open unit %s at %s: %s.%s.%s was seen here', v_unit, v_ownership, v_seen.incarnation, v_seen.incarnation_id, v_seen.epoch);
    elsif found and (v_seen.incarnation, v_seen.epoch) = (p_incarnation, p_epoch) and v_seen.used then
      raise exception using errcode = 'PD009', message = format('cannot open unit %s at %s: it was open before', v_unit, v_ownership), hint = 'Take a new epoch.';
    end if;
    insert into perdure.seen as s (unit, incarnation, incarnation_id, epoch, used) values (v_unit, p_incarnation, p_incarnation_id, p_epoch, true)
      on conflict (unit) do update set incarnation = excluded.incarnation, incarnation_id = excluded.incarnation_id, epoch = excluded.epoch, used = true, at = clock_timestamp();
    insert into perdure.policy (unit) values (v_unit) on conflict (unit) do nothing;
    select * into v_policy from perdure.policy p where p.unit = v_unit;
    insert into perdure.gate values (v_unit, p_incarnation, p_incarnation_id, p_epoch, v_ownership, p_member, pg_postmaster_start_time(), true,
        perdure.lease_of(v_unit), v_policy.quarantined, v_policy.retention, v_policy.keys_from)
      on conflict (unit) do update set incarnation = excluded.incarnation, incarnation_id = excluded.incarnation_id, epoch = excluded.epoch,
        ownership = excluded.ownership, member = excluded.member, started = excluded.started, open = true, lease = excluded.lease,
        quarantined = excluded.quarantined, retention = excluded.retention, keys_from = excluded.keys_from;
  end loop;
end $$;

-- close marks the units closed: whoever enters afterwards is refused. Whoever entered before is waited for by fence.
create or replace function perdure.close(p_units text[]) returns void
language plpgsql volatile as $$
begin
  update perdure.gate g set open = false where g.unit = any (p_units) and g.open;
end $$;

-- fence tries for 50 ms to outwait every transaction that entered before the closing. Null: not yet, see blockers and try again.
-- Else it is a position after every effect of the closed ownership, locally durable when this statement has come back.
create or replace function perdure.fence(p_units text[]) returns pg_lsn
language plpgsql volatile as $$
begin
  if exists (select from perdure.gate g where g.unit = any (p_units) and g.open and g.started = pg_postmaster_start_time()) then
    raise exception using errcode = 'PD009', message = 'cannot fence: close the units first';
  elsif exists (select from unnest(p_units) u where not perdure.outwait(u)) then
    return null;
  end if;
  return pg_logical_emit_message(true, 'perdure', 'fence');
end $$;

-- blockers are the sessions that hold fence up. in_sync_wait: it has committed here and waits for a copy; ended, it is unknown.
create or replace function perdure.blockers(p_units text[])
returns table (pid int, unit text, in_sync_wait boolean, age interval, state text, application text)
language sql volatile as $$
  select l.pid, u, coalesce(a.wait_event = 'SyncRep', false), clock_timestamp() - a.xact_start, a.state, a.application_name
  from unnest(p_units) u
  cross join lateral (select hashtextextended('perdure:' || u, 0) as h) k
  join pg_locks l on l.locktype = 'advisory' and l.objsubid = 1 and l.granted and l.mode = 'ShareLock'
    and l.classid = ((k.h >> 32) & 4294967295)::oid and l.objid = (k.h & 4294967295)::oid
    and l.database = (select d.oid from pg_database d where d.datname = current_database())
  left join pg_stat_activity a on a.pid = l.pid
  where l.pid <> pg_backend_pid()
$$;

-- end_blockers terminates the sessions that hold fence up and says how many. Call it from a second session while fence tries.
create or replace function perdure.end_blockers(p_units text[]) returns int
language sql volatile as $$
  select count(*) filter (where pg_terminate_backend(b.pid))::int from perdure.blockers(p_units) b
$$;

-- lease lets plain reads pass until p_until, Unix milliseconds; 0 ends it at once. It is a time of day and not a duration, so that a
-- server that was frozen meanwhile does not lengthen it. It changes unlogged sequences only, and says how many are missing.
create or replace function perdure.lease(p_units text[], p_until bigint) returns int
language plpgsql volatile as $$
begin
  perform setval(g.lease, greatest(p_until, 1))
    from perdure.gate g where g.unit = any (p_units) and g.open and g.started = pg_postmaster_start_time() and g.lease is not null;
  return (select count(*) from perdure.gate g where g.unit = any (p_units) and g.open and g.started = pg_postmaster_start_time() and g.lease is null);
end $$;

-- note writes down an ownership that was heard of. A higher one, or another incarnation of the same counter, closes the gate.
-- It gives noted, known (nothing new) or conflict (I10).
create or replace function perdure.note(p_units text[], p_incarnation bigint, p_incarnation_id text, p_epoch bigint) returns text
language plpgsql volatile as $$
declare
  v_unit text;
  v_seen perdure.seen;
  v_says text := 'known';
begin
  foreach v_unit in array p_units loop
    select * into v_seen from perdure.seen s where s.unit = v_unit for update;
    if found and v_seen.incarnation = p_incarnation and v_seen.incarnation_id <> p_incarnation_id then
      v_says := 'conflict';
    elsif not found or (v_seen.incarnation, v_seen.epoch) < (p_incarnation, p_epoch) then
      insert into perdure.seen (unit, incarnation, incarnation_id, epoch, used) values (v_unit, p_incarnation, p_incarnation_id, p_epoch, false)
        on conflict (unit) do update set incarnation = excluded.incarnation, incarnation_id = excluded.incarnation_id, epoch = excluded.epoch, used = false, at = clock_timestamp();
      v_says := case v_says when 'known' then 'noted' else v_says end;
    else
      continue;
    end if;
    update perdure.gate g set open = false where g.unit = v_unit and g.open;
  end loop;
  return v_says;
end $$;

-- set_retention and set_quarantine decide about a unit: kept in the logged policy, copied to the gate, in force at once. A longer
-- retention begins where the former one ends now: the records before are gone, and so keys from before must not be executed again (I5).
create or replace function perdure.set_retention(p_unit text, p_retention interval) returns void
language plpgsql volatile as $$
declare
  v_from timestamptz;
begin
  insert into perdure.policy as p (unit, retention) values (p_unit, p_retention)
    on conflict (unit) do update set retention = excluded.retention,
      keys_from = case when excluded.retention > p.retention then greatest(p.keys_from, now() - p.retention) else p.keys_from end
    returning keys_from into v_from;
  update perdure.gate g set retention = p_retention, keys_from = v_from where g.unit = p_unit;
end $$;

-- p_of names the quarantine: the ownership with which the lossy takeover began. What was judged in another one counts for nothing now,
-- so it is dropped with the change, as it is with the release; a reopening in the same quarantine keeps it. Null: nobody knows which one,
-- and that is another one each time.
create or replace function perdure.set_quarantine(p_unit text, p_on boolean, p_of text default null) returns void
language plpgsql volatile as $$
begin
  if not p_on or not exists (select from perdure.policy p where p.unit = p_unit and p.quarantined and p.quarantine_of = p_of) then
    perform from perdure.policy p order by p.unit for update; -- behind a judgement under way: see judging
    -- A unit that joins the group meanwhile does not take the verdicts on the others' accounts with it.
    if not p_on or not exists (select from perdure.policy p where p.quarantined and p.quarantine_of = p_of) then
      delete from perdure.quarantine;
    end if;
    insert into perdure.policy (unit, quarantined, quarantine_of) values (p_unit, p_on, case when p_on then p_of end)
      on conflict (unit) do update set quarantined = excluded.quarantined, quarantine_of = excluded.quarantine_of;
  end if;
  update perdure.gate g set quarantined = p_on where g.unit = p_unit;
end $$;

-- judging says whether these units are in this very quarantine, and keeps them in it until the transaction with the verdicts ends.
create or replace function perdure.judging(p_units text[], p_of text) returns boolean
language plpgsql volatile as $$
begin
  perform from perdure.policy p where p.unit = any (p_units) order by p.unit for share;
  return not exists (select from unnest(p_units) u
    where not exists (select from perdure.policy p where p.unit = u and p.quarantined and p.quarantine_of = p_of));
end $$;

-- judge writes the verdict on an account in quarantine: verified, inconsistent, or null to take it back.
create or replace function perdure.judge(p_account text, p_state text, p_by text) returns void
language plpgsql volatile as $$
begin
  if p_state is null then
    delete from perdure.quarantine q where q.account = p_account;
  else
    insert into perdure.quarantine (account, state, by) values (p_account, p_state, p_by)
      on conflict (account) do update set state = excluded.state, by = excluded.by, at = clock_timestamp();
  end if;
end $$;

------------------------------------------------------------------------------------------------------------- installation

-- protect puts a table behind the guard. The caller owns the table.
create or replace function perdure.protect(p_table regclass) returns void
language plpgsql volatile as $$
begin
  execute format('create or replace trigger perdure_guard before insert or update or delete or truncate on %s for each statement execute function perdure.require()', p_table);
end $$;

-- unguarded names the tables that are not behind the guard and not exempted (I17).
create or replace view perdure.unguarded as
select n.nspname as schema, c.relname as name, pg_get_userbyid(c.relowner) as owner
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't'
  and n.nspname not in ('pg_catalog', 'information_schema', 'perdure') and n.nspname not like 'pg\_toast%' and n.nspname not like 'pg\_temp%'
  and not exists (select from perdure.exempt e where e.relation = n.nspname || '.' || c.relname)
  and not exists (
    select from pg_trigger t
    where t.tgrelid = c.oid and t.tgfoid = 'perdure.require()'::regprocedure and t.tgenabled in ('O', 'A')
      and t.tgtype = 62 and t.tgattr = '' and t.tgqual is null); -- before, each statement, all four events, all columns, always
