//! Names and values from a database as text that is safe to show, and sorts of evidence as words.

use std::collections::BTreeMap;

use super::table::grouped;

/// Control characters and those that turn the writing direction become visible escapes: a value out of a backup must
/// not move the cursor or pretend to be another one.
pub fn visible(text: &str) -> String {
    let turns = |letter: char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || turns(letter) {
            safe.extend(letter.escape_default());
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// The text as a word that a shell takes as it stands.
pub fn shell_word(text: &str) -> String {
    let plain = text.chars().all(|letter| letter.is_alphanumeric() || "/._-+:@%".contains(letter));
    if plain && !text.is_empty() { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// How many rows are written by which evidence, the strongest first: `1,000 by cascade, 204 by predicate only (…)`; empty when
/// nothing is written.
pub fn evidence_line(evidence: &BTreeMap<String, u64>) -> String {
    const STRONGEST_FIRST: [&str; 5] = ["replay", "bracket", "cascade", "predicate", "needed"];
    let place = |name: &str| STRONGEST_FIRST.iter().position(|known| *known == name);
    let mut found: Vec<_> = evidence.iter().filter(|(_, rows)| **rows > 0).collect();
    found.sort_by_key(|(name, _)| place(name).unwrap_or(STRONGEST_FIRST.len()));
    let parts =
        found.into_iter().map(|(name, rows)| format!("{} by {}", grouped(*rows), evidence_words(name)));
    parts.collect::<Vec<_>>().join(", ")
}

/// A sort of evidence as a person reads it; the weakest says what it cannot know.
fn evidence_words(evidence: &str) -> &str {
    match evidence {
        "predicate" => "predicate only (it cannot know what was done on purpose)",
        "needed" => "need (recovered rows hang on them)",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(
            visible("Zoë <b> \\ \u{1b}[2J\n\u{202e}x\u{7f}"),
            "Zoë <b> \\ \\u{1b}[2J\\n\\u{202e}x\\u{7f}"
        );
    }

    #[test]
    fn words_are_safe_to_paste() {
        let words = ["case", "/a/b-c.d", "my case", "it's", ""].map(shell_word);
        assert_eq!(words, ["case", "/a/b-c.d", "'my case'", "'it'\\''s'", "''"]);
    }

    #[test]
    fn evidence_is_told_whole_and_the_strongest_first() {
        let rows = ["needed", "other", "predicate", "cascade", "replay", "bracket"]
            .map(|name| (name.to_owned(), 1_000));
        assert_eq!(
            evidence_line(&BTreeMap::from(rows)),
            "1,000 by replay, 1,000 by bracket, 1,000 by cascade, 1,000 by predicate only (it cannot know what was done on \
             purpose), 1,000 by need (recovered rows hang on them), 1,000 by other"
        );
        assert_eq!(evidence_line(&BTreeMap::from([("cascade".to_owned(), 0)])), "");
    }
}
