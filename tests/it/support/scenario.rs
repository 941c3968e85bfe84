//! An accident of `tests/scenarios/`, played from the backup to undo on the benchmark's shop, and the whole database held
//! against a twin in which it never happened.

use std::path::PathBuf;

use super::{Digest, Rescue, TestDb, repository};

/// Rows of the shop: some 145,000.
const SCALE: &str = "\\set scale 0.01\n";

/// One accident. Its folder holds `accident.sql` and `later.sql` (for live), the scripts of the twin, and, for both,
/// `setup.sql` before the backup and `before.sql` between backup and accident.
pub struct Scenario {
    /// Its folder.
    pub name: &'static str,
    /// The recipe in it.
    pub recipe: &'static str,
    /// What the twin gets instead of `accident.sql` and `later.sql`.
    pub twin: &'static [&'static str],
    /// Exit codes of recover, apply and verify.
    pub codes: [i32; 3],
    /// A statement after which the databases must be found to differ.
    pub planted: &'static str,
}

impl Scenario {
    /// Plays it, and gives what `recover` said.
    #[track_caller]
    pub fn play(&self) -> String {
        let folder = self.folder();
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let shop = std::fs::read_to_string(repository().join("benches/shop.sql")).unwrap();
        // One shop is made for all scenarios; each has a copy.
        let live = TestDb::with(self.name, &format!("{SCALE}{shop}"));
        live.psql(&text("setup.sql"));
        let backup = live.dump(&["-Fc"]);
        live.psql(&text("before.sql"));
        let twin = live.copy("twin");
        assert!(!text("accident.sql").is_empty(), "{} is the accident", folder.display());
        live.psql(&(text("accident.sql") + &text("later.sql")));
        self.twin.iter().for_each(|script| {
            assert!(folder.join(script).exists(), "{script} is there");
            twin.psql(&text(script));
        });
        let (wanted, hit) = (twin.digest(), live.digest());
        assert_ne!(wanted.difference(&hit), "", "the accident did something");

        let rescue = Rescue::new(&live, &backup);
        let planned = rescue.recover(&folder.join(self.recipe)).expect_code(self.codes[0]);
        hit.assert_same(&live.digest(), "recover only reads");
        let _applied = rescue.apply().expect_code(self.codes[1]);
        self.compare(&wanted, &live);
        let _verified = rescue.verify().expect_code(self.codes[2]);
        let recovered = live.digest();
        let _again = rescue.apply().expect_code(self.codes[1]);
        recovered.assert_same(&live.digest(), "a second apply changes nothing");
        let _undone = rescue.undo().expect_code(0);
        hit.assert_same(&live.digest(), "undo gives back what was there");
        planned.stdout
    }

    fn folder(&self) -> PathBuf {
        repository().join("tests/scenarios").join(self.name)
    }

    /// Equal, and not equal any more when something else is done to live.
    #[track_caller]
    fn compare(&self, wanted: &Digest, live: &TestDb<'static>) {
        wanted.assert_same(&live.digest(), "as if the accident had never happened");
        let other = live.copy("planted");
        other.psql(self.planted);
        assert_ne!(wanted.difference(&other.digest()), "", "{} is noticed", self.planted);
    }
}
