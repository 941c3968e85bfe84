//! References that only the recipe knows, over columns whose equal values print in different ways: they are followed, verified
//! and undone by what the values are.

use super::support::{Colleague, Rescue, TestDb};

/// Types of child and parent, and one value as each writes it.
const PAIRS: [(&str, &str, &str, &str); 10] = [
    ("amount", "amount", "1", "1.0"),
    ("numeric", "numeric", "'1'", "'1.0'"),
    ("text collate ci", "text collate ci", "'key'", "'Key'"),
    ("float8", "float8", "'-0'", "'0'"),
    ("interval", "interval", "'24 hours'", "'1 day'"),
    ("int", "numeric(10, 2)", "1", "1"),
    ("numeric(10, 2)", "int", "1", "1"),
    ("varchar(5)", "char(6)", "'x'", "'x'"),
    ("timestamp", "date", "'2026-01-01'", "'2026-01-01'"),
    ("text", "varchar(9)", "'x'", "'x'"),
];

const RECIPE: &str = "[[foreign_key]]\nfrom = \"kid(code)\"\nto = \"par(code)\"\n[[recover]]\n";

fn world((child, parent, of_child, of_parent): (&str, &str, &str, &str)) -> TestDb<'static> {
    TestDb::with(
        "typed",
        &format!(
            "create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             create domain amount as numeric;
             create table par (code {parent} primary key, what text);
             create table kid (id int primary key, code {child});
             insert into par values ({of_parent}, 'parent');
             insert into kid values (1, {of_child}), (2, null);"
        ),
    )
}

#[test]
fn parents_and_children_are_found_verified_and_undone_by_value() {
    for pair in PAIRS {
        let backup = world(pair);
        let dump = backup.dump(&["-Fc"]);
        let wanted = backup.digest();
        for entry in ["table = \"kid\"\nwhere = \"id = 1\"\n", "table = \"par\"\nwhere = \"true\"\n"] {
            let live = backup.copy("typed_live");
            live.psql("delete from kid where id = 1; delete from par");
            let hit = live.digest();
            let rescue = Rescue::new(&live, &dump);
            let planned = rescue.recover_text(&format!("{RECIPE}{entry}")).expect_code(0);
            assert!(planned.stdout.contains("Plan: 2 to insert"), "{pair:?} {}", planned.stdout);
            let _applied = rescue.apply().expect_code(0);
            wanted.assert_same(&live.digest(), &format!("{pair:?} {entry}"));
            let _verified = rescue.verify().expect_code(0);
            // A parent that was there is missed.
            let parent = live.psql("copy par to stdout");
            live.psql("delete from par");
            let missed = rescue.verify().expect_code(1);
            assert!(missed.stdout.contains("its parent by"), "{pair:?} {}", missed.stdout);
            live.psql(&format!("copy par from stdin;\n{parent}\\.\n"));
            let undone = rescue.undo().expect_code(1);
            assert!(undone.stdout.contains("written again since"), "{undone:?}");
            rescue.undo_by_hand();
            hit.assert_same(&live.digest(), &format!("{pair:?} {entry}, undone"));
        }
    }
}

#[test]
fn undo_keeps_a_parent_to_which_somebody_came_to_refer() {
    for pair in PAIRS {
        let backup = world(pair);
        let live = backup.copy("typed_live");
        live.psql("delete from kid; delete from par");
        let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
        let recipe = format!("{RECIPE}table = \"par\"\nwhere = \"true\"\nchildren = \"none\"\n");
        let _planned = rescue.recover_text(&recipe).expect_code(0);
        let _applied = rescue.apply().expect_code(0);
        live.psql(&format!("insert into kid values (9, {})", pair.2));
        let undone = rescue.undo().expect_code(1);
        assert!(undone.stdout.contains("still referred to by public.kid"), "{pair:?} {}", undone.stdout);
        assert_eq!(live.value("select count(*) from par"), "1", "{pair:?}");
    }
}

/// The number of a transaction says when it began, not when it wrote: a row of an old one may refer to a recovered row.
#[test]
fn undo_keeps_a_parent_to_which_an_older_transaction_came_to_refer() {
    let backup = TestDb::with(
        "older",
        "create table par (id int primary key); create table kid (id int primary key, par int); create table other (id int);
         insert into par values (1), (2); insert into kid values (1, 2);",
    );
    let live = backup.copy("older_live");
    live.psql("delete from par");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
    let recipe = "[[foreign_key]]\nfrom = \"kid(par)\"\nto = \"par(id)\"\n[[recover]]\ntable = \"par\"\nwhere = \"true\"\n";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let mut colleague = Colleague::begins(&live, "insert into other values (1)");
    let _applied = rescue.apply().expect_code(0);
    colleague.runs("insert into kid values (7, 1)");
    colleague.commits();
    // The one that dangled all the time keeps nobody.
    let undone = rescue.undo().expect_code(1);
    assert!(
        undone.stdout.contains("public.par (id = 1): still referred to by public.kid"),
        "{}",
        undone.stdout
    );
    assert_eq!(live.value("select string_agg(id::text, ',') from par"), "1");
}

