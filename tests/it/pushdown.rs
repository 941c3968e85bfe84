//! What is found does not depend on whether rows were left out while the backup was read; only the cost does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rowback::backup::Backup;
use rowback::cancel::CancelToken;
use rowback::env::Env;
use rowback::extract::{self, ExtractError, ExtractOptions, Extracted};
use rowback::progress::{SharedProgress, Silent};
use rowback::recipe::Recipe;
use rowback::scratch::{Loading, Pushdown, Scratch, ScratchOptions};
use rowback::staging::{StagingFormat, StagingReader};

use super::support::{TempDir, TestDb};

const WORLD: &str = "
    create table tenant (id int primary key, name text not null);
    create table person (id int primary key, tenant int not null references tenant, boss int references person on delete cascade,
        name text not null, seen timestamptz);
    create table job (id bigint primary key, person int not null references person on delete cascade, state varchar(10), hours numeric(6,2));
    create table note (id bigint primary key, job bigint references job on delete set null, tenant int references tenant);
    create table old_job () inherits (job);
    create table event (id int, on_day date, job bigint references job on delete cascade, primary key (id, on_day)) partition by range (on_day);
    create table event_2025 partition of event for values from ('2025-01-01') to ('2026-01-01');
    create table event_rest partition of event default;
    create view seen_by_view as select * from person where id > 3;
    create function rich(j bigint) returns boolean language sql stable as 'select exists (select 1 from note n where n.job = j)';
    insert into tenant select g, 'tenant ' || g from generate_series(1, 10) g;
    insert into person select g, 1 + g % 10, nullif(g / 10, 0), 'P' || g % 7, '2026-01-01 00:00+00'::timestamptz + g * interval '1 hour' from generate_series(1, 400) g;
    insert into job select g, 1 + g % 400, (array['open', 'done', 'it''s'])[1 + g % 3], g / 8.0 from generate_series(1, 2000) g;
    insert into note select g, nullif(1 + g % 2000, 5), 1 + g % 10 from generate_series(1, 3000) g;
    insert into event select g, date '2024-12-01' + g % 60, 1 + g % 2000 from generate_series(1, 3000) g;
    insert into old_job values (9001, 1, 'open', 1);
    alter database :db set timezone = 'Asia/Kolkata';";

/// What a run found: every file's rows as text with their reasons, and the counts by foreign key.
type Found = (Vec<(String, Vec<String>)>, String);

async fn extract(dump: &Path, recipe: &str, loading: Loading) -> Result<(Extracted, Found), ExtractError> {
    let directory = TempDir::new("pushdown");
    let progress: SharedProgress = Arc::new(Silent);
    let options = ScratchOptions { loading, ..ScratchOptions::default() };
    let backup = Arc::new(Backup::open(dump).unwrap());
    let scratch =
        Scratch::prepare(backup, &options, None, &Env::read(), progress.clone(), CancelToken::default())
            .await
            .unwrap();
    let recipe = Recipe::parse(recipe, Path::new("/")).unwrap();
    let options = ExtractOptions {
        format: StagingFormat::Parquet,
        time_limit: Duration::from_secs(20),
        live_keys: None,
    };
    let extracted = extract::run(&scratch, &recipe, directory.path(), &options, &progress).await;
    scratch.remove().await.unwrap();
    let extracted = extracted?;
    let mut files = Vec::new();
    for file in &extracted.files {
        let mut reader = StagingReader::open(directory.path(), file).unwrap();
        let (mut rows, mut row) = (Vec::new(), Vec::new());
        while reader.next_row(&mut row).unwrap() {
            rows.push(String::from_utf8(row.clone()).unwrap());
        }
        files.push((file.table.table.to_string(), rows));
    }
    let edges = format!("{:?}", extracted.edges);
    Ok((extracted, (files, edges)))
}

/// `table: filter kept/read` of each pass.
fn passes(extracted: &Extracted) -> Vec<String> {
    let shown = |pass: &rowback::scratch::Pass| {
        format!("{}: {} {}/{} ({})", pass.table, pass.filter, pass.rows_kept, pass.rows_read, pass.why)
    };
    extracted.passes.iter().map(shown).collect()
}

fn off() -> Loading {
    Loading { pushdown: Pushdown::Off, ..Loading::default() }
}

fn world() -> (TestDb<'static>, std::path::PathBuf) {
    let db = TestDb::new("pushdown");
    db.psql(&WORLD.replace(":db", &format!("\"{}\"", db.name())));
    let dump = db.dump(&["-Fc"]);
    (db, dump)
}

