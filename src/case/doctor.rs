//! Is everything there that a recovery needs? Only looks: at live read-only, at the backup's table of contents, at this
//! machine's server programs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::{Context, Error, connect_live};
use crate::backup::{Backup, TableData};
use crate::catalog::Catalog;
use crate::catalog::load::{Place, load};
use crate::error::Explain;
use crate::ident::TableName;
use crate::pg::{ConnectSettings, ReadSession, column};
use crate::recipe::{Children, Recipe, Triggers};
use crate::scratch::programs::Programs;
use crate::sql::registry::{DOCTOR_DATABASE, DOCTOR_PRIVILEGES};

const WHAT: &str = "asking what the role may do";

/// What to look at.
#[derive(Debug)]
pub struct DoctorOptions {
    /// The recipe that is meant to be run.
    pub recipe: Option<Recipe>,
    /// Live.
    pub live: ConnectSettings,
    /// The backup.
    pub backup: Option<PathBuf>,
    /// Directory of server programs.
    pub pg_bin: Option<PathBuf>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// Is it as it must be?
    pub ok: bool,
    /// What was found, and what to do where it is wrong.
    pub detail: String,
}

/// All checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DoctorSummary {
    /// In the order in which they were made.
    pub checks: Vec<Check>,
}

impl DoctorSummary {
    /// Is anything wrong?
    pub fn leftover(&self) -> bool {
        self.checks.iter().any(|check| !check.ok)
    }

    fn add(&mut self, name: impl Into<String>, ok: bool, detail: impl Into<String>) {
        self.checks.push(Check { name: name.into(), ok, detail: detail.into() });
    }

    /// An error becomes a check that failed, with its cause and hint.
    fn add_error(&mut self, name: &str, error: &impl Explain) {
        let causes = error.causes().join("; ");
        let detail =
            format!("{error}{}{causes}. {}", if causes.is_empty() { "" } else { ": " }, error.hint());
        self.add(name, false, detail);
    }
}

/// Looks at everything; what is wrong is a check, not an error.
pub async fn doctor(options: &DoctorOptions, context: &Context) -> Result<DoctorSummary, Error> {
    let mut found = DoctorSummary::default();
    let backup = options.backup.as_deref().and_then(|path| match Backup::open(path) {
        Ok(backup) => {
            let contents = backup.contents();
            let detail = format!("{} tables, PostgreSQL {}", contents.tables.len(), contents.server_version);
            found.add("backup", !contents.missing_schema(), detail);
            Some(backup)
        }
        Err(error) => {
            found.add_error("backup", &error);
            None
        }
    });
    let needed = backup.as_ref().map_or(0, |backup| backup.contents().server_major);
    match Programs::find(options.pg_bin.as_deref(), needed, &context.env) {
        Ok(programs) => found.add("server programs", true, programs.path("").display().to_string()),
        Err(error) => found.add_error("server programs", &error),
    }
    match connect_live(&options.live).await {
        Ok(session) => look_at_live(options, &session, backup.as_ref(), &mut found).await?,
        Err(error) => found.add_error("live", &error),
    }
    Ok(found)
}

async fn look_at_live(
    options: &DoctorOptions,
    session: &ReadSession,
    backup: Option<&Backup>,
    found: &mut DoctorSummary,
) -> Result<(), Error> {
    let identity = session.identity().await?;
    let rows = session.query(&DOCTOR_DATABASE, &[]).await?;
    let (mut may_temp, mut version) = (false, String::new());
    if let Some(row) = rows.first() {
        may_temp = column(row, "may_temp", WHAT)?;
        version = column(row, "version", WHAT)?;
    }
    let who = format!("{}, PostgreSQL {version}, as \"{}\"", options.live.describe(), identity.user);
    if identity.in_recovery {
        found.add("live", false, format!("{who}: a standby, which cannot be written to; name the primary"));
    } else {
        found.add("live", true, who);
    }
    let grant = format!("grant temporary on database \"{}\" to \"{}\"", identity.dbname, identity.user);
    found.add("temporary tables", may_temp, if may_temp { "allowed".to_owned() } else { grant });
    let Some(recipe) = &options.recipe else { return Ok(()) };
    let catalog = load(Place::Live(session)).await?;
    let triggers = recipe.policy.triggers;
    if triggers == Triggers::Replica {
        let detail = "triggers = \"replica\" needs a superuser or SET on session_replication_role";
        found.add("replica", identity.is_superuser, detail);
    }
    for table in wanted(recipe, &catalog) {
        look_at_table(session, &catalog, &table, triggers, found).await?;
        if let Some(backup) = backup {
            look_at_backup(backup, &table, found);
        }
    }
    Ok(())
}

