//! The tables of a recovery, judged one after the other; those whose rows need each other, as often as it takes.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::blocked::Parents;
use super::convoy::Convoy;
use super::convoy_files::ConvoyFiles;
use super::judge::Court;
use super::muster::{Fates, Muster};
use super::pass::{self, Bench, Output, Phase, Purpose};
use super::rows::DiffWriter;
use super::tally::Tally;
use super::transfer::Moves;
use super::travel::Travel;
use super::{DiffError, DiffInput, FOUND, owners};
use crate::catalog::graph::Component;
use crate::ident::TableName;
use crate::pg::ReadSession;
use crate::progress::Step;
use crate::staging::{StagedFile, make_directory};

/// What judging every table needs.
pub(super) struct Scene<'s, 'a> {
    pub(super) input: &'s DiffInput<'a>,
    pub(super) session: &'s ReadSession,
    pub(super) courts: &'s BTreeMap<TableName, Court<'a>>,
    pub(super) convoys: &'s [Convoy<'a>],
    pub(super) moves: Moves,
    /// What was settled about rows that may only move together.
    pub(super) fates: BTreeMap<TableName, Fates>,
    /// The files of convoys, by number.
    pub(super) moved: BTreeMap<usize, ConvoyFiles>,
}

/// The files and counts of one table.
pub(super) struct Judged {
    pub(super) file: StagedFile,
    pub(super) found: Option<StagedFile>,
    pub(super) convoy: Option<(usize, ConvoyFiles)>,
    pub(super) tally: Tally,
}

impl Scene<'_, '_> {
    fn bench(&self, court: &Court<'_>) -> Result<Bench<'_>, DiffError> {
        let (input, name) = (self.input, &court.fit.live.name);
        let file = input.extracted.files.iter().find(|file| &file.table.table == name);
        let file = file.ok_or_else(|| DiffError::TableGone { table: name.clone() })?;
        let (progress, cancel) = (input.progress, input.cancel);
        let keys = OnceLock::new();
        let (session, staging, moves) = (self.session, input.staging, &self.moves);
        let lookups = input.lookups;
        let fates = self.fates.get(name);
        let is_open = |convoy: &&Convoy<'_>| {
            convoy.together && !convoy.leaders().any(|leader| self.fates.contains_key(leader))
        };
        let mut open = self.convoys.iter().filter(is_open).flat_map(|convoy| &convoy.wagons);
        let waits = open.any(|wagon| &wagon.fit.live.name == name);
        Ok(Bench { session, staging, file, progress, cancel, lookups, keys, moves, fates, waits })
    }

    pub(super) async fn judge(
        &self,
        table: &TableName,
        parents: &mut Parents,
        phase: Phase,
    ) -> Result<Judged, DiffError> {
        let (input, court) = (self.input, &self.courts[table]);
        let bench = self.bench(court)?;
        input.progress.start(Step::Diff, &table.to_string(), Some(bench.file.rows));
        let rows = DiffWriter::create(input.directory, court.fit, &court.identity.telling(), input.format)?;
        let number = self.convoys.iter().position(|convoy| convoy.leaders().any(|leader| leader == table));
        let number = number.filter(|number| !self.convoys[*number].together);
        let travel = number.map(|number| self.travel(number)).transpose()?;
        let mut output = Output { rows, travel };
        let mut tally = pass::run(court, &bench, parents, Purpose::Write(&mut output), phase).await?;
        let Output { rows, travel } = output;
        let file = rows.finish().await?;
        let (found, travel) = self.write_found(court, &bench, parents, travel, &mut tally).await?;
        let convoy = match (number, travel) {
            (Some(number), Some(travel)) => Some((number, travel.finish().await?)),
            _ => None,
        };
        input.progress.finish(Step::Diff);
        Ok(Judged { file, found, convoy, tally })
    }

    fn travel(&self, number: usize) -> Result<Travel<'_, '_>, DiffError> {
        let is_staged = |table: &TableName| self.courts.contains_key(table);
        let place = (self.input.directory, number + 1);
        Travel::start(&self.convoys[number], place, self.input.format, is_staged)
    }

