//! The files of a convoy: rows that move together, in groups, by table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DiffError;
use super::convoy::{Convoy, Edge, Wagon};
use super::followers::Moving;
use super::judge::Judgement;
use super::lookup::StagedRow;
use super::rows::{DiffRow, DiffWriter};
use super::verdict::{RowAction, Verdict};
use crate::catalog::ForeignKey;
use crate::ident::{Ident, TableName};
use crate::staging::{StagedFile, StagingFormat, make_directory};

/// Folder inside that of a convoy for the rows that lead.
pub const LEADING: &str = "leading";

/// The files of a convoy, in the diff's manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConvoyFiles {
    /// The directory of the files, inside that of the diff.
    pub directory: String,
    /// The rows that lead; the diff files of their tables have them, too.
    pub leading: Vec<Leading>,
    /// The rows that move with them, parents before children; a table that leads may be among these as well.
    pub following: Vec<ConvoyTable>,
}

/// Rows of a table that lead.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Leading {
    /// The columns whose change makes others move.
    pub columns: Vec<Ident>,
    /// The rows; their file is in the folder [`LEADING`] of the convoy's.
    pub rows: ConvoyTable,
}

/// One table of a convoy. Its file is a diff file with the number of the convoy's group before the key, rows ordered by
/// group; rows of one group must change in one statement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConvoyTable {
    /// The table.
    pub table: TableName,
    /// Columns that name a row.
    pub key: Vec<Ident>,
    /// The file.
    pub file: StagedFile,
    /// Rows that are updated.
    pub moved: u64,
    /// Rows that PostgreSQL moves by ON UPDATE CASCADE.
    pub cascaded: u64,
    /// The owners that its rows carry beside a reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<OwnerBeside>,
}

/// An owner that rows carry in a column of their own, beside a reference to the row that has it too.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OwnerBeside {
    /// The reference, as live has it.
    pub foreign_key: ForeignKey,
    /// The column of the child.
    pub owner: Ident,
    /// The column of the parent.
    pub owner_above: Ident,
}

impl ConvoyFiles {
    /// Is a row of this table's diff planned with the convoy, not by itself?
    pub fn leads(&self, table: &TableName, row: &DiffRow) -> bool {
        row.action == RowAction::Update
            && matches!(row.verdict, Verdict::Damaged | Verdict::Misrouted)
            && self
                .leading
                .iter()
                .filter(|leading| &leading.rows.table == table)
                .any(|leading| row.columns.iter().any(|column| leading.columns.contains(column)))
    }

    /// The tables that lead.
    pub fn leaders(&self) -> Vec<&TableName> {
        self.leading.iter().map(|leading| &leading.rows.table).collect()
    }

    /// All its tables with the folders of their files inside that of the diff, those that lead first.
    pub fn tables(&self) -> impl Iterator<Item = (PathBuf, &ConvoyTable)> {
        let directory = PathBuf::from(&self.directory);
        let leading = self.leading.iter().map({
            let directory = directory.join(LEADING);
            move |leading| (directory.clone(), &leading.rows)
        });
        leading.chain(self.following.iter().map(move |table| (directory.clone(), table)))
    }
}

/// Writes the files of a convoy.
pub(super) struct ConvoyWriter<'c, 'a> {
    convoy: &'c Convoy<'a>,
    directory: String,
    leading: Vec<Rows>,
    following: Vec<Rows>,
    groups: i64,
}

/// One file, with the numbers of rows that are updated and that PostgreSQL moves.
struct Rows {
    writer: DiffWriter,
    moved: u64,
    cascaded: u64,
}

