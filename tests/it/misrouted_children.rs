//! Children that carry the owner in a column of their own, beside a foreign key that does not: they are as misrouted as what
//! they hang on, and go home with it.

use super::support::{Rescue, TestDb};

/// Accounts of tenants. An invoice and its lines, a note and a tag have a tenant of their own; who wrote a note may be somebody
/// of another tenant. The owner is of a slot's key.
const WORLD: &str = "
create table tenant (id int primary key);
create table account (id int primary key, tenant_id int references tenant, name text);
create table invoice (id int primary key, account_id int not null references account on delete cascade, tenant_id int references tenant, number text, unique (tenant_id, number));
create table line (id int primary key, invoice_id int references invoice on delete cascade, tenant_id int, what text);
create table tag (account_id int references account, tenant_id int, name text, primary key (account_id, name));
create table note (id int primary key, account_id int references account on delete set null, line_id int references line, tenant_id int, body text);
create table remark (id int primary key, about int, kind text, tenant_id int);
insert into tenant select generate_series(1, 3);
insert into account select g, 1 + g % 3, 'a' || g from generate_series(1, 30) as g;
insert into invoice select id * 10 + n, id, tenant_id, 'I' || id || '-' || n from account, generate_series(1, 2) as n;
insert into line select id * 10 + n, id, tenant_id, 'thing' from invoice, generate_series(1, 2) as n;
insert into tag select id, tenant_id, 'vip' from account where id % 2 = 0;
insert into note select id, id, (select min(l.id) from line as l join invoice as i on i.id = l.invoice_id where i.account_id = account.id), tenant_id, 'n' from account;
insert into remark select id, id, 'account', tenant_id from account;";

const RECIPE: &str = "[[recover]]\ntable = \"account\"\nkind = \"misrouted\"\nowner = \"tenant_id\"\ndamaged = \"live.tenant_id is not distinct from 2\"\n";

const TABLES: [&str; 6] = ["account", "invoice", "line", "tag", "note", "remark"];

/// All rows of tenant 1 get another owner, those of the tables named.
fn accident(to: &str, tables: &[&str]) -> String {
    tables.iter().map(|table| format!("update {table} set tenant_id = {to} where tenant_id = 1;")).collect()
}

#[test]
fn children_go_home_with_what_they_hang_on() {
    let backup = TestDb::with("carried", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let declared =
        "[[foreign_key]]\nfrom = \"remark(about)\"\nto = \"account(id)\"\nwhen = \"kind = 'account'\"\n";
    for to in ["2", "null"] {
        let live = backup.copy("live");
        live.psql(&accident(to, &TABLES));
        // Somebody's own: an invoice that was moved on purpose is of nobody's accident.
        live.psql("update note set tenant_id = 3 where account_id = 6");
        let damaged = live.digest();
        let truth = backup.copy("truth");
        truth.psql("update note set tenant_id = 3 where account_id = 6");
        let rescue = Rescue::new(&live, &dump);
        let recipe = format!("{RECIPE}{declared}").replace("distinct from 2", &format!("distinct from {to}"));
        let planned = rescue.recover_with(&recipe, &["--json"]).expect_code(0).json();
        assert_eq!(planned["verdicts"]["public.account"]["misrouted"], 10, "{planned}");
        damaged.assert_same(&live.digest(), "recover writes nothing to live");
        let _applied = rescue.apply().expect_code(0);
        truth.digest().assert_same(&live.digest(), &format!("all of them are home from {to}"));
        let _verified = rescue.verify().expect_code(0);
        live.psql("update line set tenant_id = 3 where id = 311");
        let found = rescue.verify().expect_code(1);
        assert!(found.stdout.contains("public.line"), "{}", found.stdout);
        live.psql("update line set tenant_id = (select tenant_id from invoice where id = invoice_id) where id = 311");
        let _undone = rescue.undo().expect_code(0);
        damaged.assert_same(&live.digest(), "undo takes back what was written");
    }
}

/// Who stays keeps what hangs on it, and a child of two owners keeps both.
#[test]
fn a_child_that_cannot_go_keeps_what_it_hangs_on() {
    let backup = TestDb::with(
        "torn",
        "create table tenant (id int primary key);
         create table account (id int primary key, tenant_id int references tenant);
         create table deal (id int primary key, buyer int references account, seller int references account, tenant_id int);
         create table invoice (id int primary key, account_id int references account, tenant_id int, number text, unique (tenant_id, number));
         insert into tenant select generate_series(1, 3); insert into account values (1, 1), (2, 3), (3, 1), (4, 1);
         insert into deal values (1, 1, 2, 1), (2, 3, 3, 1); insert into invoice values (1, 3, 1, 'N'), (2, 4, 1, 'M');",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("update account set tenant_id = 2; update deal set tenant_id = 2; update invoice set tenant_id = 2; insert into invoice values (9, null, 1, 'M')");
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(RECIPE).expect_code(1);
    let shown = rescue.rowback().run(["show", "case", "--table", "account"]).expect_code(0).stdout;
    let plain = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        plain
            .matches("kept: a row of public.deal hangs on it and on rows that belong to another owner")
            .count(),
        2,
        "{shown}"
    );
    assert!(plain.contains("kept: in public.invoice"), "{shown}");
    assert!(planned.stdout.contains("3 conflicts"), "{}", planned.stdout);
    let _applied = rescue.apply().expect_code(0);
    let owners = |table: &str| {
        live.value(&format!("select string_agg(id || ':' || tenant_id, ' ' order by id) from {table}"))
    };
    assert_eq!(
        (owners("account"), owners("deal"), owners("invoice")),
        ("1:2 2:2 3:1 4:2".into(), "1:2 2:1".into(), "1:1 2:2 9:1".into())
    );
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "undo takes back what was written");
}

