//! A second backup, taken after the accident, through the command line: what the accident took and changed comes back, and
//! nothing of what happened later is touched. Whole databases are compared.

use std::path::PathBuf;

use super::support::{Rescue, TestDb};

const CLINIC: &str = "
create type ward as enum ('north', 'south');
create table doctors (id int primary key, name text not null unique);
create table patients (
  id int primary key, doctor_id int references doctors on delete set null, email text, phone text, ward ward, weight numeric,
  doubled numeric generated always as (weight * 2) stored, seen timestamptz, tags text[]);
create table visits (id int primary key, patient_id int not null references patients on delete cascade, note text);
create table bills (id int primary key, visit_id int not null references visits on delete cascade, cents int not null);
create table branches (id int primary key, parent_id int references branches on delete cascade, name text);
create table readings (id int, day date, value int, primary key (id, day)) partition by range (day);
create table readings_1 partition of readings for values from ('2026-01-01') to ('2026-02-01');
create table readings_2 partition of readings for values from ('2026-02-01') to ('2026-03-01');
insert into doctors select g, 'Dr ' || g from generate_series(1, 6) as g;
insert into patients (id, doctor_id, email, phone, ward, weight, seen, tags) select g, 1 + g % 6, 'p' || g || '@clinic.example', '0' || g, (array['north', 'south'])[1 + g % 2]::ward,
  g + 0.50, '2025-01-01 00:00+00'::timestamptz + g * interval '1 day', array['t' || g, null] from generate_series(1, 600) as g;
insert into visits select g, 1 + g % 600, 'note ' || g from generate_series(1, 1200) as g;
insert into bills select g, g, g * 10 from generate_series(1, 1200) as g;
insert into branches values (1, null, 'root'), (2, 1, 'a'), (3, 2, 'b'), (4, null, 'other'), (5, 4, 'c'), (6, 5, 'd');
insert into readings select g, '2026-01-15'::date + (g % 30), g from generate_series(1, 90) as g;";

/// The two backups, the clinic as it is now, and as it should be.
struct Scene {
    clinic: TestDb<'static>,
    before: PathBuf,
    after: PathBuf,
    live: TestDb<'static>,
    wanted: TestDb<'static>,
}

/// `between` happens on purpose between the first backup and the accident, `later` between the second backup and now;
/// `besides` is what the wanted state has of the accident.
fn scene(between: &str, accident: &str, later: &str, besides: &str) -> Scene {
    let clinic = TestDb::with("clinic", CLINIC);
    let before = clinic.dump(&["-Fc"]);
    clinic.psql(between);
    let wanted = clinic.copy("wanted");
    wanted.psql(besides);
    wanted.psql(later);
    clinic.psql(accident);
    let after = clinic.dump(&["-Fc"]);
    let live = clinic.copy("live");
    live.psql(later);
    Scene { clinic, before, after, live, wanted }
}

impl Scene {
    fn recipe(&self, entries: &str) -> String {
        format!("[backup]\nafter = {:?}\n{entries}", self.after.display().to_string())
    }

    /// The whole way and back; gives what `recover` said.
    fn recover(&self, entries: &str, code: i32) -> String {
        let damaged = self.live.digest();
        assert_ne!(self.wanted.digest(), damaged, "the accident did something");
        let rescue = Rescue::new(&self.live, &self.before);
        let planned = rescue.recover_text(&self.recipe(entries)).expect_code(code);
        damaged.assert_same(&self.live.digest(), "recover writes nothing to live");
        let _applied = rescue.apply().expect_code(0);
        self.wanted.digest().assert_same(&self.live.digest(), "after the recovery");
        let _certificate = rescue.verify().expect_code(code);
        let _nothing = rescue.apply().expect_code(0);
        self.wanted.digest().assert_same(&self.live.digest(), "a second apply changes nothing");
        let _undone = rescue.undo().expect_code(0);
        damaged.assert_same(&self.live.digest(), "undo takes back what apply did");
        format!("{}{}", planned.stdout, planned.stderr)
    }
}

const DELETED: &str = "[[recover]]\ntable = \"patients\"\nwhere = \"id <= 100\"\n";

#[test]
fn what_was_gone_by_then_comes_back_with_what_hung_on_it() {
    let scene = scene(
        "",
        "delete from patients where id <= 50; delete from doctors where id = 2",
        "insert into patients (id, email) values (9001, 'new'); update patients set phone = 'moved' where id = 60;
         update visits set note = 'later' where id = 70",
        "",
    );
    let said = scene.recover(&format!("{DELETED}[[recover]]\ntable = \"doctors\"\nwhere = \"true\"\n"), 1);
    assert!(said.contains("by bracket"), "{said}");
}

#[test]
fn what_was_deleted_on_purpose_before_or_after_stays_deleted() {
    // 110 is not under `where`; 61 and visit 70 were there after the accident. Visit 80 (patient 81) went by itself.
    let scene = scene(
        "delete from patients where id = 110; delete from visits where id = 80",
        "delete from patients where id <= 50",
        "delete from patients where id = 61; delete from visits where id = 70; delete from bills where id = 90",
        "",
    );
    let said = scene.recover(DELETED, 0);
    assert!(said.contains("excluded"), "{said}");
}

#[test]
fn the_same_without_the_second_backup_brings_them_back() {
    // The twin: what the second backup is good for.
    let scene = scene("", "delete from patients where id <= 50", "delete from patients where id = 61", "");
    let rescue = Rescue::new(&scene.live, &scene.before);
    let _planned = rescue.recover_text(DELETED).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    assert_ne!(scene.wanted.digest(), scene.live.digest());
    assert_eq!(scene.live.value("select count(*) from patients where id = 61"), "1");
}

