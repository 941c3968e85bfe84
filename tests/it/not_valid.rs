//! Constraints that are NOT VALID: rows of the backup may break them, and live may refuse those rows.

use super::support::{Rescue, TestDb};

const OLD: &str = "
create table clients (id int primary key);
create table orders (id int primary key, client int, amount int);
insert into clients select generate_series(1, 3);
insert into orders values (1, 1, 10), (2, 9, 10), (3, 2, -5), (4, 3, 10);
alter table orders add constraint orders_client foreign key (client) references clients not valid;
alter table orders add constraint positive check (amount > 0) not valid;";

#[test]
fn a_row_whose_parent_the_backup_never_had_is_an_orphan_whatever_stands_beside_it() {
    let live = TestDb::with("not_valid", OLD);
    let dump = live.dump(&["-Fc"]);
    live.psql("delete from orders where id in (1, 2)");
    for (wanted, rows) in [("id = 2", 0), ("id in (1, 2)", 1)] {
        let rescue = Rescue::new(&live, &dump);
        let recipe = format!("[[recover]]\ntable = \"orders\"\nwhere = \"{wanted}\"\n");
        let planned = rescue.recover_with(&recipe, &["--json"]).expect_code(1).json();
        assert_eq!(
            (&planned["insert"], &planned["conflicts"]),
            (&rows.into(), &1.into()),
            "{wanted}: {planned}"
        );
        let shown = rescue.rowback().run(["report", "case"]);
        assert!(shown.stdout.contains("orphan"), "{}", shown.stdout);
    }
}

#[test]
fn a_check_that_old_rows_break_does_not_keep_them_out_of_scratch() {
    let live = TestDb::with("not_valid", OLD);
    let dump = live.dump(&["-Fc"]);
    live.psql("delete from orders where id = 4");
    // Not decidable on the text, so every row gets into scratch; and by a replay, which needs them all.
    for how in ["where = \"id + 0 = 4\"", "replay = \"delete from orders where id = 4\""] {
        let rescue = Rescue::new(&live, &dump);
        let recipe = format!("[[recover]]\ntable = \"orders\"\n{how}\n");
        let planned = rescue.recover_with(&recipe, &["--json"]).expect_code(0).json();
        assert_eq!(planned["insert"], 1, "{how}: {planned}");
    }
    // Live itself takes no such row any more, and that is told.
    live.psql("delete from orders where id = 3");
    let rescue = Rescue::new(&live, &dump);
    let refused =
        rescue.recover_text("[[recover]]\ntable = \"orders\"\nwhere = \"id in (3, 4)\"\n").expect_code(1);
    assert!(refused.stdout.contains("unfit"), "{}", refused.stdout);
    let _applied = rescue.apply().expect_code(0);
    let _verified = rescue.verify().expect_code(1);
    assert_eq!(live.value("select string_agg(id::text, ',' order by id) from orders"), "1,2,4");
}

#[test]
fn a_row_that_no_server_kept_from_dangling_is_no_complaint_of_verify() {
    let live = TestDb::with(
        "dangling",
        "create table clients (id int primary key); create table calls (id int primary key, client int);
         insert into clients values (1), (2); insert into calls values (1, 1), (2, 2), (3, 99), (4, 98), (5, null);",
    );
    let dump = live.dump(&["-Fc"]);
    let before = live.digest();
    live.psql("delete from calls");
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"calls\"\nwhere = \"true\"\n[[foreign_key]]\nfrom = \"calls(client)\"\nto = \"clients(id)\"\n";
    let planned = rescue.recover_text(recipe).expect_code(0);
    let told = "rows of public.calls refer by public.calls(client) -> public.clients(id) to rows of public.clients that the backup does not have";
    assert!(planned.stdout.contains(told), "{}", planned.stdout);
    let _applied = rescue.apply().expect_code(0);
    before.assert_same(&live.digest(), "after the recovery");
    let verified = rescue.verify().expect_code(0);
    assert!(verified.stdout.contains("2 rows of public.calls refer"), "{}", verified.stdout);
    let certificate = std::fs::read_to_string(rescue.case().join("certificate.json")).unwrap();
    let certificate: serde_json::Value = serde_json::from_str(&certificate).unwrap();
    assert_eq!(certificate["foreign_keys"][0]["orphans"], 0, "{certificate}");
    // A parent that was there and is gone is another matter.
    live.psql("delete from clients where id = 2");
    let complained = rescue.verify().expect_code(1);
    let complaint =
        "public.calls (id = 2): its parent by public.calls(client) -> public.clients(id) is not in live";
    assert!(complained.stdout.contains(complaint), "{}", complained.stdout);
    assert!(!complained.stdout.contains("(id = 3)"), "{}", complained.stdout);
}
