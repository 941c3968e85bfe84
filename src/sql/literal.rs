//! Values as SQL literals, for the few statements that cannot take parameters (COPY).

/// Appends `value` as a string literal; safe whatever `standard_conforming_strings` says.
pub fn push_literal(sql: &mut String, value: &str) {
    if value.contains('\\') {
        sql.push_str(" E'");
        for letter in value.chars() {
            match letter {
                '\'' => sql.push_str("''"),
                '\\' => sql.push_str("\\\\"),
                other => sql.push(other),
            }
        }
        sql.push('\'');
    } else {
        sql.push('\'');
        sql.push_str(&value.replace('\'', "''"));
        sql.push('\'');
    }
}

/// `value` as a string literal.
pub fn literal(value: &str) -> String {
    let mut sql = String::with_capacity(value.len() + 2);
    push_literal(&mut sql, value);
    sql
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn quotes_and_backslashes_are_doubled() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r" E'a\\''b'");
    }
}
