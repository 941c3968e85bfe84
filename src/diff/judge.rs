//! One row, one verdict. Decides from the staged row, live's row of the same key and what is known of the parents; asks
//! no server. Pure.

use std::collections::BTreeMap;

use super::aftermath::{Fate, Teller};
use super::blocked::{Block, Parents};
use super::charges::Charge;
use super::damage::Finding;
use super::drift::Fit;
use super::identity::{Entity, IdentityRule};
use super::links::Upward;
use super::lookup::{RawKey, RawRow, StagedRow};
use super::origin::{Followed, Origin};
use super::repoint;
use super::tombstones::Tombstones;
use super::transfer::Transfer;
use super::verdict::{Evidence, RowAction, Verdict};
use crate::catalog::{Action, column_list};
use crate::ident::{Ident, TableName};
use crate::recipe::{Changed, Links, Parents as ParentsPolicy, Recreated};

/// Why nothing else is done about a row that is set right together with another.
const MOVES_ALONG: &str = "is under the wrong owner, and moves with what it hangs on";

/// Positions in `Fit::columns`, each with a raw COPY field.
pub type Settings = Vec<(usize, RawKey)>;

/// What became of one row and what will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What the plan does.
    pub action: RowAction,
    /// How we know.
    pub evidence: Evidence,
    /// One line for the report; empty where the verdict says it all.
    pub reason: String,
    /// Positions in `Fit::columns`: what an update sets, what an insert leaves without its parent, or what differs.
    pub columns: Vec<usize>,
    /// What is written where that is not the staged row's value: position in `Fit::columns` and raw COPY field.
    pub truth: Settings,
    /// Must nothing be hung on this row?
    pub blocks: bool,
    /// Is it away because somebody deleted it after the accident, or what it hangs on?
    pub afterwards: bool,
    /// Does the row come back, by us or by other hands, so that cut links to it are set again?
    pub comes_back: bool,
    /// Live's row that stands in for this one: what hangs on this one is hung on it.
    pub stand_in: Option<RawRow>,
}

impl Judgement {
    /// The row stays out, and nothing may be hung on it.
    pub fn stop(&mut self, verdict: Verdict, reason: String) {
        self.verdict = verdict;
        self.action = RowAction::None;
        self.reason = reason;
        self.blocks = true;
        self.comes_back = false;
        self.columns.clear();
        self.truth.clear();
    }

    /// Positions of the columns that an update sets.
    pub fn columns_to_set(&self) -> &[usize] {
        if self.action == RowAction::Update { &self.columns } else { &[] }
    }
}

/// Everything that judging the rows of one table needs.
pub struct Court<'a> {
    /// How the table fits live's.
    pub fit: &'a Fit<'a>,
    /// Who is who.
    pub identity: IdentityRule,
    /// Foreign keys upwards, live's and declared ones.
    pub upwards: Vec<Upward<'a>>,
    /// Rows that were deleted on purpose.
    pub tombstones: Option<&'a Tombstones>,
    /// What the recipe's entries say about damage in rows that are in live.
    pub charges: Vec<Charge<'a>>,
    /// What the recipe's entries say about rows that ended up in another table.
    pub transfers: Vec<Transfer<'a>>,
    /// Who tells which rows the accident deleted, the strongest first.
    pub tellers: Vec<Teller>,
    /// Do rows of other tables move with damaged ones of this?
    pub leads_convoy: bool,
    /// What is done with changed rows.
    pub changed: Changed,
    /// What is done with rows that live has again under another key.
    pub recreated: Recreated,
    /// Are cut links set again?
    pub links: Links,
    /// Are parents inserted that nobody asked for?
    pub parents: ParentsPolicy,
}

