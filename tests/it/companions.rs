//! Rows that live's triggers make while their parents come back: a wallet under the same key, settings under a key of their
//! own, a line of a log behind each. What was lost comes back in their place, and what somebody else did to them stays.

use std::time::Duration;

use super::support::{Colleague, Digest, Rescue, TestDb, wait_until};

const SHOP: &str = "
create table banks (id int primary key, total int not null default 0, wallets int not null default 0);
create table customers (id int primary key, name text not null, worth int not null default 0);
create table wallets (customer_id int primary key references customers on delete cascade, balance int not null default 0,
  updated_at timestamptz not null default now());
create table wallet_log (id serial primary key, wallet_id int not null unique references wallets on delete cascade, what text not null);
create table settings (id serial primary key, customer_id int not null references customers on delete cascade, theme text not null default 'light');
create unique index on settings (lower(customer_id::text)) where theme <> 'gone';
create table settings_log (id serial primary key, settings_id int not null references settings on delete cascade, what text not null);
create unique index on settings_log (settings_id) include (what);
create function welcome() returns trigger language plpgsql as $$
begin
  insert into wallets (customer_id) values (new.id);
  begin
    insert into settings (customer_id) values (new.id);
  exception when unique_violation then null;
  end;
  return null;
end $$;
create trigger welcome after insert on customers for each row execute function welcome();
create function opened() returns trigger language plpgsql as $$
begin insert into wallet_log (wallet_id, what) values (new.customer_id, 'opened'); return null; end $$;
create trigger opened after insert on wallets for each row execute function opened();
create function chosen() returns trigger language plpgsql as $$
begin insert into settings_log (settings_id, what) values (new.id, 'chosen'); return null; end $$;
create trigger chosen after insert on settings for each row execute function chosen();
create function touched() returns trigger language plpgsql as $$ begin new.updated_at = clock_timestamp(); return new; end $$;
create trigger touched before update on wallets for each row execute function touched();
create function counted() returns trigger language plpgsql as $$
begin
  if tg_op <> 'INSERT' then update banks set total = total - old.balance, wallets = wallets - 1;
    update customers set worth = worth - old.balance where id = old.customer_id; end if;
  if tg_op <> 'DELETE' then update banks set total = total + new.balance, wallets = wallets + 1;
    update customers set worth = worth + new.balance where id = new.customer_id; end if;
  return null;
end $$;
create trigger counted after insert or update or delete on wallets for each row execute function counted();
insert into banks values (1);
insert into customers (id, name) select g, 'c' || g from generate_series(1, 12) as g;
update wallets set balance = 7 * customer_id where customer_id % 3 <> 0;
update wallet_log set what = 'opened by ' || wallet_id where wallet_id % 2 = 0;
update settings set theme = 'dark' where customer_id % 2 = 0;
update settings_log set what = 'chosen by hand' where settings_id % 4 = 0;";

const ACCIDENT: &str = "delete from customers where id between 3 and 8";

const RECIPE: &str = "[[recover]]\ntable = \"customers\"\nwhere = \"id between 3 and 8\"\n";

/// The shop before the accident and after it. The first database owns the dump.
fn lost() -> (TestDb<'static>, std::path::PathBuf, TestDb<'static>) {
    let shop = TestDb::with("companions", SHOP);
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    live.psql(ACCIDENT);
    (shop, dump, live)
}

/// A plan whose batches have this many rows.
fn planned<'db>(live: &'db TestDb<'db>, dump: &std::path::Path, rows: &str) -> Rescue<'db> {
    let rescue = Rescue::new(live, dump);
    let _planned = rescue.recover_with(RECIPE, &["--batch-rows", rows]).expect_code(0);
    rescue
}

/// Apply, verify, apply, undo, each held against the whole database.
fn there_and_back(rescue: &Rescue<'_>, live: &TestDb<'_>, wanted: &Digest) {
    let damaged = live.digest();
    let trial = rescue.rowback().run([
        "apply",
        "case",
        "--live",
        &live.url(),
        "--confirm",
        live.name(),
        "--dry-run",
        "--json",
    ]);
    let trial = trial.expect_code(0).json();
    damaged.assert_same(&live.digest(), "a dry run leaves nothing behind");
    let applied =
        rescue.rowback().run(["apply", "case", "--live", &live.url(), "--confirm", live.name(), "--json"]);
    let applied = applied.expect_code(0).json();
    wanted.assert_same(&live.digest(), "as if the accident had never happened");
    assert_eq!(applied["inserted"], 30, "every lost row is counted: {applied}");
    assert_eq!(applied["leftovers"], serde_json::json!([]));
    for field in ["inserted", "updated", "tables", "leftovers"] {
        assert_eq!(trial[field], applied[field], "the dry run said so: {field}");
    }
    let _verified = rescue.verify().expect_code(0);
    let _nothing = rescue.apply().expect_code(0);
    wanted.assert_same(&live.digest(), "a second apply changes nothing");
    let undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo gives back what was there");
    assert!(!undone.stdout.contains("left alone"), "{undone:?}");
}

