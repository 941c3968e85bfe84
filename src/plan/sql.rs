//! The SQL of batches and undo files. Every write is guarded by the value that was seen: an insert by absence, an
//! update by the old values, an undo by the values that apply wrote. Names go through `Ident`, values through COPY.

use super::parents::ANOTHER;
use super::script::{Step, StepKind, render};
use super::stages::{Purpose, stage};
use super::{Action, Firing, ParentGuard, SequenceMove, hanging, moves, parents};
use crate::catalog::{Identity, Table, UniqueKey, column_list, quoted_list};
use crate::ident::Ident;
use crate::recipe::Triggers;
use crate::sql::literal::literal;

/// How every block begins that may hold a condition of the recipe: its columns mean more than our variables of the same name.
pub(super) const DO: &str = "do $rowback$\n#variable_conflict use_column\n";

/// How an insert leaves rows alone whose place is taken.
pub const YIELDING: &str = "\n  on conflict do nothing";

/// The rows of one table in one batch.
#[derive(Debug, Clone)]
pub struct BatchTable<'a> {
    /// The table as live has it.
    pub table: &'a Table,
    /// What is done to them.
    pub action: Action,
    /// Columns that name a row in live.
    pub key: Vec<Ident>,
    /// Columns that are written; for an insert the key is among them.
    pub columns: Vec<Ident>,
    /// For rows that move: the table that they leave, as live has it.
    pub from: Option<&'a Table>,
    /// COPY text, each row with its newline. Insert: `columns`. Update: key, new values, seen values. Move: new values, seen
    /// values, number of the group whose rows move or stay together.
    pub rows: Vec<u8>,
    /// Number of rows.
    pub count: u64,
    /// The parents that these rows are hung on.
    pub guards: Vec<ParentGuard<'a>>,
}

/// Settings that make text mean the same here as where it was read. The time zone and the search path stay as the
/// application has them: no text depends on them, but triggers may.
const SETTINGS: &str = "\
set local client_encoding = 'UTF8';
set local standard_conforming_strings = on;
set local datestyle = 'ISO, MDY';
set local intervalstyle = 'postgres';
set local extra_float_digits = 1;
set local bytea_output = 'hex';
set local lc_monetary = 'C';
set local xmloption = content;
set local row_security = off;";

