//! What can be wrong with a backup, in words. All of it is found before anything is written anywhere.

use std::io;
use std::path::{Path, PathBuf};

use super::input::is_early_end;
use crate::error::{Explain, Kind};
use crate::ident::TableName;

/// Why a backup, or a table of it, cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The operating system does not let us read it.
    #[error("cannot read the backup {}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file of zero bytes.
    #[error("the backup {} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Neither an archive nor anything else that we know.
    #[error("{} is not a backup", path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
        /// What it holds, as far as can be seen.
        found: String,
    },
    /// A backup of a kind that this version does not read.
    #[error("{} is {found}, which this version of rowback does not read yet", path.display())]
    NotYet {
        /// The file, directory or address.
        path: PathBuf,
        /// What it is, with an article.
        found: &'static str,
    },
    /// An archive inside another file: compressed or packed once more.
    #[error("{} is an archive of pg_dump inside {found}", path.display())]
    Wrapped {
        /// The file.
        path: PathBuf,
        /// What is around the archive, with an article.
        found: &'static str,
        /// The command that takes it out.
        unpack: &'static str,
    },
    /// SQL, but not as pg_dump writes it for one database.
    #[error("{} is no plain dump of one database", path.display())]
    NotOneDump {
        /// The file.
        path: PathBuf,
        /// Position in the file, in bytes.
        at: u64,
        /// What it holds instead.
        fact: String,
        /// What to do, as a sentence.
        advice: &'static str,
    },
    /// A directory that lacks its table of contents.
    #[error("the directory {} has no toc.dat", path.display())]
    NoToc {
        /// The directory or tar archive.
        path: PathBuf,
    },
    /// Written by a pg_dump that is too old or too new.
    #[error("the backup {} has archive version {version}", path.display())]
    Version {
        /// The archive.
        path: PathBuf,
        /// As in its header, e.g. `1.17`.
        version: String,
    },
    /// Names or definitions are not in UTF-8.
    #[error("the table of contents of {} is not in UTF-8", path.display())]
    Encoding {
        /// The archive.
        path: PathBuf,
    },
    /// The archive ends before what its table of contents promises.
    #[error("the backup {} is truncated in {object}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What was being read.
        object: String,
        /// Position in the file, in bytes.
        at: u64,
    },
    /// Bytes that cannot be right.
    #[error("the backup {} is damaged in {object}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was being read.
        object: String,
        /// Position in the file, in bytes.
        at: u64,
        /// What is wrong.
        fact: String,
    },
    /// The table of contents promises a block that is not there.
    #[error("the backup {} lacks {object}", path.display())]
    BlockMissing {
        /// The archive.
        path: PathBuf,
        /// What the block would hold.
        object: String,
        /// Where it was looked for.
        fact: String,
    },
    /// The table is not in the backup.
    #[error("the table {table} is not in the backup")]
    UnknownTable {
        /// The table asked for.
        table: TableName,
        /// The table with the most similar name.
        nearest: Option<TableName>,
    },
    /// The table is in the backup without its rows. Never the same as an empty table.
    #[error("the backup holds the table {table} without its rows")]
    WithoutRows {
        /// The table asked for.
        table: TableName,
    },
    /// The rows are INSERT commands.
    #[error("the backup holds the rows of {table} as INSERT commands")]
    Inserts {
        /// The table asked for.
        table: TableName,
    },
    /// The manifest cannot be read.
    #[error("cannot read the manifest {}", path.display())]
    ManifestUnreadable {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The manifest says nothing about a file of the backup.
    #[error("the manifest {} does not name {file}", manifest.display())]
    ManifestUnnamed {
        /// The manifest.
        manifest: PathBuf,
        /// The file of the backup.
        file: String,
    },
    /// The manifest names a file of the backup that is not there.
    #[error("the manifest {} names {file}, which is not there", manifest.display())]
    ManifestAbsent {
        /// The manifest.
        manifest: PathBuf,
        /// The file.
        file: String,
    },
    /// A file of the backup has another checksum.
    #[error("the backup's file {file} does not match the manifest {}", manifest.display())]
    ManifestMismatch {
        /// The manifest.
        manifest: PathBuf,
        /// The file of the backup.
        file: String,
        /// SHA-256 in the manifest.
        expected: String,
        /// SHA-256 of the file.
        found: String,
    },
    /// Whoever received the rows failed.
    #[error("the rows of {table} could not be passed on")]
    Sink {
        /// The table being read.
        table: TableName,
        /// The receiver's error.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("reading the backup was interrupted")]
    Cancelled,
}

impl BackupError {
    /// Sorts an error that came up while `object` was read at byte `at` of `path`.
    pub(super) fn reading(path: &Path, object: &str, at: u64, error: io::Error) -> Self {
        let (path, object) = (path.to_path_buf(), object.to_owned());
        if is_early_end(&error) {
            Self::Truncated { path, object, at }
        } else if error.raw_os_error().is_some() {
            Self::Unreadable { path, source: error }
        } else {
            Self::Damaged { path, object, at, fact: error.to_string() }
        }
    }
}

const NOTHING_CHANGED: &str = "Nothing was changed.";
const TAKE_ANOTHER: &str = "Use another copy of this backup, or an older or newer backup. Compare its size and checksum with the original \
     if it was copied.";

impl Explain for BackupError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "backup-unreadable",
            Self::Empty { .. } => "backup-empty",
            Self::NotABackup { .. } | Self::NotYet { .. } | Self::Wrapped { .. } => "backup-format",
            Self::NotOneDump { .. } => "backup-not-one-dump",
            Self::NoToc { .. } => "backup-no-toc",
            Self::Version { .. } => "backup-version",
            Self::Encoding { .. } => "backup-encoding",
            Self::Truncated { .. } => "backup-truncated",
            Self::Damaged { .. } => "backup-damaged",
            Self::BlockMissing { .. } => "backup-block-missing",
            Self::UnknownTable { .. } => "backup-table-unknown",
            Self::WithoutRows { .. } => "backup-without-rows",
            Self::Inserts { .. } => "backup-inserts",
            Self::ManifestUnreadable { .. } => "manifest-unreadable",
            Self::ManifestUnnamed { .. } => "manifest-unnamed",
            Self::ManifestAbsent { .. } => "manifest-absent",
            Self::ManifestMismatch { .. } => "manifest-mismatch",
            Self::Sink { .. } => "backup-sink",
            Self::Cancelled => "backup-interrupted",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Cancelled => Kind::Stopped,
            _ => Kind::Input,
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::Unreadable { source, .. }
            | Self::ManifestUnreadable { source, .. }
            | Self::Sink { source, .. } => vec![source.to_string()],
            Self::NotABackup { found, .. } => vec![found.clone()],
            Self::Version { .. } => {
                vec!["archive versions 1.12 to 1.16 can be read (pg_dump 9.0 to 18)".into()]
            }
            Self::Truncated { at, .. } => {
                vec![format!("the file ends before the data that begin near byte {at} do")]
            }
            Self::Damaged { at, fact, .. } | Self::NotOneDump { at, fact, .. } => {
                vec![format!("near byte {at}: {fact}")]
            }
            Self::BlockMissing { fact, .. } => vec![fact.clone()],
            Self::ManifestMismatch { expected, found, .. } => {
                vec![
                    format!("SHA-256 in the manifest: {expected}"),
                    format!("SHA-256 of the file:     {found}"),
                ]
            }
            _ => Vec::new(),
        }
    }

    fn hint(&self) -> String {
        let advice = match self {
            Self::Unreadable { .. } => "Check the path and its permissions.",
            Self::Empty { .. } => {
                "A pg_dump that failed leaves such a file: look at its log and take another backup."
            }
            Self::NotABackup { .. } => "Name a file or directory that pg_dump wrote.",
            Self::NotYet { .. } => {
                "Restore it into a database of its own, dump that with `pg_dump -Fc`, and name the archive."
            }
            Self::Wrapped { unpack, .. } => {
                return format!("Unpack it first (`{unpack}`) and name what comes out. {NOTHING_CHANGED}");
            }
            Self::NotOneDump { advice, .. } => *advice,
            Self::NoToc { .. } => {
                "Name the directory that `pg_dump -Fd` wrote itself; if toc.dat was lost, take another copy of it."
            }
            Self::Version { .. } => {
                "Restore it with the pg_restore that belongs to it and dump again with pg_dump 18 or older, or \
                 update rowback."
            }
            Self::Encoding { .. } => {
                "Restore it into a database of its own and dump that again with `pg_dump -Fc -E UTF8`."
            }
            Self::Truncated { .. }
            | Self::Damaged { .. }
            | Self::BlockMissing { .. }
            | Self::ManifestMismatch { .. }
            | Self::ManifestAbsent { .. } => TAKE_ANOTHER,
            Self::UnknownTable { nearest: Some(nearest), .. } => {
                return format!(
                    "Did you mean {nearest}? `rowback inspect` lists the tables of a backup. {NOTHING_CHANGED}"
                );
            }
            Self::UnknownTable { nearest: None, .. } => "`rowback inspect` lists the tables of a backup.",
            Self::WithoutRows { .. } => {
                "It was dumped with --schema-only, --exclude-table-data or the like, or with -t and without its partitions \
                 (--table-and-children takes them along), which says nothing about the rows the table had. Use a backup that was dumped without these options."
            }
            Self::Inserts { .. } => {
                "Restore it into a database of its own and dump that again without --inserts, --column-inserts \
                 and --rows-per-insert."
            }
            Self::ManifestUnreadable { .. } => "A manifest is the output of `sha256sum`.",
            Self::ManifestUnnamed { .. } => "Name the manifest that was made with this backup.",
            Self::Sink { .. } => "See the cause. The backup itself is in order so far.",
            Self::Cancelled => return "Run the same command again to go on.".into(),
        };
        format!("{advice} {NOTHING_CHANGED}")
    }
}

#[cfg(test)]
mod tests;
