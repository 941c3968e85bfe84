//! The conditions of declared references (`when`), evaluated by PostgreSQL over the staged rows: in live, read-only.

use smallvec::{SmallVec, smallvec};

use super::DiffError;
use super::judge::Court;
use super::lookup::StagedRow;
use super::relation::push_relation;
use crate::pg::ReadSession;

/// Which of the court's upward references apply to a row.
pub type Refers = SmallVec<[bool; 16]>;

/// For each row, and each of the court's upward references, whether the reference's condition holds.
pub async fn hold(
    session: &ReadSession,
    court: &Court<'_>,
    rows: &[&StagedRow],
) -> Result<Vec<Refers>, DiffError> {
    let all: Refers = smallvec![true; court.upwards.len()];
    let mut found = vec![all; rows.len()];
    for (number, upward) in court.upwards.iter().enumerate() {
        let Some(condition) = upward.fk.when() else { continue };
        let positions: Vec<usize> = (0..court.fit.columns.len()).collect();
        let names: Vec<String> = court.fit.columns.iter().map(|column| column.live.name.quoted()).collect();
        let mut sql = format!("with s(rowback_n, {}) as (select * from ", names.join(", "));
        push_relation(&mut sql, rows, &positions, court.fit);
        sql.push_str(&format!(" as v) select rowback_n from s where (\n{condition}\n)"));
        let what = format!("evaluating the condition of {}", upward.fk.name);
        let holds: std::collections::BTreeSet<usize> = session
            .text_rows(&what, &sql)
            .await?
            .into_iter()
            .filter_map(|row| row.into_iter().next().flatten()?.parse().ok())
            .collect();
        for (at, refers) in found.iter_mut().enumerate() {
            refers[number] = holds.contains(&at);
        }
    }
    Ok(found)
}
