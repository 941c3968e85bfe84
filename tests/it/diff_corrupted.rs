//! Columns that were overwritten, from the recipe to the certificate: exactly the damaged values come back.

use super::support::{Rescue, TestDb};

const SCHOOL: &str = "
create sequence numbers;
create type mood as enum ('sad', 'content', 'glad');
create domain cents as bigint check (value >= 0);
create table classes (id int primary key, name text not null unique);
create table pupils (
  id int primary key, class_id int not null references classes on delete cascade, email text unique, phone text, mood mood,
  fee cents, marks int[], settings jsonb, raw json, place point, letter xml, weight numeric, twice numeric generated always as (weight * 2) stored,
  seen timestamptz, changes int not null default 0);
create table \"odd name\" (\"a b\" text, \"select\" int, \"value \"\"x\"\"\" text, primary key (\"a b\", \"select\"));
insert into classes select g, 'class ' || g from generate_series(1, 4) as g;
insert into pupils (id, class_id, email, phone, mood, fee, marks, settings, raw, place, letter, weight, seen)
select g, 1 + g % 4, 'pupil' || g || '@school.example', '0' || g, (array['sad', 'content', 'glad'])[1 + g % 3]::mood, g * 100,
       array[g, null, g + 1], jsonb_build_object('n', g, 'deep', array[g]), ('{\"b\" : ' || g || ', \"a\":1}')::json, point(g, -g),
       ('<p>' || g || '</p>')::xml, g + 0.50, '2025-01-01 00:00+00'::timestamptz + g * interval '1 day'
from generate_series(1, 2500) as g;
insert into \"odd name\" select 'k' || g, g, E'v\\t' || g from generate_series(1, 5) as g;";

/// A backup of the school, the school after `accident`, and as it should be after the recovery.
fn school(
    accident: &str,
    wanted: &str,
) -> (std::path::PathBuf, TestDb<'static>, TestDb<'static>, TestDb<'static>) {
    let backup = TestDb::with("school", SCHOOL);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("wanted"));
    live.psql(accident);
    truth.psql(wanted);
    (dump, live, truth, backup)
}

/// Recovers, compares the whole database, and undoes; `code` is that of `recover` and `verify`.
fn recover(accident: &str, wanted: &str, recipe: &str, code: i32) {
    let (dump, live, truth, _backup) = school(accident, wanted);
    let damaged = live.digest();
    assert_ne!(truth.digest(), damaged, "the accident did something");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(recipe).expect_code(code);
    damaged.assert_same(&live.digest(), "recover writes nothing to live");
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "after the recovery");
    let _certificate = rescue.verify().expect_code(code);
    let _nothing = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "a second apply changes nothing");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what apply did");
}

