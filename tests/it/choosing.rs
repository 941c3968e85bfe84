//! Choosing rows in scratch: everything that a predicate reads is there, however it is hidden, and many rows are chosen in a time
//! that grows with them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::support::{Rescue, TestDb};

/// Operators, aggregates and texts behind which another table is read.
const HIDDEN: &str = "
    create table t (id int primary key, a int);
    create table u (id int primary key, t_id int);
    insert into t select g, g % 7 from generate_series(1, 300) as g; insert into u select g, g * 3 from generate_series(1, 100) as g;
    create function found(a int, b int) returns boolean language plpgsql stable as $$begin return exists (select from public.u where t_id = a and id > b); end$$;
    create operator public.=== (leftarg = int, rightarg = int, function = found);
    create function known(x int) returns boolean language sql stable as 'select exists (select from public.u where t_id = x)';
    create operator public.@# (rightarg = int, function = known);
    create view behind as select id from public.t where id operator(public.===) 3;
    create function step(s int, x int) returns int language sql stable as 'select s + (select count(*)::int from public.u where t_id = x)';
    create aggregate hits(int) (sfunc = step, stype = int, initcond = '0');";

#[test]
fn what_a_predicate_reads_behind_operators_and_texts_is_there() {
    let backup = TestDb::with("hidden", HIDDEN);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from t");
    for predicate in [
        "a = 3 or id operator(public.===) 3",
        "a = 3 and not (id === 3)",
        "a = 3 or @# id",
        "a = 3 or id in (select id from behind)",
        "a = 3 or (select hits(v) from (values (t.id)) as x(v)) > 0",
        "a = 3 or query_to_xml('select * from public.u where t_id = ' || id, true, false, '')::text like '%<id>%'",
    ] {
        let truth: u64 = backup.value(&format!("select count(*) from t where {predicate}")).parse().unwrap();
        assert!((20..300).contains(&truth), "{predicate}: {truth}");
        for more in [&["--json"][..], &["--json", "--no-pushdown"]] {
            let rescue = Rescue::new(&live, &dump);
            let recipe = format!("[[recover]]\ntable = \"t\"\nwhere = \"{predicate}\"\n");
            let planned = rescue.recover_with(&recipe, more).expect_code(0).json();
            assert_eq!(planned["verdicts"]["public.t"]["lost"], truth, "{predicate}");
        }
    }
}

/// PostgreSQL guessed so few of these rows that it compared each with each, which took hours.
#[test]
fn many_chosen_rows_are_not_compared_each_with_each() {
    let backup = TestDb::with(
        "many",
        "create table orders (id int primary key, k int);
         create table items (id int primary key, order_id int references orders on delete cascade, note text);
         insert into orders select g, g % 10 from generate_series(1, 400000) as g;
         insert into items select g, g % 400000 + 1, 'n' || g from generate_series(1, 600000) as g; create index on items (order_id);",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from items where order_id % 10 = 0; alter table items drop constraint items_order_id_fkey; delete from orders where k = 0");
    live.psql("alter table items add foreign key (order_id) references orders on delete cascade");
    let rescue = Rescue::new(&live, &dump);
    let args = rescue.recover_args("[[recover]]\ntable = \"orders\"\nwhere = \"k = 0\"\n", &["--quiet"]);
    let mut recover =
        rescue.rowback().command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    let ended = loop {
        if let Some(ended) = recover.try_wait().unwrap() {
            break ended;
        }
        if started.elapsed() > Duration::from_secs(300) {
            recover.kill().unwrap();
            panic!("recover did not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(ended.code(), Some(0));
    let plan = std::fs::read_to_string(rescue.case().join("plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["totals"]["insert"], 100_000, "{plan}");
}
