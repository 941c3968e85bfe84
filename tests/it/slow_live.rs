//! A live database that waits for its disk: the pages of rows are asked for ahead, whatever the key is made of, and nothing else
//! changes.

use super::support::{Rescue, TestDb};

/// Tables by their key; `a_slow` comes first and has enough rows for a look-up to tell how long it took. Numbers have gaps:
/// a stretch of them is read at once.
const KEYS: [(&str, &str, &str); 11] = [
    ("a_slow", "k int primary key", "g * 3"),
    ("by_text", "k text primary key", "'k ' || g || '\"\\,{}'"),
    ("by_varchar", "k varchar(20) primary key", "'k' || g"),
    ("by_char", "k char(8) primary key", "'k' || g"),
    ("by_uuid", "k uuid primary key", "md5(g::text)::uuid"),
    ("by_numeric", "k numeric(10,2) primary key", "g / 4.0"),
    ("by_time", "k timestamptz primary key", "'2026-01-01 00:00+00'::timestamptz + g * interval '1 minute'"),
    ("by_domain", "k positive primary key", "g * 3"),
    ("by_two", "k int, part text, primary key (k, part)", "g / 3, 'part ' || g % 3"),
    (
        "by_day",
        "k int, day date, primary key (k, day)) partition by range (day",
        "g, '2026-01-01'::date + g % 2",
    ),
    ("by_pairs", "k int, other int, primary key (k, other)", "g, 10000 - g"),
];

fn shop() -> TestDb<'static> {
    let mut sql = String::from("create domain positive as int check (value > 0);");
    for (table, columns, values) in KEYS {
        let rows = if table == "a_slow" { 4500 } else { 300 };
        let (columns, partitions) = match columns.split_once(") partition") {
            Some((columns, by)) => (
                columns,
                format!(
                    ") partition{by}); create table {table}_1 partition of {table} for values from ('2026-01-01') to ('2026-01-02'); \
                     create table {table}_2 partition of {table} for values from ('2026-01-02') to ('2026-01-03')"
                ),
            ),
            None => (columns, ")".to_owned()),
        };
        sql.push_str(&format!(
            "create table {table} (v text not null, {columns}{partitions}; \
             insert into {table} select repeat('v', 200) || g, {values} from generate_series(1, {rows}) as g;"
        ));
    }
    TestDb::with("slow_live", &sql)
}

/// Rows of the table that a bitmap scan gave: those that the server counts for the table, but for none of its indexes.
fn read_ahead(live: &TestDb<'_>, table: &str) -> i64 {
    let sql = format!(
        "select coalesce(sum(s.idx_tup_fetch), 0) - coalesce(sum((select sum(i.idx_tup_fetch) from pg_stat_user_indexes as i \
         where i.relid = s.relid)), 0) from pg_stat_user_tables as s where s.relname = '{table}' or s.relname ~ '^{table}_[12]$'"
    );
    live.psql(&sql).trim().parse().unwrap()
}

#[test]
fn pages_are_asked_for_ahead_where_look_ups_are_slow() {
    let backup = shop();
    let dump = backup.dump(&["-Fc"]);
    let (live, quick) = (backup.copy("live"), backup.copy("quick"));
    let mut recipe = String::new();
    for (table, _, _) in KEYS {
        // Takes longer for each row than a page from a disk does.
        let damaged = if table == "a_slow" {
            "live.v = 'bad' and md5(repeat(live.v, 50000)) <> md5(backup.v)"
        } else {
            "live.v = 'bad'"
        };
        for live in [&live, &quick] {
            live.psql(&format!("update {table} set v = 'bad'"));
        }
        recipe.push_str(&format!(
            "[[recover]]\ntable = \"{table}\"\nkind = \"corrupted\"\ncolumns = [\"v\"]\ndamaged = \"{damaged}\"\n"
        ));
    }
    let planned = Rescue::new(&live, &dump);
    let _planned = planned.recover_with(&recipe, &[]).expect_code(0);
    let ahead: Vec<(&str, bool)> =
        KEYS.iter().map(|(table, ..)| (*table, read_ahead(&live, table) > 0)).collect();
    let wanted: Vec<(&str, bool)> = KEYS.iter().map(|(table, ..)| (*table, *table != "by_pairs")).collect();
    assert_eq!(ahead, wanted, "the keys of `by_pairs` have too many neighbours");
    let at_once = Rescue::new(&quick, &dump);
    let recipe = recipe.replace(" and md5(repeat(live.v, 50000)) <> md5(backup.v)", "");
    let _planned = at_once.recover_with(&recipe, &[]).expect_code(0);
    for (table, ..) in KEYS {
        assert_eq!(read_ahead(&quick, table), 0, "{table}: nobody waits");
    }

    let whole = |live: &TestDb<'_>| live.psql("select seq_scan from pg_stat_user_tables order by relname");
    assert_eq!(whole(&live), whole(&quick), "no table is read as a whole instead");
    let _applied = planned.apply().expect_code(0);
    backup.digest().assert_same(&live.digest(), "every row has its value again");
}
