//! Plain SQL dumps, as they are and compressed: their rows, entries and refusals, held against archives of the same
//! database; then cut at every place.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rowback::backup::{Backup, BackupError, Compression, Contents, Entry, Format, KeepAll, TableData};
use rowback::cancel::CancelToken;
use rowback::error::{Explain, Kind};
use rowback::ident::{Ident, TableName};
use rowback::progress::Silent;

use super::support::{Rescue, TempDir, TestDb, run};

/// Everything that could be taken for something else.
const SQL: &str = r#"
    create function atomic() returns int language sql begin atomic select case when true then 1 else 2 end; select 2; end;
    create function quoted() returns text language plpgsql as $f$ begin return $$ -- Name: x; Type: TABLE; Schema: public; Owner: me
COPY x FROM stdin;
1
\.
$$; end $f$;
    create domain odd as text check (value <> E'a\\\';b');
    create type mood as enum ('sad; (', 'o''k');
    create table owners (id int generated always as identity primary key, name odd, feels mood default 'o''k', "twice;" int generated always as (length('x;')) stored);
    insert into owners (name) values (E'\\.'), (E'COPY x FROM stdin;\n\\.\n'), (null), (E'--\n-- PostgreSQL database dump complete\n--\n\n'), ('');
    create table "od
d; Type: X" ("b;" text primary key, a int references owners on delete cascade);
    insert into "od
d; Type: X" values ('x', 1), ('y', 2), ('z', 2);
    create table empty (id int);
    create table nothing ();
    insert into nothing select from generate_series(1, 3);
    create table log (at date, owner int references owners on delete cascade, line text, primary key (at, owner)) partition by range (at);
    create table log_2026 partition of log for values from ('2026-01-01') to ('2027-01-01');
    create table log_rest partition of log default;
    insert into log values ('2026-02-02', 1, 'x'), ('2025-02-02', 2, E'a\\b\tc');
    create table tree (id int primary key, parent int references tree on delete set null, owner int references owners on delete set null);
    insert into tree select g, nullif(g / 2, 0), 1 + g % 5 from generate_series(1, 40) g;
    create view seen as select * from owners where name is not null;
    create rule r as on insert to empty do also (select 1; select 2);
    create function stamp() returns trigger language plpgsql as 'begin return new; end';
    create trigger t before update on tree for each row execute function stamp();
    create materialized view counted as select count(*) from tree;
    comment on table tree is 'a; b -- c';
    alter table tree replica identity full;
    create sequence counter; select setval('counter', 42);
    create schema "Öde.1"; create table "Öde.1"."T ""x""" ("a b" text); insert into "Öde.1"."T ""x""" values ('ä'), (null);
    select lo_from_bytea(7, 'small'), lo_from_bytea(8, repeat('large', 50000)::bytea);
"#;

fn database() -> TestDb<'static> {
    TestDb::with("plain", SQL)
}

fn table(name: &str) -> TableName {
    TableName::new("public", name)
}

fn rows(backup: &Backup, table: &TableName) -> Result<Vec<u8>, BackupError> {
    let mut rows = Vec::new();
    backup.read_rows(table, &KeepAll, &CancelToken::default(), &mut |chunk| {
        rows.extend_from_slice(chunk);
        Ok(())
    })?;
    Ok(rows)
}

fn all_rows(backup: &Backup) -> BTreeMap<TableName, Vec<u8>> {
    backup.contents().tables.keys().map(|table| (table.clone(), rows(backup, table).unwrap())).collect()
}

fn error(path: &Path) -> BackupError {
    let error = Backup::open(path).err().or_else(|| open_and_verify(path).err());
    let error = error.unwrap_or_else(|| panic!("{} was taken for a whole dump", path.display()));
    assert_eq!(error.kind(), Kind::Input, "{error}");
    assert!(error.hint().ends_with("Nothing was changed."), "{}", error.hint());
    error
}

fn open_and_verify(path: &Path) -> Result<(), BackupError> {
    Backup::open(path)?.verify(None, &Silent, &CancelToken::default()).map(|_| ())
}

/// The dump compressed in every way that is read.
fn compressed(path: &Path, files: &TempDir) -> Vec<(PathBuf, Compression)> {
    let text = std::fs::read(path).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&text).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&text).unwrap();
    vec![
        (files.write("dump.sql.gz", gzip.finish().unwrap()), Compression::Gzip),
        (files.write("dump.sql.lz4", lz4.finish().unwrap()), Compression::Lz4),
        (files.write("dump.sql.zst", zstd::encode_all(&text[..], 3).unwrap()), Compression::Zstd),
    ]
}

