//! May the role do what the batches need? Asked once, before the first write, for all tables together. Only reads the
//! catalog; whether single columns are closed to the role is for the batches to find out.

use std::collections::{BTreeMap, BTreeSet};

use super::runner::Runner;
use super::{ApplyError, Task};
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, WriteSession, column};
use crate::plan::{Action, Batch};
use crate::sql::registry::{APPLY_PRIVILEGES, SEQUENCE_PRIVILEGES};

const WHAT: &str = "asking what the role may write";

/// What is done to the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Privilege {
    Insert,
    Update,
    Delete,
}

impl Privilege {
    fn word(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// Tables by what must be allowed there.
type Needs = BTreeMap<Privilege, BTreeSet<TableName>>;

/// What a role lacks, and the statements that give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The role.
    pub role: String,
    /// One line a privilege: `no DELETE on public.orders`.
    pub lines: Vec<String>,
    /// The statements, with `; ` between them.
    pub grants: String,
}

impl Runner<'_> {
    /// Refuses before the first write where the batches cannot be written, and notes where they could not be taken back.
    pub(super) async fn check_privileges(&self, batches: &[Batch]) -> Result<(), ApplyError> {
        let known = granted(&self.session, batches).await?;
        let role = self.identity.user.clone();
        let closed = match self.task {
            Task::Apply | Task::DryRun => self.closed_sequences(batches).await?,
            Task::Undo => Vec::new(),
        };
        if let Some(lacking) = lacking(&needs(self.task, batches), &known, &closed, &role) {
            return Err(ApplyError::NotPermitted { task: self.task, lacking: Box::new(lacking) });
        }
        if self.task == Task::Undo {
            return Ok(());
        }
        let mut back = needs(Task::Undo, batches);
        // What else undo needs, apply needs as well.
        back.retain(|privilege, _| *privilege == Privilege::Delete);
        if let Some(lacking) = lacking(&back, &known, &[], &role) {
            let note = format!(
                "{} for the role \"{role}\": `undo` needs it, and so does clearing away rows that triggers make in the place of \
                 recovered ones. Ask for: {}",
                lacking.lines.join(", "),
                lacking.grants
            );
            self.around.progress.note(&note);
            self.tell(0, note);
        }
        Ok(())
    }

    /// Sequences that a batch would move forward and the role may not.
    async fn closed_sequences(&self, batches: &[Batch]) -> Result<Vec<TableName>, PgError> {
        if batches.iter().all(|batch| !batch.parts.is_empty()) {
            return Ok(Vec::new());
        }
        let wanted = self.plan().sequences.iter().map(|advance| &advance.sequence);
        let (schemas, names): (Vec<&str>, Vec<&str>) =
            wanted.map(|name| (name.schema.as_str(), name.name.as_str())).unzip();
        let mut closed = Vec::new();
        for row in self.session.query(&SEQUENCE_PRIVILEGES, &[&schemas, &names]).await? {
            if !column::<bool>(&row, "may_read", WHAT)? || !column::<bool>(&row, "may_move", WHAT)? {
                let schema: String = column(&row, "schema", WHAT)?;
                closed.push(TableName::new(schema, column::<String>(&row, "name", WHAT)?));
            }
        }
        Ok(closed)
    }
}

/// What the batches need. A row is locked before it is deleted, which PostgreSQL allows those who may update it.
fn needs(task: Task, batches: &[Batch]) -> Needs {
    let mut needs = Needs::new();
    let mut add = |privilege, table: &TableName| {
        needs.entry(privilege).or_default().insert(table.clone());
    };
    for part in batches.iter().flat_map(|batch| &batch.parts) {
        let (table, from) = (&part.table, part.from.as_ref().unwrap_or(&part.table));
        match (part.action, task) {
            (Action::Insert, Task::Apply | Task::DryRun) => add(Privilege::Insert, table),
            (Action::Update, _) => add(Privilege::Update, table),
            (Action::Insert, Task::Undo) => {
                add(Privilege::Delete, table);
                add(Privilege::Update, table);
            }
            (Action::Move, _) => {
                let (comes, goes) = if task == Task::Undo { (from, table) } else { (table, from) };
                add(Privilege::Insert, comes);
                add(Privilege::Delete, goes);
                add(Privilege::Update, goes);
            }
        }
    }
    needs
}

