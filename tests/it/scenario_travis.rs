//! Travis CI, March 2018: the tables are empty, and users who log in meanwhile are made again under new numbers.

use super::support::Scenario;

#[test]
fn who_signed_up_again_stays_and_nothing_is_hung_on_strangers() {
    let told = Scenario {
        name: "travis-2018",
        recipe: "recipe.toml",
        twin: &["wanted.sql", "later.sql"],
        codes: [1, 0, 1],
        planted: "update visits set shopper_id = 801 where id = 12",
    }
    .play();
    insta::assert_snapshot!(told, @"
    table                    lost  same  recreated  orphan
    public.goods                    500
    public.purchase_lines  57,000                    3,000
    public.purchases       19,000                    1,000
    public.settlements     19,000                    1,000
    public.shoppers         3,800              200
    public.stores                   200
    public.visits          40,000

    Evidence: 95,000 by cascade, 43,800 by predicate only (it cannot know what was done on purpose).

    Plan: 138,800 to insert, 0 to repair, 0 to re-link; 5,200 conflicts kept as they are. Nothing has been written.
    Review case/report.html, then run: rowback apply case
    ");
}

#[test]
fn who_signed_up_again_gets_back_what_hung_on_the_old_number() {
    let told = Scenario {
        name: "travis-2018",
        recipe: "repoint.toml",
        twin: &["give-way.sql", "later.sql", "hang-over.sql"],
        codes: [0, 0, 0],
        planted: "update purchases set shopper_id = 4002 where shopper_id = 4001",
    }
    .play();
    insta::assert_snapshot!(told, @"
    table                    lost  same  recreated
    public.goods                    500
    public.purchase_lines  60,000
    public.purchases       20,000
    public.settlements     20,000
    public.shoppers         3,800              200
    public.stores                   200
    public.visits          40,000

    Evidence: 100,000 by cascade, 43,800 by predicate only (it cannot know what was done on purpose).

    note: 200 lost rows of public.shoppers were made again under another key: live's rows stay as they are, and what hung on the lost ones is hung on them

    Plan: 143,800 to insert, 0 to repair, 0 to re-link; no conflicts. Nothing has been written.
    Review case/report.html, then run: rowback apply case
    ");
}
