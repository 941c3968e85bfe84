//! Staging files that somebody edited, or made from another source: `diff` takes them as they are, and what follows goes by
//! them.

use super::support::{Output, Rescue, TempDir, TestDb, python, run};

const SHOP: &str = "
    create table customer (id int primary key, email text unique, rate numeric(6,2), since timestamptz not null, ok boolean);
    create table orders (id int primary key, customer int not null references customer on delete cascade, code varchar(4));
    insert into customer select g, 'c' || g, g + 0.5, timestamptz '2026-01-01 10:00+00' + g * interval '1 day', true from generate_series(1, 4) as g;
    insert into orders select 10 * g, g, 'o' || g from generate_series(1, 4) as g;";

const RECIPE: &str = "[[recover]]\ntable = \"customer\"\nwhere = \"id <= 3\"\n";

/// A lost shop, its recovery with CSV staging up to the plan, and the file of the customers.
fn planned<'db>(live: &'db TestDb<'db>, dump: &std::path::Path, format: &str) -> Rescue<'db> {
    live.psql("delete from customer where id <= 3");
    let rescue = Rescue::new(live, dump);
    let _planned = rescue.recover_with(RECIPE, &["--staging", format]).expect_code(0);
    rescue
}

fn again(rescue: &Rescue<'_>, live: &TestDb<'_>) -> Output {
    rescue.rowback().run(["diff", "case", "--live", &live.url()])
}

fn plan(rescue: &Rescue<'_>) -> Output {
    rescue.rowback().run(["plan", "case"])
}

const HEADER: &str = "id,email,rate,since,ok,rowback_origin\n";

fn customers(live: &TestDb<'_>) -> String {
    live.value("select string_agg(c::text, ' ' order by id) from customer as c")
}

#[test]
fn an_edited_file_is_taken_as_it_is_to_the_end() {
    let backup = TestDb::with("edited", SHOP);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("set timezone = 'UTC'");
    let rescue = planned(&live, &dump, "csv");
    let before = live.digest();
    let file = rescue.case().join("staging/public.customer.csv");
    let old = std::fs::read_to_string(&file).unwrap();
    assert!(old.starts_with(HEADER), "{old}");
    // One value changed, one row taken away, one added; numbers, times and truth as another program writes them.
    let edited = format!(
        "{HEADER}1,mended,7,2026-01-02 12:00+02,yes,predicate 0\n3,c3,3.50,2026-01-04 10:00:00+00,t,predicate 0\n9,new,,2026-01-05 10:00Z,,\n"
    );
    std::fs::write(&file, edited).unwrap();
    let diffed = again(&rescue, &live).expect_code(1);
    assert!(diffed.stdout.contains("rowback plan"), "{}", diffed.stdout);
    let told = "note: staging/public.customer.csv is taken as it was edited: 3 rows, 3 were staged";
    assert!(diffed.stdout.contains(told), "{}", diffed.stdout);
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        format!(
            "{HEADER}1,mended,7.00,2026-01-02 10:00:00+00,t,predicate 0\n3,c3,3.50,2026-01-04 10:00:00+00,t,predicate 0\n9,new,,2026-01-05 10:00:00+00,,\"\"\n"
        )
        .replace(",\"\"\n", ",\n")
    );
    let planned = plan(&rescue).expect_code(1);
    assert!(
        planned.stdout.contains("is taken as it was edited: 3 rows, 3 were staged"),
        "{}",
        planned.stdout
    );
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(
        live.value("select string_agg(concat_ws(' ', id, email, rate, since at time zone 'UTC', ok), ', ' order by id) from customer"),
        "1 mended 7.00 2026-01-02 10:00:00 t, 3 c3 3.50 2026-01-04 10:00:00 t, 4 c4 4.50 2026-01-05 10:00:00 t, 9 new 2026-01-05 10:00:00"
    );
    // The order of the customer who was taken away has nobody to hang on.
    assert_eq!(live.value("select string_agg(id::text, ' ' order by id) from orders"), "10 30 40");
    let _verified = rescue.verify().expect_code(1);
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "undo takes back what was written");
}

