//! References over time (`PERIOD`, PostgreSQL 18): a child's period may be filled by several parents together.

use std::path::PathBuf;

use super::support::{Output, Rescue, Server, TestDb};

/// Rooms by the year; bookings over new year need two of them.
const ROOMS: &str = "
create extension btree_gist;
create table room (id int, valid daterange, name text not null, primary key (id, valid without overlaps));
create table booking (
  id int primary key, room_id int, during daterange,
  constraint bfk foreign key (room_id, period during) references room (id, period valid)
);
insert into room
select 1, daterange(make_date(y, 1, 1), make_date(y + 1, 1, 1)), 'room of ' || y from generate_series(2020, 2022) as y;
insert into booking values
  (1, 1, '[2020-12-20,2021-01-10)'), (2, 1, '[2021-06-01,2021-06-08)'), (3, 1, '[2021-12-20,2022-01-10)');";

/// As it was, its backup, and live.
struct Rooms<'server> {
    before: TestDb<'server>,
    dump: PathBuf,
    live: TestDb<'server>,
    bin: String,
}

impl<'server> Rooms<'server> {
    fn on(server: &'server Server) -> Self {
        let before = TestDb::on(server, "rooms");
        before.psql(ROOMS);
        let dump = before.dump(&["-Fc"]);
        let live = before.copy("rooms_live");
        Self { before, dump, live, bin: server.bin().display().to_string() }
    }

    fn recover(&self, rescue: &Rescue<'_>, recipe: &str) -> Output {
        rescue.recover_with(recipe, &["--pg-bin", &self.bin])
    }
}

/// While the server sleeps as a replica, batches ask for it what it would have asked: whether the parents' periods together
/// cover the child's.
#[test]
fn with_replica_parents_that_fill_a_period_together_are_parents() {
    let server = Server::of_version(18);
    let rooms = Rooms::on(&server);
    let live = &rooms.live;
    live.psql("delete from booking; delete from room where lower(valid) < date '2022-01-01'");
    let rescue = Rescue::new(live, &rooms.dump);
    let recipe = "[[recover]]\ntable = \"booking\"\nwhere = \"true\"\n[policy]\ntriggers = \"replica\"\n";
    let _planned = rooms.recover(&rescue, recipe).expect_code(0);
    live.psql("begin; create table aside as table room; delete from room where lower(valid) = date '2022-01-01'; commit");
    let refused = rescue.apply().expect_code(5);
    assert!(
        refused.stderr.contains("a recovered row of public.booking has no parent in public.room (bfk)"),
        "{}",
        refused.stderr
    );
    assert_eq!(live.value("select count(*) from booking"), "0");
    // The twin: half of booking 3 had no room.
    live.psql("insert into room table aside; drop table aside");
    let _applied = rescue.apply().expect_code(0);
    rooms.before.digest().assert_same(&live.digest(), "with all rooms");
    let _verified = rescue.verify().expect_code(0);
    live.psql(
        "set session_replication_role = replica; delete from room where lower(valid) = date '2022-01-01'",
    );
    let noticed = rescue.verify().expect_code(1);
    assert!(noticed.stdout.contains("booking"), "{}", noticed.stdout);
}

/// What the accident took: everything before 2022.
const ACCIDENT: &str = "delete from booking; delete from room where lower(valid) < date '2022-01-01'";

/// A period is filled by several parents: each of them that live lacks comes back, not only the one over which the child was reached.
#[test]
fn every_parent_of_a_period_comes_back() {
    let server = Server::of_version(18);
    let rooms = Rooms::on(&server);
    let live = &rooms.live;
    live.psql(ACCIDENT);
    let damaged = live.digest();
    let rescue = Rescue::new(live, &rooms.dump);
    let planned = rooms.recover(&rescue, FROM_ONE_ROOM).expect_code(0).stdout;
    assert!(planned.contains("Plan: 5 to insert, 0 to repair, 0 to re-link; no conflicts."), "{planned}");
    assert!(
        planned.contains(
            "Evidence: 3 by cascade, 1 by predicate only (it cannot know what was done on purpose), 1 by need"
        ),
        "{planned}"
    );
    let _applied = rescue.apply().expect_code(0);
    rooms.before.digest().assert_same(&live.digest(), "with the room of 2020");
    let _verified = rescue.verify().expect_code(0);
    let report = rescue.rowback().run(["report", "case", "--json"]).expect_code(0).json();
    assert_eq!(report["edges"][0]["in_backup"], 3, "a booking over new year is one booking: {report}");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes all of it back");
}

/// The room of 2021 and what hangs on it.
const FROM_ONE_ROOM: &str = "[[recover]]\ntable = \"room\"\nwhere = \"valid @> date '2021-06-01'\"\n";

