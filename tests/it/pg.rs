//! Sessions on a real server: what each kind can and cannot do, COPY, snapshots, time limits, and the words of every
//! way in which a connection fails.

use std::time::Duration;

use bytes::Bytes;
use rowback::env::Env;
use rowback::error::{Explain, Kind};
use rowback::pg::{
    Backoff, ConnectSettings, Notice, PgError, ReadSession, RetryCause, ScratchSession, SessionOptions,
    WriteSession, column, retry,
};
use rowback::sql::registry::{Access, Query};

use super::support::{TestDb, server};

fn settings(db: &TestDb<'_>) -> ConnectSettings {
    resolve(&server().url(db.name()))
}

fn resolve(url: &str) -> ConnectSettings {
    ConnectSettings::resolve(Some(url), &Env::from_pairs([("HOME", "/nonexistent")])).unwrap()
}

fn named() -> SessionOptions {
    SessionOptions::named("rowback test")
}

async fn reader(db: &TestDb<'_>) -> ReadSession {
    ReadSession::connect(&settings(db), &named()).await.unwrap()
}

async fn scratch(db: &TestDb<'_>) -> ScratchSession {
    ScratchSession::connect(&settings(db), &named()).await.unwrap()
}

async fn writer(db: &TestDb<'_>) -> WriteSession {
    WriteSession::connect(&settings(db), &named()).await.unwrap()
}

fn texts(rows: Vec<Vec<Option<String>>>) -> Vec<Vec<String>> {
    let text = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
    rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect()
}

/// Asks a reading session for one value.
async fn one(session: &ReadSession, sql: &str) -> String {
    let rows = texts(session.text_rows("asking", sql).await.unwrap());
    assert_eq!((rows.len(), rows[0].len()), (1, 1), "{sql}");
    rows[0][0].clone()
}

/// Every value whose text depends on a setting.
const PINNED: &str =
    "select timestamptz '2026-11-19 14:03:00.5+02', interval '-1 mon 2 days 03:04:05', 0.1::float8 + 0.2,
    '\\x00ff'::bytea, date '2026-02-01', 12.5::money, xmlserialize(content '<a/>b'::xml as text),
    current_setting('search_path'), current_setting('row_security'), current_setting('jit')";

#[tokio::test]
async fn every_session_is_pinned_whatever_the_database_says() {
    let db = TestDb::new("pinned");
    db.psql(&format!(
        "alter database \"{0}\" set timezone = 'Asia/Tokyo'; alter database \"{0}\" set datestyle = 'German';
         alter database \"{0}\" set intervalstyle = iso_8601; alter database \"{0}\" set extra_float_digits = -10;
         alter database \"{0}\" set bytea_output = escape; alter database \"{0}\" set xmloption = document",
        db.name()
    ));
    let expected = [
        "2026-11-19 12:03:00.5+00",
        "-1 mons +2 days 03:04:05",
        "0.30000000000000004",
        "\\x00ff",
        "2026-02-01",
        "$12.50",
        "<a/>b",
        "",
        "off",
        "off",
    ];
    assert_eq!(texts(reader(&db).await.text_rows("asking", PINNED).await.unwrap()), [expected]);
    assert_eq!(texts(scratch(&db).await.text_rows("asking", PINNED).await.unwrap()), [expected]);
    assert_eq!(texts(writer(&db).await.text_rows("asking", PINNED).await.unwrap()), [expected]);
    let by_options = settings(&db).redacted() + " options='-c timezone=Asia/Tokyo -c extra_float_digits=-5'";
    let session = ReadSession::connect(&resolve(&by_options), &named()).await.unwrap();
    assert_eq!(texts(session.text_rows("asking", PINNED).await.unwrap()), [expected]);
    // The twin: without the pinning, the same query answers otherwise.
    assert_eq!(db.psql("select '\\x00ff'::bytea, 0.1::float8 + 0.2").trim(), r"\000\377|0.3");
}