/// The columns in another order, rowback's own left away, another format than was staged.
#[test]
fn a_file_from_another_source_takes_the_place_of_the_staged_one() {
    let backup = TestDb::with("source", SHOP);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    let rescue = planned(&live, &dump, "parquet");
    let staging = rescue.case().join("staging");
    std::fs::remove_file(staging.join("public.customer.parquet")).unwrap();
    std::fs::write(
        staging.join("public.customer.csv"),
        "email,since,id,ok,rate\r\n\"c, 1\",2026-01-02T10:00:00Z,1,true,1.5\r\nc2,2026-01-03 10:00:00+00,2,f,2\r\nc3,2026-01-04 10:00:00+00,3,,\r\n",
    )
    .unwrap();
    let _diffed = again(&rescue, &live).expect_code(0);
    let _planned = plan(&rescue).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    let _verified = rescue.verify().expect_code(0);
    assert_eq!(
        live.value("select string_agg(concat_ws(' ', id, email, rate, ok), ', ' order by id) from customer"),
        "1 c, 1 1.50 t, 2 c2 2.00 f, 3 c3, 4 c4 4.50 t"
    );
    assert_eq!(live.value("select string_agg(id::text, ' ' order by id) from orders"), "10 20 30 40");
}

#[test]
fn a_parquet_file_that_another_program_wrote_again_is_taken() {
    let backup = TestDb::with("parquet", SHOP);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    let rescue = planned(&live, &dump, "parquet");
    let dir = TempDir::new("again");
    let script = dir.write(
        "edit.py",
        "import sys, duckdb\nfile = sys.argv[1]\nduckdb.sql(f\"create table t as select * replace (upper(email) as email) from '{file}' where id < 3\")\nduckdb.sql(f\"copy t to '{file}' (format parquet)\")\n",
    );
    run(python().arg(script).arg(rescue.case().join("staging/public.customer.parquet")));
    let _diffed = again(&rescue, &live).expect_code(1);
    let _planned = plan(&rescue).expect_code(1);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.value("select string_agg(email, ' ' order by id) from customer"), "C1 C2 c4");
}

#[test]
fn what_breaks_a_rule_is_named_with_its_row_and_stays_as_it_was() {
    let backup = TestDb::with("rules", SHOP);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    let rescue = planned(&live, &dump, "csv");
    let staging = rescue.case().join("staging");
    let (customers, orders) = (staging.join("public.customer.csv"), staging.join("public.orders.csv"));
    let good = std::fs::read_to_string(&customers).unwrap();
    let good_orders = std::fs::read_to_string(&orders).unwrap();
    let row = |row: &str| format!("{HEADER}1,a,1,2026-01-02 10:00+00,t,\n{row}\n");
    for (text, told) in [
        (row("1,b,1,2026-01-02 10:00+00,t,"), "rows 1 and 2 have the same key (id)"),
        (row(",b,1,2026-01-02 10:00+00,t,"), "row 2 has no id, which is of the key"),
        (row("two,b,1,2026-01-02 10:00+00,t,"), "row 2: id: invalid input syntax for type integer: \"two\""),
        (
            row("2,b,1.005,2026-01-02 10:00+00,t,"),
            "row 2: rate is numeric(6,2), which would cut or round the value",
        ),
        (row("2,b,1,2026-13-02 10:00+00,t,"), "row 2: since: date/time field value out of range"),
        ("id,email,rate,sinze,ok\n".to_owned(), "column \"sinze\" is unknown; is \"since\" meant?"),
        (row("2,b,1,2026-01-02 10:00+00,t"), "5 fields where the first line names 6"),
    ] {
        std::fs::write(&customers, &text).unwrap();
        let refused = again(&rescue, &live).expect_code(3);
        assert!(refused.stderr.contains(told), "{told}: {}", refused.stderr);
        assert_eq!(std::fs::read_to_string(&customers).unwrap(), text);
    }
    std::fs::write(&customers, &good).unwrap();
    std::fs::write(&orders, good_orders.replace("o2", "o2345")).unwrap();
    let refused = again(&rescue, &live).expect_code(3);
    assert!(
        refused.stderr.contains("row 2: code is character varying(4), which would cut"),
        "{}",
        refused.stderr
    );
    std::fs::write(&orders, &good_orders).unwrap();
    for (name, told) in [
        ("public.customer.parquet", "holds rows of the same table; keep one of them"),
        ("public.invoice.csv", "no table of this case has its rows there"),
    ] {
        std::fs::write(staging.join(name), "id\n1\n").unwrap();
        let refused = again(&rescue, &live).expect_code(3);
        assert!(refused.stderr.contains(told), "{told}: {}", refused.stderr);
        std::fs::remove_file(staging.join(name)).unwrap();
    }
    std::fs::rename(&orders, staging.join("orders.bak")).unwrap();
    let refused = again(&rescue, &live).expect_code(3);
    assert!(refused.stderr.contains("it is gone"), "{}", refused.stderr);
    std::fs::rename(staging.join("orders.bak"), &orders).unwrap();
    let _diffed = again(&rescue, &live).expect_code(0);
    let _planned = plan(&rescue).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(self::customers(&live), self::customers(&backup));
}

