//! Which rows of a backup belong to the wanted ones: the closure over every sort of foreign key, and what is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rowback::backup::Backup;
use rowback::cancel::CancelToken;
use rowback::env::Env;
use rowback::error::Explain;
use rowback::extract::{self, ExtractError, ExtractOptions, Extracted};
use rowback::progress::{SharedProgress, Silent};
use rowback::recipe::Recipe;
use rowback::scratch::{Scratch, ScratchOptions};
use rowback::staging::{StagingFormat, StagingReader};

use super::support::{TempDir, TestDb};

/// A small world with every sort of reference.
const WORLD: &str = "
    create table person (id int primary key, name text not null, boss int references person, team int not null);
    create table team (id int primary key, lead int not null references person);
    alter table person add foreign key (team) references team;
    create table badge (person int not null references person on delete cascade, region text, no int, primary key (region, no));
    create table entry (id bigint primary key, region text, no int, foreign key (region, no) references badge on delete set null);
    create table remark (id int primary key, about text not null, about_id text not null);
    create table country (code text primary key);
    create table visit (id int, on_day date, person int references person on delete cascade,
        country text not null references country, primary key (id, on_day)) partition by range (on_day);
    create table visit_2025 partition of visit for values from ('2025-01-01') to ('2026-01-01');
    create table visit_rest partition of visit default;
    begin;
    alter table person disable trigger all; alter table team disable trigger all;
    insert into person values (1, 'Ann', null, 1), (2, 'Bo', 1, 1), (3, 'Cy', 2, 2), (4, 'Di', null, 2), (5, 'Ed', 4, 2);
    insert into team values (1, 1), (2, 4);
    alter table person enable trigger all; alter table team enable trigger all;
    commit;
    insert into badge select p, 'north', p * 10 from generate_series(1, 5) p;
    insert into entry select g, 'north', 10 * (1 + g % 5) from generate_series(1, 20) g;
    insert into entry values (21, 'north', null), (22, null, null);
    insert into remark values (1, 'person', '2'), (2, 'person', '5'), (3, 'team', '2'), (4, 'person', 'two');
    insert into country values ('at'), ('ch'), ('fr');
    insert into visit values (1, '2025-03-01', 2, 'at'), (2, '2024-03-01', 2, 'ch'), (3, '2025-04-01', 5, 'fr');";

/// Rows by table, each as COPY text without the column that says why it was staged, sorted.
type Rows = BTreeMap<String, Vec<String>>;

async fn extract(
    world: &TestDb<'_>,
    recipe: &str,
) -> Result<(Extracted, Rows, BTreeMap<String, Vec<String>>), ExtractError> {
    let directory = TempDir::new("extract");
    let backup = Arc::new(Backup::open(&world.dump(&["-Fc"])).unwrap());
    let progress: SharedProgress = Arc::new(Silent);
    let scratch = Scratch::prepare(
        backup,
        &ScratchOptions::default(),
        None,
        &Env::read(),
        progress.clone(),
        CancelToken::default(),
    )
    .await
    .unwrap();
    let recipe = Recipe::parse(recipe, Path::new("/")).unwrap();
    let options = ExtractOptions {
        format: StagingFormat::Parquet,
        time_limit: Duration::from_secs(2),
        live_keys: None,
    };
    let extracted = extract::run(&scratch, &recipe, directory.path(), &options, &progress).await?;
    scratch.remove().await.unwrap();

    let (mut rows, mut origins) = (Rows::new(), BTreeMap::new());
    for file in &extracted.files {
        let mut reader = StagingReader::open(directory.path(), file).unwrap();
        let table = file.table.table.to_string();
        let mut row = Vec::new();
        while reader.next_row(&mut row).unwrap() {
            let text = String::from_utf8(row.clone()).unwrap();
            let (values, origin) = text.rsplit_once('\t').unwrap();
            rows.entry(table.clone()).or_default().push(values.to_owned());
            origins.entry(table.clone()).or_insert_with(Vec::new).push(origin.to_owned());
        }
    }
    rows.values_mut().for_each(|rows| rows.sort());
    Ok((extracted, rows, origins))
}