/// Reading writes to the log, too, where it comes upon deleted rows. Who chose something else has it; who may not choose goes without.
#[tokio::test]
async fn a_superusers_session_compresses_what_it_makes_the_server_log() {
    const CHOSEN: &str = "select current_setting('wal_compression')";
    let db = TestDb::new("logged");
    assert_eq!(one(&reader(&db).await, CHOSEN).await, "lz4");
    let role = format!("{}_plain", db.name());
    db.psql(&format!("create role {role} login"));
    let plain = ReadSession::connect(&resolve(&db.url_as(&role)), &named()).await.unwrap();
    assert_eq!(one(&plain, CHOSEN).await, "off");
    db.psql(&format!("drop role {role}; alter database \"{}\" set wal_compression = pglz", db.name()));
    assert_eq!(one(&reader(&db).await, CHOSEN).await, "pglz");
}

static WRITING: Query = Query {
    name: "test_write",
    text: "insert into public.t values ($1::int4) returning a",
    access: Access::Write,
};
static READING: Query = Query {
    name: "test_read",
    text: "select a, $1::text as given from public.t order by a",
    access: Access::Read,
};

#[tokio::test]
async fn a_reading_session_cannot_write_in_any_way() {
    let db = TestDb::with("readonly", "create table t (a int); insert into t values (1)");
    let session = reader(&db).await;
    let error = session.text_rows("trying", "insert into public.t values (2) returning a").await.unwrap_err();
    assert_eq!((error.sqlstate(), error.kind()), (Some("25006"), Kind::Input));
    assert_eq!(error.causes(), ["cannot execute INSERT in a read-only transaction (SQLSTATE 25006)"]);
    session.restart().await.unwrap();
    let error = session.query(&WRITING, &[&2_i32]).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("wrong-session", Kind::Bug));
    let scratch_error = scratch(&db).await.query(&WRITING, &[&2_i32]).await.unwrap_err();
    assert_eq!(scratch_error.code(), "wrong-session");
    for statement in ["commit", "set transaction read write", "begin", "reset all", "do $$ begin end $$"] {
        let error = session.text_rows("trying", statement).await.unwrap_err();
        assert_eq!(error.code(), "wrong-session", "{statement}");
    }
    for statements in ["commit; insert into public.t values (2)", "select 1; commit"] {
        let error = session.text_rows("trying", statements).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some("42601"), "{statements}");
        session.restart().await.unwrap();
    }
    let lifted = "select set_config('transaction_read_only', 'off', false)";
    let error = session.text_rows("trying", lifted).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("25001"));
    session.restart().await.unwrap();
    assert_eq!(one(&session, "select count(*) from public.t").await, "1");
    // The twin: the writing session does all of that.
    let session = writer(&db).await;
    let rows = session.query(&WRITING, &[&2_i32]).await.unwrap();
    assert_eq!(column::<i32>(&rows[0], "a", "testing").unwrap(), 2);
    let rows = session.query(&READING, &[&"x"]).await.unwrap();
    let given: Vec<(i32, String)> = rows
        .iter()
        .map(|row| (column(row, "a", "testing").unwrap(), column(row, "given", "testing").unwrap()))
        .collect();
    assert_eq!(given, [(1, "x".to_owned()), (2, "x".to_owned())]);
    let error = column::<i64>(&rows[0], "a", "testing").unwrap_err();
    assert_eq!((error.code(), error.kind()), ("unexpected-answer", Kind::Bug));
}

#[tokio::test]
async fn a_reading_session_sees_one_moment_and_can_share_it() {
    let db = TestDb::with("moment", "create table t (a int)");
    let count = "select count(*) from public.t";
    let first = reader(&db).await;
    db.psql("insert into t values (1)");
    let snapshot = first.export_snapshot().await.unwrap();
    let second = ReadSession::connect_at(&settings(&db), &named(), &snapshot).await.unwrap();
    let later = reader(&db).await;
    assert_eq!((one(&first, count).await, one(&second, count).await), ("0".to_owned(), "0".to_owned()));
    assert_eq!(one(&later, count).await, "1");
    first.restart().await.unwrap();
    assert_eq!(one(&first, count).await, "1");
    let error = ReadSession::connect_at(&settings(&db), &named(), "nonsense'").await.err().unwrap();
    assert!(error.sqlstate().is_some(), "{error:?}");
    let identity = first.identity().await.unwrap();
    assert_eq!(identity.dbname, db.name());
    assert!(identity.is_same_database(&later.identity().await.unwrap()));
    assert!(identity.system_identifier.is_some() && identity.is_superuser && !identity.in_recovery);
    let other = TestDb::new("moment_other");
    assert!(!identity.is_same_database(&reader(&other).await.identity().await.unwrap()));
}

