//! Whole recoveries through the binary. Each compares the whole database with the wanted one: what would be there had
//! there been no accident. Beside `apply`, the batches are run by plain psql, twice, on a copy; then `undo` must restore
//! the database as it was.

use std::fs;
use std::path::Path;

use super::support::{Digest, Output, Rescue, TestDb, run};

/// An accident and what must come of it.
pub struct Scenario<'a> {
    /// For the names of databases.
    pub name: &'a str,
    /// The database before the accident; this is dumped.
    pub shop: &'a str,
    /// How it is dumped.
    pub dump: &'a [&'a str],
    /// What went wrong, in live only.
    pub accident: &'a str,
    /// What went on afterwards, in live and in the wanted database.
    pub later: &'a str,
    /// What else makes the wanted database differ from one without accident; before `later`.
    pub besides: &'a str,
    pub recipe: &'a str,
    /// Further arguments of `recover`.
    pub more: &'a [&'a str],
    /// Exit code of `recover` and `verify`: 1 when something is left for a human.
    pub code: i32,
}

pub const PLAIN: Scenario<'_> = Scenario {
    name: "plain",
    shop: "",
    dump: &["-Fc"],
    accident: "",
    later: "",
    besides: "",
    recipe: "",
    more: &[],
    code: 0,
};

/// Plays it through; `look` sees the case after `recover`.
pub fn play(scenario: &Scenario<'_>, look: impl FnOnce(&Rescue, &Output)) {
    let shop = TestDb::with(scenario.name, scenario.shop);
    let backup = shop.dump(scenario.dump);
    let (live, wanted) = (shop.copy("live"), shop.copy("wanted"));
    live.psql(scenario.accident);
    live.psql(scenario.later);
    wanted.psql(scenario.besides);
    wanted.psql(scenario.later);
    let damaged = live.digest();
    let by_hand = live.copy("by_hand");

    let rescue = Rescue::new(&live, &backup);
    let planned = rescue.recover_with(scenario.recipe, scenario.more).expect_code(scenario.code);
    damaged.assert_same(&live.digest(), "recover writes nothing to live");
    look(&rescue, &planned);

    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), scenario.name);
    assert_eq!(live.sequences(), wanted.sequences(), "sequences hand out no number twice, and skip none");
    let _certificate = rescue.verify().expect_code(scenario.code);
    let _nothing = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "a second apply changes nothing");

    run_batches(&by_hand, &rescue.case());
    wanted.digest().assert_same(&by_hand.digest(), "psql does what apply does");
    assert_eq!(by_hand.sequences(), wanted.sequences(), "by psql");
    let versions = versions_of_rows(&by_hand);
    run_batches(&by_hand, &rescue.case());
    wanted.digest().assert_same(&by_hand.digest(), "a second time by psql changes nothing");
    assert_eq!(versions_of_rows(&by_hand), versions, "and writes nothing, not even the same values");

    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what apply did");
}

