//! Doctor's try at scratch: can the tables of the backup be made on this machine? Makes them in a temporary cluster, empty, and
//! removes it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::live::Wanted;
use super::{DoctorSummary, names};
use crate::backup::Backup;
use crate::case::Context;
use crate::error::Explain;
use crate::ident::TableName;
use crate::recipe::Recipe;
use crate::scratch::{RestoreError, Scratch, ScratchOptions};

const NAME: &str = "scratch";

/// Without a recipe nobody knows which tables matter: those that cannot be made are only named.
pub(super) async fn look(
    backup: Backup,
    pg_bin: Option<PathBuf>,
    (recipe, wanted): (Option<&Recipe>, Option<&Wanted>),
    context: &Context,
    found: &mut DoctorSummary,
) {
    let options = ScratchOptions { pg_bin, ..ScratchOptions::default() };
    let (progress, cancel) = (context.progress.clone(), context.cancel.clone());
    let all: BTreeSet<TableName> = backup.contents().tables.keys().cloned().collect();
    let made = Scratch::prepare(Arc::new(backup), &options, None, &context.env, progress, cancel).await;
    let scratch = match made {
        Ok(scratch) => scratch,
        Err(error) => return found.add_error(NAME, &error),
    };
    let mut tables: BTreeSet<TableName> = recipe
        .into_iter()
        .flat_map(|recipe| recipe.recover.iter().map(|entry| entry.table.clone()))
        .collect();
    tables.extend(wanted.into_iter().flat_map(|wanted| wanted.staged.iter().cloned()));
    if recipe.is_some() {
        let why = tables.iter().filter_map(|table| scratch.why_not_whole(table));
        let complaints: Vec<String> = why.map(|error| told(&error)).collect();
        found.add(NAME, &complaints, format!("it takes {} tables that could be needed", tables.len()));
    } else {
        let lost: Vec<&TableName> =
            all.iter().filter(|table| scratch.why_not_whole(table).is_some()).collect();
        let mut detail = format!("it takes {} of {} tables", all.len() - lost.len(), all.len());
        if !lost.is_empty() {
            let why = lost.first().and_then(|table| scratch.why_not_whole(table));
            let why = why.map(|error| told(&error)).unwrap_or_default();
            detail
                .push_str(&format!(", not {}; that matters only where they are needed. {why}", names(lost)));
        }
        found.right(NAME, detail);
    }
    if let Err(error) = scratch.remove().await {
        found.add_error("scratch removed", &error);
    }
}

fn told(error: &RestoreError) -> String {
    let facts: Vec<String> = std::iter::once(error.to_string()).chain(error.causes()).collect();
    format!("{}. {}", facts.join("; "), error.hint())
}