/// Rows as COPY writes them: every byte that needs an escape, NULL next to empty and to `\N` as a text, and a row that
/// is longer than any buffer.
fn odd_rows() -> Vec<Vec<u8>> {
    let mut rows: Vec<Vec<u8>> = vec![
        b"1\t\\N\t\\\\x".to_vec(),
        b"2\t\t\\\\x00ff0a5c".to_vec(),
        b"3\t\\\\N\t\\N".to_vec(),
        b"4\ta\\tb\\nc\\rd\\be\\ff\\vg\\\\h\t\\N".to_vec(),
        "5\té € \u{10ffff} '\"$$;--\t\\N".as_bytes().to_vec(),
    ];
    for code in (1_u8..128).filter(|code| !b"\x08\t\n\x0b\x0c\r\\".contains(code)) {
        rows.push([format!("{}\t", 100 + u32::from(code)).as_bytes(), &[code], b"\t\\N"].concat());
    }
    rows.push([b"999\t".to_vec(), vec![b'x'; 3_000_000], b"\t\\N".to_vec()].concat());
    rows
}

#[tokio::test]
async fn odd_bytes_survive_copy_in_and_out() {
    let db = TestDb::with("copy", "create table t (a int primary key, b text, c bytea)");
    let session = scratch(&db).await;
    let rows = odd_rows();
    let mut stream: Vec<u8> = Vec::new();
    rows.iter().for_each(|row| stream.extend(row.iter().chain(b"\n")));
    for piece_bytes in [70_000, 1_000_003, usize::MAX] {
        session.execute("emptying", "truncate public.t").await.unwrap();
        let mut copy = session.copy_in("filling", "copy public.t from stdin").await.unwrap();
        for piece in stream.chunks(piece_bytes) {
            copy.send(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert_eq!(copy.finish().await.unwrap(), u64::try_from(rows.len()).unwrap());
        let mut out =
            session.copy_out("reading", "copy (select * from public.t order by a) to stdout").await.unwrap();
        let mut back: Vec<Vec<u8>> = Vec::new();
        while let Some(row) = out.next_row().await.unwrap() {
            back.push(row.to_vec());
        }
        assert!(back == rows, "pieces of {piece_bytes} bytes");
    }
    // The twin: one planted byte shows.
    session.execute("planting", "update public.t set b = b || 'x' where a = 999").await.unwrap();
    let mut out = session.copy_out("reading", "copy (table public.t order by a) to stdout").await.unwrap();
    let mut last = Bytes::new();
    while let Some(row) = out.next_row().await.unwrap() {
        last = row;
    }
    assert!(last != rows[rows.len() - 1]);
}

#[tokio::test]
async fn an_unfinished_copy_leaves_nothing_and_the_session_usable() {
    let db = TestDb::with("unfinished", "create table t (a int)");
    let session = scratch(&db).await;
    let mut copy = session.copy_in("filling", "copy public.t from stdin").await.unwrap();
    copy.send(Bytes::from_static(b"1\n2\n")).await.unwrap();
    drop(copy);
    let count = "select count(*) from public.t";
    assert_eq!(texts(session.text_rows("counting", count).await.unwrap()), [["0"]]);

    let mut copy = session.copy_in("filling \"public.t\"", "copy public.t from stdin").await.unwrap();
    copy.send(Bytes::from_static(b"1\nx\n")).await.unwrap();
    let error = copy.finish().await.unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.sqlstate()),
        ("the server refused a statement while filling \"public.t\"", Some("22P02"))
    );
    assert_eq!(error.db().unwrap().context.as_deref(), Some("COPY t, line 2, column a: \"x\""));

    let many = "copy (select g, repeat('x', 1000) from generate_series(1, 20000) g) to stdout";
    let mut out = session.copy_out("reading", many).await.unwrap();
    assert!(out.next_row().await.unwrap().unwrap().starts_with(b"1\tx"));
    drop(out);
    assert_eq!(texts(session.text_rows("counting", count).await.unwrap()), [["0"]]);
    let mut broken = session
        .copy_out("reading", "copy (select 1 / (3 - g) from generate_series(1, 3) g) to stdout")
        .await
        .unwrap();
    assert_eq!(broken.next_row().await.unwrap().unwrap(), "0");
    assert_eq!(broken.next_row().await.unwrap().unwrap(), "1");
    assert_eq!(broken.next_row().await.unwrap_err().sqlstate(), Some("22012"));
}

