//! One open connection: the driver's client, the task that moves its bytes, the notices it hears.
//! Ends with its owner: a dropped wire says goodbye to the server; if a statement still runs there, it is stopped.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postgres_openssl::MakeTlsConnector;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Connection, NoTls, Socket, Statement};

use super::error::{PgError, chain};

/// A goodbye that takes longer than this means that a statement still runs: it is cancelled, because a server does not
/// notice that nobody waits for its answer.
const GOODBYE: Duration = Duration::from_millis(500);
/// How long the request to cancel may take before we just hang up.
const HANG_UP: Duration = Duration::from_secs(2);

/// A message of the server that is no error, such as `RAISE NOTICE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// `NOTICE`, `WARNING`, `INFO` …
    pub severity: String,
    /// The five-character SQLSTATE.
    pub sqlstate: String,
    /// The message.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// The server's advice.
    pub hint: Option<String>,
}

/// More notices than this are not kept: a restore of thousands of objects may raise one for each.
const MOST_NOTICES: usize = 10_000;

#[derive(Default)]
struct Heard {
    notices: Mutex<Vec<Notice>>,
    ended: Mutex<Option<String>>,
}

/// One open connection.
pub(super) struct Wire {
    client: Client,
    tls: Option<MakeTlsConnector>,
    heard: Arc<Heard>,
    cancelled: Arc<AtomicBool>,
    statements: Mutex<HashMap<&'static str, Statement>>,
    _hang_up: oneshot::Sender<()>,
}

impl Wire {
    /// Takes over a fresh connection and starts moving its bytes on the current runtime.
    pub(super) fn start<T>(
        client: Client,
        connection: Connection<Socket, T>,
        tls: Option<MakeTlsConnector>,
    ) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let heard = Arc::new(Heard::default());
        let (hang_up, owner_gone) = oneshot::channel();
        let cancelled = Arc::<AtomicBool>::default();
        let stopper =
            Canceller { token: client.cancel_token(), tls: tls.clone(), cancelled: Arc::clone(&cancelled) };
        tokio::spawn(carry(connection, Arc::clone(&heard), owner_gone, stopper));
        Self { client, tls, heard, cancelled, statements: Mutex::default(), _hang_up: hang_up }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The prepared form of a fixed statement; prepared once per connection.
    pub(super) async fn prepared(&self, text: &'static str) -> Result<Statement, tokio_postgres::Error> {
        let known = self.lock_statements().get(text).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(text).await?;
        self.lock_statements().insert(text, statement.clone());
        Ok(statement)
    }

    fn lock_statements(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Our error for a driver's, with what the server said when it hung up.
    pub(super) fn error(&self, what: &str, error: &tokio_postgres::Error) -> PgError {
        let cancelled = self.cancelled.load(Ordering::SeqCst);
        match PgError::from_driver(what, error, cancelled) {
            PgError::Lost { what, cause } => {
                let ended = self.heard.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
                PgError::Lost { what, cause: ended.unwrap_or(cause) }
            }
            other => other,
        }
    }

    pub(super) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.heard.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn canceller(&self) -> Canceller {
        Canceller {
            token: self.client.cancel_token(),
            tls: self.tls.clone(),
            cancelled: Arc::clone(&self.cancelled),
        }
    }
}

async fn carry<T>(
    mut connection: Connection<Socket, T>,
    heard: Arc<Heard>,
    owner_gone: oneshot::Receiver<()>,
    canceller: Canceller,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let listen = async {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notice(notice))) => hear(&heard, &notice),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    *heard.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason(&error));
                    return;
                }
                None => return,
            }
        }
    };
    let patience = async {
        // The sender is only ever dropped; it sends nothing.
        drop(owner_gone.await);
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        () = listen => {}
        () = patience => {
            // Nobody is left to tell whether it worked; dropping the connection is all that remains either way.
            drop(tokio::time::timeout(HANG_UP, canceller.cancel()).await);
        }
    }
}

fn reason(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => chain(error),
    }
}

fn hear(heard: &Heard, notice: &tokio_postgres::error::DbError) {
    let mut notices = heard.notices.lock().unwrap_or_else(PoisonError::into_inner);
    if notices.len() < MOST_NOTICES {
        notices.push(Notice {
            severity: notice.severity().to_owned(),
            sqlstate: notice.code().code().to_owned(),
            message: notice.message().to_owned(),
            detail: notice.detail().map(str::to_owned),
            hint: notice.hint().map(str::to_owned),
        });
    }
}

/// Asks a server to stop what a session is doing; works from any task while the session waits.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
    tls: Option<MakeTlsConnector>,
    cancelled: Arc<AtomicBool>,
}

impl Canceller {
    /// Sends the request, over TLS where the session uses it. The session's call then fails with
    /// [`PgError::Cancelled`], unless it was done already.
    pub async fn cancel(&self) -> Result<(), PgError> {
        self.cancelled.store(true, Ordering::SeqCst);
        let sent = match &self.tls {
            Some(connector) => self.token.cancel_query(connector.clone()).await,
            None => self.token.cancel_query(NoTls).await,
        };
        sent.map_err(|error| PgError::Lost {
            what: "asking the server to stop".to_owned(),
            cause: chain(&error),
        })
    }
}
