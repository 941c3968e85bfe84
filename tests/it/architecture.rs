//! The rules of the house that a compiler does not know: who may import whom, who may read the environment, print or
//! hold a client. Reads the source text; every rule also proves that it can fail, on a planted breach.

use std::collections::BTreeMap;
use std::path::Path;

use super::support::repository;

/// Lines a file may have.
const LONGEST_FILE: usize = 600;

/// The layer of each module of the library; a module imports only from lower ones.
const LAYERS: [(&str, u8); 22] = [
    ("error", 0),
    ("ident", 0),
    ("progress", 0),
    ("cancel", 0),
    ("clock", 0),
    ("env", 0),
    ("sql", 1),
    ("value", 2),
    ("pg", 2),
    ("catalog", 3),
    ("staging", 3),
    ("recipe", 4),
    ("backup", 4),
    ("scratch", 4),
    ("extract", 4),
    ("compare", 4),
    ("diff", 4),
    ("plan", 4),
    ("apply", 4),
    ("verify", 4),
    ("report", 4),
    ("case", 5),
];

/// Inside layer 4 a stage may name the types that the stages before it put out.
const STAGE_EDGES: [(&str, &[&str]); 7] = [
    ("compare", &["recipe", "backup"]),
    ("scratch", &["backup"]),
    ("extract", &["recipe", "scratch"]),
    ("diff", &["recipe", "extract"]),
    ("plan", &["recipe", "diff"]),
    ("apply", &["plan"]),
    ("verify", &["diff", "plan", "apply"]),
];

/// The report reads what every stage left; the case calls them all.
const READS_EVERYTHING: [&str; 1] = ["report"];

/// Words that may stand only in the named places (prefixes of paths below `src/`).
const RESERVED: [(&str, &[&str]); 10] = [
    ("tokio_postgres::Client", &["pg/"]),
    ("deadpool", &["pg/"]),
    ("std::env::", &["env.rs"]),
    ("env::var", &["env.rs"]),
    ("println!", &["cli/output.rs"]),
    ("std::io::stdout", &["cli/output.rs", "cli/bars.rs"]),
    ("std::io::stderr", &["cli/output.rs", "cli/bars.rs"]),
    ("clap", &["cli/", "main.rs"]),
    ("indicatif", &["cli/"]),
    ("SystemTime", &["clock.rs"]),
];

/// What a pure module must not name.
const PURE: [(&str, &[&str]); 2] = [
    ("plan/", &["tokio", "std::fs", "std::time", "std::net", "std::process", "async fn", "rand::"]),
    ("value/", &["tokio", "std::fs", "std::time", "std::net", "std::process", "async fn", "rand::"]),
];

/// Every breach in the given files (path below `src/` → text), one line each.
fn breaches(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in files {
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            found.push(format!("{path}: {lines} lines, {LONGEST_FILE} is the limit: look for the seam"));
        }
        for (number, line) in code_lines(text) {
            let place = format!("{path}:{number}");
            found.extend(
                reserved_words(path, line).map(|word| format!("{place}: {word} may not be named here")),
            );
            found.extend(
                imports(line)
                    .filter_map(|import| forbidden_edge(path, &import))
                    .map(|why| format!("{place}: {why}")),
            );
            if depth(path) == 1 && !path.ends_with("/mod.rs") && line.contains("super::super::")
                || path.ends_with("/mod.rs") && depth(path) == 1 && line.contains("super::")
            {
                found
                    .push(format!("{place}: `super` that leaves the module hides the edge; write `crate::`"));
            }
        }
    }
    found
}

/// How many folders deep below `src/` a file is.
fn depth(path: &str) -> usize {
    path.matches('/').count()
}

/// The numbered lines of a file that are code outside its unit tests.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered
        .take_while(|(_, line)| line.trim_end() != "#[cfg(test)]")
        .map(|(number, line)| (number, line.split("//").next().unwrap_or("")))
        .filter(|(_, line)| !line.trim().is_empty())
}

fn reserved_words<'line>(path: &'line str, line: &'line str) -> impl Iterator<Item = &'static str> + 'line {
    let elsewhere = RESERVED
        .into_iter()
        .filter(move |(_, places)| !places.iter().any(|place| path.starts_with(place)))
        .map(|(word, _)| word);
    let impure = PURE
        .into_iter()
        .filter(move |(module, _)| path.starts_with(module))
        .flat_map(|(_, words)| words.iter().copied());
    elsewhere.chain(impure).filter(move |word| names(line, word))
}

/// Does `word` stand in `line`, not as the end of a longer name?
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let part = |letter: Option<char>| letter.is_some_and(|it| it.is_alphanumeric() || it == '_');
        // `env::var` must also catch `env::vars_os`; a word that ends in punctuation ends there.
        !part(before) && (word.contains("::") || !part(after))
    })
}

