//! Whose place is taken: every sort of unique and exclusion constraint of live is asked before a row comes back, and whose
//! key somebody else has by now.

use super::support::{Rescue, TestDb};

const SHOP: &str = "
create table it (id int primary key, a int, b int, c text, d text, e text, live bool not null default true, span int4range,
  unique (a, b), unique nulls not distinct (c), unique (d) deferrable initially deferred, exclude using gist (span with &&));
create unique index on it (lower(e)) where live;
create table child (id int primary key, it int not null references it on delete cascade);
insert into it values
  (1, 1, null, 'c1', 'd1', 'E1', true, '[10,20)'), (2, null, null, 'c2', 'd2', 'E2', true, '[20,30)'), (3, 3, 3, null, 'd3', 'E3', true, '[30,40)'),
  (4, 4, 4, 'c4', 'd4', 'E4', true, '[40,50)'), (5, 5, 5, 'c5', 'd5', 'E5', true, '[50,60)'), (6, 6, 6, 'c6', 'd6', 'E6', true, '[60,70)'),
  (7, 7, 7, 'c7', 'd7', 'E7', false, '[70,80)'), (8, 8, 8, 'c8', null, null, true, null);
insert into child select g, 1 + g % 8 from generate_series(1, 16) as g;";

/// 1 and 2 look like rows with NULLs, which are no equals; 3 like one with a NULL that is. 4, 5, 6 and 7 meet the constraint of two
/// columns, the deferrable one, the index over an expression, and (not live) nothing.
const LATER: &str = "
insert into it (id, a, b, c, d, e, span) values (101, 1, null, 'n1', null, null, null), (102, null, null, 'n2', null, null, null),
  (103, 93, 93, null, null, null, null), (104, 4, 4, 'n4', null, null, null), (105, 95, 95, 'n5', 'd5', null, null),
  (106, 96, 96, 'n6', null, 'e6', null), (107, 97, 97, 'n7', null, 'e7', '[79,81)');";

#[test]
fn nulls_deferrable_partial_and_expression_constraints_are_all_asked() {
    let shop = TestDb::with("probes", SHOP);
    let dump = shop.dump(&["-Fc"]);
    let (live, wanted) = (shop.copy("live"), shop.copy("wanted"));
    live.psql("delete from it");
    live.psql(LATER);
    wanted.psql("delete from it where id in (3, 4, 5, 6, 7)");
    wanted.psql(LATER);
    let damaged = live.digest();
    let recipe = "[[recover]]\ntable = \"it\"\nwhere = \"true\"\n";
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_with(recipe, &["--json"]).expect_code(1).json();
    let counts = &planned["verdicts"];
    assert_eq!(
        (counts["public.it"]["lost"].as_u64(), counts["public.it"]["recreated"].as_u64()),
        (Some(3), Some(5)),
        "{planned}"
    );
    assert_eq!(
        (counts["public.child"]["lost"].as_u64(), counts["public.child"]["orphan"].as_u64()),
        (Some(6), Some(10)),
        "{planned}"
    );
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "rows that are in nobody's way are back");
    let shown = rescue.rowback().run(["show", "case", "--table", "it", "--verdict", "recreated"]);
    let said = shown.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for (constraint, holder) in [
        ("it_c_key", 103),
        ("it_a_b_key", 104),
        ("it_d_key", 105),
        ("it_lower_idx", 106),
        ("it_span_excl", 107),
    ] {
        assert!(
            said.contains(&format!("{constraint} is held by {{\"id\": \"{holder}\"}}")),
            "{constraint}: {said}"
        );
    }
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what apply did");
}

#[test]
fn what_hung_on_them_is_hung_on_the_holders_where_these_surely_stand_in() {
    let shop = TestDb::with("probes", SHOP);
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    live.psql("delete from it");
    live.psql(LATER);
    let damaged = live.digest();
    let recipe = "[[recover]]\ntable = \"it\"\nwhere = \"true\"\n[policy]\nrecreated = \"repoint\"\n";
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(recipe);
    assert!(matches!(planned.code, Some(0 | 1)), "{planned:?}");
    let _applied = rescue.apply().expect_code(0);
    let children = "select string_agg(id || '>' || it, ' ' order by id) from child where id <= 8";
    // Who overlaps a span is nobody's other self: the children of 7 stay out.
    assert_eq!(live.value(children), "1>2 2>103 3>104 4>105 5>106 7>8 8>1");
    let _nothing = rescue.apply().expect_code(0);
    assert_eq!(live.value(children), "1>2 2>103 3>104 4>105 5>106 7>8 8>1");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what apply did");
}

#[test]
fn a_key_that_somebody_else_has_is_named_with_what_would_hang_on_it_and_the_line_that_decides() {
    let shop = TestDb::with(
        "reused",
        "create table folk (id int primary key, email text unique, name text);
         create table pets (id int primary key, folk int not null references folk on delete cascade, name text);
         insert into folk select g, case when g < 5 then 'f' || g end, 'folk ' || g from generate_series(1, 6) as g;
         insert into pets select g, 1 + g % 6, 'pet ' || g from generate_series(1, 12) as g;",
    );
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    // 2 is surely somebody else; of 5 nothing says who it is.
    live.psql("delete from folk; insert into folk values (2, 'other', 'Other'), (5, null, 'Who?')");
    let recipe = "[[recover]]\ntable = \"folk\"\nwhere = \"true\"\n";
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(recipe).expect_code(1);
    let shown = |table: &str, rescue: &Rescue| {
        let shown = rescue.rowback().run(["show", "case", "--table", table]).expect_code(0);
        shown.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let (folk, pets) = (shown("folk", &rescue), shown("pets", &rescue));
    assert!(folk.contains("id = 2 id_reused: nothing is written"), "{folk}");
    assert!(folk.contains("the values of folk_email_key differ"), "{folk}");
    assert!(folk.contains("id = 5 changed: nothing is written"), "{folk}");
    assert!(folk.contains("`identity = [...]` for public.folk decides"), "{folk}");
    assert!(pets.contains("hangs on public.folk that is id_reused"), "{pets}");
    assert!(pets.contains("hangs on public.folk that is changed"), "{pets}");
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.value("select count(*) from pets where folk in (2, 5)"), "0");
    assert_eq!(live.value("select count(*) from pets"), "8", "the pets of the others are back");
    assert_eq!(
        live.value("select string_agg(name, ', ' order by id) from folk where id in (2, 5)"),
        "Other, Who?"
    );
    // The line that decides, decides.
    let _undone = rescue.undo().expect_code(0);
    live.psql("update folk set name = 'folk 5' where id = 5; update folk set email = 'f5' where id = 5");
    let decided = Rescue::new(&live, &dump);
    let _planned = decided.recover_text(&format!("{recipe}identity = [\"name\"]\n")).expect_code(1);
    let _applied = decided.apply().expect_code(0);
    assert_eq!(live.value("select count(*) from pets where folk = 5"), "2");
    assert_eq!(live.value("select count(*) from pets where folk = 2"), "0");
}
