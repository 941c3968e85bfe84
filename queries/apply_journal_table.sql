-- access:  write
-- params:  none
-- returns: none
-- why:     a row for each transaction of apply and undo, written by that transaction itself: it is there when, and only when, the
--          transaction is committed. It holds keys and values of rows, so nobody but its owner may read it
create table rowback.journal (
    id bigint generated always as identity primary key,
    plan text not null,
    batch integer not null,
    xid text not null,
    written_at timestamp with time zone not null default pg_catalog.now(),
    written_by text not null default session_user,
    line json not null,
    unique (plan, batch, xid)
)
