//! `rowback compare`: what it counts and names, held against what SQL says about the two databases.

use serde_json::{Value, json};

use super::support::{Rescue, Rowback, TempDir, TestDb, run};

/// Every sort of table that can be compared, with values whose text depends on the session.
const SHOP: &str = "
create type mood as enum ('sad', 'happy');
create table orders (id int primary key, placed_at timestamptz not null, total numeric(12,2), note text, tags text[], mood mood,
  moments timestamptz[], span interval, rate float8, doubled int generated always as (id * 2) stored, payload jsonb, gone text);
insert into orders (id, placed_at, total, note, tags, mood, moments, span, rate, payload, gone) select g, '2026-01-01 00:00+00'::timestamptz + g * interval '1 minute', g * 1.10, case g % 5 when 0 then null when 1 then E'a\\tb\\\\n' else 'note ' || g end,
  array['x', null, g::text], case when g % 2 = 0 then 'sad'::mood end, array['2026-01-01 00:00+00'::timestamptz + g * interval '1 hour'],
  g * interval '1 day', g / 3.0, jsonb_build_object('g', g), 'gone' from generate_series(1, 5000) as g;
create table lines (tenant int, number int, what text, primary key (number, tenant));
insert into lines select g % 7, g, 'line ' || g from generate_series(1, 3000) as g;
create table visits (page text, at timestamptz);
insert into visits select 'page ' || g % 10, '2026-02-01 00:00+00'::timestamptz from generate_series(1, 500) as g;
create table events (id int, day date, what text, primary key (id, day)) partition by range (day);
create table events_1 partition of events for values from ('2026-01-01') to ('2026-02-01');
create table events_2 (what text, day date not null, id int not null);
alter table events attach partition events_2 for values from ('2026-02-01') to ('2026-03-01');
insert into events select g, '2026-01-01'::date + g % 59, 'e' || g from generate_series(1, 400) as g;
create table \"Odd.Name\" (\"the key\" text primary key, v int);
insert into \"Odd.Name\" values (E'a\\tb', 1), ('b', 2), ('c', 3);";

const LATER: &str = "
delete from orders where id % 500 = 3;
update orders set note = 'changed', total = total + 1 where id in (10, 20, 4000);
update orders set tags = array['y'] where id = 30;
update orders set placed_at = placed_at + interval '1 second' where id = 31;
insert into orders (id, placed_at) values (9001, now()), (9002, now());
delete from lines where number = 9; update lines set what = null where number = 10;
delete from visits where ctid in (select ctid from visits where page = 'page 3' limit 2); insert into visits values ('page 11', now());
update events set what = 'other' where id = 77; delete from events where id = 78;
delete from \"Odd.Name\" where v = 1;
alter table orders drop column gone; alter table orders add column fresh int default 7;";

struct Compared {
    directory: TempDir,
    live: TestDb<'static>,
    dump: std::path::PathBuf,
    _backup: TestDb<'static>,
}

/// The backup is dumped by a session in another time zone than UTC.
fn shop(later: &str) -> Compared {
    let backup = TestDb::with("compare", SHOP);
    backup.psql(&format!("alter database {} set timezone = 'Asia/Kolkata'", backup.name()));
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(later);
    Compared { directory: TempDir::new("compare"), live, dump, _backup: backup }
}

impl Compared {
    fn run(&self, more: &[&str]) -> super::support::Output {
        let (dump, url) = (self.dump.to_str().unwrap(), self.live.url());
        let mut args = vec!["compare", "--quiet", "--backup", dump, "--live", &url];
        args.extend(more);
        Rowback::new(self.directory.path()).run(args)
    }
}

impl Compared {
    /// What a person reads.
    fn said(&self, more: &[&str], code: i32) -> String {
        self.run(more).expect_code(code).stdout.replace(self.live.name(), "[live]")
    }
}

/// `table backup live missing changed new` of each table.
pub(super) fn counts(found: &Value) -> Vec<String> {
    let number = |table: &Value, name: &str| table[name].as_u64().unwrap();
    found["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| {
            let names = ["backup_rows", "live_rows", "missing", "changed", "new"];
            let counts: Vec<String> = names.iter().map(|name| number(table, name).to_string()).collect();
            format!("{} {}", name_of(table), counts.join(" "))
        })
        .collect()
}

fn name_of(table: &Value) -> String {
    table["table"].as_str().map_or_else(|| table["table"].to_string(), str::to_owned)
}

