//! Rows that live does not take any more: the verdict is given row by row, and the others come back.

use super::support::{Output, Rescue, TestDb};

/// Live after `accident`; rows of `table` are recovered.
fn recover(world: &str, accident: &str, recipe: &str, look: impl FnOnce(&TestDb, &Rescue, Output)) {
    let backup = TestDb::with("unfit", world);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(accident);
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_with(recipe, &["--json"]);
    look(&live, &rescue, planned);
}

const ALL: &str = "[[recover]]\ntable = \"public.it\"\nwhere = \"true\"\n";

/// Without line breaks.
fn words(output: &Output) -> String {
    output.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn verdict(output: &Output, table: &str, verdict: &str) -> i64 {
    output.json()["verdicts"][table][verdict].as_i64().unwrap_or(0)
}

#[test]
fn a_value_that_the_column_would_round_or_cut_keeps_its_row_out() {
    let world = "
        create table it (id int primary key, amt numeric(10,4), at timestamp, f float8, t text, n int, j json);
        create table child (id int primary key, it int not null references it on delete cascade);
        insert into it values
            (1, 0.3333, '2025-01-01 10:00:00', 0.5, 'abc', 5, '{\"a\":1}'),
            (2, 0.5000, '2025-01-01 10:00:00.25', 0.5, 'abc', 5, '{}'),
            (3, 0.5000, '2025-01-01 10:00:00', 0.123456789012, 'abc', 5, '{}'),
            (4, 0.5000, '2025-01-01 10:00:00', 0.1, 'abcd', 5, '{}'),
            (5, 0.5000, '2025-01-01 10:00:00', 0.1, 'abc', 5, '{\"a\":1}'),
            (6, null, null, null, null, null, null);
        insert into child select id, id from it;";
    let accident = "delete from it;
        alter table it alter amt type numeric(10,2), alter at type timestamp(0), alter f type real, alter t type varchar(3),
            alter n type numeric(8,2), alter j type jsonb;";
    recover(world, accident, ALL, |live, rescue, planned| {
        let planned = planned.expect_code(1);
        assert_eq!(verdict(&planned, "public.it", "unfit"), 4, "{}", planned.stdout);
        assert_eq!(verdict(&planned, "public.it", "lost"), 2);
        assert_eq!(verdict(&planned, "public.child", "orphan"), 4);
        let _applied = rescue.apply().expect_code(0);
        assert_eq!(
            live.rows("it"),
            ["5\t0.50\t2025-01-01 10:00:00\t0.1\tabc\t5.00\t{\"a\": 1}", "6\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N"]
        );
        assert_eq!(live.rows("child"), ["5\t5", "6\t6"]);
        let verified = rescue.verify().expect_code(1);
        assert!(!verified.stdout.contains("differs"), "{}", verified.stdout);
        let shown =
            rescue.rowback().run(["show", "case", "--table", "it", "--verdict", "unfit"]).expect_code(0);
        assert!(
            shown.stdout.contains("amt is numeric(10,2) in live, which would alter the value"),
            "{}",
            shown.stdout
        );
    });
}

#[test]
fn a_value_that_the_type_refuses_keeps_its_row_out() {
    let world = "
        create type mood as enum ('sad', 'ok');
        create domain positive as int check (value > -10);
        create table it (id int primary key, m mood, n numeric, p positive);
        insert into it values (1, 'sad', 1, 1), (2, 'ok', 1.5, 1), (3, 'ok', 1, -1), (4, 'ok', 1, 1);";
    let accident = "delete from it;
        alter type mood rename value 'sad' to 'blue'; alter table it alter n type int;
        alter domain positive add constraint above check (value > 0);";
    recover(world, accident, ALL, |live, rescue, planned| {
        let planned = planned.expect_code(1);
        assert_eq!(verdict(&planned, "public.it", "unfit"), 3, "{}", planned.stdout);
        assert_eq!(verdict(&planned, "public.it", "lost"), 1);
        let _applied = rescue.apply().expect_code(0);
        assert_eq!(live.rows("it"), ["4\tok\t1\t1"]);
        let shown = rescue.rowback().run(["show", "case", "--table", "it"]).expect_code(0);
        assert!(words(&shown).contains("live's m does not take the value"), "{}", shown.stdout);
    });
}

/// The twin: rows that live still has are the same where live's own conversion made of them what it would make now.
#[test]
fn rows_that_live_converted_are_the_same() {
    let world = "create table it (id int primary key, amt numeric(10,4), n int);
        insert into it values (1, 0.3333, 5), (2, 0.5000, 6), (3, 0.2500, 7);";
    let accident =
        "delete from it where id = 2; alter table it alter amt type numeric(10,2), alter n type numeric(8,2);
        update it set n = 8 where id = 3;";
    recover(world, accident, ALL, |_, _, planned| {
        let planned = planned.expect_code(1);
        assert_eq!(verdict(&planned, "public.it", "same"), 1, "{}", planned.stdout);
        assert_eq!(verdict(&planned, "public.it", "lost"), 1);
        assert_eq!(verdict(&planned, "public.it", "changed"), 1);
    });
}

#[test]
fn a_row_without_a_partition_is_unfit_and_the_others_come_back() {
    let world = "
        create table it (id int, at date, primary key (id, at)) partition by range (at);
        create table it_24 partition of it for values from ('2024-01-01') to ('2025-01-01');
        create table it_25 partition of it for values from ('2025-01-01') to ('2026-01-01');
        insert into it values (1, '2024-05-05'), (2, '2025-05-05');";
    recover(world, "delete from it; drop table it_24", ALL, |live, rescue, planned| {
        let planned = planned.expect_code(1);
        assert_eq!(verdict(&planned, "public.it", "unfit"), 1, "{}", planned.stdout);
        let _applied = rescue.apply().expect_code(0);
        assert_eq!(live.rows("it"), ["2\t2025-05-05"]);
        let shown =
            rescue.rowback().run(["show", "case", "--table", "it", "--verdict", "unfit"]).expect_code(0);
        assert!(words(&shown).contains("live has no partition for it"), "{}", shown.stdout);
    });
}

#[test]
fn a_rule_that_leads_writes_elsewhere_is_refused() {
    let world = "create table it (id int primary key); insert into it values (1);";
    let accident = "delete from it; create rule away as on insert to it do instead nothing;";
    recover(world, accident, ALL, |live, _, planned| {
        let refused = planned.expect_code(4);
        assert!(refused.stdout.contains("rule-in-the-way"), "{}", refused.stdout);
        assert!(live.rows("it").is_empty());
    });
    let on_delete = "delete from it; create rule away as on delete to it do instead nothing;";
    recover(world, on_delete, ALL, |live, _, planned| {
        let refused = planned.expect_code(4);
        assert!(refused.stdout.contains("rule-in-the-way"), "undo would have to delete: {}", refused.stdout);
        assert!(live.rows("it").is_empty());
    });
    let world = "create table it (id int primary key, v text); insert into it values (1, 'a');";
    let on_delete = "update it set v = 'bad'; create rule away as on delete to it do instead nothing;";
    let damaged = "[[recover]]\ntable = \"it\"\nkind = \"corrupted\"\nwhere = \"true\"\ncolumns = [\"v\"]\ndamaged = \"live.v = 'bad'\"\n";
    recover(world, on_delete, damaged, |live, rescue, planned| {
        let _planned = planned.expect_code(0);
        let _applied = rescue.apply().expect_code(0);
        assert_eq!(live.rows("it"), ["1\ta"], "a rule on what the plan does not do is in nobody's way");
        let _undone = rescue.undo().expect_code(0);
        assert_eq!(live.rows("it"), ["1\tbad"]);
    });
    let world = "
        create schema a; create schema b; create table a.o (id int primary key, v text); create table b.o (id int primary key, v text);
        insert into a.o select g, 'a' || g from generate_series(1, 4) as g;";
    let misrouted =
        "[[recover]]\ntable = \"a.o\"\nkind = \"misrouted\"\nmisrouted_to = \"b.o\"\ndamaged = \"true\"\n";
    for table in ["a.o", "b.o"] {
        let accident = format!(
            "insert into b.o select * from a.o; delete from a.o; create rule away as on delete to {table} do also notify moved;"
        );
        recover(world, &accident, misrouted, |live, _, planned| {
            let refused = planned.expect_code(4);
            assert!(refused.stdout.contains("rule-in-the-way"), "{table}: {}", refused.stdout);
            assert_eq!(live.rows("b.o").len(), 4);
        });
    }
}

#[test]
fn unique_generated_columns_and_new_ones_are_probed_or_left_to_apply() {
    let world = "
        create table it (id int primary key, s int, gg int generated always as (s * 2) stored unique);
        insert into it values (1, 1), (2, 2);";
    let accident = "delete from it; insert into it values (7, 2); alter table it add slug text unique default 'x' || random(),
        add check (slug is not null), drop column if exists nothing;";
    recover(world, accident, ALL, |live, rescue, planned| {
        let planned = planned.expect_code(1);
        assert_eq!(verdict(&planned, "public.it", "recreated"), 1, "{}", planned.stdout);
        let _applied = rescue.apply().expect_code(0);
        assert_eq!(live.value("select string_agg(id || ' ' || gg, ', ' order by id) from it"), "1 2, 7 4");
    });
}

#[test]
fn swapped_unique_values_are_kept_and_the_reason_says_why() {
    let world = "
        create table it (id int primary key, name text, code text unique);
        insert into it values (1, 'one', 'a'), (2, 'two', 'b'), (3, 'three', 'c'), (4, 'four', 'd');";
    let accident = "update it set code = 'tmp' where id = 1; update it set code = 'a' where id = 2; update it set code = 'b' where id = 1;
        update it set code = 'x' where id = 4; update it set code = 'd' where id = 3;";
    let recipe = "[[recover]]\ntable = \"public.it\"\nkind = \"corrupted\"\nwhere = \"true\"\ncolumns = [\"code\"]\nidentity = [\"name\"]\ndamaged = \"true\"\n";
    recover(world, accident, recipe, |live, rescue, planned| {
        let _planned = planned.expect_code(1);
        let shown =
            rescue.rowback().run(["show", "case", "--table", "it", "--verdict", "changed"]).expect_code(0);
        assert!(words(&shown).contains("none of them can be first"), "{}", shown.stdout);
        assert!(words(&shown).contains("run `rowback recover` again"), "{}", shown.stdout);
        let _applied = rescue.apply().expect_code(0);
        let codes = live.value("select string_agg(code, ' ' order by id) from it");
        assert_eq!(codes, "b a c x", "what is free is set right; the other follows in a second recovery");
    });
}

/// Nobody can write to a column that live computes; the backup's own values there are lost, and that is told before anything is.
#[test]
fn a_column_that_live_computes_since_is_told() {
    let world = "create table it (id int primary key, net numeric, total numeric, twice numeric generated always as (net * 2) stored);
        insert into it values (1, 100, 116), (2, 200, 232)";
    let accident = "alter table it drop total, drop twice;
        alter table it add total numeric generated always as (net * 1.19) stored;
        alter table it add twice numeric generated always as (net * 2) stored;
        delete from it where id = 2";
    recover(world, accident, ALL, |live, rescue, planned| {
        let planned = planned.expect_code(0);
        let told = "public.it.total is generated in live and was not in the backup";
        assert!(words(&planned).contains(told), "{}", planned.stdout);
        assert!(!words(&planned).contains("public.it.twice is"), "{}", planned.stdout);
        let _applied = rescue.apply().expect_code(0);
        assert_eq!(live.value("select total || ' ' || twice from it where id = 2"), "238.00 400");
        let verified = rescue.verify().expect_code(0);
        let told = "the generated column total has other values in live than in the restored backup";
        assert!(words(&verified).contains(told), "{}", verified.stdout);
    });
}

#[test]
fn a_sequence_that_counts_downwards_is_named() {
    let world = "create sequence down increment -1; create table it (id int primary key default nextval('down'), v int);
        insert into it (v) values (1), (2)";
    recover(world, "truncate it; alter sequence down restart", ALL, |_, _, planned| {
        let planned = planned.expect_code(0);
        let told = "the sequence public.down counts downwards and is not moved";
        assert!(words(&planned).contains(told), "{}", planned.stdout);
    });
}
