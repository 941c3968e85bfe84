//! Rows that hang on misrouted ones and have an owner in a column of their own, beside a foreign key without it: whether they are
//! misrouted as well only an entry about them can say. They stay, and nothing says that all is well.

use super::support::{Rescue, TestDb};

/// The owner of a slot is of its key, and a nameless row has none.
const WORLD: &str = "
    create table account (id int primary key, tenant_id int not null);
    create table slot (tenant_id int, no int, account_id int references account, primary key (tenant_id, no));
    create table nameless (account_id int references account, tenant_id int);
    create table invoice (id int primary key, account_id int references account, tenant_id int);
    insert into account select g, 1 + g % 2 from generate_series(1, 6) as g;
    insert into slot select tenant_id, id, id from account; insert into nameless select id, tenant_id from account;
    insert into invoice select id, id, tenant_id from account;";

fn entry(table: &str) -> String {
    format!(
        "[[recover]]\ntable = \"{table}\"\nkind = \"misrouted\"\nowner = \"tenant_id\"\ndamaged = \"live.tenant_id = 2\"\n"
    )
}

#[test]
fn verify_names_what_still_has_the_wrong_owner() {
    let backup = TestDb::with("across", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(
        "update account set tenant_id = 2; update slot set tenant_id = 2 where no = 2;
         update nameless set tenant_id = 2 where account_id = 4; update invoice set tenant_id = 2 where id = 6",
    );
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&entry("account")).expect_code(0);
    for table in ["slot", "nameless", "invoice"] {
        let note = format!(
            "rows of public.{table} that hang on misrouted rows of public.account by {table}_account_id_fkey have a tenant_id of their own"
        );
        assert!(planned.stdout.contains(&note), "{note}: {}", planned.stdout);
    }
    assert!(
        planned.stdout.contains("rows of public.account that came after the backup"),
        "{}",
        planned.stdout
    );
    // While the account is not home, what hangs on it is no more wrong than it.
    let early = rescue.verify().expect_code(1);
    assert!(!early.stdout.contains("which was set right"), "{}", early.stdout);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.value("select string_agg(tenant_id::text, '' order by id) from account"), "212121");
    let found = rescue.verify().expect_code(1);
    for (line, is_there) in [
        (
            "public.slot (no = 2, tenant_id = 2): its tenant_id is the one that its parent by slot_account_id_fkey had",
            true,
        ),
        ("public.nameless (): its tenant_id is the one that its parent", true),
        ("public.invoice (id = 6): its tenant_id is the one", true),
        ("public.invoice (id = 5)", false),
        ("public.invoice (id = 4)", false),
        ("public.slot (no = 4", false),
    ] {
        assert_eq!(found.stdout.contains(line), is_there, "{line}: {}", found.stdout);
    }
    assert!(
        found.stdout.contains("Everything that was planned is in live; rows that hang on it"),
        "{}",
        found.stdout
    );
    live.psql("update account set tenant_id = 3 where id = 2");
    let found = rescue.verify().expect_code(1);
    assert!(found.stdout.contains("NOT verified: not everything that was planned"), "{}", found.stdout);
    live.psql("update account set tenant_id = 1 where id = 2");
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "undo takes back what was written");
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
