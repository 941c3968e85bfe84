//! Opens connections: one server of the list after the other, with or without TLS as `sslmode` says.
//! Never runs a statement of its own, except to find a server of the wanted role.

use std::time::Duration;

use postgres_openssl::MakeTlsConnector;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};
use tokio_postgres::{Client, Config, NoTls};

use super::error::{ConnectFailure, DbFacts, PgError, Refusal, chain};
use super::settings::{ConnectSettings, Endpoint, Host, SessionAttrs};
use super::tls::{Binding, TlsMode};
use super::wire::Wire;

/// Connects to the first server of the list that lets us in and has the wanted role.
pub(super) async fn open(settings: &ConnectSettings, application_name: &str) -> Result<Wire, PgError> {
    let mut failures = Vec::new();
    // `prefer-standby`: first round standbys only, second round whatever answers.
    let rounds: &[SessionAttrs] = match settings.session_attrs {
        SessionAttrs::PreferStandby => &[SessionAttrs::Standby, SessionAttrs::Any],
        _ => std::slice::from_ref(&settings.session_attrs),
    };
    for attrs in rounds {
        failures.clear();
        for endpoint in &settings.endpoints {
            match open_endpoint(settings, endpoint, application_name, *attrs).await? {
                Ok(wire) => return Ok(wire),
                Err(refusal) => {
                    let final_word = is_final(&refusal);
                    failures.push(ConnectFailure { endpoint: endpoint.to_string(), refusal });
                    if final_word {
                        return Err(PgError::Connect { target: settings.describe(), failures });
                    }
                }
            }
        }
    }
    Err(PgError::Connect { target: settings.describe(), failures })
}

/// As in libpq, a server that refuses the login ends the search; one that is not ready does not.
fn is_final(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Rejected(db) => db.sqlstate != "57P03",
        Refusal::Login(_) => true,
        _ => false,
    }
}

/// One way to try a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Plain,
    TlsIfOffered,
    Tls,
}

fn attempts(mode: TlsMode, host: &Host) -> &'static [Attempt] {
    match (host, mode) {
        (Host::Socket(_), _) | (_, TlsMode::Disable) => &[Attempt::Plain],
        (_, TlsMode::Allow) => &[Attempt::Plain, Attempt::Tls],
        (_, TlsMode::Prefer) => &[Attempt::TlsIfOffered, Attempt::Plain],
        _ => &[Attempt::Tls],
    }
}

/// Outer error: settings that no server could make good. Inner error: this server's refusal.
async fn open_endpoint(
    settings: &ConnectSettings,
    endpoint: &Endpoint,
    application_name: &str,
    attrs: SessionAttrs,
) -> Result<Result<Wire, Refusal>, PgError> {
    let mut first_refusal = None;
    for attempt in attempts(settings.tls.mode, &endpoint.host) {
        let config = config(settings, endpoint, application_name, *attempt);
        let connector = match attempt {
            Attempt::Plain => None,
            _ => Some(settings.tls.connector()?),
        };
        let opened = within(settings.connect_timeout, handshake(&config, connector, attrs)).await;
        match opened {
            Ok(wire) => return Ok(Ok(wire)),
            Err(refusal) => {
                let other_way = matches!(&refusal, Refusal::Tls(_))
                    || matches!(&refusal, Refusal::Rejected(db) if db.sqlstate == "28000");
                // The first way is the one that was asked for: its refusal tells more than the fallback's.
                let told = first_refusal.get_or_insert(refusal);
                if !other_way {
                    return Ok(Err(told.clone()));
                }
            }
        }
    }
    Ok(Err(first_refusal.unwrap_or_else(|| Refusal::Unreachable("no way to connect".to_owned()))))
}

async fn within(
    limit: Option<Duration>,
    opening: impl Future<Output = Result<Wire, Refusal>>,
) -> Result<Wire, Refusal> {
    match limit {
        None => opening.await,
        Some(limit) => match tokio::time::timeout(limit, opening).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Refusal::TimedOut(limit)),
        },
    }
}

