//! Foreign keys between values that are equal by their type and not by their text: citext, numeric, interval, a
//! nondeterministic collation. Children must be found, and links and parents told apart, as the server does it.

use super::support::{Rescue, TestDb};

/// Bob's children write him otherwise than he does, Eve's as she does, and Zoe stays.
const WORLD: &str = "
    create schema ext; create extension citext schema ext;
    create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create domain handle as ext.citext;
    create table person (name ext.citext primary key, nick text collate ci unique, weight numeric unique, age interval unique, code ext.citext unique);
    create table cascades (id int primary key, name ext.citext references person on delete cascade);
    create table domains (id int primary key, code handle references person (code) on delete cascade);
    create table nicks (id int primary key, nick text collate ci references person (nick) on delete cascade);
    create table names (id int primary key, name ext.citext references person on delete set null);
    create table weights (id int primary key, weight numeric references person (weight) on delete set null);
    create table ages (id int primary key, age interval references person (age) on delete set null);
    create table nick_links (id int primary key, nick text collate ci references person (nick) on delete set null);
    insert into person values ('Bob', 'Y', 1.0, '1 day', 'B'), ('Eve', 'E', 2.0, '2 days', 'E'), ('Zoe', 'Z', 3.0, '3 days', 'Z');
    insert into cascades values (1, 'bob'), (2, 'Eve'), (3, 'zoe');
    insert into domains values (1, 'b'), (2, 'E'), (3, 'z');
    insert into nicks values (1, 'y'), (2, 'E'), (3, 'z');
    insert into names values (1, 'BOB'), (2, 'Eve'), (3, 'zoe');
    insert into weights values (1, 1.00), (2, 2.0), (3, 3.00);
    insert into ages values (1, '24 hours'), (2, '2 days'), (3, '72 hours');
    insert into nick_links values (1, 'y'), (2, 'E'), (3, 'z');";

#[test]
fn children_are_found_and_links_set_again_by_the_types_own_equality() {
    let backup = TestDb::with("equality", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from person where name in ('Bob', 'Eve')");
    assert_eq!(live.value("select count(*) from cascades"), "1", "the accident took what hung on them");
    let gone = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"public.person\"\nwhere = \"name::text in ('Bob', 'Eve')\"\n";
    let planned = rescue.recover_with(recipe, &["--json"]).expect_code(0).json();
    assert_eq!(planned["insert"], 8, "{planned}");
    assert_eq!(planned["relink"], 8, "{planned}");
    let _applied = rescue.apply().expect_code(0);
    backup.digest().assert_same(&live.digest(), "all is as before the accident");
    let _verified = rescue.verify().expect_code(0);
    let _undone = rescue.undo().expect_code(0);
    gone.assert_same(&live.digest(), "undo");
}

/// The same where the parent cannot come back: nothing may be hung on somebody else, however the key is written.
#[test]
fn nothing_is_hung_on_a_key_that_another_entity_has_by_the_types_equality() {
    let world = "
        create extension citext;
        create table customer (id numeric primary key, name text not null, created_at timestamptz not null);
        create table orders (id int primary key, customer numeric not null references customer on delete cascade);
        create table notes (id int primary key, customer numeric references customer on delete set null);
        insert into customer values (1.0, 'Bob', '2025-01-01'), (2.0, 'Eve', '2025-01-02');
        insert into orders values (1, 1.00), (2, 2.00);
        insert into notes values (1, 1.00), (2, 2.00);";
    let backup = TestDb::with("reused", world);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from customer; insert into customer values (1.0, 'Mallory', '2026-01-01')");
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue
        .recover_with("[[recover]]\ntable = \"public.customer\"\nwhere = \"true\"\n", &["--json"])
        .expect_code(1)
        .json();
    assert_eq!(planned["verdicts"]["public.customer"]["id_reused"], 1, "{planned}");
    assert_eq!(planned["verdicts"]["public.orders"]["orphan"], 1, "{planned}");
    let _applied = rescue.apply();
    assert_eq!(live.rows("orders"), ["2\t2.00"]);
    assert_eq!(live.rows("notes"), ["1\t\\N", "2\t2.00"]);
}

/// Parents that a lost row needs are found by the type's equality, too, and those that nothing needs are left out.
#[test]
fn parents_are_needed_by_the_types_own_equality() {
    let world = "
        create extension citext;
        create table country (code citext primary key);
        create table city (id int primary key, country citext not null references country);
        insert into country values ('AT'), ('CH');
        insert into city values (1, 'at'), (2, 'ch');";
    let backup = TestDb::with("needed", world);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from city; delete from country");
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"public.city\"\nwhere = \"id = 1\"\n";
    let planned = rescue.recover_with(recipe, &["--json"]).expect_code(0).json();
    assert_eq!(planned["insert"], 2, "{planned}");
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.rows("country"), ["AT"]);
    assert_eq!(live.rows("city"), ["1\tat"]);
}

