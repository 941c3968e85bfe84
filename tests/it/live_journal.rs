//! `apply --journal live`: live tells by itself what was done, so a case whose journal is lost goes on and can be undone.

use std::time::{Duration, Instant};

use super::hand_made_case::{ACCIDENT, SHOP};
use super::support::{Output, Rescue, TestDb};

const RECIPE: &str = "[[recover]]\ntable = \"public.customers\"\nwhere = \"id <= 30\"\n\n\
    [[recover]]\ntable = \"public.team\"\nwhere = \"id <= 4\"\n";

fn planned<'db>(backup: &TestDb<'_>, live: &'db TestDb<'db>) -> Rescue<'db> {
    let rescue = Rescue::new(live, &backup.dump(&["-Fc"]));
    live.psql(ACCIDENT);
    let _plan = rescue.recover_with(RECIPE, &["--batch-rows", "4"]).expect_code(0);
    rescue
}

fn apply(rescue: &Rescue<'_>, live: &TestDb<'_>, more: &[&str]) -> Output {
    let url = live.url();
    let mut args = vec!["apply", "case", "--live", &url, "--confirm", live.name()];
    args.extend(more);
    rescue.rowback().run(args)
}

fn lose_journal(rescue: &Rescue<'_>) -> String {
    let path = rescue.case().join("journal.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    // A run that was killed early has not begun one.
    std::fs::remove_file(&path).ok();
    text
}

fn in_live(live: &TestDb<'_>) -> String {
    live.value("select count(*) from rowback.journal")
}

#[test]
fn a_case_without_its_journal_is_undone_and_applied_again() {
    let backup = TestDb::with("kept", SHOP);
    let live = backup.copy("kept_live");
    let rescue = planned(&backup, &live);
    let accident = live.digest();

    let _tried = apply(&rescue, &live, &["--journal", "live", "--dry-run"]).expect_code(0);
    accident.assert_same(&live.digest(), "after the dry run");
    assert_eq!(live.value("select to_regnamespace('rowback') is null"), "t", "a dry run makes nothing");

    let applied = apply(&rescue, &live, &["--journal", "live"]).expect_code(0);
    assert!(applied.stdout.contains("the table rowback.journal"), "{}", applied.stdout);
    let text = lose_journal(&rescue);
    let batches = text.matches("\"state\":\"committed\"").count();
    assert!(batches > 60, "{batches} batches");
    assert_eq!(in_live(&live), batches.to_string());

    // A new plan in its place could not take back what the old one did, and what is not known is not told as if it were.
    let again = rescue.recover_with(RECIPE, &["--batch-rows", "4"]).expect_code(4);
    assert!(again.stderr.contains("error[case-already-applied]"), "{}", again.stderr);
    let diffed = rescue.rowback().run(["diff", "case", "--live", &live.url()]).expect_code(4);
    assert!(diffed.stderr.contains("error[case-already-applied]"), "{}", diffed.stderr);
    let verified = rescue.verify().expect_code(0);
    assert!(verified.stdout.contains("transactions that journal.jsonl lacks"), "{}", verified.stdout);

    // The same plan made anew is the same case.
    let _planned = rescue.rowback().run(["plan", "case", "--batch-rows", "4"]).expect_code(0);

    // Without a word about it, the journal in live is read and kept on.
    let undone = rescue.undo().expect_code(0);
    assert!(undone.stdout.contains(&format!("lacked {batches} transactions")), "{}", undone.stdout);
    assert!(lose_journal(&rescue).contains("\"state\":\"undone\""));
    let again = apply(&rescue, &live, &[]).expect_code(0);
    assert!(again.stdout.contains("rows inserted"), "{}", again.stdout);
    drop(lose_journal(&rescue));
    let nothing = apply(&rescue, &live, &[]).expect_code(0);
    assert!(nothing.stdout.contains("an earlier run had done everything"), "{}", nothing.stdout);
    let _verified = rescue.verify().expect_code(0);
    let _undone = rescue.undo().expect_code(0);
    live.psql("drop schema rowback cascade");
    accident.assert_same(&live.digest(), "after the second undo");
}

#[test]
fn killed_and_robbed_of_its_journal_the_same_command_goes_on() {
    let backup = TestDb::with("robbed", SHOP);
    let live = backup.copy("robbed_live");
    let rescue = planned(&backup, &live);
    let accident = live.digest();
    let mut kills = 0u64;
    loop {
        let url = live.url();
        let args = ["apply", "case", "--live", &url, "--confirm", live.name(), "--journal", "live"];
        let mut running = rescue.rowback().start(args);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(40 + kills * 23) && !running.ended() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !running.ended() {
            running.signal("KILL");
        }
        if running.wait().code == Some(0) {
            break;
        }
        drop(lose_journal(&rescue));
        kills += 1;
        assert!(kills < 200, "it never came to its end");
    }
    assert!(kills >= 3, "killed only {kills} times");
    let _verified = rescue.verify().expect_code(0);
    drop(lose_journal(&rescue));
    let _undone = rescue.undo().expect_code(0);
    live.psql("drop schema rowback cascade");
    accident.assert_same(&live.digest(), "after undo");
}

#[test]
fn what_the_case_knows_already_is_told_to_live_later() {
    let backup = TestDb::with("later", SHOP);
    let live = backup.copy("later_live");
    let rescue = planned(&backup, &live);
    let accident = live.digest();
    let _applied = apply(&rescue, &live, &[]).expect_code(0);
    assert_eq!(live.value("select to_regnamespace('rowback') is null"), "t", "nothing is made unasked");
    let _told = apply(&rescue, &live, &["--journal", "live"]).expect_code(0);
    drop(lose_journal(&rescue));
    let _undone = rescue.undo().expect_code(0);
    // A backup that holds the journal is as good as another.
    live.psql("delete from customers where id = 31");
    let other = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from customers where id = 32");
    let _planned = other
        .recover_text("[[recover]]\ntable = \"public.customers\"\nwhere = \"id <= 40\"\n")
        .expect_code(0);
    live.psql("drop schema rowback cascade");
    let live_now = live.digest();
    assert_ne!(format!("{live_now:?}"), format!("{accident:?}"));
    let _applied = other.apply().expect_code(0);
    let _undone = other.undo().expect_code(0);
    live_now.assert_same(&live.digest(), "after the other undo");
}

#[test]
fn a_journal_that_live_may_not_keep_stops_before_the_first_batch() {
    let backup = TestDb::with("forbidden", SHOP);
    let live = backup.copy("forbidden_live");
    let rescue = planned(&backup, &live);
    let role = format!("keeper_{}", live.name());
    live.psql(&format!(
        "create role {role} login; grant select, insert, update, delete on all tables in schema public to {role};
         grant usage, select, update on all sequences in schema public to {role}"
    ));
    let accident = live.digest();
    let url = live.url_as(&role);
    let args = ["apply", "case", "--live", &url, "--confirm", live.name(), "--journal", "live"];
    let refused = rescue.rowback().run(args).expect_code(3);
    assert!(refused.stderr.contains("error[journal-live]"), "{}", refused.stderr);
    assert!(refused.stderr.contains("permission denied for database"), "{}", refused.stderr);
    accident.assert_same(&live.digest(), "refused");

    // Somebody else's table of that name is not written to.
    live.psql(&format!(
        "create schema rowback authorization {role}; create table rowback.journal (what text)"
    ));
    let refused = rescue.rowback().run(args).expect_code(3);
    assert!(refused.stderr.contains("is not rowback's"), "{}", refused.stderr);
    live.psql("drop table rowback.journal");
    let _applied = rescue.rowback().run(args).expect_code(0);
    live.psql(&format!("drop schema rowback cascade; drop owned by {role}; drop role {role}"));
    backup.digest().assert_same(&live.digest(), "applied");
}

/// The plan of a second accident may be that of the first to the byte; what was done then is not done now.
#[test]
fn the_same_accident_once_more_is_another_case() {
    let backup = TestDb::with("twice", SHOP);
    let live = backup.copy("twice_live");
    let first = planned(&backup, &live);
    let accident = live.digest();
    let _applied = apply(&first, &live, &["--journal", "live"]).expect_code(0);
    let second = planned(&backup, &live);
    let seal = |rescue: &Rescue<'_>| {
        let plan = std::fs::read_to_string(rescue.case().join("plan.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&plan).unwrap()["seal"].as_str().unwrap().to_owned()
    };
    assert_eq!(seal(&first), seal(&second));
    let _applied = apply(&second, &live, &["--journal", "live"]).expect_code(0);
    let _verified = second.verify().expect_code(0);
    drop(lose_journal(&second));
    let _undone = second.undo().expect_code(0);
    live.psql("drop schema rowback cascade");
    accident.assert_same(&live.digest(), "after undo");
}

#[test]
fn a_journal_of_another_role_is_neither_read_nor_written() {
    let backup = TestDb::with("owners", SHOP);
    let live = backup.copy("owners_live");
    let rescue = planned(&backup, &live);
    let roles = ["a", "b"].map(|name| format!("journal_{name}_{}", live.name()));
    for role in &roles {
        live.psql(&format!(
            "create role {role} login; grant create on database {} to {role};
             grant select, insert, update, delete on all tables in schema public to {role};
             grant usage, select, update on all sequences in schema public to {role}",
            live.name()
        ));
    }
    let run = |role: &str, command: &str, more: &[&str]| {
        let url = live.url_as(role);
        let mut args = vec![command, "case", "--live", &url, "--confirm", live.name()];
        args.extend(more);
        rescue.rowback().run(args)
    };
    let accident = live.digest();
    let _applied = run(&roles[0], "apply", &["--journal", "live"]).expect_code(0);
    let done = live.digest();
    // Who may not read what was done still learns that something was.
    for command in ["apply", "undo"] {
        let refused = run(&roles[1], command, &[]).expect_code(3);
        let told = format!("rowback.journal belongs to the role {:?}", roles[0]);
        assert!(refused.stderr.contains(&told), "{command}: {}", refused.stderr);
    }
    done.assert_same(&live.digest(), "refused");
    assert_eq!(
        live.value(&format!(
            "select has_column_privilege('{}', 'rowback.journal', 'line', 'select')",
            roles[1]
        )),
        "f"
    );
    // A trigger would run as whoever writes.
    live.psql(
        "create function peek() returns trigger language plpgsql as $$ begin return null; end $$;
         create trigger peek before insert on rowback.journal for each row execute function peek()",
    );
    for (command, more) in [("apply", &["--journal", "live"][..]), ("apply", &[]), ("undo", &[])] {
        let refused = run(&roles[0], command, more).expect_code(3);
        assert!(refused.stderr.contains("has triggers"), "{command}: {}", refused.stderr);
    }
    live.psql("drop trigger peek on rowback.journal; drop function peek");
    let before: u32 = in_live(&live).parse().unwrap();
    let _undone = run(&roles[0], "undo", &[]).expect_code(0);
    assert_eq!(in_live(&live), (2 * before).to_string(), "undo is told as well");
    live.psql("drop schema rowback cascade");
    accident.assert_same(&live.digest(), "after undo");
    for role in &roles {
        live.psql(&format!("drop owned by {role}; drop role {role}"));
    }
}

#[test]
fn undo_without_a_journal_claims_nothing() {
    let backup = TestDb::with("nothing", SHOP);
    let live = backup.copy("nothing_live");
    let rescue = planned(&backup, &live);
    let _applied = apply(&rescue, &live, &[]).expect_code(0);
    drop(lose_journal(&rescue));
    let undone = rescue.undo().expect_code(0);
    assert!(undone.stdout.contains("Nothing was taken back"), "{}", undone.stdout);
    backup.digest().assert_same(&live.digest(), "nothing was taken back");
}

#[test]
fn a_certificate_tells_of_a_journal_that_was_lost() {
    let backup = TestDb::with("certified", SHOP);
    let live = backup.copy("certified_live");
    let rescue = planned(&backup, &live);
    let _applied = apply(&rescue, &live, &[]).expect_code(0);
    let _verified = rescue.verify().expect_code(0);
    let lines = lose_journal(&rescue);
    let refused = [rescue.undo(), apply(&rescue, &live, &[])];
    for output in refused {
        let output = output.expect_code(4);
        assert!(output.stderr.contains("error[journal-lost]"), "{}", output.stderr);
        assert!(output.stderr.contains("journal.jsonl of 0"), "{}", output.stderr);
    }
    let again = rescue.rowback().run(["diff", "case", "--live", &live.url()]).expect_code(4);
    assert!(again.stderr.contains("error[case-already-applied]"), "{}", again.stderr);
    for command in ["verify", "report"] {
        let output = rescue.rowback().run([command, "case"]).expect_code(4);
        assert!(output.stderr.contains("error[journal-lost]"), "{command}: {}", output.stderr);
    }
    // Half of it is as good as none.
    let half: String = lines.lines().take(1).map(|line| format!("{line}\n")).collect();
    let journal = rescue.case().join("journal.jsonl");
    std::fs::write(&journal, half).unwrap();
    let refused = rescue.undo().expect_code(4);
    assert!(refused.stderr.contains("error[journal-lost]"), "{}", refused.stderr);
    backup.digest().assert_same(&live.digest(), "nothing was taken back");
    std::fs::write(&journal, lines).unwrap();
    let _undone = rescue.undo().expect_code(0);
    let _applied = apply(&rescue, &live, &[]).expect_code(0);
}

/// Backups that are made while live has a journal hold it, too; it is no table of the person's.
#[test]
fn the_journal_in_live_is_not_compared() {
    let backup = TestDb::with("kept", SHOP);
    let live = backup.copy("compared_live");
    let rescue = planned(&backup, &live);
    let _applied = apply(&rescue, &live, &["--journal", "live"]).expect_code(0);
    let later = live.dump(&["-Fc"]);
    let structure = live.dump(&["-Fc", "--exclude-table-data=rowback.journal"]);
    for (journal, dump) in [("whole", &later), ("gone", &later), ("whole", &structure)] {
        if journal == "gone" {
            live.psql("create table kept as table rowback.journal; drop table rowback.journal");
        }
        let args = ["compare", "--json", "--backup", dump.to_str().unwrap(), "--live", &live.url()];
        let found = rescue.rowback().run(args).expect_code(0).json();
        assert_eq!(found["skipped"], serde_json::json!({}), "{journal}");
        let is_journal = |table: &serde_json::Value| table["table"] == "rowback.journal";
        assert!(!found["tables"].as_array().unwrap().iter().any(is_journal), "{journal}");
        if journal == "gone" {
            live.psql("create table rowback.journal as table kept; drop table kept");
        }
    }
    let args = ["compare", "--json", "--backup", later.to_str().unwrap(), "--live", &live.url(), "--table"];
    let found = rescue.rowback().run(args.into_iter().chain(["rowback.journal"])).expect_code(1).json();
    assert!(
        found["skipped"]["rowback.journal"].as_str().unwrap().contains("rowback itself keeps"),
        "{found}"
    );
}

/// A schema of that name, and a table of that name in it, may be anybody's.
#[test]
fn tables_of_a_schema_named_rowback_are_compared_and_recovered() {
    let live = TestDb::with(
        "namesake",
        "create schema rowback; create table rowback.subject (id int primary key, v text); insert into rowback.subject select i, 'v' from generate_series(1, 5) i;
         create table rowback.journal (id int primary key, subject int references rowback.subject on delete cascade);
         insert into rowback.journal select i, i from generate_series(1, 5) i",
    );
    let (whole, rescue) = (live.digest(), Rescue::new(&live, &live.dump(&["-Fc"])));
    live.psql("delete from rowback.subject where id = 3");
    let planned =
        rescue.recover_with("[[recover]]\ntable = \"rowback.subject\"\n", &["--json"]).expect_code(0).json();
    assert_eq!(planned["insert"], 2, "{planned}");
    let _applied = rescue.apply().expect_code(0);
    whole.assert_same(&live.digest(), "both rows are back");
}
