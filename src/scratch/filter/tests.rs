//! Conditions as PostgreSQL prints them, over rows of one table.

use super::*;
use crate::catalog::Column;
use crate::ident::TableName;
use crate::sql::condition::of_view;
use crate::value::BaseType;

fn column(name: &str, type_name: &str, base_type: BaseType) -> Column {
    Column {
        name: Ident::new(name),
        type_name: type_name.to_owned(),
        base_type,
        is_enum: type_name == "public.mood",
        not_null: false,
        default: None,
        identity: None,
        generated: name == "made",
        is_virtual: false,
        generated_as: None,
        sequence: None,
        deterministic: name != "odd",
    }
}

fn table() -> Table {
    Table {
        name: TableName::new("public", "t"),
        oid: 1,
        partitioned: false,
        columns: vec![
            column("id", "bigint", BaseType::Int8),
            column("name", "character varying(20)", BaseType::Varchar),
            column("at", "timestamp with time zone", BaseType::TimestampTz),
            column("on_day", "date", BaseType::Date),
            column("amount", "numeric(12,2)", BaseType::Numeric { precision: 12, scale: 2 }),
            column("flag", "boolean", BaseType::Bool),
            column("mood", "public.mood", BaseType::Other),
            column("odd", "text", BaseType::Text),
            column("made", "integer", BaseType::Int4),
            column("ratio", "double precision", BaseType::Float8),
            column("padded", "character(3)", BaseType::Bpchar),
            column("number", "public.positive", BaseType::Int4),
        ],
        keys: Vec::new(),
        checks: Vec::new(),
        triggers: Vec::new(),
        row_security: false,
    }
}

fn condition(text: &str, encoding: Encoding) -> Option<Condition> {
    let view = format!(" SELECT 1 AS hit\n   FROM rowback_scratch.subject t\n  WHERE {text};");
    Condition::new(&of_view(&view, "t").unwrap(), &table(), encoding, &Orders::default())
}

/// Rows of `id, name, at, amount, flag`: which of them may match.
fn kept(text: &str, rows: &[&str]) -> Vec<bool> {
    let condition = condition(text, Encoding::Utf8).unwrap_or_else(|| panic!("{text} is decidable"));
    let stream: Vec<Ident> = ["id", "name", "at", "amount", "flag"].map(Ident::from).into();
    let wanted: Vec<usize> =
        (0..stream.len()).filter(|at| condition.columns().contains(&stream[*at])).collect();
    let slot_of = |column: &Ident| {
        let at = stream.iter().position(|name| name == column)?;
        wanted.iter().position(|position| *position == at)
    };
    let bound = condition.bind(&slot_of);
    rows.iter().map(|row| bound.may_be_true(&Lines::new(row.as_bytes(), &wanted))).collect()
}

const ROWS: [&str; 4] = [
    "7\tAnn\t2026-01-01 01:00:00+01\t10.50\tt",
    "8\tBo\t2025-12-31 23:59:59.9+00\t-3.00\tf",
    "9\tAn\\\\na\tinfinity\tNaN\t\\N",
    "\\N\t\\N\t\\N\t\\N\t\\N",
];

#[test]
fn rows_are_dropped_only_where_the_condition_is_certainly_not_true() {
    let cases = [
        ("(id = 7)", [true, false, false, false]),
        ("(NOT (id = 7))", [false, true, true, false]),
        ("(id <> ALL (ARRAY[(7)::bigint, (8)::bigint]))", [false, false, true, false]),
        ("((id = 7) AND (md5(name) = 'x'::text))", [true, false, false, false]),
        ("(NOT ((id = 7) OR (md5(name) = 'x'::text)))", [false, true, true, false]),
        ("((name)::text = 'An\\na'::text OR (id = 7))", [true; 4]),
        ("((name)::text ~~ 'An%'::text)", [true, false, true, false]),
        ("((name)::text !~~ 'An%'::text)", [false, true, false, false]),
        ("((name)::text ~~ 'A%n'::text)", [true, false, true, false]),
        ("((name)::text !~~ 'A%n'::text)", [true, true, true, false]),
        ("(at >= '2026-01-01 00:00:00+00'::timestamp with time zone)", [true, false, true, false]),
        ("(at < '2026-01-01 00:00:00+00'::timestamp with time zone)", [false, true, false, false]),
        ("(amount > (10)::numeric)", [true, false, true, false]),
        ("flag", [true, false, false, false]),
        ("((NOT flag) OR (amount IS NULL))", [false, true, false, true]),
        ("(id IS NOT NULL)", [true, true, true, false]),
        ("((on_day = '2026-01-01'::date) AND (id = 8))", [false, true, false, false]),
    ];
    for (text, wanted) in cases {
        if condition(text, Encoding::Utf8).is_none() {
            assert_eq!(wanted, [true; 4], "{text}");
            continue;
        }
        assert_eq!(kept(text, &ROWS), wanted, "{text}");
    }
}