impl<'c, 'a> ConvoyWriter<'c, 'a> {
    /// Begins the files in `<diff>/convoys/<number>`.
    pub fn create(
        convoy: &'c Convoy<'a>,
        diff: &Path,
        number: usize,
        format: StagingFormat,
    ) -> Result<Self, DiffError> {
        let directory = format!("convoys/{number:04}");
        make_directory(&diff.join("convoys"))?;
        make_directory(&diff.join(&directory))?;
        let path = diff.join(&directory).join(LEADING);
        make_directory(&path)?;
        let rows = |path: &Path, wagons: &[Wagon<'_>], is_told: bool| -> Result<Vec<Rows>, DiffError> {
            wagons
                .iter()
                .map(|wagon| {
                    let telling = if is_told { &wagon.telling[..] } else { &[] };
                    let writer = DiffWriter::create_grouped(path, &wagon.fit, telling, format)?;
                    Ok(Rows { writer, moved: 0, cascaded: 0 })
                })
                .collect()
        };
        let leading = rows(&path, &convoy.wagons[..convoy.leading.len()], true)?;
        let following = rows(&diff.join(&directory), &convoy.wagons, false)?;
        Ok(Self { convoy, directory, leading, following, groups: 0 })
    }

    /// The number of a new group.
    pub fn next_group(&mut self) -> i64 {
        self.groups += 1;
        self.groups
    }

    /// Adds a row; those of a file come by group.
    pub async fn write(&mut self, group: i64, row: &Moving) -> Result<(), DiffError> {
        let fit = &self.convoy.wagons[row.wagon].fit;
        let file = if row.leads { &mut self.leading } else { &mut self.following };
        let Rows { writer, moved, cascaded } = &mut file[row.wagon];
        let staged = StagedRow::of(row.live.clone(), String::new());
        writer.write_grouped(group, fit, &staged, Some(&row.live), &travelling(row, &fit.key)).await?;
        *(if row.cascades { cascaded } else { moved }) += 1;
        Ok(())
    }

    /// Puts the files in place.
    pub async fn finish(self) -> Result<ConvoyFiles, DiffError> {
        let convoy = self.convoy;
        let (mut leading, mut following) = (Vec::new(), Vec::new());
        for ((number, columns), rows) in convoy.leading.iter().enumerate().zip(self.leading) {
            let fit = &convoy.wagons[number].fit;
            let columns = columns.iter().map(|&at| fit.columns[at].live.name.clone()).collect();
            leading.push(Leading { columns, rows: rows.finish(convoy, number).await? });
        }
        for (number, rows) in self.following.into_iter().enumerate() {
            following.push(rows.finish(convoy, number).await?);
        }
        Ok(ConvoyFiles { directory: self.directory, leading, following })
    }
}

impl Rows {
    async fn finish(self, convoy: &Convoy<'_>, number: usize) -> Result<ConvoyTable, DiffError> {
        let wagon = &convoy.wagons[number];
        Ok(ConvoyTable {
            table: wagon.fit.live.name.clone(),
            key: wagon.fit.key.iter().map(|&at| wagon.fit.columns[at].live.name.clone()).collect(),
            file: self.writer.finish().await?,
            moved: self.moved,
            cascaded: self.cascaded,
            beside: wagon.edges.iter().filter_map(owner_beside).collect(),
        })
    }
}

fn owner_beside(edge: &Edge<'_>) -> Option<OwnerBeside> {
    let carry = edge.beside.as_ref()?.carry;
    let (owner, owner_above) = (carry.owner.clone(), carry.owner_above.clone());
    Some(OwnerBeside { foreign_key: edge.fk.clone(), owner, owner_above })
}

/// What the convoy's file says of a row. The columns of the reference go along unchanged, so that a row that was hung
/// elsewhere in the meantime is left alone.
fn travelling(row: &Moving, key: &[usize]) -> Judgement {
    let columns: BTreeSet<usize> = row.truth.keys().chain(&row.bound).copied().collect();
    let columns: Vec<usize> = columns.into_iter().filter(|at| !key.contains(at)).collect();
    Judgement {
        verdict: row.verdict,
        action: if row.cascades { RowAction::None } else { RowAction::Update },
        evidence: row.evidence,
        reason: row.why.clone(),
        columns,
        truth: row.truth.iter().map(|(at, value)| (*at, value.clone())).collect(),
        blocks: false,
        afterwards: false,
        comes_back: false,
        stand_in: None,
    }
}
