//! What judging all tables came to, put together for the manifest.

use std::collections::{BTreeMap, BTreeSet};

use super::drift::{Fit, Fits};
use super::scene::{Judged, Scene};
use super::{DiffError, DiffInput, Diffed, DiffedTable, FORMAT, RowAction, SequenceState, Verdict};
use crate::catalog::Catalog;
use crate::catalog::graph::Component;
use crate::ident::{Ident, TableName};
use crate::pg::{ReadSession, column};
use crate::recipe::{Changed, Recipe, Recreated};
use crate::sql::registry;

/// The manifest, of all that was judged.
pub(super) async fn finish(
    scene: &Scene<'_, '_>,
    live: &Catalog,
    fits: &Fits<'_>,
    order: &[Component],
    mut done: BTreeMap<TableName, Judged>,
) -> Result<Diffed, DiffError> {
    let (input, session) = (scene.input, scene.session);
    let mut convoys = scene.moved.clone();
    let mut diffed = Diffed {
        format: FORMAT,
        live: session.identity().await?,
        staging_sha256: input.staging_sha256.clone(),
        tables: Vec::new(),
        convoys: Vec::new(),
        transfers: None,
        missing: BTreeMap::new(),
        sequences: Vec::new(),
        tombstones: Vec::new(),
        left_out: input.extracted.left_out.clone(),
        unfollowed: Vec::new(),
        gone: 0,
        catalog: live.clone(),
        notes: Vec::new(),
        unseen: BTreeSet::new(),
    };
    let mut outlived = 0;
    for table in order.iter().flat_map(|component| &component.tables) {
        let (Some(judged), Some(fit)) = (done.remove(table), fits.get(table)) else { continue };
        let tally = &judged.tally;
        outlived += tally.outlived;
        diffed.notes.extend(fit.notes.iter().cloned());
        if tally.actions.get(&RowAction::Insert).is_some_and(|rows| *rows > 0) {
            diffed.notes.extend(fed_by_expressions(fit));
        }
        diffed.gone += tally.gone;
        if tally.gone > 0 {
            diffed.notes.push(format!(
                "{} rows of {table} that the recipe does not call deleted are not in live: an entry of kind \"deleted\" \
                 would bring them back",
                tally.gone
            ));
        }
        if tally.beside > 0 {
            diffed.notes.push(format!(
                "{} rows of {table} that are set right keep other values that differ from the backup (rowback_reason in the \
                 diff file)",
                tally.beside
            ));
        }
        let repointed = tally.actions.get(&RowAction::Repoint).copied().unwrap_or(0);
        if repointed > 0 {
            diffed.notes.push(format!(
                "{repointed} lost rows of {table} were made again under another key: live's rows stay as they are, and what \
                 hung on the lost ones is hung on them"
            ));
        }
        for (name, count) in &tally.missing {
            *diffed.missing.entry(name.clone()).or_default() += count;
        }
        diffed.sequences.extend(sequences(session, fit, &tally.highest).await?);
        diffed.tables.push(diffed_table(input, fit, &judged));
        convoys.extend(judged.convoy);
    }
    diffed.convoys = convoys.into_values().collect();
    note_outlived(input, outlived, &mut diffed);
    note_downward(&mut diffed);
    for (table, (_, cascaded)) in diffed.followers().iter().filter(|(_, (_, cascaded))| *cascaded > 0) {
        diffed.notes.push(format!("{cascaded} rows of {table} move along by ON UPDATE CASCADE"));
    }
    Ok(diffed)
}

fn note_downward(diffed: &mut Diffed) {
    for down in diffed.sequences.iter().filter(|state| state.increment < 0) {
        diffed.notes.push(format!(
            "the sequence {} counts downwards and is not moved: see that it does not hand out a recovered row's number again",
            down.sequence
        ));
    }
}

/// A second backup that still has all that live lacks says nothing of an accident.
fn note_outlived(input: &DiffInput<'_>, outlived: u64, diffed: &mut Diffed) {
    let writes = diffed.tables.iter().any(|table| table.written.values().any(|rows| *rows > 0));
    if input.recipe.backup.after.is_some() && outlived > 0 && !writes {
        diffed.gone += outlived;
        diffed.notes.push(format!(
            "nothing comes back: the backup taken after the accident still has all {outlived} rows that live lacks. Was it taken before the \
             accident? Otherwise they were deleted later, on purpose"
        ));
    }
}

/// Sequences whose numbers go into a column within something else: what they would hand out next cannot be told from the values.
fn fed_by_expressions(fit: &Fit<'_>) -> impl Iterator<Item = String> {
    fit.live.columns.iter().filter_map(|column| {
        let within = |default: &&str| default.contains("nextval(") && !default.starts_with("nextval(");
        let default = column.default.as_deref().filter(within)?;
        Some(format!(
            "new values of {}.{} are {default}: that sequence is not moved, see that it does not hand out a recovered row's value again",
            fit.live.name, column.name
        ))
    })
}

fn diffed_table(input: &DiffInput<'_>, fit: &Fit<'_>, judged: &Judged) -> DiffedTable {
    let (file, tally) = (&judged.file, &judged.tally);
    let staged = input.extracted.files.iter().find(|staged| staged.table.table == fit.live.name);
    let staged = staged.unwrap_or(file).clone();
    let columns = (0..staged.table.columns.len())
        .map(|at| {
            fit.columns.iter().find(|column| column.staged == at).map(|column| column.live.name.clone())
        })
        .collect();
    DiffedTable {
        table: fit.live.name.clone(),
        staged,
        file: file.clone(),
        found: judged.found.clone(),
        columns,
        verdicts: tally.verdicts.clone(),
        actions: tally.actions.clone(),
        written: tally.written.clone(),
        by_policy: tally.by_policy.clone(),
    }
}

/// Where live's sequences stand that feed columns of recovered rows.
pub(super) async fn sequences(
    session: &ReadSession,
    fit: &Fit<'_>,
    highest: &BTreeMap<Ident, i64>,
) -> Result<Vec<SequenceState>, DiffError> {
    const WHAT: &str = "reading a sequence";
    let mut found = Vec::new();
    for (name, highest) in highest {
        let Some(sequence) = fit.live.column(name).and_then(|column| column.sequence.clone()) else {
            continue;
        };
        let (schema, inner) = (sequence.schema.as_str(), sequence.name.as_str());
        for row in session.query(&registry::DIFF_SEQUENCE, &[&schema, &inner]).await? {
            found.push(SequenceState {
                sequence: sequence.clone(),
                column: name.clone(),
                highest: *highest,
                increment: column(&row, "increment_by", WHAT)?,
                last_value: column(&row, "last_value", WHAT)?,
            });
        }
    }
    Ok(found)
}

/// The recipe may say that a conflict ends the recovery.
pub fn fail_where_told(recipe: &Recipe, diffed: &Diffed) -> Result<(), DiffError> {
    let count = |verdict: Verdict| -> u64 {
        diffed.tables.iter().filter_map(|table| table.verdicts.get(&verdict)).sum()
    };
    let told = [
        (recipe.policy.changed == Changed::Fail, Verdict::Changed),
        (recipe.policy.recreated == Recreated::Fail, Verdict::Recreated),
    ];
    for (fails, verdict) in told {
        if fails && count(verdict) > 0 {
            return Err(DiffError::ToldToFail { verdict, rows: count(verdict) });
        }
    }
    Ok(())
}
