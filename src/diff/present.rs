//! Rows whose key live has: are they those of the backup, and what became of them?

use super::blocked::Parents;
use super::identity::{Doubt, Entity};
use super::judge::{Court, Judgement, still};
use super::links::Cut;
use super::lookup::{RawKey, StagedRow};
use super::repoint;
use super::verdict::{Evidence, RowAction, Verdict};
use crate::catalog::column_list;
use crate::catalog::telling::moves_often;
use crate::ident::{Ident, TableName};
use crate::recipe::Changed;

impl Court<'_> {
    pub(super) fn judge_present(
        &self,
        row: &StagedRow,
        live: &[RawKey],
        refers: &[bool],
        parents: &Parents,
        evidence: Evidence,
    ) -> Judgement {
        let differing: Vec<usize> = self.differing(row, live).collect();
        let doubt = self.doubt(row, live, refers, parents);
        if differing.is_empty() && doubt.stranger.is_none() {
            return still(Verdict::Same, evidence);
        }
        if self.only_moves_along(row, &differing, parents) {
            return self.brought(row, parents, evidence);
        }
        if row.is_repointed(&self.fit.key) {
            let mut found = still(Verdict::Recreated, evidence);
            repoint::same_key(self, row, live, &mut found);
            return found;
        }
        let entity = self.identity.judge(row, live, &self.perhaps_cut(live), &doubt);
        let barred = |verdict, reason| {
            let columns = differing.clone();
            Judgement { blocks: true, reason, columns, ..still(verdict, evidence) }
        };
        if let Entity::Other(reason) = entity {
            return barred(Verdict::IdReused, reason);
        }
        if differing.is_empty() {
            return still(Verdict::Same, evidence);
        }
        if evidence == Evidence::Needed {
            // What the guards of its children tell it by is written as live has it.
            return Judgement { columns: row.alike.clone(), ..still(Verdict::Same, evidence) };
        }
        if let Some(parent) = self.left_excluded(row, live, refers, parents) {
            let reason =
                format!("it hung on a row of {parent} that is excluded, and was made again or moved since");
            return barred(Verdict::Changed, reason);
        }
        let goes_home = self.goes_home(row, parents);
        let Cut { columns: cut, truth } =
            self.cut_links(row, live, refers, parents, |at| goes_home.contains(&at));
        let others: Vec<Ident> = differing
            .iter()
            .filter(|at| !cut.contains(at) && !goes_home.contains(at))
            .map(|&at| self.name(at))
            .collect();
        let came_back = self.identity.was_made_again(row, live);
        if !cut.is_empty() {
            let found = Judgement { columns: cut, ..still(Verdict::Unlinked, evidence) };
            return self.set_again(row, &others, Judgement { truth: truth.into_iter().collect(), ..found });
        }
        if let Some(parent) = self.cut_on_purpose(row, live, refers, parents, &differing) {
            let reason = format!("its link to {parent} was cut on purpose");
            return Judgement { reason, columns: differing, ..still(Verdict::Excluded, evidence) };
        }
        let in_place =
            evidence == Evidence::Cascade && self.kept_its_place(row, live, refers, parents, &differing);
        let (blocks, reason) = match entity {
            Entity::Uncertain(reason) if !in_place => (true, reason),
            _ => (false, format!("live's {} differs", column_list(&others))),
        };
        let action = match self.changed {
            Changed::Overwrite if !blocks => RowAction::Update,
            _ => RowAction::None,
        };
        let columns = differing;
        Judgement {
            blocks,
            reason,
            columns,
            action,
            comes_back: came_back,
            ..still(Verdict::Changed, evidence)
        }
    }

    /// Links of the row are set again; others of its columns stay as they are.
    fn set_again(&self, row: &StagedRow, others: &[Ident], cut: Judgement) -> Judgement {
        let reason = if others.is_empty() && row.is_repointed(&cut.columns) {
            repoint::describe(self, row)
        } else if others.is_empty() {
            String::new()
        } else {
            format!("live's {} stays as it is", column_list(others))
        };
        Judgement { action: RowAction::Update, reason, ..cut }
    }

    /// Is nothing wrong with the row but what is set right together with the one that it hangs on?
    fn only_moves_along(&self, row: &StagedRow, differing: &[usize], parents: &Parents) -> bool {
        let is_moved = |&at: &usize| parents.is_moved(&self.fit.live.name, &self.name(at));
        !differing.is_empty() && differing.iter().all(is_moved) && self.moves_along(row, parents)
    }

    /// Does every link lead where it led, to parents of which nothing is known to be wrong, and differs nothing but what
    /// triggers move? Then the row was never taken: a deletion would have cut a link, or the row is there in spite of it.
    fn kept_its_place(
        &self,
        row: &StagedRow,
        live: &[RawKey],
        refers: &[bool],
        parents: &Parents,
        differing: &[usize],
    ) -> bool {
        let upwards = self.upwards.iter().zip(refers).filter(|(_, refers)| **refers);
        let mut links = upwards.filter_map(|(upward, _)| Some((upward, upward.key_before(row)?))).peekable();
        links.peek().is_some()
            && links.all(|(upward, key)| {
                let is_sound = parents.blocked(upward.fk, &key).is_none();
                // Where the database vouches for the parent it is there, and only somebody else's hands brought it back.
                let was_gone = upward.fk.is_enforced() && parents.is_recovered(upward.fk, &key);
                upward.fk.key_in(live, &upward.columns).as_ref() == Some(&key) && is_sound && !was_gone
            })
            && differing.iter().all(|&at| moves_often(self.fit.columns[at].live))
    }

    /// Does live's row hang where the backup's did, on a row that is not the backup's any more, or may not be? While the parent
    /// was gone no row could hang on it where the database vouches for it, and cuts no link.
    pub(super) fn doubt(
        &self,
        row: &StagedRow,
        live: &[RawKey],
        refers: &[bool],
        parents: &Parents,
    ) -> Doubt {
        let mut found = Doubt::default();
        for (upward, _) in self.upwards.iter().zip(refers).filter(|(_, refers)| **refers) {
            if !parents.blocks_any(upward.fk) {
                continue;
            }
            let Some(key) = upward.key_before(row) else { continue };
            if upward.fk.key_in(live, &upward.columns).as_ref() != Some(&key) {
                continue;
            }
            let Some(block) = parents.blocked(upward.fk, &key) else { continue };
            if !block.is_in_live() {
                continue;
            }
            found.columns.extend(&upward.columns);
            let only_since = upward.fk.is_enforced() && !upward.fk.cuts_link();
            if block.verdict == Verdict::IdReused && only_since && found.stranger.is_none() {
                let parent = &upward.fk.parent;
                found.stranger =
                    Some(format!("hangs on {parent} that is {}: {}", block.verdict, block.reason));
            }
        }
        found
    }

    /// Columns of links that hold what the end of a parent leaves: where they led says nothing about the row.
    fn perhaps_cut(&self, live: &[RawKey]) -> Vec<usize> {
        let set = self.upwards.iter().filter(|upward| upward.fk.cuts_link()).flat_map(|upward| &upward.set);
        set.filter(|(at, value)| live[*at] == *value).map(|(at, _)| *at).collect()
    }

    /// The parent that was deleted on purpose, where the row hung on it and hangs on another one by now: what hung on the
    /// backup's row may have gone with it.
    fn left_excluded(
        &self,
        row: &StagedRow,
        live: &[RawKey],
        refers: &[bool],
        parents: &Parents,
    ) -> Option<&TableName> {
        let upwards =
            self.upwards.iter().zip(refers).filter(|(upward, refers)| **refers && !upward.fk.cuts_link());
        upwards.map(|(upward, _)| upward).find_map(|upward| {
            let key = upward.key_before(row)?;
            let block = parents.blocked(upward.fk, &key)?;
            let moved = upward.fk.key_in(live, &upward.columns).as_ref() != Some(&key);
            (moved && block.verdict == Verdict::Excluded).then_some(&upward.fk.parent)
        })
    }

    /// The parent that was deleted on purpose, when the link that this cut is all that differs.
    fn cut_on_purpose(
        &self,
        row: &StagedRow,
        live: &[RawKey],
        refers: &[bool],
        parents: &Parents,
        differing: &[usize],
    ) -> Option<&TableName> {
        let upwards =
            self.upwards.iter().zip(refers).filter(|(upward, refers)| **refers && upward.fk.cuts_link());
        upwards.map(|(upward, _)| upward).find_map(|upward| {
            let block = parents.blocked(upward.fk, &upward.key(row)?)?;
            let is_cut = |at: &usize| upward.set.iter().any(|(set, value)| set == at && live[*at] == *value);
            (block.verdict == Verdict::Excluded && differing.iter().all(is_cut)).then_some(&upward.fk.parent)
        })
    }
}
