//! What doctor looks at beside live: the backup's table of contents, and this machine. Reads no row.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::live::Wanted;
use super::{DoctorSummary, names};
use crate::backup::{Backup, TableData};
use crate::case::Context;
use crate::env::Env;
use crate::ident::TableName;
use crate::recipe::{Recipe, nearest};
use crate::report::table::sized;
use crate::scratch::programs::Programs;

/// An empty cluster takes about 40 MB, and its write-ahead log more as soon as rows come in.
const LEAST_ROOM_BYTES: u64 = 256 << 20;

/// Opens the backup; that its blocks are whole is for `inspect` to say.
pub(super) fn look_at_backup(path: &Path, context: &Context, found: &mut DoctorSummary) -> Option<Backup> {
    let backup = match Backup::open_watched(path, &*context.progress, &context.cancel) {
        Ok(backup) => backup,
        Err(error) => {
            found.add_error("backup", &error);
            return None;
        }
    };
    let contents = backup.contents();
    if contents.missing_schema() {
        found.wrong(
            "backup",
            "it has rows but no tables (--data-only, --section=data). Take a dump that has both",
        );
        return Some(backup);
    }
    let at = contents.dumped_at.as_deref().map(|at| format!(", dumped {at}")).unwrap_or_default();
    let database =
        contents.dbname.as_deref().map(|name| format!(" of database \"{name}\"")).unwrap_or_default();
    found.right(
        "backup",
        format!(
            "{} format, {} tables{database}, PostgreSQL {}{at}",
            contents.format,
            contents.tables.len(),
            contents.server_version
        ),
    );
    Some(backup)
}

/// Are the rows of the wanted tables in the backup? Without an answer from live only the recipe's own tables are known.
pub(super) fn look_for_rows(
    backup: &Backup,
    recipe: &Recipe,
    wanted: Option<&Wanted>,
    found: &mut DoctorSummary,
) {
    let own: BTreeSet<TableName> = recipe.recover.iter().map(|entry| entry.table.clone()).collect();
    let all = wanted.map_or(&own, |wanted| &wanted.staged);
    let tables = &backup.contents().tables;
    let rows_of = |name: &&TableName| tables.get(*name);
    let inserts: Vec<&TableName> =
        all.iter().filter(|name| matches!(rows_of(name), Some(TableData::Inserts { .. }))).collect();
    let missing: Vec<&TableName> =
        all.iter().filter(|name| matches!(rows_of(name), Some(TableData::Missing))).collect();
    let mut complaints = Vec::new();
    if !inserts.is_empty() {
        complaints.push(format!(
            "the rows of {} are INSERT commands, which rowback does not read. Take a dump without --inserts",
            names(inserts)
        ));
    }
    if !missing.is_empty() {
        complaints.push(format!(
            "the rows of {} are not in it (--schema-only, --exclude-table-data). Find a dump that has them",
            names(missing)
        ));
    }
    let is_root = |name: &TableName| {
        let in_backup =
            |(partition, root): (&TableName, &TableName)| root == name && tables.contains_key(partition);
        wanted.is_some_and(|wanted| wanted.partitions.iter().any(in_backup))
    };
    for name in own.iter().filter(|name| !tables.contains_key(*name) && !is_root(name)) {
        let all: Vec<String> = tables.keys().map(ToString::to_string).collect();
        let text = name.to_string();
        let near = nearest(&text, all.iter().map(String::as_str));
        let near = near.map(|near| format!(" Did you mean {near}?")).unwrap_or_default();
        complaints.push(format!("there is no table {name} in it.{near}"));
    }
    let there = all.iter().filter(|name| matches!(rows_of(name), Some(TableData::Rows { .. }))).count();
    found.add("rows", &complaints, format!("the backup has the rows of {there} tables that could be needed"));
}

/// Is there a server that can take the backup?
pub(super) fn look_for_programs(
    pg_bin: Option<&Path>,
    needed: u32,
    env: &Env,
    found: &mut DoctorSummary,
) -> bool {
    const NAME: &str = "server programs";
    match Programs::find(pg_bin, needed, env) {
        Ok(programs) => {
            found.right(NAME, format!("{} in {}", programs.version, programs.directory.display()));
            true
        }
        Err(error) => {
            found.add_error(NAME, &error);
            false
        }
    }
}

/// Is there room for scratch? How much it needs depends on the rows that the recipe wants, so this is a hint.
pub(super) fn look_at_disk(backup: Option<&Path>, env: &Env, found: &mut DoctorSummary) {
    let directory =
        env.var("TMPDIR").filter(|path| path.starts_with('/')).map_or_else(|| "/tmp".into(), PathBuf::from);
    let free = match rustix::fs::statvfs(&directory) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            found.wrong(
                "disk",
                format!("{} cannot be used for scratch: {error}. Set TMPDIR", directory.display()),
            );
            return;
        }
    };
    let size = backup.map_or(0, size_bytes);
    let room = format!("{} free in {}", sized(free), directory.display());
    let of_backup = if size > 0 { format!("; the backup has {}", sized(size)) } else { String::new() };
    if free < size.max(LEAST_ROOM_BYTES) {
        found.wrong(
            "disk",
            format!("only {room}{of_backup}. Make room, or set TMPDIR to a directory on another disk"),
        );
    } else {
        found.right("disk", format!("{room}{of_backup}. Only the tables that are needed are loaded"));
    }
}

/// Size of a file, or of the files in a directory. What cannot be read counts nothing: the check of the backup says so.
fn size_bytes(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::metadata(path).map_or(0, |about| about.len());
    };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|about| about.len()).sum()
}
