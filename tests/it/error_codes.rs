//! `docs/errors.md` lists every error code that the source can print, and no other.

use std::collections::BTreeSet;
use std::path::Path;

use super::support::repository;

/// What the functions named `code` or `…_code` in a file return, and what the binary's own failures are called.
fn codes_of(text: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for (start, _) in text.match_indices("code(") {
        let line = text[..start].rsplit('\n').next().unwrap_or_default();
        if line.contains("fn ") {
            let indent = &line[..line.len() - line.trim_start().len()];
            let body = &text[start..];
            let end = body.find(&format!("\n{indent}}}\n")).unwrap_or(body.len());
            let returned = body[..end].split('"').skip(1).step_by(2).filter(|word| is_code(word));
            codes.extend(returned.map(str::to_owned));
        }
    }
    for maker in ["Failure::usage(", "Failure::input("] {
        for (start, _) in text.match_indices(maker) {
            codes.extend(text[start..].split('"').nth(1).map(str::to_owned));
        }
    }
    codes
}

/// Kebab-case; a SQLSTATE has digits or capitals in front.
fn is_code(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_lowercase())
        && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
}

fn codes_below(folder: &Path) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes.extend(codes_below(&path));
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod").next().unwrap_or_default();
            codes.extend(codes_of(code));
        }
    }
    codes
}

/// The first cell of each line of a table.
fn documented(text: &str) -> Vec<String> {
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned());
    text.lines().filter_map(cell).collect()
}

#[test]
fn every_code_is_documented_once() {
    let found = codes_below(&repository().join("src"));
    let listed = documented(&std::fs::read_to_string(repository().join("docs/errors.md")).unwrap());
    let unique: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), unique.len(), "a code stands twice in docs/errors.md");
    let missing: Vec<_> = found.difference(&unique).collect();
    let unknown: Vec<_> = unique.difference(&found).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not documented: {missing:?}; not in src: {unknown:?}");
    assert!(found.iter().all(|code| is_code(code)), "{found:?}");
}

#[test]
fn the_search_finds_what_it_should() {
    let text = "impl A {\n    fn code(&self) -> &'static str {\n        match self { A if x == \"42501\" => \"one-a\", \
                B => \"two\" }\n    }\n}\nfn connect_code() {\n    \"four\"\n}\n\
                fn x() { Failure::usage(\n  \"three\", \"no\") }";
    assert_eq!(codes_of(text), ["one-a", "four", "three", "two"].map(str::to_owned).into());
    assert_eq!(documented("| code | x |\n|---|\n| `one-a` | 2 |\n"), ["one-a"]);
}