/// The recipe's tables, what refers to them however indirectly, and what they refer to.
fn wanted(recipe: &Recipe, catalog: &Catalog) -> BTreeSet<TableName> {
    let mut tables: BTreeSet<TableName> = BTreeSet::new();
    for entry in &recipe.recover {
        tables.insert(entry.table.clone());
        let mut open = if entry.children == Children::None { vec![] } else { vec![entry.table.clone()] };
        while let Some(parent) = open.pop() {
            for fk in catalog.children_of(&parent) {
                let followed = match &entry.children {
                    Children::Only(list) => list.contains(&fk.child),
                    _ => true,
                };
                if followed && tables.insert(fk.child.clone()) {
                    open.push(fk.child.clone());
                }
            }
        }
    }
    let parents: Vec<TableName> =
        tables.iter().flat_map(|table| catalog.parents_of(table)).map(|fk| fk.parent.clone()).collect();
    tables.extend(parents);
    tables
}

async fn look_at_table(
    session: &ReadSession,
    catalog: &Catalog,
    table: &TableName,
    triggers: Triggers,
    found: &mut DoctorSummary,
) -> Result<(), Error> {
    let name = format!("live table {table}");
    let Some(known) = catalog.table(table) else {
        found.add(name, false, "is not there; make it again, or leave it out with `children = [...]`");
        return Ok(());
    };
    let (schema, inner) = (table.schema.as_str(), table.name.as_str());
    let rows = session.query(&DOCTOR_PRIVILEGES, &[&schema, &inner]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let flag = |column_name: &str| column::<bool>(row, column_name, WHAT);
    let mut problems = Vec::new();
    for (privilege, has) in [
        ("SELECT", flag("may_select")?),
        ("INSERT", flag("may_insert")?),
        ("UPDATE", flag("may_update")?),
        ("DELETE (to undo)", flag("may_delete")?),
    ] {
        if !has {
            problems.push(format!("no {privilege}"));
        }
    }
    if flag("hides_rows")? {
        problems.push("row security applies to this role; use one with BYPASSRLS".to_owned());
    }
    if triggers == Triggers::Disable && !known.triggers.is_empty() && !flag("owns")? {
        problems.push("triggers = \"disable\" needs its owner".to_owned());
    }
    if known.key_columns().is_none() {
        problems.push(format!("no key: say `key = [...]` under [columns.\"{table}\"]"));
    }
    let detail = if problems.is_empty() { "can be read and written".to_owned() } else { problems.join("; ") };
    found.add(name, problems.is_empty(), detail);
    Ok(())
}

fn look_at_backup(backup: &Backup, table: &TableName, found: &mut DoctorSummary) {
    let name = format!("backup table {table}");
    match backup.contents().tables.get(table) {
        Some(TableData::Rows { .. }) => found.add(name, true, "has its rows"),
        Some(TableData::Inserts { .. }) => {
            found.add(name, false, "has its rows as INSERT statements; use a dump made without --inserts");
        }
        Some(TableData::Missing) => found.add(name, false, "its rows are not in the backup"),
        // The root of partitions has no rows of its own; a table that is new in live is not in the backup.
        None => {}
    }
}
