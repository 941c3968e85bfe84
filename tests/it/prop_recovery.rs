//! Random databases, random accidents, random work afterwards: the recovery gives back what the accident took or overwrote and
//! touches nothing else, whether conditions, a replay or a second backup tell what that was; with tombstones, rows made again and
//! triggers that count. `make fuzz SEEDS=…` runs thousands of seeds; a failing one is printed and its case kept.

mod damage;
mod dice;
mod model;
mod recipe;
mod schema;
mod story;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use self::dice::Dice;
use self::model::{Content, Key, States};
use self::recipe::{Choices, Means};
use self::schema::Schema;
use self::story::{Accident, Later, accident, reach, truncation};
use super::support::{Output, Rescue, TestDb, repository, server};

/// Seeds of an ordinary run of the tests: half a minute or so.
const SEEDS: u64 = 48;

/// What a seed's story came to.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    taken: usize,
    back: usize,
    linked: usize,
    held: usize,
    away: usize,
}

/// One story: everything that is needed to look at it again.
struct Story {
    seed: u64,
    calm: bool,
    schema: Schema,
    accident: Accident,
    choices: Choices,
    recipe: String,
    later: Vec<String>,
    flags: Vec<String>,
    before: Content,
    after: Content,
    taken: BTreeSet<Key>,
    /// Of them, those that were deleted on purpose as well.
    away: BTreeSet<Key>,
}

impl Story {
    /// Makes the database of a seed, dumps it, and lets the accident happen to it.
    fn begin(seed: u64, live: &TestDb<'_>) -> (Self, PathBuf) {
        let (schema, mut dice, mut more) = Schema::of(seed);
        live.psql(&schema.sql());
        let dump = live.dump(&["-Fc"]);
        let before = Content::read(live, &schema);
        let (accident, after) = happen(live, &schema, &before, &mut dice);
        let taken = before.without(&after);
        let mut choices = Choices::random(&schema, &taken, &mut dice);
        choices.misrouted = more.chance(50);
        let after_dump = if choices.means == Means::After { live.dump(&["-Fc"]) } else { PathBuf::new() };
        let recipe = choices.recipe(&schema, &accident, (&after, &after_dump));
        let away = choices.stays_away(&schema, &before, &taken);
        let reach = reach(&schema, &before, &taken);
        let calm = dice.chance(60);
        let mut later = Later {
            schema: &schema,
            before: &before,
            after: &after,
            taken: &taken,
            reach: &reach,
            // A lost row comes back with the counts of the backup, whatever was deleted since.
            proven: choices.proves(&schema) && schema.tables.iter().all(|table| table.counters.is_empty()),
            damages: &accident.damages,
            fresh: 1000,
        };
        let mut work = later.calm(&mut dice);
        if !calm {
            work.extend(later.stormy(&mut dice));
        }
        let rows = dice.pick(&["1", "2", "7", "1000"]).to_string();
        let mut flags = vec!["--batch-rows".to_owned(), rows];
        if dice.chance(20) {
            flags.extend(["--staging".to_owned(), "csv".to_owned()]);
        }
        let story = Self {
            seed,
            calm,
            accident,
            choices,
            recipe,
            later: work,
            flags,
            before,
            after,
            taken,
            away,
            schema,
        };
        (story, dump)
    }

    /// The work after the accident. Where it may be refused, each piece is done or not as a whole.
    fn go_on(&self, database: &TestDb<'_>) {
        let mut script = String::new();
        for statement in &self.later {
            if self.calm {
                script.push_str(statement);
            } else {
                script.push_str(&format!(
                    "do $y$ begin {} set constraints all immediate; exception when others then null; end $y$;",
                    statement.replace("$x$", "$z$")
                ));
            }
            script.push('\n');
        }
        database.psql(&script);
    }

