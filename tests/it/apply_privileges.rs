//! A privilege that the batches need is named before the first write, with the statement that grants it.

use super::support::{Output, Rescue, TestDb};

const TENANTS: &str = "
    create schema a; create schema b;
    create table a.orders (id int primary key, no text unique); create table b.orders (id int primary key, no text unique);
    insert into a.orders select i, 'A' || i from generate_series(1, 5) i;";

const MISROUTED: &str = "[[recover]]\ntable = \"a.orders\"\nkind = \"misrouted\"\nmisrouted_to = \"b.orders\"\nwhere = \"id = 3\"\n";

/// A role that may read, insert and update in these schemas, and no more.
fn modest_role(live: &TestDb<'_>, schemas: &str) -> String {
    let role = format!("modest_of_{}", live.name());
    live.psql(&format!(
        "create role {role} login; grant usage on schema {schemas} to {role};
         grant select, insert, update on all tables in schema {schemas} to {role};
         grant select, update on all sequences in schema {schemas} to {role}"
    ));
    role
}

fn run_as(rescue: &Rescue<'_>, live: &TestDb<'_>, role: &str, command: &str) -> Output {
    rescue.rowback().run([command, "case", "--live", &live.url_as(role), "--confirm", live.name()])
}

fn stable(text: &str, live: &TestDb<'_>, role: &str) -> String {
    text.replace(role, "[ROLE]").replace(live.name(), "[DB]")
}

