//! Names and values from a database as text that is safe to show.

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

/// A sort of evidence as a person reads it; the weakest says what it cannot know.
pub fn evidence_words(evidence: &str) -> &str {
    match evidence {
        "predicate" => "predicate only (it cannot know what was done on purpose)",
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
}
