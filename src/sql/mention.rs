//! Which columns of a row a condition names, told from its words alone. Decides nothing about meaning.

use super::lexer::{Lexeme, split};
use crate::ident::Ident;

/// The columns that a condition names as `alias.column`; `None` where that cannot be told from its words, such as for the
/// whole row.
pub fn columns_named(condition: &str, alias: &str) -> Option<Vec<Ident>> {
    let lexemes: Vec<Lexeme<'_>> = split(condition).ok()?.into_iter().map(|(_, lexeme)| lexeme).collect();
    // `U&"…"` spells a name by numbers.
    let is_spelled = |pair: &[Lexeme<'_>]| matches!(pair, [Lexeme::Symbol('&'), Lexeme::Quoted(_)]);
    if lexemes.windows(2).any(is_spelled) {
        return None;
    }
    let mut names = Vec::new();
    for (at, lexeme) in lexemes.iter().enumerate() {
        if name_of(lexeme).is_some_and(|name| name.as_str() == alias) {
            if lexemes.get(at + 1) != Some(&Lexeme::Symbol('.')) {
                return None;
            }
            names.push(name_of(lexemes.get(at + 2)?)?);
        }
    }
    Some(names)
}

/// May a condition be about the column? False only where its words tell that it is not.
pub fn may_name(condition: &str, column: &Ident) -> bool {
    let Ok(lexemes) = split(condition) else { return true };
    lexemes.iter().any(|(_, lexeme)| match lexeme {
        Lexeme::Word(_) | Lexeme::Quoted(_) => name_of(lexeme).is_none_or(|name| name == *column),
        Lexeme::Symbol(symbol) => *symbol == '&',
        Lexeme::Constant | Lexeme::Parameter => false,
    })
}

/// Letters beyond ASCII are folded as the server's locale has it, so they tell nothing.
fn name_of(lexeme: &Lexeme<'_>) -> Option<Ident> {
    match lexeme {
        Lexeme::Word(word) if word.is_ascii() => Some(Ident::new(word.to_ascii_lowercase())),
        Lexeme::Quoted(name) => {
            let inner = name.strip_prefix('"')?.strip_suffix('"')?;
            Some(Ident::new(inner.replace("\"\"", "\"")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_as_the_server_reads_them_and_anything_else_is_not_told() {
        let names = |condition: &str| {
            let names = columns_named(condition, "backup")?;
            Some(names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>())
        };
        let some = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(names("live.amount = 0 and live.\"state\" = 'backup.x'"), some(&[]));
        let spaced = "live.a <> Backup . A /* backup.c */ or \"backup\".\"B\"\"b\" > 1";
        assert_eq!(names(spaced), some(&["a", "B\"b"]));
        assert_eq!(names("backup.*  is distinct from live.*"), None);
        for whole in ["backup <> live", "U&\"b\\0061ckup\".a = 1", "(backup).a = 1", "backup.é = 1"] {
            assert_eq!(names(whole), None, "{whole}");
        }
    }

    #[test]
    fn a_column_is_only_ruled_out_by_plain_words() {
        let kind = Ident::new("kind");
        for about in ["KIND = 'a'", "\"kind\" is null", "U&\"k\\0069nd\" = 'a'", "é = 1"] {
            assert!(may_name(about, &kind), "{about}");
        }
        for not in ["kinds = 'kind'", "\"Kind\" = 1 -- kind", "typ = 'customer'"] {
            assert!(!may_name(not, &kind), "{not}");
        }
    }
}
