-- Schema of the reference system corebank: accounts, a double-entry journal, and the functions that are its business.
-- Load it as a superuser after schema perdure, once per database. Business functions run with the rights of their caller.

create schema if not exists corebank;

-- The name of an account. A check of the table would be made anew at every payment; this one where a name is written.
do $$
begin
  if to_regtype('corebank.account_id') is null then
    create domain corebank.account_id as text collate "C" check (value ~ '^[A-Za-z0-9._~:@+=/#*-]{1,128}$');
  end if;
end $$;

-- Customers' accounts. What internal accounts hold is the sum of their journal lines: one row each would make every payment wait.
create table if not exists corebank.account (
  id      corebank.account_id primary key,
  slot    int           not null,
  opening numeric(20,2) not null,
  balance numeric(20,2) not null check (balance >= 0)
) with (fillfactor = 60);

-- Whose accounts they are. Payments do not look at it; who takes part in a drill sees it masked.
create table if not exists corebank.customer (
  account  corebank.account_id primary key,
  name     text not null,
  phone    text not null,
  document text not null -- what they have shown that they are who they are
);

-- The journal: the lines of one entry sum to zero. An entry is made by one request, its cause, and both are one transaction.
-- external is the counterpart of money that comes from outside or goes there, transit of money on its way between units.
create table if not exists corebank.journal (
  entry       bigint        not null,
  account     text          collate "C" not null,
  amount      numeric(20,2) not null check (amount <> 0), -- added to the account
  balance     numeric(20,2), -- of a customer's account, afterwards
  at          timestamptz   not null default clock_timestamp(),
  caller      text          collate "C" not null,
  routing_key text          collate "C" not null,
  key         text          collate "C" not null,
  primary key (account, entry)
);
create sequence if not exists corebank.entry;

-- Everything that has a balance, for statements, checks and reconciliation.
create or replace view corebank.ledger as
  select id, 'customer' as kind, opening, balance from corebank.account
  union all
  select i.id, i.id, 0::numeric(20,2), coalesce((select sum(j.amount) from corebank.journal j where j.account = i.id), 0)
  from (values ('external'), ('transit')) i (id);

-- refused stores a refusal as the result of the request. The body is a problem document.
create or replace function corebank.refused(r perdure.request, p_status int, p_title text, p_detail text) returns perdure.answer
language sql volatile as $$
  select perdure.settle(r, p_status, 'application/problem+json', convert_to(json_build_object('type', 'urn:corebank:' || replace(lower(p_title), ' ', '-'),
    'title', p_title, 'status', p_status, 'detail', p_detail)::text, 'UTF8'), '{}', null)
$$;

-- unable says why an account could not be debited.
create or replace function corebank.unable(r perdure.request, p_account text, p_amount numeric) returns perdure.answer
language plpgsql volatile as $$
begin
  if exists (select from corebank.account a where a.id = p_account) then
    return corebank.refused(r, 422, 'Insufficient funds', format('account %s holds less than %s', p_account, p_amount));
  end if;
  return corebank.refused(r, 404, 'No such account', format('there is no account %s in this unit', p_account));
end $$;

-- transfer moves an amount between two accounts of the unit.
create or replace function corebank.transfer(r perdure.request, p_from text, p_to text, p_amount numeric) returns perdure.answer
language plpgsql volatile as $$
declare
  v_owner text := perdure.claim(r);
  v_entry bigint;
  v_left numeric;
  v_right numeric;
begin
  if perdure.quarantined() then
    perform perdure.admit(r.unit, p_from, 'debit');
    perform perdure.admit(r.unit, p_to, 'credit');
  end if;
  -- Rows are locked in the order of their names, so that two transfers between the same accounts never wait for each other in a circle.
  if p_from < p_to then
    update corebank.account a set balance = a.balance - p_amount where a.id = p_from and a.balance >= p_amount returning a.balance into v_left;
    if v_left is null then
      return corebank.unable(r, p_from, p_amount);
    end if;
    update corebank.account a set balance = a.balance + p_amount where a.id = p_to returning a.balance into v_right;
    if v_right is null then
      update corebank.account a set balance = a.balance + p_amount where a.id = p_from;
      return corebank.refused(r, 404, 'No such account', format('there is no account %s in this unit', p_to));
    end if;
  else
    update corebank.account a set balance = a.balance + p_amount where a.id = p_to returning a.balance into v_right;
    if v_right is null then
      return corebank.refused(r, 404, 'No such account', format('there is no account %s in this unit', p_to));
    end if;
    update corebank.account a set balance = a.balance - p_amount where a.id = p_from and a.balance >= p_amount returning a.balance into v_left;
    if v_left is null then
      update corebank.account a set balance = a.balance - p_amount where a.id = p_to;
      return corebank.unable(r, p_from, p_amount);
    end if;
  end if;
  v_entry := nextval('corebank.entry'); -- while the rows are locked: entries of an account stand in the order of its balances
  insert into corebank.journal (entry, account, amount, balance, caller, routing_key, key) values
    (v_entry, p_from, -p_amount, v_left, r.caller, r.routing_key, r.key),
    (v_entry, p_to, p_amount, v_right, r.caller, r.routing_key, r.key);
  return perdure.settle(r, 201, 'application/json',
    convert_to(format('{"entry":%s,"from":"%s","to":"%s","amount":"%s"}', v_entry, p_from, p_to, p_amount), 'UTF8'), array[p_from, p_to], p_amount);
