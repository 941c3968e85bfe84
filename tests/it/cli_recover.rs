//! Whole recoveries through the binary. Each compares the whole database with the wanted one: what would be there had
//! there been no accident. Beside `apply`, the batches are run by plain psql, twice, on a copy; then `undo` must restore
//! the database as it was.

use std::fs;
use std::path::Path;

use super::support::{Digest, Output, Rescue, TestDb, run};

/// An accident and what must come of it.
struct Scenario<'a> {
    /// For the names of databases.
    name: &'a str,
    /// The database before the accident; this is dumped.
    shop: &'a str,
    /// How it is dumped.
    dump: &'a [&'a str],
    /// What went wrong, in live only.
    accident: &'a str,
    /// What went on afterwards, in live and in the wanted database.
    later: &'a str,
    /// What else makes the wanted database differ from one without accident; before `later`.
    besides: &'a str,
    recipe: &'a str,
    /// Further arguments of `recover`.
    more: &'a [&'a str],
    /// Exit code of `recover` and `verify`: 1 when something is left for a human.
    code: i32,
}

const PLAIN: Scenario<'_> = Scenario {
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
fn play(scenario: &Scenario<'_>, look: impl FnOnce(&Rescue, &Output)) {
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
fn verdicts(case: &Path) -> Vec<String> {
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

const REGIONS: &str = "
    create table regions (id int primary key, name text unique not null);
    create table customers (id int primary key, region_id int not null references regions, name text);
    create table orders (id int primary key, customer_id int not null references customers, total int);
    insert into regions select g, 'region ' || g from generate_series(1, 3) g;
    insert into customers select g, 1 + g % 3, 'customer ' || g from generate_series(1, 6) g;
    insert into orders select g, 1 + g % 6, g from generate_series(1, 30) g;";

#[test]
fn parents_that_live_lacks_come_along() {
    let accident = "delete from orders where customer_id in (1, 4); delete from customers where id in (1, 4); delete from regions where id = 2";
    let recipe = "[[recover]]\ntable = \"public.orders\"\nwhere = \"customer_id in (1, 4)\"\n";
    let scenario = Scenario { name: "regions", shop: REGIONS, accident, recipe, ..PLAIN };
    play(&scenario, |rescue, _| {
        let lost = ["customers lost 2", "orders lost 10", "regions lost 1"];
        assert_eq!(verdicts(&rescue.case()), lost.map(|line| format!("public.{line}")));
    });
    // Told not to, it says what is missing and inserts nothing.
    let live = TestDb::with("regions", REGIONS);
    let backup = live.dump(&["-Fc"]);
    live.psql(accident);
    let rescue = Rescue::new(&live, &backup);
    let _planned =
        rescue.recover_with(&format!("{recipe}[policy]\nparents = \"none\"\n"), &[]).expect_code(1);
    assert_eq!(verdicts(&rescue.case()), ["public.orders orphan 10"]);
}

#[test]
fn rows_whose_place_was_taken_meanwhile() {
    let scenario = Scenario {
        name: "recreated",
        shop: "
            create table accounts (id serial primary key, email text not null unique, handle text, phone text, active boolean not null,
                                   room int4range, exclude using gist (room with &&));
            create unique index on accounts (lower(handle));
            create unique index on accounts (phone) where active;
            create table orders (id int primary key, account_id int not null references accounts on delete cascade);
            insert into accounts (email, handle, phone, active, room)
                select 'mail' || g, 'Handle' || g, 'phone' || g, true, int4range(g * 10, g * 10 + 5) from generate_series(1, 12) g;
            insert into orders select a * 10 + n, a from generate_series(1, 12) a, generate_series(1, 2) n;",
        accident: "delete from accounts where id <= 10",
        later: "
            insert into accounts (email, active) values ('mail1', true);
            insert into accounts (email, handle, active) values ('new2', 'hANDLE2', true);
            insert into accounts (email, phone, active) values ('new3', 'phone3', true);
            insert into accounts (email, room, active) values ('new4', '[42,43]', true);
            insert into accounts (email, phone, active) values ('new5', 'phone5', false);
            insert into accounts (email, room, active) values ('new6', '[66,67]', false);",
        besides: "delete from accounts where id in (1, 2, 3, 4)",
        recipe: "[[recover]]\ntable = \"public.accounts\"\nwhere = \"id <= 10\"\n",
        code: 1,
        ..PLAIN
    };
    play(&scenario, |rescue, planned| {
        assert_eq!(
            verdicts(&rescue.case()),
            ["accounts lost 6", "accounts recreated 4", "orders lost 12", "orders orphan 8"]
                .map(|line| format!("public.{line}"))
        );
        assert!(planned.stdout.contains("18 to insert"), "{}", planned.stdout);
        assert!(planned.stdout.contains("12 conflicts kept as they are"), "{}", planned.stdout);
    });
}

#[test]
fn unique_keys_that_are_checked_at_the_end() {
    let scenario = Scenario {
        name: "deferrable",
        shop: "
            create table lists (id int primary key deferrable initially deferred, name text);
            create table items (id int primary key, list_id int not null, position int not null, span int4range,
                unique (list_id, position) deferrable, exclude using gist (span with &&) deferrable initially deferred);
            insert into lists select g, 'list ' || g from generate_series(1, 4) g;
            insert into items select l * 10 + p, l, p, int4range(l * 100 + p, l * 100 + p + 1) from generate_series(1, 4) l, generate_series(1, 5) p;",
        accident: "delete from lists where id in (2, 3); delete from items where list_id in (2, 3)",
        later: "insert into items values (99, 3, 4, null), (98, 7, 7, '[201,202)')",
        besides: "delete from items where id in (34, 21)",
        recipe: "
            [[recover]]
            table = \"public.lists\"
            where = \"id in (2, 3)\"
            [[foreign_key]]
            from = \"public.items(list_id)\"
            to = \"public.lists(id)\"",
        more: &["--batch-rows", "3"],
        code: 1,
        ..PLAIN
    };
    play(&scenario, |rescue, _| {
        let counts = ["items lost 8", "items recreated 2", "lists lost 2"];
        assert_eq!(verdicts(&rescue.case()), counts.map(|line| format!("public.{line}")));
    });
}

#[test]
fn rows_that_must_stay_deleted() {
    let shop = REGIONS
        .replace("customers (id int primary key,", "customers (id int primary key, email text unique,")
        .replace("insert into customers select g, 1", "insert into customers select g, 'mail' || g, 1");
    let files = super::support::TempDir::new("tombstones");
    let erased = files.write("erased.csv", "email\nmail3\nmail5\nnobody\n");
    let recipe = format!(
        "[[recover]]\ntable = \"public.customers\"\nwhere = \"true\"\n[policy]\nexclude_keys = {{ \"public.customers\" = \"{}\" }}\n",
        erased.display()
    );
    let scenario = Scenario {
        name: "erased",
        shop: &shop,
        accident: "delete from orders; delete from customers",
        besides: "delete from orders where customer_id in (3, 5); delete from customers where id in (3, 5)",
        recipe: &recipe,
        ..PLAIN
    };
    play(&scenario, |rescue, _| {
        let counts = [
            "customers excluded 2",
            "customers lost 4",
            "orders excluded 10",
            "orders lost 20",
            "regions same 3",
        ];
        assert_eq!(verdicts(&rescue.case()), counts.map(|line| format!("public.{line}")));
    });
}

#[test]
fn references_that_only_the_recipe_knows() {
    let scenario = Scenario {
        name: "declared",
        shop: "
            create table customers (id int primary key, name text);
            create table orders (id int primary key, customer_id int references customers on delete cascade);
            create table notes (id int primary key, subject_type text, subject_id int, body text);
            create table plain_children (id int primary key, customer_no int);
            insert into customers select g, 'customer ' || g from generate_series(1, 5) g;
            insert into orders select g, 1 + g % 5 from generate_series(1, 10) g;
            insert into notes select g, (array['Customer', 'Order', 'Other'])[1 + g % 3], 1 + g % 5, 'note ' || g from generate_series(1, 60) g;
            insert into plain_children select g, 1 + g % 5 from generate_series(1, 10) g;",
        // The application cleaned up by itself, and notes on other things were deleted on purpose.
        accident: "
            delete from notes where subject_type = 'Customer' and subject_id = 2 or subject_type = 'Order' and subject_id in (1, 6);
            delete from plain_children where customer_no = 2;
            delete from customers where id = 2;
            delete from notes where subject_type = 'Other' and subject_id = 2",
        besides: "delete from notes where subject_type = 'Other' and subject_id = 2",
        recipe: "
            [[recover]]
            table = \"public.customers\"
            where = \"id = 2\"
            [[foreign_key]]
            from = \"public.notes(subject_id)\"
            to = \"public.customers(id)\"
            when = \"subject_type = 'Customer'\"
            [[foreign_key]]
            from = \"public.notes(subject_id)\"
            to = \"public.orders(id)\"
            when = \"subject_type = 'Order'\"
            [[foreign_key]]
            from = \"public.plain_children(customer_no)\"
            to = \"public.customers(id)\"",
        ..PLAIN
    };
    play(&scenario, |_, _| {});
}

#[test]
fn a_child_without_a_key_wants_one() {
    let shop = "
        create table customers (id int primary key, name text);
        create table log (customer_id int references customers on delete cascade, at timestamp, line text);
        insert into customers select g, 'customer ' || g from generate_series(1, 3) g;
        insert into log select 1 + g % 3, timestamp '2026-01-01' + g * interval '1 hour', 'line ' || g from generate_series(1, 9) g;";
    let recipe = "[[recover]]\ntable = \"public.customers\"\nwhere = \"id = 2\"\n";
    let accident = "delete from customers where id = 2";
    let live = TestDb::with("keyless", shop);
    let backup = live.dump(&["-Fc"]);
    live.psql(accident);
    let rescue = Rescue::new(&live, &backup);
    let refused = rescue.recover_with(recipe, &["--quiet"]).expect_code(4);
    assert!(
        refused.stderr.starts_with("error[no-key]: table \"public.log\" has no key that names a row\n"),
        "{}",
        refused.stderr
    );
    // What the hint says, filled in.
    assert!(
        refused.stderr.contains("`key = [\"…\"]` under `[columns.\"public.log\"]`"),
        "{}",
        refused.stderr
    );
    let recipe = format!("{recipe}[columns.\"public.log\"]\nkey = [\"customer_id\", \"at\"]\n");
    play(&Scenario { name: "keyless", shop, accident, recipe: &recipe, ..PLAIN }, |_, _| {});
}

#[test]
fn columns_that_changed_since_the_backup() {
    let shop = "
        create table orders (id int primary key, ref_no text not null, legacy text, total int, note text);
        insert into orders select g, 'R' || g, 'old', g * 10, null from generate_series(1, 8) g;";
    let later = "
        alter table orders rename ref_no to reference; alter table orders drop legacy; alter table orders alter total type bigint;
        alter table orders add source text not null default 'app', add seen boolean; alter table orders alter note set default 'none';";
    let accident = "delete from orders where id between 3 and 6";
    let recipe = "[[recover]]\ntable = \"public.orders\"\nwhere = \"id between 3 and 6\"\n";
    // Without a word about it, it is refused with the line that says it.
    let live = TestDb::with("drift", shop);
    let backup = live.dump(&["-Fc"]);
    live.psql(accident);
    live.psql(later);
    let rescue = Rescue::new(&live, &backup);
    let refused = rescue.recover_with(recipe, &["--quiet"]).expect_code(4);
    insta::assert_snapshot!(refused.stderr, @r#"
        error[live-column-missing]: live's table "public.orders" has no column "ref_no"
          cause: the backup has it: it was dropped or renamed since
          hint: Say in the recipe what became of it, under `[columns."public.orders"]`: `map = { ref_no = "…" }` or `ignore = ["ref_no"]`. Live was only read; nothing was changed.
        "#);
    let recipe = format!(
        "{recipe}[columns.\"public.orders\"]\nmap = {{ ref_no = \"reference\" }}\nignore = [\"legacy\"]\n"
    );
    play(&Scenario { name: "drift", shop, accident, later, recipe: &recipe, ..PLAIN }, |_, _| {});
}

#[test]
fn rows_chosen_by_a_query_or_a_file() {
    let accident = "delete from orders where customer_id in (select id from customers where region_id = 2)";
    let query = "[[recover]]\ntable = \"public.orders\"\nquery = \"\"\"select o.id from public.orders o join customers c on c.id = o.customer_id
        where c.region_id = 2 order by o.id\"\"\"\n";
    let scenario = Scenario { name: "regions", shop: REGIONS, accident, recipe: query, ..PLAIN };
    play(&scenario, |_, _| {});
    let files = super::support::TempDir::new("where");
    let file = files.write("lost.sql", "-- of region 2\nexists (select from customers c where c.id = customer_id\n  and c.region_id = 2) -- all\n");
    let recipe = format!("[[recover]]\ntable = \"public.orders\"\nwhere_file = \"{}\"\n", file.display());
    play(&Scenario { recipe: &recipe, ..scenario }, |_, _| {});
}

#[test]
fn children_are_followed_as_far_as_the_recipe_says() {
    let shop = "
        create table customers (id int primary key, name text);
        create table orders (id int primary key, customer_id int not null references customers on delete cascade);
        create table payments (id int primary key, order_id int not null references orders on delete cascade);
        create table reviews (id int primary key, customer_id int not null references customers on delete cascade);
        insert into customers select g, 'customer ' || g from generate_series(1, 4) g;
        insert into orders select g, 1 + g % 4 from generate_series(1, 12) g;
        insert into payments select g, g from generate_series(1, 12) g;
        insert into reviews select g, 1 + g % 4 from generate_series(1, 8) g;";
    let accident = "delete from customers where id = 2";
    let play_with = |children: &str, besides: &str| {
        let recipe =
            format!("[[recover]]\ntable = \"public.customers\"\nwhere = \"id = 2\"\nchildren = {children}\n");
        play(&Scenario { name: "children", shop, accident, besides, recipe: &recipe, ..PLAIN }, |_, _| {});
    };
    play_with(
        "\"none\"",
        "delete from orders where customer_id = 2; delete from reviews where customer_id = 2",
    );
    play_with(
        "[\"public.orders\"]",
        "delete from payments p using orders o where o.id = order_id and customer_id = 2; delete from reviews where customer_id = 2",
    );
    play_with("[\"public.orders\", \"public.payments\"]", "delete from reviews where customer_id = 2");
}

#[test]
fn links_that_were_cut_are_set_again_unless_somebody_did() {
    let scenario = Scenario {
        name: "links",
        shop: "
            create table rates (id int primary key, name text unique);
            create table items (id int primary key, rate_id int references rates on delete set null, backup_rate_id int default 1 references rates on delete set default, name text);
            insert into rates select g, 'rate ' || g from generate_series(1, 4) g;
            insert into items select g, 1 + g % 4, 1 + g % 4, 'item ' || g from generate_series(1, 12) g;",
        accident: "delete from rates where id in (2, 3)",
        later: "update items set rate_id = 4 where id = 1; update items set name = 'renamed' where id = 2",
        recipe: "[[recover]]\ntable = \"public.rates\"\nwhere = \"id in (2, 3)\"\n",
        ..PLAIN
    };
    play(&scenario, |_, _| {});
}

#[test]
fn undo_leaves_what_has_lived_on() {
    let live = TestDb::with("undo", "
        create table customers (id int primary key, name text);
        create table orders (id int primary key, customer_id int not null references customers on delete cascade, note text);
        insert into customers select g, 'customer ' || g from generate_series(1, 6) g;
        insert into orders select g, 1 + g % 6, 'note' from generate_series(1, 18) g;");
    let backup = live.dump(&["-Fc"]);
    live.psql("delete from customers where id <= 5");
    let rescue = Rescue::new(&live, &backup);
    let _planned = rescue
        .recover_with("[[recover]]\ntable = \"public.customers\"\nwhere = \"id <= 5\"\n", &[])
        .expect_code(0);
    let damaged = live.digest();
    let _applied = rescue.apply().expect_code(0);
    // Customer 1 got a new order; order 7 (of customer 2) was edited, customer 3 renamed.
    live.psql(
        "
        insert into orders values (100, 1, 'new'); update orders set note = 'edited' where id = 7;
        update customers set name = 'renamed' where id = 3",
    );
    let undone = rescue.undo().expect_code(1);
    let rest = "
        select 'c', id, name from customers union all select 'o', id, note from orders order by 1, 2";
    assert_eq!(
        live.value(rest).lines().collect::<Vec<_>>(),
        [
            "c|1|customer 1",
            "c|2|customer 2",
            "c|3|renamed",
            "c|6|customer 6",
            "o|5|note",
            "o|7|edited",
            "o|11|note",
            "o|17|note",
            "o|100|new"
        ]
    );
    let named: Vec<&str> = undone
        .stdout
        .lines()
        .skip_while(|line| *line != "Left alone:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect();
    insta::assert_snapshot!(named.join("\n"), @r#"
        public.customers (id = 1): still referred to by public.orders
        public.customers (id = 2): still referred to by public.orders
        public.customers (id = 3): changed since
        public.orders (id = 7): changed since
        "#);
    // Once that is gone, undo goes on to the end.
    live.psql("delete from orders where id = 100; update orders set note = 'note' where id = 7; update customers set name = 'customer 3' where id = 3");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "everything is as before apply");
}

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