    /// Settles which rows of these tables move that may only do so together. Were there any?
    pub(super) async fn muster(
        &mut self,
        tables: &[TableName],
        parents: &mut Parents,
    ) -> Result<bool, DiffError> {
        let mut settled = false;
        for (number, convoy) in self.convoys.iter().enumerate().filter(|(_, convoy)| convoy.together) {
            if !convoy.leaders().any(|leader| tables.contains(leader)) {
                continue;
            }
            let mut muster = Muster::new(convoy);
            for (wagon, leader) in convoy.leaders().enumerate() {
                let court = &self.courts[leader];
                let bench = self.bench(court)?;
                muster.turn_to(wagon);
                pass::run(court, &bench, parents, Purpose::Muster(&mut muster), Phase::Known).await?;
                self.look_in_live(
                    court,
                    &bench,
                    parents,
                    Purpose::Muster(&mut muster),
                    &mut Tally::default(),
                )
                .await?;
            }
            let mut travel = self.travel(number)?;
            let fates = muster.lead(&mut travel, self.session, parents).await?;
            let files = travel.finish().await?;
            self.fates.extend(fates);
            self.moved.insert(number, files);
            settled = true;
        }
        Ok(settled)
    }

    /// The file of rows that only live has, where a charge knows their owner from live itself.
    async fn write_found<'c, 'b>(
        &self,
        court: &Court<'_>,
        bench: &Bench<'_>,
        parents: &mut Parents,
        travel: Option<Travel<'c, 'b>>,
        tally: &mut Tally,
    ) -> Result<(Option<StagedFile>, Option<Travel<'c, 'b>>), DiffError> {
        if !court.charges.iter().any(|charge| charge.in_live) {
            return Ok((None, travel));
        }
        let directory = self.input.directory.join(FOUND);
        make_directory(&directory)?;
        let rows = DiffWriter::create(&directory, court.fit, &court.identity.telling(), self.input.format)?;
        let mut output = Output { rows, travel };
        self.look_in_live(court, bench, parents, Purpose::Write(&mut output), tally).await?;
        Ok((Some(output.rows.finish().await?), output.travel))
    }

    async fn look_in_live(
        &self,
        court: &Court<'_>,
        bench: &Bench<'_>,
        parents: &mut Parents,
        mut purpose: Purpose<'_, '_, '_>,
        tally: &mut Tally,
    ) -> Result<(), DiffError> {
        let charges: Vec<_> = court.charges.iter().filter(|charge| charge.in_live).collect();
        if charges.is_empty() {
            return Ok(());
        }
        let mut known = pass::staged_keys(court, bench)?;
        for charge in charges {
            let mut keys = owners::candidates(self.session, court.fit, charge).await?;
            keys.retain(|key| known.insert(key.clone()));
            let found = (charge.number, keys.as_slice());
            tally.add(&pass::run_found(court, bench, parents, found, purpose.again()).await?);
        }
        Ok(())
    }
}

/// All that must be known before the rows of a component are judged for good. Rows that refer to each other are passed over
/// without writing until nothing new is learned.
pub(super) async fn survey(
    scene: &mut Scene<'_, '_>,
    component: &Component,
    parents: &mut Parents,
) -> Result<(), DiffError> {
    let tables = &component.tables;
    if component.cyclic {
        while scene.learn(tables, parents, Phase::First).await? {}
        while scene.learn(tables, parents, Phase::Known).await? {}
    }
    if scene.muster(tables, parents).await? && component.cyclic {
        while scene.learn(tables, parents, Phase::Known).await? {}
    }
    Ok(())
}

impl Scene<'_, '_> {
    /// One pass without writing over tables whose rows refer to each other. Was anything new?
    async fn learn(
        &self,
        tables: &[TableName],
        parents: &mut Parents,
        phase: Phase,
    ) -> Result<bool, DiffError> {
        let mut learned = false;
        for table in tables {
            let court = &self.courts[table];
            learned |= pass::run(court, &self.bench(court)?, parents, Purpose::Learn, phase).await?.learned;
        }
        Ok(learned)
    }
}

/// Lost parents are only wanted where a recovered row refers to them: children first, so that the need of a parent's
/// parent is known.
pub(super) async fn settle(
    scene: &Scene<'_, '_>,
    order: &[Component],
    parents: &mut Parents,
    done: &mut BTreeMap<TableName, Judged>,
) -> Result<(), DiffError> {
    for component in order.iter().rev() {
        let with_parents: Vec<&TableName> = component
            .tables
            .iter()
            .filter(|table| done.get(*table).is_some_and(|judged| judged.tally.lost_parents > 0))
            .collect();
        if component.cyclic && !with_parents.is_empty() {
            while scene.learn(&component.tables, parents, Phase::Settled).await? {}
        }
        for table in with_parents {
            done.insert(table.clone(), scene.judge(table, parents, Phase::Settled).await?);
        }
    }
    Ok(())
}
