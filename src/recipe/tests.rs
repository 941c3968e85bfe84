//! The whole recipe of the design, the round trip, and the words of every error.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::error::Explain;

const WHOLE: &str = r#"
[backup]
path  = "backups/shop-2026-11-19.dump"
after = "backups/shop-2026-11-20.dump"

[live]
url = "service=shop"

[[recover]]
table = "public.orders"
kind  = "deleted"
where = "customer_id = 42 AND placed_at >= '2026-01-01'"
children = ["public.order_items"]
links    = true
identity = ["email"]

[[recover]]
table   = "public.customers"
kind    = "corrupted"
columns = ["email", "phone"]
where   = "tenant_id = 7"
damaged = "live.email LIKE '%@invalid' AND backup.email <> ''"

[[recover]]
table   = "public.invoices"
kind    = "misrouted"
owner   = "tenant_id"
damaged = "live.updated_at BETWEEN '2026-11-19 14:00+00' AND '2026-11-19 15:00+00'"
owner_from = "SELECT s.tenant_id FROM subscriptions s WHERE s.id = invoices.subscription_id"

[[recover]]
table = "tags"
replay = "DELETE FROM tags; DELETE FROM labels"
key = ["name"]

[[foreign_key]]
from = "public.item_metadata(owner_id, b)"
to   = "public.credit_notes(id, b)"
when = "owner_type = 'CreditNote'"

[policy]
changed   = "keep"
recreated = "repoint"
parents   = "missing"
triggers  = "replica"
exclude_keys = { "public.customers" = "erased.csv" }
max_rows  = 5
recreate  = true

[columns."public.orders"]
map = { ref_no = "reference" }
ignore = ["legacy_flag"]
[columns.log]
key = ["at", "line"]
"#;

fn whole() -> Recipe {
    Recipe::parse(WHOLE, Path::new("/shop")).unwrap()
}

#[test]
fn the_whole_recipe_is_read() {
    let recipe = whole();
    assert_eq!(recipe.backup.before, Some(BackupLocation::Path("/shop/backups/shop-2026-11-19.dump".into())));
    assert_eq!(recipe.backup.after, Some(BackupLocation::Path("/shop/backups/shop-2026-11-20.dump".into())));
    assert_eq!(recipe.live.url.as_deref(), Some("service=shop"));
    let orders = &recipe.recover[0];
    assert_eq!(orders.table, TableName::new("public", "orders"));
    assert_eq!(orders.selection, Selection::Where("customer_id = 42 AND placed_at >= '2026-01-01'".into()));
    assert_eq!(orders.children, Children::Only(vec![TableName::new("public", "order_items")]));
    assert_eq!((orders.links, &orders.identity), (Links::Repair, &vec![Ident::new("email")]));
    assert_eq!(recipe.recover[1].columns, [Ident::new("email"), Ident::new("phone")]);
    assert_eq!(recipe.recover[2].owner, Some(Ident::new("tenant_id")));
    assert_eq!(recipe.recover[3].selection, Selection::Replay("DELETE FROM tags; DELETE FROM labels".into()));
    assert_eq!(recipe.foreign_keys[0].to_columns, [Ident::new("id"), Ident::new("b")]);
    let policy = &recipe.policy;
    assert_eq!(
        (policy.recreated, policy.triggers, policy.max_rows),
        (Recreated::Repoint, Triggers::Replica, 5)
    );
    assert_eq!(policy.exclude_keys[&TableName::new("public", "customers")], Path::new("/shop/erased.csv"));
    assert_eq!(recipe.columns[&TableName::new("public", "orders")].ignore, [Ident::new("legacy_flag")]);
    assert_eq!(
        recipe.key_of(&TableName::new("public", "log")),
        Some(&[Ident::new("at"), Ident::new("line")][..])
    );
    assert_eq!(recipe.key_of(&TableName::new("public", "tags")), Some(&[Ident::new("name")][..]));
    assert_eq!(recipe.key_of(&TableName::new("public", "orders")), None);
}

#[test]
fn as_run_reads_back_equal() {
    let recipe = whole();
    let text = recipe.to_toml().unwrap();
    assert_eq!(Recipe::parse(&text, Path::new("/elsewhere")).unwrap(), recipe);
}

