//! The backup taken after the accident: opened, and held against the one taken before.

use std::path::Path;
use std::sync::Arc;

use super::{CaseError, Context, Error};
use crate::backup::Backup;
use crate::recipe::{BackupLocation, Recipe};
use crate::staging::sha256_of;

/// Opens the recipe's `after`. It must be a later one of the same database, as far as the two archives tell.
pub(super) fn open(
    recipe: &Recipe,
    (from, before): (&Path, &Backup),
    context: &Context,
) -> Result<Option<Arc<Backup>>, Error> {
    let Some(BackupLocation::Path(path)) = &recipe.backup.after else { return Ok(None) };
    let after = Backup::open_watched(path, &*context.progress, &context.cancel)?;
    let (first, second) = (before.contents(), after.contents());
    let others =
        first.dbname.as_ref().zip(second.dbname.as_ref()).is_some_and(|(first, second)| first != second);
    if others || first.server_major > second.server_major {
        let describe = |contents: &crate::backup::Contents| {
            let name = contents.dbname.as_deref().unwrap_or("(name not known)");
            format!("\"{name}\" on PostgreSQL {}", contents.server_version)
        };
        return Err(CaseError::AfterOfAnother { before: describe(first), after: describe(second) }.into());
    }
    // The times are those of the dumping machines' clocks, as text that sorts.
    if let (Some(began), Some(later)) = (&first.dumped_at, &second.dumped_at)
        && later < began
    {
        return Err(CaseError::AfterIsOlder { before: began.clone(), after: later.clone() }.into());
    }
    if first.dumped_at == second.dumped_at && are_same(from, path).unwrap_or(false) {
        return Err(CaseError::AfterIsBackup { path: path.clone() }.into());
    }
    Ok(Some(Arc::new(after)))
}

/// Are the two paths one, or two files of the same bytes?
fn are_same(one: &Path, other: &Path) -> std::io::Result<bool> {
    if one.canonicalize()? == other.canonicalize()? {
        return Ok(true);
    }
    let (first, second) = (one.metadata()?, other.metadata()?);
    if !first.is_file() || !second.is_file() || first.len() != second.len() {
        return Ok(false);
    }
    Ok(sha256_of(one)? == sha256_of(other)?)
}
