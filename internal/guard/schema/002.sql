-- Version 2: a request says when its key was made, where the application found out; and a retention that was made longer brings no records
-- back, so keys from before are refused until it has grown to its new length (I5).

alter type perdure.request add attribute made timestamptz; -- infinity where the key does not say, null: read it from the key

alter table perdure.policy add column keys_from timestamptz not null default '-infinity';
alter table perdure.gate add column keys_from timestamptz not null default '-infinity';