#[test]
fn defaults_are_written_out_and_passwords_are_not() {
    let mut recipe =
        Recipe::single_table(TableName::new("public", "orders"), "id = 1", Kind::Deleted).unwrap();
    recipe.live.url = Some("postgresql://me:secret@db/shop".to_owned());
    insta::assert_snapshot!(recipe.to_toml().unwrap(), @r#"
        [backup]

        [live]
        url = "postgresql://me@db/shop"

        [policy]
        changed = "keep"
        recreated = "skip"
        parents = "missing"
        triggers = "fire"
        max_rows = 100000
        recreate = false

        [policy.exclude_keys]

        [[recover]]
        table = "public.orders"
        kind = "deleted"
        where = "id = 1"
        children = "all"
        links = true
        identity = []
        key = []

        [columns]
        "#);
}

#[test]
fn where_file_is_read_from_the_recipes_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lost.sql"), "id IN (1, 2)\n").unwrap();
    let recipe = folder.path().join("r.toml");
    std::fs::write(&recipe, "[[recover]]\ntable = \"t\"\nwhere_file = \"lost.sql\"\n").unwrap();
    assert_eq!(Recipe::load(&recipe).unwrap().recover[0].selection, Selection::Where("id IN (1, 2)".into()));
    std::fs::remove_file(folder.path().join("lost.sql")).unwrap();
    let error = Recipe::load(&recipe).unwrap_err();
    assert_eq!((error.code(), error.kind()), ("recipe-unreadable", crate::error::Kind::Input));
}

fn words(text: &str) -> String {
    let error = Recipe::parse(text, Path::new("/shop")).expect_err(text);
    let causes: Vec<_> = error.causes().iter().map(|cause| format!("\n  cause: {cause}")).collect();
    format!("error[{}]: {error}{}\n  hint: {}", error.code(), causes.concat(), error.hint())
}

const MISTAKES: &[&str] = &[
    "[[recover]\ntable = 3",
    "[[recover]]\ntable = \"t\"\nwehre = \"true\"",
    "[polcy]\n",
    "[recover]\ntable = \"t\"",
    "[[recover]]\nwhere = \"true\"",
    "[[recover]]\ntable = \"a.b.c\"",
    "[[recover]]\ntable = 3",
    "[[recover]]\ntable = \"t\"\nkind = \"delete\"",
    "[[recover]]\ntable = \"t\"\nwhere = \"a\"\nquery = \"b\"",
    "[[recover]]\ntable = \"t\"\nwhere = \"a = 1; DROP TABLE x\"",
    "[[recover]]\ntable = \"t\"\nwhere = \"true\"\ndamaged = \"true\"",
    "[[recover]]\ntable = \"t\"\nkind = \"corrupted\"\nwhere = \"true\"",
    "[[recover]]\ntable = \"t\"\nkind = \"corrupted\"\ndamaged = \"email = 'x'\"",
    "[[recover]]\ntable = \"t\"\nkind = \"corrupted\"\ndamaged = \"old.email = 'x'\"",
    "[[recover]]\ntable = \"t\"\nkind = \"corrupted\"\ndamaged = \"true\"\nkey = [\"a\"]\ncolumns = [\"a\"]",
    "[[recover]]\ntable = \"t\"\nkind = \"misrouted\"\nwhere = \"true\"",
    "[[recover]]\ntable = \"t\"\nkind = \"misrouted\"\nowner = \"a\"\nmisrouted_to = \"u\"",
    "[[recover]]\ntable = \"t\"\nkind = \"misrouted\"\nmisrouted_to = \"public.t\"",
    "[[recover]]\ntable = \"t\"\nkind = \"misrouted\"\nowner = \"a\"",
    "[[recover]]\ntable = \"t\"\nwhere = \"true\"\nchildren = \"some\"",
    "[[recover]]\ntable = \"t\"\nwhere = \"true\"\nidentity = [\"a\", \"a\"]",
    "[[recover]]\ntable = \"t\"\nwhere = \"true\"\n[[recover]]\ntable = \"t\"\nwhere = \"true\"",
    "[[recover]]\ntable = \"t\"\nwhere = \"a\"\nkey = [\"a\"]\n[[recover]]\ntable = \"t\"\nwhere = \"b\"\nkey = [\"b\"]",
    "[[recover]]\ntable = \"t\"\nwhere = \"true\"\n[policy]\nmax_rows = 0",
    "[[recover]]\ntable = \"t\"\nwhere = \"true\"\n[columns.public.t]\nkey = [\"a\"]",
    "[[recover]]\ntable = \"t\"\nwhere = \"true\"\n[columns.\"public.t\"]\nmapp = { a = \"b\" }",
    "[[recover]]\ntable = \"t\"\nwhere = \"true\"\n[[foreign_key]]\nfrom = \"t(a, b)\"\nto = \"u(a)\"",
    "[backup]\npath = \"a\"\nurl = \"b\"",
    "[policy]\nchanged = \"keep\"",
];

