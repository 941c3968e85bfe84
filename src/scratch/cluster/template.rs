//! What `initdb` makes is the same each time and takes longer than the rest of a small recovery: it is kept as one
//! compressed file in the user's cache directory. It holds no row of anybody's, and nothing depends on it: one that is
//! old, damaged or of other programs is made again.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};

use super::ClusterOptions;
use super::launcher::DATA;
use crate::clock::age_of;
use crate::env::Env;
use crate::pg::Account;
use crate::scratch::programs::Programs;

/// What a new layout of the file changes.
const FORMAT: &str = "rowback initdb template, format 1";
const PREFIX: &str = "initdb-";
const SUFFIX: &str = ".tar.zst";
/// The last entry of the archive: without it the file is not whole.
const PASSWORD: &str = "password";
const WAL: &str = "pg_wal";
/// Locales and libraries may change beside the programs: an older file is made again.
const LONGEST_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What says which locales `initdb` finds.
const LOCALES: [&str; 2] = ["/usr/lib/locale", "/usr/lib/locale/locale-archive"];

/// Where the result of `initdb` is kept, or will be.
#[derive(Debug, Clone)]
pub(super) struct Template {
    path: PathBuf,
}

/// Where a data directory is to be made, and whose it is.
pub(super) struct Site<'a> {
    /// The data directory; must not exist.
    pub(super) data: &'a Path,
    /// The directory of the log, where that is elsewhere; must not exist.
    pub(super) wal: Option<&'a Path>,
    /// The server's account.
    pub(super) account: Option<&'a Account>,
}

impl Template {
    /// The place for what these programs make with these arguments; `None` where nothing can be kept safely.
    pub(super) fn of(programs: &Programs, options: &ClusterOptions, arguments: &[&str]) -> Option<Self> {
        let directory = own_directory(options.cache_dir.as_deref()?)?;
        let key = key(programs, options, arguments)?;
        Some(Self { path: directory.join(format!("{PREFIX}{key}{SUFFIX}")) })
    }

    /// Makes the data directory out of the file; the superuser's password in it. On an error, what was made so far is
    /// left to be removed.
    pub(super) fn unpack(&self, site: &Site<'_>) -> io::Result<String> {
        // Nothing may be waited for, whatever stands there.
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(&self.path)?;
        let found = file.metadata()?;
        let is_own = found.is_file() && found.uid() == geteuid().as_raw();
        if !is_own || age_of(&found)? > LONGEST_KEPT {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut archive = tar::Archive::new(zstd::Decoder::new(file)?);
        site.make_directory(site.data)?;
        if let Some(wal) = site.wal {
            site.make_directory(wal)?;
            symlink(wal, site.data.join(WAL))?;
        }
        let mut password = None;
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            if path == Path::new(PASSWORD) {
                let mut text = String::new();
                entry.read_to_string(&mut text)?;
                password = Some(text);
            } else if let Some(target) = site.target(&path)? {
                match entry.header().entry_type() {
                    tar::EntryType::Directory => site.make_directory(&target)?,
                    tar::EntryType::Regular => site.write_file(&target, &mut entry)?,
                    _ => return Err(io::ErrorKind::InvalidData.into()),
                }
            }
        }
        // The checksum is at the very end.
        io::copy(&mut archive.into_inner(), &mut io::sink())?;
        password.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Keeps a data directory that no server has touched yet. Other files of ours that are too old are removed.
    pub(super) fn keep(&self, data: &Path, password: &str) -> io::Result<()> {
        let directory = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        remove_old(directory);
        // Not synced: that may take longer than `initdb`, and a file that is not whole is noticed.
        let file = tempfile::Builder::new().prefix(".initdb-").suffix(".partial").tempfile_in(directory)?;
        let mut encoder = zstd::Encoder::new(file, 1)?;
        encoder.include_checksum(true)?;
        let mut archive = tar::Builder::new(encoder);
        archive.mode(tar::HeaderMode::Deterministic);
        archive.append_dir_all(DATA, data)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(password.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, PASSWORD, password.as_bytes())?;
        let mut file = archive.into_inner()?.finish()?;
        file.flush()?;
        file.persist(&self.path)?;
        Ok(())
    }

    /// Removes the file, which is of no use.
    pub(super) fn discard(&self) {
        // What cannot be removed is replaced or too old one day.
        fs::remove_file(&self.path).ok();
    }
}

impl Site<'_> {
    /// Where an entry of the archive goes; `None` for what is there already.
    fn target(&self, entry: &Path) -> io::Result<Option<PathBuf>> {
        let Ok(below) = entry.strip_prefix(DATA) else { return Err(io::ErrorKind::InvalidData.into()) };
        if below.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let target = match (self.wal, below.strip_prefix(WAL)) {
            (Some(wal), Ok(rest)) => (rest != Path::new("")).then(|| wal.join(rest)),
            _ => (below != Path::new("")).then(|| self.data.join(below)),
        };
        Ok(target)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        self.give(path)
    }

    fn write_file(&self, path: &Path, content: &mut impl Read) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        io::copy(content, &mut file)?;
        self.give(path)
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        self.account.map_or(Ok(()), |account| chown(path, Some(account.uid), Some(account.gid)))
    }
}

/// `rowback` in the user's directory for caches; none where `HOME` is somebody else's, as under `sudo`.
pub(super) fn cache_dir(env: &Env) -> Option<PathBuf> {
    let absolute = |name: &str| env.var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let of_home = |home: PathBuf| {
        let is_own = fs::metadata(&home).is_ok_and(|found| found.uid() == geteuid().as_raw());
        is_own.then(|| home.join(".cache"))
    };
    let caches = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").and_then(of_home))?;
    Some(caches.join("rowback"))
}

/// The directory if it is ours alone; made if need be.
fn own_directory(path: &Path) -> Option<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).ok()?;
    let found = fs::symlink_metadata(path).ok()?;
    (found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0)
        .then(|| path.to_owned())
}

/// Tells programs, their arguments and the machine's locales apart.
fn key(programs: &Programs, options: &ClusterOptions, arguments: &[&str]) -> Option<String> {
    let mut text =
        format!("{FORMAT}\n{}\n{:?}\n{}\n", programs.version, options.library_path, arguments.join(" "));
    for program in ["initdb", "postgres"] {
        let path = programs.path(program).canonicalize().ok()?;
        let found = path.metadata().ok()?;
        let (seconds, rest) = (found.mtime(), found.mtime_nsec());
        text += &format!("{} {} {} {seconds}.{rest}\n", path.display(), found.ino(), found.len());
    }
    for place in LOCALES {
        let changed = fs::metadata(place).map(|found| (found.mtime(), found.mtime_nsec())).ok();
        text += &format!("{place} {changed:?}\n");
    }
    let digest = Sha256::digest(text.as_bytes());
    Some(digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect())
}

fn remove_old(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours = name.trim_start_matches('.').starts_with(PREFIX);
        // What a killed run was writing is of no use an hour later.
        let longest = if name.starts_with('.') { Duration::from_secs(60 * 60) } else { LONGEST_KEPT };
        let age = entry.metadata().and_then(|found| age_of(&found));
        if is_ours && age.is_ok_and(|age| age > longest) {
            // The next one may try again.
            fs::remove_file(entry.path()).ok();
        }
    }
}
