//! Rows that differ at their place, on their way to a count: they meet by key, and where only a server can tell whether
//! two texts are one value, it is asked.

use super::columns::{Compared, Differences};
use super::pending::{Key, Met, Pending, Side};
use super::tally::Tally;
use super::{CompareError, CompareInput, CompareOptions};
use crate::ident::TableName;
use crate::pg::{ReadSession, SessionOptions};
use crate::sql::literal::push_literal;
use crate::value::copy_text::{fields, is_null, unescape};

/// Pairs of rows that the server is asked about at once.
const ASK_ROWS: usize = 500;

/// A pair of rows that only a server can tell apart.
struct Open {
    backup: Box<[u8]>,
    live: Box<[u8]>,
}

/// Rows that differ at their place, on their way to a count.
pub(super) struct Meeting {
    key: Key,
    compared: Vec<Compared>,
    pending: Pending,
    tally: Tally,
    table: TableName,
    open: Vec<Open>,
    session: Option<ReadSession>,
    unasked: u64,
}

impl Meeting {
    pub(super) fn new(key: Key, compared: &[Compared], table: &TableName, options: &CompareOptions) -> Self {
        Self {
            pending: Pending::new(key.clone(), options.memory_bytes),
            tally: Tally::new(options.samples, options.most_keys),
            table: table.clone(),
            compared: compared.to_vec(),
            key,
            open: Vec::new(),
            session: None,
            unasked: 0,
        }
    }

    /// Is it time to ask the server?
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= ASK_ROWS
    }

    pub(super) fn add(&mut self, side: Side, row: &[u8]) -> Result<(), CompareError> {
        let met = self.pending.add(side, row).map_err(CompareError::Spill)?;
        self.meet(side, row, met)
    }

    fn meet(&mut self, side: Side, row: &[u8], met: Met) -> Result<(), CompareError> {
        match met {
            Met::Nobody | Met::Equal => Ok(()),
            Met::Itself => Err(CompareError::KeyTwice { table: self.table.clone(), side: side.place() }),
            Met::Other(other) => {
                let (backup, live) = match side {
                    Side::Backup => (Box::from(row), other),
                    Side::Live => (other, Box::from(row)),
                };
                self.differ(backup, live);
                Ok(())
            }
        }
    }

    /// Two rows of one key whose texts differ.
    fn differ(&mut self, backup: Box<[u8]>, live: Box<[u8]>) {
        let (one, other): (Vec<&[u8]>, Vec<&[u8]>) = (fields(&backup).collect(), fields(&live).collect());
        let found = Differences::between(&self.compared, &one, &other);
        if !found.open.is_empty() {
            self.open.push(Open { backup, live });
        } else if !found.sure.is_empty() {
            self.tally.change(&self.key.of(&backup), &found.sure, &one, &other);
        }
    }

    /// Has the server print the backup's values as it prints its own, and counts what still differs.
    pub(super) async fn ask(&mut self, input: &CompareInput<'_>, encoding: &str) -> Result<(), CompareError> {
        let open = std::mem::take(&mut self.open);
        for pairs in open.chunks(ASK_ROWS) {
            let printed = match encoding {
                "UTF8" => self.print(input, pairs).await?,
                _ => None,
            };
            self.unasked +=
                if printed.is_none() { u64::try_from(pairs.len()).unwrap_or(u64::MAX) } else { 0 };
            for (at, pair) in pairs.iter().enumerate() {
                let row = printed.as_ref().and_then(|rows| rows.get(at)).unwrap_or(&pair.backup);
                let (one, other): (Vec<&[u8]>, Vec<&[u8]>) =
                    (fields(row).collect(), fields(&pair.live).collect());
                let mut found = Differences::between(&self.compared, &one, &other);
                found.sure.append(&mut found.open);
                if !found.sure.is_empty() {
                    self.tally.change(&self.key.of(&pair.backup), &found.sure, &one, &other);
                }
            }
        }
        Ok(())
    }

    /// `None` when the server cannot read one of the values as the column's type.
    async fn print(
        &mut self,
        input: &CompareInput<'_>,
        pairs: &[Open],
    ) -> Result<Option<Vec<Box<[u8]>>>, CompareError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => ReadSession::connect(input.live, &SessionOptions::named("rowback")).await?,
        };
        let mut sql = "copy (select ".to_owned();
        let names: Vec<String> = (0..self.compared.len()).map(|at| format!("c{at}")).collect();
        sql.push_str(&names.join(", "));
        sql.push_str(" from (values ");
        for (number, pair) in pairs.iter().enumerate() {
            sql.push_str(if number == 0 { "(0" } else { ", (" });
            if number > 0 {
                sql.push_str(&number.to_string());
            }
            for (field, column) in fields(&pair.backup).zip(&self.compared) {
                sql.push(',');
                if is_null(field) {
                    sql.push_str("null");
                } else {
                    push_literal(&mut sql, &String::from_utf8_lossy(&unescape(field)));
                }
                if number == 0 {
                    sql.push_str("::");
                    sql.push_str(&column.cast);
                }
            }
            sql.push(')');
        }
        sql.push_str(&format!(") as v(n, {}) order by n) to stdout", names.join(", ")));
        let rows = read_all(&session, &sql).await;
        if rows.is_none() {
            session.restart().await?;
        }
        self.session = Some(session);
        Ok(rows)
    }

    pub(super) async fn finish(
        mut self,
        input: &CompareInput<'_>,
        encoding: &str,
    ) -> Result<(Tally, Option<String>), CompareError> {
        let pending = std::mem::replace(&mut self.pending, Pending::new(Key::Row, 0));
        let mut rest = pending.into_rest().map_err(CompareError::Spill)?;
        while let Some(left) = rest.next_part().map_err(CompareError::Spill)? {
            for (side, row, met) in left.met {
                self.meet(side, &row, met)?;
                if self.is_full() {
                    self.ask(input, encoding).await?;
                }
            }
            for (side, row) in &left.alone {
                self.tally.alone(*side, &self.key, row);
            }
        }
        self.ask(input, encoding).await?;
        let note = (self.unasked > 0).then(|| {
            format!(
                "{} rows are held against live as text, because live cannot read their values",
                self.unasked
            )
        });
        Ok((self.tally, note))
    }
}

/// All rows of a COPY; `None` when it fails.
async fn read_all(session: &ReadSession, sql: &str) -> Option<Vec<Box<[u8]>>> {
    let mut copy = session.copy_out("printing values of the backup", sql).await.ok()?;
    let mut rows = Vec::new();
    while let Some(row) = copy.next_row().await.ok()? {
        rows.push(Box::from(&*row));
    }
    Some(rows)
}
