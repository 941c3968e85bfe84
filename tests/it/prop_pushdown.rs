//! For any condition and any rows: the filter on the dump's text keeps every row that PostgreSQL selects. PostgreSQL is
//! asked for both, the rows and what it makes of the condition.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rowback::backup::RowFilter;
use rowback::catalog::load::{Place, load};
use rowback::catalog::{Catalog, Table};
use rowback::env::Env;
use rowback::ident::{Ident, TableName};
use rowback::pg::{ConnectSettings, ReadSession, SessionOptions};
use rowback::scratch::choice::{Choice, ChoiceFilter, Wish};
use rowback::scratch::filter::{Condition, Encoding, Orders};
use rowback::sql::condition::{of_view, subselect};

use super::support::TestDb;

/// Columns, each with values as SQL spells them: the odd ones, the bounds, and some that many rows share.
const COLUMNS: [(&str, &str, &[&str]); 16] = [
    ("small", "int2", &["0", "7", "-1", "32767", "-32768"]),
    ("big", "int8", &["0", "7", "8", "-9223372036854775808", "9223372036854775807", "10"]),
    ("flag", "boolean", &["true", "false"]),
    (
        "code",
        "uuid",
        &[
            "'00000000-0000-0000-0000-000000000000'",
            "'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
        ],
    ),
    (
        "name",
        "text",
        &[
            "''",
            "'Ann'",
            "'An'",
            "'Anne'",
            "'\\N'",
            "E'a\\tb'",
            "E'back\\\\slash'",
            "'Größe'",
            "'100%'",
            "'a_b'",
        ],
    ),
    ("short", "varchar(10)", &["''", "'Ann'", "'x'", "' x'", "'x '"]),
    (
        "code_c",
        "text collate \"C\"",
        &["''", "'a'", "'B'", "'Ab'", "E'A\\tb'", "E'A\\\\'", "'Größe'", "'é'", "'a '"],
    ),
    ("fixed", "char(5)", &["'x'", "'Ann'", "''"]),
    (
        "on_day",
        "date",
        &["'2026-01-01'", "'1999-12-31'", "'0044-03-15 BC'", "'infinity'", "'-infinity'", "'12026-01-01'"],
    ),
    (
        "at",
        "timestamp",
        &[
            "'2026-01-01'",
            "'2026-01-01 00:00:00.5'",
            "'1999-12-31 23:59:59.999999'",
            "'infinity'",
            "'0001-01-01 BC'",
        ],
    ),
    (
        "seen",
        "timestamptz",
        &[
            "'2026-01-01 00:00+00'",
            "'2026-01-01 00:00+05:30'",
            "'2025-12-31 19:00:00.25-05'",
            "'-infinity'",
            "'1900-01-01 00:00+00'",
            "'0001-06-01 BC'",
        ],
    ),
    ("amount", "numeric", &["0", "-0.001", "7", "7.000", "1e30", "'NaN'", "99.99", "-100"]),
    ("price", "numeric(8,2)", &["0", "7", "7.5", "-7.5", "'NaN'", "999999.99"]),
    ("mood", "mood", &["'sad'", "'Very ''glad'''", "'ok'"]),
    ("positive", "positive", &["1", "7", "100"]),
    ("ratio", "float8", &["0", "0.1", "'NaN'", "1e300", "-0.0"]),
];

const SCHEMA: &str = "create type mood as enum ('sad', 'ok', 'Very ''glad''');
    create domain positive as int check (value > 0);
    create schema rowback_scratch;";

fn columns_sql() -> String {
    COLUMNS.iter().map(|(name, kind, _)| format!(", {name} {kind}")).collect()
}

/// The type without its collation, as a cast names it.
fn base(kind: &str) -> &str {
    kind.split(" collate ").next().unwrap()
}

/// How texts and labels are ordered.
fn orders() -> Orders {
    let mut orders = Orders::default();
    orders.by_bytes(Ident::new("code_c"));
    orders.by_labels(Ident::new("mood"), ["sad", "ok", "Very 'glad'"]);
    orders
}

/// A row as the list of its values.
fn row() -> impl Strategy<Value = String> {
    let values: Vec<BoxedStrategy<String>> = COLUMNS
        .iter()
        .map(|(_, kind, pool)| {
            let pool: Vec<String> = pool.iter().map(|value| format!("({value})::{}", base(kind))).collect();
            prop_oneof![4 => proptest::sample::select(pool), 1 => Just("null".to_owned())].boxed()
        })
        .collect();
    values.prop_map(|values| values.join(", "))
}

