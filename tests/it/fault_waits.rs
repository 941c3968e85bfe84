//! Apply while others hold locks, commits wait and parents vanish: what is waited for, who is named, and how a commit in doubt
//! is settled.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rowback::apply::{self, ApplyError, ApplyOptions, JournalPlace, Limits, Mode};
use rowback::cancel::CancelToken;
use rowback::pg::Backoff;
use rowback::progress::Silent;

use super::fault_apply::{planned, reached};
use super::hand_made_case::{HandMadeCase, SHOP, settings};
use super::support::{Server, TestDb, wait_until};

/// Someone who holds a lock until dropped.
pub struct Holder {
    psql: Child,
    server: &'static Server,
    pid: String,
}

impl Holder {
    pub fn start(live: &TestDb<'static>, sql: &str) -> Self {
        let server = live.server();
        let mut psql = server.program("psql", live.name());
        psql.env("PGAPPNAME", "nightly-report")
            .args(["-Xqc", &format!("begin; {sql}; select pg_sleep(600)")]);
        let psql = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let sleeping = "select pid from pg_stat_activity where application_name = 'nightly-report' \
                        and datname = current_database() and wait_event = 'PgSleep'";
        wait_until("the lock is held", Duration::from_secs(10), || !live.value(sleeping).is_empty());
        Self { psql, server, pid: live.value(sleeping) }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ended = self.server.psql("postgres", &format!("select pg_terminate_backend({})", self.pid));
        self.psql.wait().unwrap();
    }
}

fn patience(options: &mut ApplyOptions) {
    options.limits.lock_timeout = Duration::from_millis(400);
    let pause = Duration::from_millis(10);
    options.limits.backoff = Backoff { attempts: 2, first_pause: pause, longest_pause: pause };
}

#[tokio::test]
async fn who_holds_the_lock_is_said() {
    use rowback::error::Explain;
    let case = HandMadeCase::shop("locked", "", 1000).await;
    let holder = Holder::start(&case.live, "lock table orders in share mode");
    let pid = holder.pid.clone();
    let error = case.apply_with(patience).await.unwrap_err();
    assert_eq!(error.to_string(), "stopped at batch 2 of 5; batch 1 is committed");
    assert_eq!(
        error.causes()[0],
        format!(
            "no lock on \"public.orders\" within 400 ms, 2 attempts (SQLSTATE 55P03); held by pid {pid}, application \
             \"nightly-report\" (active)"
        )
    );
    drop(holder);
    let summary = case.apply_with(patience).await.unwrap();
    assert_eq!((summary.committed_before, summary.committed_now), (1, 4));
    case.backup.digest().assert_same(&case.live.digest(), "after the lock was gone");
}

#[tokio::test]
async fn a_lock_that_goes_in_time_is_waited_for() {
    let case = HandMadeCase::shop("waiting", "", 1000).await;
    let holder = Holder::start(&case.live, "lock table orders in share mode");
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        drop(holder);
    });
    let pause = Duration::from_millis(100);
    let applied = case.apply_with(|options| {
        options.limits.lock_timeout = Duration::from_millis(100);
        options.limits.backoff = Backoff { attempts: 100, first_pause: pause, longest_pause: pause };
    });
    assert_eq!(applied.await.unwrap().inserted, 278);
    release.join().unwrap();
}

#[tokio::test]
async fn rows_whose_parent_vanished_are_left_out_and_named() {
    let case = HandMadeCase::shop("vanished", "", 1000).await;
    // Between the first and the second batch somebody deletes a customer that is already back.
    let trigger = "create function vanish() returns trigger language plpgsql as $$ begin
            delete from customers where id = 3; return null; end $$;
        create trigger vanish after insert on customers for each statement execute function vanish()";
    case.live.psql(trigger);
    let summary = case.apply().await.unwrap();
    let left: Vec<String> =
        summary.leftovers.iter().map(|row| format!("{} {}: {:?}", row.table, row.key, row.outcome)).collect();
    let mut wanted = vec!["public.customers id = 3: Swallowed".to_owned()];
    wanted.extend([5, 6].map(|id| format!("public.orders id = {id}: Refused")));
    for line in 1..=3 {
        wanted.extend([5, 6].map(|id| format!("public.items line = {line}, order_id = {id}: Refused")));
    }
    assert_eq!(left, wanted);
    assert_eq!(summary.inserted, 270);
    let because = "live refused it: insert or update on table \"orders\" violates foreign key constraint \
                   \"orders_customer_id_fkey\"";
    assert_eq!(summary.leftovers[1].reason(), because);
}