/// What is granted on a table.
struct Granted {
    enter: bool,
    /// Row security applies, which makes every statement of a batch an error.
    hidden: bool,
    privileges: BTreeSet<Privilege>,
}

async fn granted(session: &WriteSession, batches: &[Batch]) -> Result<BTreeMap<TableName, Granted>, PgError> {
    let parts = batches.iter().flat_map(|batch| &batch.parts);
    let tables: BTreeSet<&TableName> =
        parts.flat_map(|part| std::iter::once(&part.table).chain(&part.from)).collect();
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let mut found = BTreeMap::new();
    if tables.is_empty() {
        return Ok(found);
    }
    for row in session.query(&APPLY_PRIVILEGES, &[&schemas, &names]).await? {
        let flags = [
            ("may_insert", Privilege::Insert),
            ("may_update", Privilege::Update),
            ("may_delete", Privilege::Delete),
        ];
        let mut privileges = BTreeSet::new();
        for (flag, privilege) in flags {
            if column::<bool>(&row, flag, WHAT)? {
                privileges.insert(privilege);
            }
        }
        let schema: String = column(&row, "schema", WHAT)?;
        let name = TableName::new(schema, column::<String>(&row, "name", WHAT)?);
        found.insert(
            name,
            Granted {
                enter: column(&row, "may_enter", WHAT)?,
                hidden: column(&row, "hides_rows", WHAT)?,
                privileges,
            },
        );
    }
    Ok(found)
}

/// A table that is not there any more is for its batch to tell.
fn lacking(
    needs: &Needs,
    known: &BTreeMap<TableName, Granted>,
    sequences: &[TableName],
    role: &str,
) -> Option<Lacking> {
    let quoted_role = Ident::new(role).quoted();
    let (mut lines, mut grants) = (Vec::new(), Vec::new());
    let mut closed = BTreeSet::new();
    for (privilege, tables) in needs {
        let without: Vec<&TableName> = tables
            .iter()
            .filter(|table| {
                known
                    .get(*table)
                    .is_some_and(|granted| !granted.enter || !granted.privileges.contains(privilege))
            })
            .collect();
        if without.is_empty() {
            continue;
        }
        let is_closed = |table: &&&TableName| known.get(**table).is_some_and(|granted| !granted.enter);
        closed.extend(without.iter().filter(is_closed).map(|table| table.schema.quoted()));
        let names: Vec<String> = without.iter().map(ToString::to_string).collect();
        let quoted: Vec<String> = without.iter().map(|table| table.quoted()).collect();
        lines.push(format!("no {} on {}", privilege.word(), names.join(", ")));
        let word = privilege.word().to_lowercase();
        grants.push(format!("grant {word} on {} to {quoted_role}", quoted.join(", ")));
    }
    let hidden: Vec<String> =
        known.iter().filter(|(_, granted)| granted.hidden).map(|(table, _)| table.to_string()).collect();
    if !needs.is_empty() && !hidden.is_empty() {
        lines.push(format!("row security applies on {}", hidden.join(", ")));
        grants.push(format!("alter role {quoted_role} bypassrls"));
    }
    if !sequences.is_empty() {
        let names: Vec<String> = sequences.iter().map(ToString::to_string).collect();
        let quoted: Vec<String> = sequences.iter().map(TableName::quoted).collect();
        lines.push(format!("no SELECT and UPDATE on {}, which may have to move forward", names.join(", ")));
        grants.push(format!("grant select, update on sequence {} to {quoted_role}", quoted.join(", ")));
    }
    if lines.is_empty() {
        return None;
    }
    if !closed.is_empty() {
        let closed: Vec<String> = closed.into_iter().collect();
        grants.insert(0, format!("grant usage on schema {} to {quoted_role}", closed.join(", ")));
    }
    Some(Lacking { role: role.to_owned(), lines, grants: grants.join("; ") })
}