/// Runs the batches of a case in order, as anybody can without rowback.
fn run_batches(database: &TestDb, case: &Path) {
    let files = names_in(&case.join("batches"));
    assert!(!files.is_empty(), "there is something to do");
    for file in files {
        let mut psql = database.server().program("psql", database.name());
        run(psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f"]).arg(case.join("batches").join(file)));
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Which transaction wrote each row: a row that is written again, even with the same values, shows.
fn versions_of_rows(database: &TestDb) -> String {
    let list = database.psql(
        "select format('select %L, id, xid from (select ctid::text as id, xmin::text as xid from %s) as t order by 2;',
                       oid::regclass, oid::regclass)
         from pg_class where relkind = 'r' and relnamespace::regnamespace::text !~ '^(pg_|information_schema)' order by 1",
    );
    database.psql(&list)
}

/// The verdicts of a plan: `table verdict count`, one line each.
pub fn verdicts(case: &Path) -> Vec<String> {
    let plan: serde_json::Value = serde_json::from_slice(&fs::read(case.join("plan.json")).unwrap()).unwrap();
    let mut lines = Vec::new();
    for (table, counts) in plan["verdicts"].as_object().unwrap() {
        let counts = counts.as_object().unwrap().iter();
        lines.extend(counts.map(|(verdict, count)| format!("{table} {verdict} {count}")));
    }
    lines
}

const TENANTS: &str = "
    create table tenants (id int primary key, name text unique not null);
    create table accounts (tenant_id int references tenants on delete cascade, no int, name text, primary key (tenant_id, no));
    create table invoices (tenant_id int, no int, account_no int not null, amount numeric(12,2), primary key (no, tenant_id),
        foreign key (tenant_id, account_no) references accounts on delete cascade);
    create table lines (tenant_id int, invoice_no int, pos int, what text, primary key (tenant_id, invoice_no, pos),
        foreign key (invoice_no, tenant_id) references invoices on delete cascade);
    create table folders (id int primary key, tenant_id int not null references tenants on delete cascade,
        parent_id int references folders on delete cascade, name text);
    insert into tenants values (1, 'one'), (2, 'two'), (3, 'three');
    insert into accounts select t, no, 'account ' || no from generate_series(1, 3) t, generate_series(1, 4) no;
    insert into invoices select t, no, 1 + no % 4, no * 1.25 from generate_series(1, 3) t, generate_series(1, 9) no;
    insert into lines select t, no, pos, repeat('x', pos) from generate_series(1, 3) t, generate_series(1, 9) no, generate_series(1, 3) pos;
    -- Deeper than any batch, and no order of the numbers is the order of the parents.
    insert into folders select t * 100 + ids[at], t, t * 100 + ids[at - 1], 'depth ' || at
        from (select '{50,10,90,20,80,30,70,40,60}'::int[] as ids) as chain, generate_series(1, 3) t, generate_subscripts(ids, 1) at;";

const TENANTS_RECIPE: &str = "[[recover]]\ntable = \"public.tenants\"\nwhere = \"id = 2\"\n";

#[test]
fn a_cascade_three_deep_over_composite_keys_and_a_deep_self_reference() {
    let scenario = Scenario {
        name: "tenants",
        shop: TENANTS,
        accident: "delete from tenants where id = 2",
        later: "insert into tenants values (4, 'four'); insert into accounts values (1, 99, 'new'); update lines set what = 'edited' where tenant_id = 1",
        recipe: TENANTS_RECIPE,
        more: &["--batch-rows", "2"],
        ..PLAIN
    };
    play(&scenario, |rescue, _| {
        let lost =
            ["accounts lost 4", "folders lost 9", "invoices lost 9", "lines lost 27", "tenants lost 1"];
        assert_eq!(verdicts(&rescue.case()), lost.map(|line| format!("public.{line}")));
        assert!(names_in(&rescue.case().join("batches")).len() >= 27, "small batches");
    });
}

/// `plan.json`, batches and undo files of a case.
fn plan_files(case: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("plan.json".to_owned(), fs::read(case.join("plan.json")).unwrap())];
    for directory in ["batches", "undo"] {
        for name in names_in(&case.join(directory)) {
            let content = fs::read(case.join(directory).join(&name)).unwrap();
            files.push((format!("{directory}/{name}"), content));
        }
    }
    files
}

#[test]
fn the_same_input_gives_the_same_bytes_and_csv_gives_the_same_batches() {
    let shop = TestDb::with("tenants", TENANTS);
    let backup = shop.dump(&["-Fd"]);
    shop.psql("delete from tenants where id = 2");
    let rescue = Rescue::new(&shop, &backup);
    let again = |case: &str, more: &[&str]| {
        let args = [&["--batch-rows", "4", "--case", case], more].concat();
        let _planned = rescue.recover_with(TENANTS_RECIPE, &args).expect_code(0);
        plan_files(&rescue.directory().join(case))
    };
    let first = again("first", &[]);
    assert!(first == again("second", &[]), "two recoveries into two directories");
    assert!(first == again("first", &[]), "and one more into the first");
    let mut csv = again("csv", &["--staging", "csv"]);
    assert!(rescue.directory().join("csv/staging/public.tenants.csv").exists());
    // plan.json holds the digest of staging, which is another file; all else is the same.
    let plan = |bytes: &[u8]| {
        let mut plan: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        for key in ["staging_sha256", "diff_sha256", "seal"] {
            assert!(plan.as_object_mut().unwrap().remove(key).is_some(), "{key}");
        }
        plan
    };
    assert_eq!(plan(&csv.remove(0).1), plan(&first[0].1));
    assert!(csv == first[1..], "batches and undo files");
    // The twin: one value that differs shows.
    shop.psql("insert into tenants values (2, 'two'); insert into accounts values (2, 1, 'account 1')");
    assert!(first != again("other", &[]), "another live database is another plan");
}

#[test]
fn tables_that_refer_to_each_other_without_a_way_to_defer() {
    let scenario = Scenario {
        name: "teams",
        shop: "
            create table teams (id int primary key, name text not null unique, lead_id int not null);
            create table people (id int primary key, team_id int not null references teams on delete cascade,
                                 mentor_id int not null references people, name text);
            alter table teams add foreign key (lead_id) references people on delete cascade;
            with t as (insert into teams select t, 'team ' || t, t * 10 + 2 from generate_series(1, 4) t),
                 p as (insert into people select t * 10 + p, t, t * 10 + 4 - p % 4, 'person ' || p from generate_series(1, 4) t, generate_series(1, 4) p)
            select;
            create table badges (person_id int references people on delete cascade, no int, primary key (person_id, no));
            insert into badges select id, 1 from people;",
        dump: &["-Ft"],
        accident: "delete from teams where id in (2, 3)",
        later: "update teams set name = 'renamed' where id = 1",
        recipe: "[[recover]]\ntable = \"public.teams\"\nwhere = \"id in (2, 3)\"\n",
        more: &["--batch-rows", "2"],
        ..PLAIN
    };
    play(&scenario, |rescue, _| {
        let lost = ["badges lost 8", "people lost 8", "teams lost 2"];
        assert_eq!(verdicts(&rescue.case()), lost.map(|line| format!("public.{line}")));
    });
}

#[test]
fn identity_always_generated_columns_and_sequences_that_were_reset() {
    let scenario = Scenario {
        name: "tickets",
        shop: "
            create table tickets (id bigint primary key generated always as identity (increment by 5), no serial unique, title text,
                                  length int generated always as (length(title)) stored);
            insert into tickets (title) select repeat('t', g) from generate_series(1, 10) g;",
        accident: "truncate tickets restart identity; insert into tickets (title) values ('gone again'); delete from tickets",
        recipe: "[[recover]]\ntable = \"public.tickets\"\nwhere = \"true\"\n",
        ..PLAIN
    };
    play(&scenario, |rescue, _| {
        // No batch may write the generated column, every one must be let through by GENERATED ALWAYS.
        let batches = rescue.case().join("batches");
        let text: String =
            names_in(&batches).iter().map(|name| fs::read_to_string(batches.join(name)).unwrap()).collect();
        assert!(text.to_lowercase().contains("overriding system value"), "{text}");
    });
}

#[test]
fn names_and_values_that_need_quotes() {
    let scenario = Scenario {
        name: "quoted",
        shop: r#"
            create schema "Ö de";
            create table "Ö de"."select" ("a b" text, "from" int, "quote""d" text not null default '', "Ünï" text[], "x.y" jsonb, raw bytea,
                                          at timestamptz, f float8, primary key ("a b", "from"));
            create table "Ö de"."T ""x""" ("Id" int primary key, "ref a" text, "ref" int, "$1" text,
                foreign key ("ref a", "ref") references "Ö de"."select" on delete cascade);
            insert into "Ö de"."select" values
                (E'tab\there', 2, E'line\nbreak', '{"a,b",NULL,"NULL","\"q\"","\\"}', '{"k": "\\ \" ''"}', '\x005c0a', 'infinity', 'NaN'),
                (E'back\\slash', 2, '\N', '{}', 'null', '', '0044-03-15 12:00:00+00 BC', '-0'),
                ('', 2, '\.', null, null, null, null, null),
                (E'quote''d "x" $$ $a$ ; --', 3, '😀 ä', '{{1,2},{3,4}}', '[]', '\xff', '2026-02-29 23:59:59.999999+00'::timestamptz - interval '1 day' + interval '1 day', 0.1),
                ('kept', 1, E'\r\n', null, null, null, null, 1e300);
            insert into "Ö de"."T ""x""" select row_number() over (), "a b", "from", 'child of ' || "a b" from "Ö de"."select";"#.trim_end(),
        dump: &["-Fc", "-Z0"],
        accident: r#"delete from "Ö de"."select" where "from" > 1"#,
        later: r#"update "Ö de"."select" set "quote""d" = 'later' where "from" = 1"#,
        recipe: "[[recover]]\ntable = 'Ö de.select'\nwhere = '''\"from\" > 1'''\n",
        more: &["--staging", "csv"],
        ..PLAIN
    };
    let shop = scenario.shop.replace(
        "'2026-02-29 23:59:59.999999+00'::timestamptz - interval '1 day' + interval '1 day'",
        "'2026-02-28 23:59:59.999999+00'",
    );
    play(&Scenario { shop: &shop, ..scenario }, |rescue, _| {
        assert_eq!(verdicts(&rescue.case()), [r#"Ö de."T ""x""" lost 4"#, "Ö de.select lost 4"]);
    });
}

#[test]
fn partitioned_tables_through_their_root() {
    let scenario = Scenario {
        name: "partitioned",
        shop: "
            create table customers (id int primary key, name text);
            create table events (id int, day date, customer_id int references customers on delete cascade, kind text, primary key (id, day)) partition by range (day);
            create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01');
            create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01') partition by list (id);
            create table events_2026_a partition of events_2026 for values in (15, 16, 17);
            create table events_2026_b partition of events_2026 default;
            create table events_rest partition of events default;
            create table notes (id int primary key, event_id int, day date, note text, foreign key (event_id, day) references events on delete cascade);
            insert into customers select g, 'customer ' || g from generate_series(1, 4) g;
            insert into events select g, date '2024-12-01' + g * 30, 1 + g % 4, case when g % 3 = 0 then 'a' else 'b' end from generate_series(1, 40) g;
            insert into notes select id, id, day, 'note' from events;",
        dump: &["-Fd", "-j2"],
        accident: "delete from customers where id = 2; delete from events where customer_id = 3 and kind = 'a'",
        later: "insert into events values (99, '2026-05-05', 1, 'a')",
        recipe: "
            [[recover]]
            table = \"public.customers\"
            where = \"id = 2\"
            [[recover]]
            table = \"public.events\"
            where = \"customer_id = 3 and kind = 'a'\"",
        more: &["--batch-rows", "3"],
        ..PLAIN
    };
    play(&scenario, |rescue, _| {
        let lost = ["customers lost 1", "events lost 13", "notes lost 13"];
        let found: Vec<String> =
            verdicts(&rescue.case()).into_iter().filter(|line| line.contains(" lost ")).collect();
        assert_eq!(found, lost.map(|line| format!("public.{line}")));
    });
}

pub const REGIONS: &str = "
    create table regions (id int primary key, name text unique not null);
    create table customers (id int primary key, region_id int not null references regions, name text);
    create table orders (id int primary key, customer_id int not null references customers, total int);
    insert into regions select g, 'region ' || g from generate_series(1, 3) g;
    insert into customers select g, 1 + g % 3, 'customer ' || g from generate_series(1, 6) g;
    insert into orders select g, 1 + g % 6, g from generate_series(1, 30) g;";

#[test]
fn a_digest_tells_databases_apart() {
    // The twin of every comparison above: one value, one row, one table more is seen.
    let one = TestDb::with("regions", REGIONS);
    let other = one.copy("other");
    let equal = |left: &Digest, right: &Digest| left.difference(right).is_empty();
    assert!(equal(&one.digest(), &other.digest()));
    let versions = versions_of_rows(&other);
    other.psql("update orders set total = total where id = 3");
    assert!(
        equal(&one.digest(), &other.digest()) && versions != versions_of_rows(&other),
        "written, not changed"
    );
    other.psql("update orders set total = total + 1 where id = 3");
    assert!(!equal(&one.digest(), &other.digest()));
}
