//! Customers that signed up again before the rescue came: policy `recreated`, above all `repoint`, from the recipe to the
//! certificate.

use super::support::{Rescue, TestDb};

/// A shop in which everything hangs on customers in another way.
const SHOP: &str = "
create table customers (id int primary key, email text not null unique, phone text unique, name text, created_at timestamptz not null);
create table addresses (customer_id int references customers on delete cascade, no int, street text, primary key (customer_id, no));
create table deliveries (id int primary key, customer_id int, no int, at date,
  foreign key (customer_id, no) references addresses on delete cascade);
create table settings (customer_id int primary key references customers on delete cascade, theme text);
create table switches (customer_id int references settings on delete cascade, name text, primary key (customer_id, name));
create table orders (id int primary key, customer_id int not null references customers on delete cascade, total int,
  referred_by int references customers on delete set null);
create table members (id int primary key, customer_id int not null references customers on delete cascade, club text not null,
  unique (customer_id, club));
create table visits (id int primary key, member_id int references members on delete cascade);
create table reviews (id int primary key, customer_id int references customers on delete set null, stars int);
create table notes (id int primary key, subject_type text, subject_id text, body text);
create table friends (id int primary key, customer_id int, friend_id int references friends);
insert into customers select g, 'c' || g || '@x', '555-' || g, 'name ' || g, timestamptz '2026-01-01 10:00+00' from generate_series(1, 20) as g;
insert into addresses select c, n, 'street ' || c from generate_series(1, 20) as c, generate_series(1, 2) as n;
insert into deliveries select g, g, 2, date '2026-02-01' from generate_series(1, 20) as g;
insert into settings select g, 'dark' from generate_series(1, 20) as g;
insert into switches select g, 'mail' from generate_series(1, 20) as g;
insert into orders select g, 1 + g % 20, g, 1 + (g + 1) % 20 from generate_series(1, 60) as g;
insert into members select g, g, 'wine' from generate_series(1, 20) as g;
insert into visits select g, 1 + g % 20 from generate_series(1, 40) as g;
insert into reviews select g, 1 + g % 20, g % 5 from generate_series(1, 40) as g;
insert into notes select g, case when g % 2 = 0 then 'customer' else 'order' end, (1 + g % 20)::text, 'n' from generate_series(1, 40) as g;";

const RECIPE: &str = "
[[recover]]
table = \"customers\"
where = \"id between 3 and 6\"
[[foreign_key]]
from = \"notes(subject_id)\"
to = \"customers(id)\"
when = \"subject_type = 'customer'\"
[policy]
recreated = \"repoint\"
";

const GONE: &str = "delete from customers where id between 3 and 6;";

/// Customers 3 and 5 come again as 103 and 105; 5 has a membership and settings already, and a first address.
const AGAIN: &str = "
insert into customers values (103, 'c3@x', '777-3', 'Three', '2026-03-01'), (105, 'c5@x', null, 'Five', '2026-03-01');
insert into members values (205, 105, 'wine');
insert into settings values (105, 'light');
insert into addresses values (105, 1, 'new street');
insert into orders values (901, 103, 1, null);";

/// What the shop is when 3 is 103 and 5 is 105.
const WANTED: &str = "
alter table addresses drop constraint addresses_customer_id_fkey; alter table deliveries drop constraint deliveries_customer_id_no_fkey;
alter table settings drop constraint settings_customer_id_fkey; alter table switches drop constraint switches_customer_id_fkey;
update orders set customer_id = customer_id + 100 where customer_id in (3, 5) and id < 900;
update orders set referred_by = referred_by + 100 where referred_by in (3, 5);
update reviews set customer_id = customer_id + 100 where customer_id in (3, 5);
update members set customer_id = 103 where customer_id = 3;
update visits set member_id = 205 where member_id = 5; delete from members where id = 5;
delete from deliveries where false;
update deliveries set customer_id = customer_id + 100 where customer_id in (3, 5);
update addresses set customer_id = 103 where customer_id = 3;
delete from addresses where customer_id = 5 and no = 1; update addresses set customer_id = 105 where customer_id = 5;
delete from settings where customer_id = 5; update settings set customer_id = 103 where customer_id = 3;
update switches set customer_id = customer_id + 100 where customer_id in (3, 5);
update notes set subject_id = (subject_id::int + 100)::text where subject_type = 'customer' and subject_id in ('3', '5');
delete from customers where id in (3, 5);
alter table addresses add foreign key (customer_id) references customers on delete cascade;
alter table deliveries add foreign key (customer_id, no) references addresses on delete cascade;
alter table settings add foreign key (customer_id) references customers on delete cascade;
alter table switches add foreign key (customer_id) references settings on delete cascade;";