    fn states<'a>(&'a self, live: &'a Content, result: &'a Content) -> States<'a> {
        States {
            schema: &self.schema,
            before: &self.before,
            after: &self.after,
            live,
            result,
            away: &self.away,
            proven: self.choices.proves(&self.schema),
            repoint: self.choices.repoint,
        }
    }

    /// Where rows are deleted in a circle while triggers count them, PostgreSQL takes or refuses the statement by the order in
    /// which rows lie in the table, which scratch does not have.
    fn may_not_replay(&self) -> bool {
        let circle =
            |(number, table): (usize, &schema::Table)| table.links.iter().any(|link| link.parent >= number);
        self.choices.means == Means::Replay
            && self.schema.tables.iter().any(|table| !table.counters.is_empty())
            && self.schema.tables.iter().enumerate().any(circle)
    }

    /// Keeps everything for whoever looks into a failure.
    fn keep(&self, rescue: &Rescue<'_>, dump: &std::path::Path) -> PathBuf {
        let directory = repository().join(format!("target/fuzz/{}", self.seed));
        let _old = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        for (name, text) in [
            ("schema.sql", self.schema.sql()),
            ("accident.sql", self.accident.sql()),
            ("later.sql", self.later.join("\n")),
            ("recipe.toml", self.recipe.clone()),
            ("flags", self.flags.join(" ")),
            ("erased.csv", self.choices.erased_csv(&self.schema).unwrap_or_default()),
        ] {
            std::fs::write(directory.join(name), text).unwrap();
        }
        std::fs::copy(dump, directory.join("backup.dump")).unwrap();
        let mut copy = std::process::Command::new("cp");
        let _nothing_to_copy = copy.arg("-r").arg(rescue.case()).arg(&directory).output();
        directory
    }
}

/// Tries accidents until the foreign keys allow one that takes rows.
fn happen(live: &TestDb<'_>, schema: &Schema, before: &Content, dice: &mut Dice) -> (Accident, Content) {
    for attempt in 0.. {
        let next =
            if attempt > 10 || dice.chance(10) { truncation(schema, dice) } else { accident(schema, dice) };
        let mut psql = server().program("psql", live.name());
        let output = psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", &next.sql()]).output().unwrap();
        if output.status.success() {
            let after = Content::read(live, schema);
            if after != *before {
                return (named(next, schema, before, live), after);
            }
        }
    }
    unreachable!("TRUNCATE takes rows in the end")
}

/// The accident without entries for rows that the backup does not have: a recipe that asks for such rows is refused.
fn named(mut accident: Accident, schema: &Schema, before: &Content, live: &TestDb<'_>) -> Accident {
    let holds = |table: &str, condition: &str| {
        let number = schema.tables.iter().position(|one| one.name == table).unwrap();
        let table = &schema.tables[number];
        let rows: Vec<String> = before.tables[number].values().map(|row| schema::tuple(row)).collect();
        let all: Vec<usize> = (0..table.columns.len()).collect();
        !rows.is_empty()
            && live.value(&format!(
                "begin; create temp table {name} (like {name}) on commit drop; \
                 insert into pg_temp.{name} ({columns}) values {rows}; select exists (select from {name} where {condition}); commit;",
                name = schema::quoted(&table.name),
                columns = table.names(&all),
                rows = rows.join(", "),
            )) == "t"
    };
    accident.entries.retain(|(table, condition)| holds(table, condition));
    // The same twice is refused as well.
    let mut seen = BTreeSet::new();
    accident.entries.retain(|entry| seen.insert(entry.clone()));
    accident.damages.retain(|damage| holds(&schema.tables[damage.table].name, &damage.condition));
    accident
}

/// The whole story of a seed.
fn run_seed(seed: u64) -> Result<Tally, String> {
    let live = TestDb::new("prop");
    let (story, dump) = Story::begin(seed, &live);
    let rescue = Rescue::new(&live, &dump);
    let outcome = catch_unwind(AssertUnwindSafe(|| tell(&story, &live, &rescue, &dump)));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    });
    outcome.map_err(|problem| {
        let kept = story.keep(&rescue, &dump);
        let how = if story.calm { "calm" } else { "stormy" };
        format!("seed {seed} ({how}), kept in {}:\n{}\n{problem}", kept.display(), story.accident.sql())
    })
}