#[test]
fn equal_databases_differ_in_nothing() {
    let shop = shop("create table of_live_only (id int primary key)");
    let found = shop.run(&["--json"]).expect_code(0).json();
    assert_eq!(
        counts(&found),
        [
            "public.\"Odd.Name\" 3 3 0 0 0",
            "public.events 400 400 0 0 0",
            "public.lines 3000 3000 0 0 0",
            "public.orders 5000 5000 0 0 0",
            "public.visits 500 500 0 0 0"
        ]
    );
    assert_eq!(found["skipped"], json!({}));
}

#[test]
fn what_is_missing_changed_and_new_is_counted_and_named() {
    let shop = shop(LATER);
    insta::assert_snapshot!(shop.said(&[], 1), @r#"
    table              backup   live  missing  changed  new
    public."Odd.Name"       3      2        1        0    0
    public.events         400    399        1        1    0
    public.lines        3,000  2,999        1        1    0
    public.orders       5,000  4,992       10        5    2
    public.visits         500    499        2        0    1

    public."Odd.Name"
      missing: "a\tb"

    public.events
      missing: (day 2026-01-20, id 78)
      changed: (day 2026-01-19, id 77) (what)
      changed columns: what in 1 row

    public.lines
      missing: (number 9, tenant 2)
      changed: (number 10, tenant 3) (what)
      changed columns: what in 1 row

    public.orders
      missing: 3, 503, 1003, 1503, 2003, and 5 more
      changed: 10 (total; note), 20 (total; note), 30 (tags), 31 (placed_at), 4000 (total; note)
      new: 9001, 9002
      changed columns: note in 3 rows, placed_at in 1 row, tags in 1 row, total in 3 rows
      columns not compared: gone (not in live under this name, or generated there); doubled, fresh (not in the backup)

    public.visits
      it has no key: whole rows are counted, and a changed row counts as missing and as new

    Compared 5 tables with "[live]": 15 missing in live, 7 changed, 3 new. 1 column of the backup was not compared. Nothing has been written.
    "#);
    let before = shop.live.digest();
    let found =
        shop.run(&["--json", "--samples", "2", "--show-values", "--table", "orders"]).expect_code(1).json();
    before.assert_same(&shop.live.digest(), "compare writes nothing");
    let orders = &found["tables"][0];
    assert_eq!(orders["samples"]["missing"], json!([{"id": "3"}, {"id": "503"}]));
    assert_eq!(
        orders["samples"]["changed"][0],
        json!({"key": {"id": "10"}, "columns": [
            {"column": "total", "backup": "11.00", "live": "12.00"}, {"column": "note", "backup": null, "live": "changed"}]})
    );
}

#[test]
fn order_and_memory_change_nothing() {
    let shop = shop(LATER);
    let plain = shop.run(&["--json"]).expect_code(1).json();
    shop.live.psql(
        "create index by_note on orders (note, id desc); cluster orders using by_note;
         create index by_what on lines (md5(what)); cluster lines using by_what;",
    );
    assert_eq!(shop.run(&["--json"]).expect_code(1).json()["tables"], plain["tables"], "in another order");
    let large = TestDb::with(
        "large",
        "create table t (id int primary key, v text); insert into t select g, repeat('x', 200) || g from generate_series(1, 20000) as g",
    );
    let dump = large.dump(&["-Fc"]);
    let live = large.copy("live");
    live.psql(
        "delete from t where id % 1000 = 1; update t set v = 'y' where id % 1000 = 2; create index by_md5 on t (md5(v)); cluster t using by_md5",
    );
    let url = live.url();
    let found = Rowback::new(shop.directory.path())
        .run(["compare", "--json", "--memory", "1", "--backup", dump.to_str().unwrap(), "--live", &url])
        .expect_code(0)
        .json();
    assert_eq!(counts(&found), ["public.t 20000 19980 20 20 0"], "more than fits into memory");
}

#[test]
fn what_cannot_be_compared_is_said_and_is_not_success() {
    let shop = shop(
        "drop table lines; alter table visits add column id serial primary key; alter table orders rename id to number",
    );
    insta::assert_snapshot!(shop.said(&[], 1), @r#"
    table              backup  live  missing  changed  new
    public."Odd.Name"       3     3        0        0    0
    public.events         400   400        0        0    0

    Not compared:
      public.lines: live has no such table
      public.orders: its key column "number" is not in the backup
      public.visits: its key column "id" is not in the backup

    Compared 2 tables with "[live]": 0 missing in live, 0 changed, 0 new. Nothing has been written.
    "#);
    let partial = TestDb::with("partial", "create table a (id int primary key); insert into a values (1)");
    let dump = partial.dump(&["-Fc", "--exclude-table-data=a"]);
    let url = partial.url();
    let rowback = Rowback::new(shop.directory.path());
    let said = rowback
        .run(["compare", "--quiet", "--backup", dump.to_str().unwrap(), "--live", &url])
        .expect_code(1);
    insta::assert_snapshot!(said.stdout.replace(partial.name(), "[live]"), @r#"

    Not compared:
      public.a: the backup does not hold its rows

    Compared 0 tables with "[live]": 0 missing in live, 0 changed, 0 new. Nothing has been written.
    "#);
}

#[test]
fn bad_input_is_named() {
    let shop = shop("");
    insta::assert_snapshot!(shop.run(&["--table", "public.order"]).expect_code(2).stderr, @r#"
    error[unknown-table]: the backup has no table "public.order"
      hint: Did you mean "public.orders"? Live was only read; nothing was changed.
    "#);
    let cut = shop.directory.path().join("cut.dump");
    let bytes = std::fs::read(&shop.dump).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 4000]).unwrap();
    let url = shop.live.url();
    let rowback = Rowback::new(shop.directory.path());
    let said = rowback.run(["compare", "--quiet", "--backup", cut.to_str().unwrap(), "--live", &url]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    let mut psql = shop.live.server().program("psql", shop.live.name());
    run(psql.args(["-Xqc", "create role compare_blind login"]));
    let url = shop.live.url_as("compare_blind");
    let said = rowback.run(["compare", "--quiet", "--backup", shop.dump.to_str().unwrap(), "--live", &url]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stdout.contains("Compared 0 tables"), "{}", said.stdout);
}

/// One privilege that is missing says nothing about the other tables.
#[test]
fn tables_that_the_role_may_not_read_are_listed_and_the_others_compared() {
    let backup = TestDb::with(
        "unread",
        "create table open_one (id int primary key); insert into open_one select generate_series(1, 5);
         create table columnwise (id int primary key, v text); create table hidden (id int primary key); create table secret (id int primary key);
         create schema shut; create table shut.inside (id int primary key)",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    let role = format!("{}_low", live.name());
    live.psql(&format!(
        "delete from open_one where id = 3; create role \"{role}\" login; grant select on open_one, hidden to \"{role}\";
         grant select (id) on columnwise to \"{role}\"; alter table hidden enable row level security"
    ));
    let directory = TempDir::new("unread");
    let (path, url) = (dump.to_str().unwrap(), live.url_as(&role));
    let rowback = Rowback::new(directory.path());
    let said = rowback.run(["compare", "--quiet", "--backup", path, "--live", &url]).expect_code(1);
    let said = said.stdout.replace(live.name(), "[live]").replace("[live]_low", "[role]");
    insta::assert_snapshot!(said, @r#"
    table            backup  live  missing  changed  new
    public.open_one       5     4        1        0    0

    public.open_one
      missing: 3

    Not compared:
      public.columnwise: no SELECT; grant "[role]" SELECT on the whole table
      public.hidden: row security hides rows from this role; connect as one with BYPASSRLS, or as the table's owner
      public.secret: no SELECT; grant "[role]" SELECT on the whole table
      shut.inside: no USAGE on its schema; grant "[role]" USAGE there and SELECT on the whole table

    Compared 1 table with "[live]": 1 missing in live, 0 changed, 0 new. Nothing has been written.
    "#);
    // A recipe that leaves `where` out cannot do without the table that it names.
    let args = ["--quiet", "--live", &url];
    let refused =
        Rescue::new(&live, &dump).recover_with("[[recover]]\ntable = \"hidden\"\n", &args).expect_code(3);
    let refused = refused.stderr.replace(live.name(), "[live]").replace("[live]_low", "[role]");
    insta::assert_snapshot!(refused, @r#"
    error[permission-denied]: the role "[role]" may not read "public.hidden" in live
      cause: row security hides rows from this role
      hint: Grant "[role]" SELECT on the whole of it (and BYPASSRLS where row security is in the way), or connect as a role that has it. Live was only read; nothing was changed.
    "#);
    live.psql(&format!("drop owned by \"{role}\"; drop role \"{role}\""));
}

/// A column that live lost may have been the accident: silence about it must not look like equality.
#[test]
fn columns_that_cannot_be_compared_are_named_and_are_not_success() {
    let backup = TestDb::with(
        "columns",
        "create table dropped (id int primary key, v text, w text); insert into dropped values (1, 'a', 'b');
         create table renamed (id int primary key, v text); insert into renamed values (1, 'a');
         create table whole (id int primary key, v text); insert into whole values (1, 'a');
         create table keyless (v text, w text); insert into keyless values ('a', 'b');",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    let rescue = Rescue::new(&live, &dump);
    let (path, url) = (dump.to_str().unwrap(), live.url());
    let compare = |more: &[&str], code: i32| {
        let mut args = vec!["compare", "--quiet", "--backup", path, "--live", &url];
        args.extend(more);
        rescue.rowback().run(args).expect_code(code).stdout.replace(live.name(), "[live]")
    };
    live.psql("alter table whole add fresh int");
    assert!(
        compare(&[], 0).contains("columns not compared: fresh (not in the backup)"),
        "the backup has nothing of it"
    );
    live.psql("alter table dropped drop w; alter table renamed rename v to x; alter table keyless drop w");
    insta::assert_snapshot!(compare(&["--case", "case"], 1), @r#"
        table           backup  live  missing  changed  new
        public.dropped       1     1        0        0    0
        public.keyless       1     1        0        0    0
        public.renamed       1     1        0        0    0
        public.whole         1     1        0        0    0

        public.dropped
          columns not compared: w (not in live under this name, or generated there)

        public.keyless
          columns not compared: w (not in live under this name, or generated there)
          it has no key: whole rows are counted, and a changed row counts as missing and as new

        public.renamed
          columns not compared: v (not in live under this name, or generated there); x (not in the backup)

        public.whole
          columns not compared: fresh (not in the backup)

        Compared 4 tables with "[live]": 0 missing in live, 0 changed, 0 new. 3 columns of the backup were not compared. Nothing has been written.
        Live lacks nothing and differs in nothing of what was compared: there is no case to make. The tables and columns above that were not compared may still have lost values; a recipe (`rowback recover`) can name them, with `[columns]` for what was renamed.
        "#);
    assert!(!rescue.directory().join("case").exists(), "no case without a reason");
    let found: Value = serde_json::from_str(&compare(&["--json", "--table", "renamed"], 1)).unwrap();
    assert_eq!(found["tables"][0]["not_compared"], json!(["v", "x"]));
    assert_eq!(found["tables"][0]["unmatched"], json!(["v"]));
}

/// Keys meet as text: where live's type writes the same key otherwise, that is said; the twin whose keys meet says nothing.
#[test]
fn a_key_of_another_type_than_in_the_backup_is_noted_where_rows_did_not_meet() {
    let backup = TestDb::with(
        "key_types",
        "create table drifted (k numeric primary key, v text); insert into drifted select g + 0.50, 'v' from generate_series(1, 3) as g;
         create table \"Odd\" (\"the key\" int, n numeric(4,2), primary key (\"the key\", n)); insert into \"Odd\" select g, g from generate_series(1, 3) as g;
         create table wider (id int primary key, v text); insert into wider select g, 'v' from generate_series(1, 3) as g;
         create table alike (id int primary key, v text); insert into alike select g, 'v' from generate_series(1, 3) as g;",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(
        "alter table drifted alter k type numeric(10,1); alter table \"Odd\" alter n type numeric; update \"Odd\" set n = 1.0 where \"the key\" = 1;
         alter table wider alter id type bigint; update alike set id = 9 where id = 2;",
    );
    let directory = TempDir::new("key-types");
    let args = ["compare", "--json", "--backup", dump.to_str().unwrap(), "--live", &live.url()];
    let found = Rowback::new(directory.path()).run(args).expect_code(0).json();
    assert_eq!(
        counts(&found),
        [
            "public.Odd 3 3 1 0 1",
            "public.alike 3 3 1 0 1",
            "public.drifted 3 3 3 0 3",
            "public.wider 3 3 0 0 0"
        ]
    );
    let notes: Vec<String> =
        found["tables"].as_array().unwrap().iter().map(|table| table["notes"].to_string()).collect();
    assert!(notes[0].contains("its key column \\\"n\\\" (numeric in live) had another type"), "{notes:?}");
    assert!(
        notes[2].contains("its key column \\\"k\\\" (numeric(10,1) in live) had another type"),
        "{notes:?}"
    );
    assert_eq!([&notes[1], &notes[3]], ["[]", "[]"]);
}