/// The keys (first field) of the staged rows of a table.
fn keys<'rows>(rows: &'rows Rows, table: &str) -> Vec<&'rows str> {
    rows.get(table).into_iter().flatten().map(|row| row.split('\t').next().unwrap()).collect()
}

#[tokio::test]
async fn everything_that_hangs_on_a_row_and_everything_it_needs() {
    let world = TestDb::with("world", WORLD);
    let recipe = "[[recover]]\ntable = \"person\"\nwhere = \"name = 'Bo'\"
        [[foreign_key]]\nfrom = \"remark(about_id)\"\nto = \"person(id)\"\nwhen = \"about = 'person'\"";
    let (extracted, rows, origins) = extract(&world, recipe).await.unwrap();
    // Cy works for Bo, so he hangs on her; Ann is her boss and both their teams are needed, with the leads of the teams.
    assert_eq!(keys(&rows, "public.person"), ["1", "2", "3", "4"]);
    assert_eq!(keys(&rows, "public.team"), ["1", "2"]);
    assert_eq!(
        rows["public.badge"].iter().filter(|row| row.starts_with("2\t") || row.starts_with("3\t")).count(),
        2
    );
    assert_eq!(rows["public.badge"].len(), 2, "only of those who were chosen, not of the parents");
    assert_eq!(keys(&rows, "public.entry"), ["1", "11", "12", "16", "17", "2", "6", "7"]);
    assert_eq!(keys(&rows, "public.remark"), ["1"]);
    assert_eq!(rows["public.visit"], ["1\t2025-03-01\t2\tat", "2\t2024-03-01\t2\tch"]);
    assert_eq!(keys(&rows, "public.country"), ["at", "ch"]);
    assert_eq!(rows.len(), 7);

    let mut person = origins["public.person"].clone();
    person.sort();
    assert_eq!(
        person,
        ["cascade person_boss_fkey", "parent person_boss_fkey", "parent team_lead_fkey", "predicate 0"]
    );
    let edge = |name: &str| {
        let found =
            extracted.edges.iter().find(|edge| edge.name == name).unwrap_or_else(|| panic!("no {name}"));
        (found.in_backup, found.staged)
    };
    assert_eq!(edge("badge_person_fkey"), (2, 2));
    assert_eq!(edge("entry_region_no_fkey"), (8, 8));
    assert_eq!(extracted.notes, Vec::<String>::new());
}

#[tokio::test]
async fn children_can_be_left_out() {
    let world = TestDb::with("world", WORLD);
    let list = "[[recover]]\ntable = \"person\"\nwhere = \"id = 5\"\nchildren = [\"public.visit\"]";
    let (_, rows, _) = extract(&world, list).await.unwrap();
    assert_eq!(keys(&rows, "public.visit"), ["3"]);
    assert!(!rows.contains_key("public.badge"));
    let none = "[[recover]]\ntable = \"person\"\nwhere = \"id = 5\"\nchildren = \"none\"\n[policy]\nparents = \"none\"";
    let (_, rows, _) = extract(&world, none).await.unwrap();
    assert_eq!(rows, BTreeMap::from([("public.person".to_owned(), vec!["5\tEd\t4\t2".to_owned()])]));
}

#[tokio::test]
async fn a_query_and_a_predicate_choose_the_same_rows() {
    let world = TestDb::with("world", WORLD);
    let with = |selection: &str| format!("[[recover]]\ntable = \"entry\"\n{selection}\nchildren = \"none\"");
    let (_, by_query, _) = extract(
        &world,
        &with("query = \"select e.id from entry e join badge b using (region, no) where b.person = 3\""),
    )
    .await
    .unwrap();
    let (_, by_where, _) = extract(
        &world,
        &with("where = \"(region, no) in (select region, no from public.badge where person = 3)\""),
    )
    .await
    .unwrap();
    assert_eq!(by_query, by_where);
    assert_eq!(keys(&by_query, "public.entry"), ["12", "17", "2", "7"]);
}

