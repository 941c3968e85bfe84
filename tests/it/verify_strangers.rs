//! `verify` and rows whose key lost the owner that went wrong: a colleague's row under the target key is not the repaired one.

use super::support::{Rescue, TestDb};

const SHOP: &str = "
    create table invoices (tenant_id int not null, id int, no text, amount numeric, primary key (tenant_id, id));
    insert into invoices select t, t * 100 + i, 'N' || (t * 100 + i), i from generate_series(1, 3) t, generate_series(1, 6) i;";

const RECIPE: &str = "[[recover]]\ntable = \"invoices\"\nkind = \"misrouted\"\nowner = \"tenant_id\"\nwhere = \"tenant_id = 2\"\n\
    damaged = \"live.tenant_id = 3\"\n";

fn scene<'db>(live: &'db TestDb<'db>) -> Rescue<'db> {
    let rescue = Rescue::new(live, &live.dump(&["-Fc"]));
    live.psql("update invoices set tenant_id = 3 where id = 203");
    let _planned = rescue.recover_text(RECIPE).expect_code(0);
    rescue
}

#[test]
fn a_row_that_is_still_under_the_wrong_owner_is_not_verified_by_a_stranger() {
    let live = TestDb::with("stranger", SHOP);
    let rescue = scene(&live);
    live.psql("insert into invoices values (2, 203, 'someone else', 1)");
    let _applied = rescue.apply().expect_code(1);
    let verified = rescue.verify().expect_code(1);
    assert!(
        verified.stdout.contains("public.invoices (id = 203): live differs in tenant_id"),
        "{}",
        verified.stdout
    );
    // Nor when the row has gone since.
    live.psql("delete from invoices where tenant_id = 3 and id = 203");
    let verified = rescue.verify().expect_code(1);
    assert!(verified.stdout.contains("nothing tells that it is this one"), "{}", verified.stdout);
}

#[test]
fn a_row_that_went_home_is_verified_beside_others_of_its_number() {
    let live = TestDb::with("stranger_not", SHOP);
    let rescue = scene(&live);
    let _applied = rescue.apply().expect_code(0);
    live.psql("insert into invoices values (1, 203, 'someone else', 1)");
    let _verified = rescue.verify().expect_code(0);
    live.psql("update invoices set tenant_id = 3 where tenant_id = 2 and id = 203");
    let _verified = rescue.verify().expect_code(1);
}