#[test]
fn every_mistake_has_its_words() {
    let all: Vec<_> = MISTAKES.iter().map(|text| words(text)).collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
        error[recipe-syntax]: recipe:1: the recipe is not valid TOML
          cause: unclosed array table, expected `]`
          hint: Correct that line; text with backslashes or quotes is easiest in '''three single quotes'''. Nothing was touched.
        error[recipe-unknown-key]: recipe:3: unknown key "wehre" in [[recover]]
          cause: known keys: table, kind, where, where_file, query, replay, children, links, identity, key, columns, damaged, owner, owner_from, misrouted_to
          hint: Did you mean "where"? Nothing was touched.
        error[recipe-unknown-key]: recipe:1: unknown key "polcy" in the recipe
          cause: known keys: backup, live, recover, foreign_key, policy, columns
          hint: Did you mean "policy"? Nothing was touched.
        error[recipe-wrong-value]: recipe:1: recover is one section, not a list of sections, with double brackets: [[recover]]
          hint: Write a list of sections, with double brackets: [[recover]]. Nothing was touched.
        error[recipe-missing-key]: recipe:1: a [[recover]] without a table
          hint: Add table = "schema.table". Nothing was touched.
        error[recipe-wrong-value]: recipe:2: table is "a.b.c", not a table as "schema.table"
          hint: Write a table as "schema.table". Nothing was touched.
        error[recipe-wrong-value]: recipe:2: table is the number 3, not a string
          hint: Write a string. Nothing was touched.
        error[recipe-wrong-value]: recipe:3: kind is "delete", not "deleted" or "corrupted" or "misrouted"
          hint: Did you mean "deleted"? Nothing was touched.
        error[recipe-contradiction]: recipe:4: a [[recover]] names both where and query
          hint: Keep one of them, or write two entries for the table. Nothing was touched.
        error[predicate-semicolon]: recipe:3: where: the SQL text contains a semicolon
          hint: Leave the semicolon out; only one expression or SELECT is evaluated. Nothing was touched.
        error[recipe-contradiction]: recipe:2: damaged means nothing for public.t, whose kind is "deleted"
          hint: damaged goes with kind = "corrupted" and kind = "misrouted". Nothing was touched.
        error[recipe-missing-key]: recipe:2: nothing says when a row of public.t is damaged
          hint: Add damaged = "…", a condition over live.column and backup.column; damaged = "true" says that every difference is damage. A backup taken after the accident ([backup] after) or replay tells it as well. Nothing was touched.
        error[recipe-contradiction]: recipe:4: damaged of public.t names email without saying whose
          hint: Write live.email or backup.email. Nothing was touched.
        error[recipe-contradiction]: recipe:4: damaged of public.t names old.email
          hint: Write live.email or backup.email. Nothing was touched.
        error[recipe-contradiction]: recipe:2: a of public.t is both in key and in columns
          hint: A row is found by its key, so the key itself cannot be repaired. Nothing was touched.
        error[recipe-missing-key]: recipe:2: nothing says who owns the rows of public.t
          hint: Add owner = "tenant_id" (the column), or misrouted_to = "schema.table" when each tenant has its own schema. Nothing was touched.
        error[recipe-contradiction]: recipe:2: the entry for public.t names both owner and misrouted_to
          hint: Keep owner when rows carry their tenant in a column, misrouted_to when each tenant has its own table. Nothing was touched.
        error[recipe-contradiction]: recipe:2: misrouted_to is the table itself, public.t
          hint: Name the table that the rows ended up in. Nothing was touched.
        error[recipe-missing-key]: recipe:2: nothing says when a row of public.t is damaged
          hint: Add damaged = "…", a condition over live.column and backup.column; damaged = "true" says that every difference is damage. A backup taken after the accident ([backup] after) or replay tells it as well. Nothing was touched.
        error[recipe-wrong-value]: recipe:4: children is "some", not "all", "none" or a list of tables
          hint: Write "all", "none" or a list of tables. Nothing was touched.
        error[recipe-contradiction]: recipe:2: identity of public.t names a twice
          hint: Name each column once. Nothing was touched.
        error[recipe-contradiction]: recipe:4: the entry for public.t is the same as the entry at recipe:1
          hint: Remove one of them. Nothing was touched.
        error[recipe-contradiction]: recipe:5: key of public.t is not the key in the entry at recipe:1
          hint: A table has one of them; keep one. Nothing was touched.
        error[recipe-wrong-value]: recipe:5: max_rows is 0, not a whole number from 1 on
          hint: Write a whole number from 1 on. Nothing was touched.
        error[recipe-wrong-value]: recipe:4: columns is [columns.public.t], not [columns."public.t"]
          hint: Write [columns."public.t"]. Nothing was touched.
        error[recipe-unknown-key]: recipe:5: unknown key "mapp" in [columns."public.t"]
          cause: known keys: map, ignore, key
          hint: Did you mean "map"? Nothing was touched.
        error[recipe-contradiction]: recipe:4: from has 2 columns, to has 1
          hint: Name the same number of columns on both sides, in the same order. Nothing was touched.
        error[recipe-contradiction]: recipe:3: [backup] names both path and url
          hint: Write one of them. Nothing was touched.
        error[recipe-missing-key]: recipe:1: the recipe recovers nothing
          hint: Add a [[recover]] section. Nothing was touched.
        "#);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{1,8}", "[^\\x00]{1,6}"]
}

