//! Rows that hang on misrouted ones and have an owner in a column of their own, beside a foreign key without it: those that had
//! their parent's owner in the backup go home with it. The others stay, and nothing says that all is well.

use super::support::{Rescue, TestDb};

/// The owner of a slot is of its key, and a nameless row has none.
const WORLD: &str = "
    create table account (id int primary key, tenant_id int not null);
    create table slot (tenant_id int, no int, account_id int references account, primary key (tenant_id, no));
    create table nameless (account_id int references account, tenant_id int);
    create table invoice (id int primary key, account_id int references account, tenant_id int);
    insert into account select g, 1 + g % 2 from generate_series(1, 6) as g;
    insert into slot select tenant_id, id, id from account; insert into nameless select id, tenant_id from account;
    insert into invoice select id, id, tenant_id from account;
    create table line (id int primary key, invoice_id int references invoice, tenant_id int, unique (tenant_id, id));
    insert into line select id, id, tenant_id from invoice;";

fn entry(table: &str) -> String {
    format!(
        "[[recover]]\ntable = \"{table}\"\nkind = \"misrouted\"\nowner = \"tenant_id\"\ndamaged = \"live.tenant_id = 2\"\n"
    )
}

#[test]
fn what_carried_the_owner_in_the_backup_goes_home_and_verify_names_the_rest() {
    let backup = TestDb::with("across", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    // A nameless row cannot be found again, and invoice 7 came since.
    live.psql(
        "update account set tenant_id = 2; update slot set tenant_id = 2; update invoice set tenant_id = 2; update line set tenant_id = 2;
         update nameless set tenant_id = 2 where account_id = 4; insert into invoice values (7, 2, 2)",
    );
    truth
        .psql("update nameless set tenant_id = 2 where account_id = 4; insert into invoice values (7, 2, 2)");
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&entry("account")).expect_code(0);
    for note in [
        "rows of public.nameless that hang on misrouted rows of public.account by nameless_account_id_fkey have a tenant_id of their own",
        "rows of public.slot that hang on misrouted rows of public.account by slot_account_id_fkey go home with them",
        "rows of public.line that hang on misrouted rows of public.invoice by line_invoice_id_fkey go home with them",
        "rows of public.account that came after the backup",
    ] {
        assert!(planned.stdout.contains(note), "{note}: {}", planned.stdout);
    }
    // While the account is not home, what hangs on it is no more wrong than it.
    let early = rescue.verify().expect_code(1);
    assert!(!early.stdout.contains("which was set right"), "{}", early.stdout);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "all that is known to carry the owner is home");
    let found = rescue.verify().expect_code(1);
    for (line, is_there) in [
        ("public.nameless (): its tenant_id is the one that its parent", true),
        (
            "public.invoice (id = 7): its tenant_id is the one that its parent by invoice_account_id_fkey had",
            true,
        ),
        ("public.invoice (id = 6)", false),
        ("public.line (", false),
        ("public.slot (", false),
    ] {
        assert_eq!(found.stdout.contains(line), is_there, "{line}: {}", found.stdout);
    }
    assert!(
        found.stdout.contains("Everything that was planned is in live; rows that hang on it"),
        "{}",
        found.stdout
    );
    let _again = rescue.apply().expect_code(0);
    live.psql("update account set tenant_id = 3 where id = 2");
    let found = rescue.verify().expect_code(1);
    assert!(found.stdout.contains("NOT verified: not everything that was planned"), "{}", found.stdout);
    live.psql("update account set tenant_id = 1 where id = 2");
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "undo takes back what was written");
    let _verified = rescue.verify().expect_code(0);
}

