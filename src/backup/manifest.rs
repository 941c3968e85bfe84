//! Holds a backup's checksums against the output of `sha256sum`. Every file of the backup must be named there.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::BackupError;
use super::fingerprint::FileSum;

struct Line {
    sha256: String,
    path: PathBuf,
}

/// Compares all files of the backup with the manifest.
pub(super) fn check(manifest: &Path, backup: &Path, sums: &[FileSum]) -> Result<(), BackupError> {
    let unreadable = |source| BackupError::ManifestUnreadable { path: manifest.to_path_buf(), source };
    let text = std::fs::read_to_string(manifest).map_err(unreadable)?;
    let lines = parse(&text).map_err(|fact| unreadable(io::Error::new(io::ErrorKind::InvalidData, fact)))?;
    let inside_directory = backup.is_dir();
    for sum in sums {
        let file = if inside_directory { backup.join(&sum.name) } else { backup.to_path_buf() };
        let line = find(&lines, manifest, &file).ok_or_else(|| BackupError::ManifestUnnamed {
            manifest: manifest.to_path_buf(),
            file: sum.name.clone(),
        })?;
        if line.sha256 != sum.sha256 {
            return Err(BackupError::ManifestMismatch {
                manifest: manifest.to_path_buf(),
                file: sum.name.clone(),
                expected: line.sha256.clone(),
                found: sum.sha256.clone(),
            });
        }
    }
    if inside_directory { check_none_absent(&lines, manifest, backup) } else { Ok(()) }
}

/// A line that names the backup's directory names a file that must be there.
fn check_none_absent(lines: &[Line], manifest: &Path, backup: &Path) -> Result<(), BackupError> {
    let directory_name = backup.file_name();
    for line in lines {
        let parent = line.path.parent();
        let names_backup = parent.is_some_and(|parent| parent.file_name() == directory_name)
            || (parent == Some(Path::new("")) && manifest.parent().is_some_and(|at| same_place(at, backup)));
        let name = line.path.file_name().unwrap_or_default();
        let file = backup.join(name);
        if names_backup && !file.exists() {
            let file = name.to_string_lossy().into_owned();
            return Err(BackupError::ManifestAbsent { manifest: manifest.to_path_buf(), file });
        }
    }
    Ok(())
}

/// The line whose path, seen from the manifest's directory, is the file; or the one whose path ends in most of the
/// file's last parts, at least its name.
fn find<'a>(lines: &'a [Line], manifest: &Path, file: &Path) -> Option<&'a Line> {
    let at = manifest.parent().unwrap_or(Path::new(""));
    let exact = lines.iter().find(|line| same_place(&at.join(&line.path), file));
    exact.or_else(|| {
        let file = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
        let matching = |line: &Line| {
            line.path.components().rev().zip(file.components().rev()).take_while(|(a, b)| a == b).count()
        };
        lines.iter().filter(|line| matching(line) > 0).max_by_key(|line| matching(line))
    })
}

fn same_place(a: &Path, b: &Path) -> bool {
    let here =
        |path: &Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_path_buf() };
    match (here(a).canonicalize(), here(b).canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Lines of `sha256sum`: checksum, blank, blank or `*`, name. A backslash in front says that the name is escaped.
fn parse(text: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let parsed = parse_line(line);
        lines.push(parsed.ok_or_else(|| format!("line {} is not one of sha256sum", number + 1))?);
    }
    if lines.is_empty() { Err("it holds no checksum".into()) } else { Ok(lines) }
}

fn parse_line(line: &str) -> Option<Line> {
    let (escaped, line) = line.strip_prefix('\\').map_or((false, line), |rest| (true, rest));
    let (sha256, name) = line.split_at_checked(64)?;
    let name = name.strip_prefix("  ").or_else(|| name.strip_prefix(" *"))?;
    let name = if escaped { name.replace("\\n", "\n").replace("\\\\", "\\") } else { name.to_owned() };
    let is_hex = sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    // `./a` and `a` are one path.
    let path = Path::new(&name).components().filter(|part| *part != Component::CurDir).collect();
    (is_hex && !name.is_empty()).then(|| Line { sha256: sha256.to_ascii_lowercase(), path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_of_sha256sum_and_nothing_else() {
        let sum = "0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD";
        let good = format!("{sum}  ./a/b c\n\n{sum} *d\n\\{sum}  e\\\\f\n");
        let paths: Vec<PathBuf> = parse(&good).unwrap().into_iter().map(|line| line.path).collect();
        assert_eq!(paths, [PathBuf::from("a/b c"), PathBuf::from("d"), PathBuf::from("e\\f")]);
        assert_eq!(parse(&good).unwrap()[0].sha256, sum.to_ascii_lowercase());
        for bad in ["", "\n", "x  y", &format!("{sum} a"), &format!("{}  a", &sum[1..]), &format!("{sum}  ")]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
