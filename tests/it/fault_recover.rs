//! `recover` that is stopped, killed, starved of disk, or run twice at once: it ends clean, live is untouched, nobody else
//! can read what it writes, and the same command then does the whole work.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::support::{Output, Rescue, TestDb, server, wait_until};

const SHOP: &str = "
    create table customers (id int primary key, name text);
    create table orders (id int primary key, customer_id int not null references customers on delete cascade, note text);
    insert into customers select g, 'customer ' || g from generate_series(1, 10) g;
    insert into orders select g, 1 + g % 10, (select string_agg(md5(g::text || n), '') from generate_series(1, 20) n)
        from generate_series(1, 4000) g;";

const RECIPE: &str = "[[recover]]\ntable = \"public.customers\"\nwhere = \"id > 4\"\n";
/// It stops where the predicate is evaluated.
const SLOW: &str =
    "[[recover]]\ntable = \"public.customers\"\nwhere = \"id > 4 and pg_sleep(600) is not null\"\n";

const LIMIT: Duration = Duration::from_secs(120);

/// A shop after its accident, and its backup.
fn accident() -> (TestDb<'static>, PathBuf) {
    let live = TestDb::with("fault", SHOP);
    let backup = live.dump(&["-Fc"]);
    live.psql("delete from customers where id > 4");
    (live, backup)
}

