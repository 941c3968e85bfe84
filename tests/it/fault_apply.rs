//! Apply and undo when things go wrong: killed, cut off, blocked, a crashed server, a full disk, a parent that vanished.
//! Whatever happens, the same command finishes the job, and the result is that of a run without faults.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::hand_made_case::{ACCIDENT, SHOP};
use super::support::{Digest, Output, Rescue, Running, Server, TestDb, wait_until};

const RECIPE: &str = "[[recover]]\ntable = \"public.customers\"\nwhere = \"id <= 30\"\n\n\
    [[recover]]\ntable = \"public.team\"\nwhere = \"id <= 4\"\n";

/// A recovery of many small batches, up to its plan.
pub fn planned<'db>(backup: &TestDb<'_>, live: &'db TestDb<'db>) -> Rescue<'db> {
    let rescue = Rescue::new(live, &backup.dump(&["-Fc"]));
    live.psql(ACCIDENT);
    let recipe = rescue.directory().write("recipe.toml", RECIPE).display().to_string();
    let url = live.url();
    let dump = backup.dump(&["-Fc"]).display().to_string();
    let args = ["recover", &recipe, "--backup", &dump, "--live", &url, "--case", "case", "--batch-rows", "4"];
    let _plan = rescue.rowback().run(args).expect_code(0);
    rescue
}

fn start(rescue: &Rescue<'_>, live: &TestDb<'_>, command: &str) -> Running {
    rescue.rowback().start([command, "case", "--live", &live.url(), "--confirm", live.name()])
}

fn journal(rescue: &Rescue<'_>) -> String {
    std::fs::read_to_string(rescue.case().join("journal.jsonl")).unwrap_or_default()
}

/// Batches of which the journal says that they reached this state.
pub fn reached(rescue: &Rescue<'_>, state: &str) -> usize {
    journal(rescue).matches(&format!("\"state\":\"{state}\"")).count()
}

/// Runs the command again and again, killed later each time, until it gets through; how often it was killed.
fn kill_until_done(rescue: &Rescue<'_>, live: &TestDb<'_>, command: &str) -> u32 {
    for kills in 0..200u32 {
        let attempt = u64::from(kills);
        // No two rounds alike, and slowly growing, so that every run ends in the end.
        let delay = Duration::from_millis(25 + (attempt * 37) % 90 + attempt * 3);
        let mut running = start(rescue, live, command);
        let begun = Instant::now();
        while begun.elapsed() < delay && !running.ended() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if running.ended() {
            let _done = running.wait().expect_code(0);
            return kills;
        }
        running.signal("KILL");
        // It may have come to its end just before.
        match running.wait() {
            Output { code: None, .. } => {}
            ended => {
                let _done = ended.expect_code(0);
                return kills;
            }
        }
    }
    panic!("{command} never came to its end; journal:\n{}", journal(rescue));
}

#[test]
fn killed_at_any_moment_the_same_command_goes_on() {
    let backup = TestDb::with("kill", SHOP);
    let live = backup.copy("kill_live");
    let rescue = planned(&backup, &live);
    let accident = live.digest();
    let kills = kill_until_done(&rescue, &live, "apply");
    assert!(kills >= 3, "killed only {kills} times");
    backup.digest().assert_same(&live.digest(), "after apply");
    let batches = reached(&rescue, "committed");
    assert!(batches > 60, "{batches} batches, each committed once");

    let kills = kill_until_done(&rescue, &live, "undo");
    assert!(kills >= 3, "killed only {kills} times");
    accident.assert_same(&live.digest(), "after undo");
    let _again = start(&rescue, &live, "apply").wait().expect_code(0);
    backup.digest().assert_same(&live.digest(), "after the second apply");
}

/// Ends the sessions of rowback on this database.
fn cut(live: &TestDb<'_>) -> bool {
    let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
               where datname = current_database() and application_name like 'rowback%' and pid <> pg_backend_pid()";
    live.value(sql) != "0"
}

#[test]
fn a_cut_connection_is_said_and_the_same_command_goes_on() {
    let backup = TestDb::with("kill", SHOP);
    let live = backup.copy("cut_live");
    let rescue = planned(&backup, &live);
    slow_down(&live);
    let running = start(&rescue, &live, "apply");
    wait_until("some batches are committed", Duration::from_secs(20), || reached(&rescue, "committed") >= 3);
    wait_until("the session is there", Duration::from_secs(10), || cut(&live));
    let output = running.wait().expect_code(5);
    assert!(
        output.stderr.contains("error[apply-connection-lost]: the connection was lost; stopped at batch"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains(" are committed"), "{}", output.stderr);
    finish(&rescue, &live, &backup.digest());
}

/// Each customer, order and item takes a moment.
fn slow_down(live: &TestDb<'_>) {
    live.psql(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.03); return null; end $$;
         create trigger slow after insert on customers for each statement execute function slow();
         create trigger slow after insert on orders for each statement execute function slow();
         create trigger slow after insert on items for each statement execute function slow()",
    );
}

