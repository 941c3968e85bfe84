//! The whole way on servers of other versions, with what only they have, and from a backup of an older server than live.

use std::path::{Path, PathBuf};

use super::support::{Digest, Rescue, Server, TestDb};

const SCHEMA: &str = "
create type mood as enum ('calm', 'busy');
create domain cents as numeric(12, 2) check (value >= 0);
create table tenants (id int primary key, name text not null unique);
create table customers (
  id bigint generated always as identity primary key, tenant int not null references tenants, mail text not null, born date,
  mood mood, unique (tenant, mail)
);
create table orders (
  tenant int not null, no int not null, customer bigint not null references customers on delete cascade, amount cents,
  doubled numeric generated always as (amount * 2) stored, made timestamptz not null, primary key (tenant, no)
);
create table items (
  tenant int, no int, position int, tags text[], extra jsonb, primary key (tenant, no, position),
  foreign key (tenant, no) references orders on delete cascade
) partition by list (tenant);
create table items_1 partition of items for values in (1);
create table items_rest partition of items default;
create table reviews (id serial primary key, customer bigint references customers on delete set null, stars smallint, raw bytea);
create table staff (id int primary key, boss int references staff on delete cascade, customer bigint references customers on delete cascade);
create index on orders (customer);
insert into tenants select g, 'tenant ' || g from generate_series(1, 5) as g;
insert into customers (tenant, mail, born, mood)
select 1 + g % 5, 'c' || g || '@mail.example', date '1980-01-01' + g, (array['calm', 'busy', null])[1 + g % 3]::mood from generate_series(1, 60) as g;
insert into orders (tenant, no, customer, amount, made)
select 1 + g % 5, g, 1 + g % 60, g / 4.0, timestamptz '2026-01-01 00:00+00' + g * interval '1 hour' from generate_series(1, 240) as g;
insert into items select 1 + g % 5, g, p, array['tag ' || p, null], jsonb_build_object('n', g) from generate_series(1, 240) as g, generate_series(1, 2) as p;
insert into reviews (customer, stars, raw) select 1 + g % 60, g % 6, decode(md5(g::text), 'hex') from generate_series(1, 120) as g;
insert into staff select g, nullif(g / 3, 0), 1 + g % 60 from generate_series(1, 90) as g;";

/// What only version 18 has: keys over time, references that nobody enforces, columns that are worked out when read.
const SINCE_18: &str = "
create extension btree_gist;
create table stays (
  room int, during daterange, customer bigint references customers on delete cascade, primary key (room, during without overlaps)
);
create table meals (id int primary key, room int, during daterange, foreign key (room, period during) references stays (room, period during));
create table notes (
  id int primary key, customer bigint, text text not null, loud text generated always as (upper(text)) virtual,
  constraint notes_of foreign key (customer) references customers not enforced
);
insert into stays select g % 7, daterange(date '2026-01-01' + g, date '2026-01-01' + g + 3), 1 + g % 60 from generate_series(1, 120) as g;
insert into meals select g, g % 7, daterange(date '2026-01-01' + g, date '2026-01-01' + g + 1) from generate_series(1, 120) as g;
insert into notes select g, 1 + g % 60, 'note ' || g from generate_series(1, 60) as g;";

/// Meals keep their stays where they are: the accident takes them first.
const ACCIDENT_18: &str = "
delete from meals where exists (
  select 1 from stays as s join customers as c on c.id = s.customer where c.tenant = 2 and s.room = meals.room and s.during && meals.during);";
const ACCIDENT: &str = "
delete from customers where tenant = 2;
update tenants set name = upper(name) where id = 3;";
const LATER: &str = "
insert into customers (tenant, mail) overriding system value select 4, 'late' || g from generate_series(1, 3) as g;
update orders set amount = amount + 1 where tenant = 3 and no % 2 = 0;";

const RECIPE: &str = "[[recover]]\ntable = \"customers\"\nwhere = \"tenant = 2\"\n
[[recover]]\ntable = \"tenants\"\nkind = \"corrupted\"\nwhere = \"id = 3\"\ncolumns = [\"name\"]\ndamaged = \"live.name = upper(backup.name)\"\n";

/// A database after the accident, as it would be without it, and the backup in several formats.
struct World<'s> {
    /// Has the files of the backups.
    _twin: TestDb<'s>,
    live: TestDb<'s>,
    wanted: Digest,
    hit: Digest,
    backups: Vec<PathBuf>,
}

impl<'s> World<'s> {
    fn on(server: &'s Server) -> Self {
        let is_18 = server.major() >= 18;
        let twin = TestDb::on(server, "twin");
        twin.psql(SCHEMA);
        if is_18 {
            twin.psql(SINCE_18);
        }
        let mut formats = vec![vec!["-Fc"], vec!["-Fd", "-j2"], vec!["-Ft"], vec!["-Fp", "--create"]];
        if server.major() >= 16 {
            formats.extend([vec!["-Fc", "-Zzstd"], vec!["-Fd", "-Zlz4"]]);
        }
        let backups = formats.iter().map(|format| twin.dump(format)).collect();
        let live = twin.copy("live");
        live.psql(&format!("{}{ACCIDENT}{LATER}", if is_18 { ACCIDENT_18 } else { "" }));
        twin.psql(LATER);
        let (wanted, hit) = (twin.digest(), live.digest());
        assert!(hit.count() + 100 < wanted.count(), "the accident took rows: {}", wanted.difference(&hit));
        Self { _twin: twin, live, wanted, hit, backups }
    }

