//! Rows that somebody deleted on purpose after the backup, before the accident took their neighbours: they stay away.

use super::support::Scenario;

const PLANTED: &str = "insert into shoppers (id, store_id, login, display_name, joined_at, changed_at) \
                       values (206, 7, 'shopper.206@mail.example', 'Erased', now(), now())";

#[test]
fn who_is_in_the_file_of_the_erased_stays_away() {
    let told = Scenario {
        name: "deleted-on-purpose",
        recipe: "recipe.toml",
        twin: &["wanted.sql", "later.sql"],
        codes: [0, 0, 0],
        planted: PLANTED,
    }
    .play();
    insta::assert_snapshot!(told, @"
    table                  lost  unlinked  same  excluded
    public.goods                             15
    public.purchase_lines   267                        33
    public.purchases         89                        11
    public.settlements       89                        11
    public.shoppers          18                         2
    public.stores                             7
    public.visits                     180              20

    Evidence: 625 by cascade, 18 by predicate only (it cannot know what was done on purpose).

    Plan: 463 to insert, 0 to repair, 180 to re-link; no conflicts. Nothing has been written.
    Review case/report.html, then run: rowback apply case
    ");
}

#[test]
fn who_is_left_out_by_the_predicate_stays_away() {
    let told = Scenario {
        name: "deleted-on-purpose",
        recipe: "predicate.toml",
        twin: &["wanted.sql", "later.sql"],
        codes: [0, 0, 0],
        planted: PLANTED,
    }
    .play();
    insta::assert_snapshot!(told, @"
    table                  lost  unlinked  same  excluded
    public.goods                             15
    public.purchase_lines   267                         3
    public.purchases         89                         1
    public.settlements       89                         1
    public.shoppers          18
    public.stores                             7
    public.visits                     180

    Evidence: 625 by cascade, 18 by predicate only (it cannot know what was done on purpose).

    Plan: 463 to insert, 0 to repair, 180 to re-link; no conflicts. Nothing has been written.
    Review case/report.html, then run: rowback apply case
    ");
}