/// A row that was hung on another parent does not dangle as it did in the backup, though another row does.
#[test]
fn a_stand_in_that_goes_is_missed_beside_a_row_that_always_dangled() {
    let backup = TestDb::with(
        "stand_in",
        "create table par (id int primary key, mail text unique); create table kid (id int primary key, p int);
         insert into par values (1, 'a@b'); insert into kid values (5, 1), (6, 77);",
    );
    let live = backup.copy("stand_in_live");
    live.psql("delete from kid; delete from par; insert into par values (50, 'a@b')");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
    let recipe = "[[recover]]\ntable = \"kid\"\nwhere = \"true\"\n[[foreign_key]]\nfrom = \"kid(p)\"\nto = \"par(id)\"\n\
                  [policy]\nrecreated = \"repoint\"\n";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.value("select string_agg(p::text, ',' order by id) from kid"), "50,77");
    let _verified = rescue.verify().expect_code(0);
    live.psql("delete from par");
    let missed = rescue.verify().expect_code(1);
    assert!(missed.stdout.contains("public.kid (id = 5): its parent by"), "{}", missed.stdout);
    assert!(!missed.stdout.contains("(id = 6)"), "{}", missed.stdout);
}

/// A parent that was in live at plan time and of which nothing tells who it is: it must still be there when its child comes.
#[test]
fn a_row_is_not_hung_on_a_parent_that_vanished_since_the_plan() {
    for parent in
        ["id int primary key", "id int, key int primary key default 1", "id int primary key, what text"]
    {
        let backup = TestDb::with(
            "vanishing",
            &format!(
                "create table par ({parent}); create table kid (id int primary key, p int);
                 insert into par (id) values (1); insert into kid values (5, 1), (6, null), (7, 77);"
            ),
        );
        let wanted = backup.digest();
        let live = backup.copy("vanishing_live");
        live.psql("delete from kid");
        let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
        let recipe = "[[recover]]\ntable = \"kid\"\nwhere = \"true\"\n[[foreign_key]]\nfrom = \"kid(p)\"\nto = \"par(id)\"\n";
        let planned = rescue.recover_text(recipe).expect_code(0);
        assert!(planned.stdout.contains("Plan: 3 to insert"), "{}", planned.stdout);
        live.psql("delete from par");
        let held = rescue.apply().expect_code(1);
        assert!(held.stdout.contains("public.kid (id = 5)"), "{}", held.stdout);
        assert_eq!(live.value("select string_agg(id::text, ',' order by id) from kid"), "6,7", "{parent}");
        live.psql("insert into par (id) values (1)");
        let again = Rescue::new(&live, &backup.dump(&["-Fc"]));
        let _planned = again.recover_text(recipe).expect_code(0);
        let _applied = again.apply().expect_code(0);
        wanted.assert_same(&live.digest(), parent);
        let _verified = again.verify().expect_code(0);
    }
}

/// Two references that need the same parent: the one that finds it there already does not dangle.
#[test]
fn a_parent_that_another_reference_has_brought_is_not_missed() {
    let backup = TestDb::with(
        "shared",
        "create table par (id int primary key, sku text unique); create table hard (id int primary key, sku text references par (sku));
         create table soft (id int primary key, sku text); create table other (id int primary key, sku text);
         insert into par select g, 's' || g from generate_series(1, 9) g;
         insert into hard values (1, 's2'); insert into soft values (1, 's2'), (2, 's3'); insert into other values (1, 's2'), (2, 'none')",
    );
    let live = backup.copy("shared_live");
    live.psql("delete from hard; delete from soft; delete from other; delete from par");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
    let tables = ["soft", "hard", "other"];
    let mut recipe: String =
        tables.map(|table| format!("[[recover]]\ntable = \"{table}\"\nwhere = \"true\"\n")).concat();
    for table in ["soft", "other"] {
        recipe.push_str(&format!("[[foreign_key]]\nfrom = \"{table}(sku)\"\nto = \"par(sku)\"\n"));
    }
    let planned = rescue.recover_text(&recipe).expect_code(0);
    assert!(planned.stdout.contains("Plan: 7 to insert"), "{}", planned.stdout);
    assert!(planned.stdout.contains("rows of public.other refer by"), "{}", planned.stdout);
    assert!(!planned.stdout.contains("rows of public.soft refer by"), "{}", planned.stdout);
    let _applied = rescue.apply().expect_code(0);
    let _verified = rescue.verify().expect_code(0);
}
