//! Rows that go back to another tenant's table while others work on: between plan and apply, while apply waits, before undo.

use super::misrouted_schema::{accident, recipe, town};
use super::support::{Colleague, TestDb, wait_until_rowback_waits};

#[test]
fn what_happens_between_plan_and_apply_keeps_rows_where_they_are() {
    let town = town(&accident(), "select");
    let rescue = town.rescue();
    let _planned = rescue.recover_text(&recipe("")).expect_code(0);
    let since = "update tenant_b.orders set note = 'since' where id = 101;
        insert into tenant_b.order_items values (102, 9, 1, 1);
        update tenant_b.order_items set qty = 99 where order_id = 103 and line = 1;
        insert into tenant_a.orders (id, customer_id, code, state) values (104, 1, 'mine', 'open');
        insert into tenant_a.orders (id, customer_id, code, state) values (705, 1, 'N105', 'open');
        create table tenant_b.fresh (order_id int references tenant_b.orders on delete cascade);
        insert into tenant_b.fresh values (106);
        delete from tenant_b.parcels where order_id = 103; delete from tenant_b.item_marks where order_id = 107;";
    town.live.psql(since);
    let kept = |live: &TestDb<'_>| {
        live.value("select string_agg(id::text, ',' order by id) from tenant_b.orders where id < 1000")
    };
    let applied = rescue.apply().expect_code(1);
    assert_eq!(kept(&town.live), "101,102,103,104,105,106", "{}", applied.stdout);
    for wanted in [
        "tenant_a.orders (id = 101): live holds other values, left alone",
        "tenant_a.orders (id = 102): not moved: a row that goes with it or hangs on it cannot",
        "tenant_a.order_items (line = 1, order_id = 103): live holds other values",
        "tenant_a.orders (id = 104): live holds other values",
        "tenant_a.orders (id = 105): live refused it",
        "tenant_a.orders (id = 106): not moved",
    ] {
        let all = rescue
            .rowback()
            .run(["apply", "case", "--json", "--live", &town.live.url(), "--confirm", town.live.name()])
            .stdout;
        let text = format!("{}{}", applied.stdout, rescue.rowback().run(["report", "case"]).stdout);
        assert!(text.contains(wanted), "{wanted}\n{text}\n{all}");
    }
    assert_eq!(town.live.value("select (select count(*) from tenant_b.order_items where order_id = 102) || ' ' || (select count(*) from tenant_b.fresh)"), "3 1");
    let _verified = rescue.verify().expect_code(1);
    let _undone = rescue.undo();
    assert_eq!(town.live.value("select count(*) from tenant_a.orders where id between 100 and 140"), "1");
    assert_eq!(town.live.value("select count(*) from tenant_b.orders where id < 1000"), "41");
}

#[test]
fn a_colleague_who_is_at_it_while_apply_waits_is_seen() {
    let town = town(&accident(), "select");
    let rescue = town.rescue();
    let _planned = rescue.recover_text(&recipe("")).expect_code(0);
    let colleague = Colleague::begins(
        &town.live,
        "insert into tenant_b.order_items values (111, 5, 1, 1); update tenant_b.orders set total = 1 where id = 112",
    );
    let applying =
        rescue.rowback().start(["apply", "case", "--live", &town.live.url(), "--confirm", town.live.name()]);
    wait_until_rowback_waits(&town.live);
    colleague.commits();
    let _applied = applying.wait().expect_code(1);
    assert_eq!(
        town.live.value("select string_agg(id::text, ',' order by id) from tenant_b.orders where id < 1000"),
        "111,112"
    );
    assert_eq!(town.live.value("select count(*) from tenant_b.order_items where order_id = 111"), "3");
    assert_eq!(town.live.value("select count(*) from tenant_a.orders where id in (111, 112)"), "0");
}

#[test]
fn a_trigger_that_says_no_keeps_its_row_and_no_other() {
    let town = town(
        &format!(
            "{} create function no() returns trigger language plpgsql as $$ begin
                if tg_op = 'DELETE' then if old.id = 131 then return null; end if; return old; end if;
                if new.id = 132 then raise exception 'not 132'; end if; new.note := 'touched'; return new; end $$;
            create trigger no before delete on tenant_b.orders for each row execute function no();
            create trigger no before insert on tenant_a.orders for each row execute function no();",
            accident()
        ),
        "select",
    );
    let rescue = town.rescue();
    let planned = rescue.recover_text(&recipe("")).expect_code(0);
    assert!(planned.stdout.contains("tenant_b.orders: no"), "{}", planned.stdout);
    let applied = rescue.apply().expect_code(1);
    assert_eq!(
        town.live.value("select string_agg(id::text, ',' order by id) from tenant_b.orders where id < 1000"),
        "131,132",
        "{}",
        applied.stdout
    );
    assert!(
        applied.stdout.contains("not 132") && applied.stdout.contains("a trigger stands in the way"),
        "{}",
        applied.stdout
    );
    assert_eq!(
        town.live.value("select count(*) from tenant_a.orders where note = 'touched'"),
        "0",
        "values are settled"
    );
}

#[test]
fn undo_leaves_what_somebody_worked_on_since() {
    let town = town(&accident(), "select");
    let rescue = town.rescue();
    let _planned = rescue.recover_text(&recipe("")).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    town.live.psql(
        "update tenant_a.order_items set qty = 5 where order_id = 101 and line = 1;
        insert into tenant_a.parcels values (990, 102, 'new');
        insert into tenant_b.orders (id, customer_id, code, state) values (103, 1, 'new', 'open');",
    );
    let undone = rescue.undo().expect_code(1);
    assert_eq!(
        town.live.value(
            "select string_agg(id::text, ',' order by id) from tenant_a.orders where id between 100 and 140"
        ),
        "101,102,103",
        "{}",
        undone.stdout
    );
    assert_eq!(town.live.value("select count(*) from tenant_b.orders where id < 1000"), "39");
    assert!(
        undone.stdout.contains("tenant_b.orders has a row of its key")
            && undone.stdout.contains("goes with a row that stays"),
        "{}",
        undone.stdout
    );
}
