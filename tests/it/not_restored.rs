//! Tables of the backup that scratch cannot take, because something that they need is not in the dump or not on the machine: no
//! row of theirs is left out in silence.

use super::support::{Rescue, TestDb};

/// `util` is in no dump of the schema `app` alone.
const WORLD: &str = "create schema app; create schema util;
    create function util.word() returns text language sql as $$ select 'x' $$;
    create type util.mood as enum ('a', 'b');
    create table app.par (id int primary key, c text default util.word());
    create table app.k (id int primary key, par int references app.par);
    create table app.kid (id int primary key, k int references app.k on delete cascade, m util.mood);
    create table app.cut (id int primary key, k int references app.k on delete set null, m util.mood);
    create table app.grand (id int primary key, kid int references app.kid on delete cascade);
    create table app.plain (id int primary key, k int references app.k on delete cascade);
    create table app.told (id int primary key, k int, m util.mood);
    create table app.o (id int, v text, primary key (id)) partition by range (id);
    create table app.o1 partition of app.o for values from (0) to (10);
    create table app.o2 partition of app.o for values from (10) to (20);
    alter table app.o2 alter v set default util.word();
    create table app.o3 partition of app.o default;
    create table app.split (id int, k int references app.k on delete cascade, m util.mood) partition by range (id);
    create table app.split1 partition of app.split for values from (0) to (10);
    insert into app.par select g from generate_series(1, 4) g;
    insert into app.k select g, g from generate_series(1, 4) g;
    insert into app.split select g, g, 'a' from generate_series(1, 4) g;
    insert into app.kid select g, g, 'a' from generate_series(1, 4) g;
    insert into app.cut select g, g, 'a' from generate_series(1, 4) g;
    insert into app.grand select g, g from generate_series(1, 4) g;
    insert into app.plain select g, g from generate_series(1, 4) g;
    insert into app.told select g, g, 'a' from generate_series(1, 4) g;
    insert into app.o select g, g from generate_series(1, 30) g";

#[test]
fn a_table_without_one_of_its_partitions_is_refused() {
    let backup = TestDb::with("parted", WORLD);
    for format in ["-Fc", "-Fp"] {
        let live = backup.copy("parted_live");
        let rescue = Rescue::new(&live, &backup.dump(&[format, "-n", "app"]));
        live.psql("delete from app.o where id > 5");
        for chosen in ["where = \"id > 5\"", "kind = \"corrupted\"\ndamaged = \"true\"\nwhere = \"true\"", ""]
        {
            let recipe = format!("[[recover]]\ntable = \"app.o\"\n{chosen}\n");
            let refused = rescue.recover_text(&recipe).expect_code(3);
            assert!(
                refused.stderr.contains("error[table-not-restored]: table \"app.o2\""),
                "{}",
                refused.stderr
            );
            assert!(refused.stderr.contains("schema \"util\" does not exist"), "{}", refused.stderr);
        }
        // Others are not touched by it.
        live.psql("delete from app.plain where id = 1");
        let _planned =
            rescue.recover_text("[[recover]]\ntable = \"app.plain\"\nwhere = \"id = 1\"\n").expect_code(0);
    }
}

#[test]
fn what_hung_on_lost_rows_in_tables_that_are_not_there_is_told_and_counted() {
    let backup = TestDb::with("unmade", WORLD);
    let live = backup.copy("unmade_live");
    let dump = backup.dump(&["-Fc", "-n", "app"]);
    live.psql("delete from app.k where id in (2, 3)");
    let recipe = "[[recover]]\ntable = \"app.k\"\nwhere = \"id in (2, 3)\"\n";
    let missed = [
        "kid_k_fkey of app.kid",
        "cut_k_fkey of app.cut",
        "grand_kid_fkey of app.grand",
        "split_k_fkey of app.split",
    ];

    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(recipe).expect_code(1);
    for name in missed {
        assert!(planned.stdout.contains(name), "{name}: {}", planned.stdout);
    }
    assert!(!planned.stdout.contains("no table of this name"), "{}", planned.stdout);
    assert!(planned.stdout.contains("TABLE app.kid: schema \"util\" does not exist"), "{}", planned.stdout);
    assert!(planned.stdout.contains("Plan: 4 to insert"), "{}", planned.stdout);
    assert!(planned.stdout.contains("4 left out"), "{}", planned.stdout);
    assert!(
        planned.stdout.contains("what rows of app.k refer to in app.par cannot come back"),
        "{}",
        planned.stdout
    );
    let _applied = rescue.apply().expect_code(0);
    let verified = rescue.verify().expect_code(1);
    assert!(verified.stdout.contains("4 by keys that were not followed"), "{}", verified.stdout);
    assert_eq!(live.value("select count(*) from app.plain"), "4");

    // Who does not want what hangs on them is not bothered.
    live.psql("delete from app.k where id = 4");
    let alone = Rescue::new(&live, &dump);
    let only = format!("{recipe}children = [\"app.plain\"]\n").replace("(2, 3)", "(4)");
    let planned = alone.recover_text(&only).expect_code(0);
    assert!(!planned.stdout.contains("is not looked for"), "{}", planned.stdout);
}

