//! Finds the programs of a PostgreSQL server on this machine: `initdb` and `postgres` in one directory.
//! Never downloads or installs anything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::ScratchError;
use crate::env::Env;

/// A directory with server programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The directory; it holds `initdb` and `postgres`.
    pub directory: PathBuf,
    /// Major version, 15 for 15.18.
    pub major: u32,
    /// What `postgres --version` prints.
    pub version: String,
}

impl Programs {
    /// The programs in `pg_bin` if it is given; otherwise the newest that can be found. Both must be of the major
    /// version `at_least` or newer: an older server cannot be expected to take a newer one's dump.
    pub fn find(pg_bin: Option<&Path>, at_least: u32, env: &Env) -> Result<Self, ScratchError> {
        match pg_bin {
            Some(directory) => Self::named(directory, at_least),
            None => Self::newest(&places(env), at_least),
        }
    }

    /// Path of one of the programs.
    pub fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }

    fn named(directory: &Path, at_least: u32) -> Result<Self, ScratchError> {
        let unfit =
            |problem: String| ScratchError::ProgramsUnfit { directory: directory.to_owned(), problem };
        for program in ["initdb", "postgres"] {
            if !directory.join(program).is_file() {
                return Err(unfit(format!("there is no `{program}` in it")));
            }
        }
        let programs = Self::look(directory).map_err(unfit)?;
        if programs.major >= at_least {
            return Ok(programs);
        }
        let found = vec![(programs.directory, programs.version)];
        Err(ScratchError::ProgramsTooOld { found, needed: at_least })
    }

    fn newest(places: &[PathBuf], at_least: u32) -> Result<Self, ScratchError> {
        let mut seen = BTreeSet::new();
        let pairs = places
            .iter()
            // A wrapper such as /usr/local/bin/initdb may stand alone: only a pair counts.
            .filter(|place| ["initdb", "postgres"].iter().all(|program| place.join(program).is_file()))
            .filter(|place| seen.insert(place.canonicalize().unwrap_or_else(|_| (*place).clone())));
        let mut found: Vec<Self> = std::thread::scope(|scope| {
            let asked: Vec<_> = pairs.map(|place| scope.spawn(|| Self::look(place).ok())).collect();
            asked.into_iter().filter_map(|answer| answer.join().ok().flatten()).collect()
        });
        // A stable sort: of two of the same version, the one that was named earlier stays first.
        found.sort_by_key(|programs| std::cmp::Reverse(programs.major));
        match found.first() {
            None => Err(ScratchError::ProgramsMissing { searched: places.to_vec() }),
            Some(newest) if newest.major >= at_least => Ok(newest.clone()),
            Some(_) => {
                let found =
                    found.into_iter().map(|programs| (programs.directory, programs.version)).collect();
                Err(ScratchError::ProgramsTooOld { found, needed: at_least })
            }
        }
    }

    /// Asks the programs in a directory for their version.
    fn look(directory: &Path) -> Result<Self, String> {
        let program = directory.join("postgres");
        let run = Command::new(&program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
        let output = run.map_err(|error| format!("\"{}\" cannot be run: {error}", program.display()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match parse_major(&version) {
            Some(major) if output.status.success() => {
                Ok(Self { directory: directory.to_owned(), major, version })
            }
            _ => Err(format!("\"{}\" does not tell its version", program.display())),
        }
    }
}

/// 15 from `postgres (PostgreSQL) 15.18 (Debian …)`, 19 from `… 19beta1`.
fn parse_major(version: &str) -> Option<u32> {
    let number =
        version.split_whitespace().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Where server programs may be, nearest first: `PATH`, what `pg_config` says, then where packages put them.
fn places(env: &Env) -> Vec<PathBuf> {
    let path = env.var("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> =
        path.split(':').filter(|directory| directory.starts_with('/')).map(PathBuf::from).collect();
    places.extend(pg_config_bindir(&places));
    for (parent, prefix, rest) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/usr/libexec", "postgresql", ""),
        ("/opt/homebrew/opt", "postgresql", "bin"),
        ("/usr/local/opt", "postgresql", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ] {
        places.extend(children(Path::new(parent), prefix).into_iter().map(|directory| directory.join(rest)));
    }
    places.extend(["/usr/local/pgsql/bin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from));
    let mut seen = BTreeSet::new();
    places.retain(|place| seen.insert(place.clone()));
    places
}

fn pg_config_bindir(path: &[PathBuf]) -> Option<PathBuf> {
    let program =
        path.iter().map(|directory| directory.join("pg_config")).find(|program| program.is_file())?;
    let output =
        Command::new(program).arg("--bindir").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    let directory = line.trim();
    directory.starts_with('/').then(|| PathBuf::from(directory))
}

/// The directories in `parent` whose name begins with `prefix`, the last name first (newest version first).
fn children(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix))
        })
        .collect();
    found.sort();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::error::Explain;

    /// A directory with scripts that pose as server programs.
    fn fake(root: &Path, name: &str, programs: &[&str], version: &str) -> PathBuf {
        let directory = root.join(name);
        std::fs::create_dir(&directory).unwrap();
        for program in programs {
            let path = directory.join(program);
            std::fs::write(&path, format!("#!/bin/sh\necho '{version}'\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory
    }

    const BOTH: &[&str] = &["initdb", "postgres"];

    #[test]
    fn the_newest_pair_wins_and_a_lone_wrapper_does_not_count() {
        let root = tempfile::tempdir().unwrap();
        let wrapper = fake(root.path(), "wrapper", &["initdb"], "initdb (PostgreSQL) 99.1");
        let old = fake(root.path(), "old", BOTH, "postgres (PostgreSQL) 14.2");
        let new = fake(root.path(), "new", BOTH, "postgres (PostgreSQL) 16.4 (Debian 16.4-1)");
        let broken = fake(root.path(), "broken", BOTH, "no version");
        let same = fake(root.path(), "same", BOTH, "postgres (PostgreSQL) 16.9");
        let places = [wrapper.clone(), broken, old.clone(), new.clone(), same];
        let version = "postgres (PostgreSQL) 16.4 (Debian 16.4-1)".to_owned();
        let expected = Programs { directory: new.clone(), major: 16, version: version.clone() };
        assert_eq!(Programs::newest(&places, 14).unwrap(), expected);
        assert_eq!(Programs::newest(&places, 16).unwrap(), expected);
        let error = Programs::newest(&places, 17).unwrap_err();
        assert_eq!(error.code(), "server-programs-too-old");
        assert_eq!(
            error.causes()[..2],
            ["the backup's server was version 17".to_owned(), format!("{version} in {}", new.display())]
        );
        assert!(error.hint().contains("postgresql-17"), "{}", error.hint());
        let none = Programs::newest(&[wrapper.clone(), root.path().join("nowhere")], 14).unwrap_err();
        assert_eq!(none.code(), "server-programs-missing");
        assert!(none.causes()[0].contains(wrapper.to_str().unwrap()));
        assert!(none.hint().contains("--pg-bin") && none.hint().contains("--scratch"), "{}", none.hint());
    }

    #[test]
    fn a_named_directory_is_used_or_refused_but_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let old = fake(root.path(), "old", BOTH, "postgres (PostgreSQL) 13.16");
        let wrapper = fake(root.path(), "wrapper", &["initdb"], "initdb (PostgreSQL) 99.1");
        let env = Env::default();
        assert_eq!(Programs::find(Some(&old), 13, &env).unwrap().major, 13);
        assert_eq!(Programs::find(Some(&old), 14, &env).unwrap_err().code(), "server-programs-too-old");
        let unfit = Programs::find(Some(&wrapper), 9, &env).unwrap_err();
        assert_eq!(unfit.code(), "server-programs-unfit");
        assert_eq!(unfit.causes(), ["there is no `postgres` in it"]);
    }

    #[test]
    fn versions_are_read_from_what_programs_print() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_major("postgres"), None);
    }

    #[test]
    fn path_comes_before_the_places_of_packages() {
        let env = Env::from_pairs([("PATH", "/somewhere/bin:relative:/other")]);
        let places = places(&env);
        assert_eq!(places[..2], [PathBuf::from("/somewhere/bin"), PathBuf::from("/other")]);
    }
}