#[test]
fn columns_are_merged_three_ways() {
    // 20 was mended by a colleague, 21 got a new phone number, 22 both; of 23 another column changed.
    let later = "update patients set email = 'mended@clinic.example' where id = 20; update patients set phone = '0800' where id = 21;
        update patients set email = 'own', phone = 'own' where id = 22; update patients set tags = '{x}' where id = 23;
        update patients set phone = 'afterwards' where id = 400";
    let scene = scene(
        "update patients set weight = 1 where id = 24",
        "update patients set email = 'x@invalid', phone = null, ward = 'north', seen = 'infinity' where id between 1 and 300",
        later,
        "",
    );
    // What another entry is not about keeps what the accident left; where live differs from both, a human is told.
    let entries = "[[recover]]\ntable = \"patients\"\nkind = \"corrupted\"\ncolumns = [\"email\", \"phone\", \"ward\", \"seen\"]\n";
    let said = scene.recover(entries, 1);
    assert!(said.contains("damaged") && said.contains("changed"), "{said}");
}

#[test]
fn all_three_values_are_shown() {
    let scene = scene(
        "",
        "update patients set email = 'x@invalid' where id <= 3",
        "update patients set email = 'mended' where id = 2",
        "",
    );
    let rescue = Rescue::new(&scene.live, &scene.before);
    let entries = "[[recover]]\ntable = \"patients\"\nkind = \"corrupted\"\ncolumns = [\"email\"]\n";
    let _planned = rescue.recover_text(&scene.recipe(entries)).expect_code(1);
    let told = rescue.rowback().run(["report", "case", "--show-values"]);
    assert!(
        told.stdout.contains(
            "email: backup \"p2@clinic.example\", after the accident \"x@invalid\", live \"mended\""
        ),
        "{}",
        told.stdout
    );
    let json = rescue.rowback().run(["report", "case", "--show-values", "--json"]);
    assert!(
        json.stdout.contains("\"after\":\"x@invalid\"") || json.stdout.contains("\"after\": \"x@invalid\""),
        "{}",
        json.stdout
    );
}

#[test]
fn self_references_and_partitions_are_looked_up_too() {
    // Branch 4 stayed, so its children 5 and 6, deleted on purpose, stay deleted.
    let scene = scene(
        "delete from branches where id = 5; create table readings_3 partition of readings for values from ('2026-03-01') to ('2026-04-01')",
        "delete from branches where id = 1; delete from readings where day < '2026-02-05'; update readings set value = -1 where id > 80",
        "update readings set value = 7 where id = 85; insert into branches values (7, null, 'new')",
        "",
    );
    let entries = "[[recover]]\ntable = \"branches\"\nwhere = \"parent_id is null\"\n
        [[recover]]\ntable = \"readings\"\nwhere = \"true\"\n[[recover]]\ntable = \"readings\"\nkind = \"corrupted\"\n";
    let _said = scene.recover(entries, 1);
}

#[test]
fn links_cut_later_on_purpose_stay_cut() {
    let scene = scene(
        "",
        "delete from doctors where id = 2",
        "update patients set doctor_id = null where id in (6, 12)",
        "",
    );
    // The patients of doctor 2 (1, 7, 13 …) are linked again; 6 and 12 were cut by hand, and have another doctor.
    let _said = scene.recover("[[recover]]\ntable = \"doctors\"\nwhere = \"true\"\n", 0);
}

#[test]
fn a_second_backup_that_cannot_be_one_is_refused() {
    let scene = scene("", "delete from patients where id <= 50", "", "");
    let damaged = scene.live.digest();
    let other = TestDb::with("clinic", CLINIC);
    let stranger = other.dump(&["-Fc"]);
    let without_rows = scene.clinic.dump(&["-Fc", "--exclude-table-data=visits"]);
    let refused = |after: PathBuf, code: i32, name: &str, says: &str| {
        let recipe = format!("[backup]\nafter = {:?}\n{DELETED}", after.display().to_string());
        let output = Rescue::new(&scene.live, &scene.before).recover_text(&recipe).expect_code(code);
        assert!(output.stderr.contains(&format!("error[{name}]")), "{}", output.stderr);
        assert!(output.stderr.contains(says), "{}", output.stderr);
    };
    refused(stranger, 4, "after-of-another-database", "another database");
    refused(without_rows, 3, "after-without-rows", "public.visits");
    refused(PathBuf::from("/nowhere.dump"), 3, "backup-unreadable", "nowhere.dump");
    // Swapped: the clock of an archive counts seconds.
    let (older, newer) = (scene.before.clone(), scene.clinic.dump(&["-Fc"]));
    super::support::wait_until("a second goes by", std::time::Duration::from_secs(20), || {
        let newest = scene.clinic.dump(&["-Fc"]);
        let recipe = format!("[backup]\nafter = {:?}\n{DELETED}", older.display().to_string());
        let output = Rescue::new(&scene.live, &newest).recover_text(&recipe);
        output.code == Some(4) && output.stderr.contains("error[after-is-older]")
    });
    drop(newer);
    let both = "[[recover]]\ntable = \"patients\"\nreplay = \"delete from patients\"\n";
    let output = Rescue::new(&scene.live, &scene.before).recover_text(&scene.recipe(both)).expect_code(2);
    assert!(output.stderr.contains("error[not-in-this-version]"), "{}", output.stderr);
    damaged.assert_same(&scene.live.digest(), "nothing was written");
}
