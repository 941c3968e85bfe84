//! Travis CI, March 2018: the tables are empty, and users who log in meanwhile are made again under new numbers.

use super::support::Scenario;

#[test]
fn who_signed_up_again_stays_and_nothing_is_hung_on_strangers() {
    let told = Scenario {
        name: "travis-2018",
        recipe: "recipe.toml",
        codes: [1, 0, 1],
        planted: "update visits set shopper_id = 801 where id = 12",
    }
    .play();
    insta::assert_snapshot!(told, @"
    table                    lost  same  recreated  orphan
    public.goods                    100
    public.purchase_lines  11,400                      600
    public.purchases        3,800                      200
    public.settlements      3,800                      200
    public.shoppers           760               40
    public.stores                   200
    public.visits           8,000

    Evidence: 19,000 by cascade, 8,760 by predicate only (it cannot know what was done on purpose).

    Plan: 27,760 to insert, 0 to repair, 0 to re-link; 1,040 conflicts kept as they are. Nothing has been written.
    Review case/report.html, then run: rowback apply case
    ");
}
