//! Service files: `[name]` sections of `key=value` lines, in `PGSERVICEFILE` or `~/.pg_service.conf`, then
//! `pg_service.conf` of `PGSYSCONFDIR`.

use std::path::PathBuf;

use super::conninfo::Pairs;
use super::error::PgError;
use crate::env::Env;

/// The settings of `service`; a service that is in none of the files is an error.
pub(super) fn read(service: &str, env: &Env, home: Option<&PathBuf>) -> Result<Pairs, PgError> {
    let mut looked_in = Vec::new();
    let named = env.var("PGSERVICEFILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let personal = named.clone().or_else(|| home.map(|home| home.join(".pg_service.conf")));
    let system = env.var("PGSYSCONFDIR").map(|directory| PathBuf::from(directory).join("pg_service.conf"));
    let debian = PathBuf::from("/etc/postgresql-common/pg_service.conf");
    for path in personal.into_iter().chain([system.unwrap_or(debian)]) {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.as_ref() != Some(&path) => {
                looked_in.push(path.display().to_string());
                continue;
            }
            Err(error) => {
                return Err(PgError::settings(format!(
                    "the service file \"{}\" cannot be read: {error}",
                    path.display()
                )));
            }
        };
        if let Some(pairs) = section(&text, service, &path.display().to_string())? {
            return Ok(pairs);
        }
        looked_in.push(path.display().to_string());
    }
    Err(PgError::settings_with(
        format!("no service \"{service}\" in {}", looked_in.join(" or ")),
        "Add a section with that name, or set `PGSERVICEFILE`.",
    ))
}

/// The lines of one section; `None` when the text has no such section.
fn section(text: &str, service: &str, file: &str) -> Result<Option<Pairs>, PgError> {
    let mut found = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let place = || format!("line {} of \"{file}\"", number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if found.is_some() {
                return Ok(found);
            }
            if name == service {
                found = Some(Pairs::new());
            }
            continue;
        }
        let Some(pairs) = &mut found else { continue };
        if line.starts_with("ldap:") {
            return Err(PgError::settings(format!("{}: LDAP look-ups are not supported", place())));
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(PgError::settings(format!("{} has no \"=\"", place())));
        };
        if key == "service" {
            return Err(PgError::settings(format!("{}: a service cannot name another one", place())));
        }
        pairs.push((key.trim_end().to_owned(), value.to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_section_only() {
        let text = "# c\nhost=outside\n[a]\nhost=one\n port=1 \n\n[b]\nhost=two\n[a]\nhost=three\n";
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(section(text, "a", "f").unwrap(), Some(vec![pair("host", "one"), pair("port", "1")]));
        assert_eq!(section(text, "b", "f").unwrap(), Some(vec![pair("host", "two")]));
        assert_eq!(section(text, "c", "f").unwrap(), None);
        assert!(section("[a]\nservice=b\n", "a", "f").is_err());
        assert!(section("[a]\nhost\n", "a", "f").is_err());
    }
}
