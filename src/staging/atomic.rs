//! Files that appear whole or not at all. They hold personal data, so they are 0600 from the first byte.
//! Never leaves an unfinished file behind, except after `kill -9`; `sweep_partial_files` removes those.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const PARTIAL: &str = ".partial";
const BUFFER_BYTES: usize = 256 * 1024;

/// Makes two files of one process differ in their temporary names.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Makes a directory that only its owner can enter; one that is there stays.
pub fn make_directory(path: &Path) -> Result<(), super::StagingError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| super::StagingError::write(path, 0, source))
}

/// A file written under a temporary name in its directory and renamed by [`AtomicFile::commit`]. Dropping it without
/// that removes it. Buffered.
#[derive(Debug)]
pub struct AtomicFile {
    file: BufWriter<File>,
    temporary: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Creates the temporary file beside `target`; the directory must exist. Fails when `target` has no file name.
    pub fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{serial}{PARTIAL}", std::process::id()));
        let temporary = target.with_file_name(temporary);
        // A process with the same id may have been killed here long ago.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self { file, temporary, target: target.to_owned(), committed: false })
    }

    /// A file that cannot take a byte, for tests.
    #[cfg(test)]
    pub(super) fn onto_full_disk(target: &Path) -> Self {
        let mut file = Self::create(target).unwrap();
        file.file =
            BufWriter::with_capacity(BUFFER_BYTES, OpenOptions::new().write(true).open("/dev/full").unwrap());
        file
    }

    /// Where the file will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Writes everything to disk and gives the file its name; an older file of that name is replaced.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        self.committed = true;
        sync_directory_of(&self.target)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody is left to tell; a file that stays is removed by the next sweep.
            drop(fs::remove_file(&self.temporary));
        }
    }
}

/// Writes a small file whole or not at all: temporary name in the same directory, 0600, fsync, rename, fsync of the
/// directory.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Removes what killed processes left in a directory. The caller must hold the lock of the case.
pub fn sweep_partial_files(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if is_partial(&entry.file_name()) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Is it the name of an unfinished file?
pub fn is_partial(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(PARTIAL.as_bytes())
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_with_narrow_permissions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), names(dir.path())),
            (b"two".to_vec(), vec!["plan.json".to_owned()])
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_unfinished_file_leaves_the_old_one_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        write_atomic(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(names(dir.path()).len(), 2);
        drop(file);
        assert_eq!((fs::read(&path).unwrap(), names(dir.path()).len()), (b"old".to_vec(), 1));
    }

    #[test]
    fn sweeping_takes_leftovers_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".a.parquet.12-0.partial", "a.partial", ".hidden", "a.parquet"] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        sweep_partial_files(dir.path()).unwrap();
        assert_eq!(names(dir.path()), [".hidden", "a.parquet", "a.partial"]);
    }
}
