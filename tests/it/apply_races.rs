//! `apply` while others work, or have worked since the plan: what it says is what it did.

use super::support::{Rescue, TestDb};

const RECIPE: &str = "[[recover]]\ntable = \"public.cu\"\nwhere = \"true\"\n";

#[test]
fn an_undo_file_that_was_edited_is_noticed_before_anything_is_written() {
    let backup =
        TestDb::with("undo_edited", "create table cu (id int primary key); insert into cu values (1)");
    let live = backup.copy("undo_edited_live");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
    live.psql("delete from cu");
    let _planned = rescue.recover_text(RECIPE).expect_code(0);
    let undo = rescue.case().join("undo/0001-public.cu-insert.sql");
    let text = std::fs::read_to_string(&undo).unwrap();
    std::fs::write(&undo, format!("{text}-- looked at\n")).unwrap();
    let refused = rescue.apply().expect_code(4);
    assert!(
        refused.stderr.contains("error[batch-edited]") && refused.stderr.contains("undo/0001"),
        "{}",
        refused.stderr
    );
    assert_eq!(live.value("select count(*) from cu"), "0");
    std::fs::write(&undo, text).unwrap();
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.value("select count(*) from cu"), "1");
}

#[test]
fn a_second_apply_does_not_vouch_for_rows_that_it_did_not_look_at() {
    let backup = TestDb::with("again", "create table cu (id int primary key); insert into cu values (1)");
    let live = backup.copy("again_live");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
    live.psql("delete from cu");
    let _planned = rescue.recover_text(RECIPE).expect_code(0);
    let first = rescue.apply().expect_code(0);
    assert!(first.stdout.contains("; every row ended as staged."), "{}", first.stdout);
    live.psql("delete from cu");
    let second = rescue.apply().expect_code(0);
    assert!(!second.stdout.contains("every row ended as staged"), "{}", second.stdout);
    assert!(
        second.stdout.contains(
            "(an earlier run had done everything); what became of the rows since was not looked at."
        ),
        "{}",
        second.stdout
    );
}

#[test]
fn a_row_that_a_later_batch_moved_for_good_is_listed() {
    let shop = "
        create table cu (id int primary key, n int, touched int not null default 0);
        create table od (id int primary key, cu int not null references cu on delete cascade);
        insert into cu values (1, 1), (2, 0);
        insert into od values (1, 1);
        create function counts() returns trigger language plpgsql as $$ begin
            update cu set n = n + 1 where id = new.cu; return null; end $$;
        create trigger counts after insert on od for each row execute function counts();
        create function touch() returns trigger language plpgsql as $$ begin
            new.touched := old.touched + 1; return new; end $$;
        create trigger touch before update on cu for each row execute function touch();";
    let backup = TestDb::with("moved", shop);
    let live = backup.copy("moved_live");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
    live.psql("delete from cu");
    let _planned = rescue.recover_text(RECIPE).expect_code(0);
    let applied = rescue.apply().expect_code(1);
    assert_eq!(
        live.value("select string_agg(id || ':' || n || ':' || (touched > 0), ' ' order by id) from cu"),
        "1:1:true 2:0:false"
    );
    assert!(
        applied.stdout.contains("public.cu (id = 1): written, but live holds other values"),
        "{}",
        applied.stdout
    );
    assert!(
        !applied.stdout.contains("id = 2") && !applied.stdout.contains("every row"),
        "{}",
        applied.stdout
    );
    let verified = rescue.verify().expect_code(1);
    assert!(
        verified.stdout.contains("public.cu (id = 1): live differs in touched (written"),
        "{}",
        verified.stdout
    );
    let _undone = rescue.undo().expect_code(0);
    assert_eq!(live.value("select count(*) from cu"), "0");
}

/// Bob, what hangs on him, and what hangs on that; a review that only lost its link.
const BOB: &str = "
    create table cu (id serial primary key, name text, created timestamptz, phone text);
    create table od (id int primary key, cu int references cu on delete cascade, what text);
    create table item (id int primary key, od int references od on delete cascade);
    create table rv (id int primary key, cu int references cu on delete set null);
    insert into cu values (1, 'ann', '2025-01-01', '1'), (2, 'bob', '2025-01-02', '2');
    insert into od values (1, 2, 'hat'), (2, 1, 'coat');
    insert into item values (1, 1), (2, 2);
    insert into rv values (1, 2), (2, 1);";

