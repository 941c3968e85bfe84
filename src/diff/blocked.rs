//! Rows that must not get children hung on them, by the columns that children refer to; and the other side of it, what
//! a row's parents say about the row. In memory are exceptions only, never whole tables.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Verdict;
use super::lookup::RawKey as Key;
use crate::catalog::ForeignKey;
use crate::extract::Aliases;
use crate::ident::{Ident, TableName};
use crate::recipe::Recipe;

/// Child, parent, and their columns pair by pair.
type Reference = (TableName, TableName, Vec<(Ident, Ident)>);

/// What will be asked about a foreign key's parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Only whether something is wrong with one.
    Blocked,
    /// Also whether one is recovered.
    Recovered,
}

/// What is wrong with a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The parent's verdict.
    pub verdict: Verdict,
    /// One line for the report of what hangs on it.
    pub reason: String,
    /// Was it deleted after the accident?
    pub afterwards: bool,
}

impl Block {
    /// Is there a row under the parent's key, which is another one or may be?
    pub fn is_in_live(&self) -> bool {
        matches!(self.verdict, Verdict::IdReused | Verdict::Changed)
    }
}

/// What is known of one table's rows by one list of columns.
#[derive(Debug, Default)]
struct ByColumns {
    blocked: HashMap<Key, Block>,
    recovered: HashSet<Key>,
    unneeded: HashSet<Key>,
    /// Lost keys, and the key of the row that stands in.
    repointed: HashMap<Key, Key>,
}

/// What is known of rows as parents, by table and referenced columns.
#[derive(Debug, Default)]
pub struct Parents {
    by: BTreeMap<TableName, Vec<(Vec<Ident>, ByColumns)>>,
    /// Does any row stand in for a lost one?
    repoints: bool,
    /// The lists for which recovered keys are kept: only where somebody asks, because they can be many.
    recovered_of: BTreeSet<(TableName, Vec<Ident>)>,
    /// By reference the keys that children spell otherwise than their parents, each with the parent's spelling, or those of
    /// the several parents of a period.
    aliases: HashMap<Reference, HashMap<Key, Vec<Key>>>,
    /// Keys of rows that could have gone to another table and did not.
    left: BTreeMap<(TableName, Vec<Ident>), HashSet<Key>>,
    /// Keys that rows will have when they have moved.
    arrived: BTreeMap<(TableName, Vec<Ident>), HashSet<Key>>,
    /// The same by the rows' own keys, of rows that nothing holds.
    brought: BTreeMap<(TableName, Vec<Ident>), HashSet<Key>>,
    /// Columns that change in rows that move with others, by table.
    moved: BTreeMap<TableName, BTreeSet<Ident>>,
}