#[test]
fn the_children_of_a_lost_row_are_hung_on_the_one_that_was_made_again() {
    let backup = TestDb::with("shop", SHOP);
    let dump = backup.dump(&["-Fc"]);
    let (live, wanted) = (backup.copy("live"), backup.copy("wanted"));
    live.psql(GONE);
    live.psql(AGAIN);
    // E-mails are unique in the wanted state, too: the lost rows give theirs up first.
    wanted.psql("update customers set email = 'old ' || id, phone = null where id in (3, 5);");
    wanted.psql(AGAIN);
    wanted.psql(WANTED);
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &dump);
    // One address of 5 and what hung on nothing else: live has another under its key.
    let planned = rescue.recover_text(RECIPE).expect_code(1);
    damaged.assert_same(&live.digest(), "recover writes nothing to live");
    assert!(
        planned.stdout.contains("2 lost rows of public.customers were made again under another key"),
        "{planned:?}"
    );
    assert!(planned.stdout.contains("1 conflict"), "{planned:?}");
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "after the recovery");
    let verified = rescue.verify().expect_code(1);
    assert!(verified.stdout.contains("recreated"), "{verified:?}");
    let _nothing = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "a second apply changes nothing");
    let _again = rescue.recover_with(RECIPE, &["--case", "again"]).expect_code(1);
    let nothing = std::fs::read_dir(rescue.directory().join("again/batches")).unwrap().count();
    assert_eq!(nothing, 0, "a second recovery has nothing to write");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what apply did");
}

/// A lost shop, and what happened to it before the rescue.
fn lost(after: &str) -> (std::path::PathBuf, TestDb<'static>, TestDb<'static>) {
    let backup = TestDb::with("shop", SHOP);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(GONE);
    live.psql(after);
    (dump, live, backup)
}

/// How many rows of live refer to a customer.
fn orders_of(live: &TestDb<'_>, customer: u32) -> String {
    live.psql(&format!("select count(*) from orders where customer_id = {customer}")).trim().to_owned()
}

