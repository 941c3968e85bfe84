//! The directory format: one file per table, compressed or not, beside toc.dat.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BackupError;
use super::decode::Codec;
use super::input::{Input, Stored};
use super::toc::{Block, is_single_name};

const SUFFIXES: [(&str, Codec); 4] =
    [("", Codec::Plain), (".gz", Codec::Gzip), (".lz4", Codec::Lz4), (".zst", Codec::Zstd)];

/// A directory written by `pg_dump -Fd`.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
}

/// One opened file.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) stored: Stored,
    pub(super) codec: Codec,
}

impl Directory {
    /// Opens the file of a block, whichever way it is compressed (it may have been unpacked by hand).
    pub(super) fn open(&self, name: &str, object: &str) -> Result<Opened, BackupError> {
        for (suffix, codec) in SUFFIXES {
            let path = self.path.join(format!("{name}{suffix}"));
            match open_file(&path) {
                Ok(stored) => return Ok(Opened { path, stored, codec }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(BackupError::Unreadable { path, source }),
            }
        }
        Err(BackupError::BlockMissing {
            path: self.path.clone(),
            object: object.to_owned(),
            fact: format!("there is no file {name}, {name}.gz, {name}.lz4 or {name}.zst"),
        })
    }

    /// The files of the large objects that a `blobs.toc` lists.
    pub(super) fn large_object_files(&self, block: &Block) -> Result<Vec<String>, BackupError> {
        let name = block.file_name.as_deref().unwrap_or("blobs.toc");
        let path = self.path.join(name);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| BackupError::Unreadable { path: path.clone(), source })?;
        list(&text).map_err(|fact| BackupError::Damaged { path, object: block.object.clone(), at: 0, fact })
    }
}

/// File names in a list of large objects: lines of OID and file name.
pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    text.lines()
        .map(|line| {
            let name = line.split_once(' ').map(|(_, name)| name).filter(|name| is_single_name(name));
            name.map(str::to_owned).ok_or_else(|| format!("{line:?} names no large object"))
        })
        .collect()
}

fn open_file(path: &Path) -> io::Result<Stored> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok(Stored::Whole(Input::new(Arc::new(file), 0, bytes)))
}
