//! `verify`: what it finds in live, over one connection or several; rows whose key lost the owner that went wrong, where a
//! colleague's row under the target key is not the repaired one.

use serde_json::{Value, json};

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

/// More rows than one connection is asked for alone. That an item has its crate, only the recipe says.
const DEPOT: &str = "
    create table crates (id int primary key);
    create table items (id int primary key, crate int not null, label text);
    insert into crates select g from generate_series(1, 50) as g;
    insert into items select g, g % 50 + 1, E'it\\'s \\\\ \"' || g from generate_series(1, 12000) as g;";

const DEPOT_RECIPE: &str = "[[recover]]\ntable = \"items\"\nwhere = \"true\"\n\
    [[foreign_key]]\nfrom = \"items(crate)\"\nto = \"crates(id)\"\n";

#[test]
fn one_connection_or_many_find_the_same() {
    let live = TestDb::with("depot", DEPOT);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from items");
    let _planned = rescue.recover_text(DEPOT_RECIPE).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    let verify = |jobs: &str, code: i32| -> Value {
        let (case, url) = (rescue.case().display().to_string(), live.url());
        let args = ["verify", &case, "--live", &url, "--jobs", jobs];
        let _said = rescue.rowback().run(args).expect_code(code);
        let text = std::fs::read_to_string(rescue.case().join("certificate.json")).unwrap();
        let mut certificate: Value = serde_json::from_str(&text).unwrap();
        certificate["at"] = Value::Null;
        certificate
    };
    let sound = verify("1", 0);
    assert_eq!(sound["foreign_keys"][0]["rows"], json!(12000));
    assert_eq!(sound["mismatches"], json!([]));
    assert_eq!(verify("3", 0), sound);
    // In the first chunk and in the last, and in between a row that is gone; crate 7 goes with nobody looking.
    live.psql(
        "update items set label = 'x' where id in (1, 12000); delete from items where id = 6000; delete from crates where id = 7",
    );
    let broken = verify("1", 1);
    assert_eq!(verify("3", 1), broken);
    let problems = broken["mismatches"].as_array().unwrap();
    let keys = |problem: &str| -> Vec<&str> {
        let named = problems
            .iter()
            .filter(|found| found["problem"]["problem"] == problem || found["problem"] == problem);
        named.map(|found| found["key"]["id"].as_str().unwrap()).collect()
    };
    assert_eq!(keys("differs"), ["1", "12000"], "{:?}", &problems[..3]);
    assert_eq!(keys("missing"), ["6000"]);
    assert_eq!(keys("orphan").len(), 240);
    assert_eq!(broken["foreign_keys"][0]["orphans"], json!(240));
    assert_eq!(problems.len(), 243);
}

/// A database made again under the old name is another one, and one that was renamed is not: both are named with what tells them.
#[test]
fn a_database_made_anew_or_renamed_is_told_by_more_than_its_name() {
    let live = TestDb::with("identity", SHOP);
    let rescue = scene(&live);
    let _applied = rescue.apply().expect_code(0);
    let (name, renamed) = (live.name(), format!("{}_renamed", live.name()));
    let oid =
        || live.server().psql("postgres", &format!("select oid from pg_database where datname = '{name}'"));
    let (first, admin) = (oid(), |sql: &str| live.server().psql("postgres", sql));
    admin(&format!("alter database {name} rename to {renamed}"));
    let url = live.server().url(&renamed);
    let refused = rescue.rowback().run(["verify", "case", "--live", &url]).expect_code(4).stderr;
    let way = format!("alter database \"{renamed}\" rename to \"{name}\"");
    assert!(refused.contains("error[verify-other-database]") && refused.contains(&way), "{refused}");
    let refused =
        rescue.rowback().run(["undo", "case", "--live", &url, "--confirm", &renamed]).expect_code(4).stderr;
    assert!(refused.contains("error[plan-foreign]") && refused.contains(&way), "{refused}");
    admin(&format!("create database {name} template {renamed}"));
    let refused = rescue.verify().expect_code(4).stderr;
    for (word, oid) in [("planned for", first), ("connected to", oid())] {
        assert!(refused.contains(&format!("{word} \"{name}\" (oid {}, system", oid.trim())), "{refused}");
    }
    assert!(refused.contains("Connect to the database that the plan was made for"), "{refused}");
    admin(&format!("drop database {renamed}"));
}