/// What of the contents must be the same, whatever the format.
fn comparable(contents: &Contents) -> BTreeMap<TableName, Option<(TableName, Vec<Ident>)>> {
    let data = |data: &TableData| match data {
        TableData::Rows { target, columns, .. } => Some((target.clone(), columns.clone())),
        TableData::Inserts { .. } | TableData::Missing => None,
    };
    contents.tables.iter().map(|(table, found)| (table.clone(), data(found))).collect()
}

/// The entries that scratch could run, in order, without what only one of the formats says.
fn entries(contents: &Contents) -> Vec<Entry> {
    let of_session = ["ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "BLOBS"];
    let wanted = contents.entries.iter().filter(|entry| !of_session.contains(&entry.kind.as_str()));
    let shown = |entry: &Entry| Entry {
        id: 0,
        dependencies: Vec::new(),
        // A comment shows a line end as a blank.
        name: entry.name.replace('\n', " "),
        definition: entry.definition.split_whitespace().collect::<Vec<_>>().join(" "),
        ..entry.clone()
    };
    wanted.map(shown).collect()
}

#[test]
fn a_plain_dump_holds_what_an_archive_of_the_same_database_holds() {
    let database = database();
    let files = TempDir::new("plain");
    let archive = Backup::open(&database.dump(&["-Fc"])).unwrap();
    let expected = all_rows(&archive);
    assert_eq!((expected.len(), expected[&table("owners")].is_empty()), (8, false));
    let ways: [&[&str]; 5] = [
        &[],
        &["--create"],
        &["--clean", "--if-exists"],
        &["--verbose", "--create", "--clean"],
        &["--no-owner", "-x"],
    ];
    for args in ways {
        let mut args = args.to_vec();
        args.push("-Fp");
        let path = database.dump(&args);
        let mut all = vec![(path.clone(), Compression::None)];
        all.extend(compressed(&path, &files));
        for (path, compression) in all {
            let plain = Backup::open(&path).unwrap();
            let contents = plain.contents();
            assert_eq!((contents.format, contents.compression), (Format::Plain, compression));
            assert_eq!(contents.server_version, archive.contents().server_version);
            assert_eq!(contents.dump_version, archive.contents().dump_version);
            assert_eq!(contents.server_major, archive.contents().server_major);
            assert_eq!(contents.dumped_at.is_some(), args.contains(&"--verbose"));
            let named = args.contains(&"--create").then(|| database.name());
            assert_eq!(contents.dbname.as_deref(), named);
            assert_eq!(comparable(contents), comparable(archive.contents()), "{args:?}");
            assert!(all_rows(&plain) == expected, "{}: other rows", path.display());
            for (table, expected) in expected.iter().rev() {
                assert!(rows(&plain, table).unwrap() == *expected, "{table} in reverse order");
            }
            let verify = |backup: &Backup| backup.verify(None, &Silent, &CancelToken::default()).unwrap();
            let (found, whole) = (verify(&plain), verify(&archive));
            assert_eq!((&found.tables, found.large_objects), (&whole.tables, whole.large_objects));
            assert_eq!(found.checksums, compression == Compression::Gzip);
        }
    }
    let plain = Backup::open(&database.dump(&["-Fp"])).unwrap();
    let (found, wanted) = (entries(plain.contents()), entries(archive.contents()));
    assert!(wanted.len() > 40, "{}", wanted.len());
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found.len(), wanted.len());
}

#[test]
fn a_verbose_dump_names_the_entries_that_its_numbers_mean() {
    let backup = Backup::open(&database().dump(&["-Fp", "--verbose"])).unwrap();
    let entries = &backup.contents().entries;
    let find = |kind: &str, name: &str| entries.iter().find(|entry| entry.kind == kind && entry.name == name);
    let (data, table) = (find("TABLE DATA", "tree").unwrap(), find("TABLE", "tree").unwrap());
    assert_eq!(data.dependencies, [table.id]);
}