fn table_name() -> impl Strategy<Value = TableName> {
    (name(), name()).prop_map(|(schema, name)| TableName::new(schema, name))
}

fn idents() -> impl Strategy<Value = Vec<Ident>> {
    prop::collection::btree_set(name().prop_map(Ident::new), 0..3).prop_map(|set| set.into_iter().collect())
}

fn selection() -> impl Strategy<Value = Selection> {
    let text = "[a-z ]{0,9}";
    prop_oneof![
        text.prop_map(|text| Selection::Where(format!("note = '{text}\\n\"'\n  AND b"))),
        text.prop_map(|text| Selection::Query(format!("SELECT '{text}'''"))),
        "[^\\x00]{1,9}".prop_map(|text| Selection::Replay(format!("DO {text}"))),
    ]
}

fn recover() -> impl Strategy<Value = Recover> {
    let children = prop_oneof![
        Just(Children::All),
        Just(Children::None),
        prop::collection::vec(table_name(), 1..3).prop_map(Children::Only),
    ];
    (table_name(), selection(), children, any::<bool>(), idents()).prop_map(
        |(table, selection, children, links, identity)| Recover {
            children,
            links: if links { Links::Repair } else { Links::Leave },
            identity,
            ..Recover::new(table, Kind::Deleted, selection)
        },
    )
}

fn foreign_key() -> impl Strategy<Value = DeclaredForeignKey> {
    (table_name(), table_name(), idents().prop_filter("a column", |columns| !columns.is_empty())).prop_map(
        |(from_table, to_table, columns)| DeclaredForeignKey {
            from_table,
            to_table,
            from_columns: columns.iter().cloned().map(Into::into).collect(),
            to_columns: columns,
            when: None,
        },
    )
}

proptest! {
    #[test]
    fn any_recipe_reads_back_equal(
        recover in prop::collection::vec(recover(), 1..2),
        foreign_keys in prop::collection::vec(foreign_key(), 0..2),
        columns in prop::collection::btree_map(table_name(), idents(), 0..2),
        max_rows in 1..=u64::MAX / 2,
    ) {
        let recipe = Recipe {
            backup: BackupSource { before: Some(BackupLocation::Path("/b c".into())), after: None },
            live: LiveSource { url: Some("service=x".into()) },
            recover,
            foreign_keys,
            policy: Policy { max_rows, ..Policy::default() },
            columns: columns.into_iter()
                .map(|(table, ignore)| (table, ColumnMap { ignore, ..ColumnMap::default() }))
                .collect(),
        };
        let text = recipe.to_toml().unwrap();
        prop_assert_eq!(Recipe::parse(&text, Path::new("/")).map_err(|e| e.to_string()), Ok(recipe), "{}", text);
    }
}