#[test]
fn rows_that_may_not_be_deleted_are_not_moved() {
    let live = TestDb::with("privileges_move", TENANTS);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("insert into b.orders select * from a.orders where id = 3; delete from a.orders where id = 3");
    let role = modest_role(&live, "a, b");
    let _planned = rescue.recover_text(MISROUTED).expect_code(0);
    let before = live.digest();
    let refused = run_as(&rescue, &live, &role, "apply").expect_code(3);
    insta::assert_snapshot!(stable(&refused.stderr, &live, &role), @r#"
    error[privilege-missing]: the role "[ROLE]" may not write all that the plan writes
      cause: no DELETE on b.orders
      hint: Use another role with `--live`, or ask for: grant delete on "b"."orders" to "[ROLE]"; then run the same command again. Nothing was written by this run.
    "#);
    before.assert_same(&live.digest(), "nothing is written");
    assert!(!rescue.case().join("journal.jsonl").exists(), "nothing is announced");
    live.psql(&format!("grant delete on b.orders to {role}"));
    let applied = run_as(&rescue, &live, &role, "apply").expect_code(0);
    let said = format!("{}{}", applied.stdout, applied.stderr);
    assert!(said.contains("no DELETE on a.orders for the role"), "undo will need it: {said}");
    let refused = run_as(&rescue, &live, &role, "undo").expect_code(3);
    assert!(refused.stderr.contains("no DELETE on a.orders"), "{refused:?}");
}

#[test]
fn undo_names_the_tables_of_which_it_may_not_delete() {
    let live = TestDb::with(
        "privileges_undo",
        "create table customers (id int primary key); create table orders (id int primary key, customer_id int references customers on delete cascade);
         insert into customers select generate_series(1, 3); insert into orders select i, i from generate_series(1, 3) i",
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from customers where id = 2");
    let role = modest_role(&live, "public");
    let damaged = live.digest();
    let _planned =
        rescue.recover_text("[[recover]]\ntable = \"customers\"\nwhere = \"id = 2\"\n").expect_code(0);
    let applied = run_as(&rescue, &live, &role, "apply").expect_code(0);
    insta::assert_snapshot!(stable(&applied.stdout, &live, &role), @r#"
    table             inserted  updated  there before
    public.customers         1        0             0
    public.orders            1        0             0

    note: no DELETE on public.customers, public.orders for the role "[ROLE]": `undo` needs it, and so does clearing away rows that triggers make in the place of recovered ones. Ask for: grant delete on "public"."customers", "public"."orders" to "[ROLE]"

    Applied to "[DB]": 2 rows inserted, 0 rows updated (2 batches); every row ended as staged.
    Next: rowback verify case. To take it back: rowback undo case
    "#);
    let recovered = live.digest();
    let refused = run_as(&rescue, &live, &role, "undo").expect_code(3);
    insta::assert_snapshot!(stable(&refused.stderr, &live, &role), @r#"
    error[privilege-missing]: the role "[ROLE]" may not take back what the plan wrote
      cause: no DELETE on public.customers, public.orders
      hint: Use another role with `--live`, or ask for: grant delete on "public"."customers", "public"."orders" to "[ROLE]"; then run the same command again. Nothing was taken back by this run.
    "#);
    recovered.assert_same(&live.digest(), "nothing is taken back");
    live.psql(&format!("grant delete on customers, orders to {role}"));
    let undone = run_as(&rescue, &live, &role, "undo").expect_code(0);
    assert!(!undone.stdout.contains("no DELETE"), "{undone:?}");
    damaged.assert_same(&live.digest(), "all of it is taken back");
}

#[test]
fn a_sequence_that_may_not_be_moved_is_named_before_the_first_row() {
    let live = TestDb::with(
        "privileges_sequence",
        "create table orders (id int generated always as identity primary key, n text); insert into orders (n) values ('a'), ('b');",
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from orders where id = 2; select setval('orders_id_seq', 1)");
    let role = modest_role(&live, "public");
    live.psql(&format!("revoke all on sequence orders_id_seq from {role}"));
    let _planned =
        rescue.recover_text("[[recover]]\ntable = \"orders\"\nwhere = \"id = 2\"\n").expect_code(0);
    let before = live.digest();
    let refused = run_as(&rescue, &live, &role, "apply").expect_code(3);
    insta::assert_snapshot!(stable(&refused.stderr, &live, &role), @r#"
    error[privilege-missing]: the role "[ROLE]" may not write all that the plan writes
      cause: no SELECT and UPDATE on public.orders_id_seq, which may have to move forward
      hint: Use another role with `--live`, or ask for: grant select, update on sequence "public"."orders_id_seq" to "[ROLE]"; then run the same command again. Nothing was written by this run.
    "#);
    before.assert_same(&live.digest(), "nothing is written");
    live.psql(&format!("grant select, update on sequence orders_id_seq to {role}"));
    let _applied = run_as(&rescue, &live, &role, "apply").expect_code(0);
    assert_eq!(live.value("select nextval('orders_id_seq')"), "3");
}

/// A database that was frozen after the accident says so before the first batch.
#[test]
fn a_database_that_starts_read_only_is_refused() {
    let live = TestDb::with("frozen", TENANTS);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from a.orders where id = 3");
    let recipe = "[[recover]]\ntable = \"a.orders\"\nwhere = \"id = 3\"\n";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    live.psql(&format!("alter database {} set default_transaction_read_only = on", live.name()));
    let refused = rescue.apply().expect_code(4);
    assert!(refused.stderr.contains("error[live-is-read-only]"), "{}", refused.stderr);
    assert!(refused.stderr.contains("set default_transaction_read_only = off"), "{}", refused.stderr);
    assert!(!rescue.case().join("journal.jsonl").exists(), "no batch was begun");
    let tried = ["apply", "case", "--live", &live.url(), "--confirm", live.name(), "--dry-run"];
    let _refused = rescue.rowback().run(tried).expect_code(4);
}

/// Row security that applies makes every statement of a batch an error; that is known before the first one.
#[test]
fn row_security_is_named_before_the_first_batch() {
    let live = TestDb::with("hidden", &format!("{TENANTS} insert into b.orders select * from a.orders"));
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from a.orders where id = 3; delete from b.orders; alter table b.orders enable row level security");
    let recipe = "[[recover]]\ntable = \"a.orders\"\nwhere = \"id = 3\"\n[[recover]]\ntable = \"b.orders\"\nwhere = \"true\"\n";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let role = modest_role(&live, "a, b");
    live.psql("create policy all_of_it on b.orders using (true)");
    let before = live.digest();
    let refused = run_as(&rescue, &live, &role, "apply");
    live.psql(&format!("drop owned by {role}; drop role {role}"));
    let refused = refused.expect_code(3);
    assert!(refused.stderr.contains("row security applies on b.orders"), "{}", refused.stderr);
    before.assert_same(&live.digest(), "refused");
}

const COLUMNS: &str = "
    create table customers (id int primary key, a text, d text); insert into customers values (1, 'a', 'd'), (2, 'b', 'e'), (3, 'c', 'f');
    create table notes (id int primary key, n text, m text); insert into notes values (1, 'n', 'm'), (2, 'o', 'm');";

/// What a role needs beside the plain privileges on tables: temporary tables, each written column, and SELECT on the whole table.
#[test]
fn columns_and_temporary_tables_that_are_closed_are_named_before_the_first_row() {
    let live = TestDb::with("privileges_columns", COLUMNS);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    let whole = live.digest();
    live.psql("delete from customers where id = 2; update notes set n = 'bad' where id = 1");
    let role = modest_role(&live, "public");
    live.psql(&format!(
        "grant delete on all tables in schema public to {role}; revoke temporary on database {} from public;
         revoke insert on customers from {role}; grant insert (id, a) on customers to {role};
         revoke select on customers from {role}; grant select (id, a, d) on customers to {role};
         revoke update on notes from {role}; grant update (id, m) on notes to {role}",
        live.name()
    ));
    let recipe = "[[recover]]\ntable = \"customers\"\nwhere = \"id = 2\"\n[[recover]]\ntable = \"notes\"\nkind = \"corrupted\"\n\
                  columns = [\"n\"]\nwhere = \"true\"\ndamaged = \"live.n = 'bad'\"\n";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let damaged = live.digest();
    let refused = run_as(&rescue, &live, &role, "apply").expect_code(3);
    insta::assert_snapshot!(stable(&refused.stderr, &live, &role), @r#"
    error[privilege-missing]: the role "[ROLE]" may not write all that the plan writes
      cause: no TEMPORARY on the database "[DB]"
      cause: no SELECT on public.customers (column by column is not enough)
      cause: no INSERT (d) on public.customers
      cause: no UPDATE (n) on public.notes
      hint: Use another role with `--live`, or ask for: grant temporary on database "[DB]" to "[ROLE]"; grant select on "public"."customers" to "[ROLE]"; grant insert ("d") on "public"."customers" to "[ROLE]"; grant update ("n") on "public"."notes" to "[ROLE]"; then run the same command again. Nothing was written by this run.
    "#);
    let tried = ["apply", "case", "--live", &live.url_as(&role), "--confirm", live.name(), "--dry-run"];
    let tried = rescue.rowback().run(tried).expect_code(3);
    assert_eq!(tried.stderr, refused.stderr);
    damaged.assert_same(&live.digest(), "nothing is written");
    assert!(!rescue.case().join("journal.jsonl").exists(), "nothing is announced");
    let grants = refused.stderr.split("or ask for: ").nth(1).unwrap().split("; then run").next().unwrap();
    live.psql(grants);
    let _applied = run_as(&rescue, &live, &role, "apply").expect_code(0);
    whole.assert_same(&live.digest(), "what was asked for is all that is needed");
    live.psql(&format!(
        "revoke temporary on database {} from {role}; revoke select on customers from {role}; grant select (id, a, d) on customers to {role};
         revoke update (n) on notes from {role}",
        live.name()
    ));
    let refused = run_as(&rescue, &live, &role, "undo").expect_code(3);
    insta::assert_snapshot!(stable(&refused.stderr, &live, &role), @r#"
    error[privilege-missing]: the role "[ROLE]" may not take back what the plan wrote
      cause: no TEMPORARY on the database "[DB]"
      cause: no SELECT on public.customers (column by column is not enough)
      cause: no UPDATE (n) on public.notes
      hint: Use another role with `--live`, or ask for: grant temporary on database "[DB]" to "[ROLE]"; grant select on "public"."customers" to "[ROLE]"; grant update ("n") on "public"."notes" to "[ROLE]"; then run the same command again. Nothing was taken back by this run.
    "#);
    let grants = refused.stderr.split("or ask for: ").nth(1).unwrap().split("; then run").next().unwrap();
    live.psql(grants);
    let _undone = run_as(&rescue, &live, &role, "undo").expect_code(0);
    damaged.assert_same(&live.digest(), "all of it is taken back");
}
