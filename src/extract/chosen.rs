//! Which rows of scratch are chosen, kept in scratch itself: one side table per table, naming rows by partition and
//! place. Scratch rows never move, so that names them exactly, keys or no keys.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;

use super::ExtractError;
use super::aftermath::{BRACKET, told_name};
use crate::catalog::{Catalog, ForeignKey, Table, same_across};
use crate::ident::TableName;
use crate::pg::{CopyOut, PgError, ScratchSession};
use crate::scratch::Scratch;
use crate::sql::literal::literal;

/// The family of rows that are only parents of chosen ones; real families count from 0.
pub(super) const PARENTS: i16 = -1;

/// The family of rows that are only looked at for damage: nothing is followed from them.
pub(super) const CHARGED: i16 = -2;

/// Whose parents are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Climb {
    /// Of rows that may come back: they cannot be without.
    Needed,
    /// Of rows that are only looked at for damage: whether they are the backup's, these tell.
    Telling,
}

impl Climb {
    /// The family of the parents that are found.
    pub fn family(self) -> i16 {
        match self {
            Self::Needed => PARENTS,
            Self::Telling => CHARGED,
        }
    }

    /// SQL that is true of children whose parents are looked for, in the side table `h`.
    pub fn of_children(self) -> String {
        let sign = if self == Self::Telling { "=" } else { "<>" };
        format!("h.family {sign} {CHARGED}")
    }

    /// SQL that is true of parents that are there already, in the side table `o`.
    pub fn of_parents(self) -> String {
        match self {
            Self::Needed => format!("o.family <> {CHARGED}"),
            Self::Telling => "true".to_owned(),
        }
    }
}

/// Reasons below this number are entries of the recipe.
pub(super) const FIRST_FOLLOWED: i32 = 100_000;

/// Bytes of COPY text that are sent at once.
const PIECE: usize = 64 << 10;

/// An addition of so many rows at most makes the side table's statistics anew.
const FEW: u64 = 50_000;

/// An addition of more rows makes joins one row after the other too slow, which PostgreSQL cannot know: what it makes of the side
/// tables' numbers is a guess, and one that is too low once cost an hour.
const MANY: u64 = 2_000;

/// What went wrong while places were read and written.
pub(super) enum PlacesError {
    /// Reading them, which evaluates what the user wrote.
    Evaluating(PgError),
    /// Writing them down.
    Own(ExtractError),
}

impl From<ExtractError> for PlacesError {
    fn from(error: ExtractError) -> Self {
        Self::Own(error)
    }
}

impl From<PgError> for PlacesError {
    fn from(error: PgError) -> Self {
        Self::Own(error.into())
    }
}

/// Why a row was chosen; the number orders the reasons, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// An entry of the recipe selects it.
    Selected(u16),
    /// It hangs on a chosen row by this foreign key of the catalog.
    Child(u16),
    /// A chosen row refers to it by this foreign key.
    Parent(u16),
}

impl Reason {
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Selected(entry) => i32::from(entry),
            Self::Child(fk) => FIRST_FOLLOWED + i32::from(fk),
            Self::Parent(fk) => 200_000 + i32::from(fk),
        }
    }
}

/// The side tables that exist so far.
pub(super) struct Chosen<'a> {
    pub session: &'a ScratchSession,
    pub catalog: &'a Catalog,
    made: BTreeSet<TableName>,
    /// Families that have rows of a table.
    families: BTreeMap<TableName, BTreeSet<i16>>,
    /// Number of the last addition.
    wave: i64,
    /// Were many rows added at once? Then the session joins by hash or merge only.
    many: bool,
    /// Tables of which something tells what the accident made of their rows.
    pub told: BTreeSet<TableName>,
    /// Is it a backup taken after the accident? Then only rows that were gone by then are followed to their children.
    pub bracketed: bool,
    /// Families of rows that a replay deleted: the replay, and the tables that it could touch. Of these tables only rows that
    /// it deleted are followed to their children; the others stayed, with all that hung on them.
    pub rehearsed: BTreeMap<i16, (i16, BTreeSet<TableName>)>,
}

impl<'a> Chosen<'a> {
    /// No rows yet.
    pub async fn start(scratch: &'a Scratch, catalog: &'a Catalog) -> Result<Self, ExtractError> {
        let session = scratch.session();
        session
            .execute(
                "preparing extraction",
                "create unlogged table rowback_scratch.origins (id int4 primary key, origin text not null); \
                 create unlogged table rowback_scratch.selected (tab oid, place tid, entry int4, primary key (tab, place, entry))",
            )
            .await?;
        let mut texts: BTreeMap<i32, String> = BTreeMap::new();
        for (at, fk) in (0u16..).zip(&catalog.foreign_keys) {
            texts.insert(Reason::Child(at).number(), format!("cascade {}", fk.name));
            texts.insert(Reason::Parent(at).number(), format!("parent {}", fk.name));
        }
        let values: Vec<String> =
            texts.iter().map(|(id, text)| format!("({id}, {})", literal(text))).collect();
        if !values.is_empty() {
            let insert = format!("insert into rowback_scratch.origins values {}", values.join(", "));
            session.execute("preparing extraction", &insert).await?;
        }
        let bracketed = scratch.has_later();
        Ok(Self {
            session,
            catalog,
            made: BTreeSet::new(),
            families: BTreeMap::new(),
            wave: 0,
            many: false,
            told: BTreeSet::new(),
            bracketed,
            rehearsed: BTreeMap::new(),
        })
    }

