//! Recoveries into a live database in which others have gone on: places taken, keys used, rows built upon what came back.

use super::cli_recover::{PLAIN, Scenario, play, verdicts};
use super::support::{Rescue, TestDb};

#[test]
fn rows_whose_place_was_taken_meanwhile() {
    let scenario = Scenario {
        name: "recreated",
        shop: "
            create table accounts (id serial primary key, email text not null unique, handle text, phone text, active boolean not null,
                                   room int4range, exclude using gist (room with &&));
            create unique index on accounts (lower(handle));
            create unique index on accounts (phone) where active;
            create table orders (id int primary key, account_id int not null references accounts on delete cascade);
            insert into accounts (email, handle, phone, active, room)
                select 'mail' || g, 'Handle' || g, 'phone' || g, true, int4range(g * 10, g * 10 + 5) from generate_series(1, 12) g;
            insert into orders select a * 10 + n, a from generate_series(1, 12) a, generate_series(1, 2) n;",
        accident: "delete from accounts where id <= 10",
        later: "
            insert into accounts (email, active) values ('mail1', true);
            insert into accounts (email, handle, active) values ('new2', 'hANDLE2', true);
            insert into accounts (email, phone, active) values ('new3', 'phone3', true);
            insert into accounts (email, room, active) values ('new4', '[42,43]', true);
            insert into accounts (email, phone, active) values ('new5', 'phone5', false);
            insert into accounts (email, room, active) values ('new6', '[66,67]', false);",
        besides: "delete from accounts where id in (1, 2, 3, 4)",
        recipe: "[[recover]]\ntable = \"public.accounts\"\nwhere = \"id <= 10\"\n",
        code: 1,
        ..PLAIN
    };
    play(&scenario, |rescue, planned| {
        assert_eq!(
            verdicts(&rescue.case()),
            ["accounts lost 6", "accounts recreated 4", "orders lost 12", "orders orphan 8"]
                .map(|line| format!("public.{line}"))
        );
        assert!(planned.stdout.contains("18 to insert"), "{}", planned.stdout);
        assert!(planned.stdout.contains("12 conflicts kept as they are"), "{}", planned.stdout);
    });
}

#[test]
fn unique_keys_that_are_checked_at_the_end() {
    let scenario = Scenario {
        name: "deferrable",
        shop: "
            create table lists (id int primary key deferrable initially deferred, name text);
            create table items (id int primary key, list_id int not null, position int not null, span int4range,
                unique (list_id, position) deferrable, exclude using gist (span with &&) deferrable initially deferred);
            insert into lists select g, 'list ' || g from generate_series(1, 4) g;
            insert into items select l * 10 + p, l, p, int4range(l * 100 + p, l * 100 + p + 1) from generate_series(1, 4) l, generate_series(1, 5) p;",
        accident: "delete from lists where id in (2, 3); delete from items where list_id in (2, 3)",
        later: "insert into items values (99, 3, 4, null), (98, 7, 7, '[201,202)')",
        besides: "delete from items where id in (34, 21)",
        recipe: "
            [[recover]]
            table = \"public.lists\"
            where = \"id in (2, 3)\"
            [[foreign_key]]
            from = \"public.items(list_id)\"
            to = \"public.lists(id)\"",
        more: &["--batch-rows", "3"],
        code: 1,
        ..PLAIN
    };
    play(&scenario, |rescue, _| {
        let counts = ["items lost 8", "items recreated 2", "lists lost 2"];
        assert_eq!(verdicts(&rescue.case()), counts.map(|line| format!("public.{line}")));
    });
}