#[test]
fn what_triggers_made_in_the_place_of_lost_rows_becomes_these() {
    let (shop, dump, live) = lost();
    for rows in ["1000", "2", "1"] {
        there_and_back(&planned(&live, &dump, rows), &live, &shop.digest());
    }
}

#[test]
fn without_updates_that_touch_a_row_under_the_same_key_is_only_updated() {
    // Nothing hangs on a wallet that goes, and nothing fires for one that goes: what is counted up once stays so.
    let (shop, dump, live) = lost();
    live.psql("drop trigger touched on wallets; create table goings (id serial primary key, wallet int);
      create function went() returns trigger language plpgsql as $$ begin insert into goings (wallet) values (old.customer_id); return null; end $$;
      create trigger went after delete on wallets for each row execute function went()");
    let damaged = live.digest().without(&["public.goings"]);
    let rescue = planned(&live, &dump, "3");
    let _applied = rescue.apply().expect_code(0);
    shop.digest().assert_same(&live.digest().without(&["public.goings"]), "all of it is back");
    assert_eq!(live.value("select count(*) from goings"), "0", "no wallet had to go");
    let undone = rescue.undo().expect_code(1);
    assert!(undone.stdout.contains("public.goings: 6 rows made by triggers: (id = 1), "), "{undone:?}");
    damaged.assert_same(&live.digest().without(&["public.goings"]), "undo takes them all back");
    assert_eq!(live.value("select count(*) from goings"), "6");
}

/// Stops apply behind the customers: whoever writes the others by himself is refused, triggers are not.
const FREEZE: &str = "
create function frozen() returns trigger language plpgsql as $$ begin raise exception 'frozen'; end $$;
create trigger a_freeze before insert or update or delete on wallets for each row when (pg_trigger_depth() < 1) execute function frozen();
create trigger a_freeze before insert or update or delete on settings for each row when (pg_trigger_depth() < 1) execute function frozen();";

const THAW: &str =
    "drop trigger a_freeze on wallets; drop trigger a_freeze on settings; drop function frozen()";

/// A run that stops when customers and what their triggers make are committed, and nothing else is.
fn stopped_behind_customers<'db>(live: &'db TestDb<'db>, dump: &std::path::Path) -> Rescue<'db> {
    let rescue = planned(live, dump, "1000");
    live.psql(FREEZE);
    let stopped = rescue.apply().expect_code(5);
    assert!(stopped.stderr.contains("frozen"), "{stopped:?}");
    live.psql(THAW);
    assert_eq!(live.value("select count(*) from customers"), "12");
    assert_eq!(
        live.value("select count(*) || ' ' || sum(balance) from wallets where customer_id between 3 and 8"),
        "6 0"
    );
    rescue
}

#[test]
fn a_run_that_was_stopped_knows_what_its_triggers_made() {
    let (shop, dump, live) = lost();
    let rescue = stopped_behind_customers(&live, &dump);
    let _applied = rescue.apply().expect_code(0);
    shop.digest().assert_same(&live.digest(), "as if the accident had never happened");
    let _verified = rescue.verify().expect_code(0);
}

#[test]
fn undo_of_a_run_that_was_stopped_takes_away_what_its_triggers_made() {
    let (_shop, dump, live) = lost();
    let damaged = live.digest();
    let rescue = stopped_behind_customers(&live, &dump);
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo gives back what was there");
    // The twin: what a colleague has made of one of them stays, and the customer with it.
    let rescue = stopped_behind_customers(&live, &dump);
    live.psql("update wallets set balance = 5 where customer_id = 4");
    let undone = rescue.undo().expect_code(1);
    assert!(undone.stdout.contains("public.customers (id = 4)"), "{undone:?}");
    assert_eq!(live.value("select string_agg(id::text, ' ' order by id) from customers"), "1 2 4 9 10 11 12");
    assert_eq!(live.value("select balance from wallets where customer_id = 4"), "5");
}

#[test]
fn what_a_colleague_did_to_a_row_of_a_trigger_stays_and_is_listed() {
    let (shop, dump, live) = lost();
    let rescue = stopped_behind_customers(&live, &dump);
    let wanted = shop.copy("wanted");
    // He pays into a wallet, chooses for one customer, hangs a row on the settings of a third, and makes a wallet anew.
    let work = "update wallets set balance = 5 where customer_id = 4;
      update settings set theme = 'blue' where customer_id = 5;
      create table picks (settings_id int references settings on delete cascade);
      insert into picks select id from settings where customer_id = 6;
      delete from wallets where customer_id = 7; insert into wallets values (7, 1)";
    live.psql(work);
    let applied = rescue.apply().expect_code(1);
    let id = |customer: u32| shop.value(&format!("select id from settings where customer_id = {customer}"));
    for row in [
        "public.wallets (customer_id = 4)".to_owned(),
        "public.wallets (customer_id = 7)".to_owned(),
        format!("public.settings (id = {})", id(5)),
        format!("public.settings (id = {})", id(6)),
    ] {
        assert!(applied.stdout.contains(&row), "{row} is listed: {applied:?}");
    }
    for row in ["customer_id = 3)", "customer_id = 8)"] {
        assert!(!applied.stdout.contains(row), "{row} is back: {applied:?}");
    }
    let theirs = "select string_agg(format('%s:%s', customer_id, balance), ' ' order by customer_id) from wallets where customer_id in (4, 7)";
    assert_eq!(live.value(theirs), "4:5 7:1");
    assert_eq!(live.value("select theme from settings where customer_id = 5"), "blue");
    assert_eq!(live.value("select count(*) from picks as p join settings as s on s.id = p.settings_id"), "1");
    // All the others are as they were.
    let others = |db: &TestDb<'_>| {
        db.value(
            "select string_agg(w::text, ' ' order by w.customer_id) || (select string_agg(s::text, ' ' order by s.id) from settings as s \
             where s.customer_id not in (5, 6)) from wallets as w where w.customer_id not in (4, 7)",
        )
    };
    assert_eq!(others(&live), others(&wanted));
    let _verified = rescue.verify().expect_code(1);
    live.psql("delete from picks");
}