#[test]
fn columns_of_every_type_come_back_and_later_work_stays() {
    let other = "update pupils set weight = weight + 1, changes = changes + 1 where id % 10 = 0;
        update pupils set email = 'new' || id || '@school.example' where class_id = 3 and id < 50;
        insert into pupils (id, class_id, email) values (9001, 3, 'newcomer@invalid');
        delete from pupils where id = 77;";
    let fixed = "update pupils set phone = 'by hand', mood = 'glad' where id in (5, 9);";
    let damage = "update pupils set email = md5(email) || '@invalid', phone = null, mood = 'sad', fee = 0, marks = '{}', settings = null,
        raw = '{}', place = point(0, 0), letter = '<gone/>', seen = 'infinity' where class_id = 2;";
    let recipe = "[[recover]]\ntable = \"pupils\"\nkind = \"corrupted\"\nwhere = \"class_id = 2\"
        columns = [\"email\", \"phone\", \"mood\", \"fee\", \"marks\", \"settings\", \"raw\", \"place\", \"letter\", \"seen\"]
        damaged = \"live.email like '%@invalid' and live.phone is null\"";
    // Of 5 and 9, whose phone was written again, the condition says nothing: they stay, and a human is told.
    let kept = "update pupils set email = md5(email) || '@invalid', fee = 0, marks = '{}', settings = null, raw = '{}',
        place = point(0, 0), letter = '<gone/>', seen = 'infinity' where id in (5, 9);";
    recover(&format!("{other}{damage}{fixed}"), &format!("{other}{kept}{fixed}"), recipe, 1);
}

#[test]
fn without_columns_every_value_that_differs_comes_back() {
    let damage = "update pupils set weight = -1, seen = null, class_id = 1 where id between 100 and 1200;
        update \"odd name\" set \"value \"\"x\"\"\" = null where \"select\" > 2;";
    let recipe = r#"[[recover]]
        table = "pupils"
        kind = "corrupted"
        damaged = "live.weight = -1 and (select count(*) > 0 from classes)"
        [[recover]]
        table = "odd name"
        kind = "corrupted"
        damaged = '''live."value ""x""" is null and backup."a b" like 'k%' '''
    "#;
    recover(damage, "", recipe, 0);
}

#[test]
fn without_columns_values_of_every_type_come_back() {
    let damage = "update pupils set email = md5(email) || '@invalid', phone = null, mood = 'sad', fee = 0, marks = '{}', settings = null,
        raw = '{}', place = point(0, 0), letter = '<gone/>', seen = 'infinity', changes = -7 where id % 7 = 0;";
    let recipe =
        "[[recover]]\ntable = \"pupils\"\nkind = \"corrupted\"\ndamaged = \"live.email like '%@invalid'\"";
    // What is not damaged by the condition stays as it is, and a human is told.
    let other = "update pupils set settings = '{\"own\": []}', raw = '[1 ,2]', place = point(1, 2), marks = '{{1},{2}}' where id in (1, 2);";
    recover(damage, "", recipe, 0);
    recover(&format!("{damage}{other}"), other, recipe, 1);
}

#[test]
fn entries_on_one_row_are_joined() {
    let damage =
        "update pupils set email = 'x' || id where id % 3 = 0; update pupils set fee = 1 where id % 5 = 0;
        update pupils set phone = 'kept' where id = 15;";
    let recipe = "[[recover]]\ntable = \"pupils\"\nkind = \"corrupted\"\ncolumns = [\"email\"]\ndamaged = \"live.email like 'x%'\"
        [[recover]]\ntable = \"pupils\"\nkind = \"corrupted\"\ncolumns = [\"fee\", \"email\"]\nwhere = \"id % 5 = 0\"\ndamaged = \"live.fee = 1\"";
    recover(damage, "update pupils set phone = 'kept' where id = 15", recipe, 0);
}

#[test]
fn corruption_and_then_deletion_of_some_of_the_corrupted() {
    let damage = "update pupils set email = 'x' || id, fee = 7 where class_id = 2; delete from pupils where class_id in (2, 3) and id < 500;
        delete from classes where id = 4;";
    let recipe = "[[recover]]\ntable = \"classes\"\nwhere = \"id = 4\"
        [[recover]]\ntable = \"pupils\"\nkind = \"deleted\"\nwhere = \"class_id in (2, 3) and id < 500\"
        [[recover]]\ntable = \"pupils\"\nkind = \"corrupted\"\ncolumns = [\"email\", \"fee\"]\nwhere = \"class_id in (2, 4)\"\ndamaged = \"live.fee = 7\"";
    recover(damage, "", recipe, 0);
}

#[test]
fn rows_that_are_gone_are_not_brought_back_but_named() {
    let (dump, live, truth, _backup) = school(
        "update pupils set fee = 7 where class_id = 2; delete from pupils where id in (1, 5)",
        "delete from pupils where id in (1, 5)",
    );
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"pupils\"\nkind = \"corrupted\"\ncolumns = [\"fee\"]\nwhere = \"class_id = 2\"\ndamaged = \"live.fee = 7\"";
    let planned = rescue.recover_text(recipe).expect_code(1);
    let said = format!("{}{}", planned.stdout, planned.stderr);
    assert!(
        said.contains("2 rows of public.pupils that the recipe does not call deleted are not in live"),
        "{said}"
    );
    assert!(said.contains("no conflicts; 2 left out."), "{said}");
    let _applied = rescue.apply().expect_code(0);
    let verified = rescue.verify().expect_code(1);
    assert!(verified.stdout.contains("Left out by the plan: 2 lost."), "{}", verified.stdout);
    truth.digest().assert_same(&live.digest(), "the deleted stay deleted");
}

#[test]
fn what_changes_between_plan_and_apply_wins() {
    let (dump, live, truth, _backup) = school(
        "update pupils set email = 'x' || id where class_id = 2",
        "update pupils set email = 'colleague' where id = 5; update pupils set phone = 'new', weight = 3 where id = 9;
         delete from pupils where id = 13",
    );
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"pupils\"\nkind = \"corrupted\"\ncolumns = [\"email\"]\ndamaged = \"live.email like 'x%'\"";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    live.psql("update pupils set email = 'colleague' where id = 5; update pupils set phone = 'new', weight = 3 where id = 9;
               delete from pupils where id = 13");
    let applied = rescue.apply().expect_code(1);
    let said = format!("{}{}", applied.stdout, applied.stderr);
    assert!(
        said.contains("(id = 5): live holds other values, left alone") && said.contains("(id = 13): the row"),
        "{said}"
    );
    truth.digest().assert_same(&live.digest(), "the colleague's work stays");
    let _certificate = rescue.verify().expect_code(1);
}

#[test]
fn a_value_that_another_row_holds_by_now_is_left_and_named() {
    let damage = "update pupils set email = 'x' || id where id in (5, 6);
        insert into pupils (id, class_id, email) values (9001, 1, 'pupil5@school.example');";
    let wanted = "update pupils set email = 'x5' where id = 5;
        insert into pupils (id, class_id, email) values (9001, 1, 'pupil5@school.example');";
    let recipe = "[[recover]]\ntable = \"pupils\"\nkind = \"corrupted\"\ncolumns = [\"email\"]\ndamaged = \"live.email like 'x%'\"";
    recover(damage, wanted, recipe, 1);
}

#[test]
fn conditions_that_cannot_be_used_are_refused() {
    let (dump, live, _truth, _backup) = school("update pupils set fee = 7", "");
    let before = live.digest();
    for (key, columns, code, says) in [
        (
            "damaged = \"live.fee = 7 and nonsense\"",
            "\"fee\"",
            "recipe-contradiction",
            "names nonsense without saying whose",
        ),
        ("damaged = \"pupils.fee = 7\"", "\"fee\"", "recipe-contradiction", "Write live.fee or backup.fee"),
        (
            "damaged = \"exists (select from pupils where fee = old.fee)\"",
            "\"fee\"",
            "predicate-failed",
            "old",
        ),
        ("damaged = \"live.fees = 7\"", "\"fee\"", "predicate-failed", "column live.fees does not exist"),
        ("damaged = \"live.fee\"", "\"fee\"", "predicate-failed", "must be type boolean"),
        ("damaged = \"live.fee = 7; delete from pupils\"", "\"fee\"", "predicate-semicolon", "semicolon"),
        ("damaged = \"delete from pupils\"", "\"fee\"", "predicate-writes", "writes or locks"),
        ("damaged = \"nextval('numbers') > 0\"", "\"fee\"", "predicate-writes", "read-only transaction"),
        (
            "where = \"id = 1\"",
            "\"fee\"",
            "recipe-missing-key",
            "nothing says when a row of public.pupils is damaged",
        ),
        ("damaged = \"true\"", "\"twice\"", "column-not-repairable", "generated column"),
        ("damaged = \"true\"", "\"id\"", "column-not-repairable", "a column of the key"),
        ("damaged = \"true\"", "\"fees\"", "unknown-column", "Did you mean \"fee\"?"),
    ] {
        let recipe =
            format!("[[recover]]\ntable = \"pupils\"\nkind = \"corrupted\"\ncolumns = [{columns}]\n{key}");
        let refused = Rescue::new(&live, &dump).recover_text(&recipe).expect_code(2);
        assert!(refused.stderr.contains(&format!("error[{code}")), "{key}: {}", refused.stderr);
        assert!(refused.stderr.contains(says), "{key}: {}", refused.stderr);
    }
    before.assert_same(&live.digest(), "nothing was written");
}

#[test]
fn tables_may_have_the_names_that_statements_use_themselves() {
    for name in ["p", "h", "k", "l", "r", "rowback_s"] {
        let made = format!(
            "create table {name} (id int primary key, code text unique, part int references {name} on delete set null);
             insert into {name} select g, 'c' || g, nullif(g / 2, 0) from generate_series(1, 10) as g;"
        );
        let truth = TestDb::with("names", &made);
        let (dump, live) = (truth.dump(&["-Fc"]), truth.copy("live"));
        live.psql(&format!(
            "update {name} set code = 'bad' || code where id in (3, 4); delete from {name} where id = 5"
        ));
        let rescue = Rescue::new(&live, &dump);
        let recipe = format!(
            "[[recover]]\ntable = \"{name}\"\nkind = \"corrupted\"\ncolumns = [\"code\"]\nwhere = \"id in (3, 4)\"\ndamaged = \"live.code like 'bad%'\"
             [[recover]]\ntable = \"{name}\"\nwhere = \"id = 5\""
        );
        let _planned = rescue.recover_text(&recipe).expect_code(0);
        let _applied = rescue.apply().expect_code(0);
        let _verified = rescue.verify().expect_code(0);
        truth.digest().assert_same(&live.digest(), name);
    }
}

/// PostgreSQL's tables have 1600 columns at most, and a batch stages two values of each.
#[test]
fn more_columns_than_a_batch_can_stage_are_refused_before_a_plan_is_made() {
    let columns: Vec<String> = (1..=810).map(|number| format!("c{number} int default 1")).collect();
    let backup = TestDb::with(
        "wide",
        &format!(
            "create table wide (id int primary key, {}); insert into wide values (1)",
            columns.join(", ")
        ),
    );
    let live = backup.copy("wide_live");
    let all: Vec<String> = (1..=810).map(|number| format!("c{number} = 2")).collect();
    live.psql(&format!("update wide set {}", all.join(", ")));
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
    let entry = "[[recover]]\ntable = \"wide\"\nkind = \"corrupted\"\ndamaged = \"true\"\nwhere = \"true\"\n";
    let refused = rescue.recover_text(entry).expect_code(4);
    assert!(
        refused.stderr.contains("error[plan-too-wide]: 810 columns of public.wide"),
        "{}",
        refused.stderr
    );
    let named: Vec<String> = (1..=700).map(|number| format!("\"c{number}\"")).collect();
    let some = format!("{entry}columns = [{}]\n", named.join(", "));
    let _planned = rescue.recover_text(&some).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.value("select c1 || ' ' || c700 || ' ' || c701 from wide"), "1 1 2");
    let _undone = rescue.undo().expect_code(0);
    assert_eq!(live.value("select c1 || ' ' || c700 || ' ' || c701 from wide"), "2 2 2");
}