#[test]
fn undo_leaves_what_has_lived_on() {
    let live = TestDb::with("undo", "
        create table customers (id int primary key, name text);
        create table orders (id int primary key, customer_id int not null references customers on delete cascade, note text);
        insert into customers select g, 'customer ' || g from generate_series(1, 6) g;
        insert into orders select g, 1 + g % 6, 'note' from generate_series(1, 18) g;");
    let backup = live.dump(&["-Fc"]);
    live.psql("delete from customers where id <= 5");
    let rescue = Rescue::new(&live, &backup);
    let _planned = rescue
        .recover_with("[[recover]]\ntable = \"public.customers\"\nwhere = \"id <= 5\"\n", &[])
        .expect_code(0);
    let damaged = live.digest();
    let _applied = rescue.apply().expect_code(0);
    // Customer 1 got a new order; order 7 (of customer 2) was edited, customer 3 renamed.
    live.psql(
        "
        insert into orders values (100, 1, 'new'); update orders set note = 'edited' where id = 7;
        update customers set name = 'renamed' where id = 3",
    );
    let undone = rescue.undo().expect_code(1);
    let rest = "
        select 'c', id, name from customers union all select 'o', id, note from orders order by 1, 2";
    assert_eq!(
        live.value(rest).lines().collect::<Vec<_>>(),
        [
            "c|1|customer 1",
            "c|2|customer 2",
            "c|3|renamed",
            "c|6|customer 6",
            "o|5|note",
            "o|7|edited",
            "o|11|note",
            "o|17|note",
            "o|100|new"
        ]
    );
    let named: Vec<&str> = undone
        .stdout
        .lines()
        .skip_while(|line| *line != "Left alone:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect();
    insta::assert_snapshot!(named.join("\n"), @r#"
        public.customers (id = 1): still referred to by public.orders
        public.customers (id = 2): still referred to by public.orders
        public.customers (id = 3): changed since
        public.orders (id = 7): changed since
        "#);
    // Once that is gone, undo goes on; what a colleague wrote stays, also where it is what apply wrote.
    live.psql("delete from orders where id = 100; update orders set note = 'note' where id = 7; update customers set name = 'customer 3' where id = 3");
    let undone = rescue.undo().expect_code(1);
    for told in [
        "public.customers (id = 2): still referred to by public.orders",
        "public.customers (id = 3): written again since",
        "public.orders (id = 7): written again since",
        "note: Rows that were written again since hold what apply wrote, but somebody else wrote them",
    ] {
        assert!(undone.stdout.contains(told), "{told}: {undone:?}");
    }
    assert_eq!(live.value("select count(*) from customers where id = 1"), "0");
    rescue.undo_by_hand();
    damaged.assert_same(&live.digest(), "everything is as before apply");
}

/// What `apply` left comes with the case to which its last words lead, and each of the two can be taken back.
#[test]
fn what_was_left_comes_with_a_case_of_its_own() {
    let backup = TestDb::with(
        "left",
        "create table c (id int primary key, email text unique);
         create table o (id int primary key, c int references c on delete cascade);
         insert into c select g, 'u' || g from generate_series(1, 5) as g;
         insert into o select g, g from generate_series(1, 5) as g;",
    );
    let before = backup.digest();
    let live = backup.copy("live");
    live.psql("delete from c where id <= 3");
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
    let _planned = rescue.recover_text("[[recover]]\ntable = \"c\"\nwhere = \"id <= 3\"\n").expect_code(0);
    live.psql("insert into c values (90, 'u2')");
    let applied = rescue.apply().expect_code(1);
    live.psql("delete from c where id = 90");
    let partly = live.digest();
    let again = rescue.apply().expect_code(1);
    assert!(again.stdout.contains("(an earlier run had done everything); 2 rows left"), "{}", again.stdout);
    partly.assert_same(&live.digest(), "once more changes nothing");
    let said = applied.stdout.lines().last().unwrap();
    assert!(said.ends_with("rowback recover case/recipe.toml --case NEW"), "{said}");
    let rowback = rescue.rowback();
    let _planned = rowback
        .run(["recover", "case/recipe.toml", "--case", "second", "--live", &live.url()])
        .expect_code(0);
    let second = ["second", "--live", &live.url(), "--confirm", live.name()];
    let applied = rowback.run([&["apply"], &second[..]].concat()).expect_code(0);
    assert!(applied.stdout.contains("2 rows inserted"), "{}", applied.stdout);
    before.assert_same(&live.digest(), "both together brought everything");
    let _verified = rescue.verify().expect_code(0);
    let _undone = rowback.run([&["undo"], &second[..]].concat()).expect_code(0);
    partly.assert_same(&live.digest(), "the second taken back");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "both taken back");
}
