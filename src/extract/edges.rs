//! How many children the backup has for the chosen rows, foreign key by foreign key.

use super::chosen::{CHARGED, Chosen, PARENTS, join_condition, side_name};
use super::{EdgeCount, ExtractError, Following};

/// For every foreign key that was followed: how many children the backup has for the parents from which it was followed,
/// and how many of them are staged. `families` tell what each of them followed; of others not all children are loaded.
pub(super) async fn count_edges(
    chosen: &Chosen<'_>,
    families: &[&Following],
) -> Result<Vec<EdgeCount>, ExtractError> {
    let catalog = chosen.catalog;
    let mut counts = Vec::new();
    for fk in &catalog.foreign_keys {
        if !chosen.tables().contains(&fk.child) || !chosen.tables().contains(&fk.parent) {
            continue;
        }
        let following: Vec<String> = (0..)
            .zip(families)
            .filter(|(_, following)| following.follows(fk))
            .map(|(family, _): (i16, _)| family.to_string())
            .collect();
        if following.is_empty() {
            continue;
        }
        let following = following.join(", ");
        let (parent, child) = (chosen.table(&fk.parent)?, chosen.table(&fk.child)?);
        let (parent_side, child_side) = (side_name(parent), side_name(child));
        // A declared reference may lead to several rows, one over time always may, and a row may be chosen in several families.
        let leads_to_one = fk.is_enforced() && !fk.is_over_time();
        let each_once = leads_to_one && chosen.has_each_once(&fk.parent) && chosen.has_each_once(&fk.child);
        let (children, staged) = if each_once {
            ("count(*)", "count(s.tab)")
        } else {
            (
                "count(distinct (c.rowback_tab, c.rowback_place))",
                "count(distinct (s.tab, s.place)) filter (where s.tab is not null)",
            )
        };
        let condition = fk.when().map_or(String::new(), |when| format!(" where (\n{when}\n)"));
        let sql = format!(
            "select {children}, {staged} from \
             (select *, tableoid as rowback_tab, ctid as rowback_place from {}{condition}) as c join {} as p on {} \
             join {parent_side} as h on h.tab = p.tableoid and h.place = p.ctid and h.family in ({following}) \
             left join {child_side} as s on s.tab = c.rowback_tab and s.place = c.rowback_place and s.family not in ({PARENTS}, {CHARGED})",
            child.from_sql(),
            parent.from_sql(),
            join_condition(fk, child, parent),
        );
        let rows = chosen.session.text_rows("counting by foreign key", &sql).await?;
        let count = |at: usize| {
            let value = rows.first().and_then(|row| row.get(at)).and_then(Option::as_deref);
            value.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        if count(0) > 0 {
            counts.push(EdgeCount {
                name: fk.name.clone(),
                child: fk.child.clone(),
                parent: fk.parent.clone(),
                in_backup: count(0),
                staged: count(1),
            });
        }
    }
    Ok(counts)
}
