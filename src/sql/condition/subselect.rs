//! Sub-selects in a printed condition: which rows of the tables that they read can matter, and which values of a column
//! they let through. In doubt neither is told.

use std::collections::BTreeSet;

use super::printed::{Printed, deeper};
use super::{Clause, expression};
use crate::ident::TableName;
use crate::sql::lexer::{Lexeme, split};

/// A column that must be among what a sub-select returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The column's name.
    pub column: String,
    /// The sub-select, without its brackets.
    pub query: String,
}

/// Words that put a select together with others, or make it depend on the order or the number of rows.
const NOT_ALONE: [&str; 10] =
    ["UNION", "INTERSECT", "EXCEPT", "JOIN", "TABLESAMPLE", "LIMIT", "OFFSET", "FETCH", "WITH", "VALUES"];
/// What may follow the condition of a select.
const BEHIND: [&str; 5] = ["GROUP", "HAVING", "ORDER", "WINDOW", "FOR"];

/// The condition under which the only sub-select that reads `table` looks at a row of it. Rows that fail it are turned
/// away before anything else is done with them (joined, grouped, counted, negated around the sub-select), so that leaving
/// them out changes nothing. `None` where the table is read more than once, or not alone.
pub fn on_table(definition: &str, table: &TableName) -> Option<Clause> {
    let lexemes = split(definition).ok()?;
    let named = |at: usize| {
        let part = |offset: usize| lexemes.get(at + offset).map(|(_, lexeme)| *lexeme);
        is_name(part(0), table.schema.as_str())
            && part(1) == Some(Lexeme::Symbol('.'))
            && is_name(part(2), table.name.as_str())
    };
    let mut places = (0..lexemes.len()).filter(|at| named(*at));
    let (place, None) = (places.next()?, places.next()) else { return None };
    let (start, end) = brackets_around(&lexemes, place)?;
    let words = Printed { text: definition, table: "", lexemes: &lexemes }
        .outer_words(start, end)
        .into_iter()
        .map(|(at, word)| (at, word.to_owned()))
        .collect::<Vec<_>>();
    let only = |wanted: &str| {
        let mut found = words.iter().filter(|(_, word)| word == wanted).map(|(at, _)| *at);
        found.next().filter(|_| found.next().is_none())
    };
    let (from, condition) = (only("FROM")?, only("WHERE")?);
    let alone = lexemes[start].1 == Lexeme::Word("SELECT")
        && !words.iter().any(|(_, word)| NOT_ALONE.contains(&word.as_str()))
        && (place == from + 1 || place == from + 2 && lexemes[from + 1].1 == Lexeme::Word("ONLY"));
    let alias = match condition.checked_sub(place + 3)? {
        0 => table.name.to_string(),
        1 => name_of(lexemes[place + 3].1)?,
        _ => return None,
    };
    let behind = |(at, word): &(usize, String)| *at > condition && BEHIND.contains(&word.as_str());
    let end = words.iter().find(|word| behind(word)).map_or(end, |(at, _)| *at);
    let printed = Printed { text: definition, table: &alias, lexemes: &lexemes };
    (alone && condition + 1 < end).then(|| printed.clause(condition + 1, end))
}

/// Reads `column IN ( SELECT …)`, as a part of a condition over the rows of `table`.
pub fn member(part: &str, table: &str) -> Option<Member> {
    let lexemes = split(part).ok()?;
    let printed = Printed { text: part, table, lexemes: &lexemes };
    let words = printed.outer_words(0, lexemes.len());
    let [(at, "IN")] = words.as_slice() else { return None };
    let (open, end) = (at + 1, lexemes.len());
    let select = printed.is_bracketed(open, end) && lexemes.get(open + 1)?.1 == Lexeme::Word("SELECT");
    let left = expression::column(&expression::parse(printed.slice(0, *at))?, table)?;
    let query = printed.slice(open + 1, end - 1).to_owned();
    (select && left.cast.is_none()).then_some(Member { column: left.name, query })
}

