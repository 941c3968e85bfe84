//! References that start inside of JSON documents, from the recipe to the certificate. Whole databases are compared.

use std::path::PathBuf;

use super::support::{Rescue, TestDb};

/// Everything hangs on customers by documents, but for the scans, which hang on events by a foreign key.
const SHOP: &str = r#"
create domain document as jsonb check (jsonb_typeof(value) = 'object');
create table customers (id int primary key, email text not null unique, name text, created_at timestamptz not null);
create table events (id int primary key, kind text, payload jsonb);
create table scans (id int primary key, event_id int not null references events on delete cascade);
create table letters (id int primary key, doc json not null);
create table visits (id int primary key, body document not null);
create table members (tenant int, id int, name text unique, primary key (tenant, id));
create table marks (id int primary key, tenant int, data jsonb, stars int);
create table notes (id int primary key, about jsonb not null);
insert into customers select g, 'c' || g || '@x', 'name ' || g, '2026-01-01 10:00+00' from generate_series(1, 20) as g;
insert into events select g, 'seen', jsonb_build_object('customer_id', 1 + g % 20, 'n', g, 'x', jsonb_build_object('customer_id', 3)) from generate_series(1, 60) as g;
insert into events select g, 'said', jsonb_build_object('customer_id', (1 + g % 20)::text, 'it''s', E'a"b\nc\té \\ d') from generate_series(61, 100) as g;
insert into events values (201, 'odd', null), (202, 'odd', '{"customer_id": null}'), (203, 'odd', '{"customer_id": [3]}'),
  (204, 'odd', '{"customer_id": {"id": 3}}'), (205, 'odd', '{"customer_id": "none of them"}'), (206, 'odd', '[3]'), (207, 'odd', '3'),
  (208, 'odd', '{"customer_id": 3.0}'), (209, 'odd', '{"customer_id": true}'), (210, 'odd', '{"customer_id": "99999999999999999999"}'), (211, 'odd', '{}');
insert into scans select g, 1 + g % 100 from generate_series(1, 200) as g;
insert into letters select g, ('{ "customer" :  {"b":[1 ,2],"id":' || (case when g % 2 = 0 then '"' || 1 + g % 20 || '"' else (1 + g % 20)::text end) || '},"a":  "' || g || '" }')::json
from generate_series(1, 40) as g;
insert into visits select g, jsonb_build_object('who', jsonb_build_array('guest', jsonb_build_object('id', 1 + g % 20))) from generate_series(1, 40) as g;
insert into members select 1 + g % 2, g, 'm' || g from generate_series(1, 20) as g;
insert into marks select g, 1 + m % 2, jsonb_build_object('member', m, 'tenant', 1 + m % 2), g % 5 from generate_series(1, 60) as g, lateral (select 1 + g % 20 as m) as of;
insert into notes select g, jsonb_build_object('type', case when g % 2 = 0 then 'customer' else 'order' end, 'id', 1 + g % 20) from generate_series(1, 40) as g;"#;

const REFERENCES: &str = r#"
[[foreign_key]]
from = "public.events(payload->>'customer_id')"
to = "customers(id)"
[[foreign_key]]
from = "letters(doc->'customer'->>'id')"
to = "customers(id)"
[[foreign_key]]
from = "visits(body#>>'{who,1,id}')"
to = "customers(id)"
[[foreign_key]]
from = "notes(about->>'id')"
to = "customers(id)"
when = "about->>'type' = 'customer'"
[[foreign_key]]
from = "marks(tenant, data->>'member')"
to = "members(tenant, id)"
"#;

const CUSTOMERS: &str = "[[recover]]\ntable = \"customers\"\nwhere = \"id between 3 and 6\"\n";

/// What the application deletes with the customers 3 to 6, none of which the catalog knows to be theirs.
const GONE: &str = "
delete from events where payload->>'customer_id' in ('3', '4', '5', '6');
delete from letters where doc->'customer'->>'id' in ('3', '4', '5', '6');
delete from visits where body#>>'{who,1,id}' in ('3', '4', '5', '6');
delete from notes where about->>'type' = 'customer' and about->>'id' in ('3', '4', '5', '6');
delete from customers where id between 3 and 6;";

