//! May the role do what the batches need? Asked once, before the first write, for all tables together. Only reads the
//! catalog.

use std::collections::{BTreeMap, BTreeSet};

use super::runner::Runner;
use super::{ApplyError, Task};
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, Row, WriteSession, column};
use crate::plan::{Action, Batch};
use crate::sql::registry::{APPLY_PRIVILEGES, SEQUENCE_PRIVILEGES};

const WHAT: &str = "asking what the role may write";

/// What is done to the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Privilege {
    Select,
    Insert,
    Update,
    Delete,
}

impl Privilege {
    fn word(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// Tables by what must be allowed there, each with the columns that are written; none where any column will do.
type Needs = BTreeMap<Privilege, BTreeMap<TableName, BTreeSet<Ident>>>;

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
        let who = (self.identity.user.as_str(), self.identity.dbname.as_str());
        let closed = match self.task {
            Task::Apply | Task::DryRun => self.closed_sequences(batches).await?,
            Task::Undo => Vec::new(),
        };
        if let Some(lacking) = lacking(&needs(self.task, batches), &known, &closed, who) {
            return Err(ApplyError::NotPermitted { task: self.task, lacking: Box::new(lacking) });
        }
        if self.task == Task::Undo {
            return Ok(());
        }
        let mut back = needs(Task::Undo, batches);
        // What else undo needs, apply needs as well.
        back.retain(|privilege, _| *privilege == Privilege::Delete);
        if let Some(lacking) = lacking(&back, &known, &[], who) {
            let note = format!(
                "{} for the role \"{}\": `undo` needs it, and so does clearing away rows that triggers make in the place of \
                 recovered ones. Ask for: {}",
                lacking.lines.join(", "),
                lacking.role,
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

/// What the batches need. Of what they write to they read whole rows; a row is locked before it is deleted, which PostgreSQL
/// allows those who may update any column of it.
fn needs(task: Task, batches: &[Batch]) -> Needs {
    let mut needs = Needs::new();
    let mut add = |privilege, table: &TableName, columns: &[Ident]| {
        let wanted = needs.entry(privilege).or_default().entry(table.clone()).or_default();
        wanted.extend(columns.iter().cloned());
    };
    for part in batches.iter().flat_map(|batch| &batch.parts) {
        let (table, from) = (&part.table, part.from.as_ref().unwrap_or(&part.table));
        add(Privilege::Select, table, &[]);
        add(Privilege::Select, from, &[]);
        match (part.action, task) {
            (Action::Insert, Task::Apply | Task::DryRun) => add(Privilege::Insert, table, &part.columns),
            (Action::Update, _) => add(Privilege::Update, table, &part.columns),
            (Action::Insert, Task::Undo) => {
                add(Privilege::Delete, table, &[]);
                add(Privilege::Update, table, &[]);
            }
            (Action::Move, _) => {
                let (comes, goes) = if task == Task::Undo { (from, table) } else { (table, from) };
                add(Privilege::Insert, comes, &part.columns);
                add(Privilege::Delete, goes, &[]);
                add(Privilege::Update, goes, &[]);
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
    /// May temporary tables be made? The same for all tables.
    temporary: bool,
    /// On the table, or on any column of it.
    privileges: BTreeSet<Privilege>,
    /// Columns of which the role may not do it.
    closed: BTreeMap<Privilege, BTreeSet<Ident>>,
}

impl Granted {
    fn told(row: &Row) -> Result<Self, PgError> {
        let flags = [
            ("may_select", Privilege::Select),
            ("may_insert", Privilege::Insert),
            ("may_update", Privilege::Update),
            ("may_delete", Privilege::Delete),
        ];
        let mut privileges = BTreeSet::new();
        for (flag, privilege) in flags {
            if column::<bool>(row, flag, WHAT)? {
                privileges.insert(privilege);
            }
        }
        let columns =
            |name| Ok(column::<Vec<String>>(row, name, WHAT)?.into_iter().map(Ident::new).collect());
        let closed = BTreeMap::from([
            (Privilege::Insert, columns("closed_inserts")?),
            (Privilege::Update, columns("closed_updates")?),
        ]);
        Ok(Self {
            enter: column(row, "may_enter", WHAT)?,
            hidden: column(row, "hides_rows", WHAT)?,
            temporary: column(row, "may_temp", WHAT)?,
            privileges,
            closed,
        })
    }

    /// Is something missing that these columns need?
    fn lacks(&self, privilege: Privilege, columns: &BTreeSet<Ident>) -> bool {
        !self.enter
            || !self.privileges.contains(&privilege)
            || self.closed_of(privilege, columns).next().is_some()
    }

    /// Those of the columns that are closed.
    fn closed_of<'c>(
        &'c self,
        privilege: Privilege,
        columns: &'c BTreeSet<Ident>,
    ) -> impl Iterator<Item = &'c Ident> {
        self.closed.get(&privilege).into_iter().flatten().filter(|name| columns.contains(*name))
    }
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
        let schema: String = column(&row, "schema", WHAT)?;
        let name = TableName::new(schema, column::<String>(&row, "name", WHAT)?);
        found.insert(name, Granted::told(&row)?);
    }
    Ok(found)
}

/// What is missing, one line and one statement each.
#[derive(Default)]
struct Wanting {
    lines: Vec<String>,
    grants: Vec<String>,
}

impl Wanting {
    fn add(&mut self, line: String, grant: String) {
        self.lines.push(line);
        self.grants.push(grant);
    }

    /// A privilege on whole tables, or on columns of one. A table that is not there any more is for its batch to tell.
    fn of_tables(
        &mut self,
        privilege: Privilege,
        tables: &BTreeMap<TableName, BTreeSet<Ident>>,
        known: &BTreeMap<TableName, Granted>,
        role: &str,
    ) {
        let word = privilege.word();
        let grant = word.to_lowercase();
        let mut whole: Vec<&TableName> = Vec::new();
        for (table, columns) in tables {
            let Some(granted) = known.get(table).filter(|granted| granted.lacks(privilege, columns)) else {
                continue;
            };
            if !granted.enter || !granted.privileges.contains(&privilege) {
                whole.push(table);
                continue;
            }
            let closed: Vec<&Ident> = granted.closed_of(privilege, columns).collect();
            let names: Vec<&str> = closed.iter().map(|name| name.as_str()).collect();
            let quoted: Vec<String> = closed.iter().map(|name| name.quoted()).collect();
            self.add(
                format!("no {word} ({}) on {table}", names.join(", ")),
                format!("grant {grant} ({}) on {} to {role}", quoted.join(", "), table.quoted()),
            );
        }
        if !whole.is_empty() {
            let names: Vec<String> = whole.iter().map(ToString::to_string).collect();
            let quoted: Vec<String> = whole.iter().map(|table| table.quoted()).collect();
            let of = if privilege == Privilege::Select { " (column by column is not enough)" } else { "" };
            self.add(
                format!("no {word} on {}{of}", names.join(", ")),
                format!("grant {grant} on {} to {role}", quoted.join(", ")),
            );
        }
    }
}

fn lacking(
    needs: &Needs,
    known: &BTreeMap<TableName, Granted>,
    sequences: &[TableName],
    (role, dbname): (&str, &str),
) -> Option<Lacking> {
    let quoted_role = Ident::new(role).quoted();
    let mut found = Wanting::default();
    if !needs.is_empty() && known.values().any(|granted| !granted.temporary) {
        let database = Ident::new(dbname).quoted();
        found.add(
            format!("no TEMPORARY on the database \"{dbname}\""),
            format!("grant temporary on database {database} to {quoted_role}"),
        );
    }
    for (privilege, tables) in needs {
        found.of_tables(*privilege, tables, known, &quoted_role);
    }
    let hidden: Vec<String> =
        known.iter().filter(|(_, granted)| granted.hidden).map(|(table, _)| table.to_string()).collect();
    if !needs.is_empty() && !hidden.is_empty() {
        found.add(
            format!("row security applies on {}", hidden.join(", ")),
            format!("alter role {quoted_role} bypassrls"),
        );
    }
    if !sequences.is_empty() {
        let names: Vec<String> = sequences.iter().map(ToString::to_string).collect();
        let quoted: Vec<String> = sequences.iter().map(TableName::quoted).collect();
        found.add(
            format!("no SELECT and UPDATE on {}, which may have to move forward", names.join(", ")),
            format!("grant select, update on sequence {} to {quoted_role}", quoted.join(", ")),
        );
    }
    if found.lines.is_empty() {
        return None;
    }
    let closed: BTreeSet<String> = needs
        .values()
        .flat_map(BTreeMap::keys)
        .filter(|table| known.get(*table).is_some_and(|granted| !granted.enter))
        .map(|table| table.schema.quoted())
        .collect();
    if !closed.is_empty() {
        let closed: Vec<String> = closed.into_iter().collect();
        found.grants.insert(0, format!("grant usage on schema {} to {quoted_role}", closed.join(", ")));
    }
    Some(Lacking { role: role.to_owned(), lines: found.lines, grants: found.grants.join("; ") })
}
