//! The tar format: the files of the directory format, never compressed, as members of one tar file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BackupError;
use super::directory;
use super::input::{Input, Stored, damaged, ends_early};
use super::toc::Block;

/// A file written by `pg_dump -Ft`.
#[derive(Debug)]
pub(super) struct Tar {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// First byte and byte behind the last one, by name.
    members: BTreeMap<String, (u64, u64)>,
}

impl Tar {
    /// Reads the headers of all members.
    pub(super) fn open(path: &Path, file: Arc<File>, bytes: u64) -> Result<Self, BackupError> {
        let object = "its list of members";
        let mut members = BTreeMap::new();
        let mut archive = tar::Archive::new(&*file);
        let reading = |error| BackupError::reading(path, object, 0, error);
        for member in archive.entries_with_seek().map_err(reading)? {
            let member = member.map_err(reading)?;
            let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
            let start = member.raw_file_position();
            let end = start.saturating_add(member.size());
            if end > bytes {
                return Err(BackupError::reading(path, &format!("its member {name}"), bytes, ends_early()));
            }
            members.insert(name, (start, end));
        }
        Ok(Self { path: path.to_path_buf(), file, members })
    }

    /// First byte of toc.dat and the byte behind it.
    pub(super) fn toc(&self) -> Result<(u64, u64), BackupError> {
        let path = self.path.clone();
        match self.members.get("toc.dat") {
            Some(&range) => Ok(range),
            None if self.members.keys().any(|name| name.ends_with("/toc.dat")) => {
                Err(BackupError::Wrapped { path, found: "a tar file made by hand", unpack: "tar -xf" })
            }
            None => {
                let found = "it is a tar file without toc.dat".to_owned();
                Err(BackupError::NotABackup { path, found })
            }
        }
    }

    /// Opens a member.
    pub(super) fn open_member(&self, name: &str, object: &str) -> Result<Stored, BackupError> {
        let Some(&(start, end)) = self.members.get(name) else {
            return Err(BackupError::BlockMissing {
                path: self.path.clone(),
                object: object.to_owned(),
                fact: format!("the tar file has no member {name}"),
            });
        };
        Ok(Stored::Whole(Input::new(Arc::clone(&self.file), start, end)))
    }

    /// The members with the large objects that the list of entry `id` names. The table of contents is of no help:
    /// pg_dump before 17 writes another name there than the list gets.
    pub(super) fn large_object_members(&self, id: i32, block: &Block) -> Result<Vec<String>, BackupError> {
        let own = format!("blobs_{id}.toc");
        let name = if self.members.contains_key(&own) { own.as_str() } else { "blobs.toc" };
        let mut stored = self.open_member(name, &block.object)?;
        let mut text = String::new();
        let read = stored.read_to_string(&mut text);
        let at = stored.position();
        let reading = |error| BackupError::reading(&self.path, &block.object, at, error);
        read.map_err(reading)?;
        directory::list(&text).map_err(|fact| reading(damaged(fact)))
    }
}