#[test]
fn the_batches_do_the_same_under_psql() {
    let (dump, live, _backup) = lost(AGAIN);
    let by_hand = live.copy("by_hand");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(RECIPE).expect_code(1);
    let _applied = rescue.apply().expect_code(0);
    let mut files: Vec<_> = std::fs::read_dir(rescue.case().join("batches"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_string_lossy().contains("sequences"))
        .collect();
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    for _twice in 0..2 {
        for file in &files {
            by_hand.psql(&std::fs::read_to_string(file).unwrap());
        }
        live.digest().assert_same(&by_hand.digest(), "psql and apply write the same");
    }
}

#[test]
fn two_rows_that_could_stand_in_are_both_named_and_nothing_is_hung_on_either() {
    let (dump, live, _backup) = lost(
        "insert into customers values (103, 'c3@x', null, 'Three', '2026-03-01'), (104, 'd@x', '555-3', 'Other', '2026-03-01');",
    );
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(RECIPE).expect_code(1);
    let shown = rescue.rowback().run(["show", "case", "--table", "customers", "--verdict", "recreated"]);
    let said = shown.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let both = "customers_email_key is held by {\"id\": \"103\"}, customers_phone_key is held by {\"id\": \"104\"}: 2 rows of live \
                could stand in for it, so nothing is hung on any";
    assert!(said.contains(both), "{said}");
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(
        [103, 104, 3, 4].map(|id| orders_of(&live, id)),
        ["0", "0", "0", "3"],
        "4 came back, 3 did not"
    );
    let _verified = rescue.verify().expect_code(1);
}

#[test]
fn a_row_that_was_there_before_stands_in_for_nobody() {
    // 2 is older than the lost 3; 7 is beside 3 in the backup, which the second entry has staged.
    let (dump, live, _backup) = lost(
        "
        update customers set created_at = '2025-01-01', email = 'c3@x' where id = 2;
        update customers set email = 'c4@x' where id = 7;",
    );
    let rescue = Rescue::new(&live, &dump);
    let recipe = RECIPE.replace("between 3 and 6", "between 3 and 7");
    let _planned = rescue.recover_text(&recipe).expect_code(1);
    let shown = rescue.rowback().run(["show", "case", "--table", "customers", "--verdict", "recreated"]);
    let said = shown.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("nothing is hung on that row: it is older than the lost row"), "{said}");
    assert!(said.contains("nothing is hung on that row: the backup has it beside the lost row"), "{said}");
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(
        [2, 7, 5].map(|id| orders_of(&live, id)),
        ["3", "3", "3"],
        "5 came back, the others have their own"
    );
}

#[test]
fn identity_decides_who_stands_in() {
    let (dump, live, _backup) =
        lost("insert into customers values (103, 'new@x', '555-3', 'Who', '2026-03-01');");
    for (identity, orders) in [("[\"email\"]", "0"), ("[\"phone\"]", "3")] {
        let rescue = Rescue::new(&live, &dump);
        let recipe = RECIPE.replace("where =", &format!("identity = {identity}\nwhere ="));
        let _planned = rescue.recover_text(&recipe).expect_code(i32::from(orders == "0"));
        let _applied = rescue.apply().expect_code(0);
        assert_eq!(orders_of(&live, 103), orders, "{identity}");
        let _undone = rescue.undo().expect_code(0);
    }
}

#[test]
fn a_fix_of_somebody_else_wins_over_the_stand_in() {
    let (dump, live, _backup) = lost(AGAIN);
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(RECIPE).expect_code(1);
    live.psql(
        "update reviews set customer_id = 9 where id = 2; update notes set subject_id = '9' where id = 2;",
    );
    let applied = rescue.apply().expect_code(1);
    assert!(
        applied.stdout.contains("public.reviews") && applied.stdout.contains("public.notes"),
        "{applied:?}"
    );
    let kept = live.psql("select customer_id from reviews where id = 2 union all select subject_id::int from notes where id = 2");
    assert_eq!(kept.split_whitespace().collect::<Vec<_>>(), ["9", "9"]);
}

#[test]
fn the_other_policies_leave_the_children_out_or_make_no_plan() {
    let (dump, live, _backup) = lost(AGAIN);
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let refused = rescue.recover_text(&RECIPE.replace("repoint", "fail")).expect_code(4);
    assert!(refused.stderr.contains("error[policy-fail]: 2 rows are recreated"), "{refused:?}");
    assert!(!rescue.case().join("plan.json").exists());
    damaged.assert_same(&live.digest(), "nothing was written");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&RECIPE.replace("repoint", "skip")).expect_code(1);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!([103, 105, 4, 6].map(|id| orders_of(&live, id)), ["1", "0", "3", "3"]);
}

