//! What a recipe says about which rows come back: parents and children, keys, references of its own, rows that stay away.

use super::cli_recover::{PLAIN, REGIONS, Scenario, play, verdicts};
use super::support::{Rescue, TestDb};

#[test]
fn parents_that_live_lacks_come_along() {
    let accident = "delete from orders where customer_id in (1, 4); delete from customers where id in (1, 4); delete from regions where id = 2";
    let recipe = "[[recover]]\ntable = \"public.orders\"\nwhere = \"customer_id in (1, 4)\"\n";
    let scenario = Scenario { name: "regions", shop: REGIONS, accident, recipe, ..PLAIN };
    play(&scenario, |rescue, _| {
        let lost = ["customers lost 2", "orders lost 10", "regions lost 1"];
        assert_eq!(verdicts(&rescue.case()), lost.map(|line| format!("public.{line}")));
    });
    // Told not to, it says what is missing and inserts nothing.
    let live = TestDb::with("regions", REGIONS);
    let backup = live.dump(&["-Fc"]);
    live.psql(accident);
    let rescue = Rescue::new(&live, &backup);
    let _planned =
        rescue.recover_with(&format!("{recipe}[policy]\nparents = \"none\"\n"), &[]).expect_code(1);
    assert_eq!(verdicts(&rescue.case()), ["public.orders orphan 10"]);
}

#[test]
fn rows_that_must_stay_deleted() {
    let shop = REGIONS
        .replace("customers (id int primary key,", "customers (id int primary key, email text unique,")
        .replace("insert into customers select g, 1", "insert into customers select g, 'mail' || g, 1");
    let files = super::support::TempDir::new("tombstones");
    let erased = files.write("erased.csv", "email\nmail3\nmail5\nnobody\n");
    let recipe = format!(
        "[[recover]]\ntable = \"public.customers\"\nwhere = \"true\"\n[policy]\nexclude_keys = {{ \"public.customers\" = \"{}\" }}\n",
        erased.display()
    );
    let scenario = Scenario {
        name: "erased",
        shop: &shop,
        accident: "delete from orders; delete from customers",
        besides: "delete from orders where customer_id in (3, 5); delete from customers where id in (3, 5)",
        recipe: &recipe,
        ..PLAIN
    };
    play(&scenario, |rescue, _| {
        let counts = [
            "customers excluded 2",
            "customers lost 4",
            "orders excluded 10",
            "orders lost 20",
            "regions same 3",
        ];
        assert_eq!(verdicts(&rescue.case()), counts.map(|line| format!("public.{line}")));
    });
}

#[test]
fn what_hung_on_a_row_that_hung_on_an_erased_one_is_listed_whoever_uses_its_key_by_now() {
    let made = "
        create table owners (id int primary key);
        create table homes (code text primary key, owner int not null references owners on delete cascade);
        create table rooms (id int primary key, home text not null references homes on delete cascade);
        insert into owners values (1), (2), (3); insert into homes values ('a', 1), ('b', 2), ('c', 3);
        insert into rooms values (1, 'a'), (2, 'b'), (3, 'c');";
    let truth = TestDb::with("homes", made);
    let dump = truth.dump(&["-Fc"]);
    truth.psql("delete from owners where id = 1; insert into homes values ('a', 3)");
    let live = truth.copy("live");
    live.psql("delete from owners where id = 2");
    let rescue = Rescue::new(&live, &dump);
    rescue.directory().write("erased.csv", "id\n1\n");
    let recipe = "[[recover]]\ntable = \"owners\"\nwhere = \"id in (1, 2)\"\n[policy]\nexclude_keys = { owners = \"erased.csv\" }\n";
    let planned = rescue.recover_text(recipe).expect_code(1);
    let found = [
        "homes changed 1",
        "homes lost 1",
        "owners excluded 1",
        "owners lost 1",
        "rooms lost 1",
        "rooms orphan 1",
    ];
    assert_eq!(verdicts(&rescue.case()), found.map(|line| format!("public.{line}")), "{planned:?}");
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "the erased owner's room stays away");
}

