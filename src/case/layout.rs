//! The case directory: its files, who may see them (nobody else) and which run owns it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CaseError, Error};
use crate::apply::{CaseLock, LOCK_FILE, certified};
use crate::backup::{Contents, Digest};
use crate::error::is_disk_full;
use crate::plan::Plan;
use crate::staging::{is_partial, sweep_partial_files, write_atomic};

/// Version of `backup.json`.
const FORMAT: u32 = 1;

/// Paths inside a case.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

/// `backup.json`: which backup the case was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupIdentity {
    /// Always 1.
    pub format: u32,
    /// Where the backup was.
    pub path: PathBuf,
    /// SHA-256 of the file, or over the listing of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// In its place where the backup is too large to be read whole, see [`Digest::Ends`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_sha256: Option<String>,
    /// Custom, directory, tar or plain.
    pub archive: String,
    /// Version of the archive format; a plain dump has none.
    pub archive_version: Option<String>,
    /// Version of the server that was dumped.
    pub server_version: String,
    /// When, by the clock of the dumping machine.
    pub dumped_at: Option<String>,
    /// Name of the dumped database, where the dump says it.
    pub dbname: Option<String>,
    /// Tables in the backup.
    pub tables: Vec<String>,
    /// The backup taken after the accident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<BackupIdentity>>,
}

impl BackupIdentity {
    /// Describes a backup whose digest is known.
    pub fn of(path: &Path, contents: &Contents, digest: Digest) -> Self {
        let (sha256, ends_sha256) = match digest {
            Digest::Whole(sha256) => (Some(sha256), None),
            Digest::Ends(sha256) => (None, Some(sha256)),
        };
        Self {
            format: FORMAT,
            path: path.to_owned(),
            sha256,
            ends_sha256,
            archive: format!("{:?}", contents.format).to_lowercase(),
            archive_version: contents.archive_version.clone(),
            server_version: contents.server_version.clone(),
            dumped_at: contents.dumped_at.clone(),
            dbname: contents.dbname.clone(),
            tables: contents.tables.keys().map(ToString::to_string).collect(),
            after: None,
        }
    }

    /// With the backup taken after the accident.
    #[must_use]
    pub fn with_after(self, after: Option<Self>) -> Self {
        Self { after: after.map(Box::new), ..self }
    }
}

impl Layout {
    /// The case in this directory, which need not exist yet.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `recipe.toml`.
    pub fn recipe(&self) -> PathBuf {
        self.root.join("recipe.toml")
    }

    /// `backup.json`.
    pub fn backup(&self) -> PathBuf {
        self.root.join("backup.json")
    }

    /// `staging/`.
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// `diff/`.
    pub fn diff(&self) -> PathBuf {
        self.root.join("diff")
    }

    /// `plan.json`.
    pub fn plan(&self) -> PathBuf {
        self.root.join("plan.json")
    }

    /// `journal.jsonl`.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal.jsonl")
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// What is made of the diff, and void when that is made anew.
    pub fn results_of_diff(&self) -> Vec<PathBuf> {
        let named = ["batches", "undo", "certificate.json"].map(|name| self.root.join(name));
        [self.plan(), self.report()].into_iter().chain(named).collect()
    }

    /// What is made of staging, and void when that is made anew.
    pub fn results_of_staging(&self) -> Vec<PathBuf> {
        std::iter::once(self.diff()).chain(self.results_of_diff()).collect()
    }

    /// Keeps every other run off the case. The directory must be one.
    pub fn lock(&self) -> Result<CaseLock, Error> {
        Ok(CaseLock::take(&self.root)?)
    }

    /// Makes the directory for a new recovery of `recipe` and locks it. An existing case is taken over when it is of
    /// the very same recipe, or has no plan yet, and nothing of it was applied; any other directory with files in it is
    /// refused.
    pub fn open_for(&self, recipe: &str) -> Result<CaseLock, Error> {
        // Before the lock, which would make a file in a directory that is no case.
        self.check_is_free_for(recipe)?;
        self.make_directory(&self.root)?;
        let lock = self.lock()?;
        self.check_is_free_for(recipe)?;
        sweep_partial_files(&self.root).map_err(|source| unusable(&self.root, source))?;
        self.write(&self.recipe(), recipe.as_bytes())?;
        Ok(lock)
    }

    fn check_is_free_for(&self, recipe: &str) -> Result<(), CaseError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(unusable(&self.root, source)),
            Ok(entries) => entries,
        };
        for entry in entries {
            let name = entry.map_err(|source| unusable(&self.root, source))?.file_name();
            // A run that was killed right at its beginning leaves these two.
            if name != LOCK_FILE && !is_partial(&name) {
                return self.check_is_ours(recipe);
            }
        }
        Ok(())
    }

    fn check_is_ours(&self, recipe: &str) -> Result<(), CaseError> {
        let old = match fs::read_to_string(self.recipe()) {
            Ok(old) => old,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CaseError::NoCase { path: self.root.clone() });
            }
            Err(source) => return Err(unusable(&self.recipe(), source)),
        };
        if self.was_applied() {
            return Err(CaseError::AlreadyApplied { path: self.root.clone() });
        }
        // Hints of the stages before the plan say what to change in the recipe: without a plan nothing is lost.
        if old != recipe && self.plan().exists() {
            return Err(CaseError::OtherRun { path: self.root.clone() });
        }
        Ok(())
    }

    /// Was anything of its plan ever applied? Where the journal was lost, the certificate may tell.
    pub fn was_applied(&self) -> bool {
        // A plan that cannot be read was never applied by this version.
        let plan: Option<Plan> = self.read_json(&self.plan(), "plan").ok();
        self.journal().exists() || plan.is_some_and(|plan| certified(&self.root, &plan.seal) > 0)
    }

    /// Makes a directory that only its owner can enter.
    pub fn make_directory(&self, path: &Path) -> Result<(), CaseError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
            .map_err(|source| unusable(path, source))
    }

    /// Makes a directory anew: what an earlier run of the stage left there goes.
    pub fn clear_directory(&self, path: &Path) -> Result<(), CaseError> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(path, error)),
            _ => {}
        }
        self.make_directory(path)
    }

    /// Removes files that later stages made: they do not belong to what is made now.
    pub fn forget(&self, paths: &[PathBuf]) -> Result<(), CaseError> {
        for path in paths {
            let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            match gone {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(unusable(path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes a file whole or not at all, readable by its owner only.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CaseError> {
        write_atomic(path, bytes).map_err(|source| unusable(path, source))
    }

    /// Writes a value as JSON.
    pub fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), CaseError> {
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|source| CaseError::Json { path: path.to_owned(), source })?;
        bytes.push(b'\n');
        self.write(path, &bytes)
    }

    /// Reads a JSON file that `stage` leaves.
    pub fn read_json<T: for<'de> Deserialize<'de>>(
        &self,
        path: &Path,
        stage: &'static str,
    ) -> Result<T, CaseError> {
        let bytes = self.read(path, stage)?;
        serde_json::from_slice(&bytes).map_err(|source| CaseError::Json { path: path.to_owned(), source })
    }

    /// Reads a file that `stage` leaves.
    pub fn read(&self, path: &Path, stage: &'static str) -> Result<Vec<u8>, CaseError> {
        fs::read(path).map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                CaseError::StageMissing { path: path.to_owned(), stage }
            } else {
                unusable(path, source)
            }
        })
    }
}

fn unusable(path: &Path, source: io::Error) -> CaseError {
    let path = path.to_owned();
    if is_disk_full(&source) {
        CaseError::DiskFull { path, source }
    } else {
        CaseError::Directory { path, source }
    }
}