/// Names that are called as functions in a select, in lower case; `None` when it holds words by which it could give
/// something else at another time, or over the same rows in another order.
pub fn calls(query: &str) -> Option<BTreeSet<String>> {
    const MOMENTS: [&str; 17] = [
        "CURRENT_DATE",
        "CURRENT_TIME",
        "CURRENT_TIMESTAMP",
        "LOCALTIME",
        "LOCALTIMESTAMP",
        "CURRENT_USER",
        "SESSION_USER",
        "CURRENT_ROLE",
        "CURRENT_CATALOG",
        "CURRENT_SCHEMA",
        "USER",
        "LIMIT",
        "OFFSET",
        "FETCH",
        "TABLESAMPLE",
        "OVER",
        // One of the user's own, whose function is not named.
        "OPERATOR",
    ];
    let lexemes = split(query).ok()?;
    let moment = |lexeme: &Lexeme<'_>| matches!(lexeme, Lexeme::Word(word) if MOMENTS.contains(word));
    if lexemes.iter().any(|(_, lexeme)| moment(lexeme)) {
        return None;
    }
    // `DISTINCT ON (a)` keeps whichever row comes first.
    let distinct = |pair: &[(usize, Lexeme<'_>)]| {
        matches!(pair, [(_, Lexeme::Word("DISTINCT")), (_, Lexeme::Word("ON"))])
    };
    if lexemes.windows(2).any(distinct) {
        return None;
    }
    let called = lexemes.windows(2).filter(|pair| pair[1].1 == Lexeme::Symbol('('));
    Some(called.filter_map(|pair| name_of(pair[0].1)).map(|name| name.to_lowercase()).collect())
}

fn name_of(lexeme: Lexeme<'_>) -> Option<String> {
    match lexeme {
        Lexeme::Word(word) => Some(word.to_owned()),
        Lexeme::Quoted(name) => {
            let inner = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'))?;
            Some(inner.replace("\"\"", "\""))
        }
        _ => None,
    }
}

fn is_name(lexeme: Option<Lexeme<'_>>, wanted: &str) -> bool {
    lexeme.and_then(name_of).is_some_and(|name| name == wanted)
}

/// First lexeme inside the brackets around `place`, and the closing bracket.
fn brackets_around(lexemes: &[(usize, Lexeme<'_>)], place: usize) -> Option<(usize, usize)> {
    let mut open = Vec::new();
    for (at, (_, lexeme)) in lexemes.iter().enumerate().take(place) {
        match lexeme {
            Lexeme::Symbol('(' | '[') => open.push(at),
            Lexeme::Symbol(')' | ']') => {
                open.pop();
            }
            _ => {}
        }
    }
    let start = open.pop()?;
    let mut depth = 0;
    let end = (start..lexemes.len()).find(|&at| {
        depth = deeper(depth, lexemes[at].1);
        depth == 0
    })?;
    Some((start + 1, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(select: &str) -> Option<Clause> {
        let view = format!(
            " SELECT 1 AS hit\n   FROM rowback_scratch.subject job\n  WHERE ((job.id < 9) AND (job.person IN ( {select})));"
        );
        on_table(&view, &TableName::new("public", "person"))
    }

    #[test]
    fn rows_that_a_sub_select_turns_away_are_known() {
        let right = [
            "SELECT person.id\n   FROM public.person\n  WHERE (person.tenant = 2)",
            "SELECT p.id\n   FROM public.person p\n  WHERE ((p.tenant = 2) AND (p.boss = job.id))",
            "SELECT max(p.id) AS max\n   FROM ONLY public.person p\n  WHERE (p.tenant = 2)\n  GROUP BY p.name\n HAVING (count(*) > 1)",
            "SELECT o.id\n   FROM (public.other o\n     LEFT JOIN ( SELECT p.id FROM public.person p WHERE (p.tenant = 2)) x ON (true))",
        ];
        for select in right {
            let clause = found(select).unwrap_or_else(|| panic!("{select}"));
            assert!(format!("{clause:?}").contains("\"tenant\""), "{select}: {clause:?}");
        }
        let other = found("SELECT p.id FROM public.person p WHERE (job.tenant = 2)");
        assert!(matches!(other, Some(Clause::Other(_))), "another table's column: {other:?}");
    }

    #[test]
    fn a_table_that_is_read_twice_or_not_alone_is_left_whole() {
        let wrong = [
            "SELECT person.id FROM public.person",
            "SELECT a.id FROM public.person a WHERE (a.id IN ( SELECT b.id FROM public.person b WHERE (b.id = 2)))",
            "SELECT a.id FROM (public.person a JOIN public.other b ON ((a.id = b.id))) WHERE (a.tenant = 2)",
            "SELECT a.id FROM public.person a, public.other b WHERE (a.tenant = 2)",
            "SELECT a.id FROM public.person a(id, tenant) WHERE (a.tenant = 2)",
            "SELECT a.id FROM public.person a TABLESAMPLE system (10) WHERE (a.tenant = 2)",
            "SELECT a.id FROM public.person a WHERE (a.tenant = 2) LIMIT 1",
            "SELECT a.id FROM public.person a WHERE (a.tenant = 2) UNION SELECT 7",
            "SELECT a.id FROM public.persons a WHERE (a.tenant = 2)",
        ];
        for select in wrong {
            assert_eq!(found(select), None, "{select}");
        }
        let own = " SELECT 1 AS hit\n   FROM public.person job\n  WHERE (job.id < 9);";
        assert_eq!(on_table(own, &TableName::new("public", "person")), None);
    }

    #[test]
    fn members_of_a_sub_select_are_read() {
        let read = |part: &str| member(part, "job").map(|found| (found.column, found.query));
        let select = "SELECT p.id\n   FROM public.person p\n  WHERE (p.a IN ( SELECT 1))";
        let expected = |column: &str| Some((column.to_owned(), select.to_owned()));
        assert_eq!(read(&format!("job.person IN ( {select})")), expected("person"));
        assert_eq!(read(&format!("job.\"Per son\" IN ( {select})")), expected("Per son"));
        for part in [
            format!("(job.person)::text IN ( {select})"),
            format!("other.person IN ( {select})"),
            format!("ROW(job.person, job.id) IN ( {select})"),
            format!("job.person OPERATOR(public.=) ANY ( {select})"),
            "job.person IN (VALUES (1))".to_owned(),
            format!("EXISTS ( {select})"),
        ] {
            assert_eq!(read(&part), None, "{part}");
        }
    }

    #[test]
    fn what_a_select_calls_is_named_and_moments_are_not() {
        let names = calls("SELECT max(\"F x\"(a)) FROM t WHERE (a IN ( SELECT 1))").unwrap();
        assert!(["max", "f x"].iter().all(|name| names.contains(*name)), "{names:?}");
        for query in ["SELECT CURRENT_DATE", "SELECT a FROM t LIMIT 1", "SELECT DISTINCT ON (a) a FROM t"] {
            assert_eq!(calls(query), None, "{query}");
        }
    }
}
