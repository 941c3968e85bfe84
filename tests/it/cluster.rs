//! The private cluster: nobody else gets in, what runs in it cannot get out, and it is gone whatever way a run ends.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rowback::env::Env;
use rowback::error::Explain;
use rowback::pg::{PgError, ScratchSession, SessionOptions};
use rowback::scratch::ScratchError;
use rowback::scratch::cluster::{Cluster, ClusterOptions};
use rowback::scratch::programs::Programs;
use rowback::scratch::sweep::sweep;

use super::support::{TempDir, wait_until};

/// A directory for a cluster that every account may enter, but that only this test uses.
fn options(parent: &TempDir) -> ClusterOptions {
    ClusterOptions {
        root_dir: Some(parent.path().to_owned()),
        shared_buffers_mb: 16,
        ..ClusterOptions::from_env(&Env::default())
    }
}

fn programs() -> Programs {
    Programs::find(None, 13, &Env::read())
        .unwrap_or_else(|error| panic!("{error}: {}; run `make test`", error.hint()))
}

async fn scratch(cluster: &Cluster, dbname: &str) -> ScratchSession {
    ScratchSession::connect(&cluster.settings(dbname), &SessionOptions::named("test")).await.unwrap()
}

fn is_alive(pid: u32) -> bool {
    // A zombie that nobody waits for counts as ended.
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The process number of the shell that watches over a directory.
fn watchdog_of(directory: &Path) -> Option<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.contains(&b"rowback-watchdog".as_slice())
            && words.contains(&directory.as_os_str().as_encoded_bytes())
            && is_alive(*pid)
    })
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn it_is_private_while_it_runs_and_gone_afterwards() {
    let parent = TempDir::new("cluster");
    let cluster = Cluster::start(&programs(), &options(&parent)).await.unwrap();
    let directory = cluster.directory().to_owned();
    let metadata = std::fs::metadata(&directory).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(format!("/proc/{}", cluster.pid())).unwrap().uid(), metadata.uid());
    assert_ne!(metadata.uid(), 0, "PostgreSQL refuses to run as root");
    cluster.create_database("Shop \"odd\"", "LATIN1", &[]).await.unwrap();
    let session = scratch(&cluster, "Shop \"odd\"").await;
    let sql = "select current_user, current_database(), current_setting('server_encoding'),
        (select nspowner::regrole::text from pg_namespace where nspname = 'public'),
        current_setting('listen_addresses'), current_setting('fsync')";
    let facts = session.text_rows("asking", sql).await.unwrap();
    let expected = ["rowback_scratch", "Shop \"odd\"", "LATIN1", "rowback_scratch", "", "off"];
    assert_eq!(facts, [expected.map(|text| Some(text.to_owned())).to_vec()]);

    let (pid, watchdog) = (cluster.pid(), watchdog_of(&directory).expect("no watchdog"));
    assert!(is_alive(pid));
    drop(cluster);
    assert!(!directory.exists() && !is_alive(pid) && !is_alive(watchdog));
    assert_eq!(entries(parent.path()), Vec::<PathBuf>::new());
    let lost = session.text_rows("asking again", "select 1").await.unwrap_err();
    assert!(matches!(lost, PgError::Lost { .. }), "{lost:?}");
}

