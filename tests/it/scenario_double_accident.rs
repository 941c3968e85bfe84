//! Two accidents in a row: columns are overwritten, then some of the overwritten rows are deleted.

use super::support::Scenario;

#[test]
fn deleted_rows_come_back_with_the_values_from_before_both() {
    let told = Scenario {
        name: "double-accident",
        recipe: "recipe.toml",
        codes: [0, 0, 0],
        planted: "update shoppers set mobile = 'UNKNOWN' where id = 21",
    }
    .play();
    insta::assert_snapshot!(told, @"
    table                  lost  damaged  unlinked  same
    public.goods                                      99
    public.purchase_lines   810
    public.purchases        270
    public.settlements      270
    public.shoppers          54      110
    public.stores                                    100
    public.visits                              540

    Evidence: 1,890 by cascade, 164 by predicate only (it cannot know what was done on purpose).

    Plan: 1,404 to insert, 110 to repair, 540 to re-link; no conflicts. Nothing has been written.
    Review case/report.html, then run: rowback apply case
    ");
}
