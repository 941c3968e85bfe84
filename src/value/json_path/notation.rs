//! How paths are written: the operators of PostgreSQL with their literals.

use super::Step;

/// The last operator of a path that ends in JSON.
pub(super) const AS_JSON: &str = ">";

/// The last operator of a path that ends in a text.
pub(super) const AS_TEXT: &str = ">>";

pub(super) fn parse(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let (has_keys, behind) = match rest.strip_prefix("->") {
            Some(behind) => (false, behind),
            None => (true, rest.strip_prefix("#>")?),
        };
        let (is_last, behind) = match behind.strip_prefix('>') {
            Some(behind) => (true, behind),
            None => (false, behind),
        };
        // A number behind `->` is refused: of a scalar in jsonb, and not in json, it gives the scalar itself.
        let (value, behind) = string(behind.trim_start().strip_prefix('\'')?)?;
        if has_keys {
            steps.extend(list(&value)?);
        } else {
            steps.push(Step::Key(value));
        }
        rest = behind.trim_start();
        if is_last {
            return rest.is_empty().then_some(steps);
        }
    }
}

/// The value of a string literal whose first quote is cut off, and what stands behind it.
fn string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != '\'' {
            value.push(letter);
        } else if letters.next_if(|(_, next)| *next == '\'').is_some() {
            value.push('\'');
        } else {
            return Some((value, &text[at + 1..]));
        }
    }
    None
}

/// The elements of an array literal of one dimension: `{a,"b c"}`.
fn list(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut found = Vec::new();
    loop {
        let behind;
        let element = if let Some(quoted) = rest.strip_prefix('"') {
            let (value, after) = quoted_element(quoted)?;
            behind = after.trim_start();
            value
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let value = rest[..end].trim();
            if value.is_empty() || value.eq_ignore_ascii_case("null") || value.contains(['{', '}', '"', '\\'])
            {
                return None;
            }
            behind = &rest[end..];
            value.to_owned()
        };
        found.push(Step::Either(element));
        if behind.is_empty() {
            return Some(found);
        }
        rest = behind.strip_prefix(',')?.trim_start();
    }
}

fn quoted_element(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// The steps behind each other; `last` ends the last operator, `literal` quotes.
pub(super) fn show(steps: &[Step], last: &str, literal: &impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < steps.len() {
        let listed = steps[at..].iter().map_while(|step| match step {
            Step::Either(name) => Some(name.as_str()),
            Step::Key(_) => None,
        });
        let listed: Vec<&str> = listed.collect();
        let (operator, value) = match &steps[at] {
            Step::Key(key) => ('-', literal(key)),
            Step::Either(_) => ('#', literal(&show_list(&listed))),
        };
        at += listed.len().max(1);
        text.push(operator);
        text.push_str(if at == steps.len() { last } else { AS_JSON });
        text.push_str(&value);
    }
    text
}

fn show_list(elements: &[&str]) -> String {
    let show = |element: &&str| {
        let is_plain = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
        let plain = !element.is_empty() && element.chars().all(is_plain);
        if plain && !element.eq_ignore_ascii_case("null") {
            (*element).to_owned()
        } else {
            format!("\"{}\"", element.replace('\\', "\\\\").replace('"', "\\\""))
        }
    };
    format!("{{{}}}", elements.iter().map(show).collect::<Vec<_>>().join(","))
}

/// A literal as a recipe has it: a backslash means itself.
pub(super) fn plain_literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