/// Where a part of the period stays without a parent, the plan promises nothing.
#[test]
fn a_row_whose_period_is_covered_in_part_is_an_orphan() {
    let server = Server::of_version(18);
    let rooms = Rooms::on(&server);
    let none = format!("{FROM_ONE_ROOM}[policy]\nparents = \"none\"\n");
    for (accident, recipe, orphans) in [
        // Booking 1 needs the room of 2020; what comes back and what live has count together for booking 3.
        (ACCIDENT, none.as_str(), vec!["1"]),
        ("delete from booking; delete from room", &none, vec!["1", "3"]),
        // Somebody has put another room there since, and the room of 2020 stays away.
        (
            "delete from booking; delete from room where lower(valid) < date '2022-01-01';
             insert into room values (1, '[2020-03-01,2020-04-01)', 'another')",
            FROM_ONE_ROOM,
            vec!["1"],
        ),
    ] {
        let live = rooms.before.copy("orphans");
        live.psql(accident);
        let rescue = Rescue::new(&live, &rooms.dump);
        let _planned = rooms.recover(&rescue, recipe).expect_code(1);
        let all = live_orphans(&rescue);
        assert_eq!(all, orphans, "{accident} {recipe}");
        let applied = rescue.apply();
        assert!(!applied.stdout.contains("live refused it"), "{}", applied.stdout);
        let lacking = "select string_agg(id::text, ',' order by id) from (values (1), (2), (3)) as b (id) where id not in (select id from booking)";
        assert_eq!(live.value(lacking), orphans.join(","), "{accident} {recipe}");
        let _verified = rescue.verify().expect_code(1);
    }
    // The twin: nobody lacks anything.
    let live = rooms.before.copy("orphans");
    live.psql("delete from booking; delete from room where lower(valid) = date '2021-01-01'");
    let rescue = Rescue::new(&live, &rooms.dump);
    let _planned = rooms.recover(&rescue, &none).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    rooms.before.digest().assert_same(&live.digest(), "parents in live and those that come back cover all");
}

/// Whoever took a parent's place between plan and apply is not the parent, whatever part of its period the child fills.
#[test]
fn nothing_is_hung_on_a_stranger_under_a_period() {
    let server = Server::of_version(18);
    let before = TestDb::on(&server, "strangers");
    before.psql(
        "create extension btree_gist;
         create table kid (id int, span daterange, owner text not null unique, primary key (id, span without overlaps));
         create table sub (id int primary key, k int not null, sp daterange, foreign key (k, period sp) references kid (id, period span));
         insert into kid values (15, '[2020-01-01,2020-06-01)', 'alice'), (16, '[2020-01-01,2020-06-01)', 'bob'), (16, '[2020-06-01,2020-09-01)', 'bobby');
         insert into sub values (1, 15, '[2020-01-10,2020-02-10)'), (2, 16, '[2020-01-10,2020-07-10)'), (3, 15, '[2020-01-01,2020-06-01)')",
    );
    let dump = before.dump(&["-Fc"]);
    let live = before.copy("strangers_live");
    live.psql("delete from sub; delete from kid");
    let rescue = Rescue::new(&live, &dump);
    let bin = server.bin().display().to_string();
    let recipe = "[[recover]]\ntable = \"kid\"\nwhere = \"true\"\n";
    let _planned = rescue.recover_with(recipe, &["--pg-bin", &bin]).expect_code(0);
    live.psql("insert into kid values (15, '[2020-01-01,2020-06-01)', 'mallory')");
    let applied = rescue.apply().expect_code(1);
    for id in [1, 3] {
        assert!(applied.stdout.contains(&format!("public.sub (id = {id}): held back")), "{}", applied.stdout);
    }
    assert_eq!(live.value("select string_agg(id::text, ' ') from sub"), "2", "{}", applied.stdout);
}

/// A reference over time that live has got since the plan holds what it refers to, and nothing else.
#[test]
fn a_reference_over_time_that_came_later_holds_its_own_parents() {
    let server = Server::of_version(18);
    let rooms = Rooms::on(&server);
    let live = &rooms.live;
    live.psql("drop table booking; delete from room where lower(valid) < date '2022-01-01'");
    let rescue = Rescue::new(live, &rooms.dump);
    let recipe =
        "[[recover]]\ntable = \"room\"\nwhere = \"lower(valid) < date '2022-01-01'\"\nchildren = \"none\"\n";
    let _planned = rooms.recover(&rescue, recipe);
    let _applied = rescue.apply().expect_code(0);
    live.psql(
        "create table stay (id int, during daterange, foreign key (id, period during) references room (id, period valid));
         insert into stay values (1, '[2021-03-01,2021-03-02)')",
    );
    let held = rescue.undo().expect_code(1);
    assert!(held.stdout.contains("still referred to by stay"), "{}", held.stdout);
    assert_eq!(
        live.value("select string_agg(name, ', ' order by name) from room"),
        "room of 2021, room of 2022"
    );
}

/// The bookings that the report lists as orphans.
fn live_orphans(rescue: &Rescue<'_>) -> Vec<String> {
    let report = rescue.rowback().run(["report", "case"]).expect_code(0).stdout;
    let orphans = report.lines().filter(|line| line.contains("  orphan: "));
    orphans
        .filter_map(|line| Some(line.trim().strip_prefix("id = ")?.split(' ').next()?.to_owned()))
        .collect()
}
