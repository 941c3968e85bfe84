//! Columns that have another type in live than in the backup: values come back as ALTER TABLE would have made them, in the time
//! zone of the database, and what live made of the others is no change.

use super::support::{Rescue, TestDb};

/// A table of `columns`, dumped; then live's `change` and loss.
fn drifted(name: &str, before: &str, change: &str, look: impl FnOnce(&TestDb<'static>, &Rescue<'_>)) {
    let live = TestDb::with(name, before);
    let dump = live.dump(&["-Fc"]);
    live.psql(change);
    let rescue = Rescue::new(&live, &dump);
    look(&live, &rescue);
}

const ALL: &str = "[[recover]]\ntable = \"public.t\"\nwhere = \"true\"\n";

/// Each column with the type that it gets.
const PAIRS: [(&str, &str, &str); 17] = [
    ("timestamptz", "'2026-01-01 00:00+01'", "timestamp"),
    ("timestamp", "'2026-07-01 00:00'", "timestamptz"),
    ("date", "'2026-07-01'", "timestamptz"),
    ("time", "'12:00'", "timetz"),
    ("timestamp[]", "'{2026-07-01 00:00,NULL}'", "timestamptz[]"),
    ("bool", "true", "text"),
    ("bool", "false", "int"),
    ("inet", "'10.0.0.1'", "text"),
    ("real", "0.1", "float8"),
    ("char(5)", "'ab'", "varchar(5)"),
    ("char(5)", "'ab'", "text"),
    ("float8", "12345678901", "bigint"),
    ("numeric(10,2)", "5.00", "int"),
    ("text", "'2026-03-02'", "date"),
    ("text", "'5'", "int"),
    ("int", "7", "bigint"),
    ("json", "'{\"b\": 1,  \"a\": 2}'", "jsonb"),
];

#[test]
fn values_come_back_as_the_change_of_type_would_have_made_them() {
    let columns: Vec<String> =
        PAIRS.iter().enumerate().map(|(at, (was, _, _))| format!("c{at} {was}")).collect();
    let values: Vec<&str> = PAIRS.iter().map(|(_, value, _)| *value).collect();
    let changes: Vec<String> = PAIRS
        .iter()
        .enumerate()
        .map(|(at, (_, _, now))| format!("alter c{at} type {now} using c{at}::{now}"))
        .collect();
    let before = format!(
        "alter database \"[DB]\" set timezone = 'Europe/Berlin';
         create table t (id int primary key, {}); insert into t select i, {} from generate_series(1, 4) i;",
        columns.join(", "),
        values.join(", ")
    );
    let live = TestDb::with("type_drift", "");
    live.psql(&before.replace("[DB]", live.name()));
    let dump = live.dump(&["-Fc"]);
    live.psql(&format!("set timezone = 'Europe/Berlin'; alter table t {}", changes.join(", ")));
    let whole = live.digest();
    let rescue = Rescue::new(&live, &dump);
    live.psql("delete from t where id > 2");
    let planned = rescue.recover_text(ALL).expect_code(0);
    assert!(planned.stdout.contains("2 to insert"), "live's own rows are no change: {planned:?}");
    let told = "values of public.t.c0, c1, c2, c3, c4 are taken in the time zone Europe/Berlin";
    let words = planned.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(told), "{planned:?}");
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.digest(), whole);
    let _verified = rescue.verify().expect_code(0);
    let _undone = rescue.undo().expect_code(0);
    assert_eq!(live.value("select count(*) from t"), "2");
}

#[test]
fn a_repair_touches_no_column_that_only_changed_its_type() {
    let before = "create table t (id int primary key, name text, active bool, at timestamp);
        insert into t select i, 'n' || i, true, '2026-01-01 00:00' from generate_series(1, 4) i;";
    let change = "alter table t alter active type text, alter at type timestamptz using at at time zone current_setting('timezone');
        update t set name = 'BAD' where id <= 2";
    drifted("type_repair", before, change, |live, rescue| {
        live.psql("update t set name = 'n' || id");
        let whole = live.digest();
        live.psql("update t set name = 'BAD' where id <= 2");
        let recipe =
            "[[recover]]\ntable = \"public.t\"\nkind = \"corrupted\"\ndamaged = \"true\"\nwhere = \"true\"\n";
        let planned = rescue.recover_text(recipe).expect_code(0);
        assert!(planned.stdout.contains("2 to repair"), "{planned:?}");
        let _applied = rescue.apply().expect_code(0);
        assert_eq!(live.digest(), whole);
    });
}