#[test]
fn extract_without_live_tells_it_from_the_backup_alone() {
    let backup = TestDb::with("unmade_alone", WORLD);
    let live = backup.copy("unmade_alone_live");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc", "-n", "app"]));
    let recipe = rescue.directory().write("r.toml", "[[recover]]\ntable = \"app.k\"\nwhere = \"id = 2\"\n");
    let (recipe, dump) =
        (recipe.display().to_string(), backup.dump(&["-Fc", "-n", "app"]).display().to_string());
    let _staged =
        rescue.rowback().run(["extract", &recipe, "--backup", &dump, "--case", "case"]).expect_code(0);
    live.psql("delete from app.k where id = 2");
    let diffed = rescue.rowback().run(["diff", "case", "--live", &live.url()]).expect_code(1);
    assert!(diffed.stdout.contains("grand_kid_fkey of app.grand is not looked for"), "{}", diffed.stdout);
}

#[test]
fn tables_that_the_recipe_names_are_refused_with_the_reason() {
    let backup = TestDb::with("unmade_named", WORLD);
    let live = backup.copy("unmade_named_live");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc", "-n", "app"]));
    let entry = "[[recover]]\ntable = \"app.k\"\nwhere = \"id = 2\"\n";
    let named = [
        format!("[[foreign_key]]\nfrom = \"app.told(k)\"\nto = \"app.k(id)\"\n{entry}"),
        format!("{entry}children = [\"app.told\"]\n"),
        "[[recover]]\ntable = \"app.told\"\nwhere = \"id = 2\"\n".to_owned(),
        "[[recover]]\ntable = \"app.split\"\nwhere = \"id = 2\"\n".to_owned(),
    ];
    for recipe in named {
        let refused = rescue.recover_text(&recipe).expect_code(3);
        assert!(refused.stderr.contains("error[table-not-restored]: table \"app."), "{}", refused.stderr);
        assert!(refused.stderr.contains("schema \"util\" does not exist"), "{}", refused.stderr);
    }
}

#[test]
fn partitions_that_only_live_has_are_told() {
    let backup = TestDb::with(
        "since",
        "create table o (id int primary key) partition by range (id);
         create table o1 partition of o for values from (0) to (10);
         create table o2 partition of o for values from (10) to (20);
         insert into o select generate_series(1, 19)",
    );
    let live = backup.copy("since_live");
    live.psql("delete from o");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc", "-T", "o2"]));
    let recipe = "[[recover]]\ntable = \"o\"\nwhere = \"true\"\n";
    let planned = rescue.recover_text(recipe).expect_code(0);
    assert!(
        planned.stdout.contains("live has partitions of public.o that the backup has not: public.o2."),
        "{}",
        planned.stdout
    );
    let whole = Rescue::new(&live, &backup.dump(&["-Fc"]));
    let planned = whole.recover_text(recipe).expect_code(0);
    assert!(!planned.stdout.contains("live has partitions"), "{}", planned.stdout);
}

#[test]
fn rows_of_tables_that_inherit_and_are_not_there_are_told_and_counted() {
    let backup = TestDb::with(
        "heirless",
        "create schema x; create type x.mood as enum ('a'); create table base (id int primary key, v text);
         create table heir (z x.mood) inherits (base); create table below (w int) inherits (heir);
         insert into base values (1, 'a'); insert into heir values (2, 'b', 'a'); insert into below values (3, 'c', 'a', 1)",
    );
    let live = backup.copy("heirless_live");
    live.psql("delete from base");
    for format in ["-Fc", "-Fp"] {
        let rescue = Rescue::new(&live, &backup.dump(&[format, "-n", "public"]));
        let planned = rescue.recover_text("[[recover]]\ntable = \"base\"\nwhere = \"true\"\n").expect_code(1);
        for heir in ["heir", "below"] {
            let told = format!(
                "rows of public.{heir}, which inherits from public.base, are not looked for: scratch could not"
            );
            assert!(planned.stdout.contains(&told), "{heir}: {}", planned.stdout);
        }
        assert!(planned.stdout.contains("2 left out"), "{}", planned.stdout);
    }
    let whole = Rescue::new(&live, &backup.dump(&["-Fc"]));
    let planned = whole.recover_text("[[recover]]\ntable = \"base\"\nwhere = \"true\"\n").expect_code(1);
    assert!(!planned.stdout.contains("are not looked for"), "{}", planned.stdout);
}