#[test]
fn rows_that_are_not_there_are_never_an_empty_table() {
    let database = database();
    let code = |args: &[&str], name: &str| {
        let backup = Backup::open(&database.dump(args)).unwrap();
        rows(&backup, &table(name)).unwrap_err().code()
    };
    assert_eq!(code(&["-Fp", "--schema-only"], "owners"), "backup-without-rows");
    assert_eq!(code(&["-Fp", "--exclude-table-data=owners"], "owners"), "backup-without-rows");
    assert_eq!(code(&["-Fp", "--inserts"], "owners"), "backup-inserts");
    assert_eq!(code(&["-Fp", "--column-inserts", "--rows-per-insert=2"], "tree"), "backup-inserts");
    assert_eq!(code(&["-Fp"], "owner"), "backup-table-unknown");
    let data_only = Backup::open(&database.dump(&["-Fp", "--data-only", "--disable-triggers"])).unwrap();
    assert!(data_only.contents().missing_schema());
    assert_eq!(rows(&data_only, &table("nothing")).unwrap(), b"\n\n\n");
    let inserts = Backup::open(&database.dump(&["-Fp", "--inserts"])).unwrap();
    let found = inserts.verify(None, &Silent, &CancelToken::default()).unwrap();
    assert_eq!((found.tables.len(), found.inserts.len()), (0, 8));
    let through_root = Backup::open(&database.dump(&["-Fp", "--load-via-partition-root"])).unwrap();
    let TableData::Rows { target, .. } = &through_root.contents().tables[&table("log_2026")] else {
        panic!()
    };
    assert_eq!(target, &table("log"));
    assert_eq!(rows(&through_root, &table("log_2026")).unwrap(), b"2026-02-02\t1\tx\n");
}

#[test]
fn a_plain_dump_cut_anywhere_is_never_taken_for_a_whole_one() {
    let database = TestDb::with(
        "cut",
        "create table a (b text); insert into a select md5(g::text) from generate_series(1, 20) g; insert into a values (E'\\\\.');
         create function f() returns text language sql as $$ select 'x;' $$; create table c (d int)",
    );
    let files = TempDir::new("cut");
    for args in [&["-Fp"][..], &["-Fp", "--create", "--verbose"]] {
        let path = database.dump(args);
        let whole = std::fs::read(&path).unwrap();
        assert!(open_and_verify(&path).is_ok());
        // Behind the mark of the end there is nothing but blank lines.
        let needed = whole.trim_ascii_end().len();
        for cut in 0..needed {
            let found = Backup::open(&files.write("cut.sql", &whole[..cut])).unwrap_err().code();
            let expected = ["backup-empty", "backup-format", "backup-truncated", "backup-not-one-dump"];
            assert!(expected.contains(&found), "cut at {cut}: {found}");
            assert!(cut < 400 || found == "backup-truncated", "cut at {cut}: {found}");
        }
        for (packed, _) in compressed(&path, &files) {
            let whole = std::fs::read(&packed).unwrap();
            for cut in (0..whole.len()).step_by(7).chain(whole.len() - 20..whole.len()) {
                match open_and_verify(&files.write("cut.packed", &whole[..cut])) {
                    // The frame's own end mark and checksum; all of the text is there.
                    Ok(()) => assert!(whole.len() - cut <= 8, "{}: cut at {cut}", packed.display()),
                    Err(error) => assert_eq!(error.kind(), Kind::Input),
                }
            }
        }
    }
    let in_rows = std::fs::read(database.dump(&["-Fp"])).unwrap();
    let at = memchr::memmem::find(&in_rows, b"FROM stdin").unwrap() + 60;
    let error = error(&files.write("rows.sql", &in_rows[..at]));
    assert_eq!(error.to_string().rsplit_once(" in ").unwrap().1, "the rows of public.a");
}