#[tokio::test]
async fn time_limits_cancelling_and_lost_connections_are_told_apart() {
    let db = TestDb::with("limits", "create table t (a int); insert into t values (1)");
    let limited = SessionOptions { statement_timeout: Some(Duration::from_millis(50)), ..named() };
    let session = ReadSession::connect(&settings(&db), &limited).await.unwrap();
    let error = session.text_rows("sleeping", "select pg_sleep(60)").await.unwrap_err();
    assert_eq!((error.code(), error.sqlstate(), error.kind()), ("time-limit", Some("57014"), Kind::Stopped));

    let session = reader(&db).await;
    let canceller = session.canceller();
    let (outcome, sent) = tokio::join!(session.text_rows("sleeping", "select pg_sleep(60)"), async {
        // Cancelled only once the server is at it.
        let sleeping =
            "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'
            and datname = current_database()";
        while db.psql(sleeping).trim() != "1" {
            tokio::task::yield_now().await;
        }
        canceller.cancel().await
    });
    sent.unwrap();
    assert!(matches!(outcome, Err(PgError::Cancelled { .. })), "{outcome:?}");

    let session = writer(&db).await;
    let pid = texts(session.text_rows("asking", "select pg_backend_pid()").await.unwrap())[0][0].clone();
    session.begin().await.unwrap();
    session.execute("changing", "update public.t set a = 2").await.unwrap();
    db.psql(&format!("select pg_terminate_backend({pid})"));
    let error = session.execute("changing", "update public.t set a = 3").await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("connection-lost", Kind::Stopped));
    // Either the server's last words or, where they came too late, the network's.
    assert_eq!(error.causes().len(), 1);
    assert_eq!(session.commit().await.unwrap_err().code(), "connection-lost");
    assert_eq!(db.psql("select a from t").trim(), "1");
}