/// The modules named after `crate::` in a line, one by one also out of `crate::{a::X, b}`.
fn imports(line: &str) -> impl Iterator<Item = String> + '_ {
    line.split("crate::").skip(1).flat_map(|rest| {
        let first_name = |text: &str| {
            text.trim().chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect::<String>()
        };
        match rest.strip_prefix('{') {
            None => vec![first_name(rest)],
            Some(group) => {
                let (mut level, mut parts) = (0, vec![String::new()]);
                for letter in group.chars() {
                    match letter {
                        '{' => level += 1,
                        '}' if level == 0 => break,
                        '}' => level -= 1,
                        ',' if level == 0 => parts.push(String::new()),
                        _ => parts.last_mut().unwrap().push(letter),
                    }
                }
                parts.iter().map(|part| first_name(part)).collect()
            }
        }
    })
}

/// Why the file at `path` may not import `target`, if it may not.
fn forbidden_edge(path: &str, target: &str) -> Option<String> {
    let layer = |module: &str| LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer);
    let module = path.split(['/', '.']).next().unwrap_or(path);
    if module == "lib" || module == "cli" || module == "main" || module == target || target.is_empty() {
        return None;
    }
    let Some(own) = layer(module) else {
        return Some(format!("module {module} has no layer in architecture.rs"));
    };
    let other = layer(target)?;
    let stage_may = || {
        READS_EVERYTHING.contains(&module)
            || STAGE_EDGES.iter().any(|(stage, before)| *stage == module && before.contains(&target))
    };
    if other < own || (own == 0 && other == 0) || (own == 4 && other == 4 && stage_may()) {
        return None;
    }
    Some(format!("{module} (layer {own}) may not import {target} (layer {other})"))
}

/// All `.rs` files below a folder, path below it → text.
fn read_sources(root: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_source_keeps_the_rules() {
    let files = read_sources(&repository().join("src"));
    assert!(files.len() > 15, "the source was read");
    let found = breaches(&files);
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_planted_breach_is_found() {
    let planted = [
        ("plan/order.rs", "use crate::apply::Journal;", "plan (layer 4) may not import apply (layer 4)"),
        (
            "catalog/load.rs",
            "use crate::{error::Kind, recipe::Recipe};",
            "catalog (layer 3) may not import recipe (layer 4)",
        ),
        ("sql/mod.rs", "fn f() -> crate::pg::Session {}", "sql (layer 1) may not import pg (layer 2)"),
        ("novel/mod.rs", "use crate::error;", "module novel has no layer in architecture.rs"),
        ("diff/live.rs", "use tokio_postgres::Client;", "tokio_postgres::Client may not be named here"),
        ("diff/live.rs", "let home = std::env::var_os(\"HOME\");", "std::env:: may not be named here"),
        ("diff/live.rs", "use std::env; env::vars();", "env::var may not be named here"),
        ("apply/mod.rs", "println!(\"hello\");", "println! may not be named here"),
        ("recipe/mod.rs", "use clap::Parser;", "clap may not be named here"),
        ("plan/batch.rs", "std::fs::write(path, text)", "std::fs may not be named here"),
        ("plan/batch.rs", "pub async fn f() {}", "async fn may not be named here"),
        ("value/float.rs", "use std::time::Instant;", "std::time may not be named here"),
        (
            "diff/mod.rs",
            "use super::apply::X;",
            "`super` that leaves the module hides the edge; write `crate::`",
        ),
    ];
    for (path, line, expected) in planted {
        let files = BTreeMap::from([(path.to_owned(), format!("//! A file.\n{line}\n"))]);
        let found = breaches(&files);
        assert!(
            found.iter().any(|it| it == &format!("{path}:2: {expected}")),
            "{path}: {line}: found {found:?}"
        );
    }
    let long = BTreeMap::from([("diff/mod.rs".to_owned(), "\n".repeat(LONGEST_FILE + 1))]);
    assert_eq!(breaches(&long), ["diff/mod.rs: 601 lines, 600 is the limit: look for the seam"]);
}

#[test]
fn allowed_edges_comments_and_unit_tests_are_left_alone() {
    let text = "//! See crate::apply.\nuse crate::{diff::Row, catalog::{Table, Key}};\n// crate::apply\nfn f() {}\n\
                #[cfg(test)]\nmod tests { use crate::apply; }\n";
    assert_eq!(
        breaches(&BTreeMap::from([("plan/mod.rs".to_owned(), text.to_owned())])),
        Vec::<String>::new()
    );
}

#[test]
fn every_test_file_is_named_in_main() {
    let main = std::fs::read_to_string(repository().join("tests/it/main.rs")).unwrap();
    let files = read_sources(&repository().join("tests/it"));
    let modules = files.keys().filter_map(|path| {
        let name = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs"))?;
        (name != "main" && !name.contains('/')).then_some(name)
    });
    let forgotten: Vec<_> = modules.filter(|name| !main.contains(&format!("mod {name};"))).collect();
    assert_eq!(forgotten, Vec::<&str>::new(), "not in tests/it/main.rs, so never run");
}