/// One comparison of a column, in any of the spellings that people use.
fn atom() -> impl Strategy<Value = String> {
    let column = proptest::sample::select(COLUMNS.to_vec());
    (column, any::<[proptest::sample::Index; 3]>(), 0..16_usize).prop_map(
        |((name, kind, pool), picks, form)| {
            let value = |at: usize| *picks[at].get(pool);
            let sign = ["=", "<>", "<", "<=", ">", ">="][picks[1].index(6)];
            // Not every type has an order that a literal without a type shows; all of these do.
            match form {
                0..=4 => format!("{name} {sign} {}", value(0)),
                5 => format!("{name} {sign} ({})::{}", value(0), base(kind)),
                6 => format!("{} {sign} t.{name}", value(0)),
                7 | 8 => format!("{name} in ({}, {})", value(0), value(2)),
                9 => format!("{name} not in ({}, {}, {})", value(0), value(1), value(2)),
                10 => format!("{name} between {} and {}", value(0), value(2)),
                11 => format!("{name} is null"),
                12 => format!("{name} is not null"),
                13 => [
                    "flag",
                    "name like 'An%'",
                    "short like 'x_%'",
                    "name not like 'A%e'",
                    "name like 'Ann'",
                    "name like 'a\\_b'",
                ][picks[0].index(6)]
                .to_owned(),
                14 => [
                    "md5(name) like '0%'",
                    "small = big",
                    "big % 5 = 2",
                    "amount = 7",
                    "price > small",
                    "(name, big) = ('Ann', 7)",
                    "seen > '2026-01-01'::date",
                    "at >= date '2026-01-01'",
                    "on_day < '2026-01-01 10:00'::timestamp",
                    "case when flag then big = 7 else small = 7 end",
                ][picks[0].index(10)]
                .to_owned(),
                _ => [
                    "flag is true",
                    "flag is not false",
                    "(big = 7) is unknown",
                    "name is distinct from 'Ann'",
                    "small is not distinct from 7",
                    "big = any ('{7,8}')",
                    "true",
                    "null::boolean",
                    "coalesce(flag, true)",
                    "name ~ '^A'",
                    "name collate \"C\" < 'B'",
                    "exists (select 1 where t.big = 7)",
                ][picks[0].index(12)]
                .to_owned(),
            }
        },
    )
}

fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|parts| format!("({})", parts.join(" and "))),
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|parts| format!("({})", parts.join(" or "))),
            inner.prop_map(|part| format!("not ({part})")),
        ]
    })
}

fn sample<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, runner: &mut TestRunner) -> T {
    strategy.new_tree(runner).unwrap().current()
}

/// What PostgreSQL says of a condition: the view as it prints it, and the keys that it selects.
fn asked(db: &TestDb<'_>, conditions: &[String]) -> Vec<(String, BTreeSet<String>)> {
    let mut script = "set timezone = 'UTC'; set search_path = public;".to_owned();
    for (number, condition) in conditions.iter().enumerate() {
        script.push_str(&format!(
            "create view rowback_scratch.v{number} as select 1 as hit from rowback_scratch.subject as t where (\n{condition}\n);
             set search_path = '';
             select regexp_replace(pg_get_viewdef('rowback_scratch.v{number}'::regclass), E'\\n', ' ', 'g');
             set search_path = public;
             select coalesce(string_agg(id::text, ' '), '') from t where (\n{condition}\n);
             drop view rowback_scratch.v{number};\n"
        ));
    }
    let output = db.psql(&script);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 2 * conditions.len());
    lines
        .chunks(2)
        .map(|pair| (pair[0].to_owned(), pair[1].split_whitespace().map(str::to_owned).collect()))
        .collect()
}

/// The keys of the rows that a filter lets through.
fn kept(table: &Table, stream: &[Ident], view: &str, rows: &str) -> Option<BTreeSet<String>> {
    let condition = Condition::new(&of_view(view, "t")?, table, Encoding::Utf8, &orders())?;
    let filter = ChoiceFilter::new(&Choice::AnyOf(vec![Wish::Condition(condition)]), &[], stream);
    let lines = rows.lines().filter(|line| filter.keep(line.as_bytes()));
    Some(lines.map(|line| line.split('\t').next().unwrap().to_owned()).collect())
}