impl Court<'_> {
    /// The verdict, before live's constraints are asked about rows to insert. `refers` tells for each of `upwards`
    /// whether its condition holds for the row.
    pub fn judge(
        &self,
        row: &StagedRow,
        live: Option<&[RawKey]>,
        refers: &[bool],
        parents: &Parents,
        finding: Finding,
    ) -> Judgement {
        let charged = finding.evidence;
        let judged = self.judge_by_origin(row, live, refers, parents, finding);
        let proof = match judged.evidence {
            Evidence::Needed => None,
            _ => charged.or_else(|| self.told(row).map(|(teller, _)| teller.evidence())),
        };
        let mut judged = Judgement { evidence: proof.unwrap_or(judged.evidence), ..judged };
        if let Some(reason) =
            live.and_then(|live| self.hung_on_a_stranger(row, live, refers, parents, &judged))
        {
            (judged.verdict, judged.action, judged.reason) = (Verdict::Orphan, RowAction::None, reason);
        }
        judged
    }

    /// Why an update stays away: with the values that it sets, the row would hang on one on which nothing may be hung.
    fn hung_on_a_stranger(
        &self,
        row: &StagedRow,
        live: &[RawKey],
        refers: &[bool],
        parents: &Parents,
        judged: &Judgement,
    ) -> Option<String> {
        let set = judged.columns_to_set();
        if set.is_empty() || !self.upwards.iter().any(|upward| parents.blocks_any(upward.fk)) {
            return None;
        }
        let mut after = live.to_vec();
        set.iter().for_each(|&at| after[at].clone_from(&row.fields[at]));
        judged.truth.iter().for_each(|(at, value)| after[*at].clone_from(value));
        let upwards = self.upwards.iter().zip(refers).filter(|(_, refers)| **refers);
        upwards.map(|(upward, _)| upward).find_map(|Upward { fk, columns, .. }| {
            let key = fk.key_in(&after, columns)?;
            let moves = fk.key_in(live, columns).as_ref() != Some(&key);
            let block = parents.blocked(fk, &key).filter(|block| moves && block.is_in_live())?;
            let names: Vec<Ident> = set.iter().map(|&at| self.name(at)).collect();
            let Block { verdict, reason, .. } = block;
            Some(format!(
                "kept: with its {} it would hang on {} that is {verdict}: {reason}",
                column_list(&names),
                fk.parent
            ))
        })
    }

    /// What became of the row in the accident, where something tells which rows it deleted; that it is gone counts most.
    pub(super) fn told<'r>(&self, row: &'r StagedRow) -> Option<(Teller, &'r Fate)> {
        let mut all = self.tellers.iter().filter_map(|teller| Some((*teller, row.aftermath.by(*teller)?)));
        let first = all.clone().next();
        all.find(|(_, fate)| **fate == Fate::Gone).or(first)
    }

    fn judge_by_origin(
        &self,
        row: &StagedRow,
        live: Option<&[RawKey]>,
        refers: &[bool],
        parents: &Parents,
        finding: Finding,
    ) -> Judgement {
        let origin = Origin::parse(&row.origin);
        let evidence = self.evidence(&origin);
        if self.tombstones.is_some_and(|tombstones| tombstones.contains(row)) {
            let reason = "named in the tombstones".to_owned();
            return Judgement { blocks: true, reason, ..still(Verdict::Excluded, evidence) };
        }
        match live {
            Some(live) if !finding.truth.is_empty() => {
                self.judge_damaged(row, live, refers, parents, evidence, finding)
            }
            Some(live) if evidence != Evidence::Cascade && !self.is_followed_from(&origin) => {
                self.judge_sound(row, live, (refers, parents), evidence, &finding)
            }
            Some(live) => self.judge_present(row, live, refers, parents, evidence),
            None if self.moves_along(row, parents) => self.brought(row, parents, evidence),
            None if evidence != Evidence::Needed && self.outlived(row, &origin) => {
                let reason = "the accident left it: it was deleted afterwards".to_owned();
                Judgement { blocks: true, afterwards: true, reason, ..still(Verdict::Excluded, evidence) }
            }
            None if evidence == Evidence::Predicate && !self.is_followed_from(&origin) => {
                let reason = "an entry of kind \"deleted\" would bring it back".to_owned();
                Judgement { blocks: true, reason, ..still(Verdict::Lost, evidence) }
            }
            None if evidence == Evidence::Needed && self.parents == ParentsPolicy::None => {
                let reason = "policy.parents keeps it away".to_owned();
                Judgement { blocks: true, reason, ..still(Verdict::Lost, evidence) }
            }
            None => self.judge_absent(row, refers, parents, evidence),
        }
    }

    /// Does a second backup say that the row was still there after the accident?
    pub fn was_left(&self, row: &StagedRow) -> bool {
        matches!(self.told(row), Some((Teller::Bracket, Fate::Stayed(changed))) if self.is_itself(row, changed))
    }

    /// Is the row in its place, and was it all the time? What hung on it in the backup and is gone, is gone for another reason.
    pub fn was_never_away(
        &self,
        row: &StagedRow,
        live: Option<&[RawKey]>,
        refers: &[bool],
        parents: &Parents,
    ) -> bool {
        live.is_some()
            && (self.may_only_be_away(row) || self.hangs_on_what_was_left(row, refers, parents).is_some())
    }

    /// Is the row only looked at because it may have gone to another table?
    fn may_only_be_away(&self, row: &StagedRow) -> bool {
        !self.transfers.is_empty() && {
            let origin = Origin::parse(&row.origin);
            !origin.entries.is_empty() && !self.is_followed_from(&origin)
        }
    }

    /// The parent that was never away, where nothing else that the row hangs on comes back.
    fn hangs_on_what_was_left(
        &self,
        row: &StagedRow,
        refers: &[bool],
        parents: &Parents,
    ) -> Option<&TableName> {
        if parents.nothing_was_left() || self.evidence(&Origin::parse(&row.origin)) != Evidence::Cascade {
            return None;
        }
        let all = self.upwards.iter().zip(refers).filter(|(_, refers)| **refers);
        let mut found = None;
        for (upward, _) in all {
            let Some(key) = upward.key(row) else { continue };
            if parents.is_recovered(upward.fk, &key) {
                return None;
            }
            found = found.or_else(|| parents.was_left(upward.fk, &key).then_some(&upward.fk.parent));
        }
        found
    }

    /// Was the row still there after the accident? What another entry of kind `deleted` selects by its predicate is its own
    /// affair, whatever a replay leaves.
    fn outlived(&self, row: &StagedRow, origin: &Origin<'_>) -> bool {
        match self.told(row) {
            Some((Teller::Bracket, Fate::Stayed(changed))) => self.is_itself(row, changed),
            Some((Teller::Replay(_), Fate::Stayed(_))) => {
                origin.entries.is_empty() || !self.is_followed_from(origin)
            }
            None => row.aftermath.stayed() && !self.is_followed_from(origin),
            Some((_, Fate::Gone)) => false,
        }
    }

    /// Will a row of live have this key when its owner is set right?
    pub(super) fn moves_along(&self, row: &StagedRow, parents: &Parents) -> bool {
        let columns = || self.fit.key.iter().map(|&at| self.name(at)).collect();
        row.key(&self.fit.key).is_some_and(|key| parents.is_brought(&self.fit.live.name, columns(), &key))
    }

    /// Which columns does the row get from the one with which it moves?
    pub(super) fn goes_home(&self, row: &StagedRow, parents: &Parents) -> Vec<usize> {
        if !parents.brings_any(&self.fit.live.name) || !self.moves_along(row, parents) {
            return Vec::new();
        }
        let moves = |at: &usize| parents.is_moved(&self.fit.live.name, &self.name(*at));
        (0..self.fit.columns.len()).filter(moves).collect()
    }

    /// Nothing else is done about a row that moves with its owner. Until then live has other values in what moves.
    pub(super) fn brought(&self, row: &StagedRow, parents: &Parents, evidence: Evidence) -> Judgement {
        let columns = self.goes_home(row, parents);
        Judgement { reason: MOVES_ALONG.to_owned(), columns, ..still(Verdict::Same, evidence) }
    }

    /// Is the row of the later backup this one, and none that was made since under its key?
    fn is_itself(&self, row: &StagedRow, changed: &BTreeMap<usize, RawKey>) -> bool {
        let mut after = row.fields.clone();
        changed.iter().for_each(|(at, value)| after[*at].clone_from(value));
        !self.identity.was_made_again(row, &after)
    }

    /// Does an entry of kind `deleted` select the row, or an operator who put it there by hand?
    fn is_followed_from(&self, origin: &Origin<'_>) -> bool {
        let is_charge = |entry: &u16| {
            self.charges.iter().any(|charge| charge.number == *entry)
                || self.transfers.iter().any(|transfer| transfer.number == *entry)
        };
        if origin.entries.is_empty() { true } else { !origin.entries.iter().all(is_charge) }
    }

    /// Who is selected by an entry of kind `deleted` needs no other evidence; who is only looked at for damage does.
    fn evidence(&self, origin: &Origin<'_>) -> Evidence {
        let is_selected = !origin.entries.is_empty();
        match origin.followed {
            Some(Followed::Cascade) if !(is_selected && self.is_followed_from(origin)) => Evidence::Cascade,
            Some(Followed::Parent) if !(is_selected && self.is_followed_from(origin)) => Evidence::Needed,
            _ => Evidence::Predicate,
        }
    }

    /// The row holds damaged values.
    fn judge_damaged(
        &self,
        row: &StagedRow,
        live: &[RawKey],
        refers: &[bool],
        parents: &Parents,
        evidence: Evidence,
        mut finding: Finding,
    ) -> Judgement {
        let mut columns: Vec<usize> = finding.truth.iter().map(|(column, _)| *column).collect();
        let doubt = self.doubt(row, live, refers, parents);
        if let Entity::Other(reason) = self.identity.judge(row, live, &finding.named, &doubt) {
            return Judgement { blocks: true, reason, columns, ..still(Verdict::IdReused, evidence) };
        }
        let goes_home = self.goes_home(row, parents);
        // What the row gets from another one is not set twice.
        finding.truth.retain(|(at, value)| !goes_home.contains(at) || row.fields[*at] != *value);
        let is_set_right = |at| finding.sets(at) || goes_home.contains(&at);
        let cut = self.cut_links(row, live, refers, parents, is_set_right);
        let only_cut = finding.truth.is_empty();
        columns.retain(|at| finding.sets(*at));
        columns.extend(cut.columns);
        if columns.is_empty() {
            return self.brought(row, parents, evidence);
        }
        columns.sort_unstable();
        columns.dedup();
        let stays = |at: &usize| !columns.contains(at) && !goes_home.contains(at);
        let others: Vec<Ident> = self.differing(row, live).filter(stays).map(|at| self.name(at)).collect();
        let reason = if others.is_empty() {
            String::new()
        } else {
            format!("live's {} stays as it is", column_list(&others))
        };
        let verdict = match finding.misrouted {
            _ if only_cut => Verdict::Unlinked,
            true => Verdict::Misrouted,
            false => Verdict::Damaged,
        };
        let mut truth: Settings = cut.truth.into_iter().filter(|(at, _)| !finding.sets(*at)).collect();
        truth.extend(finding.truth);
        Judgement { action: RowAction::Update, columns, truth, reason, ..still(verdict, evidence) }
    }

    /// The row was only looked at for damage, and has none: what differs in the columns that the recipe is about was
    /// changed by somebody.
    fn judge_sound(
        &self,
        row: &StagedRow,
        live: &[RawKey],
        (refers, parents): (&[bool], &Parents),
        evidence: Evidence,
        finding: &Finding,
    ) -> Judgement {
        let columns = finding.kept.clone();
        if columns.is_empty() {
            return still(Verdict::Same, evidence);
        }
        let doubt = self.doubt(row, live, refers, parents);
        if let Entity::Other(reason) = self.identity.judge(row, live, &finding.named, &doubt) {
            return Judgement { blocks: true, reason, columns, ..still(Verdict::IdReused, evidence) };
        }
        let names: Vec<Ident> = columns.iter().map(|&at| self.name(at)).collect();
        let action = match self.changed {
            Changed::Overwrite => RowAction::Update,
            _ => RowAction::None,
        };
        let reason = finding.why_kept.clone().unwrap_or_else(|| {
            format!("live's {} differs and is not damaged by the recipe's condition", column_list(&names))
        });
        Judgement { action, reason, columns, ..still(Verdict::Changed, evidence) }
    }

    pub(super) fn differing<'r>(
        &'r self,
        row: &'r StagedRow,
        live: &'r [RawKey],
    ) -> impl Iterator<Item = usize> + 'r {
        self.fit.written().map(|(at, _)| at).filter(|&at| row.fields[at] != live[at])
    }

    pub(super) fn name(&self, at: usize) -> Ident {
        self.fit.columns[at].live.name.clone()
    }

    fn judge_absent(
        &self,
        row: &StagedRow,
        refers: &[bool],
        parents: &Parents,
        evidence: Evidence,
    ) -> Judgement {
        let mut cut: BTreeMap<usize, RawKey> = BTreeMap::new();
        let mut reason = String::new();
        if let Some(parent) = self.hangs_on_what_was_left(row, refers, parents) {
            let reason = format!("hangs on a row of {parent} that was never away");
            return Judgement { blocks: true, reason, ..still(Verdict::Excluded, evidence) };
        }
        for (upward, _) in self.upwards.iter().zip(refers).filter(|(_, refers)| **refers) {
            let Some(key) = upward.key(row) else { continue };
            let Some(block) = parents.blocked(upward.fk, &key) else { continue };
            if upward.fk.cuts_link() && upward.fk.is_enforced() {
                // What PostgreSQL itself does to the child of a parent that is gone.
                let (values, left) = upward.left(row, parents);
                cut.extend(values);
                reason = format!("link to {} left {left}, its parent is {}", upward.fk.parent, block.verdict);
                continue;
            }
            let reason = format!("hangs on {} that is {}: {}", upward.fk.parent, block.verdict, block.reason);
            // Where the row would have stood in the way, only the accident let its parent be deleted.
            let in_the_way = upward.fk.is_enforced() && upward.fk.on_delete != Action::Cascade;
            let stays_meant = !(block.afterwards && in_the_way) || evidence == Evidence::Needed;
            let verdict = match block.verdict {
                Verdict::Excluded if stays_meant => Verdict::Excluded,
                _ => Verdict::Orphan,
            };
            let afterwards = block.afterwards && verdict == Verdict::Excluded;
            return Judgement { blocks: true, afterwards, reason, ..still(verdict, evidence) };
        }
        if !row.was.is_empty() {
            let hung = repoint::describe(self, row);
            reason = if reason.is_empty() { hung } else { format!("{hung}; {reason}") };
        }
        let mut columns: Vec<usize> = cut.keys().copied().collect();
        columns.extend(row.was.keys());
        columns.sort_unstable();
        columns.dedup();
        Judgement {
            action: RowAction::Insert,
            columns,
            truth: cut.into_iter().collect(),
            comes_back: true,
            reason,
            ..still(Verdict::Lost, evidence)
        }
    }
}

pub(super) fn still(verdict: Verdict, evidence: Evidence) -> Judgement {
    Judgement {
        verdict,
        action: RowAction::None,
        evidence,
        reason: String::new(),
        columns: Vec::new(),
        truth: Vec::new(),
        blocks: false,
        afterwards: false,
        comes_back: false,
        stand_in: None,
    }
}
