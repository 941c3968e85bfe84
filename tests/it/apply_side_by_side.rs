//! `apply` over several connections: what comes of it is what one connection makes of it, whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rowback::apply::{self, ApplyError, ApplyOptions, JournalPlace, Limits, Mode};
use rowback::cancel::CancelToken;
use rowback::error::Explain;
use rowback::pg::Backoff;
use rowback::progress::Silent;

use super::hand_made_case::settings;
use super::support::{Output, Rescue, Server, TestDb, wait_until};

/// Accounts; two tables that hang on them and one that hangs on nobody; tags that hang on visits.
const HOUSE: &str = "
    create table accounts (id int primary key, plan text not null);
    create table visits (id int primary key, account int not null references accounts, what text);
    create table logins (id int primary key, account int not null references accounts, at timestamptz not null unique);
    create table pages (path text primary key, body text);
    create table tags (visit int references visits on delete cascade, tag text, primary key (visit, tag));
    insert into accounts select n, 'plan ' || n % 3 from generate_series(1, 60) n;
    insert into visits select n, 1 + n % 60, 'visit ' || n from generate_series(1, 160) n;
    insert into logins select n, 1 + n % 60, '2026-01-01 00:00+00'::timestamptz + n * interval '1 h' from generate_series(1, 160) n;
    insert into pages select '/p/' || n, 'page ' || n % 150 from generate_series(1, 160) n;
    insert into tags select n, 'tag ' || m from generate_series(1, 160) n, generate_series(1, 2) m;";

const ACCIDENT: &str = "
    delete from visits where id <= 150; delete from logins where id <= 150; delete from pages where path <> '/p/7';
    update accounts set plan = 'broken' where id <= 50;";

const RECIPE: &str = "
[[recover]]
table = \"visits\"
where = \"true\"

[[recover]]
table = \"logins\"
where = \"true\"

[[recover]]
table = \"pages\"
where = \"true\"

[[recover]]
table = \"accounts\"
kind = \"corrupted\"
columns = [\"plan\"]
where = \"true\"
damaged = \"live.plan = 'broken'\"
";

/// Since the plan: a row is there again with other values, one as it was, one changed, a parent went, a constraint came, and
/// a unique key that rows of several batches do not keep.
const MEANWHILE: &str = "
    insert into visits values (3, 4, 'somebody else'), (4, 5, 'visit 4');
    update accounts set plan = 'by hand' where id = 9;
    delete from logins where account = 20; delete from visits where account = 20; delete from accounts where id = 20;
    alter table logins add constraint no_bad check (id not in (77, 78, 131)) not valid;
    insert into pages values ('/p/9', 'of a colleague');
    create unique index on pages (body);";

/// Recovered up to the plan, in batches of three rows.
fn planned<'db>(backup: &TestDb<'_>, live: &'db TestDb<'db>) -> Rescue<'db> {
    let rescue = Rescue::new(live, &backup.dump(&["-Fc"]));
    live.psql(ACCIDENT);
    let _planned = rescue.recover_with(RECIPE, &["--batch-rows", "3"]).expect_code(0);
    rescue
}

fn apply_with(rescue: &Rescue<'_>, live: &TestDb<'_>, more: &[&str]) -> Output {
    let url = live.url();
    let args = ["apply", "case", "--live", &url, "--confirm", live.name()];
    rescue.rowback().run(args.iter().chain(more))
}

