//! The command line before it does anything: usage, help, completions, what is wrong with a recipe, and that nobody is
//! asked for a confirmation who is not there.

use std::io::Read;
use std::process::Stdio;

use super::support::{Rowback, TempDir, TestDb};

#[test]
fn usage_errors_end_with_2_and_say_so_on_stderr() {
    let place = TempDir::new("cli");
    let rowback = Rowback::new(place.path());
    for args in [
        &["frobnicate"][..],
        &["recover"],
        &["recover", "r.toml", "--table", "t", "--where", "true"],
        &["recover", "--table", "t"],
        &["recover", "--table", "t", "--where", "true", "--kind", "lost"],
        &["plan", "--batch-rows", "0"],
        &["apply", "case", "other"],
    ] {
        let output = rowback.run(args).expect_code(2);
        assert_eq!(output.stdout, "", "{args:?}");
        assert!(output.stderr.starts_with("error: "), "{args:?}: {}", output.stderr);
    }
}

/// A program that asked for JSON reads why it was refused where it reads everything else.
#[test]
fn usage_errors_are_json_where_json_was_asked_for() {
    let place = TempDir::new("cli");
    let rowback = Rowback::new(place.path());
    let mut told = Vec::new();
    for args in [
        &["--json", "recover", "--jobs", "x"][..],
        &["--json", "bogus"],
        &["recvoer", "--json"],
        &["recover", "--json", "--table", "t"],
        &["inspect", "--json"],
        &["report", "--json", "--html", "x.html"],
        &["--json"],
    ] {
        let output = rowback.run(args).expect_code(2);
        let json = output.json();
        assert_eq!(
            (&json["schema"], &json["error"]["code"], &json["error"]["exit"]),
            (&1.into(), &"wrong-usage".into(), &2.into())
        );
        assert!(!output.stderr.is_empty(), "{args:?}");
        told.push(format!("{} {}", json["error"]["message"], json["error"]["causes"]));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    "invalid value 'x' for '--jobs <N>': invalid digit found in string" []
    "unrecognized subcommand 'bogus'" []
    "unrecognized subcommand 'recvoer'" ["tip: some similar subcommands exist: 'report', 'recover'"]
    "the following required arguments were not provided" ["--where <CONDITION>"]
    "the following required arguments were not provided" ["<BACKUP>"]
    "the argument '--json' cannot be used with '--html <FILE>'" []
    "'rowback' requires a subcommand but one was not provided" ["[subcommands: recover, apply, verify, undo, report, show, extract, diff, plan, inspect, compare, doctor, completions, man, help]"]
    "#);
    let plain = rowback.run(["recover", "--jobs", "x", "--", "--json"]).expect_code(2);
    assert_eq!(plain.stdout, "", "a file named --json asks for nothing");
    let help = rowback.run(["--json", "--help"]).expect_code(0);
    assert!(help.stdout.contains("Exit codes: 0 done"), "{}", help.stdout);
}

#[test]
fn help_version_completions_and_manual_are_results() {
    let place = TempDir::new("cli");
    let rowback = Rowback::new(place.path());
    for (args, wanted) in [
        (&["--help"][..], "Exit codes: 0 done"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["help", "recover"], "--batch-rows <N>"),
        (&["completions", "bash"], "_rowback()"),
        (&["completions", "zsh"], "#compdef rowback"),
        (&["completions", "fish"], "complete -c rowback"),
        (&["man"], ".TH rowback 1"),
    ] {
        let output = rowback.run(args).expect_code(0);
        assert!(output.stdout.contains(wanted), "{args:?}: {}", output.stdout);
        assert_eq!(output.stderr, "", "{args:?}");
    }
    for (args, field, wanted) in [
        (&["completions", "bash", "--json"][..], "script", "_rowback()"),
        (&["man", "--json"], "page", ".TH rowback 1"),
    ] {
        let object = rowback.run(args).expect_code(0).json();
        assert_eq!(object["schema"], 1, "{args:?}");
        assert!(object[field].as_str().unwrap().contains(wanted), "{args:?}: {object}");
    }
}

#[test]
fn apply_and_undo_without_a_name_touch_nothing() {
    let place = TempDir::new("cli");
    let rowback = Rowback::new(place.path());
    for command in ["apply", "undo"] {
        // The case does not exist, and live is nowhere: neither is looked at.
        let output = rowback.run([command, "nowhere", "--live", "host=192.0.2.1"]).expect_code(2);
        assert!(output.stderr.starts_with("error[confirmation-missing]: "), "{}", output.stderr);
        assert!(output.stderr.ends_with("Nothing was touched.\n"), "{}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    assert!(!place.join("nowhere").exists());
}

#[test]
fn a_wrong_recipe_is_told_by_line_in_text_and_json() {
    let place = TempDir::new("cli");
    place.write("r.toml", "[backup]\npath = \"b.dump\"\n\n[[recover]]\ntabel = \"public.orders\"\n");
    let rowback = Rowback::new(place.path());
    let output = rowback.run(["recover", "r.toml", "--json"]).expect_code(2);
    insta::assert_snapshot!(output.stderr, @r#"
        error[recipe-unknown-key]: r.toml:5: unknown key "tabel" in [[recover]]
          cause: known keys: table, kind, where, where_file, query, replay, children, links, identity, key, columns, damaged, owner, owner_from, misrouted_to
          hint: Did you mean "table"? Nothing was touched.
        "#);
    let json = output.json();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["error"]["code"], "recipe-unknown-key");
    assert_eq!(json["error"]["exit"], 2);
    assert_eq!(json["error"]["message"], "r.toml:5: unknown key \"tabel\" in [[recover]]");
    let output = rowback.run(["recover", "no.toml"]).expect_code(3);
    insta::assert_snapshot!(output.stderr, @r#"
        error[recipe-unreadable]: cannot read the recipe no.toml
          cause: No such file or directory (os error 2)
          hint: Check the path and its permissions. Nothing was touched.
        "#);
}

#[test]
fn one_table_without_a_recipe_is_checked_like_a_recipe() {
    let place = TempDir::new("cli");
    let rowback = Rowback::new(place.path());
    let run = |table: &str, condition: &str, code| {
        let args = ["recover", "--table", table, "--where", condition];
        rowback.run(args).expect_code(code).stderr
    };
    insta::assert_snapshot!(run("a.b.c", "true", 2), @r#"
        error[wrong-table-name]: "a.b.c" is no table name
          hint: Write --table schema.table, or only the table when it is in "public". Nothing was touched.
        "#);
    insta::assert_snapshot!(run("orders", "id = 1; DROP TABLE orders", 2), @r#"
        error[predicate-semicolon]: --table: where: the SQL text contains a semicolon
          hint: Leave the semicolon out; only one expression or SELECT is evaluated. Nothing was touched.
        "#);
    insta::assert_snapshot!(run("orders", "DELETE FROM orders", 2), @r#"
        error[predicate-writes]: --table: where: the SQL text writes or locks: DELETE FROM orders
          hint: Predicates and queries only read. The statement that did the damage goes into `replay`. Nothing was touched.
        "#);
    insta::assert_snapshot!(run("orders", "id = 1", 2), @r#"
        error[no-backup]: nothing says which backup to recover from
          hint: Add --backup FILE, or path = "…" below [backup] in the recipe. Nothing was touched.
        "#);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = TempDir::new("cli");
    let rowback = Rowback::new(place.path());
    let mut child = rowback.command(["man"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
    let full = std::fs::File::create("/dev/full").unwrap();
    let output = rowback.command(["man"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error[output-unwritable]: "));
}

#[test]
fn colour_is_for_terminals_and_for_those_who_ask() {
    let place = TempDir::new("cli");
    let rowback = Rowback::new(place.path());
    let plain = rowback.run(["apply"]).expect_code(2).stderr;
    assert!(!plain.contains('\x1b'), "{plain:?}");
    let coloured = rowback.run(["apply", "--color", "always"]).expect_code(2).stderr;
    assert!(coloured.starts_with("\x1b[1;31merror\x1b[0m["), "{coloured:?}");
}

#[test]
fn a_backup_that_is_cut_behind_the_wanted_rows_is_told() {
    let shop = TestDb::with(
        "cut",
        "create table a (id int primary key); insert into a select generate_series(1, 3); \
        create table b (id int primary key, x text); insert into b select g, repeat(md5(g::text), 9) from generate_series(1, 2000) g; \
        create table c (id int primary key); insert into c values (1);",
    );
    let whole = shop.dump(&["-Fc"]);
    shop.psql("delete from a where id = 2");
    let place = TempDir::new("cli");
    let rowback = Rowback::new(place.path());
    let bytes = std::fs::read(&whole).unwrap();
    let cut = place.path().join("cut.dump");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let recover = |backup: &std::path::Path, table: &str, case: &str, code: i32| {
        let (backup, url) = (backup.display().to_string(), shop.url());
        let args = [
            "recover", "--table", table, "--where", "true", "--backup", &backup, "--live", &url, "--case",
            case,
        ];
        rowback.run(args).expect_code(code)
    };
    let told = recover(&cut, "a", "one", 0);
    assert!(told.stderr.contains("is not whole: it ends before the data of 1 of its entries"), "{told:?}");
    assert!(!recover(&whole, "a", "two", 0).stderr.contains("not whole"));
    assert!(recover(&cut, "b", "three", 3).stderr.contains("error[backup-truncated]"));
    assert!(recover(&cut, "c", "four", 3).stderr.contains("error[backup-truncated]"));
}

#[test]
fn a_damaged_row_that_nobody_wants_does_not_hide_its_neighbour() {
    let shop = TestDb::with(
        "swallow",
        "create table a (id int primary key, x text); insert into a select g, 'row ' || g from generate_series(1, 9) g;",
    );
    let dumps = [shop.dump(&["-Fp"]), shop.dump(&["-Fc", "-Z0"]), shop.dump(&["-Ft"])];
    shop.psql("delete from a where id in (5, 6)");
    let place = TempDir::new("cli");
    let rowback = Rowback::new(place.path());
    let url = shop.url();
    for (number, dump) in dumps.iter().enumerate() {
        // The line break between a row that nobody wants and one that somebody does.
        let mut bytes = std::fs::read(dump).unwrap();
        let at = memchr::memmem::find(&bytes, b"row 4\n").unwrap() + 5;
        let sound = dump.display().to_string();
        bytes[at] = b'\t';
        let damaged = place.path().join(format!("{number}.dump"));
        std::fs::write(&damaged, &bytes).unwrap();
        let damaged = damaged.display().to_string();
        let case = format!("case-{number}");
        let recover = |backup: &str| {
            let args = [
                "recover",
                "--table",
                "a",
                "--where",
                "id in (5, 6)",
                "--backup",
                backup,
                "--live",
                &url,
                "--case",
                &case,
            ];
            rowback.run(args)
        };
        let compare =
            |backup: &str| rowback.run(["compare", "--backup", backup, "--live", &url, "--table", "a"]);
        let refused = recover(&damaged).expect_code(3);
        assert!(refused.stderr.contains("separators"), "{refused:?}");
        let refused = compare(&damaged).expect_code(3);
        assert!(refused.stderr.contains("separators"), "{refused:?}");
        assert!(recover(&sound).expect_code(0).stdout.contains("2 to insert"));
        let differs = compare(&sound).expect_code(0);
        assert!(differs.stdout.contains("missing: 5, 6"), "{differs:?}");
    }
}

#[test]
fn scratch_may_be_below_a_directory_of_an_odd_name() {
    let shop = TestDb::with(
        "odd",
        "create table a (id int primary key); insert into a select generate_series(1, 3);",
    );
    let backup = shop.dump(&["-Fc"]).display().to_string();
    let place = TempDir::new("cli");
    for (number, name) in ["it's", "a b\"c", &"x".repeat(200)].into_iter().enumerate() {
        let directory = place.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
        let (url, case) = (shop.url(), format!("case-{number}"));
        let args = [
            "recover", "--table", "a", "--where", "true", "--backup", &backup, "--live", &url, "--case",
            &case,
        ];
        let output = Rowback::new(place.path()).env("TMPDIR", &directory).run(args);
        let _planned = output.expect_code(0);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn a_backup_too_large_to_be_read_whole_is_known_by_its_ends() {
    let shop = TestDb::with(
        "large",
        "create table a (id int primary key); insert into a select generate_series(1, 3);",
    );
    let backup = shop.dump(&["-Fc"]);
    let place = TempDir::new("cli");
    let rowback = Rowback::new(place.path());
    let identity = |backup: &std::path::Path, case: &str| -> serde_json::Value {
        let (backup, url) = (backup.display().to_string(), shop.url());
        let args = [
            "recover", "--table", "a", "--where", "id = 2", "--backup", &backup, "--live", &url, "--case",
            case,
        ];
        let _planned = rowback.run(args).expect_code(0);
        let text = std::fs::read(place.path().join(case).join("backup.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let whole = identity(&backup, "whole");
    assert_eq!(whole["sha256"], super::backup::sha256_of(&backup));
    assert!(whole.get("ends_sha256").is_none());

    // A hole takes no room on the disk; what follows the last block is nobody's.
    let large = place.path().join("large.dump");
    std::fs::copy(&backup, &large).unwrap();
    std::fs::OpenOptions::new().write(true).open(&large).unwrap().set_len((4 << 30) + 1).unwrap();
    let ends = identity(&large, "ends");
    assert!(ends.get("sha256").is_none());
    let first = ends["ends_sha256"].as_str().unwrap().to_owned();
    assert_eq!(first.len(), 64);
    assert_eq!(identity(&large, "again")["ends_sha256"], first);
    std::fs::OpenOptions::new().write(true).open(&large).unwrap().set_len((4 << 30) + 2).unwrap();
    assert_ne!(identity(&large, "longer")["ends_sha256"], first);
    let report = rowback.run(["report", "ends"]).expect_code(0).stdout;
    assert!(report.contains(&format!("{first} (of its ends")), "{report}");
}

#[test]
fn a_sound_backup_that_rowback_cannot_recover_from_is_not_called_fine() {
    let shop = TestDb::with(
        "inspected",
        "create table a (id int primary key); create table b (id int primary key); insert into a select generate_series(1, 3);",
    );
    let place = TempDir::new("cli");
    let rowback = Rowback::new(place.path());
    for (args, code, said) in [
        (&["-Fc"][..], 0, "every block, 3 rows"),
        (&["-Fp"], 0, "every block, 3 rows"),
        (&["-Fc", "--exclude-table-data=b"], 0, "public.b: the backup does not contain its rows"),
        (&["-Fc", "--schema-only"], 1, "public.a: the backup does not contain its rows"),
        (&["-Fc", "--data-only"], 1, "rows without their tables' structure"),
        (&["-Fc", "--inserts"], 1, "public.a: rows are INSERT commands"),
        (&["-Fp", "--inserts"], 1, "public.a: rows are INSERT commands"),
    ] {
        let backup = shop.dump(args).display().to_string();
        let output = rowback.run(["inspect", &backup]).expect_code(code);
        assert!(output.stdout.contains(said), "{args:?}: {}", output.stdout);
    }
}
