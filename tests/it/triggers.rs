//! Triggers of live while rows come back, all of them at once: one touches, one counts, one gives numbers. The database ends
//! as if the accident had never happened, and undo ends where it was.

use super::support::{Rescue, TestDb};

const SHOP: &str = "
create table shops (id int primary key, name text not null, orders int not null default 0);
create table numbers (series text primary key, last int not null);
create table orders (id int primary key, shop_id int not null references shops, total int, changed_at timestamptz);
create table receipts (id int primary key, order_id int not null references orders on delete cascade, no int unique);
insert into shops select g, 'shop ' || g from generate_series(1, 4) as g;
insert into numbers values ('receipts', 700);
insert into orders select g, 1 + g % 4, g, '2026-01-01 00:00+00'::timestamptz + g * interval '1 hour' from generate_series(1, 60) as g;
insert into receipts select g, g, 700 - g from generate_series(1, 60) as g;
update shops as s set orders = (select count(*) from orders where shop_id = s.id);
create function touched() returns trigger language plpgsql as $$ begin new.changed_at = now(); return new; end $$;
create trigger touched before insert on orders for each row execute function touched();
create function counted() returns trigger language plpgsql as $$
begin
  if tg_op <> 'INSERT' then update shops set orders = orders - 1 where id = old.shop_id; end if;
  if tg_op <> 'DELETE' then update shops set orders = orders + 1 where id = new.shop_id; end if;
  return null;
end $$;
create trigger counted after insert or delete or update of shop_id on orders for each row execute function counted();
create function numbered() returns trigger language plpgsql as $$
begin
  update numbers set last = last + 1 where series = 'receipts' returning last into new.no;
  return new;
end $$;
create trigger numbered before insert on receipts for each row execute function numbered();";

/// What is not about the moment at which a trigger fired.
fn counts(live: &TestDb<'_>) -> String {
    live.value("select string_agg(orders::text, ' ' order by id) || ' and ' || (select last from numbers) from shops")
}

#[test]
fn counters_of_rows_that_survived_are_true_although_other_triggers_were_overruled() {
    let shop = TestDb::with("triggers", SHOP);
    let live = shop.copy("live");
    let dump = shop.dump(&["-Fc"]);
    live.psql("delete from orders where shop_id in (1, 2) and id > 8");
    let (lost, before) = (live.digest(), shop.digest());
    assert_eq!(
        (counts(&shop).as_str(), counts(&live).as_str()),
        ("15 15 15 15 and 700", "2 2 15 15 and 700")
    );
    for rows in ["1000", "3"] {
        let rescue = Rescue::new(&live, &dump);
        let recipe = "[[recover]]\ntable = \"orders\"\nwhere = \"shop_id in (1, 2) and id > 8\"\n";
        let planned = rescue.recover_with(recipe, &["--batch-rows", rows]).expect_code(0);
        for trigger in ["touched", "counted", "numbered"] {
            assert!(planned.stdout.contains(trigger), "{trigger} is told beforehand: {}", planned.stdout);
        }
        let _applied = rescue.apply().expect_code(0);
        before.assert_same(&live.digest(), "as if the accident had never happened");
        let _verified = rescue.verify().expect_code(0);
        let _nothing = rescue.apply().expect_code(0);
        before.assert_same(&live.digest(), "a second apply changes nothing");
        let _undone = rescue.undo().expect_code(0);
        lost.assert_same(&live.digest(), "undo gives back what was there");
    }
}

const RECIPE: &str = "[[recover]]\ntable = \"orders\"\nwhere = \"shop_id in (1, 2) and id > 8\"\n[policy]\n";

/// A backup of the shop, and the shop after orders were deleted. The first database owns the file.
fn lost() -> (TestDb<'static>, std::path::PathBuf, TestDb<'static>) {
    let shop = TestDb::with("triggers", SHOP);
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    live.psql("delete from orders where shop_id in (1, 2) and id > 8");
    (shop, dump, live)
}

#[test]
fn with_disable_and_replica_no_trigger_fires_and_all_are_awake_afterwards() {
    let (shop, dump, live) = lost();
    let damaged = live.digest();
    let wanted = shop.copy("wanted");
    // What was not counted down a second time is not counted up either.
    wanted.psql("update shops set orders = 2 where id in (1, 2)");
    let state = "select string_agg(tgname || tgenabled::text, ' ' order by tgname) from pg_trigger where not tgisinternal";
    let awake = live.value(state);
    for policy in ["disable", "replica"] {
        let rescue = Rescue::new(&live, &dump);
        let _planned = rescue.recover_text(&format!("{RECIPE}triggers = \"{policy}\"\n")).expect_code(0);
        let _applied = rescue.apply().expect_code(0);
        wanted.digest().assert_same(&live.digest(), policy);
        assert_eq!(live.value(state), awake, "{policy}");
        let _verified = rescue.verify().expect_code(0);
        let _nothing = rescue.apply().expect_code(0);
        wanted.digest().assert_same(&live.digest(), "a second apply changes nothing");
        let _undone = rescue.undo().expect_code(0);
        damaged.assert_same(&live.digest(), "undo gives back what was there");
    }
}