fn tell(
    story: &Story,
    live: &TestDb<'_>,
    rescue: &Rescue<'_>,
    dump: &std::path::Path,
) -> Result<Tally, String> {
    story.go_on(live);
    let schema = &story.schema;
    let hit = Content::read(live, schema);
    if let Some(text) = story.choices.erased_csv(schema) {
        rescue.directory().write("erased.csv", &text);
    }
    let mut flags: Vec<&str> = story.flags.iter().map(String::as_str).collect();
    let scratch = server().url("postgres");
    flags.extend(["--scratch", &scratch]);
    let planned = rescue.recover_with(&story.recipe, &flags);
    if Content::read(live, schema) != hit {
        return Err("recover changed live".to_owned());
    }
    if story.may_not_replay() && planned.stderr.contains("error[replay-failed]") {
        let away = story.away.len();
        return Ok(Tally {
            taken: story.taken.len(),
            held: story.taken.len() - away,
            away,
            ..Tally::default()
        });
    }
    let planned = within("recover", planned, &[0, 1])?;
    let _applied = within("apply", rescue.apply(), if story.calm { &[0] } else { &[0, 1] })?;
    let result = Content::read(live, schema);
    let states = story.states(&hit, &result);
    let mut problems = states.problems(live);
    if story.calm {
        problems.extend(twin_problems(story, dump, &result));
    }
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    let verified = within("verify", rescue.verify(), &[0, 1])?;
    let is_back =
        |key: &&Key| !story.away.contains(key) && result.tables[key.table].contains_key(&key.values);
    let back = story.taken.iter().filter(is_back).count();
    let away = story.away.len();
    let held = story.taken.len() - back - away;
    // A row that stands in for a lost one is said in a note.
    if held > 0 && !story.choices.repoint && (planned.code, verified.code) == (Some(0), Some(0)) {
        return Err(format!("{held} rows are not back, and nothing was said:\n{}", planned.stdout));
    }
    again(live, rescue, schema, &result, &hit)?;
    let linked = (0..schema.tables.len())
        .flat_map(|table| hit.tables[table].iter().map(move |(key, row)| (table, key, row)))
        .filter(|(table, key, row)| result.tables[*table][*key] != **row)
        .count();
    Ok(Tally { taken: story.taken.len(), back, linked, held, away })
}

/// A second apply changes nothing; undo gives back what was there.
fn again(
    live: &TestDb<'_>,
    rescue: &Rescue<'_>,
    schema: &Schema,
    result: &Content,
    hit: &Content,
) -> Result<(), String> {
    let _second = within("the second apply", rescue.apply(), &[0, 1])?;
    let difference = result.difference(&Content::read(live, schema), schema);
    if !difference.is_empty() {
        return Err(format!("the second apply changed something:\n{difference}"));
    }
    let _undone = within("undo", rescue.undo(), &[0])?;
    let difference = hit.difference(&Content::read(live, schema), schema);
    if difference.is_empty() { Ok(()) } else { Err(format!("undo left something:\n{difference}")) }
}

/// The result must be what the database would be if the accident had never happened, to the last byte.
fn twin_problems(story: &Story, dump: &std::path::Path, result: &Content) -> Option<String> {
    let mut wanted = Content::read(&twin(story, dump), &story.schema);
    wanted.forget(&story.away, &story.schema);
    let difference = wanted.difference(result, &story.schema);
    (!difference.is_empty()).then(|| format!("not as if the accident had never happened:\n{difference}"))
}

/// The database without the accident.
fn twin(story: &Story, dump: &std::path::Path) -> TestDb<'static> {
    let twin = TestDb::new("twin");
    let mut restore = server().program("pg_restore", twin.name());
    let output = restore.args(["-d", twin.name()]).arg(dump).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    story.go_on(&twin);
    twin
}

