//! What is no backup, and backups that are cut, bent or incomplete: nothing of it is ever taken for a whole one.

use std::path::{Path, PathBuf};

use rowback::backup::{Archive, Backup, KeepAll, TableData};
use rowback::cancel::CancelToken;
use rowback::error::Explain;
use rowback::progress::Silent;

use super::backup::{code, database, dump_appending, open_and_verify, read, sha256_of, table, verify};
use super::support::{Rescue, TempDir, TestDb, run};

#[test]
fn what_is_no_archive_is_said() {
    let files = TempDir::new("no-archive");
    let database = database();
    let archive = database.dump(&["-Fc"]);
    let archive_bytes = std::fs::read(&archive).unwrap();
    std::fs::copy(&archive, files.join("a.dump")).unwrap();
    let shell =
        |script: &str| run(std::process::Command::new("sh").arg("-c").arg(script).current_dir(files.path()));
    shell("mkdir empty base locked; touch base/PG_VERSION; gzip -k a.dump");
    files.write("locked/toc.dat/x", "");
    let mut version = std::fs::read(&archive).unwrap();
    version[6] = 17;
    let mut old = version.clone();
    old[6] = 11;
    let zipped = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    let cases: Vec<(PathBuf, &str, &str)> = vec![
        (files.join("absent"), "backup-unreadable", "cannot read the backup"),
        (files.join("locked"), "backup-unreadable", "cannot read the backup"),
        (files.write("zero", ""), "backup-empty", "is empty"),
        (files.write("noise", "hello world"), "backup-format", "is not a backup"),
        (files.write("archive-inside.gz", zipped(&archive_bytes)), "backup-format", "inside a gzip file"),
        (files.write("noise.gz", zipped(b"hello")), "backup-format", "is not a backup"),
        (files.join("a.dump.gz"), "backup-format", "is an archive of pg_dump inside a gzip file"),
        (files.join("empty"), "backup-no-toc", "has no toc.dat"),
        (files.join("base"), "backup-format", "is a base backup"),
        (PathBuf::from("postgres://me:secret@h/d"), "backup-format", "the backup is a running server"),
        (files.write("version", version), "backup-version", "has archive version 1.17"),
        (files.write("old", old), "backup-version", "has archive version 1.11"),
    ];
    for (path, expected, words) in cases {
        let error = Backup::open(&path).unwrap_err();
        assert!(error.to_string().contains(words), "{}: {error}", path.display());
        assert!(!error.to_string().contains("secret"));
        assert_eq!(code(Backup::open(&path)), expected, "{}", path.display());
    }
}

#[test]
fn an_archive_cut_anywhere_is_never_taken_for_a_whole_one() {
    let database = database();
    let files = TempDir::new("cut");
    let appended = dump_appending(&database, &files, &["-Fc"]);
    let data_end = std::fs::read(database.dump_to_pipe(&["-Fc"])).unwrap().len();
    assert!(std::fs::read(&appended).unwrap().len() > data_end + 5000, "a second table of contents");
    for path in [database.dump(&["-Fc"]), database.dump_to_pipe(&["-Fc"]), appended, database.dump(&["-Ft"])]
    {
        let whole = std::fs::read(&path).unwrap();
        let intact = open_and_verify(&path).unwrap();
        // A tar file goes on with a script for people, which nothing is read from; before it there is padding.
        let needed = memchr::memmem::find(&whole, b"restore.sql").unwrap_or(whole.len());
        let codes =
            ["backup-empty", "backup-truncated", "backup-block-missing", "backup-format", "backup-damaged"];
        for cut in (0..needed).step_by(needed / 150).chain([5, 9, 20, needed - 1]) {
            let cut_path = files.write("cut", &whole[..cut]);
            match open_and_verify(&cut_path) {
                Ok(found) => {
                    let in_padding = !whole.starts_with(b"PGDMP") && needed - cut < 512;
                    assert!(in_padding || cut == data_end, "cut at {cut}");
                    assert_eq!(
                        (found.tables, found.large_objects),
                        (intact.tables.clone(), intact.large_objects)
                    );
                }
                Err(error) => assert!(codes.contains(&error.code()), "cut at {cut}: {error}"),
            }
        }
    }
}

