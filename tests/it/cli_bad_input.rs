//! What goes in is wrong: backups, connections, recipes, predicates, directories, server programs. Each case shows the
//! whole message, its exit code, and that live, scratch and the case directory are left as they must be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Output, Rescue, TestDb, server};

const SHOP: &str = "
    create table customers (id int primary key generated always as identity, name text not null unique,
                            joined_at timestamptz not null, seen_on date);
    create table orders (id serial primary key, customer_id int not null references customers on delete cascade,
                         placed_at timestamp, note text);
    create table visits (page text, at timestamptz);
    create table audit (line text);
    create sequence counter;
    create function leave_trace(int) returns boolean language plpgsql as
        $$ begin insert into public.audit values ('seen'); return true; end $$;
    insert into customers (name, joined_at, seen_on)
        select 'customer ' || g, timestamptz '2025-01-01 10:00+00' + g * interval '1 day', 'infinity'
        from generate_series(1, 5) g;
    insert into orders (customer_id, placed_at, note)
        select g % 5 + 1, timestamp '2026-03-01' + g * interval '1 minute', md5(g::text) from generate_series(1, 4000) g;
    insert into visits select 'page', '2026-01-01 00:00+00' from generate_series(1, 2);
    insert into customers (name, joined_at) values ('the last', '2026-02-03 04:05:06.789+00');";

const RECIPE: &str = "[[recover]]\ntable = \"public.orders\"\nwhere = \"customer_id = 2\"\n";

/// The error text of a run that must end with this code and leave no trace: nothing on stdout, live as it was, no scratch.
#[track_caller]
fn told(output: Output, code: i32, rescue: &Rescue, live: &TestDb) -> String {
    let output = output.expect_code(code);
    assert_eq!(output.stdout, "", "results only");
    let left: Vec<_> = fs::read_dir(rescue.directory().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "scratch was removed: {left:?}");
    output
        .stderr
        .replace(&rescue.directory().path().display().to_string(), "[dir]")
        .replace(&server().socket_directory().display().to_string(), "[socket]")
        .replace(&format!(":{}", server().port()), ":[port]")
        .replace(live.name(), "[live]")
}

/// A recovery with its recipe and further arguments, quiet.
#[track_caller]
fn refused(live: &TestDb, backup: &Path, recipe: &str, more: &[&str], code: i32) -> String {
    let before = live.digest();
    let rescue = Rescue::new(live, backup);
    let output = rescue.recover_with(recipe, &[&["--quiet"], more].concat());
    let text = told(output, code, &rescue, live);
    before.assert_same(&live.digest(), "live was only read");
    let staged = rescue.case().join("staging/manifest.json");
    assert!(!staged.exists(), "nothing that looks whole was left");
    text
}

/// The same for a predicate of `orders`.
#[track_caller]
fn predicate_refused(live: &TestDb, backup: &Path, predicate: &str, more: &[&str], code: i32) -> String {
    let recipe = format!("[[recover]]\ntable = \"public.orders\"\nwhere = '''{predicate}'''\n");
    refused(live, backup, &recipe, more, code)
}

fn shop() -> (TestDb<'static>, PathBuf) {
    let shop = TestDb::with("bad_input", SHOP);
    let backup = shop.dump(&["-Fc"]);
    (shop, backup)
}

/// A file beside the backup.
fn beside(backup: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = backup.with_file_name(name);
    fs::write(&path, content).unwrap();
    path
}