end $$;

-- credit brings money to an account: from outside, or (p_origin is a unit) what another unit has debited.
create or replace function corebank.credit(r perdure.request, p_account text, p_amount numeric, p_origin text) returns perdure.answer
language plpgsql volatile as $$
declare
  v_owner text := perdure.claim(r);
  v_entry bigint;
  v_balance numeric;
begin
  if perdure.quarantined() then
    perform perdure.admit(r.unit, p_account, 'credit');
  end if;
  update corebank.account a set balance = a.balance + p_amount where a.id = p_account returning a.balance into v_balance;
  if v_balance is null then
    return corebank.refused(r, 404, 'No such account', format('there is no account %s in this unit', p_account));
  end if;
  v_entry := nextval('corebank.entry');
  insert into corebank.journal (entry, account, amount, balance, caller, routing_key, key) values
    (v_entry, p_account, p_amount, v_balance, r.caller, r.routing_key, r.key),
    (v_entry, case when p_origin = '' then 'external' else 'transit' end, -p_amount, null, r.caller, r.routing_key, r.key);
  return perdure.settle(r, 201, 'application/json',
    convert_to(format('{"entry":%s,"account":"%s","amount":"%s"}', v_entry, p_account, p_amount), 'UTF8'), array[p_account], p_amount);
end $$;

-- debit takes money from an account to outside, or (p_to is an account of another unit) on its way there: then the credit
-- leaves by the outbox, in the same transaction.
create or replace function corebank.debit(r perdure.request, p_account text, p_amount numeric, p_to text) returns perdure.answer
language plpgsql volatile as $$
declare
  v_owner text := perdure.claim(r);
  v_entry bigint;
  v_balance numeric;
  v_message text;
begin
  if perdure.quarantined() then
    perform perdure.admit(r.unit, p_account, 'debit');
  end if;
  update corebank.account a set balance = a.balance - p_amount where a.id = p_account and a.balance >= p_amount returning a.balance into v_balance;
  if v_balance is null then
    return corebank.unable(r, p_account, p_amount);
  end if;
  v_entry := nextval('corebank.entry');
  insert into corebank.journal (entry, account, amount, balance, caller, routing_key, key) values
    (v_entry, p_account, -p_amount, v_balance, r.caller, r.routing_key, r.key),
    (v_entry, case when p_to = '' then 'external' else 'transit' end, p_amount, null, r.caller, r.routing_key, r.key);
  if p_to = '' then
    return perdure.settle(r, 201, 'application/json',
      convert_to(format('{"entry":%s,"account":"%s","amount":"%s"}', v_entry, p_account, p_amount), 'UTF8'), array[p_account], p_amount);
  end if;
  v_message := perdure.send(r, '/v1/credits', p_to,
    convert_to(json_build_object('account', p_to, 'amount', p_amount::text, 'origin', r.unit)::text, 'UTF8'));
  return perdure.settle(r, 202, 'application/json',
    convert_to(format('{"entry":%s,"from":"%s","to":"%s","amount":"%s","message":"%s"}', v_entry, p_account, p_to, p_amount, v_message), 'UTF8'),
    array[p_account, p_to], p_amount);
end $$;

-- give_back books the amount of a message that its destination refused back to where it came from, and settles the message, in one
-- transaction. It is a request of its own: the key is made from the message's, so it happens once.
create or replace function corebank.give_back(r perdure.request, p_message bigint, p_why text) returns perdure.answer
language plpgsql volatile as $$
declare
  v_owner text := perdure.claim(r);
  v_entry bigint;
  v_balance numeric;
  v_account text;
  v_amount numeric;
begin
  select k.accounts[1], k.amount into strict v_account, v_amount
    from perdure.outbox o join perdure.record k on k.caller = o.caller and k.routing_key = o.cause_routing_key and k.key = o.cause_key
    where o.id = p_message and o.unit = r.unit;
  if not perdure.outbox_done(r.unit, p_message, 'refused', p_why) then
    perform perdure.refuse(409, 'the message was settled before');
  end if;
  update corebank.account a set balance = a.balance + v_amount where a.id = v_account returning a.balance into strict v_balance;
  v_entry := nextval('corebank.entry');
  insert into corebank.journal (entry, account, amount, balance, caller, routing_key, key) values
    (v_entry, v_account, v_amount, v_balance, r.caller, r.routing_key, r.key),
    (v_entry, 'transit', -v_amount, null, r.caller, r.routing_key, r.key);
  return perdure.settle(r, 201, 'application/json',
    convert_to(format('{"entry":%s,"account":"%s","amount":"%s"}', v_entry, v_account, v_amount), 'UTF8'), array[v_account], v_amount);
end $$;

-- Behind the guard, and the application may do its business and no more.
select perdure.protect('corebank.account'), perdure.protect('corebank.customer'), perdure.protect('corebank.journal');
grant usage on schema corebank to perdure_app;
grant select, update on corebank.account to perdure_app;
grant select on corebank.customer to perdure_app;
grant select, insert on corebank.journal to perdure_app;
grant usage on sequence corebank.entry to perdure_app;
grant select on corebank.ledger to perdure_app;
