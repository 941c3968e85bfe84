//! Deleted, overwritten and misrouted rows in one recipe, the same rows among them: each row gets one verdict, and live
//! ends as if none of it had happened.

use super::support::{Rescue, TestDb};

const BOOKS: &str = "
create table tenants (id int primary key);
create table accounts (id int primary key, tenant_id int not null references tenants);
create table invoices (id int primary key, tenant_id int not null references tenants, account_id int not null references accounts,
  amount numeric not null, memo text, unique (tenant_id, id));
create table lines (invoice_id int references invoices on delete cascade, no int, price numeric not null, primary key (invoice_id, no));
create table parts (tenant_id int, invoice_id int, no int, primary key (tenant_id, invoice_id, no),
  foreign key (tenant_id, invoice_id) references invoices (tenant_id, id) on delete cascade on update cascade);
create table payments (id int primary key, invoice_id int references invoices on delete set null, paid numeric);
insert into tenants select g from generate_series(1, 9) as g;
insert into accounts select g, 1 + g % 4 from generate_series(1, 40) as g;
insert into invoices select g, 1 + (1 + g % 40) % 4, 1 + g % 40, g, 'm' || g from generate_series(1, 240) as g;
insert into lines select g, n, n * 10 from generate_series(1, 240) as g, generate_series(1, 2) as n;
insert into parts select tenant_id, id, 1 from invoices;
insert into payments select g, g, 1 from generate_series(1, 240) as g;";

/// Every 3rd amount, every 4th tenant, every 10th row: 12 is hit twice, 60 by all of them.
const ACCIDENT: &str = "
update invoices set amount = amount * 100 where id % 3 = 0;
update lines set price = -1 where invoice_id % 6 = 0;
update invoices set tenant_id = 9 where id % 4 = 0;
delete from invoices where id % 10 = 0;";

const LATER: &str = "
update invoices set memo = 'later' where id % 5 = 1;
update invoices set amount = 7 where id = 9;
update payments set paid = 2 where id % 7 = 0;
insert into invoices values (900, 2, 1, 5, 'new');
insert into lines values (900, 1, 3);";

const RECIPE: &str = "
[[recover]]
table = \"invoices\"
where = \"id % 10 = 0\"

[[recover]]
table = \"invoices\"
kind = \"corrupted\"
columns = [\"amount\"]
where = \"id % 3 = 0\"
damaged = \"live.amount = 100 * backup.amount\"

[[recover]]
table = \"invoices\"
kind = \"misrouted\"
owner = \"tenant_id\"
damaged = \"live.tenant_id = 9\"

[[recover]]
table = \"lines\"
kind = \"corrupted\"
columns = [\"price\"]
damaged = \"live.price < 0\"
";

#[test]
fn each_row_gets_one_verdict_and_all_of_it_is_undone() {
    let books = TestDb::with("books", BOOKS);
    let (live, wanted) = (books.copy("live"), books.copy("wanted"));
    live.psql(ACCIDENT);
    live.psql(LATER);
    wanted.psql(LATER);
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &books.dump(&["-Fc"]));
    // Somebody has set the amount of 9 to something of his own.
    let planned = rescue.recover_with(RECIPE, &["--json"]).expect_code(1).json();
    damaged.assert_same(&live.digest(), "recover writes nothing to live");
    let invoices = &planned["verdicts"]["public.invoices"];
    let whole: u64 = invoices.as_object().unwrap().values().map(|rows| rows.as_u64().unwrap()).sum();
    assert_eq!(whole, 240, "one verdict for each row: {planned}");
    assert_eq!((invoices["lost"].as_u64(), invoices["changed"].as_u64()), (Some(24), Some(1)), "{planned}");
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "after the recovery");
    let _verified = rescue.verify().expect_code(1);
    let _nothing = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "a second apply changes nothing");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what apply did");
}

