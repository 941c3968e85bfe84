//! Servers that cannot be used: live out of reach or without rights, no programs for scratch, scratch that is live.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::cli_bad_input::{RECIPE, beside, output_of, refused, shop, told, under};
use super::support::{Rescue, server};

#[test]
fn live_cannot_be_reached_or_does_not_let_us_in() {
    let (live, backup) = shop();
    let role = format!("{}_guest", live.name());
    live.psql(&format!("create role \"{role}\" login password 'right'"));
    let rescue = Rescue::new(&live, &backup);
    let run = |url: &str| {
        let output = rescue.recover_with(RECIPE, &["--quiet", "--live", url]);
        told(output, 3, &rescue, &live).replace("[live]_guest", "[role]")
    };
    insta::assert_snapshot!(run("postgresql://me@127.0.0.1:1/shop"), @r#"
        error[server-unreachable]: cannot connect to database "shop" at 127.0.0.1:1
          cause: 127.0.0.1:1: Connection refused (os error 111)
          hint: Check host and port, that the server runs, and that no firewall is between; `psql` with the same settings must work. Nothing was changed.
        "#);
    insta::assert_snapshot!(run(&live.tcp_url(&role, "wrong")), @r#"
        error[wrong-password]: cannot connect to database "[live]" at 127.0.0.1:[port]
          cause: 127.0.0.1:[port]: password authentication failed for user "[role]" (SQLSTATE 28P01)
          hint: Check the user and the password (in the URL, `PGPASSWORD`, the service file or `~/.pgpass`; the first of these that is set wins). Nothing was changed.
        "#);
    insta::assert_snapshot!(run(&server().url("no such database")), @r#"
        error[database-missing]: cannot connect to database "no such database" at [socket]:[port]
          cause: [socket]:[port]: database "no such database" does not exist (SQLSTATE 3D000)
          hint: Check the database name; `psql -l` lists the databases of that server. Nothing was changed.
        "#);
    assert!(!rescue.case().exists(), "live is asked before anything is made");
    // The password never shows, and the right one would do.
    assert!(!run(&live.tcp_url(&role, "wr0ngpass")).contains("wr0ngpass"));
    live.psql(&format!("grant select on all tables in schema public to \"{role}\""));
    let _nothing_to_do =
        rescue.recover_with(RECIPE, &["--quiet", "--live", &live.tcp_url(&role, "right")]).expect_code(0);
    live.psql(&format!("drop owned by \"{role}\"; drop role \"{role}\""));
}

#[test]
fn a_role_that_may_not_read() {
    let (live, backup) = shop();
    let role = format!("{}_blind", live.name());
    live.psql(&format!(
        "create role \"{role}\" login; grant select (id, customer_id, placed_at, note) on orders to \"{role}\""
    ));
    let run = || {
        let rescue = Rescue::new(&live, &backup);
        let output = rescue.recover_with(RECIPE, &["--quiet", "--live", &live.url_as(&role)]);
        told(output, 3, &rescue, &live).replace("[live]_blind", "[role]")
    };
    // Columns of orders one by one are enough, of customers there is nothing.
    insta::assert_snapshot!(run(), @r#"
        error[permission-denied]: the role "[role]" may not read "public.customers" in live
          cause: public.customers: no SELECT
          hint: Grant "[role]" SELECT on the whole of each table (and BYPASSRLS where row security is in the way), or connect as a role that has it. Live was only read; nothing was changed.
        "#);
    live.psql(&format!(
        "grant select on customers to \"{role}\"; alter table customers enable row level security;
         revoke select (note) on orders from \"{role}\""
    ));
    insta::assert_snapshot!(run(), @r#"
        error[permission-denied]: the role "[role]" may not read "public.customers", "public.orders" in live
          cause: public.customers: row security hides rows from this role
          cause: public.orders: no SELECT
          hint: Grant "[role]" SELECT on the whole of each table (and BYPASSRLS where row security is in the way), or connect as a role that has it. Live was only read; nothing was changed.
        "#);
    live.psql(&format!("drop owned by \"{role}\"; drop role \"{role}\""));
}

/// In front of a command: file systems of its own.
fn unshare() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &["unshare", "-m"] } else { &["unshare", "-rm"] }
}

#[test]
fn no_server_programs() {
    let (live, backup) = shop();
    let empty = backup.with_file_name("no-programs");
    fs::create_dir(&empty).unwrap();
    let text = refused(&live, &backup, RECIPE, &["--pg-bin", empty.to_str().unwrap()], 3);
    insta::assert_snapshot!(text.replace(&empty.display().to_string(), "[empty]"), @r#"
        error[server-programs-unfit]: the server programs in "[empty]" cannot be used
          cause: there is no `initdb` in it
          hint: Name the directory that holds both `initdb` and `postgres` (`pg_config --bindir` prints it), or leave `--pg-bin` out. The scratch directory was removed; live was not touched.
        "#);

    // Nothing in PATH and nothing where packages put them: hidden below empty file systems of this one process.
    let rescue = Rescue::new(&live, &backup);
    let command = rescue
        .rowback()
        .clone()
        .env("PATH", "/usr/bin:/bin")
        .command(rescue.recover_args(RECIPE, &["--quiet"]));
    let home = server().bin().parent().unwrap().parent().unwrap();
    let hide = format!("mount -t tmpfs none '{}' && exec \"$@\"", home.display());
    let text = told(
        output_of(&mut under(&[unshare(), &["sh", "-c", &hide, "sh"]].concat(), &command)),
        3,
        &rescue,
        &live,
    );
    let searched = text.lines().nth(1).unwrap().to_owned();
    assert!(
        searched
            .starts_with("  cause: no directory with both `initdb` and `postgres` among /usr/bin, /bin, "),
        "{searched}"
    );
    insta::assert_snapshot!(text.replace(&searched, "  [searched]"), @r#"
        error[server-programs-missing]: no PostgreSQL server programs were found on this machine
          [searched]
          hint: Install the server (Debian, Ubuntu: `apt install postgresql`; Red Hat: `dnf install postgresql-server`; macOS: `brew install postgresql`), name its directory with `--pg-bin DIR`, or use a server that runs with `--scratch URL`. The scratch directory was removed; live was not touched.
        "#);
}

#[test]
fn a_server_older_than_the_backup() {
    let (live, backup) = shop();
    let old = backup.with_file_name("old-programs");
    fs::create_dir(&old).unwrap();
    for program in ["initdb", "postgres"] {
        let path = old.join(program);
        fs::write(&path, "#!/bin/sh\necho \"$(basename $0) (PostgreSQL) 9.6.24\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let version = server().psql("postgres", "show server_version");
    let major = version.split('.').next().unwrap().trim().to_owned();
    let text = refused(&live, &backup, RECIPE, &["--pg-bin", old.to_str().unwrap()], 3);
    let text =
        text.replace(&old.display().to_string(), "[old]").replace(&format!("version {major}"), "version [n]");
    insta::assert_snapshot!(text.replace(&format!("postgresql-{major}"), "postgresql-[n]"), @r#"
        error[server-programs-too-old]: the PostgreSQL server programs on this machine are too old for this backup
          cause: the backup's server was version [n]
          cause: postgres (PostgreSQL) 9.6.24 in [old]
          hint: Install version [n] or newer beside them (Debian, Ubuntu: `apt install postgresql-[n]`), name its directory with `--pg-bin DIR`, or use a server that runs with `--scratch URL`. The scratch directory was removed; live was not touched.
        "#);

    // An archive of a server that is newer than any here: its header says so.
    let mut bytes = fs::read(&backup).unwrap();
    let version = version.trim().as_bytes();
    let at = bytes.windows(version.len()).position(|window| window == version).unwrap();
    bytes[at..at + 2].copy_from_slice(b"99");
    let newer = beside(&backup, "newer.dump", &bytes);
    let text = refused(&live, &newer, RECIPE, &[], 3);
    assert!(text.starts_with("error[server-programs-too-old]: "), "{text}");
    assert!(text.contains("  cause: the backup's server was version 99\n"), "{text}");
    let url = server().url("postgres");
    let text = refused(&live, &newer, RECIPE, &["--scratch", &url], 3);
    insta::assert_snapshot!(text.replace(&format!("PostgreSQL {major}"), "PostgreSQL [n]"), @r#"
        error[scratch-too-old]: the scratch server is older than the backup
          cause: the backup is of PostgreSQL 99, the server is PostgreSQL [n]
          hint: Use a server of version 99 or newer. Nothing was changed.
        "#);
}

#[test]
fn scratch_is_live() {
    let (live, backup) = shop();
    let text = refused(&live, &backup, RECIPE, &["--scratch", &live.url()], 4);
    let cause = text.lines().nth(1).unwrap().to_owned();
    assert!(
        cause.starts_with("  cause: --scratch and --live are the same database (")
            && !cause.contains("not readable"),
        "{cause}"
    );
    insta::assert_snapshot!(text.replace(&cause, "  [cause]"), @r#"
        error[scratch-is-live]: refusing to restore into database "[live]" at [socket]:[port]
          [cause]
          hint: Leave `--scratch` out to use a temporary cluster, or name an empty database. Nothing was changed.
        "#);
    // By another way to the same server, too.
    live.psql("alter role postgres password 'p'");
    let text = refused(&live, &backup, RECIPE, &["--scratch", &live.tcp_url("postgres", "p")], 4);
    assert!(text.starts_with("error[scratch-is-live]: "), "{text}");
}
