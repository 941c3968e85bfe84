//! Recipes that ask for what is not there, what is no condition, or what would write: what is told, and with which code.

use std::path::Path;

use super::cli_bad_input::{RECIPE, refused, shop};
use super::support::TestDb;

#[test]
fn unknown_tables_and_columns() {
    let (live, backup) = shop();
    let run = |recipe: &str| refused(&live, &backup, recipe, &[], 2);
    insta::assert_snapshot!(run("[[recover]]\ntable = \"public.custmers\"\nwhere = \"true\"\n"), @r#"
        error[unknown-table]: the backup has no table "public.custmers"
          cause: the backup has 4 tables
          hint: Did you mean "public.customers"? Live was not changed.
        "#);
    insta::assert_snapshot!(run("[[recover]]\ntable = \"shop.orders\"\nwhere = \"true\"\n"), @r#"
        error[unknown-table]: the backup has no table "shop.orders"
          cause: the backup has 4 tables
          hint: Did you mean "public.orders"? Live was not changed.
        "#);
    insta::assert_snapshot!(run(&format!("{RECIPE}identity = [\"costumer_id\"]\n")), @r#"
        error[unknown-column]: table "public.orders" of the backup has no column "costumer_id"
          cause: its columns are id, customer_id, placed_at, note
          hint: Did you mean "customer_id"? Live was not changed.
        "#);
    insta::assert_snapshot!(run(&format!("{RECIPE}[columns.\"public.orders\"]\nignore = [\"nute\"]\n")), @r#"
        error[unknown-column]: table "public.orders" of the backup has no column "nute"
          cause: its columns are id, customer_id, placed_at, note
          hint: Did you mean "note"? Live was not changed.
        "#);
    insta::assert_snapshot!(run(&format!("{RECIPE}children = [\"public.order_items\"]\n")), @r#"
        error[unknown-table]: the backup has no table "public.order_items"
          cause: the backup has 4 tables
          hint: Did you mean "public.orders"? Live was not changed.
        "#);
    insta::assert_snapshot!(run(&format!("{RECIPE}[[foreign_key]]\nfrom = \"public.audit(lin)\"\nto = \"public.orders(id)\"\n")), @r#"
        error[unknown-column]: table "public.audit" of the backup has no column "lin"
          cause: its columns are line
          hint: Did you mean "line"? Live was not changed.
        "#);
    insta::assert_snapshot!(predicate_refused(&live, &backup, "custommer_id = 2", &[], 2), @r#"
        error[predicate-failed]: the predicate for "public.orders" failed
          cause: column "custommer_id" does not exist (SQLSTATE 42703)
          cause: the server advises: Perhaps you meant to reference the column "orders.customer_id".
          cause: from here: custommer_id = 2
          hint: The predicate is evaluated over the backup's rows of this table. Correct it and run the same command again. Live was not changed.
        "#);
}

#[test]
fn predicates_that_are_none() {
    let (live, backup) = shop();
    let run = |predicate: &str| predicate_refused(&live, &backup, predicate, &[], 2);
    insta::assert_snapshot!(run("id = 1, id = 2"), @r#"
        error[predicate-list]: [dir]/recipe.toml:3: where: one expression was expected, this is a list
          hint: Join conditions with AND or OR instead of a comma. Nothing was touched.
        "#);
    insta::assert_snapshot!(run("id = 1) or (true"), @r#"
        error[predicate-bracket]: [dir]/recipe.toml:3: where: a bracket ')' has no partner
          hint: Every bracket that is opened must be closed, in order. Nothing was touched.
        "#);
    insta::assert_snapshot!(run("select id from orders"), @r#"
        error[predicate-statement]: [dir]/recipe.toml:3: where: an expression was expected, this begins like a statement: select id from
          hint: Write only the condition, as it would stand after WHERE. A SELECT goes into `query`, the statement that did the damage into `replay`. Nothing was touched.
        "#);
    insta::assert_snapshot!(run("id = = 1"), @r#"
        error[predicate-failed]: the predicate for "public.orders" failed
          cause: syntax error at or near "=" (SQLSTATE 42601)
          cause: from here: = 1
          hint: The predicate is evaluated over the backup's rows of this table. Correct it and run the same command again. Live was not changed.
        "#);
    insta::assert_snapshot!(run("id + 1"), @r#"
    error[predicate-failed]: the predicate for "public.orders" failed
      cause: argument of WHERE must be type boolean, not type integer (SQLSTATE 42804)
      cause: from here: id + 1
      hint: The predicate is evaluated over the backup's rows of this table. Correct it and run the same command again. Live was not changed.
    "#);
    insta::assert_snapshot!(run("customer_id ="), @r#"
    error[predicate-failed]: the predicate for "public.orders" failed
      cause: syntax error at or near ")" (SQLSTATE 42601)
      cause: at the end of the text
      hint: The predicate is evaluated over the backup's rows of this table. Correct it and run the same command again. Live was not changed.
    "#);
}

#[test]
fn predicates_that_write() {
    let (live, backup) = shop();
    let run = |predicate: &str| predicate_refused(&live, &backup, predicate, &[], 2);
    insta::assert_snapshot!(run("nextval('public.counter') > 0"), @r#"
        error[predicate-writes]: the predicate for "public.orders" failed
          cause: cannot execute nextval() in a read-only transaction (SQLSTATE 25006)
          hint: A predicate may only read; it ran in a read-only transaction in scratch. Live was not changed.
        "#);
    insta::assert_snapshot!(run("public.leave_trace(id)"), @r#"
        error[predicate-writes]: the predicate for "public.orders" failed
          cause: cannot execute INSERT in a read-only transaction (SQLSTATE 25006)
          hint: A predicate may only read; it ran in a read-only transaction in scratch. Live was not changed.
        "#);
    insta::assert_snapshot!(run("exists (with gone as (delete from orders returning 1) select 1 from gone)"), @r#"
        error[predicate-writes]: [dir]/recipe.toml:3: where: the SQL text writes or locks: delete from orders
          hint: Predicates and queries only read. The statement that did the damage goes into `replay`. Nothing was touched.
        "#);
    insta::assert_snapshot!(run("set_config('transaction_read_only', 'off', false) = 'off'"), @r#"
        error[predicate-function]: [dir]/recipe.toml:3: where: the SQL text calls set_config(), which acts on more than its own transaction
          hint: Write the condition without that function. Nothing was touched.
        "#);
}

#[test]
fn a_predicate_that_runs_for_ever() {
    let (live, backup) = shop();
    let predicate = "pg_sleep(3600) is not null";
    insta::assert_snapshot!(predicate_refused(&live, &backup, predicate, &["--time-limit", "1"], 2), @r#"
        error[predicate-timeout]: the predicate for "public.orders" failed
          cause: canceling statement due to statement timeout (SQLSTATE 57014)
          hint: Make the predicate cheaper, or give it more time with `--time-limit`. Live was not changed.
        "#);
    let query =
        "[[recover]]\ntable = \"public.orders\"\nquery = \"select o.id from orders o, pg_sleep(3600)\"\n";
    let text = refused(&live, &backup, query, &["--time-limit", "1"], 2);
    assert!(text.starts_with("error[predicate-timeout]: "), "{text}");
}

#[test]
fn a_query_without_the_key() {
    let (live, backup) = shop();
    let recipe = |query: &str| format!("[[recover]]\ntable = \"public.orders\"\nquery = \"{query}\"\n");
    insta::assert_snapshot!(refused(&live, &backup, &recipe("select customer_id from orders where id = 5"), &[], 2), @r#"
    error[predicate-failed]: the predicate for "public.orders" failed
      cause: column rowback_query.id does not exist (SQLSTATE 42703)
      cause: a `query` must return every column of the table's key, under its name
      hint: The predicate is evaluated over the backup's rows of this table. Correct it and run the same command again. Live was not changed.
    "#);
    let alone = recipe("select customer_id from orders where id = 5")
        + "children = \"none\"\n[policy]\nparents = \"none\"\n";
    let text = refused(&live, &backup, &alone, &[], 2);
    assert!(text.contains("rowback_query.id does not exist"), "{text}");
}

#[test]
fn a_condition_of_a_reference_and_a_replay_that_cannot_be_used() {
    let (live, backup) = shop();
    let reference = "[[recover]]\ntable = \"public.customers\"\nwhere = \"id = 1\"\n[[foreign_key]]\n\
        from = \"orders(customer_id)\"\nto = \"customers(id)\"\nwhen = \"nope = 1\"\n";
    insta::assert_snapshot!(refused(&live, &backup, reference, &[], 2), @r#"
    error[predicate-failed]: the predicate for "public.orders" failed
      cause: column "nope" does not exist (SQLSTATE 42703)
      cause: the server advises: Perhaps you meant to reference the column "orders.note".
      cause: in the `when` of the reference to public.customers
      hint: The predicate is evaluated over the backup's rows of this table. Correct it and run the same command again. Live was not changed.
    "#);
    let replay =
        "[[recover]]\ntable = \"public.orders\"\nreplay = \"alter table orders rename id to number\"\n";
    insta::assert_snapshot!(refused(&live, &backup, replay, &[], 2), @r#"
    error[replay-failed]: the replay for "public.orders" failed
      cause: column "id" does not exist (SQLSTATE 42703)
      hint: Correct the statement, or say what it did in a `where`. It ran in scratch, which is gone; live was not changed.
    "#);
}

#[test]
fn a_predicate_that_matches_nothing() {
    let (live, backup) = shop();
    insta::assert_snapshot!(predicate_refused(&live, &backup, "placed_at >= '2026-06-01'", &[], 3), @r#"
        error[predicate-matches-nothing]: the predicate matches no row of "public.orders" in the backup
          cause: the table has 4000 rows in the backup
          cause: newest placed_at: 2026-03-03 18:40:00
          hint: Is it the wrong backup, or one taken after the accident? Otherwise correct the predicate. Live was not changed.
        "#);
    let recipe = "[[recover]]\ntable = \"public.customers\"\nwhere = \"name = 'nobody'\"\n";
    insta::assert_snapshot!(refused(&live, &backup, recipe, &[], 3), @r#"
        error[predicate-matches-nothing]: the predicate matches no row of "public.customers" in the backup
          cause: the table has 6 rows in the backup
          cause: newest joined_at: 2026-02-03 04:05:06.789+00
          hint: Is it the wrong backup, or one taken after the accident? Otherwise correct the predicate. Live was not changed.
        "#);
    let recipe = "[[recover]]\ntable = \"public.audit\"\nkey = [\"line\"]\nwhere = \"true\"\n";
    insta::assert_snapshot!(refused(&live, &backup, recipe, &[], 3), @r#"
        error[predicate-matches-nothing]: the predicate matches no row of "public.audit" in the backup
          cause: the table is empty in the backup
          hint: Is it the wrong backup, or one taken after the accident? Otherwise correct the predicate. Live was not changed.
        "#);
}

#[test]
fn tables_without_a_key() {
    let (live, backup) = shop();
    let recipe = "[[recover]]\ntable = \"public.visits\"\nwhere = \"true\"\n";
    insta::assert_snapshot!(refused(&live, &backup, recipe, &[], 4), @r#"
        error[no-key]: table "public.visits" has no key that names a row
          cause: it has neither a primary key nor a unique key over columns that are not null
          hint: Name columns that are unique in the recipe: `key = ["…"]` under `[columns."public.visits"]`. Where rows may be alike, nothing names one of them: leave the table out (`children = "none"`, or a list of the tables to follow; after `compare --case`, name others with `--table`) and bring its rows back by hand. Live was not changed.
        "#);
    let recipe = format!("{recipe}key = [\"page\", \"at\"]\n");
    insta::assert_snapshot!(refused(&live, &backup, &recipe, &[], 4), @r#"
        error[key-not-unique]: the key (page, at) of "public.visits" does not name rows
          cause: keys that are null or occur more than once in the backup: 1
          hint: Name other columns in `key = [...]`. Where rows may be alike, nothing names one of them: leave the table out (`children = "none"`, or a list of the tables to follow). Live was not changed.
        "#);
}

/// The same for a predicate of `orders`.
#[track_caller]
fn predicate_refused(live: &TestDb, backup: &Path, predicate: &str, more: &[&str], code: i32) -> String {
    let recipe = format!("[[recover]]\ntable = \"public.orders\"\nwhere = '''{predicate}'''\n");
    refused(live, backup, &recipe, more, code)
}
