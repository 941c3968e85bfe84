//! Has a key column another type in live than in the backup? Keys meet by their text, and another type may print the same
//! value otherwise. Read off the definition in the table of contents, as pg_dump lays it out: a line for each column. Pure.

use crate::backup::Contents;
use crate::catalog::Table;
use crate::ident::Ident;

/// What to say about key columns of which the backup's definition names another type; `None` also where it says nothing.
pub(super) fn note(contents: &Contents, table: &Table, key: &[Ident]) -> Option<String> {
    let made = contents.entries.iter().find(|entry| {
        entry.kind == "TABLE"
            && entry.name == table.name.name.as_str()
            && entry.schema.as_deref() == Some(table.name.schema.as_str())
    })?;
    let told: Vec<String> = key
        .iter()
        .filter_map(|name| {
            let live = &table.column(name)?.type_name;
            (!is_of_type(&made.definition, name, live)?).then(|| format!("\"{name}\" ({live} in live)"))
        })
        .collect();
    (!told.is_empty()).then(|| {
        format!(
            "its key column {} had another type in the backup: rows meet by the text of their keys, and one whose key is \
             written otherwise now counts as missing and as new",
            told.join(", ")
        )
    })
}

/// `None` where the definition has no line for the column.
fn is_of_type(definition: &str, column: &Ident, type_name: &str) -> Option<bool> {
    let quoted = column.quoted();
    let rest = definition.lines().find_map(|line| {
        let line = line.strip_prefix("    ")?;
        let rest = line.strip_prefix(&quoted).or_else(|| line.strip_prefix(column.as_str()))?;
        rest.strip_prefix(' ')
    })?;
    let after = rest.strip_prefix(type_name);
    Some(after.is_some_and(|after| after.is_empty() || after.starts_with([',', ' '])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_columns_type_is_read_off_its_line() {
        let definition = "CREATE TABLE public.t (\n    k numeric NOT NULL,\n    \"the key\" character varying(8),\n    at timestamp with time zone\n);\n";
        let is = |column: &str, type_name: &str| is_of_type(definition, &Ident::new(column), type_name);
        assert_eq!(is("k", "numeric"), Some(true));
        assert_eq!(is("k", "numeric(10,1)"), Some(false));
        assert_eq!(is("the key", "character varying(8)"), Some(true));
        assert_eq!(is("the key", "character varying"), Some(false));
        assert_eq!(is("at", "timestamp with time zone"), Some(true));
        assert_eq!(is("a", "timestamp"), None);
    }
}