#[test]
fn killed_anywhere_the_same_command_goes_on() {
    let (shop, dump, live) = lost();
    let wanted = shop.digest();
    let damaged = live.digest();
    let rescue = planned(&live, &dump, "1");
    let state = |state: &str| {
        let journal = std::fs::read_to_string(rescue.case().join("journal.jsonl")).unwrap_or_default();
        journal.matches(&format!("\"state\":\"{state}\"")).count()
    };
    // A colleague's lock stops each run at another batch, where it is killed.
    let mut kills = 0;
    for batch in [1, 4, 7, 10, 14, 19, 24] {
        let holding = format!("select * from banks for update; select {batch}");
        let colleague = (batch % 2 == 0).then(|| Colleague::begins(&live, &holding));
        let mut running =
            rescue.rowback().start(["apply", "case", "--live", &live.url(), "--confirm", live.name()]);
        wait_until("a batch more, or a lock", Duration::from_secs(30), || {
            let waits = "select count(*) from pg_stat_activity where datname = current_database() \
                         and application_name = 'rowback' and wait_event_type = 'Lock'";
            running.ended() || state("committed") >= batch || live.value(waits) == "1"
        });
        // A process whose end was seen cannot be killed any more.
        if !running.ended() {
            running.signal("KILL");
        }
        kills += u32::from(running.wait().code.is_none());
        if let Some(colleague) = colleague {
            colleague.commits();
        }
    }
    assert!(kills >= 3, "killed only {kills} times");
    let _applied = rescue.apply().expect_code(0);
    wanted.assert_same(&live.digest(), "as if the accident had never happened");
    let _verified = rescue.verify().expect_code(0);
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo gives back what was there");
}

#[test]
fn where_no_unique_key_tells_the_double_stays_and_is_told() {
    let (shop, dump, live) = lost();
    live.psql("alter table wallet_log drop constraint wallet_log_wallet_id_key");
    let before = live.digest();
    let rescue = planned(&live, &dump, "1000");
    let applied = rescue.apply().expect_code(0);
    let told = applied
        .stdout
        .lines()
        .chain(applied.stderr.lines())
        .find(|line| line.contains("triggers made rows of their own"));
    let told = told.unwrap_or_else(|| panic!("{applied:?}"));
    assert!(told.contains("public.wallet_log") && told.contains("stay beside"), "{told}");
    let logs = "select string_agg(n::text, ' ' order by wallet_id) from (select wallet_id, count(*) as n from wallet_log group by 1) as l";
    assert_eq!(live.value(logs), "1 1 2 2 2 2 2 2 1 1 1 1");
    let without = |digest: Digest| digest.without(&["public.wallet_log"]);
    without(shop.digest()).assert_same(&without(live.digest()), "all else is as before the accident");
    let _verified = rescue.verify().expect_code(0);
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "undo gives back what was there");
}