/// Rows that PostgreSQL selects and the filter dropped.
fn lost(selected: &BTreeSet<String>, kept: Option<&BTreeSet<String>>) -> Vec<String> {
    kept.map_or(Vec::new(), |kept| selected.difference(kept).cloned().collect())
}

struct World {
    db: TestDb<'static>,
    table: Table,
    stream: Vec<Ident>,
    /// The same rows as sessions in different time zones dump them.
    dumps: Vec<String>,
}

async fn world(runner: &mut TestRunner) -> World {
    let db = TestDb::with("pushdown", SCHEMA);
    let rows: Vec<String> = (0..300).map(|id| format!("({id}, {})", sample(row(), runner))).collect();
    let columns = columns_sql();
    db.psql(&format!(
        "set timezone = 'UTC'; create table t (gone int, id int primary key{columns}); alter table t drop column gone;
         create table rowback_scratch.subject (like t); insert into t values {}",
        rows.join(",\n")
    ));
    let zones = ["UTC", "Asia/Kolkata", "America/St_Johns", "Africa/Monrovia", "Pacific/Kiritimati"];
    let dump =
        |zone: &&str| db.psql(&format!("set timezone = '{zone}'; set datestyle = 'ISO'; copy t to stdout"));
    let dumps = zones.iter().map(dump).collect();
    let settings = ConnectSettings::resolve(Some(&db.url()), &Env::read()).unwrap();
    let session = ReadSession::connect(&settings, &SessionOptions::named("test")).await.unwrap();
    let Catalog { tables, .. } = load(Place::Live(&session)).await.unwrap();
    let table = tables[&TableName::new("public", "t")].clone();
    let stream = table.columns.iter().map(|column| column.name.clone()).collect();
    World { db, table, stream, dumps }
}

#[tokio::test]
async fn no_row_that_postgresql_selects_is_dropped() {
    let mut runner = TestRunner::default();
    let world = world(&mut runner).await;
    let conditions: Vec<String> = (0..600).map(|_| sample(condition(), &mut runner)).collect();
    let (mut filters, mut dropped) = (0, 0);
    for ((view, selected), condition) in asked(&world.db, &conditions).iter().zip(&conditions) {
        for rows in &world.dumps {
            let kept = kept(&world.table, &world.stream, view, rows);
            let lost = lost(selected, kept.as_ref());
            assert!(lost.is_empty(), "{condition}\n{view}\nlost {lost:?}");
            if let Some(kept) = kept {
                filters += 1;
                dropped += 300 - kept.len();
            }
        }
    }
    assert!(
        filters > 600 && dropped > 30_000,
        "{filters} filters dropped {dropped} rows: too little to prove anything"
    );
}

/// Ways in which a condition over rows of `o` looks at rows of `t`; `?` is the condition of the sub-select.
const AROUND: [&str; 8] = [
    "o.big in (select t.big from public.t as t where ?)",
    "o.big not in (select t.big from public.t as t where ?)",
    "o.id % 3 = 0 or not exists (select from public.t as t where t.small = o.small and ?)",
    "exists (select from public.t as t where t.id = o.id + 1 and ?)",
    "o.big >= (select max(t.big) from public.t as t where ?)",
    "o.small in (select t.small from public.t as t where ? group by t.small having count(*) > 2)",
    "o.id < (select count(*) from public.t as t where ?)",
    "o.id in (select x.id from rowback_scratch.subject_rows as x left join (select t.id, t.flag from public.t as t where ?) as y on x.id = y.id where y.id is null)",
];