fn config(
    settings: &ConnectSettings,
    endpoint: &Endpoint,
    application_name: &str,
    attempt: Attempt,
) -> Config {
    let mut config = Config::new();
    match &endpoint.host {
        Host::Socket(directory) => {
            config.host_path(directory);
        }
        Host::Tcp { name, address } => {
            config.host(name);
            if let Some(address) = address {
                config.hostaddr(*address);
            }
        }
    }
    config.port(endpoint.port).dbname(&settings.dbname).user(&settings.user);
    config.application_name(settings.application_name.as_deref().unwrap_or(application_name));
    if let Some(password) = settings.password_for(endpoint) {
        config.password(password);
    }
    if let Some(options) = &settings.options {
        config.options(options);
    }
    config.ssl_mode(match attempt {
        Attempt::Plain => SslMode::Disable,
        Attempt::TlsIfOffered => SslMode::Prefer,
        Attempt::Tls => SslMode::Require,
    });
    if settings.tls.direct {
        config.ssl_negotiation(SslNegotiation::Direct);
    }
    config.channel_binding(match settings.tls.binding {
        Binding::Disable => ChannelBinding::Disable,
        Binding::Prefer => ChannelBinding::Prefer,
        Binding::Require => ChannelBinding::Require,
    });
    let keepalive = &settings.keepalive;
    config.keepalives(keepalive.enabled).keepalives_idle(keepalive.idle);
    config.keepalives_interval(keepalive.interval).keepalives_retries(keepalive.count);
    if let Some(limit) = keepalive.user_timeout {
        config.tcp_user_timeout(limit);
    }
    config
}

async fn handshake(
    config: &Config,
    connector: Option<MakeTlsConnector>,
    attrs: SessionAttrs,
) -> Result<Wire, Refusal> {
    let wire = match connector {
        None => {
            let (client, connection) = config.connect(NoTls).await.map_err(|error| refusal(&error))?;
            Wire::start(client, connection, None)
        }
        Some(connector) => {
            let (client, connection) =
                config.connect(connector.clone()).await.map_err(|error| refusal(&error))?;
            Wire::start(client, connection, Some(connector))
        }
    };
    if attrs != SessionAttrs::Any {
        check_role(wire.client(), attrs).await?;
    }
    Ok(wire)
}

async fn check_role(client: &Client, attrs: SessionAttrs) -> Result<(), Refusal> {
    let sql =
        "select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only') = 'on'";
    let row = client.query_one(sql, &[]).await.map_err(|error| refusal(&error))?;
    let flag = |at| row.try_get::<_, bool>(at).map_err(|error| refusal(&error));
    let (standby, read_only) = (flag(0)?, flag(1)?);
    let unfit = match attrs {
        SessionAttrs::ReadWrite if read_only => "the session is read-only",
        SessionAttrs::ReadOnly if !read_only => "the session is not read-only",
        SessionAttrs::Primary if standby => "the server is a standby",
        SessionAttrs::Standby if !standby => "the server is no standby",
        _ => return Ok(()),
    };
    Err(Refusal::Role(unfit.to_owned()))
}

fn refusal(error: &tokio_postgres::Error) -> Refusal {
    if let Some(db) = error.as_db_error() {
        return Refusal::Rejected(Box::new(DbFacts::from_db(db)));
    }
    // The driver's kinds are private; its fixed words tell them apart (0.7.18, error/mod.rs).
    let words = error.to_string();
    let cause = std::error::Error::source(error).map_or_else(|| words.clone(), chain);
    if words.contains("TLS handshake") {
        Refusal::Tls(cause)
    } else if words.contains("authentication error") || words.contains("invalid configuration") {
        Refusal::Login(cause)
    } else {
        Refusal::Unreachable(cause)
    }
}