#[test]
fn values_that_live_refuses_for_one_row_are_told_and_the_others_are_set() {
    let (shop, dump, live) = lost();
    live.psql(
        "create function moody() returns trigger language plpgsql as $$
         begin if new.customer_id = 5 and pg_trigger_depth() < 2 then raise exception 'not this one'; end if; return new; end $$;
         create trigger moody before insert or update on wallets for each row execute function moody()",
    );
    let rescue = planned(&live, &dump, "1000");
    let applied = rescue.apply().expect_code(1);
    let told = applied.stdout.lines().find(|line| line.contains("public.wallets (customer_id = 5)"));
    assert!(told.is_some_and(|line| line.contains("not this one")), "{applied:?}");
    let wallets = "select string_agg(format('%s:%s', customer_id, balance), ' ' order by customer_id) from wallets where customer_id <> 5";
    assert_eq!(live.value(wallets), shop.value(wallets));
    assert_eq!(live.value("select balance from wallets where customer_id = 5"), "0");
    let counted = "select total - (select sum(balance) from wallets) || ' ' || wallets - (select count(*) from wallets) from banks";
    assert_eq!(live.value(counted), "0 0", "what counts the wallets is true");
    let worth = "select string_agg(format('%s:%s', id, worth), ' ' order by id) from customers";
    assert_eq!(live.value(worth), shop.value(worth), "what counts in recovered rows is as it was");
}

#[test]
fn in_tables_that_refer_to_each_other_the_lost_row_comes_in_the_place_of_the_made_one() {
    // A user needs a wallet and the wallet its user; both come back in one statement, behind which the trigger fires.
    let shop = TestDb::with(
        "circle",
        "create table users (id int primary key, wallet_id int, logins int not null default 0);
         create table wallets (id serial primary key, user_id int not null unique references users on delete cascade, balance int not null default 0);
         alter table users add foreign key (wallet_id) references wallets;
         create function welcome() returns trigger language plpgsql as $$
         declare made int;
         begin
           insert into wallets (user_id) values (new.id) returning id into made;
           update users set wallet_id = made where id = new.id and wallet_id is null;
           return null;
         end $$;
         create trigger welcome after insert on users for each row execute function welcome();
         insert into users select g from generate_series(1, 9) as g;
         update wallets set balance = 10 * user_id where user_id % 3 <> 0;",
    );
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("circle_live");
    live.psql("delete from users where id between 3 and 6");
    let damaged = live.digest();
    for rows in ["1000", "2"] {
        let rescue = Rescue::new(&live, &dump);
        let recipe = "[[recover]]\ntable = \"users\"\nwhere = \"id between 3 and 6\"\n";
        let _planned = rescue.recover_with(recipe, &["--batch-rows", rows]).expect_code(0);
        let dry = ["apply", "case", "--live", &live.url(), "--confirm", live.name(), "--dry-run", "--json"];
        let trial = rescue.rowback().run(dry).expect_code(0).json();
        assert_eq!(trial["inserted"], 8, "{trial}");
        damaged.assert_same(&live.digest(), "a dry run leaves nothing behind");
        let _applied = rescue.apply().expect_code(0);
        shop.digest().assert_same(&live.digest(), "as if the accident had never happened");
        let _verified = rescue.verify().expect_code(0);
        let _nothing = rescue.apply().expect_code(0);
        shop.digest().assert_same(&live.digest(), "a second apply changes nothing");
        let _undone = rescue.undo().expect_code(0);
        damaged.assert_same(&live.digest(), "undo gives back what was there");
    }
}

/// References that no foreign key enforces, and a pick that outlives the wallet to which it points.
const LOOSE: &str = "
create table picks (id serial primary key, settings_id bigint, wallet text);
create table notes (id serial primary key, about_type text, about_id int);
create table events (id serial primary key, payload jsonb);
insert into picks (wallet) values ('3');";

const LOOSE_RECIPE: &str = "
[[recover]]
table = \"customers\"
where = \"id between 3 and 8\"
[[foreign_key]]
from = \"picks(settings_id)\"
to = \"settings(id)\"
[[foreign_key]]
from = \"picks(wallet)\"
to = \"wallets(customer_id)\"
[[foreign_key]]
from = \"notes(about_id)\"
to = \"settings(id)\"
when = \"about_type = 'settings'\"
[[foreign_key]]
from = \"events(payload->>'settings')\"
to = \"settings(id)\"
";