/// Columns of one name need not mean the same: who had another owner than its parent keeps it, and so does what was hung on the
/// misrouted row since, and what somebody gave to a third.
#[test]
fn who_had_another_owner_keeps_it() {
    let backup = TestDb::with("across", WORLD);
    backup.psql("update invoice set tenant_id = 2 where id = 2; update line set tenant_id = null where id = 4; delete from nameless");
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    live.psql("update account set tenant_id = 2; update invoice set tenant_id = 2; update line set tenant_id = 2; update slot set tenant_id = 2");
    // Invoice 4 hangs on another misrouted account by now, somebody gave invoice 6 to tenant 3.
    let since =
        "update invoice set account_id = 2 where id = 4; update invoice set tenant_id = 3 where id = 6";
    for db in [&live, &truth] {
        db.psql(since);
    }
    truth.psql(
        "update invoice set tenant_id = 2 where id = 4; update line set tenant_id = 2 where id in (2, 4, 6)",
    );
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&entry("account")).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "what is known to be misrouted is home");
    let found = rescue.verify().expect_code(1);
    for (line, is_there) in
        [("invoice (id = 2)", true), ("invoice (id = 4)", true), ("invoice (id = 6)", false)]
    {
        assert_eq!(found.stdout.contains(line), is_there, "{line}: {}", found.stdout);
    }
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "undo takes back what was written");
}

/// Whom somebody gave away between plan and apply keeps what hangs on it; who was brought home already does not.
#[test]
fn a_row_goes_home_only_with_the_one_on_which_it_hangs() {
    let backup = TestDb::with("across", &format!("{WORLD} delete from nameless"));
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    live.psql("update account set tenant_id = 2; update invoice set tenant_id = 2; update line set tenant_id = 2; update slot set tenant_id = 2");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&entry("account")).expect_code(0);
    live.psql("update account set tenant_id = 3 where id = 2; update account set tenant_id = 1 where id = 4");
    truth.psql(
        "update account set tenant_id = 3 where id = 2; update invoice set tenant_id = 2 where id = 2; update slot set tenant_id = 2 where account_id = 2;
         update line set tenant_id = 2 where id = 2",
    );
    let applied = rescue.apply().expect_code(1);
    truth.digest().assert_same(&live.digest(), "account 2 keeps what hangs on it");
    assert!(
        applied.stdout.contains("public.invoice") && applied.stdout.contains("public.account"),
        "{}",
        applied.stdout
    );
    let _again = rescue.apply().expect_code(1);
    truth.digest().assert_same(&live.digest(), "again");
}

/// The owner is known by the path, also of rows that the backup has under no owner or does not have; their children are moved
/// only where the backup shows that they carry the owner.
#[test]
fn an_owner_by_the_path_goes_down_as_well() {
    let backup = TestDb::with(
        "across",
        &format!(
            "{WORLD} delete from nameless; alter table account add home int; update account set home = tenant_id"
        ),
    );
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    let born = "insert into account values (9, 2, 1); insert into invoice values (9, 9, 2)";
    live.psql(&format!(
        "update account set tenant_id = 2; update invoice set tenant_id = 2; update line set tenant_id = 2; update slot set tenant_id = 2; {born}"
    ));
    truth.psql(&format!("{born}; update account set tenant_id = 1 where id = 9"));
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"account\"\nkind = \"misrouted\"\nowner = \"tenant_id\"\nowner_from = \"account.home\"\ndamaged = \"true\"\n";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "all accounts are home, with what carried their owner");
    let found = rescue.verify().expect_code(1);
    assert!(
        found.stdout.contains("public.invoice (id = 9)") && !found.stdout.contains("public.line ("),
        "{}",
        found.stdout
    );
}