#[test]
fn references_that_only_the_recipe_knows() {
    let scenario = Scenario {
        name: "declared",
        shop: "
            create table customers (id int primary key, name text);
            create table orders (id int primary key, customer_id int references customers on delete cascade);
            create table notes (id int primary key, subject_type text, subject_id int, body text);
            create table plain_children (id int primary key, customer_no int);
            insert into customers select g, 'customer ' || g from generate_series(1, 5) g;
            insert into orders select g, 1 + g % 5 from generate_series(1, 10) g;
            insert into notes select g, (array['Customer', 'Order', 'Other'])[1 + g % 3], 1 + g % 5, 'note ' || g from generate_series(1, 60) g;
            insert into plain_children select g, 1 + g % 5 from generate_series(1, 10) g;",
        // The application cleaned up by itself, and notes on other things were deleted on purpose.
        accident: "
            delete from notes where subject_type = 'Customer' and subject_id = 2 or subject_type = 'Order' and subject_id in (1, 6);
            delete from plain_children where customer_no = 2;
            delete from customers where id = 2;
            delete from notes where subject_type = 'Other' and subject_id = 2",
        besides: "delete from notes where subject_type = 'Other' and subject_id = 2",
        recipe: "
            [[recover]]
            table = \"public.customers\"
            where = \"id = 2\"
            [[foreign_key]]
            from = \"public.notes(subject_id)\"
            to = \"public.customers(id)\"
            when = \"subject_type = 'Customer'\"
            [[foreign_key]]
            from = \"public.notes(subject_id)\"
            to = \"public.orders(id)\"
            when = \"subject_type = 'Order'\"
            [[foreign_key]]
            from = \"public.plain_children(customer_no)\"
            to = \"public.customers(id)\"",
        ..PLAIN
    };
    play(&scenario, |_, _| {});
}

#[test]
fn a_child_without_a_key_wants_one() {
    let shop = "
        create table customers (id int primary key, name text);
        create table log (customer_id int references customers on delete cascade, at timestamp, line text);
        insert into customers select g, 'customer ' || g from generate_series(1, 3) g;
        insert into log select 1 + g % 3, timestamp '2026-01-01' + g * interval '1 hour', 'line ' || g from generate_series(1, 9) g;";
    let recipe = "[[recover]]\ntable = \"public.customers\"\nwhere = \"id = 2\"\n";
    let accident = "delete from customers where id = 2";
    let live = TestDb::with("keyless", shop);
    let backup = live.dump(&["-Fc"]);
    live.psql(accident);
    let rescue = Rescue::new(&live, &backup);
    let refused = rescue.recover_with(recipe, &["--quiet"]).expect_code(4);
    assert!(
        refused.stderr.starts_with("error[no-key]: table \"public.log\" has no key that names a row\n"),
        "{}",
        refused.stderr
    );
    // What the hint says, filled in.
    assert!(
        refused.stderr.contains("`key = [\"…\"]` under `[columns.\"public.log\"]`"),
        "{}",
        refused.stderr
    );
    let recipe = format!("{recipe}[columns.\"public.log\"]\nkey = [\"customer_id\", \"at\"]\n");
    play(&Scenario { name: "keyless", shop, accident, recipe: &recipe, ..PLAIN }, |_, _| {});
}