/// A run that stops behind the customers, with references of the recipe.
fn stopped_with_loose_references<'db>(live: &'db TestDb<'db>, dump: &std::path::Path) -> Rescue<'db> {
    let rescue = Rescue::new(live, dump);
    let _planned = rescue.recover_text(LOOSE_RECIPE).expect_code(0);
    live.psql(FREEZE);
    let stopped = rescue.apply().expect_code(5);
    assert!(stopped.stderr.contains("frozen"), "{stopped:?}");
    live.psql(THAW);
    rescue
}

#[test]
fn what_others_refer_to_by_a_reference_of_the_recipe_stays_and_is_listed() {
    let shop = TestDb::with("loose", &format!("{SHOP}{LOOSE}"));
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("loose_live");
    live.psql(ACCIDENT);
    let damaged = live.digest();
    // Who pointed at a wallet before the accident points at it again, whatever was made in its place.
    let rescue = stopped_with_loose_references(&live, &dump);
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo gives back what was there");
    let rescue = stopped_with_loose_references(&live, &dump);
    let _applied = rescue.apply().expect_code(0);
    shop.digest().assert_same(&live.digest(), "nobody hung on what went");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo gives back what was there");
    // The twin: colleagues hang rows on settings that triggers made, and one note is about something else.
    let rescue = stopped_with_loose_references(&live, &dump);
    live.psql(
        "insert into picks (settings_id) select id from settings where customer_id = 4;
         insert into notes (about_type, about_id) select 'settings', id from settings where customer_id = 5;
         insert into notes (about_type, about_id) select 'wall', id from settings where customer_id = 7;
         insert into events (payload) select jsonb_build_object('settings', id) from settings where customer_id = 6;",
    );
    let applied = rescue.apply().expect_code(1);
    for customer in 3..=8 {
        let id = shop.value(&format!("select id from settings where customer_id = {customer}"));
        let stays = (4..=6).contains(&customer);
        assert_eq!(
            applied.stdout.contains(&format!("public.settings (id = {id})")),
            stays,
            "{customer}: {applied:?}"
        );
        let now = live.value(&format!("select id from settings where customer_id = {customer}"));
        assert_eq!(now == id, !stays, "the settings of {customer}");
    }
    let held = "select (select count(*) from picks join settings as s on s.id = settings_id) || ' ' \
                || (select count(*) from notes join settings as s on s.id = about_id and about_type = 'settings') || ' ' \
                || (select count(*) from events join settings as s on s.id = (payload ->> 'settings')::int)";
    assert_eq!(live.value(held), "1 1 1");
    let _verified = rescue.verify().expect_code(1);
    // Undo leaves what they hang on as well.
    let _undone = rescue.undo().expect_code(1);
    assert_eq!(live.value(held), "1 1 1");
}

#[test]
fn only_rows_that_stay_beside_the_recovered_ones_are_told() {
    let shop = TestDb::with(
        "beside",
        "create table customers (id int primary key);
         create table settings (customer_id int references customers on delete cascade, k text, v text, primary key (customer_id, k));
         create function welcome() returns trigger language plpgsql as $$
         begin insert into settings values (new.id, 'lang', 'en'); return null; end $$;
         create trigger welcome after insert on customers for each row execute function welcome();
         insert into customers select generate_series(1, 9);
         update settings set v = 'de' where customer_id % 3 = 0;",
    );
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("beside_live");
    live.psql("delete from customers where id between 3 and 6");
    let recipe = "[[recover]]\ntable = \"customers\"\nwhere = \"id between 3 and 6\"\n";
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let applied = rescue.apply().expect_code(0);
    assert!(!format!("{}{}", applied.stdout, applied.stderr).contains("stay beside"), "{applied:?}");
    shop.digest().assert_same(&live.digest(), "as if the accident had never happened");
    let _undone = rescue.undo().expect_code(0);
    // The twin: triggers give two of them another key.
    live.psql(
        "create function other() returns trigger language plpgsql as $$
         begin if pg_trigger_depth() > 1 and new.customer_id > 4 then new.k := 'language'; end if; return new; end $$;
         create trigger other before insert on settings for each row execute function other()",
    );
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let applied = rescue.apply().expect_code(0);
    let told = format!("{}{}", applied.stdout, applied.stderr);
    assert!(told.contains("2 of them stay beside these, such as customer_id = 5, k = language"), "{told}");
}
