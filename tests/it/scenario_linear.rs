//! Linear, January 2024: a migration truncates a hub table with CASCADE; some tenants write on before anybody notices.

use super::support::Scenario;

#[test]
fn a_truncated_hub_comes_back_around_what_was_written_since() {
    let told = Scenario {
        name: "linear-2024",
        recipe: "recipe.toml",
        twin: &["wanted.sql", "later.sql"],
        codes: [1, 0, 1],
        planted: "update settlements set amount = amount + 0.01 where id = 2000",
    }
    .play();
    insta::assert_snapshot!(told, @"
    table                    lost  id_reused  orphan
    public.purchase_lines  59,913         24      63
    public.purchases       19,971         24       5
    public.settlements     19,971         24       5

    Evidence: 79,884 by cascade, 19,971 by predicate only (it cannot know what was done on purpose).

    Plan: 99,855 to insert, 0 to repair, 0 to re-link; 145 conflicts kept as they are. Nothing has been written.
    Review case/report.html, then run: rowback apply case
    ");
}