#[test]
fn entries_that_want_different_things_of_one_value_are_both_named() {
    let books = TestDb::with("books", BOOKS);
    let live = books.copy("live");
    live.psql(ACCIDENT);
    // The account of invoice 8 was sold: by the path its owner is another than the backup's.
    live.psql("update accounts set tenant_id = 5 where id = 9");
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &books.dump(&["-Fc"]));
    let by_path = RECIPE.replace(
        "owner = \"tenant_id\"",
        "owner = \"tenant_id\"\nowner_from = \"select a.tenant_id from accounts as a where a.id = invoices.account_id\"",
    );
    let twice = format!(
        "{by_path}\n[[recover]]\ntable = \"invoices\"\nkind = \"corrupted\"\ncolumns = [\"tenant_id\"]\ndamaged = \"live.tenant_id = 9\"\n"
    );
    let refused = rescue.recover_text(&twice).expect_code(2);
    assert!(
        refused.stderr.contains("error[entries-contradict]: entries 3 and 5 of the recipe say different things about \"tenant_id\""),
        "{refused:?}"
    );
    assert!(!rescue.case().join("plan.json").exists());
    damaged.assert_same(&live.digest(), "nothing was written");
}

#[test]
fn a_companion_that_a_trigger_made_first_is_no_double_and_no_failure() {
    let books = TestDb::with(
        "books",
        "create table users (id int primary key, name text not null);
         create table wallets (user_id int primary key references users on delete cascade, coins int not null default 0);
         create function welcome() returns trigger language plpgsql as $$ begin insert into wallets values (new.id); return new; end $$;
         create trigger welcome after insert on users for each row execute function welcome();
         insert into users select g, 'u' || g from generate_series(1, 9) as g;
         update wallets set coins = case when user_id % 2 = 0 then user_id else 0 end;",
    );
    let live = books.copy("live");
    live.psql("delete from users where id between 2 and 5");
    let lost = live.digest();
    let rescue = Rescue::new(&live, &books.dump(&["-Fc"]));
    let planned =
        rescue.recover_text("[[recover]]\ntable = \"users\"\nwhere = \"id between 2 and 5\"").expect_code(0);
    assert!(planned.stdout.contains("welcome"), "the trigger is told beforehand: {planned:?}");
    let _applied = rescue.apply().expect_code(0);
    books.digest().assert_same(&live.digest(), "the wallets of the triggers became the lost ones");
    let _verified = rescue.verify().expect_code(0);
    let _undone = rescue.undo().expect_code(0);
    lost.assert_same(&live.digest(), "undo takes both back");
}

/// Rows of one table of which other columns are set are parts of one batch: the table is named once where it is refused.
#[test]
fn a_batch_that_is_refused_names_each_table_once() {
    let live = TestDb::with(
        "named_once",
        "create table bills (id int primary key, tenant int not null, amount int, unique (tenant, id));
         create table items (tenant int, bill int, no int, primary key (tenant, bill, no),
           foreign key (tenant, bill) references bills (tenant, id) on update cascade);
         insert into bills select i, 1, i from generate_series(1, 4) i; insert into items select 1, i, 1 from generate_series(1, 4) i",
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("update bills set tenant = 9 where id < 3; update bills set amount = -1 where id = 2");
    let recipe = "[[recover]]\ntable = \"bills\"\nkind = \"misrouted\"\nowner = \"tenant\"\nwhere = \"true\"\ndamaged = \"live.tenant = 9\"\n\
                  [[recover]]\ntable = \"bills\"\nkind = \"corrupted\"\ncolumns = [\"amount\"]\nwhere = \"true\"\ndamaged = \"live.amount < 0\"\n";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let plan = std::fs::read(rescue.case().join("plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&plan).unwrap();
    let tables: Vec<&serde_json::Value> =
        plan["batches"][0]["parts"].as_array().unwrap().iter().map(|part| &part["table"]).collect();
    assert_eq!(tables, ["public.bills", "public.bills"], "{plan}");
    live.psql(
        "create function no() returns trigger language plpgsql as $$ begin raise exception 'no' using errcode = '58000'; end $$;
         create trigger no before update on bills for each row execute function no()",
    );
    let refused = rescue.apply().expect_code(5);
    assert!(refused.stderr.contains("writing \"public.bills\"\n"), "{}", refused.stderr);
}