#[test]
fn a_directory_with_a_file_cut_or_gone_is_an_error() {
    let database = database();
    let directory = database.dump(&["-Fd"]);
    let archive = Archive::open(&directory).unwrap();
    let TableData::Rows { entry, .. } = archive.contents().tables[&table("orders")] else { panic!() };
    let file = directory.join(format!("{entry}.dat.gz"));
    let whole = std::fs::read(&file).unwrap();
    for cut in [0, 5, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..cut]).unwrap();
        assert_eq!(code(read(&archive, &table("orders"), &KeepAll)), "backup-truncated", "{cut}");
        assert_eq!(code(verify(&archive)), "backup-truncated");
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(code(read(&archive, &table("orders"), &KeepAll)), "backup-block-missing");
    // Unpacked by hand it is as good.
    let rows = database.psql(r#"copy (select id, "Note, 1", weight from orders) to stdout"#);
    std::fs::write(directory.join(format!("{entry}.dat")), format!("{rows}\\.\n\n\n")).unwrap();
    assert!(read(&archive, &table("orders"), &KeepAll).unwrap().0 == rows.as_bytes());
}

#[test]
fn one_flipped_byte_in_a_compressed_block_is_found() {
    let database = database();
    let files = TempDir::new("flip");
    let path = database.dump(&["-Fc"]);
    let whole = std::fs::read(&path).unwrap();
    let metadata = libpgdump::format::custom::read_metadata(&mut &whole[..]).unwrap();
    let offsets = metadata.entries.iter().map(|entry| usize::try_from(entry.offset).unwrap());
    let data = offsets.filter(|offset| *offset > 0).min().unwrap();
    let intact = open_and_verify(&path).unwrap().tables;
    let mut found = 0;
    for at in (data..whole.len()).step_by((whole.len() - data) / 300) {
        let mut bent = whole.clone();
        bent[at] ^= 0x10;
        match open_and_verify(&files.write("bent", &bent)) {
            Err(error) => {
                found += 1;
                let expected = ["backup-damaged", "backup-truncated", "backup-block-missing"];
                assert!(expected.contains(&error.code()), "byte {at}: {error}");
            }
            // The last bits before a checksum mean nothing.
            Ok(inspection) => assert_eq!(inspection.tables, intact, "byte {at}"),
        }
    }
    assert!(found >= 295, "{found} of 300 found");
}

#[test]
fn a_flipped_byte_without_checksums_is_found_where_it_changes_the_shape_of_rows() {
    let database = database();
    let files = TempDir::new("shape");
    let whole = std::fs::read(database.dump(&["-Fc", "-Z0"])).unwrap();
    let at = memchr::memmem::find(&whole, b"tab\\there").unwrap();
    for (bent, fact) in [(b'\t', "separators"), (0, "a byte 0"), (0xff, "UTF-8"), (b'\n', "separators")] {
        let mut copy = whole.clone();
        copy[at] = bent;
        let error = open_and_verify(&files.write("bent", &copy)).unwrap_err();
        assert_eq!(error.code(), "backup-damaged");
        assert!(error.causes()[0].contains(fact), "{:?}", error.causes());
    }
}

/// A directory with files of other tables or times in it: each is whole, and its checksum right.
#[test]
fn a_data_file_of_another_table_is_damage_to_whoever_reads_it() {
    let database = TestDb::with(
        "swapped",
        "create table t (id int primary key, a text, b text); insert into t select g, 'a', 'b' from generate_series(1, 20) as g;
         create table u (id int primary key, a text); insert into u select g, 'a' from generate_series(1, 20) as g;",
    );
    let dump = database.dump(&["-Fd"]);
    let archive = Archive::open(&dump).unwrap();
    let file = |name: &str| match &archive.contents().tables[&table(name)] {
        TableData::Rows { entry, .. } => dump.join(format!("{entry}.dat.gz")),
        other => panic!("{other:?}"),
    };
    let (wide, narrow) = (std::fs::read(file("t")).unwrap(), std::fs::read(file("u")).unwrap());
    for (name, bytes, fact) in [
        ("t", &narrow, "20 rows of 3 columns have 20 separators"),
        ("u", &wide, "20 rows of 2 columns have 40 separators"),
    ] {
        let kept = std::fs::read(file(name)).unwrap();
        std::fs::write(file(name), bytes).unwrap();
        let rescue = Rescue::new(&database, &dump);
        let (path, url) = (dump.to_str().unwrap(), database.url());
        let run = |args: &[&str]| rescue.rowback().run(args).expect_code(3).stderr;
        let inspected = run(&["inspect", "--quiet", path]);
        assert!(inspected.starts_with("error[backup-damaged]") && inspected.contains(fact), "{inspected}");
        assert_eq!(run(&["compare", "--quiet", "--backup", path, "--live", &url]), inspected);
        let recipe = format!("[[recover]]\ntable = \"{name}\"\nwhere = \"id = 3\"\n");
        let recovered = rescue.recover_with(&recipe, &["--quiet"]).expect_code(3).stderr;
        assert_eq!(recovered, inspected);
        std::fs::write(file(name), kept).unwrap();
    }
}