/// The same command again gets through, and live is the backup again.
fn finish(rescue: &Rescue<'_>, live: &TestDb<'_>, wanted: &Digest) {
    let _done = start(rescue, live, "apply").wait().expect_code(0);
    wanted.assert_same(&live.digest(), "after the run that got through");
}

#[test]
fn ctrl_c_stops_at_once_and_says_what_is_committed() {
    let backup = TestDb::with("kill", SHOP);
    let live = backup.copy("interrupt_live");
    let rescue = planned(&backup, &live);
    live.psql(
        "create function stuck() returns trigger language plpgsql as $$ begin
            if new.id = 21 then perform pg_sleep(600); end if; return null; end $$;
         create trigger stuck after insert on customers for each row execute function stuck()",
    );
    let running = start(&rescue, &live, "apply");
    wait_until("the sixth batch is stuck", Duration::from_secs(20), || reached(&rescue, "committed") >= 5);
    let begun = Instant::now();
    running.signal("INT");
    let output = running.wait().expect_code(5);
    assert!(begun.elapsed() < Duration::from_secs(10), "stopped after {:?}", begun.elapsed());
    assert!(output.stderr.contains("batches 1–5 are committed (stopped on request)"), "{}", output.stderr);
    live.psql("drop trigger stuck on customers");
    finish(&rescue, &live, &backup.digest());
}

#[test]
fn of_two_runs_at_once_one_is_refused() {
    let backup = TestDb::with("kill", SHOP);
    let live = backup.copy("twice_live");
    let rescue = planned(&backup, &live);
    slow_down(&live);
    let first = start(&rescue, &live, "apply");
    wait_until("the first run is at work", Duration::from_secs(20), || reached(&rescue, "committed") >= 1);
    let second = start(&rescue, &live, "apply").wait().expect_code(4);
    assert!(second.stderr.contains("error[case-busy]"), "{}", second.stderr);
    let _done = first.wait().expect_code(0);
    backup.digest().assert_same(&live.digest(), "after the first run");
}

#[test]
fn a_full_disk_stops_before_the_commit() {
    let backup = TestDb::with("kill", SHOP);
    let live = backup.copy("full_live");
    let rescue = planned(&backup, &live);
    let command =
        rescue.rowback().command(["apply", "case", "--live", &live.url(), "--confirm", live.name()]);
    // Files end at 1 KiB, in the middle of a line: the journal fails as on a full disk.
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]).arg(command.get_program());
    limited.args(command.get_args()).env_clear().current_dir(rescue.directory().path());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = limited.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("error[journal-unwritable]: stopped at batch"), "{stderr}");
    assert!(stderr.contains("cause: the journal cannot be written"), "{stderr}");
    assert_eq!(std::fs::metadata(rescue.case().join("journal.jsonl")).unwrap().len(), 1024, "torn");
    let written: u64 = live.value("select count(*) from customers where id <= 30").parse().unwrap();
    assert!(written < 30, "stopped in the middle");
    finish(&rescue, &live, &backup.digest());
}