#[tokio::test]
async fn the_same_rows_with_and_without() {
    let (_db, dump) = world();
    let recipes = [
        "[[recover]]\ntable = \"job\"\nwhere = \"state = 'it''s' and id < 40\"",
        "[[recover]]\ntable = \"person\"\nwhere = \"tenant = 3 and name like 'P1%'\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"person in (select id from public.person where tenant = 2) and id < 100\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"person in (select id from public.person where tenant = 2 and md5(name) < 'c')\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"person not in (select id from public.person where tenant > 2) and id < 300\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"exists (select from public.person p where p.id = job.person and p.tenant = 2 and p.id < 50)\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"person = (select max(p.id) from public.person p where p.tenant = 2)\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"person in (select boss from public.person where tenant = 2)\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"person in (select id from public.person where tenant = 2 order by id limit 3)\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"person in (select id from public.seen_by_view where tenant = 2)\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"person in (select p.id from public.person p join public.tenant t on t.id = p.tenant where t.name like 'tenant 1%')\"",
        "[[recover]]\ntable = \"event\"\nwhere = \"job in (select id from public.job where state = 'done' and person in (select id from public.person where tenant = 4))\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"person in (select id from public.person where tenant = 2)\"\n[[recover]]\ntable = \"person\"\nwhere = \"tenant in (select id from public.tenant where name = 'tenant 3')\"",
        "[[recover]]\ntable = \"note\"\nwhere = \"job in (select id from public.event where on_day = '2025-01-01')\"\n[[recover]]\ntable = \"note\"\nwhere = \"id < 5\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"id = 17 or hours = (select max(hours) from public.job)\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"public.job.id = 17\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"id in (17, 18, 19, 40) and state = 'open'\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"id = 17 or id in (21, 22) and hours > 2.7\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"id in (17, 9001) or md5(state) = 'x'\"",
        "[[recover]]\ntable = \"person\"\nwhere = \"id in (3, 41)\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"id < 9 and public.rich(id)\"",
        "[[recover]]\ntable = \"old_job\"\nkey = [\"id\"]\nwhere = \"id = 9001 and exists (select 1 from public.job where id = 9001)\"",
        "[[recover]]\ntable = \"person\"\nwhere = \"seen < '2026-01-01 05:30'\"\nchildren = \"none\"",
        "[[recover]]\ntable = \"job\"\nwhere = \"id = 3\"\n[[recover]]\ntable = \"job\"\nwhere = \"hours between 2 and 2.5\"\nchildren = [\"public.note\"]",
        "[[recover]]\ntable = \"job\"\nwhere = \"id = 3\"\n[[recover]]\ntable = \"person\"\nwhere = \"id = 5\"",
        "[[recover]]\ntable = \"event\"\nwhere = \"on_day = '2025-01-01' and id < 500\"",
        "[[recover]]\ntable = \"note\"\nwhere = \"ctid = '(0,3)'\"",
        "[[recover]]\ntable = \"note\"\nwhere = \"id < 5\"\n[[foreign_key]]\nfrom = \"event(id)\"\nto = \"note(id)\"\nwhen = \"on_day > '2025-01-01'\"",
    ];
    for recipe in recipes {
        let (with, found) = extract(&dump, recipe, Loading { jobs: 3, ..Loading::default() }).await.unwrap();
        let (without, whole) = extract(&dump, recipe, off()).await.unwrap();
        assert!(
            !found.0.is_empty() && found == whole,
            "{recipe}\n{:#?}\n{found:?}\n{whole:?}",
            passes(&with)
        );
        assert!(
            without.passes.iter().all(|pass| pass.rows_kept == pass.rows_read),
            "{:#?}",
            passes(&without)
        );
    }
    // The twin: a row more or less does show.
    let (one, other) = (recipes[0], recipes[0].replace("id < 40", "id < 36"));
    let (_, one) = extract(&dump, one, Loading::default()).await.unwrap();
    assert_ne!(extract(&dump, &other, off()).await.unwrap().1, one);
}

