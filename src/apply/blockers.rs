//! Why a row could not be written, where a trigger made another in its place that apply could not take away. Only reads.

use super::companions;
use super::isolate::Refused;
use super::place::Task;
use super::runner::{Job, Runner};
use super::transaction::Performed;
use crate::pg::PgError;

impl Runner<'_> {
    /// Adds the row in the way to what is said of each row that live refused, or that found its place taken.
    pub(super) async fn name_blockers(
        &self,
        job: &Job<'_>,
        performed: &mut Performed,
    ) -> Result<(), PgError> {
        if self.task == Task::Undo {
            return Ok(());
        }
        let made = self.made();
        for (number, part) in (1..).zip(&job.batch.parts).filter(|(_, part)| made.knows(&part.table)) {
            let in_vain = |word: &str| word == "blocked" || word == "kept";
            let blocked =
                performed.reported.iter().filter(|row| row.table == part.table && in_vain(&row.word));
            let blocked: Vec<_> = blocked.map(|row| row.key.clone()).collect();
            if blocked.is_empty() {
                continue;
            }
            let reasons = companions::in_the_way_of(&self.session, number, part, &made).await?;
            for (key, reason) in reasons.into_iter().filter(|(key, _)| blocked.contains(key)) {
                let mut refused = performed.refused.iter_mut();
                match refused.find(|row| row.table == part.table && row.key == key) {
                    Some(row) => row.message = format!("{}; {reason}", row.message),
                    None => {
                        performed.refused.push(Refused { table: part.table.clone(), key, message: reason });
                    }
                }
            }
        }
        Ok(())
    }
}