#[test]
fn claims_in_a_header_are_not_believed() {
    let database = database();
    let files = TempDir::new("claims");
    let whole = std::fs::read(database.dump(&["-Fc"])).unwrap();
    // Header of 11 bytes and the compression level (5), seven integers, then the length of the database's name.
    let name = 11 + 5 + 7 * 5;
    assert_eq!(usize::from(whole[name + 1]), database.name().len());
    let count = {
        let mut at = name;
        for _ in 0..3 {
            at += 5 + usize::from(whole[at + 1]);
        }
        at
    };
    for at in [name, count] {
        let mut bent = whole.clone();
        bent[at + 1..at + 5].copy_from_slice(&i32::MAX.to_le_bytes());
        let found = code(Archive::open(&files.write("bent", &bent)));
        assert!(["backup-truncated", "backup-damaged"].contains(&found), "{found}");
    }
    for (at, value) in [(8, 8), (8, 0), (9, 200)] {
        let mut bent = whole.clone();
        bent[at] = value;
        assert_eq!(code(Archive::open(&files.write("bent", &bent))), "backup-damaged", "byte {at} = {value}");
    }
}

#[test]
fn names_in_another_encoding_are_refused_and_rows_are_not() {
    let database = database();
    let error = Archive::open(&database.dump(&["-Fc", "-E", "LATIN1"])).unwrap_err();
    assert_eq!(error.code(), "backup-encoding");

    let files = TempDir::new("encoding");
    let mut bent = std::fs::read(database.dump(&["-Fc"])).unwrap();
    let at = memchr::memmem::find(&bent, "Öde".as_bytes()).unwrap();
    bent[at] = b'x';
    let error = Archive::open(&files.write("bent", &bent)).unwrap_err();
    assert_eq!((error.code(), error.causes().len()), ("backup-damaged", 1), "UTF-8 was promised");

    let latin = TestDb::with("latin", "create table a (b text); insert into a values ('é')");
    let archive = Archive::open(&latin.dump(&["-Fc", "-E", "LATIN1"])).unwrap();
    assert_eq!(archive.contents().encoding, "LATIN1");
    assert_eq!(read(&archive, &table("a"), &KeepAll).unwrap().0, b"\xe9\n");
    assert!(verify(&archive).is_ok());
}

#[test]
fn a_manifest_must_name_and_match_every_file() {
    let database = database();
    let files = TempDir::new("manifest");
    let check = |path: &Path, manifest: &Path| {
        Archive::open(path).unwrap().verify(Some(manifest), &Silent, &CancelToken::default())
    };
    let file = files.join("shop.dump");
    std::fs::copy(database.dump(&["-Fc"]), &file).unwrap();
    let directory = files.join("shop");
    let made = database.dump(&["-Fd"]);
    let shell = |script: &str| {
        run(std::process::Command::new("sh").args(["-c", script, "sh"]).arg(&made).current_dir(files.path()))
    };
    shell(
        "cp -r \"$1\" shop; sha256sum shop.dump > one; sha256sum shop/* > many; (cd shop; sha256sum *) > names; sha256sum one > other",
    );
    let one = files.join("one");
    let inspection = check(&file, &one).unwrap();
    assert_eq!(inspection.manifest.as_deref(), Some(&*one));
    for manifest in ["many", "names"] {
        assert!(check(&directory, &files.join(manifest)).is_ok(), "{manifest}");
    }
    assert_eq!(code(check(&file, &files.join("absent"))), "manifest-unreadable");
    assert_eq!(code(check(&file, &files.write("noise", "hello"))), "manifest-unreadable");
    assert_eq!(code(check(&file, &files.join("other"))), "manifest-unnamed");
    assert_eq!(code(check(&directory, &one)), "manifest-unnamed");
    let wrong = std::fs::read_to_string(&one).unwrap().replace(&sha256_of(&file), &"0".repeat(64));
    assert_eq!(code(check(&file, &files.write("wrong", wrong))), "manifest-mismatch");
    std::fs::write(directory.join("stray"), "x").unwrap();
    assert_eq!(code(check(&directory, &files.join("many"))), "manifest-unnamed");
    std::fs::remove_file(directory.join("stray")).unwrap();
    shell("rm shop/blobs.toc");
    assert_eq!(code(check(&directory, &files.join("many"))), "manifest-absent");
}
