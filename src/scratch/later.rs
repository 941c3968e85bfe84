//! Rows of a second backup, taken after the accident: loaded beside those of the first into tables of the same columns,
//! and of them only the rows that are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::choice::Choice;
use super::filter::Encoding;
use super::rows::{self, Stream};
use super::{RestoreError, Scratch};
use crate::backup::{Backup, TableData};
use crate::catalog::Table;
use crate::ident::{Ident, TableName};
use crate::progress::Step;

/// The second backup and what was loaded of it.
pub(super) struct Later {
    backup: Arc<Backup>,
    loaded: Mutex<BTreeMap<TableName, Vec<Choice>>>,
}

impl Scratch {
    /// Gives scratch a backup that was taken after the accident.
    #[must_use]
    pub fn with_later(mut self, backup: Option<Arc<Backup>>) -> Self {
        self.later = backup.map(|backup| Later { backup, loaded: Mutex::new(BTreeMap::new()) });
        self
    }

    /// Is there a backup that was taken after the accident?
    pub fn has_later(&self) -> bool {
        self.later.is_some()
    }

    /// Can texts of the later backup be compared with ours byte by byte?
    pub fn later_encoding(&self) -> Option<Encoding> {
        self.later.as_ref().map(|later| Encoding::named(&later.backup.contents().encoding))
    }

    /// Loads rows of `table` as they were after the accident into `target`, whose columns are those of the table; what an
    /// earlier call loaded is not loaded twice. Columns that the later backup calls differently are found through
    /// `renamed` (first name, later name). Returns the columns that it does not have.
    pub async fn load_later(
        &self,
        table: &Table,
        target: &TableName,
        renamed: &BTreeMap<Ident, Ident>,
        choice: Choice,
    ) -> Result<BTreeSet<Ident>, RestoreError> {
        let Some(later) = &self.later else {
            return Err(RestoreError::RowsMissing { table: table.name.clone() });
        };
        let missing = |source| match source {
            RestoreError::RowsMissing { table } => RestoreError::LaterWithoutRows { table },
            other => other,
        };
        let names = self.later_names(&later.backup, table);
        let root = table.partitioned.then_some(&table.name);
        let mut streams = rows::streams(&later.backup, names.iter(), root).map_err(missing)?;
        let mut unknown: BTreeSet<Ident> = table
            .columns
            .iter()
            .filter(|column| !column.generated)
            .map(|column| column.name.clone())
            .collect();
        for stream in &mut streams {
            stream.target = target.clone();
            for column in &mut stream.columns {
                let first = renamed.iter().find(|(_, later)| *later == column).map(|(first, _)| first);
                if table.column(column).is_none()
                    && let Some(first) = first
                {
                    *column = first.clone();
                }
            }
            stream.discard =
                stream.columns.iter().filter(|name| table.column(name).is_none()).cloned().collect();
            unknown.retain(|name| !stream.columns.contains(name));
        }
        let mut loaded = later.loaded.lock().await;
        let earlier = loaded.entry(table.name.clone()).or_default();
        if earlier.iter().any(|choice| matches!(choice, Choice::All)) {
            return Ok(unknown);
        }
        self.progress.start(Step::Load, &table.name.to_string(), None);
        for stream in streams {
            self.copy_later(&later.backup, table, stream, &choice, earlier).await?;
        }
        earlier.push(choice);
        self.session.execute("analyzing scratch", &format!("analyze {}", target.quoted())).await?;
        self.progress.finish(Step::Load);
        Ok(unknown)
    }

    /// Columns that only the later backup has need a place to be copied to; they are read into one that is thrown away.
    async fn copy_later(
        &self,
        backup: &Arc<Backup>,
        table: &Table,
        stream: Stream,
        choice: &Choice,
        earlier: &[Choice],
    ) -> Result<(), RestoreError> {
        let target = stream.target.quoted();
        let alter = |verb: &str, kind: &str| {
            let each = stream.discard.iter().map(|name| format!("{verb} {}{kind}", name.quoted()));
            format!("alter table {target} {}", each.collect::<Vec<_>>().join(", "))
        };
        let (add, drop) = (alter("add column if not exists", " text"), alter("drop column", ""));
        let what = "loading rows of the later backup";
        if !stream.discard.is_empty() {
            self.session.execute(what, &add).await?;
        }
        let discards = !stream.discard.is_empty();
        let (progress, cancel) = (&self.progress, &self.cancel);
        let copied =
            rows::copy_stream(backup.clone(), &self.session, stream, choice, earlier, progress, cancel).await;
        match copied {
            Ok(_) => {}
            Err(RestoreError::Pg(source)) if source.sqlstate().is_some() => {
                return Err(RestoreError::LaterDoesNotFit { table: table.name.clone(), source });
            }
            Err(other) => return Err(other),
        }
        if discards {
            self.session.execute(what, &drop).await?;
        }
        Ok(())
    }

    /// The table, or all partitions that either backup knows.
    fn later_names(&self, backup: &Backup, table: &Table) -> Vec<TableName> {
        let mut names = vec![table.name.clone()];
        if !table.partitioned {
            return names;
        }
        let contents = backup.contents();
        let known = |name: &TableName| contents.tables.contains_key(name);
        names.extend(self.catalog.partitions_of(&table.name).filter(|name| known(name)).cloned());
        // Partitions that were made between the backups hang on the root, or on each other, in the later one's words.
        let attached = contents.entries.iter().filter(|entry| entry.kind == "TABLE ATTACH");
        let pairs: Vec<(TableName, TableName)> =
            attached.filter_map(|entry| attachment(&entry.definition)).collect();
        loop {
            let before = names.len();
            for (parent, child) in &pairs {
                if names.contains(parent) && !names.contains(child) {
                    names.push(child.clone());
                }
            }
            if names.len() == before {
                break;
            }
        }
        names.retain(|name| {
            name == &table.name
                || matches!(
                    contents.tables.get(name),
                    Some(TableData::Rows { .. } | TableData::Inserts { .. } | TableData::Missing)
                )
        });
        names
    }
}

/// Parent and child of `ALTER TABLE ONLY a.b ATTACH PARTITION c.d FOR VALUES …`.
fn attachment(definition: &str) -> Option<(TableName, TableName)> {
    let (before, after) = definition.split_once(" ATTACH PARTITION ")?;
    let parent = before.trim_start().strip_prefix("ALTER TABLE ONLY ")?;
    let end = [" FOR VALUES ", " DEFAULT"].iter().filter_map(|word| after.find(word)).min()?;
    Some((TableName::parse(parent)?, TableName::parse(&after[..end])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_are_read_as_pg_dump_writes_them() {
        let found = attachment(
            "ALTER TABLE ONLY app.\"m x\" ATTACH PARTITION app.\"m FOR\" FOR VALUES FROM (1) TO (2);\n",
        );
        assert_eq!(found, Some((TableName::new("app", "m x"), TableName::new("app", "m FOR"))));
        let found = attachment("ALTER TABLE ONLY public.m ATTACH PARTITION public.rest DEFAULT;\n");
        assert_eq!(found, Some((TableName::new("public", "m"), TableName::new("public", "rest"))));
        assert_eq!(attachment("CREATE TABLE x"), None);
    }
}