#[tokio::test]
async fn a_dropped_session_stops_its_statement() {
    let db = TestDb::new("dropped");
    let running = || {
        db.psql("select count(*) from pg_stat_activity where datname = current_database() and query ~ '^select pg_sleep'")
    };
    let session = scratch(&db).await;
    let waiting =
        tokio::time::timeout(Duration::from_millis(300), session.execute("sleeping", "select pg_sleep(600)"));
    assert!(waiting.await.is_err());
    assert_eq!(running().trim(), "1");
    drop(session);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while running().trim() != "0" {
        assert!(std::time::Instant::now() < deadline, "the statement still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_lock_that_is_released_is_waited_for() {
    let db = TestDb::with("lock", "create table t (a int); insert into t values (1)");
    let holder = writer(&db).await;
    holder.begin().await.unwrap();
    holder.execute("locking", "lock table public.t in access exclusive mode").await.unwrap();
    let options = SessionOptions { lock_timeout: Some(Duration::from_millis(50)), ..named() };
    let waiter = WriteSession::connect(&settings(&db), &options).await.unwrap();
    let backoff = Backoff { attempts: 3, ..Backoff::default() };
    let mut heard = Vec::new();
    let outcome = retry(
        backoff,
        async |attempt| {
            if attempt == 3 {
                holder.rollback().await?;
            }
            waiter.execute("changing", "update public.t set a = 2").await
        },
        |failed, _, error| heard.push((failed, error.retry_sqlstate().map(str::to_owned))),
    )
    .await;
    outcome.unwrap();
    let busy = || Some("55P03".to_owned());
    assert_eq!(heard, [(1, busy()), (2, busy())]);
    assert_eq!(db.psql("select a from t").trim(), "2");
}

#[tokio::test]
async fn notices_are_heard_once() {
    let db = TestDb::new("notices");
    let session = scratch(&db).await;
    let raise = "do $$ begin raise notice 'one' using detail = 'more'; raise warning 'two'; end $$";
    session.execute("raising", raise).await.unwrap();
    let notice = |severity: &str, sqlstate: &str, message: &str, detail: Option<&str>| Notice {
        severity: severity.to_owned(),
        sqlstate: sqlstate.to_owned(),
        message: message.to_owned(),
        detail: detail.map(str::to_owned),
        hint: None,
    };
    let expected = [notice("NOTICE", "00000", "one", Some("more")), notice("WARNING", "01000", "two", None)];
    assert_eq!(session.take_notices(), expected);
    assert_eq!(session.take_notices(), []);
}

#[tokio::test]
async fn every_refused_connection_has_its_words() {
    let db = TestDb::new("refused");
    server().psql("postgres", "create role test_ann login password 'right'; create role test_shut login connection limit 0 password 'right'");
    let url = |user: &str, password: &str, dbname: &str| server().tcp_url(user, password, dbname);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let here = format!("127.0.0.1:{}", server().port());
    for (url, code, cause) in [
        (
            url("test_ann", "wrong-secret", db.name()),
            "wrong-password",
            format!("{here}: password authentication failed for user \"test_ann\" (SQLSTATE 28P01)"),
        ),
        (
            format!("postgresql://test_ann@{here}/{}", db.name()),
            "login-rejected",
            format!("{here}: password missing"),
        ),
        (
            url("test_ann", "right", "nowhere"),
            "database-missing",
            format!("{here}: database \"nowhere\" does not exist (SQLSTATE 3D000)"),
        ),
        (
            url("test_shut", "right", db.name()),
            "too-many-connections",
            format!("{here}: too many connections for role \"test_shut\" (SQLSTATE 53300)"),
        ),
        (
            format!("{}?sslmode=require", url("test_ann", "right", db.name())),
            "tls-failed",
            format!("{here}: TLS: server does not support TLS"),
        ),
        (
            format!("postgresql://u:secret@127.0.0.1:{closed}/d"),
            "server-unreachable",
            format!("127.0.0.1:{closed}: Connection refused (os error 111)"),
        ),
        (
            "host=/nowhere user=u dbname=d".to_owned(),
            "server-unreachable",
            "/nowhere: No such file or directory (os error 2)".to_owned(),
        ),
        (
            format!("{}?target_session_attrs=standby", url("test_ann", "right", db.name())),
            "wrong-server-role",
            format!("{here}: the server is no standby"),
        ),
    ] {
        let error = ReadSession::connect(&resolve(&url), &named()).await.err().unwrap();
        assert_eq!((error.code(), error.kind(), error.causes()), (code, Kind::Input, vec![cause]), "{url}");
        let whole = format!("{error} {error:?} {}", error.hint());
        assert!(!whole.contains("secret"), "{whole}");
        assert!(
            whole.contains("cannot connect to database \"") && whole.ends_with("Nothing was changed."),
            "{whole}"
        );
    }
    // The twin: the right password and database let us in, also as the second of two servers.
    let list = format!(
        "host=127.0.0.1,127.0.0.1 port={closed},{} user=test_ann password=right dbname={} target_session_attrs=read-write",
        server().port(),
        db.name()
    );
    let session = ReadSession::connect(&resolve(&list), &named()).await.unwrap();
    let identity = session.identity().await.unwrap();
    assert_eq!((identity.user.as_str(), identity.is_superuser), ("test_ann", false));
    assert_eq!(one(&session, "select current_setting('application_name')").await, "rowback test");
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    // Accepts, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgresql://u@127.0.0.1:{port}/d?connect_timeout=1&sslmode=disable");
    let error = ReadSession::connect(&resolve(&url), &named()).await.err().unwrap();
    assert_eq!(
        (error.code(), error.causes()),
        ("server-unreachable", vec![format!("127.0.0.1:{port}: no answer within 1 s")])
    );
}