/// A column has another name in live, staging is CSV, and nothing is to be followed by one entry.
#[test]
fn renamed_columns_and_entries_that_follow_nothing() {
    let backup = TestDb::with("across", &format!("{WORLD} delete from nameless"));
    let dump = backup.dump(&["-Fp"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    let renamed =
        "alter table invoice rename tenant_id to org_id; alter table invoice rename account_id to client_id";
    for db in [&live, &truth] {
        db.psql(renamed);
    }
    live.psql("update account set tenant_id = 2; update invoice set org_id = 2; update line set tenant_id = 2; update slot set tenant_id = 2");
    let map = "[columns.\"public.invoice\"]\nmap = { tenant_id = \"org_id\", account_id = \"client_id\" }\n";
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue
        .recover_with(&format!("{}children = \"none\"\n{map}", entry("account")), &["--staging", "csv"]);
    assert!(!planned.expect_code(0).stdout.contains("go home with them"));
    let rescue = Rescue::new(&live, &dump);
    let _planned =
        rescue.recover_with(&format!("{}{map}", entry("account")), &["--staging", "csv"]).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "everything is home");
    let _verified = rescue.verify().expect_code(0);
}

/// The backup knows of an invoice that is of tenant 2 on purpose.
#[test]
fn an_entry_about_the_children_decides() {
    let backup = TestDb::with("across", WORLD);
    backup.psql("update invoice set tenant_id = 2 where id = 4; delete from slot; delete from nameless");
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    live.psql("update account set tenant_id = 2; update invoice set tenant_id = 2");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&format!("{}{}", entry("account"), entry("invoice"))).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "everything is home");
    let _verified = rescue.verify().expect_code(0);
    live.psql("update invoice set tenant_id = 2 where id = 6");
    let _found = rescue.verify().expect_code(1);
}

/// Two ways lead to a row: by the account and by the account's slot. It is loaded, staged and moved once; more accounts than are
/// asked about at once, so that another chunk meets it again.
#[test]
fn a_row_below_two_that_go_home_moves_once() {
    let world = "
        create table account (id int primary key, tenant_id int);
        create table folder (id int primary key, account_id int references account, tenant_id int);
        create table file (id int primary key, account_id int references account, folder_id int references folder, tenant_id int);
        insert into account select g, 1 from generate_series(1, 1500) as g; insert into folder select id, id, 1 from account;
        insert into file select id, id, 1501 - id, 1 from account; create index on file (folder_id); create index on file (account_id);
        create index on folder (account_id)";
    let backup = TestDb::with("across", world);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    live.psql(
        "update account set tenant_id = 2; update folder set tenant_id = 2; update file set tenant_id = 2",
    );
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&entry("account")).expect_code(0);
    assert!(planned.stdout.contains("4,500 to repair"), "{}", planned.stdout);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "everything is home");
    let _verified = rescue.verify().expect_code(0);
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "undo takes back what was written");
}

/// An entry about the children speaks for those that the backup has under that owner, and for those to whom `owner_from` gives it;
/// who came since is not looked at by the backup, and an owner by a path that is itself wrong while the plan is made is no proof.
#[test]
fn an_entry_speaks_only_for_rows_that_it_knows() {
    let backup =
        TestDb::with("across", &format!("{WORLD} delete from nameless; delete from slot; delete from line"));
    backup.psql("update invoice set tenant_id = 2 where id = 4");
    let dump = backup.dump(&["-Fc"]);
    let damage = "update account set tenant_id = 2; update invoice set tenant_id = 2; insert into invoice values (7, 2, 2)";
    let live = backup.copy("live");
    live.psql(damage);
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&format!("{}{}", entry("account"), entry("invoice"))).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    let found = rescue.verify().expect_code(1);
    assert!(found.stdout.contains("public.invoice (id = 7): its tenant_id is the one"), "{}", found.stdout);
    assert_eq!(found.stdout.matches("its tenant_id is the one").count(), 1, "{}", found.stdout);
    live.psql("update invoice set tenant_id = 1 where id = 7");
    let _verified = rescue.verify().expect_code(0);

    let live = backup.copy("live");
    live.psql(damage);
    let by_path = format!(
        "{}{}owner_from = \"select a.tenant_id from account a where a.id = invoice.account_id and invoice.id <> 6\"\n",
        entry("account"),
        entry("invoice")
    );
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&by_path).expect_code(1);
    assert!(
        planned.stdout.contains("owner_from of public.invoice may read public.account"),
        "{}",
        planned.stdout
    );
    let _applied = rescue.apply().expect_code(0);
    let found = rescue.verify().expect_code(1);
    let named = found.stdout.matches("its tenant_id is the one").count();
    assert_eq!(named, 3, "all but the one to whom nobody gives an owner: {}", found.stdout);
    // The accounts are home: now the path tells the truth, of which the case of the first recipe knows nothing.
    let again = Rescue::new(&live, &dump);
    let _planned = again.recover_text(&by_path).expect_code(1);
    let _applied = again.apply();
    let named = rescue.verify().stdout.matches("its tenant_id is the one").count();
    assert_eq!(named, 0, "all that anybody gives an owner is home");
    assert_eq!(
        live.value("select string_agg(tenant_id::text, '' order by id) from invoice"),
        live.value("select string_agg(case i.id when 6 then i.tenant_id else a.tenant_id end::text, '' order by i.id) from invoice i join account a on a.id = account_id")
    );
}

