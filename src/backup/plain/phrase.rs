//! Single commands of a plain dump that are known by their words.

use super::refusal::Refusal;

/// `ALTER TABLE x OWNER TO y`: an archive keeps the owner apart, and roles are not known in scratch.
pub(super) fn is_owner(text: &str) -> bool {
    let Some((_, role)) = text.rsplit_once(" OWNER TO ") else { return false };
    let quoted = role.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let one = match quoted {
        Some(inner) => !inner.replace("\"\"", "").contains('"'),
        None => role.chars().all(|letter| letter.is_alphanumeric() || letter == '_' || letter == '$'),
    };
    text.starts_with("ALTER ") && one
}

/// Before the first entry: what --clean drops, and how a session is prepared. None of it is wanted in scratch.
pub(super) fn outside(text: &str) -> Result<(), Refusal> {
    let harmless = ["SELECT pg_catalog.", "DROP ", "ALTER ", "CREATE OR REPLACE VIEW ", "BEGIN", "COMMIT"];
    if harmless.iter().any(|start| text.starts_with(start)) {
        return Ok(());
    }
    let start: String = text.chars().take(80).collect();
    Err(Refusal::edited(format!("a command stands under no comment that says what it makes: {start:?}")))
}

/// The database that `\connect` names, in either of pg_dump's ways: `shop`, `-reuse-previous=on "dbname='my db'"`.
pub(super) fn connected_to(rest: &str) -> Option<String> {
    let unquoted = |text: &str| -> Option<String> {
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        Some(inner.map_or_else(|| text.to_owned(), |inner| inner.replace("\"\"", "\"")))
    };
    let Some(conninfo) = rest.strip_prefix("-reuse-previous=on ") else { return unquoted(rest) };
    let quoted = unquoted(conninfo)?;
    let value = quoted.strip_prefix("dbname=")?;
    let inner = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value);
    let mut name = String::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        name.push(if letter == '\\' { letters.next()? } else { letter });
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_told_from_other_changes() {
        for owner in [
            "ALTER TABLE a OWNER TO b",
            "ALTER TABLE a OWNER TO \"b \"\"c\"",
            "ALTER FUNCTION f(text) OWNER TO x",
        ] {
            assert!(is_owner(owner), "{owner}");
        }
        let others = [
            "ALTER SEQUENCE a OWNED BY b.c",
            "ALTER TABLE a ALTER COLUMN b SET DEFAULT ' OWNER TO c'",
            "CREATE VIEW v AS SELECT 1 OWNER TO x",
        ];
        for other in others {
            assert!(!is_owner(other), "{other}");
        }
    }

    #[test]
    fn the_database_of_connect_is_read_in_both_ways() {
        assert_eq!(connected_to("shop").as_deref(), Some("shop"));
        assert_eq!(connected_to("\"Shop\"").as_deref(), Some("Shop"));
        assert_eq!(connected_to(r#"-reuse-previous=on "dbname='my db\'s'""#).as_deref(), Some("my db's"));
        assert_eq!(connected_to("-reuse-previous=on \"host=x\""), None);
    }
}