#[test]
fn changed_rows_are_kept_overwritten_or_the_end_of_it() {
    let (dump, live, _backup) = lost("
        insert into customers select g, 'c' || g || '@x', '555-' || g, 'name ' || g, timestamptz '2026-01-01 10:00+00' from generate_series(3, 6) as g;
        update customers set name = 'changed' where id = 4;");
    let name = || live.psql("select name from customers where id = 4").trim().to_owned();
    let recipe =
        |changed: &str| RECIPE.replace("recreated = \"repoint\"", &format!("changed = \"{changed}\""));
    let rescue = Rescue::new(&live, &dump);
    let refused = rescue.recover_text(&recipe("fail")).expect_code(4);
    assert!(refused.stderr.contains("error[policy-fail]"), "{refused:?}");
    let rescue = Rescue::new(&live, &dump);
    let _kept = rescue.recover_text(&recipe("keep")).expect_code(1);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(name(), "changed");
    let rescue = Rescue::new(&live, &dump);
    // Rows of which nothing says that they are the same thing are not overwritten.
    let _overwritten = rescue.recover_text(&recipe("overwrite")).expect_code(1);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(name(), "name 4");
    let _verified = rescue.verify().expect_code(1);
    let _undone = rescue.undo().expect_code(0);
    assert_eq!(name(), "changed");
}

#[test]
fn a_row_with_the_values_of_two_lost_ones_stands_in_for_neither() {
    let (dump, live, _wanted) =
        lost("insert into customers values (105, 'c3@x', '555-5', 'Who', '2026-03-01')");
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(RECIPE).expect_code(1);
    let said = format!("{}{}", planned.stdout, planned.stderr);
    assert!(said.contains("public.customers"), "{said}");
    let _applied = rescue.apply();
    assert_eq!(orders_of(&live, 105), "0", "nothing is hung on it");
    let case = rescue.case().display().to_string();
    let shown = rescue.rowback().run(["show", &case, "--table", "customers", "--json"]).expect_code(0).stdout;
    assert!(shown.contains("by customers_phone_key it could be 5 of the backup as well"), "{shown}");
    assert!(shown.contains("by customers_email_key it could be 3 of the backup as well"), "{shown}");
}

#[test]
fn a_stand_in_that_somebody_replaced_before_apply_gets_no_children() {
    let (dump, live, _wanted) =
        lost("insert into customers values (105, 'c5@x', '777-5', 'Five', '2026-03-01')");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(RECIPE).expect_code(0);
    live.psql("delete from customers where id = 105; insert into customers values (105, 'stranger@x', '1', 'Stranger', '2026-04-01')");
    let _applied = rescue.apply().expect_code(1);
    assert_eq!(orders_of(&live, 105), "0", "nothing is hung on a stranger");
    assert_eq!(orders_of(&live, 3), "3", "what hangs on others came back");
}

#[test]
fn nothing_is_hung_on_what_stands_in_for_a_row_that_was_deleted_on_purpose() {
    // Tables in a circle: that a row must stay away shows only after a stand-in was found for it.
    let made = "
        create table z (id int primary key, c int);
        create table b (id int primary key, tag text not null unique, z int references z on delete cascade);
        create table c (id int primary key, b int references b on delete cascade);
        alter table z add foreign key (c) references c on delete cascade;
        insert into z values (1, null), (9, null); insert into b values (1, 'x', 1), (9, 'nine', 9);
        insert into c values (1, 1), (9, 9); insert into z values (2, 1); update z set c = null where id = 9;";
    let truth = TestDb::with("circle", made);
    let dump = truth.dump(&["-Fc"]);
    // 1 was erased with all that hung on it, and its tag is used again; 9 fell victim to the accident.
    truth.psql("delete from z where id = 1; insert into b values (7, 'x', null)");
    let live = truth.copy("live");
    live.psql("delete from z where id = 9");
    let rescue = Rescue::new(&live, &dump);
    rescue.directory().write("erased.csv", "id\n1\n");
    let recipe = "[[recover]]\ntable = \"z\"\nwhere = \"id in (1, 2, 9)\"\n[policy]\nrecreated = \"repoint\"\nexclude_keys = { \"public.z\" = \"erased.csv\" }\n";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "what was erased stays away");
}