/// What sleeps is asked of live when a batch begins: younger triggers, those of partitions, and whoever is awake or not by now. Each
/// is as it was afterwards.
#[test]
fn with_disable_every_trigger_sleeps_and_is_as_it_was_afterwards() {
    let backup = TestDb::with(
        "asleep",
        "create table s (what text primary key, n int); insert into s values ('fired', 0);
         create function f() returns trigger language plpgsql as $$ begin update s set n = n + 1; return null; end $$;
         create table p (id int, part int, v text, primary key (id, part)) partition by list (part);
         create table p1 partition of p for values in (1); create table p2 partition of p for values in (2) partition by range (id);
         create table \"p 2.1\" partition of p2 for values from (0) to (100);
         create trigger clone after insert or delete on p for each row execute function f();
         create trigger own after insert or delete on p1 for each row execute function f();
         create trigger replica after insert on p1 for each row execute function f();
         create trigger sleeper before insert on p1 for each row execute function f();
         alter table p1 disable trigger sleeper; alter table p1 disable trigger clone; alter table p1 enable replica trigger replica;
         alter table p2 enable always trigger clone;
         insert into p select g, 1 + g % 2, 'v' || g from generate_series(1, 20) as g; update s set n = 0",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from p; update s set n = 0");
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"p\"\nwhere = \"true\"\n[policy]\ntriggers = \"disable\"\n";
    let _planned = rescue.recover_with(recipe, &[]).expect_code(0);
    live.psql(
        "create trigger \"Younger\" after insert or delete on p for each row execute function f();
         create trigger \"young 2\" after insert or delete on \"p 2.1\" for each row execute function f();
         alter table p1 enable always trigger own; alter table \"p 2.1\" disable trigger \"Younger\"",
    );
    let state = "select string_agg(tgrelid::regclass || ' ' || tgname || ' ' || tgenabled::text, ', ' order by tgrelid::regclass::text, tgname) \
                 from pg_trigger where not tgisinternal";
    let (damaged, awake) = (live.digest(), live.value(state));
    let _applied = rescue.apply().expect_code(0);
    backup.digest().assert_same(&live.digest(), "nothing fired");
    assert_eq!(live.value(state), awake);
    live.psql("alter table p disable trigger clone; alter table p1 enable trigger sleeper");
    let awake = live.value(state);
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "nothing fired");
    assert_eq!(live.value(state), awake);
}

#[test]
fn with_replica_foreign_keys_are_checked_all_the_same() {
    let (_shop, dump, live) = lost();
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&format!("{RECIPE}triggers = \"replica\"\n")).expect_code(0);
    live.psql("delete from orders where shop_id = 1; delete from shops where id = 1");
    let before = live.digest();
    let refused = rescue.apply().expect_code(5);
    assert!(
        refused.stderr.contains("a recovered row of public.orders has no parent in public.shops"),
        "{}",
        refused.stderr
    );
    before.assert_same(&live.digest(), "nothing hangs in the air");
    // The twin: with its parents there, the same plan is written.
    live.psql("insert into shops values (1, 'shop 1', 0)");
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.value("select count(*) from orders where shop_id in (1, 2) and id > 8"), "26");
}

#[test]
fn rows_that_triggers_change_swallow_or_refuse_are_told_one_by_one() {
    let (shop, dump, live) = lost();
    live.psql(
        "create function moody() returns trigger language plpgsql as $$
         begin
           if new.id = 20 then return null; end if;
           if new.id = 21 then raise exception 'not this one'; end if;
           if tg_op = 'UPDATE' and new.id = 24 then new.total = -1; end if;
           if new.id = 24 then new.total = -1; end if;
           return new;
         end $$;
         create trigger zz_moody before insert or update on orders for each row execute function moody();",
    );
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(RECIPE).expect_code(0);
    let applied = rescue.apply().expect_code(1);
    for (row, why) in [
        ("public.orders (id = 20)", ""),
        ("public.orders (id = 21)", "not this one"),
        ("public.orders (id = 24)", ""),
    ] {
        let told = applied.stdout.lines().find(|line| line.contains(row));
        assert!(told.is_some_and(|line| line.contains(why)), "{row}: {}", applied.stdout);
    }
    let there = "select count(*) from orders";
    assert_eq!(live.value(there), "58", "the others are back");
    assert_eq!(shop.value(there), "60");
    assert_eq!(live.value("select count(*) from receipts"), "58", "what hung on the two is not in the air");
    let verified = rescue.verify().expect_code(1);
    assert!(verified.stdout.contains("id = 24"), "{}", verified.stdout);
}