/// A batch file. Running it twice changes nothing the second time.
pub fn batch_script(number: u32, tables: &[BatchTable<'_>]) -> Vec<u8> {
    batch_script_with(number, tables, Firing::AS_EVER)
}

/// A batch file that treats triggers as the recipe says.
pub fn batch_script_with(number: u32, tables: &[BatchTable<'_>], firing: Firing<'_>) -> Vec<u8> {
    let mut title = vec![format!("rowback batch {number:04}, format {}", super::FORMAT)];
    title.extend(tables.iter().map(|part| describe(part, part.action.word())));
    title.push(
        "Guarded and idempotent: rows that live already has, or that changed meanwhile, stay as they are."
            .into(),
    );
    title.push(
        "The last result lists every row that did not end as staged; no row listed means all did.".into(),
    );
    let mut steps = opening(&firing.before(tables));
    for (at, part) in tables.iter().enumerate() {
        steps.push(stage(at + 1, part, Purpose::Apply));
    }
    steps.extend(tables.iter().enumerate().flat_map(|(at, part)| parents::stages(at + 1, part)));
    steps.extend(parents::hold(tables));
    steps.extend(keys_of_stage(tables, firing.triggers));
    steps.extend(moves::hold(tables, firing.foreign_keys));
    steps.extend(hanging::hold(tables, firing.foreign_keys, |fk| format!("{HANGS} {}", fk.name)));
    let writes: Vec<String> = tables.iter().enumerate().map(|(at, part)| write_cte(at + 1, part)).collect();
    let counts = tables.iter().enumerate().map(|(at, part)| count_column(at + 1, part));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let check = format!("{}{}", moves::check(tables), astray(tables, firing.triggers));
    steps.push(Step::sql(StepKind::Write, format!("with {}\nselect {counts};{check}", writes.join(",\n"))));
    let mut settled: Vec<String> = match firing.triggers {
        // A trigger of one table may alter rows of another in the same statement.
        Triggers::Fire | Triggers::Replica if tables.iter().any(fires) => {
            tables.iter().enumerate().filter_map(|(at, part)| settle(at + 1, part)).collect()
        }
        Triggers::Fire | Triggers::Replica | Triggers::Disable => Vec::new(),
    };
    settled.extend(firing.after(tables, false));
    if !settled.is_empty() {
        steps.push(Step::sql(StepKind::Settle, settled.join("\n")));
    }
    let reports: Vec<String> = tables.iter().enumerate().map(|(at, part)| report(at + 1, part)).collect();
    steps.push(Step::sql(StepKind::Report, format!("{}\norder by 1, 2;", reports.join("\nunion all\n"))));
    steps.push(Step::sql(StepKind::Commit, "commit;"));
    render(&title, &steps)
}

/// The batch that moves sequences forward; short ways by `nextval`, which cannot collide with anybody.
pub fn sequence_script(number: u32, moves: &[SequenceMove]) -> Vec<u8> {
    let title = vec![
        format!("rowback batch {number:04}, format {}", super::FORMAT),
        "sequences that would hand out a recovered number again; only ever moved forward".into(),
    ];
    let mut steps = opening("");
    let moves: Vec<String> = moves.iter().map(sequence_sql).collect();
    steps.push(Step::sql(StepKind::Write, moves.join("\n")));
    steps.push(Step::sql(StepKind::Commit, "commit;"));
    render(&title, &steps)
}

fn sequence_sql(advance: &SequenceMove) -> String {
    let name = advance.sequence.quoted();
    let as_text = literal(&name);
    let (target, step) = (advance.at_least, advance.increment);
    format!(
        "select pg_catalog.setval({as_text}::pg_catalog.regclass, {target}) as moved from {name} \
         where last_value < {target} - 1000 * {step};\n\
         select pg_catalog.count(pg_catalog.nextval({as_text}::pg_catalog.regclass)) as steps from pg_catalog.generate_series(1, \
         (select pg_catalog.ceil(({target} - last_value)::numeric / {step})::bigint + (not is_called)::int from {name} \
         where last_value <= {target}));"
    )
}

pub(super) fn opening(more: &str) -> Vec<Step> {
    vec![
        Step::sql(StepKind::Begin, "begin isolation level read committed;"),
        Step::sql(StepKind::Settings, format!("{SETTINGS}{more}")),
    ]
}

pub(super) fn describe(part: &BatchTable<'_>, word: &str) -> String {
    let columns = match part.action {
        Action::Insert => String::new(),
        Action::Update => format!(" ({})", column_list(&part.columns)),
        Action::Move => part.from.map_or_else(String::new, |from| format!(" out of {}", from.name)),
    };
    format!("{}: {word} {} rows{columns}", part.table.name, part.count).replace(['\n', '\r'], " ")
}

pub(super) fn label(part: &BatchTable<'_>) -> String {
    Ident::new(part.table.name.to_string()).quoted()
}

/// `l.key = r.key`, with the names that the temporary table uses.
/// Begins what marks a row on which others hang.
pub(super) const HANGS: &str = "hung on by";

pub(super) fn same_key(part: &BatchTable<'_>) -> String {
    let pairs = part.key.iter().enumerate().map(|(at, name)| match part.action {
        Action::Insert | Action::Move => format!("l.{0} = r.{0}", name.quoted()),
        Action::Update => format!("l.{} = r.k{}", name.quoted(), at + 1),
    });
    pairs.collect::<Vec<_>>().join(" and ")
}

/// Are the written columns in live what was staged?
pub(super) fn as_staged(part: &BatchTable<'_>) -> String {
    let pairs = part.columns.iter().enumerate().map(|(at, name)| match part.action {
        Action::Insert | Action::Move => (format!("l.{}", name.quoted()), format!("r.{}", name.quoted())),
        Action::Update => (format!("l.{}", name.quoted()), format!("r.n{}", at + 1)),
    });
    same_text(&pairs.collect::<Vec<_>>())
}

/// Are the columns still what was seen?
pub(super) fn as_seen(part: &BatchTable<'_>) -> String {
    let pairs = part.columns.iter().enumerate();
    let pairs = pairs.map(|(at, name)| (format!("l.{}", name.quoted()), format!("r.s{}", at + 1)));
    same_text(&pairs.collect::<Vec<_>>())
}

/// By text, because not every type has an equality. Values of one type that are the same bytes have the same text, which
/// need not be made then. Records of other types cannot be compared so.
pub(super) fn same_text(pairs: &[(String, String)]) -> String {
    let join =
        |pair: fn(&(String, String)) -> String, by: &str| pairs.iter().map(pair).collect::<Vec<_>>().join(by);
    format!(
        "(case when {} then pg_catalog.record_image_eq(row({}), row({})) else false end\n    or ({}))",
        join(
            |(live, staged)| format!("pg_catalog.pg_typeof({live}) = pg_catalog.pg_typeof({staged})"),
            " and "
        ),
        join(|(live, _)| live.clone(), ", "),
        join(|(_, staged)| staged.clone(), ", "),
        join(|(live, staged)| format!("{live}::text is not distinct from {staged}::text"), " and "),
    )
}

/// What keeps an insert off rows that live has. `ON CONFLICT` is safe against other sessions, but it needs a unique key
/// of the table's own, and PostgreSQL refuses it altogether where any unique or exclusion constraint is deferrable.
fn unless_there(part: &BatchTable<'_>) -> String {
    let keys = &part.table.keys;
    let absent = |columns: &[Ident]| {
        let pairs = columns.iter().map(|name| format!("l.{0} = r.{0}", name.quoted()));
        let pairs = pairs.collect::<Vec<_>>().join(" and ");
        format!("not exists (select from {} as l where {pairs})", part.table.from_sql())
    };
    let arbitrates = |key: &UniqueKey| {
        key.identifies_rows() && !key.deferrable && key.columns.iter().all(|name| part.key.contains(name))
    };
    let deferrable = || keys.iter().filter(|key| key.deferrable);
    let mut conditions = Vec::new();
    if !part.guards.is_empty() {
        conditions.push("r.rowback_held is null".to_owned());
    }
    if deferrable().next().is_some() || !keys.iter().any(arbitrates) {
        conditions.push(absent(&part.key));
    }
    let written = |key: &&UniqueKey| {
        key.identifies_rows()
            && key.columns != part.key
            && key.columns.iter().all(|name| part.columns.contains(name))
    };
    conditions.extend(deferrable().filter(written).map(|key| absent(&key.columns)));
    let filter = if conditions.is_empty() {
        String::new()
    } else {
        format!("\n  where {}", conditions.join("\n    and "))
    };
    let conflict = if deferrable().next().is_some() { "" } else { YIELDING };
    format!("{filter}{conflict}")
}

fn write_cte(number: usize, part: &BatchTable<'_>) -> String {
    let keys: Vec<String> =
        part.key.iter().enumerate().map(|(at, name)| format!("l.{} as k{}", name.quoted(), at + 1)).collect();
    let keys = keys.join(", ");
    let write = match part.action {
        Action::Move => return moves::write_cte(number, part),
        Action::Insert => {
            let columns = quoted_list("", &part.columns);
            format!(
                "insert into {} as l ({columns}) overriding system value\n  select {columns} from \
                 pg_temp.\"rowback_{number}\" as r{}\n  returning {keys}",
                part.table.name.quoted(),
                unless_there(part)
            )
        }
        Action::Update => {
            let sets = part
                .columns
                .iter()
                .enumerate()
                .map(|(at, name)| format!("{} = r.n{}", name.quoted(), at + 1));
            format!(
                "update {} as l set {}\n  from pg_temp.\"rowback_{number}\" as r\n  where r.rowback_held is null and {} and {}\n  returning {keys}",
                part.table.from_sql(),
                sets.collect::<Vec<_>>().join(", "),
                same_key(part),
                as_seen(part)
            )
        }
    };
    let names: Vec<String> = (1..=part.key.len()).map(|at| format!("k{at}")).collect();
    format!(
        "w{number} as ({write}),\nd{number} as (insert into pg_temp.\"rowback_done_{number}\" select {} from w{number} returning 1)",
        names.join(", ")
    )
}

/// Does writing the part fire a trigger of its table?
fn fires(part: &BatchTable<'_>) -> bool {
    let leaving = part.from.iter().flat_map(|from| &from.triggers).any(|trigger| trigger.on_delete);
    let written = part.table.triggers.iter().any(|trigger| match part.action {
        Action::Insert | Action::Move => trigger.on_insert,
        Action::Update => trigger.on_update,
    });
    leaving || written
}

/// May triggers give a row of the part another key? Nobody would find it there again, undo least of all.
fn may_stray(part: &BatchTable<'_>, triggers: Triggers) -> bool {
    triggers != Triggers::Disable && part.action != Action::Move && fires(part)
}

/// Before the statement that writes: what rows there are at all. Where rows are written group by group, the stage holds but some.
fn keys_of_stage(tables: &[BatchTable<'_>], triggers: Triggers) -> Option<Step> {
    let made = (1..).zip(tables).filter(|(_, part)| may_stray(part, triggers)).map(|(number, part)| {
        let keys = (1..).zip(&part.key).map(|(at, name)| match part.action {
            Action::Insert | Action::Move => format!("r.{} as k{at}", name.quoted()),
            Action::Update => format!("r.k{at}"),
        });
        format!(
            "create temporary table \"rowback_keys_{number}\" on commit drop as select {} from pg_temp.\"rowback_{number}\" as r;",
            keys.collect::<Vec<_>>().join(", ")
        )
    });
    let made: Vec<String> = made.collect();
    (!made.is_empty()).then(|| Step::sql(StepKind::Hold, made.join("\n")))
}

/// Behind the statement that writes: no row may stand under a key that was not staged.
fn astray(tables: &[BatchTable<'_>], triggers: Triggers) -> String {
    let found = (1..).zip(tables).filter(|(_, part)| may_stray(part, triggers)).map(|(number, part)| {
        let named = (1..).zip(&part.key);
        let named = named.map(|(at, name)| format!("{}, d.k{at}::text", literal(name.as_str())));
        let same: Vec<String> = (1..=part.key.len()).map(|at| format!("d.k{at} = r.k{at}")).collect();
        format!(
            "select {} || ' ' || pg_catalog.jsonb_build_object({}) as who from pg_temp.\"rowback_done_{number}\" as d \
             where not exists (select from pg_temp.\"rowback_keys_{number}\" as r where {})",
            literal(&part.table.name.to_string()),
            named.collect::<Vec<_>>().join(", "),
            same.join(" and ")
        )
    });
    let found: Vec<String> = found.collect();
    if found.is_empty() {
        return String::new();
    }
    format!(
        "\n{DO}declare\n  astray text;\nbegin\n  select who into astray from (\n{}) as m order by 1 limit 1;\n  \
         if astray is not null then\n    raise exception using errcode = 'integrity_constraint_violation', \
         message = 'a trigger gives the row another key: ' || astray;\n  end if;\nend\n$rowback$;",
        found.join("\nunion all\n")
    )
}

/// Is the written row `d` the staged row `r`?
fn done_key(part: &BatchTable<'_>) -> String {
    let pairs = part.key.iter().enumerate().map(|(at, name)| match part.action {
        Action::Insert | Action::Move => format!("d.k{} = r.{}", at + 1, name.quoted()),
        Action::Update => format!("d.k{0} = r.k{0}", at + 1),
    });
    pairs.collect::<Vec<_>>().join(" and ")
}

/// Sets inserted rows that a trigger altered to their staged values. The key and identity columns that are always
/// generated cannot be set; a row whose key was altered is reported.
fn settle(number: usize, part: &BatchTable<'_>) -> Option<String> {
    if part.action == Action::Update {
        return None;
    }
    let always = |name: &Ident| {
        part.table.column(name).is_some_and(|column| column.identity == Some(Identity::Always))
    };
    let columns: Vec<String> = part
        .columns
        .iter()
        .filter(|name| !part.key.contains(name) && !always(name))
        .map(|name| format!("{0} = r.{0}", name.quoted()))
        .collect();
    if columns.is_empty() {
        return None;
    }
    Some(format!(
        "with s as (update {} as l set {}\n  from pg_temp.\"rowback_{number}\" as r\n  join \
         pg_temp.\"rowback_done_{number}\" as d on {}\n  where {} and not ({})\n  returning 1)\n\
         select pg_catalog.count(*) as settled from s;",
        part.table.from_sql(),
        columns.join(", "),
        done_key(part),
        same_key(part),
        as_staged(part)
    ))
}

fn count_column(number: usize, part: &BatchTable<'_>) -> String {
    format!("(select pg_catalog.count(*) from d{number}) as {}", label(part))
}

/// The key as JSON text, the way reports and the journal name a row.
pub(super) fn key_json(part: &BatchTable<'_>) -> String {
    format!("{}::text", row_key_json(&part.key, part.action))
}

/// The key of a staged row `r` as JSON, in the form that reports and the journal name rows by.
pub fn row_key_json(key: &[Ident], action: Action) -> String {
    let pairs = key.iter().enumerate().map(|(at, name)| {
        let column = match action {
            Action::Insert | Action::Move => name.quoted(),
            Action::Update => format!("k{}", at + 1),
        };
        format!("{}, r.{column}::text", literal(name.as_str()))
    });
    format!("pg_catalog.jsonb_build_object({})", pairs.collect::<Vec<_>>().join(", "))
}

fn report(number: usize, part: &BatchTable<'_>) -> String {
    let done_key = done_key(part);
    if part.action == Action::Move {
        return moves::report(number, part, &done_key);
    }
    let same = as_staged(part);
    let held = |word: &str| {
        format!(
            "case when r.rowback_held is null or r.rowback_held = '{ANOTHER}' then '{word}' when r.rowback_held like '{HANGS} %' then 'hung_on' else 'held_back' end"
        )
    };
    let (absent, differs) = match part.action {
        Action::Insert | Action::Move => (held("blocked"), "'kept'".to_owned()),
        Action::Update if part.table.triggers.iter().any(|trigger| trigger.on_update) => {
            let dropped = format!("when r.rowback_held is null and {} then 'dropped'", as_seen(part));
            ("'missing'".to_owned(), format!("case {dropped} else {} end", held("kept")))
        }
        Action::Update => ("'missing'".to_owned(), held("kept")),
    };
    format!(
        "select {} as \"table\", {} as \"key\",\n  case when l.tableoid is null then case when d.k1 is null then {absent} else 'swallowed' end\n       \
         when {same} then 'present'\n       when d.k1 is null then {differs} else 'altered' end as \"outcome\"\n\
         from pg_temp.\"rowback_{number}\" as r\nleft join {} as l on {}\nleft join pg_temp.\"rowback_done_{number}\" as d on {}\n\
         where d.k1 is null or l.tableoid is null or not ({same})",
        literal(&part.table.name.to_string()),
        key_json(part),
        part.table.from_sql(),
        same_key(part),
        done_key
    )
}
