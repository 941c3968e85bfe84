//! Tables that refer to each other are written in one statement: a stranger in the place of one row keeps off that row and what
//! hangs together with it, not the others.

use super::support::{Rescue, TestDb};

const WORLD: &str = "
    create table kind (id int primary key);
    create table team (id int primary key, name text unique, lead int);
    create table person (id int primary key, team int not null references team on delete cascade, kind int references kind, boss int references person on delete cascade);
    alter table team add foreign key (lead) references person on delete set null;
    insert into kind select generate_series(1, 30);
    insert into team select g, 'team ' || g from generate_series(1, 30) as g;
    insert into person select g, g, g, null from generate_series(1, 30) as g;
    insert into person select 100 + g, g, null, g from generate_series(1, 30) as g;
    update team set lead = id;";

/// Recovers twenty teams after somebody came in between, and takes them back.
fn after(between: &str, left: &str) {
    let backup = TestDb::with("circles", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from team where id <= 20");
    let rescue = Rescue::new(&live, &dump);
    let _planned =
        rescue.recover_with("[[recover]]\ntable = \"team\"\nwhere = \"id <= 20\"\n", &[]).expect_code(0);
    live.psql(between);
    let before = live.digest();
    let applied = rescue.apply().expect_code(1);
    for row in ["public.team (id = 7)", "public.person (id = 7)", "public.person (id = 107)"] {
        let said = applied.stdout.lines().filter(|line| line.contains(row)).count();
        assert_eq!(said, 1, "{row} after {between}: {}", applied.stdout);
    }
    let there = |table: &str, which: &str| {
        live.psql(&format!("select string_agg(id::text, ' ' order by id) from {table} where {which}"))
            .trim()
            .to_owned()
    };
    let wanted = |from: u32| {
        (from + 1..=from + 20)
            .filter(|id| *id != from + 7)
            .map(|id| id.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(there("team", "id <= 20"), wanted(0), "after {between}");
    assert_eq!(there("person", "id <= 20"), wanted(0), "after {between}");
    assert_eq!(there("person", "id > 100 and id <= 120"), wanted(100), "after {between}");
    assert!(applied.stdout.contains(left), "{}", applied.stdout);
    let again = rescue.apply().expect_code(1);
    assert!(again.stdout.contains("public.team (id = 7)"), "it is tried again: {}", again.stdout);
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "undo takes back what was written");
}

#[test]
fn a_unique_value_that_a_stranger_took_keeps_off_its_own_circle() {
    after("insert into team values (99, 'team 7', null)", "team_name_key");
}

#[test]
fn a_parent_that_went_keeps_off_its_own_circle() {
    after("delete from kind where id = 7", "person_kind_fkey");
}

/// Rows that nobody needs stay away alone, however much hangs together by links that may be empty.
#[test]
fn a_leaf_keeps_off_nobody() {
    let backup = TestDb::with(
        "circles",
        "create table team (id int primary key, lead int, name text);
         create table emp (id int primary key, team int references team on delete cascade, boss int references emp on delete cascade, v int);
         alter table team add foreign key (lead) references emp on delete set null;
         insert into team values (1, null, 't1'), (2, null, 't2');
         insert into emp select g, g % 2 + 1, case when g > 1 then (g + 1) / 2 end, g from generate_series(1, 500) as g;
         update team set lead = 1",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from team");
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let _planned =
        rescue.recover_with("[[recover]]\ntable = \"team\"\nwhere = \"true\"\n", &[]).expect_code(0);
    live.psql("alter table emp add constraint odd check (v not in (120, 499))");
    let applied = rescue.apply().expect_code(1);
    let left: Vec<&str> = applied.stdout.lines().filter(|line| line.contains("live refused it")).collect();
    let refused = |id: u32, why: &str| format!("  public.emp (id = {id}): live refused it: {why}");
    let check = "new row for relation \"emp\" violates check constraint \"odd\"";
    let parent =
        "a row that it needs was refused: new row for relation \"emp\" violates check constraint \"odd\"";
    let wanted = [
        refused(120, check),
        refused(239, parent),
        refused(240, parent),
        refused(477, parent),
        refused(478, parent),
        refused(479, parent),
        refused(480, parent),
        refused(499, check),
    ];
    assert_eq!(left, wanted);
    assert_eq!((live.rows("team").len(), live.rows("emp").len()), (2, 492));
    let _undone = rescue.undo().expect_code(0);
    live.psql("alter table emp drop constraint odd");
    damaged.assert_same(&live.digest(), "undo takes back what was written");
}

/// Circles within one table: each comes back or stays away by itself, and so do rows that hang on them.
#[test]
fn circles_within_one_table_know_nothing_of_each_other() {
    let backup = TestDb::with(
        "circles",
        "create table t (id int primary key, u text unique, lnk int);
         insert into t values (1, 'a', 2), (2, 'b', 3), (3, 'c', 1), (4, 'd', 5), (5, 'e', 4), (6, 'bad', 1), (7, 'f', null), (8, 'h', 7), (9, 'taken', 10), (10, 'j', 9), (11, 'k', 10);
         insert into t select g, 'n' || g, case g when 1000 then 6 else g - 1 end from generate_series(1000, 1005) as g;
         alter table t add foreign key (lnk) references t on delete cascade",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from t");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_with("[[recover]]\ntable = \"t\"\nwhere = \"true\"\n", &[]).expect_code(0);
    live.psql(
        "alter table t add constraint good check (u <> 'bad'); insert into t values (99, 'taken', null)",
    );
    let before = live.digest();
    let applied = rescue.apply().expect_code(1);
    assert_eq!(live.value("select string_agg(id::text, ' ' order by id) from t"), "1 2 3 4 5 7 8 99");
    for (id, why) in [
        (6, "new row"),
        (9, "duplicate key"),
        (10, "duplicate key"),
        (11, "a row that it needs was refused: duplicate key"),
        (1000, "a row that it needs was refused: new row"),
    ] {
        assert!(
            applied.stdout.contains(&format!("public.t (id = {id}): live refused it: {why}")),
            "{id}: {}",
            applied.stdout
        );
    }
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "undo takes back what was written");
}

/// A trigger that refuses the row on which all others hang has not refused them all: the batch is no victim of a freeze.
#[test]
fn a_root_that_a_trigger_refuses_does_not_stop_the_batch() {
    let backup = TestDb::with(
        "circles",
        "create table t (id int primary key, up int references t on delete cascade); create table later (id int primary key, t int references t on delete cascade);
         insert into t values (1, null), (2, 1), (3, 2); insert into later values (1, 3)",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from t");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_with("[[recover]]\ntable = \"t\"\nwhere = \"true\"\n", &[]).expect_code(0);
    live.psql(
        "create function no() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
         create trigger no before insert on t for each row when (new.id = 1) execute function no()",
    );
    let applied = rescue.apply().expect_code(1);
    for row in [
        "public.t (id = 1): live refused it: not this one",
        "public.t (id = 3): live refused it: a row that it needs was refused: not this one",
    ] {
        assert!(applied.stdout.contains(row), "{}", applied.stdout);
    }
    assert!(live.rows("t").is_empty() && live.rows("later").is_empty());
}

/// What a trigger makes in the place of a lost row cannot give way where no link of the circle may wait: these rows stay away,
/// listed, and the others are written.
#[test]
fn what_a_trigger_makes_in_a_circle_that_cannot_wait_keeps_off_its_own_rows() {
    let backup = TestDb::with(
        "circles",
        "create table a (id int primary key, b int not null); create table b (id int primary key, a int not null unique);
         alter table a add foreign key (b) references b on delete cascade; alter table b add foreign key (a) references a on delete cascade;
         with x as (insert into a select g, g from generate_series(1, 9) as g returning 1) insert into b select g, g from generate_series(1, 9) as g;
         create function twin() returns trigger language plpgsql as $$ begin insert into b values (new.id + 100, new.id); return new; end $$;
         create trigger twin after insert on a for each row when (new.id = 4) execute function twin()",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from a where id <= 6");
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let _planned =
        rescue.recover_with("[[recover]]\ntable = \"a\"\nwhere = \"id <= 6\"\n", &[]).expect_code(0);
    let applied = rescue.apply().expect_code(1);
    assert_eq!(applied.stdout.matches("(id = 4): live refused it").count(), 2, "{}", applied.stdout);
    assert_eq!(live.rows("a").len() + live.rows("b").len(), 16, "{}", applied.stdout);
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what was written");
}