    /// Tables that have chosen rows, or may have.
    pub fn tables(&self) -> &BTreeSet<TableName> {
        &self.made
    }

    /// The side table of a table; made at the first call.
    pub async fn side_table(&mut self, table: &TableName) -> Result<String, ExtractError> {
        let name = side_name(self.table(table)?);
        if self.made.insert(table.clone()) {
            // Without a key: it would cost more than everything else. `add` keeps a row from being there twice.
            let create = format!(
                "create unlogged table {name} (tab oid not null, place tid not null, family int2 not null, \
                 origin int4 not null, n int8 not null)"
            );
            self.session.execute("preparing extraction", &create).await?;
        }
        Ok(name)
    }

    /// Adds rows to a family that are not in it yet; returns how many. `places` selects each row at most once, as `tab`
    /// and `place`.
    pub async fn add(
        &mut self,
        table: &TableName,
        (family, origin): (i16, i32),
        places: &str,
    ) -> Result<u64, ExtractError> {
        let side = self.side_table(table).await?;
        let unless = if self.has_rows_of(table, family) {
            format!(
                " as s where not exists (select from {side} as o where o.tab = s.tab and o.place = s.place and o.family = {family})"
            )
        } else {
            " as s".to_owned()
        };
        self.wave += 1;
        let insert = format!(
            "with added as (insert into {side} (tab, place, family, origin, n)\n\
             select s.tab, s.place, {family}::int2, {origin}, {} from (\n{places}\n){unless} returning 1) select count(*) from added",
            self.wave
        );
        let rows = self.session.text_rows("choosing rows in scratch", &insert).await?;
        self.added(table, family, number(&rows)).await
    }

    /// Adds the rows whose places `places` sends (partition and place, COPY text) to a family that has none of the table's
    /// rows yet, each once; returns how many.
    pub async fn add_first(
        &mut self,
        table: &TableName,
        (family, origin): (i16, i32),
        places: &mut CopyOut,
    ) -> Result<u64, PlacesError> {
        let side = self.side_table(table).await?;
        self.wave += 1;
        let end = format!("\t{family}\t{origin}\t{}\n", self.wave);
        let copy = format!("copy {side} (tab, place, family, origin, n) from stdin");
        let mut into = self.session.copy_in("evaluating a predicate", &copy).await?;
        let mut lines = BytesMut::with_capacity(2 * PIECE);
        while let Some(place) = places.next_row().await.map_err(PlacesError::Evaluating)? {
            lines.extend_from_slice(&place);
            lines.extend_from_slice(end.as_bytes());
            if lines.len() >= PIECE {
                into.send(lines.split().freeze()).await?;
            }
        }
        into.send(lines.freeze()).await?;
        let rows = into.finish().await?;
        Ok(self.added(table, family, rows).await?)
    }

    async fn added(&mut self, table: &TableName, family: i16, rows: u64) -> Result<u64, ExtractError> {
        if rows > 0 {
            self.families.entry(table.clone()).or_default().insert(family);
        }
        if rows > MANY && !self.many {
            self.many = true;
            self.session.execute("choosing rows in scratch", "set enable_nestloop = off").await?;
        }
        // Without statistics, few rows are taken for none, and joined with all others one by one.
        if (1..=FEW).contains(&rows) {
            let side = side_name(self.table(table)?);
            self.session.execute("choosing rows in scratch", &format!("analyze {side}")).await?;
        }
        Ok(rows)
    }

    /// Does a family have rows of the table?
    pub fn has_rows_of(&self, table: &TableName, family: i16) -> bool {
        self.families.get(table).is_some_and(|families| families.contains(&family))
    }

    /// Is no row of the table in two families?
    pub fn has_each_once(&self, table: &TableName) -> bool {
        self.families.get(table).is_none_or(|families| families.len() <= 1)
    }