fn within(what: &str, output: Output, codes: &[i32]) -> Result<Output, String> {
    if output.code.is_some_and(|code| codes.contains(&code)) {
        return Ok(output);
    }
    Err(format!("{what} ended with {:?}\n{}\n{}", output.code, output.stdout, output.stderr))
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "make fuzz tells how far it is")]
fn whatever_the_accident_took_comes_back_and_nothing_else_changes() {
    let first = variable("ROWBACK_FIRST_SEED").unwrap_or(1);
    let seeds = variable("ROWBACK_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let found: Mutex<(Tally, Vec<String>)> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || found.lock().unwrap().1.len() >= 10 {
                        return;
                    }
                    let outcome = run_seed(seed);
                    let mut found = found.lock().unwrap();
                    match outcome {
                        Ok(tally) => {
                            found.0.taken += tally.taken;
                            found.0.back += tally.back;
                            found.0.linked += tally.linked;
                            found.0.held += tally.held;
                            found.0.away += tally.away;
                        }
                        Err(problem) => {
                            // At once: a run over thousands of seeds takes long.
                            eprintln!("{problem}\n");
                            found.1.push(problem);
                        }
                    }
                }
            });
        }
    });
    let (tally, problems) = found.into_inner().unwrap();
    println!("{seeds} seeds from {first}: {tally:?}");
    assert!(problems.is_empty(), "{} seeds failed\n\n{}", problems.len(), problems.join("\n\n"));
    if seeds >= SEEDS {
        let Tally { taken, back, linked, held, away } = tally;
        assert!(
            back > 100 && linked > 2 && held > 5 && back + held + away == taken,
            "the stories are worth it: {tally:?}"
        );
    }
}

#[test]
fn schemas_have_triggers_and_partitions_among_them() {
    let (mut stamped, mut parted) = (0, 0);
    for seed in 1..=40 {
        let sql = Schema::of(seed).0.sql();
        stamped += sql.matches("before insert on").count();
        parted += sql.matches("partition of").count();
    }
    assert!(stamped > 10 && parted > 30, "{stamped} {parted}");
}

/// A result without a mistake has no problem; every sort of mistake that is planted in it is noticed.
#[test]
fn a_planted_mistake_is_noticed() {
    let mut noticed = BTreeSet::new();
    for seed in 1..=6 {
        let live = TestDb::new("prop");
        let (story, dump) = Story::begin(seed, &live);
        if !story.calm {
            continue;
        }
        story.go_on(&live);
        let hit = Content::read(&live, &story.schema);
        let ideal = twin(&story, &dump);
        for (what, sql) in std::iter::once(("nothing", String::new())).chain(mistakes(&story, &hit)) {
            let result = ideal.copy("planted");
            result.psql(&format!("set session_replication_role = replica; {sql}"));
            let found = Content::read(&result, &story.schema);
            let states = story.states(&hit, &found);
            let problems = states.problems(&result).join("\n");
            assert_eq!(problems.contains(what), !sql.is_empty(), "seed {seed}, {what}: {sql}\n{problems}");
            noticed.insert(what);
        }
    }
    assert_eq!(noticed.len(), 5, "{noticed:?}");
}

/// What a problem must say, and the statement that causes it in a database that was recovered without a mistake.
fn mistakes(story: &Story, hit: &Content) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let named = |number: usize, key: &Vec<schema::Value>| {
        let table = &story.schema.tables[number];
        (schema::quoted(&table.name), table.is_one_of(std::slice::from_ref(key)))
    };
    let survivor = hit.tables.iter().enumerate().find_map(|(at, rows)| Some((at, rows.iter().next()?)));
    if let Some((at, (key, row))) = survivor {
        let (name, key) = named(at, key);
        found.push(("is gone", format!("delete from {name} where {key};")));
        let column = story.schema.tables[at].columns.len() - 1;
        if row[column].is_some() {
            let column = story.schema.tables[at].names(&[column]);
            found.push((
                "was overwritten",
                format!("alter table {name} alter {column} drop not null; update {name} set {column} = null where {key};"),
            ));
        }
    }
    // Nothing hangs on it, so that PostgreSQL would take it back as it was.
    let taken = story.taken.iter().find(|key| story.schema.tables[key.table].links.is_empty());
    if let Some(key) = taken {
        let (name, condition) = named(key.table, &key.values);
        found.push(("could have come back", format!("delete from {name} where {condition};")));
    }
    let payload = |key: &&Key| {
        let table = &story.schema.tables[key.table];
        let row = &story.before.tables[key.table][&key.values];
        (0..table.columns.len()).find(|&at| table.is_payload(at) && row[at].is_some())
    };
    if let Some((key, at)) = story.taken.iter().find_map(|key| Some((key, payload(&key)?))) {
        let column = story.schema.tables[key.table].names(&[at]);
        let (name, key) = named(key.table, &key.values);
        found.push((
            "came back as another value",
            format!("alter table {name} alter {column} drop not null; update {name} set {column} = null where {key};"),
        ));
    }
    found
}
