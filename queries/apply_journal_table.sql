-- access:  write
-- params:  none
-- returns: none
-- why:     a row for each transaction of apply and undo, written by that transaction itself: it is there when, and only when, the
--          transaction is committed. Two cases may have the same plan, so a row names its case. Lines hold keys and values of
--          rows, so nobody but its owner may read them
create table rowback.journal (
    id bigint generated always as identity primary key,
    case_id text not null,
    plan text not null,
    batch integer not null,
    xid text not null,
    written_at timestamp with time zone not null default pg_catalog.now(),
    line json not null,
    unique (case_id, batch, xid)
)
