//! The guard over the user's SQL against PostgreSQL's own parser: what the guard lets through never ends the brackets
//! around it and never becomes a second statement, and what PostgreSQL accepts is not refused as malformed.

use rowback::sql::predicate::{Predicate, PredicateError};
use tokio_postgres::NoTls;

use super::support::TestDb;

/// Pieces that open, close and hide things.
const PIECES: [&str; 34] = [
    "'", "''", "\"", "$$", "$a$", "$a", "E'", "e'", "U&'", "B'1'", "N'x'", "\\", "\\'", "--", "/*", "*/",
    "\n", " ", ";", "(", ")", "[", "]", "1", "1.5e3", "a", "+", ":", "::int", "'x'", "$1", "é", "x$$", ",",
];

/// The same texts in every run.
struct Texts {
    state: u64,
}

impl Texts {
    fn below(&mut self, limit: usize) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap() % limit
    }

    fn next(&mut self) -> String {
        let pieces = 1 + self.below(9);
        (0..pieces).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }
}

#[tokio::test]
async fn nothing_escapes_and_nothing_valid_is_called_malformed() {
    let database = TestDb::new("predicate");
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    // The test can see an escape when there is one.
    for (text, said) in
        [("1); select (2", "multiple commands"), ("1 /*", "unterminated"), ("(1 -- )", "at end of input")]
    {
        let error = client.prepare(&format!("select (\n{text}\n)")).await.unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains(said), "{text}: {error:?}");
        assert!(Predicate::parse(text).is_err(), "{text}");
    }
    let mut texts = Texts { state: 42 };
    let (mut passed, mut valid, mut both) = (0, 0, 0);
    for _ in 0..20_000 {
        let text = texts.next();
        let guard = Predicate::parse(&text);
        let server = client.prepare(&format!("select (\n{text}\n) as it from (values (1)) as one (a)")).await;
        passed += u32::from(guard.is_ok());
        valid += u32::from(server.is_ok());
        both += u32::from(guard.is_ok() && server.is_ok());
        match (guard, server) {
            (Ok(_), Err(error)) => {
                let said = error.as_db_error().unwrap().message().to_owned();
                for escape in ["multiple commands", "unterminated", "at end of input"] {
                    assert!(!said.contains(escape), "{text:?} escaped: {said}");
                }
            }
            (Err(refused), Ok(_)) => assert!(
                matches!(refused, PredicateError::List | PredicateError::Parameter),
                "{text:?} is valid, but: {refused}"
            ),
            _ => {}
        }
    }
    assert!(passed > 500 && valid > 100 && both > 100, "too few to mean anything: {passed}, {valid}, {both}");
    drop(client);
    connection.await.unwrap().unwrap();
}