/// What lies in the directory for scratch clusters.
fn scratches(rescue: &Rescue) -> Vec<String> {
    let entries = fs::read_dir(rescue.directory().join("tmp")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Where parts of a scratch of this name may be: its catalogs are in memory if there is room.
fn places(rescue: &Rescue, name: &str) -> [PathBuf; 2] {
    [rescue.directory().join("tmp").join(name), Path::new("/dev/shm").join(name)]
}

/// Does a scratch server take connections? Its pid file says so in its eighth line.
fn scratch_is_up(rescue: &Rescue) -> bool {
    scratches(rescue).iter().flat_map(|name| places(rescue, name)).any(|place| {
        fs::read_to_string(place.join("cluster/postmaster.pid"))
            .is_ok_and(|text| text.lines().nth(7).is_some_and(|line| line.trim() == "ready"))
    })
}

/// Is somebody's query text running on the test server?
fn runs_on_server(text: &str) -> bool {
    let sql = format!(
        "select count(*) from pg_stat_activity where query ~ '{text}' and query !~ 'pg_stat_activity' and state = 'active'"
    );
    server().psql("postgres", &sql).trim() != "0"
}

/// A run that leads a process group of its own, as a shell's jobs do.
struct Job(Option<Child>);

impl Job {
    fn start(command: &mut Command) -> Self {
        let command =
            command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(command.spawn().unwrap()))
    }

    /// As the terminal does on Ctrl-C: to every process of the group.
    fn signal(&self, name: &str) {
        let group = format!("-{}", self.0.as_ref().unwrap().id());
        super::support::run(Command::new("kill").args([&format!("-{name}"), "--", &group]));
    }

    fn ended(&mut self) -> bool {
        self.0.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    fn wait(mut self) -> Output {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        Output {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
    }
}

impl Drop for Job {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

/// The run does its work after all: the same command, to the end.
fn goes_through(rescue: &Rescue, live: &TestDb, whole: &super::support::Digest) {
    let _planned = rescue.recover_with(RECIPE, &["--quiet"]).expect_code(0);
    assert_eq!(scratches(rescue), Vec::<String>::new());
    let _applied = rescue.apply().expect_code(0);
    whole.assert_same(&live.digest(), "everything is back");
}

/// When a signal is sent: in words, and how it is known.
type Moment = (&'static str, fn(&Rescue) -> bool);

#[test]
fn ctrl_c_ends_it_clean_at_any_moment() {
    let (live, backup) = accident();
    let before = live.digest();
    let whole = TestDb::with("fault", SHOP).digest();
    let rescue = Rescue::new(&live, &backup);
    let moments: [Moment; 3] = [
        ("scratch is being made", |rescue| !scratches(rescue).is_empty()),
        ("scratch runs", scratch_is_up),
        ("the backup is loaded or the predicate runs", |rescue| {
            scratch_is_up(rescue) && rescue.case().join("staging").exists() && {
                std::thread::sleep(Duration::from_secs(2));
                true
            }
        }),
    ];
    for (what, reached) in moments {
        for signal in ["INT", "TERM"] {
            let job = Job::start(&mut rescue.rowback().command(rescue.recover_args(SLOW, &["--json"])));
            wait_until(what, LIMIT, || reached(&rescue));
            let made = scratches(&rescue);
            job.signal(signal);
            let output = job.wait();
            let output = output.expect_code(5);
            assert_eq!(scratches(&rescue), Vec::<String>::new(), "{what}: scratch is gone");
            let left = made.iter().flat_map(|name| places(&rescue, name)).find(|place| place.exists());
            assert_eq!(left, None, "{what}: scratch is gone");
            let hint = output.json()["error"]["hint"].as_str().unwrap().to_owned();
            assert!(hint.contains("Run the same command again"), "{what}: {}", output.stderr);
            assert!(
                !rescue.case().join("staging/manifest.json").exists(),
                "{what}: staging does not look whole"
            );
        }
    }
    before.assert_same(&live.digest(), "live is as it was");
    goes_through(&rescue, &live, &whole);
}

#[test]
fn ctrl_c_ends_it_clean_on_somebodys_server() {
    let (live, backup) = accident();
    let databases = || {
        server().psql("postgres", "select datname from pg_database where datname like 'rowback%' union all select rolname from pg_roles where rolname like 'rowback%'")
    };
    let rescue = Rescue::new(&live, &backup);
    let slow = SLOW.replace("600", "601");
    let args = rescue.recover_args(&slow, &["--quiet", "--scratch", &server().url("postgres")]);
    let job = Job::start(&mut rescue.rowback().command(args));
    wait_until("the predicate runs", LIMIT, || runs_on_server("pg_sleep.601."));
    let made = databases();
    job.signal("INT");
    let output = job.wait().expect_code(5);
    insta::assert_snapshot!(output.stderr, @r#"
        error[cancelled]: stopped on request while loading scratch
          hint: Run the same command again. Scratch was removed; live was not changed.
        "#);
    for name in made.lines() {
        assert!(!databases().lines().any(|left| left == name) || made_by_others(name), "{name} is gone");
    }
    wait_until("the server has stopped the query", LIMIT, || !runs_on_server("pg_sleep.601."));
}

#[test]
fn ctrl_c_ends_waiting_for_live() {
    let (live, backup) = accident();
    let rescue = Rescue::new(&live, &backup);
    // A server that takes the connection and never answers.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("postgresql://me@127.0.0.1:{}/shop", silent.local_addr().unwrap().port());
    let job =
        Job::start(&mut rescue.rowback().command(rescue.recover_args(RECIPE, &["--quiet", "--live", &url])));
    let _connection = silent.accept().unwrap();
    job.signal("INT");
    let output = job.wait().expect_code(5);
    assert!(
        output.stderr.starts_with("error[stopped-on-request]: stopped on request while connecting to "),
        "{}",
        output.stderr
    );

    // A table that somebody has locked.
    let blocker = format!(
        "begin; lock table orders; select set_config('application_name', 'blocker {}', false); select pg_sleep(300)",
        live.name()
    );
    let mut holder = server().program("psql", live.name());
    let holder = Job::start(holder.args(["-Xqc", &blocker]));
    let blocks = || runs_on_server("pg_sleep.300.");
    wait_until("the table is locked", LIMIT, blocks);
    let job = Job::start(&mut rescue.rowback().command(rescue.recover_args(RECIPE, &["--quiet"])));
    let waiting = || {
        let sql = format!(
            "select count(*) from pg_stat_activity where datname = '{}' and wait_event_type = 'Lock'",
            live.name()
        );
        server().psql("postgres", &sql).trim().to_owned()
    };
    wait_until("the diff waits for the lock", LIMIT, || waiting() == "1");
    job.signal("INT");
    insta::assert_snapshot!(job.wait().expect_code(5).stderr, @r#"
        error[cancelled]: stopped on request while reading live
          hint: Run the same command again. Live was only read; nothing was changed.
        "#);
    wait_until("nobody waits any more", LIMIT, || waiting() == "0");
    drop(holder);
}

/// Other tests use scratch databases of this server at the same time; one with a session of its own is theirs.
fn made_by_others(name: &str) -> bool {
    let sql = format!("select count(*) from pg_stat_activity where datname = '{name}' or usename = '{name}'");
    server().psql("postgres", &sql).trim() != "0"
}

#[test]
fn after_kill_9_the_next_run_sweeps_and_goes_through() {
    let (live, backup) = accident();
    let before = live.digest();
    let whole = TestDb::with("fault", SHOP).digest();
    let rescue = Rescue::new(&live, &backup);
    // A whole case first: what the killed run leaves must not look like it.
    let _planned = rescue.recover_with(RECIPE, &["--quiet"]).expect_code(0);
    fs::remove_file(rescue.case().join("plan.json")).unwrap();
    let job = Job::start(&mut rescue.rowback().command(rescue.recover_args(SLOW, &["--quiet"])));
    wait_until("scratch runs", LIMIT, || scratch_is_up(&rescue));
    let made = scratches(&rescue);
    job.signal("KILL");
    assert_eq!(job.wait().code, None);
    assert!(!rescue.case().join("staging/manifest.json").exists(), "staging does not look whole");
    for command in ["diff", "plan"] {
        let refused = rescue.rowback().run([command, "case", "--quiet"]).expect_code(3);
        assert!(refused.stderr.starts_with("error[stage-missing]: "), "{command}: {}", refused.stderr);
    }
    before.assert_same(&live.digest(), "live is as it was");
    goes_through(&rescue, &live, &whole);
    assert_eq!(made.iter().flat_map(|name| places(&rescue, name)).find(|place| place.exists()), None);
}

#[test]
fn two_runs_on_one_case_exclude_each_other() {
    let (live, backup) = accident();
    let rescue = Rescue::new(&live, &backup);
    let first = Job::start(&mut rescue.rowback().command(rescue.recover_args(SLOW, &["--quiet"])));
    wait_until("the first run has the case", LIMIT, || rescue.case().join("staging").exists());
    let second = rescue.recover_with(SLOW, &["--quiet"]).expect_code(4);
    insta::assert_snapshot!(second.stderr, @r#"
        error[case-busy]: another run of rowback is at work on "case"
          hint: Wait until that run has ended, then run the same command again. Nothing was changed by this run.
        "#);
    let live_url = live.url();
    for args in [
        &["diff", "case", "--live", &live_url][..],
        &["plan", "case"],
        &["extract", "recipe.toml", "--backup", backup.to_str().unwrap(), "--live", &live_url],
    ] {
        let refused = rescue.rowback().run(args).expect_code(4);
        assert!(refused.stderr.contains("error[case-busy]: "), "{args:?}: {}", refused.stderr);
    }
    first.signal("INT");
    let _stopped = first.wait().expect_code(5);
    let _planned = rescue.recover_with(RECIPE, &["--quiet"]).expect_code(0);
    // With a plan, everything is kept off while another run holds the case.
    let lock = rowback::apply::CaseLock::take(&rescue.case()).unwrap();
    let before = live.digest();
    for output in [rescue.recover_with(RECIPE, &[]), rescue.apply(), rescue.verify(), rescue.undo()] {
        let refused = output.expect_code(4);
        assert!(refused.stderr.contains("error[case-busy]: "), "{}", refused.stderr);
    }
    before.assert_same(&live.digest(), "nothing was applied");
    drop(lock);
    let _applied = rescue.apply().expect_code(0);
}

/// Runs the command within a shell script that has a file system of its own mounted, and expects exit code 5.
fn on_a_small_disk(rescue: &Rescue<'_>, script: &str, args: Vec<String>) -> super::support::Output {
    let command = rescue.rowback().command(args);
    let unshare: &[&str] = if rustix::process::geteuid().is_root() { &["-m"] } else { &["-rm"] };
    let mut wrapped = Command::new("unshare");
    wrapped
        .args(unshare)
        .args(["sh", "-c", script, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    wrapped.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Job::start(wrapped.current_dir(rescue.directory().path())).wait().expect_code(5)
}

#[test]
fn a_full_disk_stops_it_without_half_a_file() {
    let (live, backup) = accident();
    let rescue = Rescue::new(&live, &backup);
    fs::create_dir(rescue.directory().join("disk")).unwrap();
    // Too small for the orders; what is left on it is listed before it goes.
    let script =
        "mount -t tmpfs -o size=256k none disk && \"$@\"; code=$?; cd disk; find . | sort; exit $code";
    let run = |more: &[&str]| {
        let usual = ["--quiet", "--case", "disk/case", "--scratch", &server().url("postgres")];
        on_a_small_disk(&rescue, script, rescue.recover_args(RECIPE, &[&usual, more].concat()))
    };
    let output = run(&[]);
    insta::assert_snapshot!(output.stderr, @r#"
        error[staging-disk-full]: no space left for disk/case/staging/public.orders.parquet after 2400 rows
          cause: No space left on device (os error 28)
          hint: Free some space and run the same command again. The unfinished file was removed; live was not touched.
        "#);
    insta::assert_snapshot!(output.stdout, @r#"
        .
        ./case
        ./case/lock
        ./case/recipe.toml
        ./case/staging
        ./case/staging/public.customers.parquet
        "#);
    assert!(run(&["--staging", "csv"]).stderr.starts_with("error[staging-disk-full]: "));
}

/// The throw-away server has its data below TMPDIR.
#[test]
fn a_full_disk_of_scratch_is_named() {
    let database = TestDb::with(
        "bulk",
        "create table bulk (id int primary key, filling text); insert into bulk select g, repeat(md5(g::text), 16) from generate_series(1, 150000) as g",
    );
    let backup = database.dump(&["-Fc"]);
    let rescue = Rescue::new(&database, &backup);
    fs::create_dir(rescue.directory().join("disk")).unwrap();
    let script = "mount -t tmpfs -o size=64m,mode=777 none disk && TMPDIR=$PWD/disk \"$@\"";
    let recipe = "[[recover]]\ntable = \"bulk\"\nwhere = \"length(filling) > 1\"\n";
    let output = on_a_small_disk(&rescue, script, rescue.recover_args(recipe, &["--quiet"]));
    assert!(output.stderr.starts_with("error[server-disk-full]: "), "{}", output.stderr);
    assert!(output.stderr.contains("Scratch has its own, below `TMPDIR`"), "{}", output.stderr);
}

/// The files beside the rows (batches, here) say it as those with rows do.
#[test]
fn a_full_disk_stops_the_plan_in_the_same_way() {
    let (live, backup) = accident();
    let rescue = Rescue::new(&live, &backup);
    let _planned = rescue.recover_with(RECIPE, &["--quiet"]).expect_code(0);
    fs::create_dir(rescue.directory().join("disk")).unwrap();
    let script = "mount -t tmpfs -o size=8m none disk && cp -r case disk/ && (cd disk/case && rm -r batches undo plan.json) && \
                  { head -c 16000000 /dev/zero > disk/rest 2> /dev/null; \"$@\"; }";
    let output = on_a_small_disk(&rescue, script, vec!["plan".to_owned(), "disk/case".to_owned()]);
    insta::assert_snapshot!(output.stderr, @r#"
    error[case-disk-full]: no space left for "disk/case/batches/0001-public.customers-insert.sql"
      cause: No space left on device (os error 28)
      hint: Free some space and run the same command again. The unfinished file was removed. Live was not changed.
    "#);
}

/// Every file and directory of a case with its permissions.
fn modes(directory: &Path, found: &mut BTreeMap<String, u32>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut note = |path: &Path| {
        // A temporary file may be gone by now.
        let Ok(metadata) = fs::symlink_metadata(path) else { return false };
        found.insert(path.display().to_string(), metadata.permissions().mode() & 0o777);
        metadata.is_dir()
    };
    note(directory);
    let below: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| note(path)).collect();
    for path in below {
        modes(&path, found);
    }
}

#[test]
fn nobody_else_can_read_a_case_from_its_first_byte() {
    let (live, backup) = accident();
    let rescue = Rescue::new(&live, &backup);
    let mut seen = BTreeMap::new();
    let steps = [
        rescue.recover_args(RECIPE, &["--quiet", "--batch-rows", "50"]),
        ["apply", "case", "--live", &live.url(), "--confirm", live.name()].map(str::to_owned).to_vec(),
        ["verify", "case", "--live", &live.url()].map(str::to_owned).to_vec(),
        ["undo", "case", "--live", &live.url(), "--confirm", live.name()].map(str::to_owned).to_vec(),
    ];
    for args in steps {
        // A user whose files are open to all by default.
        let command = rescue.rowback().command(&args);
        let mut open = Command::new("sh");
        open.args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
        open.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut job = Job::start(open.current_dir(rescue.directory().path()));
        while !job.ended() {
            modes(&rescue.case(), &mut seen);
        }
        let _done = job.wait().expect_code(0);
        modes(&rescue.case(), &mut seen);
    }
    assert!(seen.keys().any(|path| path.ends_with(".partial")), "temporary files were seen, too");
    for name in [
        "recipe.toml",
        "staging/public.orders.parquet",
        "plan.json",
        "journal.jsonl",
        "certificate.json",
        "lock",
    ] {
        assert!(seen.contains_key(&rescue.case().join(name).display().to_string()), "{name} was seen");
    }
    let wrong: Vec<_> = seen
        .iter()
        .filter(|(path, mode)| **mode != if is_directory(&rescue, path) { 0o700 } else { 0o600 })
        .map(|(path, mode)| format!("{mode:o} {path}"))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

fn is_directory(rescue: &Rescue, path: &str) -> bool {
    let directories = ["", "/staging", "/diff", "/batches", "/undo", "/verify"];
    directories.iter().any(|name| path == format!("{}{name}", rescue.case().display()))
}

#[test]
fn an_extract_then_diff_then_plan_is_a_recover() {
    let (live, backup) = accident();
    let whole = TestDb::with("fault", SHOP).digest();
    let rescue = Rescue::new(&live, &backup);
    let _planned = rescue.recover_with(RECIPE, &["--case", "at-once"]).expect_code(0);
    let [backup, url] = [backup.display().to_string(), live.url()];
    let run = |args: &[&str]| rescue.rowback().run(args).expect_code(0);
    let extracted =
        run(&["extract", "recipe.toml", "--backup", &backup, "--live", &url, "--json", "--time-limit", "60"])
            .json();
    assert_eq!(extracted["command"], "extract");
    assert_eq!(run(&["diff", "case", "--json"]).json()["command"], "diff");
    assert_eq!(run(&["plan", "case", "--json"]).json()["command"], "plan");
    let plan = |case: &str| fs::read(rescue.directory().join(case).join("plan.json")).unwrap();
    assert!(plan("case") == plan("at-once"), "the stages alone make the same plan");
    let _applied = rescue.apply().expect_code(0);
    whole.assert_same(&live.digest(), "everything is back");
}
