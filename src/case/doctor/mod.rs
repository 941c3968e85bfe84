//! Is everything there that a recovery needs? Only looks: at live in a read-only transaction, at the backup's table of
//! contents, at this machine, on which it makes the backup's tables in a temporary cluster. What is wrong is a check, not an error, so that one run names everything.

mod live;
mod machine;
mod reach;
mod scratch;

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, Error, connect_live};
use crate::error::Explain;
use crate::pg::ConnectSettings;
use crate::recipe::Recipe;

/// What to look at.
#[derive(Debug)]
pub struct DoctorOptions {
    /// The recipe that is meant to be run.
    pub recipe: Option<Recipe>,
    /// Live.
    pub live: ConnectSettings,
    /// The backup.
    pub backup: Option<PathBuf>,
    /// Directory of server programs.
    pub pg_bin: Option<PathBuf>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What; always the same words for the same check.
    pub name: String,
    /// Is it as it must be?
    pub ok: bool,
    /// What was found, and what to do where it is wrong; a line for each thing that is.
    pub detail: String,
}

/// All checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DoctorSummary {
    /// In the order in which they were made.
    pub checks: Vec<Check>,
}

impl DoctorSummary {
    /// Is anything wrong?
    pub fn leftover(&self) -> bool {
        self.checks.iter().any(|check| !check.ok)
    }

    fn right(&mut self, name: &str, detail: impl Into<String>) {
        self.checks.push(Check { name: name.to_owned(), ok: true, detail: detail.into() });
    }

    fn wrong(&mut self, name: &str, detail: impl Into<String>) {
        self.checks.push(Check { name: name.to_owned(), ok: false, detail: detail.into() });
    }

    /// Right where there is no complaint, else wrong with all of them, one a line.
    fn add(&mut self, name: &str, complaints: &[String], otherwise: impl Into<String>) {
        if complaints.is_empty() {
            self.right(name, otherwise);
        } else {
            self.wrong(name, complaints.join("\n"));
        }
    }

    /// An error becomes a check that is wrong, with its causes and hint.
    fn add_error(&mut self, name: &str, error: &impl Explain) {
        let facts: Vec<String> = std::iter::once(error.to_string()).chain(error.causes()).collect();
        self.wrong(name, format!("{}. {}", facts.join("; "), error.hint()));
    }
}

/// Looks at everything. Live is only read.
pub async fn doctor(options: &DoctorOptions, context: &Context) -> Result<DoctorSummary, Error> {
    let mut found = DoctorSummary::default();
    let mut wanted = None;
    match connect_live(&options.live, context).await {
        Err(error) => found.add_error("live", &error),
        Ok(session) => match live::look(options, &session, &mut found).await {
            Ok(tables) => wanted = tables,
            Err(error) => found.add_error("live", &error),
        },
    }
    let backup =
        options.backup.as_deref().and_then(|path| machine::look_at_backup(path, context, &mut found));
    if let (Some(backup), Some(recipe)) = (&backup, &options.recipe) {
        machine::look_for_rows(backup, recipe, wanted.as_ref(), &mut found);
    }
    let needed = backup.as_ref().map_or(0, |backup| backup.contents().server_major);
    let can_start = machine::look_for_programs(options.pg_bin.as_deref(), needed, &context.env, &mut found);
    if let Some(backup) = backup.filter(|backup| can_start && !backup.contents().missing_schema()) {
        let about = (options.recipe.as_ref(), wanted.as_ref());
        scratch::look(backup, options.pg_bin.clone(), about, context, &mut found).await;
    }
    machine::look_at_disk(options.backup.as_deref(), &context.env, &mut found);
    Ok(found)
}

/// `a, b, c`; of many the first ones and how many more.
fn names<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 12;
    let all: Vec<String> = all.into_iter().map(|name| name.to_string()).collect();
    if all.len() <= SHOWN {
        return all.join(", ");
    }
    format!("{} and {} more", all[..SHOWN].join(", "), all.len() - SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(names(["a", "b"]), "a, b");
        assert_eq!(names(1..=14), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 2 more");
    }
}
