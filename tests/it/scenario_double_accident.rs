//! Two accidents in a row: columns are overwritten, then some of the overwritten rows are deleted.

use super::support::Scenario;

#[test]
fn deleted_rows_come_back_with_the_values_from_before_both() {
    let told = Scenario {
        name: "double-accident",
        recipe: "recipe.toml",
        twin: &["wanted.sql", "later.sql"],
        codes: [0, 0, 0],
        planted: "update shoppers set mobile = 'UNKNOWN' where id = 21",
    }
    .play();
    insta::assert_snapshot!(told, @"
    table                   lost  damaged  unlinked  same
    public.goods                                      495
    public.purchase_lines  4,095
    public.purchases       1,365
    public.settlements     1,365
    public.shoppers          273      547
    public.stores                                     199
    public.visits                             2,730

    Evidence: 9,555 by cascade, 820 by predicate only (it cannot know what was done on purpose).

    Plan: 7,098 to insert, 547 to repair, 2,730 to re-link; no conflicts. Nothing has been written.
    Review case/report.html, then run: rowback apply case
    ");
}
