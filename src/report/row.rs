//! One row of a diff, for a pager or as JSON: the backup's values beside live's, with the columns marked that differ or
//! are written. Plain text; fits a given width.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::visible;
use crate::diff::{RowAction, Verdict};

/// Narrower than this nothing can be read.
const NARROWEST: u16 = 40;
const INDENT: usize = 2;

/// A row of a diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownRow {
    /// Key columns with their values.
    #[serde(serialize_with = "as_object")]
    pub key: Vec<(String, String)>,
    /// The verdict.
    pub verdict: Verdict,
    /// What the plan does with it.
    pub action: RowAction,
    /// How we know.
    pub evidence: String,
    /// Why; empty where the verdict says it all.
    pub reason: String,
    /// Columns that an update sets, that an insert leaves empty, or that differ.
    pub columns: Vec<String>,
    /// The backup's values, `null` for NULL; absent unless values were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Map<String, Value>>,
    /// Live's values of `columns`; absent unless values were asked for, and where live has no such row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Map<String, Value>>,
    /// What the accident left in `columns`; absent unless values were asked for and a second backup or a replay tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Map<String, Value>>,
    /// What apply or undo said about the row, where it did not end as planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

fn as_object<S: Serializer>(key: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(key.len()))?;
    for (name, value) in key {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

impl ShownRow {
    /// `id = 7  changed, kept as it is`: the first line.
    pub fn heading(&self) -> String {
        let key: Vec<String> =
            self.key.iter().map(|(name, value)| format!("{} = {}", visible(name), visible(value))).collect();
        let action = match self.action {
            RowAction::None => "nothing is written",
            RowAction::Insert => "insert",
            RowAction::Update => "update",
            RowAction::Move => "move back",
            RowAction::Repoint => "live's row stands in for it",
        };
        format!("{}  {}: {action}", key.join(", "), self.verdict)
    }

    /// What comes below the first line, each line ended.
    pub fn body(&self, width: u16) -> String {
        let mut text = line("evidence", &self.evidence, width);
        if !self.reason.is_empty() {
            text.push_str(&line("reason", &self.reason, width));
        }
        if let Some(outcome) = &self.outcome {
            text.push_str(&line("apply", outcome, width));
        }
        match &self.backup {
            Some(backup) if !backup.is_empty() => text.push_str(&self.values(backup, width)),
            _ if !self.columns.is_empty() => text.push_str(&line("columns", &self.columns.join(", "), width)),
            _ => {}
        }
        text
    }

    fn values(&self, backup: &Map<String, Value>, width: u16) -> String {
        let mut table = plain(width);
        let mut header = vec![String::new(), "column".to_owned(), "backup".to_owned()];
        let beside = [(&self.after, "after"), (&self.live, "live")];
        let beside: Vec<_> =
            beside.into_iter().filter_map(|(values, name)| Some((values.as_ref()?, name))).collect();
        header.extend(beside.iter().map(|(_, name)| (*name).to_owned()));
        table.set_header(header);
        for (name, value) in backup {
            let marked = self.columns.contains(name);
            let mark = if marked { "*" } else { "" };
            let mut cells = vec![mark.to_owned(), visible(name), spelled(value)];
            cells.extend(beside.iter().map(|(values, _)| values.get(name).map_or(String::new(), spelled)));
            table.add_row(cells);
        }
        lines(&table)
    }
}

/// NULL and the empty string apart from each other and from the word.
fn spelled(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) if text.is_empty() || text == "NULL" => format!("{text:?}"),
        Value::String(text) => visible(text),
        other => visible(&other.to_string()),
    }
}

fn line(name: &str, text: &str, width: u16) -> String {
    let mut table = plain(width);
    table.add_row([format!("{name:<8}"), visible(text)]);
    lines(&table)
}

fn plain(width: u16) -> Table {
    let room = width.max(NARROWEST) - u16::try_from(INDENT).unwrap_or_default();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(room);
    table
}

fn lines(table: &Table) -> String {
    table.lines().map(|line| format!("{}{}\n", " ".repeat(INDENT - 1), line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &Value) -> Option<Map<String, Value>> {
        json.as_object().cloned()
    }

    fn changed() -> ShownRow {
        ShownRow {
            key: vec![("id".to_owned(), "7".to_owned())],
            verdict: Verdict::Changed,
            action: RowAction::None,
            evidence: "predicate".to_owned(),
            reason: "live's note differs".to_owned(),
            columns: vec!["note".to_owned()],
            backup: object(
                &serde_json::json!({"id": "7", "note": "a\u{1b}[2Jb", "memo": null, "word": "NULL"}),
            ),
            live: object(&serde_json::json!({"note": ""})),
            after: None,
            outcome: None,
        }
    }

    #[test]
    fn backup_stands_beside_live_and_nothing_moves_the_cursor() {
        let row = changed();
        insta::assert_snapshot!(format!("{}\n{}", row.heading(), row.body(60)), @r#"
        id = 7  changed: nothing is written
          evidence  predicate
          reason    live's note differs
             column  backup       live
             id      7
          *  note    a\u{1b}[2Jb  ""
             memo    NULL
             word    "NULL"
        "#);
        let three = ShownRow { after: object(&serde_json::json!({"note": "bad"})), ..row.clone() };
        insta::assert_snapshot!(three.body(60).lines().nth(4).unwrap_or_default(), @r#"  *  note    a\u{1b}[2Jb  bad    """#);
        let narrow = ShownRow { reason: "many words ".repeat(12), ..row };
        let widest = narrow.body(50).lines().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|widest| widest <= 50), "{}", narrow.body(50));
    }

    #[test]
    fn without_values_only_names_are_told() {
        let row = ShownRow { backup: None, live: None, ..changed() };
        insta::assert_snapshot!(row.body(60), @"
        evidence  predicate
        reason    live's note differs
        columns   note
        ");
        insta::assert_snapshot!(serde_json::to_string(&row).unwrap(), @r#"{"key":{"id":"7"},"verdict":"changed","action":"none","evidence":"predicate","reason":"live's note differs","columns":["note"]}"#);
    }
}