#[test]
fn fields_that_no_server_writes_keep_their_rows() {
    let rows = ["07\tA\\x6ea\tyesterday\t1e3\ttrue", "+7", "short\tAnn"];
    for text in [
        "(id = 8)",
        "((name)::text = 'zz'::text)",
        "((name)::text ~~ 'zz%'::text)",
        "(at = '2026-01-01 00:00:00+00'::timestamp with time zone)",
        "(amount = 5.00)",
        "(NOT flag)",
    ] {
        assert!(kept(text, &rows)[0], "{text}");
    }
    assert_eq!(kept("(id = 8)", &rows), [true; 3]);
    assert_eq!(kept("(flag)", &rows), [true; 3], "a row that is too short is not decided");
}

#[test]
fn what_has_more_than_one_text_is_left_to_postgresql() {
    for text in [
        "(odd = 'x'::text)",
        "(made = 7)",
        "(ratio = (7)::double precision)",
        "(padded = 'x'::bpchar)",
        "((number)::integer = 7)",
        "((name)::text < 'x'::text)",
        "(at > '2026-01-01'::date)",
        "((id = 7) OR (md5(odd) = 'x'::text))",
        "(NOT ((id = 7) AND (md5(odd) = 'x'::text)))",
        "(mood < 'sad'::public.mood)",
        "(mood = 'sad'::other.mood)",
        "(on_day >= '2026-01-01 00:00:00'::timestamp without time zone)",
    ] {
        assert!(condition(text, Encoding::Utf8).is_none(), "{text}");
    }
    assert!(condition("(mood = 'sad'::public.mood)", Encoding::Utf8).is_some());
    for text in ["(mood = 'sad'::public.mood)", "((name)::text = 'x'::text)"] {
        assert!(condition(text, Encoding::Other).is_none(), "{text}");
    }
    assert!(condition("(id = 7)", Encoding::Other).is_some());
}

#[test]
fn words_tell_what_is_checked_and_what_is_not() {
    let found = condition(
        "((id = 7) AND (md5(name) = 'x'::text) AND ((name)::text = 'secret'::text))",
        Encoding::Utf8,
    );
    let found = found.unwrap();
    insta::assert_snapshot!(format!("{} | {}", found.text(), found.undecided().join("; ")), @r#""id" = 7 and "name" = a text | md5(name) = 'x'::text"#);
}

#[test]
fn orders_of_texts_and_labels_are_known_where_they_are_told() {
    let mut orders = Orders::default();
    orders.by_bytes(Ident::new("name"));
    orders.by_labels(Ident::new("mood"), ["sad", "ok", "a\tb"]);
    let kept = |text: &str, rows: &[&str]| -> Vec<bool> {
        let view = format!(" SELECT 1 AS hit\n   FROM rowback_scratch.subject t\n  WHERE {text};");
        let clause = of_view(&view, "t").unwrap();
        let condition = Condition::new(&clause, &table(), Encoding::Utf8, &orders).unwrap();
        let bound = condition.bind(&|_| Some(0));
        rows.iter().map(|row| bound.may_be_true(&Lines::new(row.as_bytes(), &[0]))).collect()
    };
    let names = ["B", "a", "A\\tb", "Ab", "é", "\\N", "A\\x41"];
    assert_eq!(kept("((name)::text < 'Ab'::text)", &names), [false, false, true, false, false, false, true]);
    assert_eq!(kept("((name)::text >= 'a'::text)", &names), [false, true, false, false, true, false, true]);
    assert_eq!(kept("((name)::text = 'B'::text)", &names), [true, false, false, false, false, false, true]);
    let moods = ["sad", "ok", "a\\tb", "\\N", "unheard"];
    assert_eq!(kept("(mood > 'sad'::public.mood)", &moods), [false, true, true, false, true]);
    assert_eq!(kept("(mood <= 'ok'::public.mood)", &moods), [true, true, false, false, true]);
    let among = "(mood = ANY (ARRAY['ok'::public.mood, 'sad'::public.mood]))";
    assert_eq!(kept(among, &moods), [true, true, false, false, true]);
}

#[test]
fn the_values_of_a_column_are_listed_where_the_condition_names_them() {
    let values = |text: &str, column: &str| {
        let found = condition(text, Encoding::Utf8)?.values_of(&Ident::new(column))?;
        Some(found.into_iter().map(|value| String::from_utf8(value).unwrap()).collect::<Vec<_>>())
    };
    for (text, column, wanted) in [
        ("(id = 7)", "id", Some(vec!["7"])),
        ("(id = ANY (ARRAY[(7)::bigint, ('-8'::integer)::bigint]))", "id", Some(vec!["-8", "7"])),
        ("((id = 7) AND flag)", "id", Some(vec!["7"])),
        ("((id = 7) AND flag)", "flag", None),
        ("((id = 7) OR (id = 9))", "id", Some(vec!["7", "9"])),
        ("((id = 7) OR flag)", "id", None),
        ("((id = 7) OR (md5((name)::text) = 'x'::text))", "id", None),
        ("(NOT (id = 7))", "id", None),
        ("(id > 7)", "id", None),
        ("((name)::text = 'it''s'::text)", "name", Some(vec!["it's"])),
    ] {
        let wanted = wanted.map(|values| values.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(values(text, column), wanted, "{text}");
    }
}
