//! A session of scratch in which the accident is played again: inside one transaction that is rolled back, with the
//! backup's constraints, foreign keys, triggers, rules and sequences in place around the rows.

use std::collections::BTreeSet;

use super::{RestoreError, Scratch};
use crate::backup::Entry;
use crate::ident::TableName;
use crate::pg::{PgError, ScratchSession};

/// Objects around the rows that decide what a statement does, by their name in the table of contents.
const AROUND: &[&str] = &[
    "CHECK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "CONSTRAINT",
    "FK CONSTRAINT",
    "TRIGGER",
    "RULE",
    "SEQUENCE SET",
];

/// An open transaction in which a statement may do its worst.
pub struct Rehearsal {
    /// The session; its transaction must never be committed.
    pub session: ScratchSession,
    /// Triggers, rules and constraints that could not be made: what they would have done is not seen.
    pub absent: Vec<String>,
}

impl Scratch {
    /// Opens a transaction and builds what stands around the rows. `whole` are the tables whose rows are all there; a
    /// foreign key to any other table is left out, since its parents are missing here and not in the backup.
    pub async fn rehearse(&self, whole: &BTreeSet<TableName>) -> Result<Rehearsal, RestoreError> {
        let what = "preparing a replay";
        let session = self.connect().await?;
        session.execute(what, "begin; set local check_function_bodies = off").await?;
        let left_out = self.keys_to_empty_parents(whole);
        let mut absent = Vec::new();
        let entries = &self.backup().contents().entries;
        for entry in entries.iter().filter(|entry| AROUND.contains(&entry.kind.as_str())) {
            if self.cancel.is_cancelled() {
                return Err(RestoreError::Cancelled);
            }
            if entry.kind == "FK CONSTRAINT" && left_out.contains(&(entry.schema.clone(), entry.name.clone()))
            {
                continue;
            }
            let guarded = format!("savepoint rowback; {}; release savepoint rowback", entry.definition);
            match session.execute(what, &guarded).await {
                Ok(()) => {}
                Err(error) if error.sqlstate().is_some() => {
                    session.execute(what, "rollback to savepoint rowback").await?;
                    absent.extend(matters(entry).then(|| absence(entry, &error)));
                }
                Err(lost) => return Err(lost.into()),
            }
        }
        Ok(Rehearsal { session, absent })
    }

    /// Schema and tag of the foreign keys, as the table of contents names them, whose child is loaded and whose parent is
    /// not.
    fn keys_to_empty_parents(&self, whole: &BTreeSet<TableName>) -> BTreeSet<(Option<String>, String)> {
        let dangling = self
            .catalog
            .foreign_keys
            .iter()
            .filter(|fk| fk.is_enforced() && whole.contains(&fk.child) && !whole.contains(&fk.parent));
        let tag = |child: &TableName, name: &str| {
            (Some(child.schema.as_str().to_owned()), format!("{} {name}", child.name))
        };
        dangling.flat_map(|fk| fk.carriers.iter().map(|carrier| tag(carrier, &fk.name))).collect()
    }
}

/// Without an index of its own a constraint or trigger still says what it does; a plain index only makes it faster.
fn matters(entry: &Entry) -> bool {
    !matches!(entry.kind.as_str(), "INDEX" | "INDEX ATTACH" | "SEQUENCE SET")
}

fn absence(entry: &Entry, error: &PgError) -> String {
    let schema = entry.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
    let message = error.db().map_or_else(|| error.to_string(), |db| db.message.clone());
    format!("{} {schema}{}: {message}", entry.kind.to_lowercase(), entry.name)
}