/// Positions depend on the length of names.
fn without_numbers(text: &str) -> String {
    let masked = text.split(' ').map(|word| {
        let digits = word.trim_end_matches(':');
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { word.replace(digits, "[n]") } else { word.to_owned() }
    });
    masked.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_truncated_archive() {
    let (live, backup) = shop();
    let whole = fs::read(&backup).unwrap();
    let cut = beside(&backup, "cut.dump", &whole[..whole.len() - 2000]);
    let text = refused(&live, &cut, RECIPE, &[], 3).replace(&cut.display().to_string(), "[cut]");
    insta::assert_snapshot!(without_numbers(&text), @r#"
        error[backup-truncated]: the backup [cut] is truncated in the rows of public.orders
          cause: the file ends before the data that begin near byte [n] do
          hint: Use another copy of this backup, or an older or newer backup. Compare its size and checksum with the original if it was copied. Nothing was changed.
        "#);
    // The table of contents itself.
    let cut = beside(&backup, "short.dump", &whole[..300]);
    let text = refused(&live, &cut, RECIPE, &[], 3).replace(&cut.display().to_string(), "[cut]");
    insta::assert_snapshot!(without_numbers(&text), @r#"
        error[backup-damaged]: the backup [cut] is damaged in its table of contents
          cause: near byte [n]: [n] entries cannot fit into [n] bytes
          hint: Use another copy of this backup, or an older or newer backup. Compare its size and checksum with the original if it was copied. Nothing was changed.
        "#);
}

#[test]
fn one_flipped_byte_in_a_data_block() {
    let (live, backup) = shop();
    let mut bytes = fs::read(&backup).unwrap();
    let at = bytes.len() - 3000;
    bytes[at] ^= 0x20;
    let bent = beside(&backup, "bent.dump", &bytes);
    let text = refused(&live, &bent, RECIPE, &[], 3).replace(&bent.display().to_string(), "[bent]");
    assert!(text.starts_with("error[backup-damaged]: the backup [bent] is damaged in "), "{text}");
    assert!(text.contains("public.orders"), "the table is named: {text}");
    assert!(text.ends_with("Nothing was changed.\n"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn what_is_no_backup() {
    let (live, backup) = shop();
    let run = |path: &Path| {
        refused(&live, path, RECIPE, &[], 3).replace(&backup.parent().unwrap().display().to_string(), "[b]")
    };
    insta::assert_snapshot!(run(&beside(&backup, "letter.txt", b"Dear operator,\nthe backup is fine.\n")), @r#"
        error[backup-format]: [b]/letter.txt is not a backup
          cause: it begins with the bytes 44 65 61 72 20 6f 70 65, an archive with 50 47 44 4d 50
          hint: Name a file or directory that pg_dump wrote. Nothing was changed.
        "#);
    insta::assert_snapshot!(run(&beside(&backup, "empty.dump", b"")), @r#"
        error[backup-empty]: the backup [b]/empty.dump is empty
          hint: A pg_dump that failed leaves such a file: look at its log and take another backup. Nothing was changed.
        "#);
    let directory = backup.with_file_name("directory");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("3001.dat.gz"), b"x").unwrap();
    insta::assert_snapshot!(run(&directory), @r#"
        error[backup-no-toc]: the directory [b]/directory has no toc.dat
          hint: Name the directory that `pg_dump -Fd` wrote itself; if toc.dat was lost, take another copy of it. Nothing was changed.
        "#);
    insta::assert_snapshot!(run(&backup.with_file_name("not-there.dump")), @r#"
        error[backup-unreadable]: cannot read the backup [b]/not-there.dump
          cause: No such file or directory (os error 2)
          hint: Check the path and its permissions. Nothing was changed.
        "#);
}

#[test]
fn an_unreadable_file() {
    let (live, backup) = shop();
    fs::set_permissions(&backup, fs::Permissions::from_mode(0o000)).unwrap();
    let rescue = Rescue::new(&live, &backup);
    let mut command = rescue.rowback().command(rescue.recover_args(RECIPE, &["--quiet"]));
    if rustix::process::geteuid().is_root() {
        // Root may read everything: be somebody else.
        command = under(&["setpriv", "--reuid=nobody", "--clear-groups"], &command);
    }
    let text = told(output_of(&mut command), 3, &rescue, &live);
    insta::assert_snapshot!(text.replace(&backup.parent().unwrap().display().to_string(), "[b]"), @r#"
        error[backup-unreadable]: cannot read the backup [b]/[live]-0.dump
          cause: Permission denied (os error 13)
          hint: Check the path and its permissions. Nothing was changed.
        "#);
    assert!(!rescue.case().exists(), "a backup that cannot be read leaves no case");
}

/// The same command run by another program in front of it.
fn under(front: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(front[0]);
    wrapped.args(&front[1..]).arg(command.get_program()).args(command.get_args()).env_clear();
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.current_dir(command.get_current_dir().unwrap());
    wrapped
}

fn output_of(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    Output {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

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

#[test]
fn unknown_tables_and_columns() {
    let (live, backup) = shop();
    let run = |recipe: &str| refused(&live, &backup, recipe, &[], 2);
    insta::assert_snapshot!(run("[[recover]]\ntable = \"public.custmers\"\nwhere = \"true\"\n"), @r#"
        error[unknown-table]: the backup has no table "public.custmers"
          cause: the backup has 4 tables
          hint: Did you mean "public.customers"? Live was not changed.
        "#);
    insta::assert_snapshot!(run("[[recover]]\ntable = \"shop.orders\"\nwhere = \"true\"\n"), @r#"
        error[unknown-table]: the backup has no table "shop.orders"
          cause: the backup has 4 tables
          hint: Did you mean "public.orders"? Live was not changed.
        "#);
    insta::assert_snapshot!(run(&format!("{RECIPE}identity = [\"costumer_id\"]\n")), @r#"
        error[unknown-column]: table "public.orders" of the backup has no column "costumer_id"
          cause: its columns are id, customer_id, placed_at, note
          hint: Did you mean "customer_id"? Live was not changed.
        "#);
    insta::assert_snapshot!(run(&format!("{RECIPE}[columns.\"public.orders\"]\nignore = [\"nute\"]\n")), @r#"
        error[unknown-column]: table "public.orders" of the backup has no column "nute"
          cause: its columns are id, customer_id, placed_at, note
          hint: Did you mean "note"? Live was not changed.
        "#);
    insta::assert_snapshot!(run(&format!("{RECIPE}children = [\"public.order_items\"]\n")), @r#"
        error[unknown-table]: the backup has no table "public.order_items"
          cause: the backup has 4 tables
          hint: Did you mean "public.orders"? Live was not changed.
        "#);
    insta::assert_snapshot!(run(&format!("{RECIPE}[[foreign_key]]\nfrom = \"public.audit(lin)\"\nto = \"public.orders(id)\"\n")), @r#"
        error[unknown-column]: table "public.audit" of the backup has no column "lin"
          cause: its columns are line
          hint: Did you mean "line"? Live was not changed.
        "#);
    insta::assert_snapshot!(predicate_refused(&live, &backup, "custommer_id = 2", &[], 2), @r#"
        error[predicate-failed]: the predicate for "public.orders" failed
          cause: column "custommer_id" does not exist (SQLSTATE 42703)
          cause: the server advises: Perhaps you meant to reference the column "orders.customer_id".
          cause: from here: custommer_id = 2
          hint: The predicate is evaluated over the backup's rows of this table. Correct it and run the same command again. Live was not changed.
        "#);
}

#[test]
fn predicates_that_are_none() {
    let (live, backup) = shop();
    let run = |predicate: &str| predicate_refused(&live, &backup, predicate, &[], 2);
    insta::assert_snapshot!(run("id = 1, id = 2"), @r#"
        error[predicate-list]: [dir]/recipe.toml:3: where: one expression was expected, this is a list
          hint: Join conditions with AND or OR instead of a comma. Nothing was touched.
        "#);
    insta::assert_snapshot!(run("id = 1) or (true"), @r#"
        error[predicate-bracket]: [dir]/recipe.toml:3: where: a bracket ')' has no partner
          hint: Every bracket that is opened must be closed, in order. Nothing was touched.
        "#);
    insta::assert_snapshot!(run("select id from orders"), @r#"
        error[predicate-statement]: [dir]/recipe.toml:3: where: an expression was expected, this begins like a statement: select id from
          hint: Write only the condition, as it would stand after WHERE. A SELECT goes into `query`, the statement that did the damage into `replay`. Nothing was touched.
        "#);
    insta::assert_snapshot!(run("id = = 1"), @r#"
        error[predicate-failed]: the predicate for "public.orders" failed
          cause: syntax error at or near "=" (SQLSTATE 42601)
          cause: from here: = 1
          hint: The predicate is evaluated over the backup's rows of this table. Correct it and run the same command again. Live was not changed.
        "#);
    insta::assert_snapshot!(run("id + 1"), @r#"
    error[predicate-failed]: the predicate for "public.orders" failed
      cause: argument of WHERE must be type boolean, not type integer (SQLSTATE 42804)
      cause: from here: id + 1
      hint: The predicate is evaluated over the backup's rows of this table. Correct it and run the same command again. Live was not changed.
    "#);
    insta::assert_snapshot!(run("customer_id ="), @r#"
    error[predicate-failed]: the predicate for "public.orders" failed
      cause: syntax error at or near ")" (SQLSTATE 42601)
      cause: at the end of the text
      hint: The predicate is evaluated over the backup's rows of this table. Correct it and run the same command again. Live was not changed.
    "#);
}

#[test]
fn predicates_that_write() {
    let (live, backup) = shop();
    let run = |predicate: &str| predicate_refused(&live, &backup, predicate, &[], 2);
    insta::assert_snapshot!(run("nextval('public.counter') > 0"), @r#"
        error[predicate-writes]: the predicate for "public.orders" failed
          cause: cannot execute nextval() in a read-only transaction (SQLSTATE 25006)
          hint: A predicate may only read; it ran in a read-only transaction in scratch. Live was not changed.
        "#);
    insta::assert_snapshot!(run("public.leave_trace(id)"), @r#"
        error[predicate-writes]: the predicate for "public.orders" failed
          cause: cannot execute INSERT in a read-only transaction (SQLSTATE 25006)
          hint: A predicate may only read; it ran in a read-only transaction in scratch. Live was not changed.
        "#);
    insta::assert_snapshot!(run("exists (with gone as (delete from orders returning 1) select 1 from gone)"), @r#"
        error[predicate-writes]: [dir]/recipe.toml:3: where: the SQL text writes or locks: delete from orders
          hint: Predicates and queries only read. The statement that did the damage goes into `replay`. Nothing was touched.
        "#);
    insta::assert_snapshot!(run("set_config('transaction_read_only', 'off', false) = 'off'"), @r#"
        error[predicate-function]: [dir]/recipe.toml:3: where: the SQL text calls set_config(), which acts on more than its own transaction
          hint: Write the condition without that function. Nothing was touched.
        "#);
}

#[test]
fn a_predicate_that_runs_for_ever() {
    let (live, backup) = shop();
    let predicate = "pg_sleep(3600) is not null";
    insta::assert_snapshot!(predicate_refused(&live, &backup, predicate, &["--time-limit", "1"], 2), @r#"
        error[predicate-timeout]: the predicate for "public.orders" failed
          cause: canceling statement due to statement timeout (SQLSTATE 57014)
          hint: Make the predicate cheaper, or give it more time with `--time-limit`. Live was not changed.
        "#);
    let query =
        "[[recover]]\ntable = \"public.orders\"\nquery = \"select o.id from orders o, pg_sleep(3600)\"\n";
    let text = refused(&live, &backup, query, &["--time-limit", "1"], 2);
    assert!(text.starts_with("error[predicate-timeout]: "), "{text}");
}

#[test]
fn a_predicate_that_matches_nothing() {
    let (live, backup) = shop();
    insta::assert_snapshot!(predicate_refused(&live, &backup, "placed_at >= '2026-06-01'", &[], 3), @r#"
        error[predicate-matches-nothing]: the predicate matches no row of "public.orders" in the backup
          cause: the table has 4000 rows in the backup
          cause: newest placed_at: 2026-03-03 18:40:00
          hint: Is it the wrong backup, or one taken after the accident? Otherwise correct the predicate. Live was not changed.
        "#);
    let recipe = "[[recover]]\ntable = \"public.customers\"\nwhere = \"name = 'nobody'\"\n";
    insta::assert_snapshot!(refused(&live, &backup, recipe, &[], 3), @r#"
        error[predicate-matches-nothing]: the predicate matches no row of "public.customers" in the backup
          cause: the table has 6 rows in the backup
          cause: newest joined_at: 2026-02-03 04:05:06.789+00
          hint: Is it the wrong backup, or one taken after the accident? Otherwise correct the predicate. Live was not changed.
        "#);
    let recipe = "[[recover]]\ntable = \"public.audit\"\nkey = [\"line\"]\nwhere = \"true\"\n";
    insta::assert_snapshot!(refused(&live, &backup, recipe, &[], 3), @r#"
        error[predicate-matches-nothing]: the predicate matches no row of "public.audit" in the backup
          cause: the table is empty in the backup
          hint: Is it the wrong backup, or one taken after the accident? Otherwise correct the predicate. Live was not changed.
        "#);
}

#[test]
fn tables_without_a_key() {
    let (live, backup) = shop();
    let recipe = "[[recover]]\ntable = \"public.visits\"\nwhere = \"true\"\n";
    insta::assert_snapshot!(refused(&live, &backup, recipe, &[], 4), @r#"
        error[no-key]: table "public.visits" has no key that names a row
          cause: it has neither a primary key nor a unique key over columns that are not null
          hint: Name columns that are unique in the recipe: `key = ["…"]` under `[columns."public.visits"]`. Where rows may be alike, nothing names one of them: leave the table out (`children = "none"`, or a list of the tables to follow) and bring its rows back by hand. Live was not changed.
        "#);
    let recipe = format!("{recipe}key = [\"page\", \"at\"]\n");
    insta::assert_snapshot!(refused(&live, &backup, &recipe, &[], 4), @r#"
        error[key-not-unique]: the key (page, at) of "public.visits" does not name rows
          cause: keys that are null or occur more than once in the backup: 1
          hint: Name other columns in `key = [...]`. Where rows may be alike, nothing names one of them: leave the table out (`children = "none"`, or a list of the tables to follow). Live was not changed.
        "#);
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

/// In front of a command: file systems of its own.
fn unshare() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &["unshare", "-m"] } else { &["unshare", "-rm"] }
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
fn a_case_of_another_run_or_no_case_at_all() {
    let (live, backup) = shop();
    let rescue = Rescue::new(&live, &backup);
    // A directory that is no case stays as it is.
    let foreign = rescue.directory().join("holiday");
    fs::create_dir(&foreign).unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(foreign.join("photo.jpg"), b"x").unwrap();
    let output = rescue.recover_with(RECIPE, &["--quiet", "--case", "holiday"]);
    insta::assert_snapshot!(told(output, 4, &rescue, &live), @r#"
        error[not-a-case]: "holiday" is not empty and no case of rowback's
          hint: Name another directory with `--case DIR`, or move this one away. Live was not changed.
        "#);
    let names: Vec<_> = fs::read_dir(&foreign).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["photo.jpg"]);
    assert_eq!(fs::metadata(&foreign).unwrap().permissions().mode() & 0o777, 0o755);
    // A file is no directory.
    let output = rescue.recover_with(RECIPE, &["--quiet", "--case", "holiday/photo.jpg"]);
    insta::assert_snapshot!(told(output, 3, &rescue, &live), @r#"
        error[case-directory]: cannot use "holiday/photo.jpg"
          cause: Not a directory (os error 20)
          hint: Check the directory's permissions and free space, then run the same command again. Live was not changed.
        "#);

    // A recipe that was corrected after an error goes on in the same directory; after a plan it is another recovery.
    let wrong = RECIPE.replace("= 2", "= 77");
    let _nothing = rescue.recover_with(&wrong, &["--quiet"]).expect_code(3);
    let _planned = rescue.recover_with(RECIPE, &["--quiet"]).expect_code(0);
    let plan = fs::read(rescue.case().join("plan.json")).unwrap();
    insta::assert_snapshot!(told(rescue.recover_with(&wrong, &["--quiet"]), 4, &rescue, &live), @r#"
        error[case-of-another-run]: "case" holds another recovery
          cause: its recipe.toml is not the one of this run
          hint: Name another directory with `--case DIR`, or move this one away. Live was not changed.
        "#);
    assert_eq!(fs::read(rescue.case().join("plan.json")).unwrap(), plan, "the other recovery is as it was");
    // The same recipe again is the same recovery, until it was applied.
    let _again = rescue.recover_with(RECIPE, &["--quiet"]).expect_code(0);
    live.psql("delete from orders where customer_id = 2");
    let _planned = rescue.recover_with(RECIPE, &["--quiet"]).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    insta::assert_snapshot!(told(rescue.recover_with(RECIPE, &["--quiet"]), 4, &rescue, &live), @r#"
        error[case-already-applied]: "case" holds a recovery that was applied
          cause: it has a journal.jsonl
          hint: Its journal is needed to undo it. Name another directory with `--case DIR`. This run changed nothing.
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

#[test]
fn apply_wants_the_name_before_it_connects() {
    let (live, backup) = shop();
    let rescue = Rescue::new(&live, &backup);
    live.psql("delete from orders where customer_id = 2");
    let _planned = rescue.recover_with(RECIPE, &["--quiet"]).expect_code(0);
    let before = live.digest();
    for command in ["apply", "undo"] {
        // Nobody is there: a connection would end with 3.
        let output = rescue.rowback().run([command, "case", "--live", "postgresql://me@127.0.0.1:1/shop"]);
        assert!(told(output, 2, &rescue, &live).starts_with("error[confirmation-missing]: "));
    }
    let other =
        rescue.rowback().run(["apply", "case", "--live", &live.url(), "--confirm", "shop", "--quiet"]);
    insta::assert_snapshot!(told(other, 2, &rescue, &live), @r#"
        error[confirmation-wrong]: the confirmation names "shop", but the connection leads to the database "[live]"
          hint: Give `--confirm [live]` if that is the database to write to, or correct the connection. Nothing was changed.
        "#);
    before.assert_same(&live.digest(), "nothing was applied");
    assert!(!rescue.case().join("journal.jsonl").exists(), "no journal without an apply");
}

#[test]
fn archives_that_lack_rows_or_structure() {
    let (live, _) = shop();
    for (args, expected) in [
        (["-Fc", "--inserts"], "error[backup-inserts]: "),
        (["-Fd", "--rows-per-insert=10"], "error[backup-inserts]: "),
        (["-Ft", "--column-inserts"], "error[backup-inserts]: "),
        (["-Fc", "--data-only"], "error[backup-without-structure]: "),
        (["-Fc", "--schema-only"], "error[backup-without-rows]: "),
        (["-Fd", "--exclude-table-data=orders"], "error[backup-without-rows]: "),
    ] {
        let text = refused(&live, &live.dump(&args), RECIPE, &[], 3);
        assert!(text.starts_with(expected), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 3, "{args:?}: {text}");
        assert!(text.ends_with("live was not changed.\n"), "{args:?}: {text}");
    }
    insta::assert_snapshot!(refused(&live, &live.dump(&["-Fc", "--schema-only"]), RECIPE, &[], 3), @r#"
        error[backup-without-rows]: the backup does not contain the rows of "public.orders"
          cause: it was made with --schema-only, --exclude-table-data or the like
          hint: Missing rows are not the same as no rows: use a backup that has them, or leave the table out with `children = [...]`. Scratch was removed; live was not changed.
        "#);
    // A child's rows are as needed as the table's own.
    let recipe = "[[recover]]\ntable = \"public.customers\"\nwhere = \"id = 2\"\n";
    let without = live.dump(&["-Fc", "--exclude-table-data=orders"]);
    insta::assert_snapshot!(refused(&live, &without, recipe, &[], 3), @r#"
        error[backup-without-rows]: the backup does not contain the rows of "public.orders"
          cause: it was made with --schema-only, --exclude-table-data or the like
          hint: Missing rows are not the same as no rows: use a backup that has them, or leave the table out with `children = [...]`. Scratch was removed; live was not changed.
        "#);
    // Without that child it is enough.
    let rescue = Rescue::new(&live, &without);
    let _planned =
        rescue.recover_with(&format!("{recipe}children = \"none\"\n"), &["--quiet"]).expect_code(0);
}

#[test]
fn errors_are_one_json_object_where_json_is_asked_for() {
    let (live, backup) = shop();
    let rescue = Rescue::new(&live, &backup);
    let output = rescue.recover_with(&RECIPE.replace("= 2", "= 77"), &["--json"]).expect_code(3);
    let object = output.json();
    assert_eq!((&object["schema"], &object["error"]["exit"]), (&1.into(), &3.into()));
    assert_eq!(object["error"]["code"], "predicate-matches-nothing");
    assert_eq!(output.stdout.matches('\n').count(), 1, "one line: {}", output.stdout);
    assert!(output.stderr.contains("error[predicate-matches-nothing]: "), "and for people on stderr");
    let output = rescue.recover_with(RECIPE, &["--json"]).expect_code(0);
    let object = output.json();
    assert_eq!((&object["schema"], &object["command"]), (&1.into(), &"recover".into()));
    assert_eq!(output.stdout.matches('\n').count(), 1);
    assert!(!output.stderr.contains("Plan:"), "the result is on stdout only: {}", output.stderr);
}