#[tokio::test]
async fn what_a_backup_may_contain_cannot_get_out() {
    let parent = TempDir::new("cluster");
    let cluster = Cluster::start(&programs(), &options(&parent)).await.unwrap();
    cluster.create_database("shop", "UTF8", &[]).await.unwrap();
    let session = scratch(&cluster, "shop").await;
    session.execute("working", "create table public.t (a text); create schema s").await.unwrap();
    let file = parent.write("secret", "secret");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = file.display();
    for attempt in [
        "copy public.t from program 'id'".to_owned(),
        "copy public.t to program 'cat'".to_owned(),
        format!("copy public.t from '{file}'"),
        format!("copy public.t to '{file}.out'"),
        format!("select pg_read_file('{file}')"),
        "select pg_ls_dir('/')".to_owned(),
        format!("select lo_import('{file}')"),
        "alter role rowback_scratch superuser".to_owned(),
        "alter role postgres password 'x'".to_owned(),
        "create role other".to_owned(),
        "create database other".to_owned(),
        "set role postgres".to_owned(),
        "set session authorization postgres".to_owned(),
        "grant pg_execute_server_program to rowback_scratch".to_owned(),
        "alter system set archive_command = 'id'".to_owned(),
        "create function public.f() returns int language c as '$libdir/plpgsql', 'x'".to_owned(),
        "create event trigger e on ddl_command_start execute function nothing()".to_owned(),
        "create subscription s connection 'host=x' publication p with (connect = false)".to_owned(),
        "create tablespace x location '/tmp'".to_owned(),
        "set session_preload_libraries = 'x'".to_owned(),
        "load '/tmp/x.so'".to_owned(),
    ] {
        let error = session.execute("trying to get out", &attempt).await.expect_err(&attempt);
        assert_eq!(error.sqlstate(), Some("42501"), "{attempt}: {:?}", error.causes());
    }
    let elsewhere =
        ScratchSession::connect(&cluster.settings("postgres"), &SessionOptions::named("test")).await;
    assert_eq!(elsewhere.err().unwrap().sqlstate(), Some("42501"), "no way into other databases");
    // The socket alone lets nobody in, not even the server's own account.
    for settings in [cluster.settings("shop"), cluster.superuser_settings("shop")] {
        let refused =
            ScratchSession::connect(&settings.with_password("wrong"), &SessionOptions::named("test")).await;
        assert_eq!(refused.err().unwrap().code(), "wrong-password");
    }
    // The twin: to a superuser the same statements are open, so it is the role that keeps them shut.
    let superuser = cluster.superuser_settings("shop");
    let superuser = ScratchSession::connect(&superuser, &SessionOptions::named("test")).await.unwrap();
    let read = superuser.text_rows("reading", &format!("select pg_read_file('{file}')")).await.unwrap();
    assert_eq!(read, [vec![Some("secret".to_owned())]]);
    superuser.execute("running", "copy public.t from program 'echo 1'").await.unwrap();
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket() {
    let parent = TempDir::new("cluster");
    let long = parent.join("x".repeat(100));
    std::fs::create_dir(&long).unwrap();
    let options = ClusterOptions { root_dir: Some(long.clone()), ..options(&parent) };
    let cluster = Cluster::start(&programs(), &options).await.unwrap();
    assert!(cluster.directory().starts_with(&long));
    let socket = PathBuf::from(cluster.settings("postgres").host());
    assert!(socket.starts_with("/tmp") && socket.exists());
    cluster.stop().await.unwrap();
    assert!(!socket.exists());
    assert_eq!(entries(&long), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn catalogs_are_in_memory_where_there_is_room_and_rows_never_are() {
    let parent = TempDir::new("cluster");
    let options = ClusterOptions { root_dir: None, temp_dir: parent.path().to_owned(), ..options(&parent) };
    let cluster = Cluster::start(&programs(), &options).await.unwrap();
    cluster.create_database("shop", "UTF8", &[]).await.unwrap();
    let session = scratch(&cluster, "shop").await;
    // A hostile backup may say where its tables are to be.
    let sql = "create table public.plain (n int primary key, t text);
        create table public.elsewhere (n int primary key, t text) tablespace pg_default;
        create materialized view public.seen tablespace pg_default as select * from public.plain";
    session.execute("making tables", sql).await.unwrap();
    cluster.keep_rows_on_disk(&session).await.unwrap();
    let sql =
        "create temporary table short as select 1 as n; create unlogged table public.later (n int, t text)";
    session.execute("making tables", sql).await.unwrap();
    let sql = "select current_setting('data_directory'), pg_tablespace_location(t.oid), count(*)::text
        from pg_class as c
        left join pg_tablespace as t on t.oid = c.reltablespace
        where c.oid >= 16384 and pg_relation_filenode(c.oid) is not null
        group by t.oid";
    let settings = cluster.superuser_settings("shop");
    let asking = ScratchSession::connect(&settings, &SessionOptions::named("test")).await.unwrap();
    let places = asking.text_rows("asking", sql).await.unwrap();
    drop((session, asking));
    let catalogs = PathBuf::from(places[0][0].clone().unwrap());
    let (directory, memory) = (cluster.directory().to_owned(), Path::new("/dev/shm"));
    assert!(directory.starts_with(parent.path()));
    let free = rustix::fs::statvfs(memory).map_or(0, |found| found.f_frsize * found.f_bavail);
    if free > 600 << 20 {
        assert!(catalogs.starts_with(memory), "{}", catalogs.display());
        // Tables, their primary keys, what holds their large values and its index; `short` has no key, nor a large value.
        let rows = directory.join("rows").display().to_string();
        assert_eq!(
            places.iter().map(|row| row[1..].to_vec()).collect::<Vec<_>>(),
            [[Some(rows), Some("15".into())]]
        );
        let log = std::fs::read_link(catalogs.join("pg_wal")).unwrap();
        assert_eq!(log, directory.join("log"));
    } else {
        assert!(catalogs.starts_with(&directory), "{}", catalogs.display());
    }
    drop(cluster);
    assert!(!catalogs.exists() && !catalogs.parent().unwrap().exists() && !directory.exists());
    assert_eq!(entries(parent.path()), Vec::<PathBuf>::new());
}

/// The identifier that `initdb` drew for a cluster.
async fn drawn(cluster: &Cluster) -> String {
    let settings = cluster.superuser_settings("postgres");
    let session = ScratchSession::connect(&settings, &SessionOptions::named("test")).await.unwrap();
    let sql = "select system_identifier::text from pg_control_system()";
    session.text_rows("asking", sql).await.unwrap().remove(0).remove(0).unwrap()
}

/// The superuser's password in a kept cluster.
fn kept_password(file: &Path) -> String {
    use std::io::Read;
    let mut archive = tar::Archive::new(zstd::Decoder::new(std::fs::File::open(file).unwrap()).unwrap());
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut entry = entries.find(|entry| entry.path().unwrap() == Path::new("password")).unwrap();
    let mut text = String::new();
    entry.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn what_initdb_made_is_kept_and_used_again() {
    let (parent, home) = (TempDir::new("cluster"), TempDir::new("cluster"));
    let cache = home.join("rowback");
    // Both ways to lay a cluster out: in one directory, and split between memory and disk.
    for root_dir in [Some(parent.path().to_owned()), None] {
        let options = ClusterOptions {
            root_dir,
            temp_dir: parent.path().to_owned(),
            cache_dir: Some(cache.clone()),
            ..options(&parent)
        };
        let mut seen = Vec::new();
        for _ in 0..2 {
            let cluster = Cluster::start(&programs(), &options).await.unwrap();
            cluster.create_database("shop", "UTF8", &[]).await.unwrap();
            scratch(&cluster, "shop").await.execute("making", "create table public.t (n int)").await.unwrap();
            seen.push(drawn(&cluster).await);
            let kept = kept_password(&entries(&cache)[0]);
            let strange = cluster.superuser_settings("postgres").with_password(&kept);
            let strange = ScratchSession::connect(&strange, &SessionOptions::named("test")).await;
            assert!(strange.is_err(), "every run has a password of its own");
        }
        assert_eq!(seen[0], seen[1], "it was made anew");
    }
    let kept = entries(&cache);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::metadata(&kept[0]).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(entries(parent.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_kept_cluster_that_is_of_no_use_is_made_again() {
    let (parent, home) = (TempDir::new("cluster"), TempDir::new("cluster"));
    let cache = home.join("rowback");
    let options = ClusterOptions { cache_dir: Some(cache.clone()), ..options(&parent) };
    let start = async || drawn(&Cluster::start(&programs(), &options).await.unwrap()).await;
    let mut last = start().await;
    let path = entries(&cache).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    // A file that can be read, and out of which no server starts.
    let mut lame = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    let mut archive = tar::Archive::new(zstd::Decoder::new(whole.as_slice()).unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let (mut header, name) = (entry.header().clone(), entry.path().unwrap().into_owned());
        if !name.ends_with("PG_VERSION") {
            lame.append_data(&mut header, name, &mut entry).unwrap();
        }
    }
    let lame = lame.into_inner().unwrap().finish().unwrap();
    let damages = [
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("flipped in the middle", flipped(whole.len() / 2)),
        ("flipped at its end", flipped(whole.len() - 1)),
        ("without its version", lame),
    ];
    for (what, bytes) in damages {
        std::fs::write(&path, bytes).unwrap();
        let next = start().await;
        assert_ne!(next, last, "{what}");
        // A server that did not start takes the file along; the next run makes it.
        last = start().await;
        assert_eq!(start().await, last, "{what}");
    }
    let old = std::time::SystemTime::now() - Duration::from_secs(8 * 24 * 60 * 60);
    let set_age = |path: &Path| {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    };
    let (left, strange) = (cache.join(".initdb-x.partial"), cache.join("mine"));
    for other in [&left, &strange] {
        std::fs::write(other, "x").unwrap();
        set_age(other);
    }
    set_age(&path);
    let next = start().await;
    assert_ne!(next, last, "too old");
    assert_eq!((left.exists(), strange.exists()), (false, true));
    // A directory that others may write to is left alone.
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_ne!(start().await, next);
}

#[tokio::test]
async fn a_server_that_does_not_start_tells_why_and_leaves_nothing() {
    let parent = TempDir::new("cluster");
    let settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let error =
        Cluster::start(&programs(), &ClusterOptions { settings, ..options(&parent) }).await.err().unwrap();
    assert_eq!(error.code(), "scratch-not-started");
    let causes = error.causes();
    assert_eq!(causes[0], "it ended with exit status: 1");
    assert!(causes[1].contains("unrecognized configuration parameter \"no_such_setting\""), "{causes:?}");
    assert_eq!(entries(parent.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_full_disk_is_named() {
    let parent = TempDir::new("cluster");
    let script =
        "#!/bin/sh\necho 'initdb: error: could not write file: No space left on device' >&2\nexit 1\n";
    for program in ["initdb", "postgres"] {
        let path = parent.write(&format!("bin/{program}"), script);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let fake = Programs { directory: parent.join("bin"), ..programs() };
    let error = Cluster::start(&fake, &options(&parent)).await.err().unwrap();
    assert_eq!(error.code(), "initdb-failed");
    assert_eq!(error.causes(), ["initdb: error: could not write file: No space left on device"]);
    let disk = format!("The disk of \"{}", parent.path().display());
    assert!(error.hint().starts_with(&disk), "{}", error.hint());
    assert_eq!(entries(parent.path()), [parent.join("bin")]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let parent = TempDir::new("cluster");
    let nowhere = ClusterOptions { root_dir: Some(parent.join("nowhere")), ..options(&parent) };
    let error = Cluster::start(&programs(), &nowhere).await.err().unwrap();
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(error.code(), if is_root { "scratch-directory-closed" } else { "scratch-directory" });
    if is_root {
        let closed = parent.join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        let named = ClusterOptions { root_dir: Some(closed.clone()), ..options(&parent) };
        let error = Cluster::start(&programs(), &named).await.err().unwrap();
        assert!(matches!(&error, ScratchError::Closed { path, .. } if *path == closed), "{error:?}");
        // A closed TMPDIR (root's own, often) is no reason to stop: /tmp will do.
        let temporary = ClusterOptions { root_dir: None, temp_dir: closed.clone(), ..options(&parent) };
        let cluster = Cluster::start(&programs(), &temporary).await.unwrap();
        assert_eq!(cluster.directory().parent(), Some(Path::new("/tmp")));
    }
}

/// Set for the process that [`hold`] runs in: where its cluster is to be.
const HOLD: &str = "ROWBACK_TEST_HOLD";

/// A process of its own that holds a cluster until it is killed.
struct Holder {
    child: std::process::Child,
    directory: PathBuf,
    server: u32,
}

impl Holder {
    /// Runs `test` of this binary again, with the variable set.
    fn start(test: &str, parent: &TempDir) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(HOLD, parent.path());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
        let ready = parent.join("ready");
        wait_until("the cluster of the other process", Duration::from_secs(60), || ready.exists());
        let line = std::fs::read_to_string(ready).unwrap();
        let (server, directory) = line.split_once(' ').unwrap();
        Self { child, directory: PathBuf::from(directory), server: server.parse().unwrap() }
    }

    fn kill(mut self) -> (PathBuf, u32) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.directory, self.server)
    }
}

/// In the other process: starts a cluster, says so, and waits to be killed.
fn hold(parent: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = ClusterOptions {
            root_dir: Some(PathBuf::from(parent)),
            ..ClusterOptions::from_env(&Env::default())
        };
        let cluster = Cluster::start(&programs(), &options).await.unwrap();
        let line = format!("{} {}", cluster.pid(), cluster.directory().display());
        std::fs::write(format!("{parent}/unready"), line).unwrap();
        std::fs::rename(format!("{parent}/unready"), format!("{parent}/ready")).unwrap();
        std::future::pending::<()>().await;
    });
}

#[test]
fn after_kill_9_the_watchdog_cleans_up() {
    if let Ok(parent) = std::env::var(HOLD) {
        return hold(&parent);
    }
    let parent = TempDir::new("cluster");
    let holder = Holder::start("cluster::after_kill_9_the_watchdog_cleans_up", &parent);
    let watchdog = watchdog_of(&holder.directory).expect("no watchdog");
    assert!(is_alive(holder.server));
    assert_eq!(sweep(&[parent.path().to_owned()]), Vec::<PathBuf>::new(), "its owner lives");
    assert!(is_alive(holder.server) && holder.directory.exists());
    let (directory, server) = holder.kill();
    let limit = Duration::from_secs(20);
    wait_until("the server ends", limit, || !is_alive(server));
    wait_until("the directory is removed", limit, || !directory.exists());
    wait_until("the watchdog ends", limit, || !is_alive(watchdog));
}

#[test]
fn what_even_the_watchdog_could_not_remove_the_next_run_sweeps() {
    if let Ok(parent) = std::env::var(HOLD) {
        return hold(&parent);
    }
    let parent = TempDir::new("cluster");
    let holder =
        Holder::start("cluster::what_even_the_watchdog_could_not_remove_the_next_run_sweeps", &parent);
    let watchdog = watchdog_of(&holder.directory).expect("no watchdog");
    let kill = Command::new("kill").args(["-9", &watchdog.to_string()]).status().unwrap();
    assert!(kill.success());
    let (directory, server) = holder.kill();
    assert!(directory.exists() && is_alive(server), "nobody is left to clean up");
    assert_eq!(sweep(&[parent.path().to_owned()]), std::slice::from_ref(&directory));
    assert!(!directory.exists() && !is_alive(server));
}
