use super::*;

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
}

fn orders() -> TableName {
    TableName::new("public", "orders")
}

fn odd() -> TableName {
    TableName::new("public", "<b>odd</b>")
}

fn tables() -> Vec<ReportedTable> {
    let left = ReportedRow {
        key: vec!["<i>7\u{1b}[2J".into(), "2".into()],
        verdict: "changed".into(),
        reason: "live's email differs".into(),
        columns: vec![
            ReportedColumn {
                name: "email".into(),
                values: Some(BothValues { backup: Some("a@x <u>".into()), live: None, after: None }),
            },
            ReportedColumn { name: "phone".into(), values: None },
        ],
    };
    let partly = ReportedRow {
        key: vec!["9".into()],
        verdict: "lost".into(),
        reason: "link to public.coupons left empty, its parent is recreated".into(),
        columns: Vec::new(),
    };
    vec![
        ReportedTable {
            table: orders(),
            verdicts: counts(&[("lost", 1204), ("same", 3)]),
            insert: 1204,
            update: 0,
            key: vec!["id".into()],
            left: RowList::default(),
            partly: RowList { total: 1, rows: vec![partly] },
            diff_file: "diff/public.orders.parquet".into(),
        },
        ReportedTable {
            table: odd(),
            verdicts: counts(&[("changed", 1003), ("unlinked", 1)]),
            insert: 0,
            update: 1,
            key: vec!["id".into(), "line".into()],
            left: RowList { total: 1003, rows: vec![left] },
            partly: RowList::default(),
            diff_file: "diff/public.odd.parquet".into(),
        },
    ]
}

fn batches() -> Vec<ReportedBatch> {
    vec![
        ReportedBatch {
            number: 1,
            file: "batches/0001-public.orders-insert.sql".into(),
            undo_file: Some("undo/0001-public.orders-insert.sql".into()),
            parts: vec![(orders(), Action::Insert, 1204)],
            state: BatchState::Applied,
        },
        ReportedBatch {
            number: 2,
            file: "batches/0002-sequences.sql".into(),
            undo_file: None,
            parts: Vec::new(),
            state: BatchState::Open,
        },
    ]
}

fn sample() -> Report {
    let state = State::Applying { committed: 1, batches: 2 };
    Report {
        schema: SCHEMA,
        case: "my case".into(),
        standing: state.sentence(),
        next: state.next("my case", true),
        state,
        backup: ReportedBackup {
            path: "/backups/shop.dump".into(),
            sha256: "ab12".into(),
            archive: "custom 1.14".into(),
            dbname: Some("shop".into()),
            server_version: "15.18".into(),
            dumped_at: Some("2026-11-19T02:00:00".into()),
        },
        live: ReportedLive {
            dbname: "shop".into(),
            system_identifier: Some("7384120045".into()),
            server_version: "15.18".into(),
            role: "ops".into(),
        },
        totals: Totals { insert: 1204, repair: 0, relink: 1, conflicts: 1003, left_out: 0 },
        evidence: counts(&[("cascade", 1000), ("predicate", 205)]),
        tables: tables(),
        edges: vec![ReportedEdge {
            name: "odd_order_fkey".into(),
            child: odd(),
            parent: orders(),
            in_backup: 1004,
            staged: 1004,
            missing_in_live: 0,
        }],
        problems: vec!["public.orders (id = 9): not in live".into()],
        triggers: vec!["public.orders: touch".into()],
        sequences: vec![ReportedSequence {
            sequence: TableName::new("public", "orders_id_seq"),
            stood_at: None,
            at_least: 1204,
        }],
        notes: vec!["a <em>note</em>".into()],
        batches: batches(),
    }
}

