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

pub const RECIPE: &str = "[[recover]]\ntable = \"public.orders\"\nwhere = \"customer_id = 2\"\n";

/// The error text of a run that must end with this code and leave no trace: nothing on stdout, live as it was, no scratch.
#[track_caller]
pub fn told(output: Output, code: i32, rescue: &Rescue, live: &TestDb) -> String {
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
pub fn refused(live: &TestDb, backup: &Path, recipe: &str, more: &[&str], code: i32) -> String {
    let before = live.digest();
    let rescue = Rescue::new(live, backup);
    let output = rescue.recover_with(recipe, &[&["--quiet"], more].concat());
    let text = told(output, code, &rescue, live);
    before.assert_same(&live.digest(), "live was only read");
    let staged = rescue.case().join("staging/manifest.json");
    assert!(!staged.exists(), "nothing that looks whole was left");
    text
}

pub fn shop() -> (TestDb<'static>, PathBuf) {
    let shop = TestDb::with("bad_input", SHOP);
    let backup = shop.dump(&["-Fc"]);
    (shop, backup)
}

/// A file beside the backup.
pub fn beside(backup: &Path, name: &str, content: &[u8]) -> PathBuf {
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
pub fn under(front: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(front[0]);
    wrapped.args(&front[1..]).arg(command.get_program()).args(command.get_args()).env_clear();
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.current_dir(command.get_current_dir().unwrap());
    wrapped
}

pub fn output_of(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    Output {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
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

/// A database that does not know its encoding may hold any bytes: they are neither guessed nor taken for a bad predicate.
#[test]
fn rows_that_are_no_utf8_are_told_as_such() {
    let shop = TestDb::with(
        "bytes",
        "create table people (id int primary key, name text); insert into people values (1, 'Zoé'), (2, 'Ann');
         create table pets (id int primary key, person int references people on delete cascade); insert into pets values (1, 1)",
    );
    let dump = shop.dump(&["-Fc", "-Z0", "-E", "SQL_ASCII"]);
    let mut bytes = fs::read(&dump).unwrap();
    let at = memchr::memmem::find(&bytes, "Zoé".as_bytes()).unwrap();
    bytes[at + 2..at + 4].copy_from_slice(b"\xe9e");
    fs::write(&dump, bytes).unwrap();
    let recipe = "[[recover]]\ntable = \"people\"\nwhere = \"id = 1\"\n";
    for more in ["", "children = \"none\"\n"] {
        let said = refused(&shop, &dump, &format!("{recipe}{more}"), &[], 3);
        assert!(
            said.contains("error[staging-encoding]: rows of \"public.people\" hold bytes that are no UTF-8"),
            "{said}"
        );
        assert!(said.contains("0xe9") && said.contains("Live was not changed."), "{said}");
    }
}