    /// There and back, with the programs in `bin` for scratch.
    fn recover(&self, backup: &Path, bin: &Path) {
        let rescue = Rescue::new(&self.live, backup);
        let _planned = rescue.recover_with(RECIPE, &["--pg-bin", bin.to_str().unwrap()]).expect_code(0);
        self.hit.assert_same(&self.live.digest(), "recover only reads");
        let _applied = rescue.apply().expect_code(0);
        self.wanted.assert_same(&self.live.digest(), "as if it had not happened");
        let _verified = rescue.verify().expect_code(0);
        let _undone = rescue.undo().expect_code(0);
        self.hit.assert_same(&self.live.digest(), "undo gives back what was there");
    }

    /// What `compare` says of a backup, without its times.
    fn compared(&self, backup: &Path) -> serde_json::Value {
        let rescue = Rescue::new(&self.live, backup);
        let backup = backup.display().to_string();
        let args = ["compare", "--backup", &backup, "--live", &self.live.url(), "--json"];
        let mut found = rescue.rowback().run(args).expect_code(0).json();
        found.as_object_mut().unwrap().remove("timings");
        found
    }
}

fn whole_way(major: u32) {
    let server = Server::of_version(major);
    assert_eq!(server.major(), major);
    let world = World::on(&server);
    let first = world.compared(&world.backups[0]);
    for backup in &world.backups {
        let rescue = Rescue::new(&world.live, backup);
        let _sound = rescue.rowback().run(["inspect", backup.to_str().unwrap()]).expect_code(0);
        assert_eq!(world.compared(backup), first, "{}", backup.display());
    }
    // Not more often: 18.6 itself loses an entry of the index over time when the same rows have come and gone some five times.
    for backup in [&world.backups[0], &world.backups[world.backups.len() - 1]] {
        world.recover(backup, server.bin());
    }
}

#[test]
fn on_14() {
    whole_way(14);
}

#[test]
fn on_16() {
    whole_way(16);
}

#[test]
fn on_17() {
    whole_way(17);
}

#[test]
fn on_18() {
    whole_way(18);
}

/// Live was upgraded after the backup was taken; scratch runs on a server between the two.
#[test]
fn from_an_older_servers_backup() {
    let (old, new, between) = (Server::of_version(14), Server::of_version(18), Server::of_version(16));
    let world = World::on(&old);
    let live = TestDb::on(&new, "upgraded");
    let plain = world.live.dump(&["-Fp"]);
    live.psql(&std::fs::read_to_string(plain).unwrap());
    world.hit.assert_same(&live.digest(), "the upgrade keeps every row");
    let upgraded = World { live, ..world };
    upgraded.recover(&upgraded.backups[0], between.bin());
}

/// On 18 a row may refer to a period that several parents fill together; enforced or not, all of them come back, and undo
/// leaves what somebody came to refer to.
#[test]
fn a_period_that_two_parents_fill_brings_both_back() {
    let server = Server::of_version(18);
    for enforced in ["", " not enforced"] {
        let twin = TestDb::on(&server, "periods");
        twin.psql(&format!(
            "create extension btree_gist;
             create table rooms (id int, valid daterange, name text, primary key (id, valid without overlaps));
             create table bookings (id int primary key, room int, valid daterange,
               constraint booked foreign key (room, period valid) references rooms (id, period valid){enforced});
             insert into rooms values (3, '[2026-01-01,2026-02-01)', 'jan'), (3, '[2026-02-01,2026-03-01)', 'feb'),
               (4, '[2026-01-01,2026-02-01)', 'other');
             insert into bookings values (1, 3, '[2026-01-20,2026-02-10)'), (2, 4, '[2026-01-05,2026-01-06)');"
        ));
        let dump = twin.dump(&["-Fc"]);
        let live = twin.copy("periods_live");
        live.psql("delete from bookings; delete from rooms where id = 3");
        let rescue = Rescue::new(&live, &dump);
        let recipe = "[[recover]]\ntable = \"bookings\"\nwhere = \"true\"\n";
        let bin = server.bin().to_str().unwrap();
        let _planned = rescue.recover_with(recipe, &["--pg-bin", bin]).expect_code(0);
        let _applied = rescue.apply().expect_code(0);
        twin.digest().assert_same(&live.digest(), &format!("with both parents{enforced}"));
        let _verified = rescue.verify().expect_code(0);
        live.psql("insert into bookings values (9, 3, '[2026-01-10,2026-01-12)')");
        let undone = rescue.undo().expect_code(1);
        assert!(undone.stdout.contains("still referred to by public.bookings"), "{}", undone.stdout);
        assert_eq!(live.value("select string_agg(name, ',' order by name) from rooms"), "jan,other");
    }
}