/// Later work, some of it on rows that look like those that are lost.
const LATER: &str = r#"
delete from events where payload->>'customer_id' = '7' or id in (202, 204);
delete from notes where about->>'type' = 'order' and about->>'id' = '4';
update events set payload = payload || '{"later": 1}' where payload->>'customer_id' = '8';
insert into events values (301, 'new', '{"customer_id": 9}');"#;

struct Scene {
    /// Its files are the backup.
    _shop: TestDb<'static>,
    backup: PathBuf,
    live: TestDb<'static>,
    wanted: TestDb<'static>,
}

/// `accident` and then `later` in live, `later` and then `besides` in the wanted state.
fn scene(accident: &str, later: &str, besides: &str) -> Scene {
    let shop = TestDb::with("shop", SHOP);
    let backup = shop.dump(&["-Fc"]);
    let (live, wanted) = (shop.copy("live"), shop.copy("wanted"));
    live.psql(accident);
    live.psql(later);
    wanted.psql(later);
    wanted.psql(besides);
    Scene { _shop: shop, backup, live, wanted }
}

impl Scene {
    /// The whole way and back; what `recover` and `show` said.
    fn recover(&self, recipe: &str, code: i32, files: &[(&str, &str)]) -> String {
        self.recover_and_verify(recipe, (code, code), files)
    }

    /// The same where `verify` has another exit code than `recover`.
    fn recover_and_verify(
        &self,
        recipe: &str,
        (code, verified): (i32, i32),
        files: &[(&str, &str)],
    ) -> String {
        let damaged = self.live.digest();
        assert_ne!(self.wanted.digest(), damaged, "the accident did something");
        let rescue = Rescue::new(&self.live, &self.backup);
        for (name, text) in files {
            rescue.directory().write(name, text);
        }
        let planned = rescue.recover_text(recipe).expect_code(code);
        damaged.assert_same(&self.live.digest(), "recover writes nothing to live");
        let _applied = rescue.apply().expect_code(0);
        self.wanted.digest().assert_same(&self.live.digest(), "after the recovery");
        let _certificate = rescue.verify().expect_code(verified);
        let _nothing = rescue.apply().expect_code(0);
        self.wanted.digest().assert_same(&self.live.digest(), "a second apply changes nothing");
        let mut said = format!("{}{}", planned.stdout, planned.stderr);
        for table in ["events", "letters", "marks", "notes"] {
            said.push_str(&rescue.rowback().run(["show", "case", "--table", table]).stdout);
        }
        let _undone = rescue.undo().expect_code(0);
        damaged.assert_same(&self.live.digest(), "undo takes back what apply did");
        said
    }
}

#[test]
fn what_hung_on_lost_rows_by_documents_comes_back_with_what_hung_on_it() {
    let scene = scene(GONE, LATER, "");
    assert_eq!(scene.live.value("select count(*) from scans"), "150");
    let said = scene.recover(&format!("{CUSTOMERS}{REFERENCES}"), 0, &[]);
    assert!(said.contains("by cascade"), "{said}");
}

#[test]
fn without_the_references_the_documents_stay_away() {
    let scene = scene(GONE, LATER, "");
    let rescue = Rescue::new(&scene.live, &scene.backup);
    let _planned = rescue.recover_text(CUSTOMERS).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(scene.live.value("select count(*) from events where id <= 100"), "75");
    assert_ne!(scene.wanted.digest(), scene.live.digest());
}

#[test]
fn parents_that_documents_need_come_back() {
    // The events alone are wanted; of their customers those are inserted that live lacks.
    let recipe = format!(
        "[[recover]]\ntable = \"events\"\nwhere = \"kind = 'seen' and payload->>'customer_id' in ('3', '9')\"\n{REFERENCES}"
    );
    let accident = "delete from events where kind = 'seen' and payload->>'customer_id' in ('3', '9'); delete from customers where id in (3, 4)";
    let _said = scene(accident, "", "delete from customers where id = 4").recover(&recipe, 0, &[]);
}

