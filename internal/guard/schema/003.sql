-- Version 3: what was purged stays counted. An estimate of a loss (I10) compares what the owner and a copy have ever recorded, and they
-- began to count at different times. And verdicts on accounts are those of one quarantine (I7).

create table perdure.purged (
  unit         text    primary key,
  transactions bigint  not null,
  amount       numeric not null
);

alter table perdure.policy add column quarantine_of text; -- the ownership with which the lossy takeover began; null: in no quarantine
drop function if exists perdure.set_quarantine(text, boolean); -- it has a third parameter now