    /// The table in scratch.
    pub fn table(&self, name: &TableName) -> Result<&'a Table, ExtractError> {
        let catalog = self.catalog;
        catalog.tables.get(name).ok_or_else(|| ExtractError::unknown_table(name, catalog))
    }

    /// Adds the children of rows of `family` that were added to the parent after number `since`. Returns how many
    /// rows were new.
    pub async fn add_children(
        &mut self,
        at: u16,
        fk: &ForeignKey,
        family: i16,
        since: i64,
    ) -> Result<u64, ExtractError> {
        let parent_side = self.side_table(&fk.parent).await?;
        let (parent, child) = (self.table(&fk.parent)?, self.table(&fk.child)?);
        let gone = match self.teller_of(&fk.parent, family) {
            // It could touch the table and did not.
            Some(_) if !self.bracketed && !self.told.contains(&fk.parent) => return Ok(0),
            Some(teller) => format!(
                "join {} as a on a.rowback_tab = p.tableoid and a.rowback_place = p.ctid and a.rowback_teller = {teller} \
                 and a.rowback_gone\n",
                told_name(parent)
            ),
            None => String::new(),
        };
        let places = format!(
            "select distinct c.rowback_tab as tab, c.rowback_place as place\n\
             from {} as c\njoin {} as p on {}\njoin {parent_side} as h on h.tab = p.tableoid and h.place = p.ctid\n{gone}\
             where h.family = {family} and h.n > {since}",
            child_source(fk, child),
            parent.from_sql(),
            join_condition(fk, child, parent),
        );
        self.add(&fk.child, (family, Reason::Child(at).number()), &places).await
    }

    /// Who tells which rows of a table were gone after the accident, for a family.
    fn teller_of(&self, table: &TableName, family: i16) -> Option<i16> {
        if self.bracketed {
            return self.told.contains(table).then_some(BRACKET);
        }
        self.rehearsed.get(&family).filter(|(_, tables)| tables.contains(table)).map(|(teller, _)| *teller)
    }

    /// Adds the parents of chosen rows that were added to the child after number `since`, unless they are chosen
    /// already.
    pub async fn add_parents(
        &mut self,
        at: u16,
        fk: &ForeignKey,
        since: i64,
        climb: Climb,
    ) -> Result<u64, ExtractError> {
        let (parent_side, child_side) =
            (self.side_table(&fk.parent).await?, self.side_table(&fk.child).await?);
        let (parent, child) = (self.table(&fk.parent)?, self.table(&fk.child)?);
        let places = format!(
            "select distinct p.tableoid as tab, p.ctid as place\n\
             from {} as c\njoin {child_side} as h on h.tab = c.rowback_tab and h.place = c.rowback_place and h.n > {since} \
             and {}\n\
             join {} as p on {}\n\
             where not exists (select from {parent_side} as o where o.tab = p.tableoid and o.place = p.ctid and {})",
            child_source(fk, child),
            climb.of_children(),
            parent.from_sql(),
            join_condition(fk, child, parent),
            climb.of_parents(),
        );
        self.add(&fk.parent, (climb.family(), Reason::Parent(at).number()), &places).await
    }

    /// The highest number given to a chosen row of the table so far.
    pub async fn last_number(&mut self, table: &TableName) -> Result<i64, ExtractError> {
        let side = self.side_table(table).await?;
        let sql = format!("select coalesce(max(n), 0) from {side}");
        let rows = self.session.text_rows("following foreign keys in scratch", &sql).await?;
        Ok(i64::try_from(number(&rows)).unwrap_or(i64::MAX))
    }

    /// Number of chosen rows of a family.
    pub async fn count(&mut self, table: &TableName, family: i16) -> Result<u64, ExtractError> {
        let side = self.side_table(table).await?;
        let sql = format!("select count(*) from {side} where family = {family}");
        Ok(number(&self.session.text_rows("counting chosen rows", &sql).await?))
    }
}

/// The single number that a statement returned.
pub(super) fn number(rows: &[Vec<Option<String>>]) -> u64 {
    let first = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    first.and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(super) fn side_name(table: &Table) -> String {
    format!("rowback_scratch.chosen_{}", table.oid)
}

/// The child's rows that a reference can apply to, with their place.
pub(super) fn child_source(fk: &ForeignKey, child: &Table) -> String {
    let condition = fk.when().map_or(String::new(), |when| format!(" where (\n{when}\n)"));
    format!("(select *, tableoid as rowback_tab, ctid as rowback_place from {}{condition})", child.from_sql())
}

/// The condition that makes `c` a child of `p`, told by the operator by which the server compares them. Declared references
/// may compare different types: by text then.
pub(super) fn join_condition(fk: &ForeignKey, child: &Table, parent: &Table) -> String {
    let pairs = fk.columns.iter().enumerate().map(|(at, (child_column, parent_column))| {
        let (left, right) = (format!("c.{}", child_column.quoted()), format!("p.{}", parent_column.quoted()));
        if fk.is_enforced() || fk.operator_told(at).is_some() {
            return format!("{right} {} {left}", fk.operator(at));
        }
        if fk.path(at).is_some() {
            return format!("{right}::text = {}", fk.referring_sql(at, &left));
        }
        match (child.column(child_column), parent.column(parent_column)) {
            (Some(of_child), Some(of_parent)) if of_child.base_type == of_parent.base_type => {
                format!("{right} {} {left}", parent.equality(parent_column))
            }
            (Some(of_child), Some(of_parent)) => same_across((of_parent, &right), (of_child, &left)),
            _ => format!("{left}::text = {right}::text"),
        }
    });
    pairs.collect::<Vec<_>>().join(" and ")
}