#[test]
fn what_pg_dump_does_not_write_is_refused() {
    let database = TestDb::with("edited", "create table a (b text); insert into a values ('x'), ('y')");
    let files = TempDir::new("edited");
    let dump = |args: &[&str]| std::fs::read_to_string(database.dump(args)).unwrap();
    let (plain, create) = (dump(&["-Fp"]), dump(&["-Fp", "--create"]));
    // As pg_dumpall writes it; run here, it would dump the databases that other tests are changing.
    let all = format!(
        "--\n-- PostgreSQL database cluster dump\n--\n\nSET default_transaction_read_only = off;\n\n\\connect template1\n\n{plain}"
    );
    let connect = format!("\\connect {}", database.name());
    assert!(create.contains(&connect));
    let at_rows = |text: &str| plain.replace("COPY public.a", &format!("{text}COPY public.a"));
    let cases = [
        (
            plain.replace("SET row_security", "\\! touch /tmp/owned\nSET row_security"),
            "the psql command \"\\\\!\"",
        ),
        (plain.replace("SET row_security = off", "SELECT 1 \\gexec\n"), "the psql command"),
        (at_rows("\\i /etc/passwd\n"), "the psql command \"\\\\i\""),
        (at_rows("\\copy a from program 'id'\n"), "the psql command \"\\\\copy\""),
        (at_rows("\\connect other\n"), "several databases"),
        (create.replace(&connect, "\\connect other"), "several databases"),
        (create.replace(&connect, &format!("{connect}\n\\connect other")), "several databases"),
        (all, "several databases"),
        (format!("{plain}{plain}"), "several databases"),
        (format!("{plain}SELECT 1;\n"), "commands follow the end"),
        (at_rows("COPY public.b FROM PROGRAM 'id';\n"), "does not write under TABLE DATA a"),
        (at_rows("COPY public.b FROM '/etc/passwd';\n"), "does not write under TABLE DATA a"),
        (
            at_rows("INSERT INTO public.a VALUES ('secret');\n"),
            "does not write under TABLE DATA a: \"COPY public.a",
        ),
        (at_rows("TRUNCATE TABLE public.b;\n"), "does not write under TABLE DATA a"),
        (at_rows("ALTER TABLE public.a ADD COLUMN c int;\n"), "does not write under TABLE DATA a"),
        (at_rows("DELETE FROM public.a;\n"), "does not write under TABLE DATA a: \"DELETE FROM public.a\""),
        (
            plain.replace("\\.\n", "\\.\nINSERT INTO public.a VALUES ('secret');\n"),
            "does not write under TABLE DATA a",
        ),
        (plain.replace("CREATE TABLE", "INSERT INTO public.a VALUES (1);\nCREATE TABLE"), "under TABLE a"),
        (plain.replace("strings = on", "strings = off"), "standard_conforming_strings"),
        (plain.replace('\n', "\r\n"), "line end"),
        (plain.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n"), "is not there"),
        (plain.replace("-- Data for Name", "-- Datum for Name"), "a command that pg_dump does not write"),
        (plain.replace("-- Name: a; Type: TABLE;", "-- Nome"), "under no comment"),
    ];
    for (text, fact) in cases {
        let path = files.write("edited.sql", &text);
        let error = error(&path);
        assert_eq!(error.code(), "backup-not-one-dump", "{fact}: {error}\n{:?}", error.causes());
        assert!(error.causes()[0].contains(fact), "{fact}: {:?}", error.causes());
        assert!(!error.causes()[0].contains("secret"));
    }
    assert!(open_and_verify(&files.write("whole.sql", &plain)).is_ok());
}

#[test]
fn a_database_with_settings_of_its_own_is_one_database() {
    let database = TestDb::with("settings", "create table a (b text); insert into a values ('x'), ('y')");
    database.psql(&format!("alter database {} set work_mem = '5MB'", database.name()));
    let plain = database.dump(&["-Fp", "--create"]);
    let text = std::fs::read_to_string(&plain).unwrap();
    assert_eq!(text.matches(&format!("\\connect {}", database.name())).count(), 2);
    let (plain, archive) = (Backup::open(&plain).unwrap(), Backup::open(&database.dump(&["-Fc"])).unwrap());
    assert_eq!(all_rows(&plain), all_rows(&archive));
    assert_eq!(all_rows(&plain)[&table("a")], b"x\ny\n");
}

#[test]
fn the_encoding_is_that_of_the_dump() {
    let latin = TestDb::with("latin", "create table a (b text); insert into a values ('é')");
    let backup = Backup::open(&latin.dump(&["-Fp", "-E", "LATIN1"])).unwrap();
    assert_eq!(backup.contents().encoding, "LATIN1");
    assert_eq!(rows(&backup, &table("a")).unwrap(), b"\xe9\n");
    let named = TestDb::with("latin", "create table \"é\" (b text)");
    assert_eq!(error(&named.dump(&["-Fp", "-E", "LATIN1"])).code(), "backup-encoding");
}

#[test]
fn rows_bent_in_shape_are_found() {
    let database =
        TestDb::with("bent", "create table a (b text, c text); insert into a values ('one', 'two')");
    let files = TempDir::new("bent");
    let whole = std::fs::read(database.dump(&["-Fp"])).unwrap();
    let at = memchr::memmem::find(&whole, b"one\ttwo").unwrap() + 1;
    for (byte, fact) in [(b'\t', "separators"), (0, "a byte 0"), (0xff, "UTF-8"), (b'\n', "separators")] {
        let mut bent = whole.clone();
        bent[at] = byte;
        let error = error(&files.write("bent.sql", &bent));
        assert_eq!(error.code(), "backup-damaged");
        assert!(error.causes()[0].contains(fact), "{:?}", error.causes());
    }
}

/// Recovers from a backup and returns the checksums of all that was found and planned.
fn planned(live: &TestDb, recipe: &str, backup: &Path) -> String {
    let rescue = Rescue::new(live, backup);
    let output = rescue.recover_text(recipe);
    assert!([Some(0), Some(1)].contains(&output.code), "{}", output.stderr);
    let script =
        "cd \"$1\"; find diff batches undo plan.json staging -type f -print0 | sort -z | xargs -0 sha256sum";
    run(Command::new("sh").args(["-c", script, "sh"]).arg(rescue.case()))
}

#[test]
fn a_recovery_from_a_plain_dump_plans_the_same_bytes() {
    // A name with a line end cannot be written into a batch.
    let database = TestDb::with("plain", &format!("{SQL} drop table \"od\nd; Type: X\""));
    let live = database.copy("live");
    let files = TempDir::new("same");
    let archive = database.dump(&["-Fc"]);
    let plain = database.dump(&["-Fp"]);
    live.psql("delete from owners where id in (1, 2)");
    let recipe = "[[recover]]\ntable = \"public.owners\"\nwhere = \"id < 3\"\n";
    let expected = planned(&live, recipe, &archive);
    assert!(expected.lines().count() > 10, "{expected}");
    let mut all =
        vec![(plain.clone(), Compression::None), (database.dump(&["-Fp", "-C", "-c"]), Compression::None)];
    all.extend(compressed(&plain, &files));
    for (path, _) in &all {
        let found = planned(&live, recipe, path);
        assert_eq!(found, expected, "{}", path.display());
    }
    // A difference shows: another loss gives other bytes.
    live.psql("delete from owners where id = 3");
    let wider = recipe.replace("< 3", "< 4");
    assert_ne!(planned(&live, &wider, &plain), expected);
}

#[test]
fn compare_and_a_later_backup_take_plain_dumps_too() {
    let database = TestDb::with("plain", &format!("{SQL} drop table \"od\nd; Type: X\""));
    let live = database.copy("live");
    live.psql("delete from tree where id > 30; update tree set owner = 4 where id = 7; insert into tree values (99)");
    let files = TempDir::new("compared");
    let plain = database.dump(&["-Fp"]);
    let compared = |backup: &Path| {
        let rescue = Rescue::new(&live, backup);
        let backup = backup.display().to_string();
        let args = ["compare", "--backup", &backup, "--live", &live.url(), "--json"];
        let output = rescue.rowback().run(args);
        assert_eq!(output.code, Some(1), "a table without columns cannot be compared: {}", output.stderr);
        output.json()["tables"].clone()
    };
    let expected = compared(&database.dump(&["-Fc"]));
    assert!(expected.to_string().contains("\"missing\":10"), "{expected}");
    assert_eq!(compared(&plain), expected);
    for (path, _) in compressed(&plain, &files) {
        assert_eq!(compared(&path), expected, "{}", path.display());
    }

    let recipe = |after: &Path| {
        format!(
            "[backup]\nafter = \"{}\"\n[[recover]]\ntable = \"public.tree\"\nwhere = \"id > 5\"\n",
            after.display()
        )
    };
    let (archive_after, plain_after) = (live.dump(&["-Fc"]), live.dump(&["-Fp", "--create"]));
    live.psql("delete from tree where id = 6");
    let expected = planned(&live, &recipe(&archive_after), &plain);
    assert_eq!(planned(&live, &recipe(&plain_after), &plain), expected);
    database.psql("insert into tree values (98)");
    let early = database.dump(&["-Fp"]);
    assert_ne!(planned(&live, &recipe(&early), &plain), expected, "nothing was lost between them");
}