/// Somebody hangs an order elsewhere between plan and apply: it stays, and with it what would have gone home behind it. What hangs
/// by the owner itself on another one goes home with that alone.
#[test]
fn what_stays_between_two_keeps_what_hangs_on_it() {
    let world = "
        create table account (id int primary key, tenant_id int, unique (tenant_id, id));
        create table orders (id int primary key, account_id int references account, tenant_id int);
        create table item (id int primary key, order_id int references orders, tenant_id int, payer_id int,
            foreign key (tenant_id, payer_id) references account (tenant_id, id));
        insert into account select g, 1 from generate_series(1, 4) as g; insert into account values (9, 2);
        insert into orders select g, g, 1 from generate_series(1, 4) as g; insert into item select g, g, 1, 1 + g % 4 from generate_series(1, 4) as g;
        insert into item select 10 + g, g, 1, null from generate_series(1, 4) as g;";
    let backup = TestDb::with("across", world);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    live.psql(
        "alter table item drop constraint item_tenant_id_payer_id_fkey; update account set tenant_id = 2; update orders set tenant_id = 2; update item set tenant_id = 2;
         alter table item add constraint item_tenant_id_payer_id_fkey foreign key (tenant_id, payer_id) references account (tenant_id, id)",
    );
    truth.psql("update account set tenant_id = 2 where id = 9");
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let recipe = format!("{}where = \"tenant_id = 1\"\n", entry("account"));
    let _planned = rescue.recover_with(&recipe, &["--batch-rows", "1"]).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "everything is home");
    let _verified = rescue.verify().expect_code(0);
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "and taken back");

    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&recipe).expect_code(0);
    let since = "update orders set account_id = 9 where id = 2";
    live.psql(since);
    truth.psql(&format!(
        "{since}; update orders set tenant_id = 2 where id = 2; update item set tenant_id = 2 where id = 12"
    ));
    let _applied = rescue.apply().expect_code(1);
    truth.digest().assert_same(&live.digest(), "order 2 stays with its item; item 2 follows its payer");
}

/// An owner may be a bigint above and an int below: nothing is moved by guessing, and verify names what stayed.
#[test]
fn owners_of_other_types_are_named() {
    let world = "create table account (id int primary key, tenant_id bigint); create table invoice (id int primary key, account_id int references account, tenant_id int);
        insert into account values (1, 1), (2, 2); insert into invoice values (1, 1, 1), (2, 2, 2)";
    let backup = TestDb::with("across", world);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("update account set tenant_id = 2; update invoice set tenant_id = 2");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&entry("account")).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    let found = rescue.verify().expect_code(1);
    assert!(found.stdout.contains("public.invoice (id = 1): its tenant_id is the one"), "{}", found.stdout);
}

