-- Tables of schema perdure, version 1. What stands here is never edited once released: a change is a further file.

create schema perdure;

create table perdure.version (
  version int primary key,
  at      timestamptz not null default clock_timestamp()
);

-- The gate. A database is open only by a row in this table (I1). It is unlogged on purpose: crash, promotion, restore and
-- copy leave it empty, and a clean restart leaves rows of another start time, so every new life of a server is closed.
create unlogged table perdure.gate (
  unit               text        primary key,
  incarnation        bigint      not null,
  incarnation_id     text        not null,
  epoch              bigint      not null,
  ownership          text        not null, -- "counter.id.epoch", the form that travels
  member             text        not null,
  started            timestamptz not null, -- pg_postmaster_start_time() of the life that was opened
  open               boolean     not null,
  lease              regclass,             -- unlogged sequence: end of the read lease in Unix milliseconds (I8); null: none yet
  quarantined        boolean     not null, -- accounts are judged one by one (I7)
  retention          interval    not null
) with (fillfactor = 50);

-- The highest ownership this database has heard of, and whether it was opened with it. Logged, so it travels with the data:
-- nothing lower is obeyed, and nothing is opened twice (I1).
create table perdure.seen (
  unit           text        primary key,
  incarnation    bigint      not null,
  incarnation_id text        not null,
  epoch          bigint      not null,
  used           boolean     not null,
  at             timestamptz not null default clock_timestamp()
);

-- What people decided about a unit; it travels with the data and is copied to the gate when that opens.
create table perdure.policy (
  unit        text     primary key,
  retention   interval not null default interval '7 days' check (retention > interval '0'),
  quarantined boolean  not null default false,
  purging     boolean  not null default true -- false: nothing is removed. A person's own switch, set by hand; the product never sets it
);

-- Idempotency records: one for each request that had its effect, written in the transaction of the effect (I5), whose number is xid:
-- applications and receipts call it seq. Requests that share a transaction share the number.
create table perdure.record (
  xid          xid8        not null default pg_current_xact_id(),
  recorded_at  timestamptz not null default clock_timestamp(),
  slot         int         not null,
  status       int         not null,
  amount       numeric,
  unit         text        collate "C" not null,
  caller       text        collate "C" not null,
  routing_key  text        collate "C" not null,
  key          text        collate "C" not null,
  ownership    text        collate "C" not null,
  content_type text        collate "C" not null,
  accounts     text[]      not null,
  hash         bytea       not null,
  result       bytea       not null,
  -- The key comes first: most carry their time, so the index grows at its end and stays in memory.
  primary key (key, caller, routing_key)
) with (
  -- A plan made while statistics say "one page" would scan the table in every session that keeps it: look late.
  autovacuum_analyze_threshold = 20000, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = 100000
);
create index record_xid on perdure.record (xid);

-- Messages to other systems, written in the transaction of their cause and sent only behind a barrier (I3).
create table perdure.outbox (
  id           bigint      primary key generated always as identity,
  unit         text        collate "C" not null,
  caller       text        not null, -- of the request that is the cause, as are the next two
  cause_routing_key text   not null,
  cause_key    text        not null,
  destination  text        not null, -- a path at the gateway, or any name that the dispatcher's sender knows
  routing_key  text        not null,
  key          text        not null, -- the Idempotency-Key at the destination: fixed here, so every attempt has the same
  headers      jsonb       not null default '{}',
  payload      bytea       not null,
  ownership    text        not null,
  created      timestamptz not null default clock_timestamp(),
  due          timestamptz not null default clock_timestamp(),
  attempts     int         not null default 0,
  claimed      text,       -- the ownership in which somebody took it and has not reported yet
  done         timestamptz,
  outcome      text        check (outcome in ('delivered', 'refused', 'parked')),
  answer       text,
  unique (destination, routing_key, key),
  check ((done is null) = (outcome is null))
) with (autovacuum_analyze_threshold = 20000, autovacuum_vacuum_threshold = 5000);
create index outbox_due on perdure.outbox (unit, due) where done is null;
create index outbox_claimed on perdure.outbox (unit) where done is null and claimed is not null;
create index outbox_done on perdure.outbox (done) where done is not null;

-- Accounts of a quarantined unit that were judged; an account without a row is unverified and blocked (I7).
create table perdure.quarantine (
  account text        collate "C" primary key,
  state   text        not null check (state in ('verified', 'inconsistent')),
  by      text        not null,
  at      timestamptz not null default clock_timestamp()
);

-- Tables that are deliberately not behind the guard, with the reason a person gave.
create table perdure.exempt (
  relation text primary key, -- schema.table
  reason   text not null check (reason <> '')
);

-- One request, as it goes into a business function.
create type perdure.request as (
  unit        text,
  slot        int,
  caller      text,
  routing_key text,
  key         text,
  hash        bytea
);

-- One answer, as it comes out of a business function.
create type perdure.answer as (
  outcome      text, -- committed | replayed
  status       int,
  content_type text,
  result       bytea,
  ownership    text,
  seq          bigint, -- of the record; a number that is used once in the life of a database
  accounts     text[],
  amount       text    -- a decimal
);