/// The lines of the journal, in order.
fn journal(rescue: &Rescue<'_>) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(rescue.case().join("journal.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Batches of which the journal says that they reached this state, lowest first.
fn reached(rescue: &Rescue<'_>, state: &str) -> BTreeSet<u64> {
    let of_state = |line: &&serde_json::Value| line["state"] == state;
    journal(rescue).iter().filter(of_state).map(|line| line["batch"].as_u64().unwrap()).collect()
}

/// How many announced commits were open at the same time.
fn most_pending(rescue: &Rescue<'_>) -> usize {
    most_pending_of(rescue, "")
}

/// The same of batches whose file has this in its name.
fn most_pending_of(rescue: &Rescue<'_>, name: &str) -> usize {
    let files = std::fs::read_dir(rescue.case().join("batches")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let wanted: BTreeSet<u64> =
        names.filter(|file| file.contains(name)).map(|file| file[..4].parse().unwrap()).collect();
    let (mut open, mut most) = (BTreeSet::new(), 0);
    for line in journal(rescue) {
        let batch = line["batch"].as_u64().unwrap();
        if !wanted.contains(&batch) {
            continue;
        }
        if line["state"] == "writing" {
            open.insert(batch)
        } else {
            open.remove(&batch)
        };
        most = most.max(open.len());
    }
    most
}

/// What the journal says, batch by batch, without what differs from run to run.
fn told(rescue: &Rescue<'_>) -> BTreeMap<u64, Vec<serde_json::Value>> {
    let mut found: BTreeMap<u64, Vec<serde_json::Value>> = BTreeMap::new();
    for mut line in journal(rescue) {
        let fields = line.as_object_mut().unwrap();
        fields.retain(|name, _| {
            !["at", "xid", "oldest", "newest", "plan", "system_identifier"].contains(&name.as_str())
        });
        found.entry(line["batch"].as_u64().unwrap()).or_default().push(line);
    }
    found
}

#[test]
fn one_connection_or_three_come_to_the_same() {
    let backup = TestDb::with("beside", HOUSE);
    let run = |jobs: &str| {
        let live = backup.copy("beside_live");
        let rescue = planned(&backup, &live);
        live.psql(MEANWHILE);
        let accident = live.digest();
        let applied = apply_with(&rescue, &live, &["--jobs", jobs, "--json"]).expect_code(1);
        let mut summary = applied.json();
        summary.as_object_mut().unwrap().remove("dbname");
        let (pending, journal, after) = (most_pending(&rescue), told(&rescue), live.digest());
        let verified = rescue.verify().expect_code(1).stdout;
        let again = apply_with(&rescue, &live, &["--jobs", jobs]).expect_code(1).stdout;
        let undone = rescue.undo().expect_code(0).stdout.replace(live.name(), "live");
        accident.assert_same(&live.digest(), "after undo");
        (summary, journal, after, pending, verified, again.replace(live.name(), "live"), undone)
    };
    let (one, three) = (run("1"), run("3"));
    assert_eq!((one.3, three.3 > 1), (1, true), "at once with one connection, with three: {}", three.3);
    assert_eq!(one.0, three.0, "summary");
    assert_eq!(one.1, three.1, "journal");
    one.2.assert_same(&three.2, "live");
    assert_eq!((&one.4, &one.5, &one.6), (&three.4, &three.5, &three.6), "verify, a second apply, undo");
    assert!(one.1.len() > 200, "{} batches", one.1.len());
    let outcomes = one.0["leftovers"].as_array().unwrap().iter().map(|row| row["outcome"].as_str().unwrap());
    let outcomes: BTreeSet<&str> = outcomes.collect();
    assert_eq!(outcomes, BTreeSet::from(["blocked", "held_back", "kept", "missing", "refused"]));
    // The twin: a run that came to something else would be noticed.
    let other = backup.copy("beside_other");
    assert!(!other.digest().difference(&three.2).is_empty());
}

/// Links are set again side by side, and each still only to the parent that the plan saw.
#[test]
fn links_come_to_the_same_over_one_connection_or_three() {
    let backup = TestDb::with(
        "beside_links",
        "create table accounts (id int primary key, mail text not null unique, plan text not null);
         create table visits (id int primary key, account int references accounts on delete set null, what text);
         insert into accounts select n, 'a' || n || '@mail.example', 'plan ' || n % 3 from generate_series(1, 60) n;
         insert into visits select n, 1 + n % 60, 'visit ' || n from generate_series(1, 640) n;",
    );
    let run = |jobs: &str| {
        let live = backup.copy("beside_linked");
        live.psql("delete from accounts where id between 5 and 30");
        let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
        let recipe = "[[recover]]\ntable = \"accounts\"\nwhere = \"id <= 30\"\n";
        let _planned = rescue.recover_with(recipe, &["--batch-rows", "3"]).expect_code(0);
        // Somebody else under a number, a link that a colleague set, a visit that went, one that was written on.
        live.psql(
            "insert into accounts values (7, 'new@mail.example', 'plan 9');
             update visits set account = 40 where id = 10; delete from visits where id = 12;
             update visits set what = 'more' where id = 13;",
        );
        let accident = live.digest();
        let applied = apply_with(&rescue, &live, &["--jobs", jobs, "--json"]).expect_code(1);
        let mut summary = applied.json();
        summary.as_object_mut().unwrap().remove("dbname");
        let (pending, journal, after) =
            (most_pending_of(&rescue, "visits-update"), told(&rescue), live.digest());
        let strangers = live.value("select count(*) from visits where account = 7");
        let _undone = rescue.undo().expect_code(0);
        accident.assert_same(&live.digest(), "after undo");
        (summary, journal, after, pending, strangers)
    };
    let (one, three) = (run("1"), run("3"));
    assert_eq!((one.3, three.3 > 1), (1, true), "at once with one connection, with three: {}", three.3);
    assert_eq!((&one.0, &one.1), (&three.0, &three.1), "summary and journal");
    one.2.assert_same(&three.2, "live");
    assert_eq!((one.4.as_str(), three.4.as_str()), ("0", "0"), "nothing is hung on the new account");
    assert_eq!(three.0["leftovers"].as_array().unwrap().len(), 14, "{}", three.0);
}

/// Writing these rows takes for ever, without any trigger.
fn stick(live: &TestDb<'_>, table: &str, ids: &str) {
    live.psql(&format!(
        "create function stuck(id int) returns bool language plpgsql as $$ begin
            if id in ({ids}) then perform pg_sleep(600); end if; return true; end $$;
         alter table {table} add constraint stuck check (stuck(id)) not valid"
    ));
}

fn stuck(live: &TestDb<'_>) -> u64 {
    let sql =
        "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
    live.value(sql).parse().unwrap()
}

/// The batch that writes the first rows of a table.
fn first_batch(rescue: &Rescue<'_>, table: &str) -> u64 {
    let mut files: Vec<String> = std::fs::read_dir(rescue.case().join("batches"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let first = files.iter().find(|name| name.contains(&format!("public.{table}-insert"))).unwrap();
    first[..4].parse().unwrap()
}

fn finish(rescue: &Rescue<'_>, live: &TestDb<'_>, wanted: &TestDb<'_>) {
    let _done = apply_with(rescue, live, &["--jobs", "3"]).expect_code(0);
    wanted.digest().assert_same(&live.digest(), "after the run that got through");
}

#[test]
fn ctrl_c_stops_all_of_them_and_says_what_is_committed() {
    let backup = TestDb::with("beside", HOUSE);
    let live = backup.copy("beside_interrupt");
    let rescue = planned(&backup, &live);
    let first = first_batch(&rescue, "logins");
    // The third and the fourth batch of the table.
    stick(&live, "logins", "8, 11");
    let url = live.url();
    let args = ["apply", "case", "--live", &url, "--confirm", live.name(), "--jobs", "2"];
    let running = rescue.rowback().start(args);
    wait_until("both are stuck", Duration::from_secs(20), || stuck(&live) == 2);
    running.signal("INT");
    let output = running.wait().expect_code(5);
    let committed = reached(&rescue, "committed");
    assert_eq!(committed, (1..first + 2).collect(), "{}", output.stderr);
    let wanted = format!(
        "stopped at batch {} of {}; batches 1–{} are committed (stopped on request)",
        first + 2,
        std::fs::read_dir(rescue.case().join("batches")).unwrap().count(),
        first + 1
    );
    let also = format!("cause: batch {} stopped as well: on request; it was rolled back", first + 3);
    assert!(output.stderr.contains(&wanted) && output.stderr.contains(&also), "{wanted}\n{}", output.stderr);
    assert_eq!(live.value("select count(*) from logins where id <= 150"), "6");
    live.psql("alter table logins drop constraint stuck");
    finish(&rescue, &live, &backup);
}

#[test]
fn a_connection_cut_in_one_of_them_lets_the_others_end_their_batch() {
    let backup = TestDb::with("beside", HOUSE);
    let live = backup.copy("beside_cut");
    let rescue = planned(&backup, &live);
    let first = first_batch(&rescue, "logins");
    stick(&live, "logins", "8");
    let url = live.url();
    let args = ["apply", "case", "--live", &url, "--confirm", live.name(), "--jobs", "2"];
    let running = rescue.rowback().start(args);
    wait_until("one is stuck", Duration::from_secs(20), || stuck(&live) == 1);
    wait_until("the other one goes on", Duration::from_secs(20), || {
        reached(&rescue, "committed").last().is_some_and(|last| *last > first + 5)
    });
    live.psql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()");
    let output = running.wait().expect_code(5);
    let committed = reached(&rescue, "committed");
    assert_eq!(reached(&rescue, "writing"), committed, "the others ended");
    assert!(!committed.contains(&(first + 2)));
    assert!(
        output.stderr.contains("error[apply-connection-lost]: the connection was lost; stopped at batch")
            && output.stderr.contains(&format!("batches 1–{}, {}–", first + 1, first + 3))
            && output.stderr.contains("are committed"),
        "{}",
        output.stderr
    );
    live.psql("alter table logins drop constraint stuck");
    finish(&rescue, &live, &backup);
}

async fn apply_on(
    rescue: &Rescue<'_>,
    live: &TestDb<'_>,
    limits: Limits,
) -> Result<apply::ApplySummary, ApplyError> {
    let options = ApplyOptions {
        confirm: live.name().to_owned(),
        mode: Mode::Real,
        limits,
        jobs: 2,
        journal: JournalPlace::Case,
    };
    apply::run(&rescue.case(), &settings(live), &options, Arc::new(Silent), CancelToken::default()).await
}

#[tokio::test]
async fn a_batch_that_is_blocked_does_not_hide_what_the_others_did() {
    let backup = TestDb::with("beside", HOUSE);
    let live = backup.copy("beside_blocked");
    let rescue = planned(&backup, &live);
    let (first, behind) = (first_batch(&rescue, "logins"), first_batch(&rescue, "tags"));
    let holder = super::fault_waits::Holder::start(&live, "insert into logins values (8, 1, now())");
    let pause = Duration::from_millis(10);
    let limits = Limits {
        lock_timeout: Duration::from_millis(600),
        backoff: Backoff { attempts: 2, first_pause: pause, longest_pause: pause },
        ..Limits::default()
    };
    let error = apply_on(&rescue, &live, limits).await.unwrap_err();
    let ApplyError::BatchBlocked { place, holders, .. } = &error else { panic!("{error:?}") };
    let done: BTreeSet<u64> = place.done.iter().map(|batch| u64::from(*batch)).collect();
    assert_eq!((u64::from(place.batch), &done), (first + 2, &reached(&rescue, "committed")));
    assert!(done.contains(&(first + 5)) && done.range(behind..).next().is_none(), "{error}");
    assert_eq!(holders.len(), 1, "{}", error.causes().join("\n"));
    drop(holder);
    finish(&rescue, &live, &backup);
}

#[tokio::test]
async fn two_commits_in_doubt_are_both_settled() {
    let server = Server::start(&[]);
    let backup = TestDb::on(&server, "beside_doubt");
    backup.psql(HOUSE);
    let live = TestDb::on(&server, "beside_doubt_live");
    live.psql(HOUSE);
    let rescue = planned(&backup, &live);
    let accident = live.digest();
    super::fault_waits::hold_commits(&server);
    let url = live.url();
    let args = ["apply", "case", "--live", &url, "--confirm", live.name(), "--jobs", "2"];
    let running = rescue.rowback().start(args);
    wait_until("two commits hang", Duration::from_secs(20), || reached(&rescue, "writing").len() == 2);
    let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    wait_until("both are at it", Duration::from_secs(20), || live.value(waiting) == "2");
    running.signal("KILL");
    assert_eq!(running.wait().code, None);
    let impatient = Limits { settle_within: Duration::from_millis(300), ..Limits::default() };
    let error = apply_on(&rescue, &live, impatient).await.unwrap_err();
    assert!(matches!(error, ApplyError::InDoubt { batch: 1, holder: Some(_), .. }), "{error:?}");
    super::fault_waits::release_commits(&server);
    let summary = apply_on(&rescue, &live, Limits::default()).await.unwrap();
    assert_eq!(summary.committed_before, 2, "the batches in doubt were committed");
    assert_eq!(reached(&rescue, "writing"), reached(&rescue, "committed"));
    backup.digest().assert_same(&live.digest(), "after the run that got through");
    let _undone = rescue.undo().expect_code(0);
    accident.assert_same(&live.digest(), "after undo");
}

#[test]
fn a_server_that_gives_no_further_connection_is_worked_on_over_one() {
    let backup = TestDb::with("beside", HOUSE);
    let live = backup.copy("beside_full");
    let rescue = planned(&backup, &live);
    let role = format!("clerk_{}", live.name());
    live.psql(&format!(
        "create role {role} login connection limit 1; grant select, insert, update on all tables in schema public to {role}"
    ));
    let url = live.url_as(&role);
    let args = ["apply", "case", "--live", &url, "--confirm", live.name(), "--jobs", "3"];
    let output = rescue.rowback().run(args).expect_code(0);
    let note = "live gives no further connection, so one connection did the work";
    assert!(
        output.stdout.contains(note) && output.stdout.contains("too many connections"),
        "{}",
        output.stdout
    );
    assert_eq!(most_pending(&rescue), 1);
    backup.digest().assert_same(&live.digest(), "over one connection");
    live.psql(&format!("drop owned by {role}; drop role {role}"));
}

#[test]
fn tables_with_triggers_are_written_one_batch_after_the_other() {
    let backup = TestDb::with("beside", HOUSE);
    let live = backup.copy("beside_triggers");
    let rescue = planned(&backup, &live);
    live.psql(
        "create table seen (id bigserial primary key, login int);
         create function see() returns trigger language plpgsql as $$ begin
            insert into seen (login) values (new.id); perform pg_sleep(0.002); return null; end $$;
         create trigger see after insert on logins for each row execute function see()",
    );
    let _done = apply_with(&rescue, &live, &["--jobs", "3"]).expect_code(0);
    let in_order = live.value("select bool_and(seen.id = login) from seen");
    assert_eq!((in_order.as_str(), live.value("select count(*) from seen").as_str()), ("t", "150"));
    let wanted = backup.digest().without(&["public.seen"]);
    wanted.assert_same(&live.digest().without(&["public.seen"]), "with triggers");
}