#[tokio::test]
async fn a_trigger_that_refuses_every_row_stops_the_batch() {
    use rowback::error::Explain;
    let before = "create function frozen() returns trigger language plpgsql as $$ begin raise exception 'frozen'; end $$;
        create trigger frozen before insert on orders for each row execute function frozen()";
    let case = HandMadeCase::shop("frozen", before, 1000).await;
    let error = case.apply().await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("batch-failed", "stopped at batch 2 of 5; batch 1 is committed")
    );
    let causes = error.causes().join("\n");
    assert!(
        causes.contains("writing \"public.orders\"") && causes.contains("frozen (SQLSTATE P0001)"),
        "{causes}"
    );
    case.live.psql("drop trigger frozen on orders");
    let summary = case.apply().await.unwrap();
    assert_eq!((summary.committed_before, summary.committed_now, summary.complete()), (1, 4, true));
    case.backup.digest().assert_same(&case.live.digest(), "after the second run");
}

/// Commits wait for a standby that does not exist until `released`.
pub fn hold_commits(server: &Server) {
    server.psql("postgres", "alter system set synchronous_standby_names = 'nobody'");
    server.psql("postgres", "select pg_reload_conf()");
    wait_until("commits are held", Duration::from_secs(10), || {
        server.psql("postgres", "show synchronous_standby_names").trim() == "nobody"
    });
}

pub fn release_commits(server: &Server) {
    server.psql("postgres", "alter system reset synchronous_standby_names");
    server.psql("postgres", "select pg_reload_conf()");
}

async fn apply_on(
    case: &std::path::Path,
    live: &TestDb<'_>,
    settle: Duration,
) -> Result<apply::ApplySummary, ApplyError> {
    let limits = Limits { settle_within: settle, ..Limits::default() };
    let options = ApplyOptions {
        confirm: live.name().to_owned(),
        mode: Mode::Real,
        limits,
        jobs: 1,
        journal: JournalPlace::Case,
    };
    apply::run(case, &settings(live), &options, Arc::new(Silent), CancelToken::default()).await
}

#[tokio::test]
async fn a_commit_in_doubt_is_asked_of_the_server() {
    use rowback::error::Explain;
    let server = Server::start(&[]);
    let backup = TestDb::on(&server, "doubt");
    backup.psql(SHOP);
    let live = TestDb::on(&server, "doubt_live");
    live.psql(SHOP);
    let rescue = planned(&backup, &live);
    let case = rescue.case();
    hold_commits(&server);
    let run = apply_on(&case, &live, Duration::from_secs(30));
    // The run dies while its commit hangs: the server has it, nobody was told.
    assert!(tokio::time::timeout(Duration::from_secs(2), run).await.is_err(), "the commit hangs");
    assert_eq!((reached(&rescue, "writing"), reached(&rescue, "committed")), (1, 0));

    let error = apply_on(&case, &live, Duration::from_millis(300)).await.unwrap_err();
    let ApplyError::InDoubt { batch: 1, holder: Some(holder), .. } = &error else { panic!("{error:?}") };
    assert!(error.hint().contains(&format!("pg_terminate_backend({})", holder.pid)), "{}", error.hint());
    release_commits(&server);

    let summary = apply_on(&case, &live, Duration::from_secs(30)).await.unwrap();
    assert_eq!(summary.committed_before, 1, "the batch in doubt was committed");
    assert_eq!(reached(&rescue, "writing"), reached(&rescue, "committed"));
    backup.digest().assert_same(&live.digest(), "after the run that got through");
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_of_a_commit_is_settled_by_the_same_run() {
    let server = Arc::new(Server::start(&[]));
    let backup = TestDb::on(&server, "settle");
    backup.psql(SHOP);
    let live = TestDb::on(&server, "settle_live");
    live.psql(SHOP);
    let rescue = planned(&backup, &live);
    let case = rescue.case();
    hold_commits(&server);
    let other = {
        let server = Arc::clone(&server);
        let sql =
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep'";
        std::thread::spawn(move || {
            wait_until("a commit hangs", Duration::from_secs(20), || {
                server.psql("postgres", sql).trim() == "1"
            });
            release_commits(&server);
        })
    };
    let summary = apply_on(&case, &live, Duration::from_secs(30)).await;
    other.join().unwrap();
    let summary = summary.unwrap();
    assert_eq!((summary.committed_before, summary.committed_now), (0, summary.batches));
    backup.digest().assert_same(&live.digest(), "after the run");
}
