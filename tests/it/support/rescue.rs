//! The whole way in one value, for tests that want a recovery and care about its result.

use std::path::{Path, PathBuf};

use super::{Output, Rowback, TempDir, TestDb};

/// A live database to repair, a backup, and a case directory to do it in.
pub struct Rescue<'db> {
    directory: TempDir,
    rowback: Rowback,
    live: &'db TestDb<'db>,
    backup: PathBuf,
}

impl<'db> Rescue<'db> {
    /// Nothing is run yet.
    pub fn new(live: &'db TestDb<'db>, backup: &Path) -> Self {
        let directory = TempDir::new("rescue");
        let rowback = Rowback::new(directory.path());
        Self { directory, rowback, live, backup: backup.to_owned() }
    }

    /// The working directory; the case is `case` in it.
    pub fn directory(&self) -> &TempDir {
        &self.directory
    }

    /// The case directory.
    pub fn case(&self) -> PathBuf {
        self.directory.join("case")
    }

    /// The command, for calls of a test's own.
    pub fn rowback(&self) -> &Rowback {
        &self.rowback
    }

    /// `recover` with a recipe file.
    pub fn recover(&self, recipe: &Path) -> Output {
        let [recipe, backup, live] =
            [recipe.display().to_string(), self.backup.display().to_string(), self.live.url()];
        self.rowback.run(["recover", &recipe, "--backup", &backup, "--live", &live, "--case", "case"])
    }

    /// `recover` with the text of a recipe.
    pub fn recover_text(&self, recipe: &str) -> Output {
        self.recover_with(recipe, &[])
    }

    /// The same with further arguments; a flag that is given twice is an error, so `--case` and `--backup` of `more`
    /// take the place of the usual ones.
    pub fn recover_with(&self, recipe: &str, more: &[&str]) -> Output {
        self.rowback.run(self.recover_args(recipe, more))
    }

    /// The arguments of such a call.
    pub fn recover_args(&self, recipe: &str, more: &[&str]) -> Vec<String> {
        let recipe = self.directory.write("recipe.toml", recipe).display().to_string();
        let mut args = vec!["recover".to_owned(), recipe];
        for (flag, value) in [
            ("--backup", self.backup.display().to_string()),
            ("--live", self.live.url()),
            ("--case", "case".to_owned()),
        ] {
            if !more.contains(&flag) {
                args.extend([flag.to_owned(), value]);
            }
        }
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        args
    }

    /// `apply`, confirmed.
    pub fn apply(&self) -> Output {
        self.rowback.run(["apply", "case", "--live", &self.live.url(), "--confirm", self.live.name()])
    }

    /// `verify`.
    pub fn verify(&self) -> Output {
        self.rowback.run(["verify", "case", "--live", &self.live.url()])
    }

    /// `undo`, confirmed.
    pub fn undo(&self) -> Output {
        self.rowback.run(["undo", "case", "--live", &self.live.url(), "--confirm", self.live.name()])
    }

    /// The undo files run by hand, last batch first: they take back every equal row, whoever wrote it.
    pub fn undo_by_hand(&self) {
        let files = std::fs::read_dir(self.case().join("undo")).unwrap();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in files.iter().rev() {
            self.live.psql(&std::fs::read_to_string(file).unwrap());
        }
    }
}
