//! The locale of the scratch database: the backup's own where this machine has it, because predicates compare, sort and
//! fold case by it. Pure; which locales a machine has only shows when a database is made.

use crate::backup::Contents;

/// A pair of `lc_collate` and `lc_ctype`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locale {
    /// How texts sort and compare.
    pub collate: String,
    /// What is a letter, and its upper and lower case.
    pub ctype: String,
}

impl Locale {
    fn both(name: &str) -> Self {
        Self { collate: name.to_owned(), ctype: name.to_owned() }
    }
}

/// Locales to try, the best first. The last one is always there.
pub fn candidates(contents: &Contents) -> Vec<Locale> {
    let mut found: Vec<Locale> = of_backup(contents).into_iter().collect();
    if contents.encoding == "UTF8" {
        found.extend(
            ["C.UTF-8", "C.utf8", "en_US.UTF-8"]
                .map(|ctype| Locale { collate: "C".to_owned(), ctype: ctype.to_owned() }),
        );
    }
    found.push(Locale::both("C"));
    found
}

/// What the backup's own CREATE DATABASE says.
pub fn of_backup(contents: &Contents) -> Option<Locale> {
    let entry = contents.entries.iter().find(|entry| entry.kind == "DATABASE")?;
    let setting = |name: &str| {
        let start = format!(" {name} = '");
        let rest = &entry.definition[entry.definition.find(&start)? + start.len()..];
        rest.split('\'').next().map(str::to_owned)
    };
    let locale = setting("LOCALE");
    let collate = setting("LC_COLLATE").or_else(|| locale.clone())?;
    let ctype = setting("LC_CTYPE").or(locale)?;
    Some(Locale { collate, ctype })
}
