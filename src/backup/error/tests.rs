//! The text of every error.

use std::io;
use std::path::PathBuf;

use super::BackupError;
use crate::backup::input::{damaged, ends_early};
use crate::error::Explain;
use crate::ident::TableName;

fn every_error() -> Vec<BackupError> {
    let path = || PathBuf::from("/b/shop.dump");
    let manifest = || PathBuf::from("/b/SHA256SUMS");
    let table = || TableName::new("public", "orders");
    let rows = "the rows of public.orders";
    let denied = || io::Error::from_raw_os_error(13);
    let file = || "shop.dump".to_owned();
    vec![
        BackupError::Unreadable { path: path(), source: denied() },
        BackupError::Empty { path: path() },
        BackupError::NotABackup { path: path(), found: "it begins with the bytes 00".into() },
        BackupError::NotYet { path: path(), found: "a base backup" },
        BackupError::Wrapped { path: path(), found: "a gzip file", unpack: "gunzip" },
        BackupError::NotOneDump {
            path: path(),
            at: 4711,
            fact: "it holds the psql command \"\\!\", which pg_dump does not write there".into(),
            advice: "Name a dump as pg_dump wrote it.",
        },
        BackupError::NoToc { path: path() },
        BackupError::Version { path: path(), version: "1.17".into() },
        BackupError::Encoding { path: path() },
        BackupError::reading(&path(), rows, 4711, ends_early()),
        BackupError::reading(&path(), rows, 4711, damaged("corrupt deflate stream")),
        BackupError::reading(&path(), rows, 4711, denied()),
        BackupError::BlockMissing { path: path(), object: rows.into(), fact: "there is no file".into() },
        BackupError::UnknownTable { table: TableName::new("public", "order"), nearest: Some(table()) },
        BackupError::UnknownTable { table: table(), nearest: None },
        BackupError::WithoutRows { table: table() },
        BackupError::Inserts { table: table() },
        BackupError::ManifestUnreadable { path: manifest(), source: denied() },
        BackupError::ManifestUnnamed { manifest: manifest(), file: file() },
        BackupError::ManifestAbsent { manifest: manifest(), file: file() },
        BackupError::ManifestMismatch {
            manifest: manifest(),
            file: file(),
            expected: "0a".into(),
            found: "0b".into(),
        },
        BackupError::Sink { table: table(), source: denied() },
        BackupError::Cancelled,
    ]
}

#[test]
fn every_error_tells_what_why_and_what_next() {
    let tell = |error: BackupError| {
        let causes = error.causes().into_iter().map(|cause| format!("  cause: {cause}"));
        let mut lines = vec![format!("error[{}]: {error}", error.code())];
        lines.extend(causes.chain([format!("  hint: {}", error.hint())]));
        lines.join("\n")
    };
    let told = every_error().into_iter().map(tell).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(told, @r#"
error[backup-unreadable]: cannot read the backup /b/shop.dump
  cause: Permission denied (os error 13)
  hint: Check the path and its permissions. Nothing was changed.
error[backup-empty]: the backup /b/shop.dump is empty
  hint: A pg_dump that failed leaves such a file: look at its log and take another backup. Nothing was changed.
error[backup-format]: /b/shop.dump is not a backup
  cause: it begins with the bytes 00
  hint: Name a file or directory that pg_dump wrote. Nothing was changed.
error[backup-format]: /b/shop.dump is a base backup, which this version of rowback does not read yet
  hint: Restore it into a database of its own, dump that with `pg_dump -Fc`, and name the archive. Nothing was changed.
error[backup-format]: /b/shop.dump is an archive of pg_dump inside a gzip file
  hint: Unpack it first (`gunzip`) and name what comes out. Nothing was changed.
error[backup-not-one-dump]: /b/shop.dump is no plain dump of one database
  cause: near byte 4711: it holds the psql command "\!", which pg_dump does not write there
  hint: Name a dump as pg_dump wrote it. Nothing was changed.
error[backup-no-toc]: the directory /b/shop.dump has no toc.dat
  hint: Name the directory that `pg_dump -Fd` wrote itself; if toc.dat was lost, take another copy of it. Nothing was changed.
error[backup-version]: the backup /b/shop.dump has archive version 1.17
  cause: archive versions 1.12 to 1.16 can be read (pg_dump 9.0 to 18)
  hint: Restore it with the pg_restore that belongs to it and dump again with pg_dump 18 or older, or update rowback. Nothing was changed.
error[backup-encoding]: the table of contents of /b/shop.dump is not in UTF-8
  hint: Restore it into a database of its own and dump that again with `pg_dump -Fc -E UTF8`. Nothing was changed.
error[backup-truncated]: the backup /b/shop.dump is truncated in the rows of public.orders
  cause: the file ends before the data that begin near byte 4711 do
  hint: Use another copy of this backup, or an older or newer backup. Compare its size and checksum with the original if it was copied. Nothing was changed.
error[backup-damaged]: the backup /b/shop.dump is damaged in the rows of public.orders
  cause: near byte 4711: corrupt deflate stream
  hint: Use another copy of this backup, or an older or newer backup. Compare its size and checksum with the original if it was copied. Nothing was changed.
error[backup-unreadable]: cannot read the backup /b/shop.dump
  cause: Permission denied (os error 13)
  hint: Check the path and its permissions. Nothing was changed.
error[backup-block-missing]: the backup /b/shop.dump lacks the rows of public.orders
  cause: there is no file
  hint: Use another copy of this backup, or an older or newer backup. Compare its size and checksum with the original if it was copied. Nothing was changed.
error[backup-table-unknown]: the table public.order is not in the backup
  hint: Did you mean public.orders? `rowback inspect` lists the tables of a backup. Nothing was changed.
error[backup-table-unknown]: the table public.orders is not in the backup
  hint: `rowback inspect` lists the tables of a backup. Nothing was changed.
error[backup-without-rows]: the backup holds the table public.orders without its rows
  hint: It was dumped with --schema-only, --exclude-table-data or the like, or with -t and without its partitions (--table-and-children takes them along), which says nothing about the rows the table had. Use a backup that was dumped without these options. Nothing was changed.
error[backup-inserts]: the backup holds the rows of public.orders as INSERT commands
  hint: Restore it into a database of its own and dump that again without --inserts, --column-inserts and --rows-per-insert. Nothing was changed.
error[manifest-unreadable]: cannot read the manifest /b/SHA256SUMS
  cause: Permission denied (os error 13)
  hint: A manifest is the output of `sha256sum`. Nothing was changed.
error[manifest-unnamed]: the manifest /b/SHA256SUMS does not name shop.dump
  hint: Name the manifest that was made with this backup. Nothing was changed.
error[manifest-absent]: the manifest /b/SHA256SUMS names shop.dump, which is not there
  hint: Use another copy of this backup, or an older or newer backup. Compare its size and checksum with the original if it was copied. Nothing was changed.
error[manifest-mismatch]: the backup's file shop.dump does not match the manifest /b/SHA256SUMS
  cause: SHA-256 in the manifest: 0a
  cause: SHA-256 of the file:     0b
  hint: Use another copy of this backup, or an older or newer backup. Compare its size and checksum with the original if it was copied. Nothing was changed.
error[backup-sink]: the rows of public.orders could not be passed on
  cause: Permission denied (os error 13)
  hint: See the cause. The backup itself is in order so far. Nothing was changed.
error[backup-interrupted]: reading the backup was interrupted
  hint: Run the same command again to go on.
"#);
}
