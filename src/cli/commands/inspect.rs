//! `rowback inspect`: checks a backup to its last block and says what is in it.

use rowback::backup::{Backup, Contents, Inspection};
use rowback::case::Context;
use serde_json::json;

use crate::cli::Ending;
use crate::cli::args::InspectArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::table::{Align, counted, grouped, sized, table};

/// Prints format, versions, dump time, checksums and tables.
pub async fn run(args: &InspectArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let (path, manifest) = (args.backup.clone(), args.manifest.clone());
    let (progress, cancel) = (context.progress.clone(), context.cancel.clone());
    let read = tokio::task::spawn_blocking(move || {
        let backup = Backup::open_watched(&path, &*progress, &cancel)?;
        let inspection = backup.verify(manifest.as_deref(), &*progress, &cancel)?;
        Ok::<_, rowback::backup::BackupError>((backup, inspection))
    });
    let (backup, inspection) =
        read.await.map_err(|error| Failure::bug("the check ended by a panic", &error))??;
    let contents = backup.contents();
    let result = json!({
        "format": contents.format,
        "archive_version": contents.archive_version,
        "compression": contents.compression,
        "dbname": contents.dbname,
        "server_version": contents.server_version,
        "dump_version": contents.dump_version,
        "dumped_at": contents.dumped_at,
        "encoding": contents.encoding,
        "structure": !contents.missing_schema(),
        "inspection": inspection,
    });
    output.result("inspect", &result, |_| text(&args.backup.display().to_string(), contents, &inspection))?;
    Ok(Ending::when_left(is_of_no_use(contents, &inspection)))
}

/// Is there something in the backup that rowback cannot recover from, however sound it is? Tables without rows beside others
/// with rows are what whoever made it asked for.
fn is_of_no_use(contents: &Contents, inspection: &Inspection) -> bool {
    let no_rows = inspection.tables.is_empty() && !inspection.missing.is_empty();
    contents.missing_schema() || no_rows || !inspection.inserts.is_empty()
}

fn text(path: &str, contents: &Contents, inspection: &Inspection) -> String {
    let version = contents.archive_version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let database = contents.dbname.as_deref().unwrap_or("name not known");
    let facts = [
        ("backup", path.to_owned()),
        ("format", format!("{}{version}, compression {}", contents.format, contents.compression)),
        ("database", format!("{database} (PostgreSQL {})", contents.server_version)),
        (
            "dumped",
            format!(
                "{} by pg_dump {}",
                contents.dumped_at.as_deref().unwrap_or("at an unknown time"),
                contents.dump_version
            ),
        ),
        ("size", sized(inspection.bytes)),
        ("sha256", inspection.sha256.clone()),
        ("checked", checked(inspection)),
    ];
    let mut text = String::new();
    for (name, fact) in facts {
        text.push_str(&format!("{name:<9} {fact}\n"));
    }
    let rows: Vec<_> = inspection
        .tables
        .iter()
        .map(|one| vec![one.table.to_string(), grouped(one.rows), sized(one.bytes)])
        .collect();
    text.push('\n');
    text.push_str(&table(&[("table", Align::Left), ("rows", Align::Right), ("size", Align::Right)], &rows));
    if contents.missing_schema() {
        text.push_str("the backup holds rows without their tables' structure (--data-only), which rowback cannot recover from\n");
    }
    for name in &inspection.inserts {
        text.push_str(&format!("{name}: rows are INSERT commands, which rowback cannot recover from\n"));
    }
    for name in &inspection.missing {
        text.push_str(&format!("{name}: the backup does not contain its rows\n"));
    }
    let large = inspection.large_objects;
    if large.objects > 0 {
        let count = counted(large.objects, "large object");
        text.push_str(&format!("{count} ({}), which rowback does not recover\n", sized(large.bytes)));
    }
    text
}

fn checked(inspection: &Inspection) -> String {
    let rows = inspection.tables.iter().map(|one| one.rows).sum();
    let how = match (&inspection.manifest, inspection.checksums) {
        (Some(manifest), _) => format!("; it matches {}", manifest.display()),
        (None, true) => "; all checksums are right".to_owned(),
        (None, false) => {
            "; this format has no checksums, only --manifest proves that no byte differs".to_owned()
        }
    };
    format!("every block, {}{how}", counted(rows, "row"))
}