#[test]
fn text_for_a_terminal() {
    insta::assert_snapshot!(sample().text(), @r#"
    1 of 2 batches are applied.
    Run: rowback apply 'my case' — it goes on where it stopped. To take back what is applied: rowback undo 'my case'

    Case    my case
    Backup  /backups/shop.dump
            SHA-256 ab12
            custom 1.14, database "shop", PostgreSQL 15.18, dumped 2026-11-19T02:00:00
    Live    "shop", PostgreSQL 15.18, role "ops", cluster 7384120045

    Plan: 1,204 to insert, 0 to repair, 1 to re-link; 1,003 conflicts kept as they are.
    Evidence: 1,000 by cascade, 205 by predicate only (it cannot know what was done on purpose).

    table               lost  unlinked  same  changed  insert  update
    public.orders      1,204               3            1,204
    public.<b>odd</b>                1          1,003               1

    child → parent                     foreign key     in backup  staged  missing in live
    public.<b>odd</b> → public.orders  odd_order_fkey      1,004   1,004                0

    Left for a human
      public.<b>odd</b>: 1,003
        id = <i>7\u{1b}[2J, line = 2  changed: live's email differs [email: backup "a@x <u>", live NULL; phone]
        … and 1,002 more, in diff/public.odd.parquet

    Written, with a remark
      public.orders: 1
        id = 9  lost: link to public.coupons left empty, its parent is recreated

    Not as planned
      public.orders (id = 9): not in live

    Triggers that fire
      public.orders: touch

    Sequences
      public.orders_id_seq (never used) moves to 1204

    Notes
      a <em>note</em>

    batch                                  rows          state
    batches/0001-public.orders-insert.sql  1,204 insert  applied
    batches/0002-sequences.sql             sequences     not applied
    "#);
}

#[test]
fn the_page_stands_alone_and_everything_in_it_is_escaped() {
    let html = sample().html();
    for planted in ["<script", "<i>", "<u>", "<em>", "<b>odd", "\u{1b}", "src=", "href=", "@import", "url("] {
        assert!(!html.contains(planted), "{planted}");
    }
    for expected in [
        "&lt;b&gt;odd&lt;/b&gt;: 1,003</h3>",
        "<td><code>&lt;i&gt;7\\u{1b}[2J</code></td><td><code>2</code></td><td>changed</td>",
        "email: backup <code>a@x &lt;u&gt;</code>, live NULL<br>phone</td>",
        "1,002 more are not listed here; all are in <code>diff/public.odd.parquet</code>",
        "<li class=\"warn\"><b>1,003</b>conflicts, kept as they are</li>",
        "<tr><td>public.orders</td><td class=\"n\">1,204</td>",
        "<td><code>batches/0002-sequences.sql</code></td><td>sequences</td><td>not applied</td><td></td>",
        "rowback report &#39;my case&#39; --json",
    ] {
        assert!(html.contains(expected), "{expected}\n{html}");
    }
    let opened =
        |tag: &str| html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
    for tag in [
        "html", "head", "body", "table", "tbody", "tr", "td", "th", "p", "h2", "h3", "ul", "li", "dl", "code",
    ] {
        assert_eq!(opened(tag), html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn values_stay_out_unless_they_were_asked_for() {
    let shown = serde_json::to_value(&sample().tables[1].left.rows[0]).unwrap();
    assert_eq!(
        shown["columns"].to_string(),
        r#"[{"name":"email","backup":"a@x <u>","live":null},{"name":"phone"}]"#
    );
}

#[test]
fn every_state_says_what_comes_next() {
    let at = || "2026-11-20T10:00:00Z".to_owned();
    let states = [
        State::Nothing,
        State::Planned,
        State::InDoubt { committed: 1, batches: 3 },
        State::Applying { committed: 1, batches: 3 },
        State::Applied { batches: 3 },
        State::Verified { complete: true, at: at() },
        State::Verified { complete: false, at: at() },
        State::Undoing { undone: 1, committed: 2 },
        State::Undone { held: 0, beside: false, verified_at: None },
        State::Undone { held: 0, beside: false, verified_at: Some(at()) },
        State::Undone { held: 2, beside: false, verified_at: None },
    ];
    let lines: Vec<String> =
        states.iter().map(|state| format!("{}. {}", state.sentence(), state.next("c", false))).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    Nothing has to be written. There is nothing to apply.
    Planned; nothing has been written. Run: rowback apply c
    A run was cut off: 1 of 3 batches are known to be applied. Run: rowback apply c — it asks the server how the last commit ended and goes on. To take back what is applied: rowback undo c
    1 of 3 batches are applied. Run: rowback apply c — it goes on where it stopped. To take back what is applied: rowback undo c
    Applied: all 3 batches are committed. Run: rowback verify c. To take it back: rowback undo c
    Applied and verified at 2026-11-20T10:00:00Z: everything that was planned is in live. Keep the case: its journal is what `rowback undo c` needs, and it holds personal data. Remove it when the recovery need not be taken back any more.
    Applied; verification at 2026-11-20T10:00:00Z found that not everything is as planned. Look at what is not as planned. To plan what is missing anew, once nothing stands in its way: rowback recover c/recipe.toml --case NEW. To take it back: rowback undo c
    1 of 3 applied batches are taken back. Run: rowback undo c — it goes on where it stopped. To apply again: rowback apply c
    Taken back: live is as it was before. Nothing is left to do. To apply the same plan again: rowback apply c
    Taken back, and verified at 2026-11-20T10:00:00Z: live is as it was before. Nothing is left to do. To apply the same plan again: rowback apply c
    Taken back, but for 2 rows that undo left alone or that triggers changed. Nothing is left to do. To apply the same plan again: rowback apply c
    ");
    assert!(State::Planned.next("c", true).starts_with("Look at the rows that are left"));
}
