//! The locale of the scratch database: the backup's own where this machine has it, because predicates compare, sort and
//! fold case by it. Pure; which locales a machine has only shows when a database is made.

use crate::backup::Contents;
use crate::sql::literal::literal;

/// By what a database compares texts where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locale {
    /// `lc_collate`: how texts sort and compare, where the C library decides.
    pub collate: String,
    /// `lc_ctype`: what is a letter, and its upper and lower case.
    pub ctype: String,
    /// Who decides in place of the C library, from PostgreSQL 15 on.
    pub provider: Option<Provider>,
}

/// A provider that is not the C library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// ICU: its locale, and rules of the database's own.
    Icu {
        /// `ICU_LOCALE`.
        locale: String,
        /// `ICU_RULES`, from PostgreSQL 16 on.
        rules: Option<String>,
    },
    /// PostgreSQL itself, from 17 on: its locale.
    Builtin(String),
}

impl Locale {
    /// Locale C, which is everywhere.
    pub fn c() -> Self {
        Self::libc("C", "C")
    }

    fn libc(collate: &str, ctype: &str) -> Self {
        Self { collate: collate.to_owned(), ctype: ctype.to_owned(), provider: None }
    }

    /// The options of CREATE DATABASE.
    pub fn sql(&self) -> String {
        let provider = match &self.provider {
            None => String::new(),
            Some(Provider::Builtin(locale)) => {
                format!(" locale_provider builtin builtin_locale {}", literal(locale))
            }
            Some(Provider::Icu { locale, rules }) => {
                let rules = rules.iter().map(|rules| format!(" icu_rules {}", literal(rules)));
                format!(" locale_provider icu icu_locale {}{}", literal(locale), rules.collect::<String>())
            }
        };
        format!("lc_collate {} lc_ctype {}{provider}", literal(&self.collate), literal(&self.ctype))
    }

    /// Do both decide alike? Beside a provider the C library has no say.
    pub fn is_like(&self, other: &Self) -> bool {
        if self.provider.is_some() { self.provider == other.provider } else { self == other }
    }

    /// What texts are sorted by, and what tells upper from lower case.
    pub fn words(&self) -> (String, String) {
        match &self.provider {
            None => (self.collate.clone(), self.ctype.clone()),
            Some(Provider::Builtin(locale)) => {
                (format!("PostgreSQL's {locale}"), format!("PostgreSQL's {locale}"))
            }
            Some(Provider::Icu { locale, rules }) => {
                let with = if rules.is_some() { " with rules of its own" } else { "" };
                (format!("ICU's {locale}{with}"), format!("ICU's {locale}"))
            }
        }
    }
}

/// Locales to try, the best first. The last one is always there.
pub fn candidates(contents: &Contents) -> Vec<Locale> {
    let own = of_backup(contents);
    let mut found: Vec<Locale> = own.iter().cloned().collect();
    let mut usual = Vec::new();
    if contents.encoding == "UTF8" {
        usual.extend(["C.UTF-8", "C.utf8", "en_US.UTF-8"].map(|ctype| Locale::libc("C", ctype)));
    }
    usual.push(Locale::c());
    if let Some(provider) = own.and_then(|own| own.provider) {
        let with = |locale: &Locale| Locale { provider: Some(provider.clone()), ..locale.clone() };
        found.extend(usual.iter().map(with));
    }
    found.extend(usual);
    found
}

/// What the backup's own CREATE DATABASE says.
pub fn of_backup(contents: &Contents) -> Option<Locale> {
    let entry = contents.entries.iter().find(|entry| entry.kind == "DATABASE")?;
    let setting = |name: &str| setting(&entry.definition, name);
    let locale = setting("LOCALE");
    let collate = setting("LC_COLLATE").or_else(|| locale.clone())?;
    let ctype = setting("LC_CTYPE").or(locale)?;
    let icu = || Some(Provider::Icu { locale: setting("ICU_LOCALE")?, rules: setting("ICU_RULES") });
    let provider = setting("BUILTIN_LOCALE").map(Provider::Builtin).or_else(icu);
    Some(Locale { collate, ctype, provider })
}

/// The text of an option; doubled quotes are one, as in any literal.
fn setting(definition: &str, name: &str) -> Option<String> {
    let start = format!(" {name} = '");
    let mut rest = definition.get(definition.find(&start)? + start.len()..)?;
    let mut text = String::new();
    loop {
        let (part, after) = rest.split_once('\'')?;
        text.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                text.push('\'');
                rest = more;
            }
            None => return Some(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_pg_dump_writes_them() {
        let definition = "CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = icu \
             LOCALE = 'en_US.utf8' ICU_LOCALE = 'en-US' ICU_RULES = '&a < ''x''';";
        let found = ["LOCALE", "ICU_LOCALE", "ICU_RULES", "LC_COLLATE"].map(|name| setting(definition, name));
        assert_eq!(found, [Some("en_US.utf8".into()), Some("en-US".into()), Some("&a < 'x'".into()), None]);
        assert_eq!(setting("CREATE DATABASE x LOCALE = 'cut", "LOCALE"), None);
    }

    #[test]
    fn beside_a_provider_the_c_library_does_not_count() {
        let icu = |collate: &str, locale: &str| Locale {
            provider: Some(Provider::Icu { locale: locale.into(), rules: None }),
            ..Locale::libc(collate, collate)
        };
        assert!(icu("de_DE", "de").is_like(&icu("C", "de")) && !icu("C", "de").is_like(&icu("C", "sv")));
        assert!(!icu("C", "de").is_like(&Locale::c()) && !Locale::c().is_like(&icu("C", "de")));
        assert!(!Locale::libc("C", "C.UTF-8").is_like(&Locale::c()));
        assert_eq!(
            icu("C", "it's").sql(),
            "lc_collate 'C' lc_ctype 'C' locale_provider icu icu_locale 'it''s'"
        );
    }
}
