-- Version 3: what was purged stays counted. An estimate of a loss (I10) compares what the owner and a copy have ever recorded, and they
-- began to count at different times.

create table perdure.purged (
  unit         text    primary key,
  transactions bigint  not null,
  amount       numeric not null
);
