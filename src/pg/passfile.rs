//! `~/.pgpass`: `host:port:database:user:password` lines, first match wins, `*` matches all, `\` escapes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// One line of the password file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PassEntry {
    pattern: [Option<String>; 4],
    password: String,
}

/// What is looked up in the password file.
#[derive(Debug, Clone, Copy)]
pub(super) struct PassKey<'a> {
    /// Host as written, or `localhost` for a default socket directory.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Database.
    pub dbname: &'a str,
    /// User.
    pub user: &'a str,
}

/// What reading the file gave: its lines, and a note when it was left aside.
#[derive(Default)]
pub(super) struct PassFile {
    pub entries: Vec<PassEntry>,
    pub note: Option<String>,
}

/// Reads the file; a missing one is empty. As libpq does, a file that others may read is left aside, with a note.
pub(super) fn read(path: &Path) -> PassFile {
    let Ok(metadata) = std::fs::metadata(path) else { return PassFile::default() };
    let leave = |reason: String| PassFile { entries: Vec::new(), note: Some(reason) };
    if !metadata.is_file() {
        return leave(format!("password file \"{}\" is not a plain file and is not used", path.display()));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return leave(format!(
            "password file \"{0}\" can be read by others and is not used; run: chmod 0600 {0}",
            path.display()
        ));
    }
    match std::fs::read_to_string(path) {
        Ok(text) => PassFile { entries: parse(&text), note: None },
        Err(error) => leave(format!("password file \"{}\" cannot be read: {error}", path.display())),
    }
}

pub(super) fn parse(text: &str) -> Vec<PassEntry> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<PassEntry> {
    let mut rest = line.strip_suffix('\r').unwrap_or(line);
    let mut pattern = [const { None }; 4];
    for place in &mut pattern {
        let (field, after) = split_field(rest)?;
        *place = (field != "*").then(|| unescape(field));
        rest = after;
    }
    // libpq reads the password up to an unescaped colon, too.
    let password = unescape(split_field(rest).map_or(rest, |(field, _)| field));
    (!password.is_empty()).then_some(PassEntry { pattern, password })
}

/// The text before the first unescaped colon and the text after it.
fn split_field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

fn unescape(field: &str) -> String {
    let mut letters = field.chars();
    let mut plain = String::with_capacity(field.len());
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    plain
}

/// The password of the first line that matches.
pub(super) fn find<'a>(entries: &'a [PassEntry], key: PassKey<'_>) -> Option<&'a str> {
    let port = key.port.to_string();
    let wanted = [key.host, &port, key.dbname, key.user];
    let matches = |entry: &&PassEntry| {
        entry
            .pattern
            .iter()
            .zip(wanted)
            .all(|(pattern, value)| pattern.as_deref().is_none_or(|text| text == value))
    };
    entries.iter().find(matches).map(|entry| entry.password.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(host: &'a str, dbname: &'a str, user: &'a str) -> PassKey<'a> {
        PassKey { host, port: 5432, dbname, user }
    }

    #[test]
    fn first_match_wins_with_stars_escapes_and_comments() {
        let entries = parse(
            "# a comment\n\
             db1:5432:shop:ann:one\n\
             db1:*:*:ann:two\n\
             odd\\:host:5432:a\\\\b:*:p\\:w\\\\d\n\
             broken line\n\
             db9:5432:shop:ann:\n\
             *:5433:*:*:port\n",
        );
        assert_eq!(find(&entries, key("db1", "shop", "ann")), Some("one"));
        assert_eq!(find(&entries, key("db1", "other", "ann")), Some("two"));
        assert_eq!(find(&entries, key("odd:host", "a\\b", "x")), Some("p:w\\d"));
        assert_eq!(find(&entries, key("db9", "shop", "ann")), None);
        assert_eq!(find(&entries, PassKey { port: 5433, ..key("db9", "shop", "ann") }), Some("port"));
        assert_eq!(find(&entries, key("db1", "shop", "bob")), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_left_aside_with_a_note() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pass");
        std::fs::write(&path, "*:*:*:*:secret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let open = read(&path);
        assert!(open.entries.is_empty());
        assert!(open.note.unwrap().contains("chmod 0600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let closed = read(&path);
        assert_eq!(closed.note, None);
        assert_eq!(find(&closed.entries, key("h", "d", "u")), Some("secret"));
        let missing = read(&directory.path().join("none"));
        assert!(missing.entries.is_empty() && missing.note.is_none());
    }
}
