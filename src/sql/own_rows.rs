//! Which rows are a table's own: a name alone also means the rows of tables that inherit from it.

use super::literal::literal;
use crate::ident::TableName;

/// Is the row under this alias one of the table itself, or of one of its partitions, and not of a table that inherits from it?
/// Foreign keys and unique keys know nothing of those. For statements that do not know whether the table is partitioned;
/// others read `only` it.
pub fn own_rows(alias: &str, table: &TableName) -> String {
    let name = format!("pg_catalog.to_regclass({})::oid", literal(&table.quoted()));
    format!(
        "({alias}.tableoid = (select {name}) or exists (select from pg_catalog.pg_partitioned_table as rowback_t \
         where rowback_t.partrelid = {name}))"
    )
}