/// What the tables hold, one word a row.
fn state(live: &TestDb<'_>) -> String {
    live.value(
        "select string_agg(row, ' ' order by row) from (
            select 'cu' || id || '=' || name as row from cu union all select 'od' || id || '>' || cu from od
            union all select 'item' || id || '>' || od from item
            union all select 'rv' || id || '>' || coalesce(cu::text, 'null') from rv) as t",
    )
}

/// Recovered up to its plan; then `meanwhile` happens.
fn planned<'db>(backup: &TestDb<'_>, live: &'db TestDb<'db>, accident: &str, meanwhile: &str) -> Rescue<'db> {
    let rescue = Rescue::new(live, &backup.dump(&["-Fc"]));
    live.psql(accident);
    let _planned = rescue.recover_text(RECIPE).expect_code(0);
    live.psql(meanwhile);
    rescue
}

/// The batches by plain psql, in order.
fn by_psql(rescue: &Rescue<'_>, database: &TestDb<'_>) {
    let entries = std::fs::read_dir(rescue.case().join("batches")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "{files:?}");
    for file in files {
        let mut psql = database.server().program("psql", database.name());
        super::support::run(psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file));
    }
}

#[test]
fn nothing_is_hung_on_somebody_who_got_the_key_since_the_plan() {
    let backup = TestDb::with("mallory", BOB);
    let live = backup.copy("mallory_live");
    let rescue =
        planned(&backup, &live, "delete from cu", "insert into cu values (2, 'mallory', '2026-11-20', '2')");
    let by_hand = live.copy("mallory_psql");
    let tried = rescue
        .rowback()
        .run(["apply", "case", "--live", &live.url(), "--confirm", live.name(), "--dry-run"])
        .expect_code(1);
    let applied = rescue.apply().expect_code(1);
    let wanted = "cu1=ann cu2=mallory item2>2 od2>1 rv1>null rv2>1";
    assert_eq!(state(&live), wanted);
    for line in [
        "public.cu (id = 2): live holds other values, left alone",
        "public.od (id = 1): held back: its parent in live is another one, or is not there",
        "public.item (id = 1): held back",
        "public.rv (id = 1): held back",
        "4 rows left for a human",
    ] {
        assert!(
            applied.stdout.contains(line) && tried.stdout.contains(line),
            "{line}:\n{}{}",
            applied.stdout,
            tried.stdout
        );
    }
    let verified = rescue.verify().expect_code(1);
    assert!(verified.stdout.contains("public.od (id = 1): not in live (held back"), "{}", verified.stdout);
    by_psql(&rescue, &by_hand);
    assert_eq!(state(&by_hand), wanted, "psql is as careful");
    let _undone = rescue.undo().expect_code(0);
    assert_eq!(state(&live), "cu2=mallory rv1>null rv2>null");
}

#[test]
fn what_hangs_on_a_parent_that_somebody_else_brought_back_comes_back() {
    // The twin: the same person by what tells persons apart, though with another telephone.
    let backup = TestDb::with("brought", BOB);
    let live = backup.copy("brought_live");
    let rescue =
        planned(&backup, &live, "delete from cu", "insert into cu values (2, 'bob', '2025-01-02', '3')");
    let by_hand = live.copy("brought_psql");
    let applied = rescue.apply().expect_code(1);
    let wanted = "cu1=ann cu2=bob item1>1 item2>2 od1>2 od2>1 rv1>2 rv2>1";
    assert_eq!(state(&live), wanted);
    assert!(applied.stdout.contains("1 row left for a human"), "{}", applied.stdout);
    by_psql(&rescue, &by_hand);
    assert_eq!(state(&by_hand), wanted);
}

#[test]
fn nothing_is_hung_on_a_parent_that_was_there_and_was_replaced_since() {
    let backup = TestDb::with("replaced", BOB);
    let live = backup.copy("replaced_live");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
    live.psql("delete from od");
    let recipe = "[[recover]]\ntable = \"public.od\"\nwhere = \"true\"\n";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    live.psql("delete from cu where id = 2; insert into cu values (2, 'mallory', '2026-11-20', '2')");
    let applied = rescue.apply().expect_code(1);
    assert_eq!(state(&live), "cu1=ann cu2=mallory item2>2 od2>1 rv1>null rv2>1");
    assert!(applied.stdout.contains("public.od (id = 1): held back"), "{}", applied.stdout);
    assert!(applied.stdout.contains("public.item (id = 1): held back"), "{}", applied.stdout);
}