#[test]
fn rows_that_need_each_other_and_count_each_other_come_back_as_they_were() {
    // Teams count their players; a team needs its captain, so both are written in one statement. A trigger of the statement touches.
    let club = TestDb::with(
        "club",
        "create table teams (id int primary key, captain int not null, players int not null default 0, moved int not null default 0);
         create table players (id int primary key, team int not null references teams on delete cascade);
         insert into teams select g, g * 10 from generate_series(1, 6) as g;
         insert into players select t * 10 + n, t from generate_series(1, 6) as t, generate_series(0, 3) as n;
         alter table teams add foreign key (captain) references players on delete cascade;
         update teams as t set players = (select count(*) from players where team = t.id);
         create function counted() returns trigger language plpgsql as $$
         begin
           if tg_op <> 'INSERT' then update teams set players = players - 1 where id = old.team; end if;
           if tg_op <> 'DELETE' then update teams set players = players + 1 where id = new.team; end if;
           return null;
         end $$;
         create trigger counted after insert or delete on players for each row execute function counted();
         create function touched() returns trigger language plpgsql as $$
         begin update teams set moved = moved + 1 where id in (select id from born); return null; end $$;
         create trigger touched after insert on teams referencing new table as born for each statement execute function touched();",
    );
    let live = club.copy("live");
    live.psql("delete from teams where id in (2, 3, 5)");
    let damaged = live.digest();
    for rows in ["1000", "1"] {
        let rescue = Rescue::new(&live, &club.dump(&["-Fc"]));
        let recipe = "[[recover]]\ntable = \"teams\"\nwhere = \"id in (2, 3, 5)\"\n";
        let _planned = rescue.recover_with(recipe, &["--batch-rows", rows]).expect_code(0);
        let _applied = rescue.apply().expect_code(0);
        club.digest().assert_same(&live.digest(), "as if nothing had happened");
        let _verified = rescue.verify().expect_code(0);
        let _undone = rescue.undo().expect_code(0);
        damaged.assert_same(&live.digest(), "undo gives back what was there");
    }
}

#[test]
fn a_counter_that_is_set_right_is_not_counted_up_as_well() {
    let shop = TestDb::with("triggers", SHOP);
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    let hit = "delete from orders where shop_id in (1, 2) and id > 8;";
    live.psql(hit);
    let damaged = live.digest();
    let (orders, shops) = ("table = \"orders\"", "table = \"shops\"\nkind = \"corrupted\"");
    let recipe =
        format!("[[recover]]\n{orders}\nreplay = \"{hit}\"\n[[recover]]\n{shops}\nreplay = \"{hit}\"\n");
    for rows in ["1000", "2"] {
        let rescue = Rescue::new(&live, &dump);
        let _planned = rescue.recover_with(&recipe, &["--batch-rows", rows]).expect_code(0);
        let _applied = rescue.apply().expect_code(0);
        shop.digest().assert_same(&live.digest(), "as if the accident had never happened");
        let _verified = rescue.verify().expect_code(0);
        let _nothing = rescue.apply().expect_code(0);
        shop.digest().assert_same(&live.digest(), "a second apply changes nothing");
        let _undone = rescue.undo().expect_code(0);
        damaged.assert_same(&live.digest(), "undo gives back what was there");
    }
}

#[test]
fn what_triggers_moved_does_not_depend_on_the_time_zone_of_live() {
    let shop = TestDb::with(
        "zone",
        "create table shops (id int primary key, opened timestamptz not null, orders int not null default 0);
         create table orders (id int primary key, shop int not null references shops);
         create function counted() returns trigger language plpgsql as $$
         begin
           if tg_op = 'DELETE' then update shops set orders = orders - 1 where id = old.shop; return old; end if;
           update shops set orders = orders + 1 where id = new.shop; return new;
         end $$;
         create trigger counted after insert or delete on orders for each row execute function counted();
         insert into shops select g, timestamptz '2026-01-01 00:00+00' + g * interval '1 hour' from generate_series(1, 3) g;
         insert into orders select g, 1 + g % 3 from generate_series(1, 9) g;",
    );
    let dump = shop.dump(&["-Fc"]);
    let told = |zone: &str| {
        let live = shop.copy("live");
        live.psql(&format!("alter database \"{}\" set timezone = '{zone}'", live.name()));
        live.psql("alter table orders disable trigger counted; delete from orders where id > 4; alter table orders enable trigger counted");
        let rescue = Rescue::new(&live, &dump);
        let _planned =
            rescue.recover_text("[[recover]]\ntable = \"orders\"\nwhere = \"id > 4\"\n").expect_code(0);
        let applied = rescue.apply();
        let notes: Vec<&str> = applied
            .stdout
            .lines()
            .chain(applied.stderr.lines())
            .filter(|line| line.contains("triggers moved"))
            .collect();
        let undone = rescue.undo();
        (
            notes.join("\n"),
            undone.code,
            live.value("select string_agg(orders::text, ' ' order by id) from shops"),
        )
    };
    let utc = told("UTC");
    assert!(utc.0.contains("triggers moved orders of 3 rows in public.shops"), "{utc:?}");
    assert_eq!(told("Asia/Kolkata"), utc);
}