impl Parents {
    /// Prepares for the columns that these foreign keys refer to; the flag says whether `is_recovered` will be asked.
    pub fn for_foreign_keys<'a>(foreign_keys: impl Iterator<Item = (&'a ForeignKey, Asks)>) -> Self {
        let mut found = Self::default();
        for (fk, asks) in foreign_keys {
            let list = (fk.parent.clone(), fk.parent_columns().cloned().collect());
            if asks == Asks::Recovered {
                found.recovered_of.insert(list.clone());
            }
            let lists = found.by.entry(list.0).or_default();
            if lists.iter().all(|(columns, _)| *columns != list.1) {
                lists.push((list.1, ByColumns::default()));
            }
        }
        found
    }

    /// Children spell keys otherwise than their parents: every question about a reference is about the parent's spelling.
    /// Columns are named as the backup calls them; the recipe knows what live does.
    pub fn with_aliases(mut self, aliases: &[Aliases], recipe: &Recipe) -> Self {
        let name_in_live = |table: &TableName, name: &Ident| {
            let map = recipe.columns.get(table).map(|columns| &columns.map);
            map.and_then(|map| map.get(name)).unwrap_or(name).clone()
        };
        for found in aliases {
            let pairs = found
                .columns
                .iter()
                .map(|(down, up)| (name_in_live(&found.child, down), name_in_live(&found.parent, up)));
            let reference = (found.child.clone(), found.parent.clone(), pairs.collect());
            let key = |text: &String| Key::from(text.as_bytes());
            let mut keys: HashMap<Key, Vec<Key>> = HashMap::new();
            for (down, up) in &found.keys {
                keys.entry(key(down)).or_default().push(key(up));
            }
            self.aliases.insert(reference, keys);
        }
        self
    }

    /// The key as the parent spells it.
    fn spelled<'k>(&'k self, fk: &ForeignKey, key: &'k [u8]) -> &'k [u8] {
        self.spellings(fk, key).last().map_or(key, |spelled| spelled)
    }

    /// All parents that a child calls otherwise than they do.
    fn spellings(&self, fk: &ForeignKey, key: &[u8]) -> &[Key] {
        if self.aliases.is_empty() {
            return &[];
        }
        let reference = (fk.child.clone(), fk.parent.clone(), fk.columns.clone());
        self.aliases.get(&reference).and_then(|keys| keys.get(key)).map_or(&[], Vec::as_slice)
    }

    /// The column lists by which a table is referred to.
    pub fn columns_of(&self, table: &TableName) -> Vec<Vec<Ident>> {
        self.by.get(table).into_iter().flatten().map(|(columns, _)| columns.clone()).collect()
    }

    fn get(&self, fk: &ForeignKey) -> Option<&ByColumns> {
        let mut lists = self.by.get(&fk.parent)?.iter();
        lists.find(|(columns, _)| columns.iter().eq(fk.parent_columns())).map(|(_, by)| by)
    }

    fn get_mut(&mut self, table: &TableName, columns: &[Ident]) -> Option<&mut ByColumns> {
        let mut lists = self.by.get_mut(table)?.iter_mut();
        lists.find(|(list, _)| list == columns).map(|(_, by)| by)
    }

    /// Nothing may be hung on this row. True when that was not known.
    pub fn block(&mut self, table: &TableName, columns: &[Ident], key: Key, block: Block) -> bool {
        let Some(by) = self.get_mut(table, columns) else { return false };
        by.recovered.remove(&key);
        by.unneeded.remove(&key);
        // Who stood in for it does not, when it must stay away for another reason.
        by.repointed.remove(&key);
        by.blocked.insert(key, block).is_none()
    }

    /// This row comes back, or came back by other hands: links to it that the accident cut are set again.
    pub fn recover(&mut self, table: &TableName, columns: &[Ident], key: Key) {
        if !self.recovered_of.contains(&(table.clone(), columns.to_vec())) {
            return;
        }
        if let Some(by) = self.get_mut(table, columns) {
            by.recovered.insert(key);
        }
    }

    /// What refers to a row by `lost` is to refer to `instead`. True when that was not known.
    pub fn repoint(&mut self, table: &TableName, columns: &[Ident], lost: Key, instead: &Key) -> bool {
        let Some(by) = self.get_mut(table, columns) else { return false };
        if by.blocked.contains_key(&lost) {
            return false;
        }
        by.recovered.remove(&lost);
        by.unneeded.remove(&lost);
        let is_news = by.repointed.insert(lost, instead.clone()).as_ref() != Some(instead);
        self.repoints = true;
        is_news
    }

    /// Does any row stand in for a lost one?
    pub fn repoints(&self) -> bool {
        self.repoints
    }

    /// The key to which a reference to this lost one goes.
    pub fn repointed(&self, fk: &ForeignKey, key: &[u8]) -> Option<&Key> {
        self.get(fk)?.repointed.get(self.spelled(fk, key))
    }

    /// The row was never away: what hung on it in the backup and is gone, is gone for another reason.
    pub fn leave(&mut self, table: &TableName, columns: &[Ident], key: Key) {
        self.left.entry((table.clone(), columns.to_vec())).or_default().insert(key);
    }

    /// Is no such row known?
    pub fn nothing_was_left(&self) -> bool {
        self.left.is_empty()
    }

    /// Was the parent never away?
    pub fn was_left(&self, fk: &ForeignKey, key: &[u8]) -> bool {
        let list = (fk.parent.clone(), fk.parent_columns().cloned().collect());
        self.left.get(&list).is_some_and(|keys| keys.contains(self.spelled(fk, key)))
    }

    /// A row will have this key when it has moved with its owner.
    pub fn arrive(&mut self, table: &TableName, columns: &[Ident], key: Key) {
        self.arrived.entry((table.clone(), columns.to_vec())).or_default().insert(key);
    }

    /// Will a row have this key when it has moved?
    pub fn has_arrived(&self, fk: &ForeignKey, key: &[u8]) -> bool {
        let list = (fk.parent.clone(), fk.parent_columns().cloned().collect());
        self.arrived.get(&list).is_some_and(|keys| keys.contains(self.spelled(fk, key)))
    }

    /// A row of live will have this key of its own when it has moved.
    pub fn bring(
        &mut self,
        table: &TableName,
        (columns, key): (Vec<Ident>, Key),
        moved: impl Iterator<Item = Ident>,
    ) {
        self.brought.entry((table.clone(), columns)).or_default().insert(key);
        self.moved.entry(table.clone()).or_default().extend(moved);
    }

    /// Does the column change in rows of the table that move with others?
    pub fn is_moved(&self, table: &TableName, column: &Ident) -> bool {
        self.moved.get(table).is_some_and(|columns| columns.contains(column))
    }

    /// Do any rows of the table move with others?
    pub fn brings_any(&self, table: &TableName) -> bool {
        self.moved.contains_key(table)
    }

    /// Will a row of live have this key of its own when it has moved?
    pub fn is_brought(&self, table: &TableName, columns: Vec<Ident>, key: &[u8]) -> bool {
        !self.brought.is_empty()
            && self.brought.get(&(table.clone(), columns)).is_some_and(|keys| keys.contains(key))
    }

    /// This row is lost, but only wanted if a recovered row refers to it.
    pub fn mark_unneeded(&mut self, table: &TableName, columns: &[Ident], key: Key) {
        if let Some(by) = self.get_mut(table, columns) {
            by.unneeded.insert(key);
        }
    }

    /// A recovered row refers to this one. True when that was not known.
    pub fn need(&mut self, fk: &ForeignKey, key: &[u8]) -> bool {
        let columns: Vec<Ident> = fk.parent_columns().cloned().collect();
        let spellings = match self.spellings(fk, key) {
            [] => vec![Key::from(key)],
            known => known.to_vec(),
        };
        let Some(by) = self.get_mut(&fk.parent, &columns) else { return false };
        spellings.iter().filter(|key| by.unneeded.remove(*key)).count() > 0
    }

    /// Is the row still not needed by anything?
    pub fn is_unneeded(&self, table: &TableName, columns: &[Ident], key: &[u8]) -> bool {
        let mut lists = self.by.get(table).into_iter().flatten();
        lists.any(|(list, by)| list == columns && by.unneeded.contains(key))
    }

    /// Is something wrong with any parent by this reference?
    pub fn blocks_any(&self, fk: &ForeignKey) -> bool {
        self.get(fk).is_some_and(|by| !by.blocked.is_empty())
    }

    /// What is wrong with the parent that this key names.
    pub fn blocked(&self, fk: &ForeignKey, key: &[u8]) -> Option<&Block> {
        let blocked = &self.get(fk)?.blocked;
        match self.spellings(fk, key) {
            [] => blocked.get(key),
            known => known.iter().find_map(|key| blocked.get(key)),
        }
    }

    /// Those of the several parents of a period that come back, by their own keys.
    pub fn recovered<'k>(&'k self, fk: &ForeignKey, key: &'k [u8]) -> Vec<&'k [u8]> {
        let Some(by) = self.get(fk) else { return Vec::new() };
        let all: Vec<&[u8]> = match self.spellings(fk, key) {
            [] => vec![key],
            known => known.iter().map(|key| &**key).collect(),
        };
        all.into_iter().filter(|key| by.recovered.contains(*key)).collect()
    }

    /// Does the parent come back, whether or not a row needs it that is inserted?
    pub fn is_surely_recovered(&self, fk: &ForeignKey, key: &[u8]) -> bool {
        let by = self.get(fk);
        self.is_recovered(fk, key) && !by.is_some_and(|by| by.unneeded.contains(self.spelled(fk, key)))
    }

    /// Does the parent come back?
    pub fn is_recovered(&self, fk: &ForeignKey, key: &[u8]) -> bool {
        self.get(fk).is_some_and(|by| by.recovered.contains(self.spelled(fk, key)))
    }
}