/// A unique value that was only written otherwise since makes no other entity of its row, nor of one that a recipe's
/// `identity` names; another value does.
#[test]
fn a_row_is_the_same_whose_unique_value_is_equal_by_its_type() {
    let world = "
        create schema ext; create extension citext schema ext;
        create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        create domain mail as ext.citext;
        create table customer (id int primary key, email mail not null unique, plan text);
        create table priced (id int primary key, price numeric not null, code ext.citext not null, unique (price, code));
        create table named (id int primary key, nick text collate ci unique, alias ext.citext);
        create table orders (id int primary key, customer int not null references customer on delete cascade);
        create table prices (id int primary key, priced int not null references priced on delete cascade);
        create table names (id int primary key, named int not null references named on delete cascade);
        insert into customer select g, 'User' || g, 'free' from generate_series(1, 4) as g;
        insert into priced select g, g, 'Code' || g from generate_series(1, 4) as g;
        insert into named select g, 'Nick' || g, 'Alias' || g from generate_series(1, 4) as g;
        insert into orders select g, g from generate_series(1, 4) as g;
        insert into prices select g, g from generate_series(1, 4) as g;
        insert into names select g, g from generate_series(1, 4) as g;";
    let backup = TestDb::with("unique", world);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(
        "delete from orders where id < 4; delete from prices where id < 4; delete from names where id < 4;
         set search_path = public, ext;
         update customer set email = lower(email); update customer set email = 'mallory' where id = 3;
         update priced set price = 1.00, code = 'CODE1' where id = 1; update priced set price = 20 where id = 2; update priced set code = 'other' where id = 3;
         update named set nick = upper(nick); update named set nick = 'other' where id = 3; update named set alias = upper(alias)",
    );
    let recipe: String = ["orders", "prices", "names"]
        .iter()
        .map(|table| format!("[[recover]]\ntable = \"{table}\"\nwhere = \"true\"\n"))
        .collect();
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_with(&recipe, &["--json"]).expect_code(1).json();
    let count = |table: &str, verdict: &str| planned["verdicts"][table][verdict].as_i64().unwrap_or(0);
    assert_eq!((count("public.customer", "id_reused"), count("public.orders", "lost")), (1, 2), "{planned}");
    assert_eq!((count("public.priced", "id_reused"), count("public.prices", "lost")), (2, 1), "{planned}");
    assert_eq!((count("public.named", "id_reused"), count("public.names", "lost")), (1, 2), "{planned}");
    let damaged = live.digest();
    let _applied = rescue.apply();
    assert_eq!(live.rows("orders"), ["1\t1", "2\t2", "4\t4"]);
    assert_eq!(live.rows("prices"), ["1\t1", "4\t4"]);
    assert_eq!(live.rows("names"), ["1\t1", "2\t2", "4\t4"]);
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo");
    let given = "[[recover]]\ntable = \"named\"\nwhere = \"true\"\nidentity = [\"alias\"]\n";
    let planned = Rescue::new(&live, &dump).recover_with(given, &["--json"]).expect_code(1).json();
    assert_eq!(planned["verdicts"]["public.named"]["id_reused"], serde_json::Value::Null, "{planned}");
}

/// Somebody writes a surviving parent's key otherwise: by the type's equality it is the one on which the lost children hung.
#[test]
fn a_parent_whose_key_is_spelled_otherwise_by_now_is_the_same() {
    let world = "
        create extension citext;
        create table tag (name citext primary key, note text);
        create table price (amount numeric primary key);
        create table item (id int primary key, tag citext references tag, amount numeric references price);
        create table tagged (item int references item, tag citext references tag, primary key (item, tag));
        create table log (id int primary key, item int, tag citext, foreign key (item, tag) references tagged on delete cascade);
        insert into tag values ('One', 'a'), ('Two', 'b'); insert into price values (1.0), (2.0);
        insert into item values (1, 'One', 1.0), (2, 'Two', 2.0);
        insert into tagged select id, tag from item; insert into log select id, id, tag from item;";
    let backup = TestDb::with("respelled", world);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(
        "truncate item, tagged, log; update tag set name = upper(name::text)::citext where name = 'One'; update price set amount = 1.00 where amount = 1",
    );
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"item\"\nwhere = \"true\"\n";
    let planned = rescue.recover_with(recipe, &["--json"]).expect_code(0).json();
    assert_eq!(planned["insert"], 6, "{planned}");
    let _applied = rescue.apply().expect_code(0);
    for table in ["item", "tagged", "log"] {
        assert_eq!(live.rows(table), backup.rows(table), "{table}");
    }
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo");
}