/// Who the rows of a file are for, where it does not say, the entries about their table say.
#[test]
fn a_file_from_another_source_tells_what_is_damaged() {
    let backup = TestDb::with("truth", SHOP);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("update customer set email = null");
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"customer\"\nkind = \"corrupted\"\ncolumns = [\"email\"]\nwhere = \"id <= 3\"\ndamaged = \"live.email is null\"\n";
    let _planned = rescue.recover_with(recipe, &["--staging", "csv"]).expect_code(0);
    let file = rescue.case().join("staging/public.customer.csv");
    std::fs::write(
        &file,
        "id,email,rate,since,ok\n1,told,1.5,2026-01-02 10:00+00,t\n3,too,3.5,2026-01-04 10:00+00,t\n",
    )
    .unwrap();
    let diffed = again(&rescue, &live).expect_code(0);
    assert!(diffed.stdout.contains("damaged"), "{}", diffed.stdout);
    let _planned = plan(&rescue).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(
        live.value("select string_agg(concat(id, email), ' ' order by id) from customer"),
        "1told 2 3too 4"
    );
}

/// What is refused leaves the earlier plan as it was: with the old file back it can be applied. What was begun can be ended
/// whatever became of the files.
#[test]
fn a_refused_file_leaves_the_plan_and_a_begun_apply_goes_on() {
    let backup = TestDb::with("begun", SHOP);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from customer where id <= 3");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_with(RECIPE, &["--staging", "csv", "--batch-rows", "1"]).expect_code(0);
    let file = rescue.case().join("staging/public.customer.csv");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("2,c2", "two,c2")).unwrap();
    let _refused = again(&rescue, &live).expect_code(3);
    std::fs::write(&file, &good).unwrap();
    // The connection ends with the third customer.
    live.psql(
        "create function cut() returns trigger language plpgsql as $$begin perform pg_terminate_backend(pg_backend_pid()); return new; end$$;
         create trigger cut before insert on customer for each row when (new.id = 3) execute function cut()",
    );
    let stopped = rescue.apply().expect_code(5);
    assert!(stopped.stderr.contains("are committed"), "{}", stopped.stderr);
    live.psql("drop function cut cascade");
    std::fs::write(&file, good.replace("c1", "edited")).unwrap();
    let _ended = rescue.apply().expect_code(0);
    assert_eq!(customers(&live), customers(&backup));
}

/// A plan goes by the files that it was made of.
#[test]
fn nothing_is_planned_or_applied_of_files_that_are_others_by_now() {
    let backup = TestDb::with("since", SHOP);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    let rescue = planned(&live, &dump, "csv");
    let before = live.digest();
    let file = rescue.case().join("staging/public.customer.csv");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("c1", "edited")).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let url = live.url();
        let args = ["apply", "case", "--live", &url, "--confirm", live.name()];
        let refused = rescue.rowback().run(args.iter().chain(more)).expect_code(4);
        assert!(refused.stderr.contains("staging-edited"), "{}", refused.stderr);
    }
    before.assert_same(&live.digest(), "nothing was written");
    let refused = plan(&rescue).expect_code(4);
    assert!(refused.stderr.contains("staging-edited"), "{}", refused.stderr);
    let refused = rescue.apply().expect_code(3);
    assert!(refused.stderr.contains("rowback plan"), "{}", refused.stderr);
    before.assert_same(&live.digest(), "nothing was written");
    let _diffed = again(&rescue, &live).expect_code(0);
    let _planned = plan(&rescue).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    let _verified = rescue.verify().expect_code(0);
    assert_eq!(live.value("select string_agg(email, ' ' order by id) from customer"), "edited c2 c3 c4");
    let refused = again(&rescue, &live).expect_code(4);
    assert!(refused.stderr.contains("case-already-applied"), "{}", refused.stderr);
}