/// An entry of its own says which rows of a table are misrouted; nothing else of it moves along.
#[test]
fn a_table_with_an_entry_of_its_own_goes_by_that() {
    let backup = TestDb::with("entry", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(&accident("2", &["account", "invoice"]));
    let rescue = Rescue::new(&live, &dump);
    let own = "[[recover]]\ntable = \"invoice\"\nkind = \"misrouted\"\nowner = \"tenant_id\"\nwhere = \"id % 20 = 1\"\ndamaged = \"live.tenant_id = 2\"\n";
    let _planned = rescue.recover_text(&format!("{RECIPE}{own}")).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    let home = |which: &str| {
        live.value(&format!(
            "select count(*) from invoice as i join account as a on a.id = i.account_id where a.tenant_id = 1 and i.tenant_id = {which}"
        ))
    };
    let of_entry = backup.value("select count(*) from invoice where tenant_id = 1 and id % 20 = 1");
    assert_ne!(of_entry, "0");
    assert_eq!(home("1"), of_entry);
}

/// What cannot move along, and what came since, is found in the end: nothing says that all is well.
#[test]
fn verify_finds_what_still_has_the_wrong_owner() {
    let backup = TestDb::with(
        "across",
        "create table account (id int primary key, tenant_id int not null);
         create table slot (tenant_id int, no int, account_id int references account, primary key (tenant_id, no));
         create table nameless (account_id int references account, tenant_id int);
         create table invoice (id int primary key, account_id int references account, tenant_id int);
         insert into account select g, 1 + g % 2 from generate_series(1, 6) as g;
         insert into slot select tenant_id, id, id from account; insert into nameless select id, tenant_id from account;
         insert into invoice select id, id, tenant_id from account;",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("update account set tenant_id = 2; update slot set tenant_id = 2 where no = 2; update nameless set tenant_id = 2 where account_id = 4; update invoice set tenant_id = 2");
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(RECIPE).expect_code(0);
    for table in ["slot", "nameless"] {
        let note = format!(
            "rows of public.{table} that hang on misrouted rows of public.account by {table}_account_id_fkey do not move along"
        );
        assert!(planned.stdout.contains(&note), "{note}: {}", planned.stdout);
    }
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.value("select string_agg(tenant_id::text, '' order by id) from invoice"), "212121");
    live.psql("insert into invoice values (7, 6, 2), (8, 6, 1), (9, 5, 1)");
    let found = rescue.verify().expect_code(1);
    for (line, is_there) in [
        (
            "public.slot (no = 2, tenant_id = 2): its tenant_id is the one that its parent by slot_account_id_fkey had",
            true,
        ),
        ("public.nameless (): its tenant_id is the one that its parent", true),
        ("public.invoice (id = 7): its tenant_id is the one", true),
        ("public.invoice (id = 8)", false),
        ("public.invoice (id = 9)", false),
        ("public.slot (no = 4", false),
    ] {
        assert_eq!(found.stdout.contains(line), is_there, "{line}: {}", found.stdout);
    }
    live.psql("update slot set tenant_id = 1 where no = 2; update nameless set tenant_id = 1 where account_id = 4; delete from invoice where id = 7");
    let _verified = rescue.verify().expect_code(0);
    live.psql("update slot set tenant_id = 2 where no = 2; update nameless set tenant_id = 2 where account_id = 4; delete from invoice where id > 6");
    let _undone = rescue.undo().expect_code(0);
    let _verified = rescue.verify().expect_code(0);
}
