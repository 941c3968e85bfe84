use super::*;

fn applied(batches: u32, committed: u32, undone: u32, in_doubt: u32) -> AppliedState {
    AppliedState { batches, committed, undone, in_doubt, ..AppliedState::default() }
}

#[test]
fn the_journal_tells_the_state() {
    let states: Vec<State> = [
        applied(0, 0, 0, 0),
        applied(3, 0, 0, 0),
        applied(3, 1, 0, 1),
        applied(3, 1, 0, 0),
        applied(3, 3, 0, 0),
        applied(3, 1, 2, 0),
        applied(3, 0, 3, 0),
        applied(3, 0, 1, 0),
    ]
    .iter()
    .map(|applied| state(applied, None))
    .collect();
    assert_eq!(
        states,
        [
            State::Nothing,
            State::Planned,
            State::InDoubt { committed: 1, batches: 3 },
            State::Applying { committed: 1, batches: 3 },
            State::Applied { batches: 3 },
            State::Undoing { undone: 2, committed: 1 },
            State::Undone { held: 0, beside: false, verified_at: None },
            State::Undone { held: 0, beside: false, verified_at: None },
        ]
    );
}

fn row(verdict: Verdict, action: RowAction, evidence: Evidence) -> DiffRow {
    DiffRow {
        key: vec!["7".into()],
        verdict,
        action,
        evidence: evidence.word().into(),
        reason: "why".into(),
        columns: vec![Ident::new("email")],
        backup: Map::from_iter([("email".to_owned(), Value::from("secret"))]),
        live: Some(Map::from_iter([("email".to_owned(), Value::Null)])),
        after: None,
        itself: None,
    }
}

#[test]
fn rows_that_are_left() {
    let left = |verdict, action, evidence| is_left(&row(verdict, action, evidence));
    for verdict in [Verdict::Changed, Verdict::Recreated, Verdict::Excluded, Verdict::Orphan, Verdict::Unfit]
    {
        assert!(left(verdict, RowAction::None, Evidence::Cascade), "{verdict}");
    }
    assert!(left(Verdict::Lost, RowAction::None, Evidence::Predicate), "an entry that brings nothing back");
    assert!(!left(Verdict::Lost, RowAction::None, Evidence::Needed), "a parent that nobody needs");
    assert!(!left(Verdict::Changed, RowAction::Update, Evidence::Predicate), "overwritten");
    assert!(!left(Verdict::Same, RowAction::None, Evidence::Predicate));
}

#[test]
fn values_are_shown_on_demand() {
    let shown = |show_values| {
        let row = row(Verdict::Changed, RowAction::None, Evidence::Cascade);
        reported_row(row, show_values).columns.remove(0).values
    };
    assert_eq!(shown(false), None);
    assert_eq!(shown(true), Some(BothValues { backup: Some("secret".into()), live: None, after: None }));
}
