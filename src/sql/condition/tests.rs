//! Conditions as PostgreSQL prints them, taken apart.

use super::*;

fn clause(condition: &str) -> String {
    let view =
        format!(" SELECT 1 AS hit\n   FROM rowback_scratch.subject \"my orders\"\n  WHERE {condition};");
    show(&of_view(&view, "my orders").unwrap())
}

fn show(clause: &Clause) -> String {
    let list = |parts: &[Clause]| parts.iter().map(show).collect::<Vec<_>>().join(", ");
    match clause {
        Clause::And(parts) => format!("and({})", list(parts)),
        Clause::Or(parts) => format!("or({})", list(parts)),
        Clause::Not(part) => format!("not({})", show(part)),
        Clause::Other(text) => format!("?{text}?"),
        Clause::Test(test) => {
            let cast = test.cast.as_ref().map(|cast| format!("::{cast}")).unwrap_or_default();
            let value = |literal: &Literal| format!("{}:{}", literal.text, literal.type_name);
            let question = match &test.question {
                Question::IsNull => "null".to_owned(),
                Question::IsTrue => "true".to_owned(),
                Question::Compare(comparison, literal) => format!("{comparison:?} {}", value(literal)),
                Question::Among(literals) => {
                    format!("among {}", literals.iter().map(value).collect::<Vec<_>>().join(" "))
                }
                Question::Like(literal) => format!("like {}", value(literal)),
            };
            format!("{}{cast} {question}", test.column)
        }
    }
}

#[test]
fn what_postgresql_prints_is_taken_apart() {
    let printed = [
        "(tenant_id = 7)",
        "((\"my orders\".tenant_id = 7) AND (\"my orders\".\"at\" >= '2026-01-01 00:00:00+00'::timestamp with time zone))",
        "((a = '-5'::integer) OR (NOT (flag)) OR (NOT flag) OR (7 > big))",
        "(id = ANY (ARRAY[(1)::bigint, (2)::bigint]))",
        "((name)::text = ANY ((ARRAY['a'::character varying, 'b,)'::character varying])::text[]))",
        "(id <> ALL (ARRAY[1, 2]))",
        "((a IS NULL) AND (b IS NOT NULL) AND ((name)::text ~~ 'x%'::text) AND (name !~~ 'y_'::text))",
        "(amount < (7)::numeric)",
        "(mood = 'it''s'::public.\"Mood\")",
        "((md5(email) ~~ '0%'::text) AND (id = 3))",
        "(id IN ( SELECT o.id\n   FROM public.other o\n  WHERE ((o.a = 1) AND (o.b = 2))))",
    ];
    let shown: Vec<String> = printed.iter().map(|text| clause(text)).collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    tenant_id Equal 7:integer
    and(tenant_id Equal 7:integer, at GreaterOrEqual 2026-01-01 00:00:00+00:timestamp with time zone)
    or(a Equal -5:integer, not(flag true), not(flag true), big Less 7:integer)
    id among 1:bigint 2:bigint
    name::text among a:text b,):text
    not(id among 1:integer 2:integer)
    and(a null, not(b null), name::text like x%:text, not(name like y_:text))
    amount Less 7:numeric
    mood Equal it's:public."Mood"
    and(?md5(email) ~~ '0%'::text?, id Equal 3:integer)
    ?id IN ( SELECT o.id
       FROM public.other o
      WHERE ((o.a = 1) AND (o.b = 2)))?
    "#);
}

#[test]
fn conditions_that_depend_on_the_moment_or_the_place_are_known() {
    for steady in ["id = 7 and at > now() - interval '1 day'", "note like 'no%'", "\"Name\" = $$x$$"] {
        assert!(is_steady(steady), "{steady}");
    }
    for unsteady in [
        "at < 'now'",
        "at < 'Today'::timestamptz",
        "ctid < '(1,1)'",
        "\"xmin\" is null",
        "a = e'n\\x6fw'",
        "a = u&'now'",
        "query_to_xml('select 1 from t', true, true, '') is null",
        "pg_relation_size('t') > 3",
    ] {
        assert!(!is_steady(unsteady), "{unsteady}");
    }
}

#[test]
fn what_is_not_certain_is_not_read() {
    for text in [
        "(a OPERATOR(public.=) 7)",
        "((a)::numeric = 7.5 OR b)",
        "(a = CURRENT_DATE)",
        "(a = b)",
        "((a + 1) = 7)",
        "CASE WHEN ((a = 1) AND (b = 2)) THEN true ELSE false END",
        "(a = 'x\\y'::text)",
        "((name COLLATE \"C\") < 'x'::text)",
        "(a = NULL::integer)",
        "(other.a = 7)",
        "((a = 1) IS NOT TRUE)",
        "(a ~~* 'x%'::text)",
        "(a = ('xyz'::character varying(2))::text)",
        "(a = '1'::text AND b = 2 OR c = 3)",
    ] {
        let shown = clause(text);
        assert!(
            shown.starts_with('?') || shown.contains("numeric Equal 7.5") || text.contains("varying(2)"),
            "{text}: {shown}"
        );
    }
    assert_eq!(of_view(" SELECT 1 AS hit\n   FROM rowback_scratch.subject t;", "t"), None);
}