#[test]
fn without_times_and_unique_values_the_texts_tell_and_circles_are_held_as_one() {
    let shop = "
        create table cu (id int primary key, name text, n int, up int references cu on delete cascade);
        insert into cu values (1, 'root', 0, null), (2, 'bob', 0, 1), (3, 'leaf', 0, 2), (4, 'twig', 0, 3), (5, 'other', 0, 1);";
    let backup = TestDb::with("texts", shop);
    let live = backup.copy("texts_live");
    let rescue = planned(&backup, &live, "delete from cu", "insert into cu values (2, 'mallory', 0, null)");
    let applied = rescue.apply().expect_code(1);
    assert_eq!(live.value("select string_agg(name, ' ' order by id) from cu"), "root mallory other");
    assert!(
        applied.stdout.contains("public.cu (id = 3): held back")
            && applied.stdout.contains("public.cu (id = 4): held back"),
        "{}",
        applied.stdout
    );
    assert!(applied.stdout.contains("3 rows left for a human"), "{}", applied.stdout);
}

#[test]
fn a_column_that_became_narrower_since_the_plan_rounds_nothing_in_silence() {
    let backup = TestDb::with(
        "narrow",
        "create table cu (id int primary key, amt numeric(10,4)); insert into cu values (1, 0.3333), (2, 0.5)",
    );
    let live = backup.copy("narrow_live");
    let rescue = planned(&backup, &live, "delete from cu", "alter table cu alter amt type numeric(10,1)");
    let applied = rescue.apply().expect_code(1);
    assert!(
        applied.stdout.contains("public.cu (id = 1): written, but live holds other values"),
        "{}",
        applied.stdout
    );
    assert!(!applied.stdout.contains("every row ended as staged"), "{}", applied.stdout);
    let _undone = rescue.undo().expect_code(0);
    assert_eq!(live.value("select count(*) from cu"), "0");
}

#[test]
fn one_refused_row_does_not_make_counters_of_the_others_run_away() {
    let shop = "
        create table cu (id int primary key, name text, n int);
        create table od (id int primary key, cu int references cu on delete cascade, x int references cu);
        insert into cu select n, 'c' || n, 3 from generate_series(1, 6) n;
        insert into od select n, 1 + n % 6, case n when 8 then 4 end from generate_series(1, 18) n;
        create function counts() returns trigger language plpgsql as $$ begin
            update cu set n = n + 1 where id = new.cu; return null; end $$;
        create trigger counts after insert on od for each row execute function counts();";
    let backup = TestDb::with("counters", shop);
    let live = backup.copy("counters_live");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
    live.psql("delete from cu where id <= 3");
    let recipe = "[[recover]]\ntable = \"public.cu\"\nwhere = \"id <= 3\"\n";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    live.psql("delete from cu where id = 4");
    let before = live.digest();
    let applied = rescue.apply().expect_code(1);
    assert_eq!(
        live.value("select string_agg(id || ':' || n, ' ' order by id) from cu"),
        "1:3 2:3 3:3 5:3 6:3"
    );
    let why = "public.od (id = 8): live refused it: insert or update on table \"od\" violates foreign key constraint \"od_x_fkey\"";
    assert!(
        applied.stdout.contains(why) && applied.stdout.contains("1 row left for a human"),
        "{}",
        applied.stdout
    );
    let verified = rescue.verify().expect_code(1);
    assert!(
        verified.stdout.contains("public.od (id = 8): not in live (live refused it: insert or update"),
        "{}",
        verified.stdout
    );
    assert!(
        verified.stdout.contains("NOT verified: not everything that was planned is in live."),
        "{}",
        verified.stdout
    );
    let again = rescue.apply().expect_code(1);
    assert!(again.stdout.contains(why), "{}", again.stdout);
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "after undo");
}