#[test]
fn what_hangs_on_rows_that_were_erased_stays_away() {
    let besides = GONE.replace("'3', '4', '5', '6'", "'4'").replace("between 3 and 6", "= 4");
    let recipe =
        format!("{CUSTOMERS}{REFERENCES}[policy]\nexclude_keys = {{ customers = \"erased.csv\" }}\n");
    let scene = scene(GONE, LATER, &besides);
    let said = scene.recover(&recipe, 0, &[("erased.csv", "email\nc4@x\n")]);
    assert!(said.contains("hangs on public.customers that is excluded"), "{said}");
    // Erased after the plan was made: apply looks again.
    let rescue = Rescue::new(&scene.live, &scene.backup);
    rescue.directory().write("erased.csv", "id\n");
    let _planned = rescue.recover_text(&recipe).expect_code(0);
    rescue.directory().write("erased.csv", "id\n4\n");
    let _applied = rescue.apply().expect_code(1);
    scene.wanted.digest().assert_same(&scene.live.digest(), "without what hangs on the erased");
}

/// Customers 3 and 5 come again as 103 and 105.
const AGAIN: &str =
    "insert into customers values (103, 'c3@x', 'Three', '2026-03-01'), (105, 'c5@x', 'Five', '2026-03-01');";

/// What the shop is when 3 is 103 and 5 is 105: every number stays a number, every string a string, all else as it was.
const REPOINTED: &str = r#"
update customers set email = 'old' || id where id in (3, 5);
insert into customers values (103, 'c3@x', 'Three', '2026-03-01'), (105, 'c5@x', 'Five', '2026-03-01');
update events set payload = jsonb_set(payload, '{customer_id}', to_jsonb((payload->>'customer_id')::int + 100)) where (payload->'customer_id')::text in ('3', '5');
update events set payload = jsonb_set(payload, '{customer_id}', to_jsonb('10' || (payload->>'customer_id'))) where payload->'customer_id' in ('"3"', '"5"');
update letters set doc = replace(replace(doc::text, '"id":3}', '"id":103}'), '"id":5}', '"id":105}')::json;
update letters set doc = replace(replace(doc::text, '"id":"3"}', '"id":"103"}'), '"id":"5"}', '"id":"105"}')::json;
update visits set body = jsonb_set(body, '{who,1,id}', to_jsonb((body#>>'{who,1,id}')::int + 100)) where body#>>'{who,1,id}' in ('3', '5');
update notes set about = jsonb_set(about, '{id}', to_jsonb((about->>'id')::int + 100)) where about->>'type' = 'customer' and about->>'id' in ('3', '5');
delete from customers where id in (3, 5);"#;

#[test]
fn documents_are_hung_on_the_rows_that_were_made_again() {
    let recipe = format!("{CUSTOMERS}{REFERENCES}[policy]\nrecreated = \"repoint\"\n");
    let scene = scene(GONE, LATER, REPOINTED);
    scene.live.psql(AGAIN);
    assert_eq!(scene.wanted.value("select count(*) from events where payload->'customer_id' = '103'"), "3");
    assert_eq!(
        scene.wanted.value("select count(*) from letters where doc::text like '%\"id\":\"103\"%'"),
        "2"
    );
    let said = scene.recover(&recipe, 0, &[]);
    assert!(said.contains("payload->>'customer_id' 3 is 103 now"), "{said}");
    assert!(said.contains("doc->'customer'->>'id' 5 is 105 now"), "{said}");
}

#[test]
fn a_document_that_lives_on_is_hung_on_the_row_that_was_made_again_and_keeps_later_work() {
    let recipe = format!("{CUSTOMERS}{REFERENCES}[policy]\nrecreated = \"repoint\"\n");
    // The letters stayed, and one was edited since; one was led elsewhere by hand.
    let later = r#"update letters set doc = '{"customer":{"id": 3, "edited": true}}' where id = 2;
        update letters set doc = '{"customer":{"id": 12}}' where id = 4;"#;
    let accident =
        GONE.replace("delete from letters", "delete from letters where false; select 1 from letters");
    let scene = scene(&accident, later, REPOINTED);
    scene.live.psql(AGAIN);
    scene.wanted.psql(r#"update letters set doc = '{"customer":{"id": 103, "edited": true}}' where id = 2"#);
    let said = scene.recover(&recipe, 1, &[]);
    assert!(said.contains("unlinked"), "{said}");
}

#[test]
fn a_number_that_would_have_to_become_a_word_is_listed() {
    let store = "create table labels (code text primary key, title text not null unique);
        create table uses (id int primary key, data jsonb);
        insert into labels values ('7', 'seven'), ('8', 'eight');
        insert into uses values (1, '{\"label\": 7}'), (2, '{\"label\": \"7\"}'), (3, '{\"label\": 8}');";
    let shop = TestDb::with("labels", store);
    let backup = shop.dump(&["-Fc"]);
    let (live, wanted) = (shop.copy("live"), shop.copy("wanted"));
    live.psql("truncate labels, uses; insert into labels values ('vii', 'seven')");
    wanted.psql(
        "delete from labels where code = '7'; insert into labels values ('vii', 'seven'); delete from uses where id = 1;
         update uses set data = '{\"label\": \"vii\"}' where id = 2",
    );
    let rescue = Rescue::new(&live, &backup);
    let recipe = "[[recover]]\ntable = \"labels\"\nwhere = \"true\"\n[[foreign_key]]\nfrom = \"uses(data->>'label')\"\nto = \"labels(code)\"\n\
        [policy]\nrecreated = \"repoint\"\n";
    let _planned = rescue.recover_text(recipe).expect_code(1);
    let shown = rescue.rowback().run(["show", "case", "--table", "uses"]).expect_code(0);
    let says = "data->>'label' holds a number, which the other row's value is not";
    assert!(shown.stdout.contains(says), "{}", shown.stdout);
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "the number stays away, the word comes back");
}

#[test]
fn a_document_is_not_hung_on_a_stranger_who_came_since_the_plan() {
    let scene = scene(GONE, "", "");
    let rescue = Rescue::new(&scene.live, &scene.backup);
    let _planned = rescue.recover_text(&format!("{CUSTOMERS}{REFERENCES}")).expect_code(0);
    let stranger = "insert into customers values (4, 'stranger@x', 'Stranger', '2026-11-01')";
    scene.live.psql(stranger);
    let applied = rescue.apply().expect_code(1);
    assert!(applied.stdout.contains("public.events (id = 3)"), "{applied:?}");
    // A reference under a condition is not guarded.
    let besides = GONE.replace("'3', '4', '5', '6'", "'4'").replace("between 3 and 6", "= 4");
    scene
        .wanted
        .psql(&besides.replace("delete from notes", "delete from notes where false; select 1 from notes"));
    scene.wanted.psql(stranger);
    scene.wanted.digest().assert_same(&scene.live.digest(), "nothing hangs on the stranger");
}

#[test]
fn columns_that_live_calls_otherwise_are_followed_there() {
    let recipe = format!(
        "{CUSTOMERS}{REFERENCES}[policy]\nrecreated = \"repoint\"\n[columns.\"public.events\"]\nmap = {{ payload = \"data\" }}\n\
         [columns.\"public.customers\"]\nmap = {{ id = \"number\" }}\n"
    );
    let renamed = "alter table events rename payload to data; alter table customers rename id to number;";
    let scene = scene(GONE, LATER, REPOINTED);
    scene.live.psql(AGAIN);
    scene.live.psql(renamed);
    scene.wanted.psql(renamed);
    let _said = scene.recover(&recipe, 0, &[]);
}

#[test]
fn rows_that_refer_to_each_other_by_documents_come_back_however_small_the_batches() {
    let store = "create table nodes (id int primary key, data jsonb, up int);
        insert into nodes select g, jsonb_build_object('next', 1 + (g * 7) % 20), 1 + (g * 3) % 20 from generate_series(1, 20) as g;";
    let shop = TestDb::with("nodes", store);
    let backup = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    live.psql("delete from nodes where id > 2");
    let rescue = Rescue::new(&live, &backup);
    let recipe = "[[recover]]\ntable = \"nodes\"\nwhere = \"id > 2\"\n[[foreign_key]]\nfrom = \"nodes(data->>'next')\"\nto = \"nodes(id)\"\n\
        [[foreign_key]]\nfrom = \"nodes(up)\"\nto = \"nodes(id)\"\n";
    let _planned = rescue.recover_with(recipe, &["--batch-rows", "1"]).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    shop.digest().assert_same(&live.digest(), "after the recovery");
}

#[test]
fn composite_references_follow_their_plain_column_and_their_path() {
    let recipe = format!("[[recover]]\ntable = \"members\"\nwhere = \"id in (3, 4)\"\n{REFERENCES}");
    let accident =
        "delete from marks where data->>'member' in ('3', '4'); delete from members where id in (3, 4);";
    // A mark with the other tenant's number is nobody's.
    let later = "update marks set tenant = 3 - tenant where data->>'member' = '5';";
    let _said = scene(accident, later, "").recover(&recipe, 0, &[]);
}

#[test]
fn documents_move_with_the_owner_of_what_they_refer_to() {
    let accident = "update members set tenant = 3 - tenant where id in (3, 4);
        update marks set tenant = 3 - tenant, data = jsonb_set(data, '{tenant}', to_jsonb(3 - tenant)) where data->>'member' in ('3', '4');";
    let entry = "[[recover]]\ntable = \"members\"\nkind = \"misrouted\"\nowner = \"tenant\"\nkey = [\"id\"]\ndamaged = \"live.id in (3, 4)\"\n";
    let by_both =
        REFERENCES.replace("marks(tenant, data->>'member')", "marks(data->>'tenant', data->>'member')");
    let scene_of = |besides: &str| scene(accident, "update marks set stars = 9 where id = 2", besides);
    // By the column the column moves, by the document the document.
    let besides = "update marks set data = jsonb_set(data, '{tenant}', to_jsonb(3 - tenant)) where data->>'member' in ('3', '4')";
    let _said = scene_of(besides).recover(&format!("{entry}{REFERENCES}"), 0, &[]);
    let besides = "update marks set tenant = 3 - tenant where data->>'member' in ('3', '4')";
    // The column beside the document still has the old owner, and verify says so.
    let _said = scene_of(besides).recover_and_verify(&format!("{entry}{by_both}"), (0, 1), &[]);
}

#[test]
fn links_in_documents_that_the_statement_emptied_are_set_again() {
    let statement = "update events set payload = payload - 'customer_id' where payload->>'customer_id' = '3'; delete from customers where id = 3";
    let recipe = format!("[[recover]]\ntable = \"customers\"\nreplay = \"{statement}\"\n{REFERENCES}");
    let scene = scene(statement, "update events set kind = 'later' where id = 2", "");
    let _said = scene.recover(&recipe, 0, &[]);
}

#[test]
fn references_that_lead_into_no_document_are_refused() {
    let scene = scene(GONE, "", "");
    let damaged = scene.live.digest();
    for (from, to, code, name, says) in [
        (
            "events(kind->>'customer_id')",
            "customers(id)",
            2,
            "reference-without-json",
            "it is of type text, not json or jsonb",
        ),
        (
            "events(payloda->>'customer_id')",
            "customers(id)",
            2,
            "unknown-column",
            "Did you mean \"payload\"?",
        ),
        (
            "events(payload->'customer_id')",
            "customers(id)",
            2,
            "recipe-wrong-value",
            "a path that ends in ->> or #>>",
        ),
        (
            "events(payload['customer_id'])",
            "customers(id)",
            2,
            "recipe-wrong-value",
            "payload#>>'{customer,id}'",
        ),
        (
            "events((payload->>'customer_id')::int)",
            "customers(id)",
            2,
            "recipe-wrong-value",
            "a path that ends in",
        ),
        (
            "events(payload->>'customer_id')",
            "events(payload->>'n')",
            2,
            "recipe-contradiction",
            "Only from may have a path",
        ),
        ("events(payload->>'a', payload ->> 'a')", "members(tenant, id)", 2, "recipe-contradiction", "twice"),
    ] {
        let recipe = format!("{CUSTOMERS}[[foreign_key]]\nfrom = \"{from}\"\nto = \"{to}\"\n");
        let output = Rescue::new(&scene.live, &scene.backup).recover_text(&recipe).expect_code(code);
        assert!(output.stderr.contains(&format!("error[{name}]")), "{from}: {}", output.stderr);
        assert!(output.stderr.contains(says), "{from}: {}", output.stderr);
    }
    // Live's column became another type since.
    scene.live.psql("alter table events alter payload type text");
    let rescue = Rescue::new(&scene.live, &scene.backup);
    let output = rescue.recover_text(&format!("{CUSTOMERS}{REFERENCES}")).expect_code(2);
    assert!(output.stderr.contains("error[reference-without-json]"), "{}", output.stderr);
    let advised = rescue.rowback().run(["doctor", "recipe.toml", "--live", &scene.live.url()]);
    assert!(advised.stdout.contains("holds no JSON"), "{advised:?}");
    damaged.assert_same(&scene.live.digest(), "nothing was written");
}

/// What a path gives here, text by text, is what the server gives.
#[test]
fn a_path_that_leads_to_nothing_in_any_document_is_told() {
    let scene = scene(GONE, LATER, "");
    let rescue = Rescue::new(&scene.live, &scene.backup);
    let said = |references: &str| {
        let planned = rescue.recover_text(&format!("{CUSTOMERS}{references}")).expect_code(0);
        let said = format!("{}{}", planned.stdout, planned.stderr);
        std::fs::remove_dir_all(rescue.case()).unwrap();
        said.lines().filter(|line| line.contains("[[foreign_key]]")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(said(REFERENCES), "", "each leads to something");
    let misspelt = REFERENCES
        .replace("payload->>'customer_id'", "payload->>'custmer_id'")
        .replace("(about->>'id')", "(about->'id'->>'id')")
        .replace("data->>'member'", "data->>'membr'");
    insta::assert_snapshot!(said(&misspelt), @"
    note: none of the 111 rows of public.events that were read from the backup refers to anything by payload->>'custmer_id': is the path of this [[foreign_key]] spelt right?
    note: none of the 20 rows of public.notes that were read from the backup, of those for which its `when` holds, refers to anything by about->'id'->>'id': is the path of this [[foreign_key]] spelt right?
    ");
}

#[test]
fn paths_say_what_the_server_says() {
    use rowback::value::JsonPath;
    use rowback::value::copy_text::{push_escaped, unescape};
    let paths = [
        "->>'id'",
        "->'a'->>'id'",
        "#>>'{a,1}'",
        "#>>'{a,-1}'",
        "#>>'{0}'",
        "#>>'{a,id}'",
        "->'a'#>>'{-2,id}'",
        "->>'it''s \"\\'",
    ];
    let documents = [
        "null",
        "3",
        "\"x\"",
        "[]",
        "{}",
        "[7, \"8\"]",
        r#"{"id": 1e2, "a": [1, {"id": "z"}, "t\u0009\u00e9"]}"#,
        r#"{"a": {"id": -0.50}, "id": "\\ \" \/"}"#,
        r#"{"a": {"1": "one"}, "it's \"\\": "x"}"#,
        r#"{"id": false, "a": "[1]"}"#,
        r#"  {"id" : { "id" : 1 } , "a" : [ ] }"#,
        r#"{"id": "{", "a": [[1], {"id": [2]}, null]}"#,
    ];
    let database = TestDb::new("paths");
    let mut found = 0;
    for path in paths {
        let parsed = JsonPath::parse(path).unwrap();
        for (kind, document) in
            ["json", "jsonb"].into_iter().flat_map(|kind| documents.map(|text| (kind, text)))
        {
            let literal = document.replace('\'', "''");
            let sql = |of: &str| {
                format!("select coalesce({of}, 'nothing') from (select '{literal}'::{kind} as d) as x")
            };
            let printed = database.value(&format!("select '{literal}'::{kind}::text"));
            let mut raw = Vec::new();
            push_escaped(&mut raw, printed.as_bytes());
            let here =
                parsed.read(&raw).map(|field| String::from_utf8(unescape(&field).into_owned()).unwrap());
            let there = database.value(&sql(&parsed.to_sql("d")));
            assert_eq!(here.clone().unwrap_or("nothing".to_owned()), there, "{path} in {kind} {document}");
            found += usize::from(here.is_some());
            if here.is_some() {
                let plain = database.value(&sql(&format!("d{path}")));
                assert_eq!(plain, there, "{path} in {kind} {document}: as the recipe has it");
            }
        }
    }
    assert!(found >= 20, "{found}");
}