#[test]
fn a_server_that_crashes_loses_nothing_that_is_said_to_be_committed() {
    let server = Server::start(&["restart_after_crash=on"]);
    let backup = TestDb::on(&server, "crash");
    backup.psql(SHOP);
    let live = TestDb::on(&server, "crash_live");
    live.psql(SHOP);
    let wanted = backup.digest();
    let rescue = planned(&backup, &live);
    slow_down(&live);
    let running = start(&rescue, &live, "apply");
    wait_until("some batches are committed", Duration::from_secs(20), || reached(&rescue, "committed") >= 4);
    // A backend that dies takes all the others with it, and the server recovers from its log.
    let mut bystander = server.program("psql", "postgres");
    bystander.args(["-Xqc", "select pg_sleep(600)"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut bystander = bystander.spawn().unwrap();
    let sleeping = "select pid from pg_stat_activity where query like 'select pg_sleep(600)%'";
    wait_until("the bystander is there", Duration::from_secs(20), || !live.value(sleeping).is_empty());
    let victim = live.value("select pid from pg_stat_activity where application_name = 'rowback' and datname = current_database() limit 1");
    let killed = Command::new("kill").args(["-KILL", &victim]).status().unwrap();
    assert!(killed.success());
    let output = running.wait();
    let committed = reached(&rescue, "committed");
    // Until then the server has not even noticed, and would let the next one in.
    bystander.wait().unwrap();
    wait_until("the server is back", Duration::from_secs(30), || {
        server
            .program("psql", "postgres")
            .args(["-XqAtc", "select 1"])
            .output()
            .is_ok_and(|it| it.status.success())
    });
    // Whoever loses the connection in a commit waits for the server to ask it, and goes on.
    let asked = output.code == Some(0) && output.stderr.contains("the connection was lost while committing");
    assert!(output.code == Some(5) || asked, "{}", output.stderr);
    assert!(committed >= 4);
    finish(&rescue, &live, &wanted);
}

#[test]
fn verify_finds_what_was_planted() {
    let backup = TestDb::with("kill", SHOP);
    let live = backup.copy("verify_live");
    let rescue = planned(&backup, &live);
    let accident = live.digest();
    let certificate = |output: &Output| -> serde_json::Value {
        assert!(output.stdout.contains("certificate.json"), "{}", output.stdout);
        serde_json::from_slice(&std::fs::read(rescue.case().join("certificate.json")).unwrap()).unwrap()
    };
    let nothing = rescue.verify().expect_code(1);
    assert!(nothing.stdout.contains("0 of 70 batches are applied."), "{}", nothing.stdout);
    let _applied = rescue.apply().expect_code(0);
    let clean = certificate(&rescue.verify().expect_code(0));
    assert_eq!(clean["mismatches"], serde_json::json!([]));
    let checks: Vec<(String, u64, u64)> = clean["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| {
            (
                table["table"].as_str().unwrap().to_owned(),
                table["planned"].as_u64().unwrap(),
                table["equal"].as_u64().unwrap(),
            )
        })
        .collect();
    let of = |table: &str, rows| (format!("public.{table}"), rows, rows);
    assert_eq!(
        checks,
        [of("customers", 30), of("person", 4), of("team", 4), of("orders", 60), of("items", 180)]
    );
    let keys: Vec<(&str, u64)> = clean["foreign_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| (key["name"].as_str().unwrap(), key["orphans"].as_u64().unwrap()))
        .collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert!(keys.iter().all(|(_, orphans)| *orphans == 0));

    live.psql(
        "update orders set note = 'planted' where id = 5; delete from items where order_id = 6 and line = 1;
         set session_replication_role = replica; delete from customers where id = 4;
         set session_replication_role = origin; select setval('team_id_seq', 2)",
    );
    let output = rescue.verify().expect_code(1);
    let planted = certificate(&output);
    let listed: Vec<String> = planted["mismatches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            format!("{} {} {}", row["table"].as_str().unwrap(), row["key"], row["problem"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        listed,
        [
            "public.customers {\"id\":\"4\"} missing",
            "public.orders {\"id\":\"5\"} differs",
            "public.orders {\"id\":\"7\"} orphan",
            "public.orders {\"id\":\"8\"} orphan",
            "public.items {\"line\":\"1\",\"order_id\":\"6\"} missing"
        ]
    );
    assert!(
        output.stdout.contains("public.team_id_seq could hand out 4 or a lower number again"),
        "{}",
        output.stdout
    );

    live.psql(
        "insert into customers select id, email, tags, updated_at from (values (4, 'c4@shop', array['a b', null, '4'], '2026-01-01 12:00+02'::timestamptz)) v(id, email, tags, updated_at);
         update orders set note = (select note from orders where id = 7) where id = 5;
         insert into items values (6, 1, '{\"b\":1,  \"a\":2}')",
    );
    let undone = rescue.undo().expect_code(1);
    assert!(undone.stdout.contains("public.customers (id = 4): written again since"), "{undone:?}");
    rescue.undo_by_hand();
    accident.assert_same(&live.digest(), "after undo");
    let output = rescue.verify().expect_code(0);
    assert!(output.stdout.contains("Verified: the recovery is taken back."), "{}", output.stdout);
    live.psql("insert into customers values (4, 'x', null, null)");
    let back = certificate(&rescue.verify().expect_code(1));
    assert_eq!(back["mismatches"][0]["problem"], "still_there");
}
