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
