//! 3scale, January 2019: rows that were touched or born in some hours belong to the wrong tenant, or to none.

use super::support::Scenario;

#[test]
fn rows_find_their_owner_by_the_path_that_leads_to_it() {
    let told = Scenario {
        name: "3scale-2019",
        recipe: "recipe.toml",
        twin: &["wanted.sql", "later.sql"],
        codes: [0, 0, 0],
        planted: "update purchases set store_id = 2 where id = 1",
    }
    .play();
    insta::assert_snapshot!(told, @"
    table             misrouted
    public.purchases      1,007
    public.visits            61

    Evidence: 1,068 by predicate only (it cannot know what was done on purpose).

    Plan: 0 to insert, 1,068 to repair, 0 to re-link; no conflicts. Nothing has been written.
    Review case/report.html, then run: rowback apply case
    ");
}