/// An entry for each table of the tenant: what ON UPDATE CASCADE brings home before the batch of its own comes is no trigger's work.
#[test]
fn what_a_cascade_brings_home_before_its_own_batch_stays_there() {
    let world = "
        create table account (id int primary key, tenant_id int not null, unique (tenant_id, id));
        create table orders (id int primary key, tenant_id int not null, account_id int references account);
        create table invoice (id int primary key, tenant_id int not null, account_id int not null,
            foreign key (tenant_id, account_id) references account (tenant_id, id) on update cascade);
        insert into account select g, 1 + g % 2 from generate_series(1, 4) as g;
        insert into orders select id * 10, tenant_id, id from account; insert into invoice select id * 10, tenant_id, id from account;";
    let backup = TestDb::with("across", world);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    live.psql("update account set tenant_id = 2 where tenant_id = 1; update orders set tenant_id = 2");
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&format!("{}{}", entry("account"), entry("invoice"))).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "everything is home");
    let _verified = rescue.verify().expect_code(0);
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "and taken back");
}

/// One batch a leading row: what hangs on two of them goes home with the first, whatever batch the other is in.
#[test]
fn what_hangs_on_rows_of_several_batches_goes_home_with_the_first() {
    let world = "
        create table account (id int primary key, tenant_id int);
        create table folder (id int primary key, account_id int references account, tenant_id int);
        create table file (id int primary key, account_id int references account, folder_id int references folder, tenant_id int);
        insert into account select g, 1 from generate_series(1, 9) as g; insert into folder select id, id, 1 from account;
        insert into file select id, id, 10 - id, 1 from account;";
    let backup = TestDb::with("across", world);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    live.psql(
        "update account set tenant_id = 2; update folder set tenant_id = 2; update file set tenant_id = 2",
    );
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_with(&entry("account"), &["--batch-rows", "1"]).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "everything is home");
    let _verified = rescue.verify().expect_code(0);
}

/// Live dropped the foreign key: rows hang by its columns all the same.
#[test]
fn a_reference_that_live_dropped_still_leads_home() {
    let backup = TestDb::with("across", &format!("{WORLD} delete from nameless"));
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    for db in [&live, &truth] {
        db.psql("alter table invoice drop constraint invoice_account_id_fkey");
    }
    live.psql("update account set tenant_id = 2; update slot set tenant_id = 2; update invoice set tenant_id = 2; update line set tenant_id = 2");
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&entry("account")).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "everything is home");
    let _verified = rescue.verify().expect_code(0);
    live.psql("insert into invoice values (7, 2, 2)");
    let found = rescue.verify().expect_code(1);
    assert!(found.stdout.contains("public.invoice (id = 7): its tenant_id is the one"), "{}", found.stdout);
    live.psql("delete from invoice where id = 7");
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "and taken back");
}

/// An entry that deletes speaks of rows that another brings home: these are no conflicts, and a row that differs in more is one.
#[test]
fn what_moves_along_is_no_conflict_of_another_entry() {
    let world = "
        create table tenant (id int primary key);
        create table account (id int primary key, tenant_id int references tenant on delete cascade, unique (tenant_id, id));
        create table seat (id int primary key, label text unique, tenant_id int, account_id int, foreign key (tenant_id, account_id) references account (tenant_id, id));
        insert into tenant values (1), (2); insert into account values (1, 1), (2, 1); insert into seat values (1, 'a', 1, 1), (2, 'b', 1, 2);";
    let backup = TestDb::with("across", world);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(
        "alter table seat drop constraint seat_tenant_id_account_id_fkey; update account set tenant_id = 2; update seat set tenant_id = 2; delete from tenant where id = 1;
         alter table seat add foreign key (tenant_id, account_id) references account (tenant_id, id)",
    );
    let recipe = format!("[[recover]]\ntable = \"tenant\"\nwhere = \"id = 1\"\n{}", entry("account"));
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&recipe).expect_code(0);
    assert!(planned.stdout.contains("no conflicts"), "{}", planned.stdout);
    let _applied = rescue.apply().expect_code(0);
    backup.digest().assert_same(&live.digest(), "everything is home");
    let _undone = rescue.undo().expect_code(0);
    live.psql("update seat set label = 'c' where id = 2");
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&recipe).expect_code(1);
    assert!(planned.stdout.contains("1 conflict kept as it is"), "{}", planned.stdout);
}