#[test]
fn columns_that_changed_since_the_backup() {
    let shop = "
        create table orders (id int primary key, ref_no text not null, legacy text, total int, note text);
        insert into orders select g, 'R' || g, 'old', g * 10, null from generate_series(1, 8) g;";
    let later = "
        alter table orders rename ref_no to reference; alter table orders drop legacy; alter table orders alter total type bigint;
        alter table orders add source text not null default 'app', add seen boolean; alter table orders alter note set default 'none';";
    let accident = "delete from orders where id between 3 and 6";
    let recipe = "[[recover]]\ntable = \"public.orders\"\nwhere = \"id between 3 and 6\"\n";
    // Without a word about it, it is refused with the line that says it.
    let live = TestDb::with("drift", shop);
    let backup = live.dump(&["-Fc"]);
    live.psql(accident);
    live.psql(later);
    let rescue = Rescue::new(&live, &backup);
    let refused = rescue.recover_with(recipe, &["--quiet"]).expect_code(4);
    insta::assert_snapshot!(refused.stderr, @r#"
        error[live-column-missing]: live's table "public.orders" has no column "ref_no"
          cause: the backup has it: it was dropped or renamed since
          hint: Say in the recipe what became of it, under `[columns."public.orders"]`: `map = { ref_no = "…" }` or `ignore = ["ref_no"]`. Live was only read; nothing was changed.
        "#);
    let misspelt = format!("{recipe}[columns.\"public.orders\"]\nmap = {{ ref_no = \"referenz\" }}\n");
    let refused = rescue.recover_with(&misspelt, &["--quiet"]).expect_code(4);
    insta::assert_snapshot!(refused.stderr, @r#"
    error[live-column-missing]: live's table "public.orders" has no column "referenz"
      cause: the recipe's `map` calls the backup's "ref_no" so
      hint: Say in the recipe what became of it, under `[columns."public.orders"]`: `map = { ref_no = "reference" }` or `ignore = ["ref_no"]`. Live was only read; nothing was changed.
    "#);
    let recipe = format!(
        "{recipe}[columns.\"public.orders\"]\nmap = {{ ref_no = \"reference\" }}\nignore = [\"legacy\"]\n"
    );
    play(&Scenario { name: "drift", shop, accident, later, recipe: &recipe, ..PLAIN }, |_, _| {});
}

#[test]
fn rows_chosen_by_a_query_or_a_file() {
    let accident = "delete from orders where customer_id in (select id from customers where region_id = 2)";
    let query = "[[recover]]\ntable = \"public.orders\"\nquery = \"\"\"select o.id from public.orders o join customers c on c.id = o.customer_id
        where c.region_id = 2 order by o.id\"\"\"\n";
    let scenario = Scenario { name: "regions", shop: REGIONS, accident, recipe: query, ..PLAIN };
    play(&scenario, |_, _| {});
    let files = super::support::TempDir::new("where");
    let file = files.write("lost.sql", "-- of region 2\nexists (select from customers c where c.id = customer_id\n  and c.region_id = 2) -- all\n");
    let recipe = format!("[[recover]]\ntable = \"public.orders\"\nwhere_file = \"{}\"\n", file.display());
    play(&Scenario { recipe: &recipe, ..scenario }, |_, _| {});
}

#[test]
fn children_are_followed_as_far_as_the_recipe_says() {
    let shop = "
        create table customers (id int primary key, name text);
        create table orders (id int primary key, customer_id int not null references customers on delete cascade);
        create table payments (id int primary key, order_id int not null references orders on delete cascade);
        create table reviews (id int primary key, customer_id int not null references customers on delete cascade);
        insert into customers select g, 'customer ' || g from generate_series(1, 4) g;
        insert into orders select g, 1 + g % 4 from generate_series(1, 12) g;
        insert into payments select g, g from generate_series(1, 12) g;
        insert into reviews select g, 1 + g % 4 from generate_series(1, 8) g;";
    let accident = "delete from customers where id = 2";
    let play_with = |children: &str, besides: &str| {
        let recipe =
            format!("[[recover]]\ntable = \"public.customers\"\nwhere = \"id = 2\"\nchildren = {children}\n");
        play(&Scenario { name: "children", shop, accident, besides, recipe: &recipe, ..PLAIN }, |_, _| {});
    };
    play_with(
        "\"none\"",
        "delete from orders where customer_id = 2; delete from reviews where customer_id = 2",
    );
    play_with(
        "[\"public.orders\"]",
        "delete from payments p using orders o where o.id = order_id and customer_id = 2; delete from reviews where customer_id = 2",
    );
    play_with("[\"public.orders\", \"public.payments\"]", "delete from reviews where customer_id = 2");
}

#[test]
fn links_that_were_cut_are_set_again_unless_somebody_did() {
    let scenario = Scenario {
        name: "links",
        shop: "
            create table rates (id int primary key, name text unique);
            create table items (id int primary key, rate_id int references rates on delete set null, backup_rate_id int default 1 references rates on delete set default, name text);
            insert into rates select g, 'rate ' || g from generate_series(1, 4) g;
            insert into items select g, 1 + g % 4, 1 + g % 4, 'item ' || g from generate_series(1, 12) g;",
        accident: "delete from rates where id in (2, 3)",
        later: "update items set rate_id = 4 where id = 1; update items set name = 'renamed' where id = 2",
        recipe: "[[recover]]\ntable = \"public.rates\"\nwhere = \"id in (2, 3)\"\n",
        ..PLAIN
    };
    play(&scenario, |_, _| {});
}