#[tokio::test]
async fn rows_that_a_sub_select_turns_away_change_nothing() {
    let mut runner = TestRunner::default();
    let World { db, table, stream, dumps } = world(&mut runner).await;
    db.psql(
        "create table rowback_scratch.subject_rows (like public.t); insert into rowback_scratch.subject_rows table public.t",
    );
    let conditions: Vec<String> = (0..200).map(|_| sample(condition(), &mut runner)).collect();
    let outer: Vec<String> = conditions
        .iter()
        .zip(AROUND.iter().cycle())
        .map(|(inner, way)| way.replace('?', &format!("({inner})")))
        .collect();
    let mut script = "set timezone = 'UTC'; set search_path = '';".to_owned();
    for condition in &outer {
        script.push_str(&format!(
            "set search_path = public; create view rowback_scratch.v as select 1 as hit from rowback_scratch.subject as o where (\n{condition}\n);
             set search_path = ''; select regexp_replace(pg_get_viewdef('rowback_scratch.v'::regclass), E'\\n', ' ', 'g'); drop view rowback_scratch.v;\n"
        ));
    }
    let views: Vec<String> = db.psql(&script).lines().map(str::to_owned).collect();
    assert_eq!(views.len(), outer.len());
    let name = TableName::new("public", "t");
    let selects = |condition: &str| {
        format!(
            "select coalesce(string_agg(o.id::text, ' ' order by o.id), '') from rowback_scratch.subject_rows as o where ({condition});\n"
        )
    };
    let mut both = "set timezone = 'UTC'; set search_path = public;".to_owned();
    let (mut filters, mut dropped) = (0, 0);
    for (condition, view) in outer.iter().zip(&views) {
        let inner = subselect::on_table(view, &name).unwrap_or_else(|| panic!("{condition}\n{view}"));
        let Some(inner) = Condition::new(&inner, &table, Encoding::Utf8, &orders()) else { continue };
        let filter = ChoiceFilter::new(&Choice::AnyOf(vec![Wish::Condition(inner)]), &[], &stream);
        let rows = dumps[filters % dumps.len()].lines().filter(|line| filter.keep(line.as_bytes()));
        let kept: Vec<&str> = rows.map(|line| line.split('\t').next().unwrap()).collect();
        let fewer = format!("(select * from public.t where id = any ('{{{}}}'))", kept.join(","));
        both.push_str(&selects(condition));
        both.push_str(&selects(&condition.replace("public.t as t", &format!("{fewer} as t"))));
        filters += 1;
        dropped += 300 - kept.len();
    }
    let found = db.psql(&both);
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 2 * filters);
    for (at, pair) in lines.chunks(2).enumerate() {
        assert_eq!(pair[0], pair[1], "filter {at}");
    }
    assert!(
        filters > 80 && dropped > 5000,
        "{filters} filters dropped {dropped} rows: too little to prove anything"
    );
    assert!(lines.iter().any(|line| !line.is_empty()), "something is selected");
}

#[tokio::test]
async fn exactly_the_selected_rows_are_kept_where_everything_is_decidable() {
    let world = world(&mut TestRunner::default()).await;
    let conditions = [
        "big = 7 and flag",
        "small in (7, 32767) or code = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        "name like 'An%' and short <> 'x'",
        "seen >= '2026-01-01 00:00+00' and seen < 'infinity'",
        "on_day between '1999-12-31' and '2026-01-01'",
        "at < '2026-01-01 00:00:00.5'",
        "not (amount > 7 or price is null)",
        "mood > 'sad' and mood <= 'Very ''glad'''",
        "code_c between 'A' and 'a' or code_c > 'é'",
        "mood = 'Very ''glad''' and name in ('Ann', 'Größe', '', E'a\\tb')",
    ]
    .map(str::to_owned);
    for ((view, selected), condition) in asked(&world.db, &conditions).iter().zip(&conditions) {
        assert!(!selected.is_empty(), "{condition} selects something");
        for rows in &world.dumps {
            assert_eq!(
                kept(&world.table, &world.stream, view, rows).as_ref(),
                Some(selected),
                "{condition}\n{view}"
            );
        }
    }
}

#[tokio::test]
async fn a_wrong_filter_is_noticed() {
    let world = world(&mut TestRunner::default()).await;
    let right =
        ["big = 7".to_owned(), "seen >= '2026-01-01 00:00+00'".to_owned(), "name like 'An%'".to_owned()];
    let wrong = [
        "big = 8".to_owned(),
        "seen >= '2026-01-01 00:00+05:30' and seen < 'infinity' and flag".to_owned(),
        "name like 'Ann%'".to_owned(),
    ];
    for ((_, selected), (view, _)) in asked(&world.db, &right).iter().zip(&asked(&world.db, &wrong)) {
        let kept = kept(&world.table, &world.stream, view, &world.dumps[0]);
        assert!(!lost(selected, kept.as_ref()).is_empty(), "{view} does not select the same");
    }
}