#[tokio::test]
async fn only_the_rows_that_can_matter_are_loaded() {
    let (_db, dump) = world();
    let told = async |recipe: &str, loading: Loading| {
        passes(&extract(&dump, recipe, loading).await.unwrap().0).join("\n")
    };
    let plain = "[[recover]]\ntable = \"job\"\nwhere = \"state = 'open' and id < 40 and md5(state) <> 'x'\"";
    insta::assert_snapshot!(told(plain, Loading::default()).await, @r#"
    public.job: "state" = a text and "id" < 40 13/2000 (predicate; left to PostgreSQL: md5((job.state)::text) <> 'x'::text)
    public.event: (job) in 13 keys 26/3000 (children by event_job_fkey)
    public.note: (job) in 13 keys 26/3000 (children by note_job_fkey)
    public.person: (id) in 13 keys 13/400 (parents by job_person_fkey)
    public.tenant: (id) in 10 keys or (id) in 10 keys 10/10 (parents by note_tenant_fkey, person_tenant_fkey)
    public.person: (id) in 3 keys 3/400 (parents by person_boss_fkey)
    public.old_job: every row 1/1 (it inherits from public.job)
    "#);
    let own =
        "[[recover]]\ntable = \"job\"\nwhere = \"id = 17 or hours = (select max(hours) from public.job)\"";
    insta::assert_snapshot!(told(own, Loading::default()).await, @"
    public.job: every row 2000/2000 (the predicate may need other rows of its table)
    public.old_job: every row 1/1 (read by the selection of public.job)
    public.event: (job) in 2 keys 3/3000 (children by event_job_fkey)
    public.note: (job) in 2 keys 3/3000 (children by note_job_fkey)
    public.person: (id) in 2 keys 2/400 (parents by job_person_fkey)
    public.tenant: (id) in 2 keys or (id) in 2 keys 4/10 (parents by note_tenant_fkey, person_tenant_fkey)
    ");
    let beside = "[[recover]]\ntable = \"job\"\nwhere = \"person in (select id from public.person where tenant = 2) and id < 100\"\n[policy]\nparents = \"none\"";
    insta::assert_snapshot!(told(beside, Loading::default()).await, @r#"
    public.person: "tenant" = 2 40/400 (read by the selection of public.job)
    public.job: "id" < 100 and (person) in 40 keys 9/2000 (predicate; left to PostgreSQL: job.person IN ( SELECT person.id FROM public.person WHERE (person.tenant = 2)))
    public.event: (job) in 9 keys 18/3000 (children by event_job_fkey)
    public.note: (job) in 9 keys 18/3000 (children by note_job_fkey)
    public.old_job: every row 1/1 (it inherits from public.job)
    "#);
    let below = "[[recover]]\ntable = \"person\"\nwhere = \"id = 4\"\nchildren = [\"public.person\"]\n[policy]\nparents = \"none\"";
    insta::assert_snapshot!(told(below, Loading::default()).await, @r#"
    public.person: "id" = 4 1/400 (predicate)
    public.person: only its references 0/400 (it refers to itself, directly or through others; nothing is loaded by this pass)
    public.person: (boss) in 12 keys 11/400 (children by person_boss_fkey, followed to their end)
    "#);
    // The children are read beside the table of the predicate, which names more keys than it chooses rows; once is enough.
    let ahead = "[[recover]]\ntable = \"job\"\nwhere = \"id in (17, 18, 19) and state = 'open'\"\n[policy]\nparents = \"none\"";
    insta::assert_snapshot!(told(ahead, Loading::default()).await, @r#"
    public.job: "id" in (3 constants) and "state" = a text 1/2000 (predicate)
    public.event: (job) in 3 keys 6/3000 (children by event_job_fkey, for the keys that the predicate names)
    public.note: (job) in 3 keys 6/3000 (children by note_job_fkey, for the keys that the predicate names)
    public.old_job: every row 1/1 (it inherits from public.job)
    "#);
    // So are the parents of what its table holds; theirs come when the rows are chosen.
    let upwards = ahead.replace("\n[policy]\nparents = \"none\"", "");
    insta::assert_snapshot!(told(&upwards, Loading::default()).await, @r#"
    public.job: "id" in (3 constants) and "state" = a text 1/2000 (predicate)
    public.event: (job) in 3 keys 6/3000 (children by event_job_fkey, for the keys that the predicate names)
    public.note: (job) in 3 keys 6/3000 (children by note_job_fkey, for the keys that the predicate names)
    public.person: (id) in 1 keys 1/400 (parents by job_person_fkey)
    public.tenant: (id) in 1 keys or (id) in 1 keys 2/10 (parents by note_tenant_fkey, person_tenant_fkey)
    public.person: (id) in 1 keys 1/400 (parents by person_boss_fkey)
    public.tenant: (id) in 1 keys 1/10 (parents by person_tenant_fkey)
    public.old_job: every row 1/1 (it inherits from public.job)
    "#);
    let poor = Loading { memory_bytes: 64, ..Loading::default() };
    insta::assert_snapshot!(told(plain, poor).await, @r#"
    public.job: "state" = a text and "id" < 40 13/2000 (predicate; left to PostgreSQL: md5((job.state)::text) <> 'x'::text)
    public.event: every row 3000/3000 (the keys of event_job_fkey take more memory than --memory leaves them)
    public.note: every row 3000/3000 (the keys of note_job_fkey take more memory than --memory leaves them)
    public.person: every row 400/400 (parents by job_person_fkey; the keys of job_person_fkey take more memory than --memory leaves them)
    public.tenant: every row 10/10 (parents by note_tenant_fkey, person_tenant_fkey; the keys of note_tenant_fkey take more memory than --memory leaves them)
    public.old_job: every row 1/1 (it inherits from public.job)
    "#);
}

#[tokio::test]
async fn a_predicate_that_matches_nothing_still_tells_of_all_rows() {
    use rowback::error::Explain;
    let (_db, dump) = world();
    let recipe = "[[recover]]\ntable = \"person\"\nwhere = \"id = 4000\"";
    let (with, without) = (
        extract(&dump, recipe, Loading::default()).await.err().unwrap(),
        extract(&dump, recipe, off()).await.err().unwrap(),
    );
    let message = |error: &ExtractError| format!("{error} {}", error.causes().join(" "));
    assert_eq!(message(&with), message(&without));
    assert!(message(&with).contains("400 rows"), "{}", message(&with));
}

/// Rows from which nothing leads on come in one read, mostly as they are stored.
#[tokio::test]
async fn files_are_in_the_order_of_the_key_however_rows_are_stored() {
    let recipe = "[policy]\nparents = \"none\"\n[[recover]]\ntable = \"reading\"\nwhere = \"value <> 7\"\nchildren = \"none\"";
    let made = |kind: &str, order: &str| {
        format!(
            "create table reading (id {kind} primary key, value int not null);
             insert into reading select g, g % 9 from generate_series(-1500, 1500) as g order by {order};"
        )
    };
    for kind in ["smallint", "bigint", "numeric", "text"] {
        let mut files = Vec::new();
        // By key, backwards, shuffled, and by key until a few rows were written anew.
        for (order, later) in [
            ("g", ""),
            ("g desc", ""),
            ("md5(g::text)", ""),
            ("g", "update reading set value = value where id in ('-1500', '3', '1490')"),
        ] {
            let db = TestDb::with("stored", &made(kind, order));
            db.psql(later);
            let (_, (found, _)) = extract(&db.dump(&["-Fc"]), recipe, Loading::default()).await.unwrap();
            files.push(found);
        }
        let [(_, rows)] = files[0].as_slice() else { panic!("{files:?}") };
        assert_eq!(rows.len(), 2835, "{kind}");
        let first = rows[0].split('\t').next();
        assert_eq!(first, Some(if kind == "text" { "-1" } else { "-1500" }), "{kind}");
        for other in &files[1..] {
            assert_eq!(&files[0], other, "{kind}");
        }
    }
}

#[tokio::test]
async fn tables_that_are_loaded_side_by_side_give_what_they_give_one_after_the_other() {
    let db = TestDb::with(
        "pushdown",
        "create table root (id int primary key);
        create table wide (id int primary key, root int references root, text text);
        create table link (id int primary key, root int not null references root);
        create table leaf (id int primary key, link int not null references link);
        create table mixed (id int primary key, leaf int references leaf, wide int references wide, self int references mixed);
        insert into root select generate_series(1, 50);
        insert into wide select g, 1 + g % 50, repeat(md5(g::text), 8) from generate_series(1, 40000) g;
        insert into link select g, 1 + g % 50 from generate_series(1, 200) g;
        insert into leaf select g, 1 + g % 200 from generate_series(1, 400) g;
        insert into mixed select g, 1 + g % 400, 1 + g, nullif(g / 3, 0) from generate_series(1, 600) g;",
    );
    let recipe = "[[recover]]\ntable = \"root\"\nwhere = \"id in (7, 8)\"";
    let custom = db.dump(&["-Fc"]);
    let (first, found) = extract(&custom, recipe, Loading { jobs: 1, ..Loading::default() }).await.unwrap();
    assert_eq!(found.0.len(), 5);
    assert!(found.0.iter().all(|(_, rows)| !rows.is_empty()));
    let downwards: Vec<&str> = first.passes[..6].iter().map(|pass| pass.table.name.as_str()).collect();
    assert_eq!(downwards, ["root", "link", "wide", "leaf", "mixed", "mixed"], "whatever is there first");
    for (dump, jobs) in [(&custom, 2), (&custom, 8), (&db.dump(&["-Fp"]), 2)] {
        let loading = Loading { jobs, ..Loading::default() };
        let (again, same) = extract(dump, recipe, loading).await.unwrap();
        assert_eq!(same, found, "{} {jobs}", dump.display());
        assert_eq!(passes(&again), passes(&first), "{} {jobs}", dump.display());
    }
}
