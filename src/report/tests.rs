use super::*;

fn sample() -> Report {
    let orders = TableName::new("public", "orders");
    let odd = TableName::new("public", "<b>odd</b>");
    let left = ReportedRow {
        key: vec!["<i>7\u{1b}[2J".into(), "2".into()],
        verdict: "changed".into(),
        reason: "live's email differs".into(),
        columns: vec![
            ReportedColumn {
                name: "email".into(),
                values: Some(BothValues { backup: Some("a@x <u>".into()), live: None }),
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
    let counts = |pairs: &[(&str, u64)]| {
        pairs.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect::<BTreeMap<_, _>>()
    };
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
            dbname: "shop".into(),
            server_version: "15.18".into(),
            dumped_at: Some("2026-11-19T02:00:00".into()),
        },
        live: ReportedLive {
            dbname: "shop".into(),
            system_identifier: Some("7384120045".into()),
            server_version: "15.18".into(),
            role: "ops".into(),
        },
        totals: Totals { insert: 1204, repair: 0, relink: 1, conflicts: 1003 },
        evidence: counts(&[("cascade", 1000), ("predicate", 205)]),
        tables: vec![
            ReportedTable {
                table: orders.clone(),
                verdicts: counts(&[("lost", 1204), ("same", 3)]),
                insert: 1204,
                update: 0,
                key: vec!["id".into()],
                left: RowList::default(),
                partly: RowList { total: 1, rows: vec![partly] },
                diff_file: "diff/public.orders.parquet".into(),
            },
            ReportedTable {
                table: odd.clone(),
                verdicts: counts(&[("changed", 1003), ("unlinked", 1)]),
                insert: 0,
                update: 1,
                key: vec!["id".into(), "line".into()],
                left: RowList { total: 1003, rows: vec![left] },
                partly: RowList::default(),
                diff_file: "diff/public.odd.parquet".into(),
            },
        ],
        edges: vec![ReportedEdge {
            name: "odd_order_fkey".into(),
            child: odd.clone(),
            parent: orders.clone(),
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
        batches: vec![
            ReportedBatch {
                number: 1,
                file: "batches/0001-public.orders-insert.sql".into(),
                undo_file: Some("undo/0001-public.orders-insert.sql".into()),
                parts: vec![(orders, Action::Insert, 1204)],
                state: BatchState::Applied,
            },
            ReportedBatch {
                number: 2,
                file: "batches/0002-sequences.sql".into(),
                undo_file: None,
                parts: Vec::new(),
                state: BatchState::Open,
            },
        ],
    }
}

#[test]
fn text_for_a_terminal() {
    insta::assert_snapshot!(sample().text(), @"");
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
        State::Undone { held: 0, verified_at: None },
        State::Undone { held: 0, verified_at: Some(at()) },
        State::Undone { held: 2, verified_at: None },
    ];
    let lines: Vec<String> =
        states.iter().map(|state| format!("{}. {}", state.sentence(), state.next("c", false))).collect();
    insta::assert_snapshot!(lines.join("\n"), @"");
    assert!(State::Planned.next("c", true).starts_with("Look at the rows that are left"));
}