#[test]
fn keys_that_are_moments_mean_the_same_in_every_time_zone() {
    let shop = TestDb::with(
        "zone",
        "create table sensors (id int primary key, seen timestamptz, zone text);
         create table readings (sensor int references sensors on delete cascade, at timestamptz, value int, primary key (sensor, at));
         create table remarks (id int primary key, sensor int, at timestamptz, text text, foreign key (sensor, at) references readings on delete cascade);
         create function log() returns trigger language plpgsql as $$ begin update sensors set seen = now(), zone = current_setting('TimeZone') where id = new.sensor; return new; end $$;
         insert into sensors select g from generate_series(1, 3) g;
         insert into readings select 1 + g % 3, timestamptz '2026-01-01 00:00+00' + g * interval '1 hour', g from generate_series(1, 30) g;
         insert into remarks select g, 1 + g % 3, timestamptz '2026-01-01 00:00+00' + g * interval '1 hour', 'remark ' || g from generate_series(1, 30) g;
         create trigger log after insert on readings for each row execute function log();",
    );
    let dump = shop.dump(&["-Fc"]);
    let told = |zone: &str| {
        let live = shop.copy("live");
        live.psql(&format!("alter database \"{}\" set timezone = '{zone}'", live.name()));
        live.psql("delete from readings where sensor = 2");
        let rescue = Rescue::new(&live, &dump);
        let recipe = "[[recover]]\ntable = \"readings\"\nwhere = \"sensor = 2\"\n";
        let _planned = rescue.recover_text(recipe).expect_code(0);
        // A colleague is quicker with one row, and removes another after the apply.
        live.psql("insert into readings select sensor, at, -1 from (values (2, timestamptz '2026-01-01 04:00+00')) as v(sensor, at)");
        live.psql("update sensors set zone = null");
        let run = |args: &[&str]| {
            let (url, name) = (live.url(), live.name());
            let mut all = args.to_vec();
            all.extend(["case", "--live", &url, "--json"]);
            if args[0] != "verify" {
                all.extend(["--confirm", name]);
            }
            let output = rescue.rowback().run(all);
            let mut json = output.json();
            for volatile in ["live", "seconds", "timings", "verified_at", "applied_at"] {
                json.as_object_mut().unwrap().remove(volatile);
            }
            (output.code, json.to_string().replace(name, "live"))
        };
        let mut found = vec![run(&["apply"]), run(&["apply"]), run(&["verify"])];
        assert_eq!(
            live.value("select zone from sensors where id = 2"),
            zone,
            "triggers see the application's zone"
        );
        live.psql("update readings set value = -2 where sensor = 2 and at = '2026-01-01 07:00+00'");
        found.push(run(&["undo"]));
        found.push((None, live.value("select count(*) || ' ' || sum(value) from readings")));
        found
    };
    let (utc, other) = (told("UTC"), told("Asia/Kolkata"));
    assert_eq!(utc[0].0, Some(1), "{utc:#?}");
    assert_eq!(other, utc);
}

/// A parent that is referred to by another column than its key: whoever has that value by the time of apply may be a stranger.
#[test]
fn a_row_is_not_hung_on_a_stranger_that_took_the_value_it_refers_by() {
    let world = "create table prod (id int primary key, sku text unique, name text, created_at timestamptz);
        create table hard (id int primary key, sku text references prod (sku));
        create table soft (id int primary key, sku text);
        insert into prod values (1, 's1', 'one', '2025-01-01'), (2, 's2', 'two', '2025-01-02');
        insert into hard values (1, 's1'), (2, 's2'); insert into soft values (1, 's1'), (2, 's2')";
    let backup = TestDb::with("taken", world);
    for table in ["hard", "soft"] {
        let live = backup.copy("taken_live");
        live.psql("delete from hard; delete from soft");
        let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
        let recipe = format!(
            "[[recover]]\ntable = \"{table}\"\nwhere = \"true\"\n[[foreign_key]]\nfrom = \"soft(sku)\"\nto = \"prod(sku)\"\n"
        );
        let planned = rescue.recover_text(&recipe).expect_code(0);
        assert!(planned.stdout.contains("Plan: 2 to insert"), "{}", planned.stdout);
        live.psql("delete from prod where id = 2; insert into prod values (99, 's2', 'other', '2026-01-01')");
        let held = rescue.apply().expect_code(1);
        assert!(held.stdout.contains(&format!("public.{table} (id = 2): held back")), "{}", held.stdout);
        assert_eq!(live.value(&format!("select string_agg(id::text, ',') from {table}")), "1", "{table}");
    }
}