#[test]
fn a_row_whose_key_changed_its_type_is_not_made_twice() {
    let before = "create table t (code char(5) primary key, v text); create table u (id int primary key, code char(5) references t on delete cascade);
        insert into t values ('ab', 'x'), ('abcde', 'y'), ('q', 'z'); insert into u values (1, 'ab'), (2, 'q');";
    let change = "alter table u alter code type varchar(5); alter table t alter code type varchar(5); delete from t where code = 'q'";
    drifted("type_key", before, change, |live, rescue| {
        let planned = rescue.recover_text(ALL).expect_code(0);
        assert!(planned.stdout.contains("2 to insert"), "{planned:?}");
        let _applied = rescue.apply().expect_code(0);
        assert_eq!(live.rows("t"), ["ab\tx", "abcde\ty", "q\tz"]);
        assert_eq!(live.rows("u"), ["1\tab", "2\tq"]);
        let _verified = rescue.verify().expect_code(0);
    });
}

#[test]
fn an_hour_that_the_new_type_cannot_tell_keeps_its_row_out() {
    let before = "create table t (id int primary key, at timestamptz);
        insert into t values (1, '2026-10-25 00:30+00'), (2, '2026-10-25 01:30+00'), (3, '2026-10-25 02:30+00');";
    let live = TestDb::with("type_hour", before);
    live.psql(&format!("alter database \"{}\" set timezone = 'Europe/Berlin'", live.name()));
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("set timezone = 'Europe/Berlin'; alter table t alter at type timestamp; delete from t");
    let planned = rescue.recover_text(ALL).expect_code(1);
    assert!(planned.stdout.contains("2 to insert"), "one of the two hours 2:30 is lost: {planned:?}");
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.rows("t"), ["2\t2026-10-25 02:30:00", "3\t2026-10-25 03:30:00"]);
}

#[test]
fn a_column_that_only_live_may_number_is_left_to_a_human() {
    let before = "create table t (id int primary key, seq bigint generated always as identity, name text);
        insert into t (id, name) select i, 'n' || i from generate_series(1, 3) i;";
    let change =
        "update t set name = 'BAD', seq = default where id = 1; update t set name = 'BAD' where id = 2";
    drifted("identity_always", before, change, |live, rescue| {
        let recipe = "[[recover]]\ntable = \"public.t\"\nkind = \"corrupted\"\ndamaged = \"live.name = 'BAD'\"\nwhere = \"true\"\n";
        let planned = rescue.recover_text(recipe).expect_code(1);
        assert!(planned.stdout.contains("1 to repair"), "{planned:?}");
        let _applied = rescue.apply().expect_code(0);
        assert_eq!(live.rows("t"), ["1\t4\tBAD", "2\t2\tn2", "3\t3\tn3"]);
    });
}

#[test]
fn what_the_accident_left_is_known_in_the_new_type() {
    let live = TestDb::with(
        "type_after",
        "create table t (id int primary key, price numeric(10,2), qty int, at timestamp);
         insert into t select i, 10.5 * i, i, '2026-07-01 00:00' from generate_series(1, 4) i;",
    );
    live.psql(&format!("alter database \"{}\" set timezone = 'Europe/Berlin'", live.name()));
    let before = live.dump(&["-Fc"]);
    let accident = "update t set price = price * 100, qty = 0, at = '2020-01-01 00:00' where id < 3";
    let change = "set timezone = 'Europe/Berlin'; alter table t alter price type numeric(12,4), alter at type timestamptz";
    let whole = live.copy("type_after_whole");
    whole.psql(change);
    live.psql(accident);
    let after = live.dump(&["-Fc"]);
    live.psql(change);
    let by_replay = format!("kind = \"corrupted\"\nreplay = \"{accident}\"\n");
    for (teller, more) in
        [("kind = \"corrupted\"\nwhere = \"true\"\n", Some(&after)), (by_replay.as_str(), None)]
    {
        let rescue = Rescue::new(&live, &before);
        let backup = more.map_or_else(String::new, |after| {
            format!("[backup]\nafter = {:?}\n", after.display().to_string())
        });
        let damaged = live.digest();
        let planned = rescue
            .recover_text(&format!("{backup}[[recover]]\ntable = \"public.t\"\n{teller}"))
            .expect_code(0);
        assert!(planned.stdout.contains("2 to repair"), "{teller}: {planned:?}");
        let _applied = rescue.apply().expect_code(0);
        whole.digest().assert_same(&live.digest(), teller);
        let _verified = rescue.verify().expect_code(0);
        let _undone = rescue.undo().expect_code(0);
        damaged.assert_same(&live.digest(), "undone");
    }
}
