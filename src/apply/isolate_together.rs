//! Rows of several tables that are updated in one statement: which of them hang on each other, where live refuses one. What hangs
//! together goes home whole or stays whole.

use petgraph::unionfind::UnionFind;

use super::companions::{Referrer, referrers};
use super::isolate_groups::{highest_group, number_groups};
use crate::ident::Ident;
use crate::pg::{PgError, WriteSession};
use crate::plan::{Action, Part, Reference};

const WHAT: &str = "finding the rows that live refuses";

/// Is it a batch of rows to update in several tables?
pub(super) fn updates(parts: &[Part]) -> bool {
    parts.len() > 1 && parts.iter().all(|part| part.action == Action::Update)
}

/// Gives rows that hang on each other one number in the column `rowback_group` of the tables `rowback_rows_…`, by the foreign keys of live
/// and those that the recipe declares. False where the batch does not have the values that tell.
pub(super) async fn group(
    session: &WriteSession,
    parts: &[Part],
    declared: &[Reference],
) -> Result<bool, PgError> {
    let highest = highest_group(session, parts).await?;
    let mut groups = UnionFind::<usize>::new(highest + 1);
    for (number, parent) in parts.iter().enumerate() {
        let mut below = referrers(session, &parent.table).await?;
        let holds = |known: &&Reference| known.when.is_none() && known.paths.iter().all(Option::is_none);
        let declared = declared.iter().filter(|known| known.parent == parent.table);
        below.extend(declared.filter(holds).map(by_text));
        for fk in &below {
            for (at, child) in parts.iter().enumerate().filter(|(_, part)| part.table == fk.child) {
                let (mut hung, mut told) = (true, true);
                let mut pairs = Vec::new();
                for ((down, up), operator) in fk.columns.iter().zip(&fk.operators) {
                    let (down, up) = (seen(child, down), seen(parent, up));
                    (hung, told) = (hung && down.is_some(), told && up.is_some());
                    pairs.extend(down.zip(up).map(|(down, up)| match &**operator {
                        BY_TEXT => format!("p.{up}::text = c.{down}::text"),
                        operator => format!("p.{up} {operator} c.{down}"),
                    }));
                }
                // A row that moves along has all columns by which it hangs.
                if !hung {
                    continue;
                }
                if !told {
                    return Ok(false);
                }
                let sql = format!(
                    "select c.rowback_group, p.rowback_group from pg_temp.rowback_rows_{} as c join pg_temp.rowback_rows_{} as p on {}",
                    at + 1,
                    number + 1,
                    pairs.join(" and ")
                );
                for row in session.text_rows(WHAT, &sql).await? {
                    let number = |at: usize| row.get(at).and_then(Option::as_deref)?.parse().ok();
                    if let Some((child, parent)) = number(0).zip(number(1)) {
                        groups.union(child, parent);
                    }
                }
            }
        }
    }
    let groups: Vec<i64> =
        groups.into_labeling().into_iter().map(|group| i64::try_from(group).unwrap_or(0)).collect();
    number_groups(session, parts, &groups).await?;
    Ok(true)
}

/// What the recipe declares may join columns of different types.
const BY_TEXT: &str = "";

fn by_text(reference: &Reference) -> Referrer {
    let columns = reference.columns.clone();
    Referrer { child: reference.child.clone(), operators: vec![BY_TEXT.to_owned(); columns.len()], columns }
}

/// The column of the temporary table that has what was seen.
fn seen(part: &Part, name: &Ident) -> Option<String> {
    let place = |prefix: &str, names: &[Ident]| {
        names.iter().position(|known| known == name).map(|at| format!("{prefix}{}", at + 1))
    };
    place("s", &part.columns).or_else(|| place("k", &part.key))
}