#[tokio::test]
async fn two_entries_share_what_hangs_on_both() {
    let world = TestDb::with("world", WORLD);
    let recipe = "[[recover]]\ntable = \"person\"\nwhere = \"id = 2\"\n[[recover]]\ntable = \"badge\"\nwhere = \"no in (20, 50)\"\n[policy]\nparents = \"none\"";
    let (_, rows, _) = extract(&world, recipe).await.unwrap();
    assert_eq!(keys(&rows, "public.badge"), ["2", "3", "5"]);
    assert_eq!(keys(&rows, "public.person"), ["2", "3"]);
}

/// An entry from which nothing leads on is read in one go; a second entry beside it makes the rows go the long way.
#[tokio::test]
async fn rows_that_lead_nowhere_are_those_that_the_long_way_finds() {
    let world = TestDb::with(
        "world",
        &format!(
            "{WORLD} create table measure (code text primary key, at timestamp, predicate text);
            insert into measure values ('b', '2026-01-01', 'x'), ('B', 'infinity', null), ('a', '2025-01-01', E't\\tb'), ('z', null, 'y');"
        ),
    );
    let beside = "[[recover]]\ntable = \"country\"\nwhere = \"code = 'fr'\"\nchildren = \"none\"";
    for (alone, keys_found) in [
        (
            "table = \"measure\"\nwhere = \"measure.predicate is null or public.measure.code < 'b'\"",
            vec!["B", "a"],
        ),
        (
            "table = \"measure\"\nquery = \"select code from measure where predicate is not null\"",
            vec!["a", "b", "z"],
        ),
        (
            "table = \"visit\"\nkind = \"corrupted\"\ndamaged = \"true\"\nwhere = \"visit.id > 1\"",
            vec!["2", "3"],
        ),
        (
            "table = \"person\"\nwhere = \"id in (2, 5)\"\nchildren = \"none\"\n[policy]\nparents = \"none\"",
            vec!["2", "5"],
        ),
    ] {
        let table = if alone.contains("measure") {
            "public.measure"
        } else if alone.contains("visit") {
            "public.visit"
        } else {
            "public.person"
        };
        let alone = format!("[[recover]]\n{alone}");
        let (short, rows, origins) = extract(&world, &alone).await.unwrap();
        assert_eq!(keys(&rows, table), keys_found, "{alone}");
        assert_eq!(origins[table], vec!["predicate 0"; keys_found.len()]);
        let (long, mut beside_rows, beside_origins) =
            extract(&world, &format!("{alone}\n{beside}")).await.unwrap();
        beside_rows.remove("public.country");
        assert_eq!((rows, &origins[table]), (beside_rows, &beside_origins[table]));
        let digest = |extracted: &Extracted| {
            extracted.files.iter().find(|file| file.table.table.to_string() == table).unwrap().sha256.clone()
        };
        assert_eq!(digest(&short), digest(&long), "{alone}");
    }
    let nothing = "[[recover]]\ntable = \"measure\"\nwhere = \"code = 'q'\"";
    assert_eq!(extract(&world, nothing).await.unwrap_err().code(), "predicate-matches-nothing");
}

#[tokio::test]
async fn what_is_wrong_with_a_recipe_is_said_with_the_nearest_name() {
    let world = TestDb::with("world", WORLD);
    for (recipe, code, says) in [
        ("table = \"persons\"\nwhere = \"true\"", "unknown-table", "Did you mean \"public.person\"?"),
        ("table = \"person\"\nwhere = \"nmae = 'Bo'\"", "predicate-failed", "column \"nmae\" does not exist"),
        (
            "table = \"person\"\nwhere = \"id = 99\"",
            "predicate-matches-nothing",
            "the table has 5 rows in the backup",
        ),
        (
            "table = \"person\"\nwhere = \"id = (select count(*) from pg_sleep(30))\"",
            "predicate-timeout",
            "57014",
        ),
        ("table = \"person\"\nwhere = \"name = 'Bo' and\"", "predicate-failed", "syntax error"),
    ] {
        let error = extract(&world, &format!("[[recover]]\n{recipe}")).await.expect_err(recipe);
        let message = format!("{error}\n{}\n{}", error.causes().join("\n"), error.hint());
        assert_eq!(error.code(), code, "{message}");
        assert!(message.contains(says) && message.contains("Live was not changed."), "{message}");
    }
}
