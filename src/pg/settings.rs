//! How to reach a database, resolved as libpq does it: text before service before environment before default.
//! A finished `ConnectSettings` never changes with the environment and never shows its password.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::PgError;
use super::passfile::{self, PassEntry, PassKey};
use super::tls::TlsSettings;
use crate::env::Env;

/// How long one server may take to let us in, unless `connect_timeout` says otherwise. libpq waits for ever; a
/// recovery tool that hangs on a firewall says nothing for minutes.
pub(super) const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Where one server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// A name or address to be resolved, and the address to use instead of resolving it.
    Tcp { name: String, address: Option<IpAddr> },
    /// The directory of a Unix socket.
    Socket(PathBuf),
}

/// One server of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub host: Host,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp { name, .. } if name.contains(':') => write!(formatter, "[{name}]:{}", self.port),
            Host::Tcp { name, .. } => write!(formatter, "{name}:{}", self.port),
            Host::Socket(directory) if self.port == 5432 => write!(formatter, "{}", directory.display()),
            Host::Socket(directory) => write!(formatter, "{}:{}", directory.display(), self.port),
        }
    }
}

/// What `target_session_attrs` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionAttrs {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// How the network notices a dead server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keepalive {
    pub enabled: bool,
    pub idle: Duration,
    pub interval: Duration,
    pub count: u32,
    pub user_timeout: Option<Duration>,
}

impl Default for Keepalive {
    fn default() -> Self {
        // The kernel's two hours would leave a recovery hanging on a dead network; these notice it in a minute.
        Self {
            enabled: true,
            idle: Duration::from_secs(30),
            interval: Duration::from_secs(10),
            count: 3,
            user_timeout: None,
        }
    }
}

/// Everything that is needed to open a connection.
#[derive(Clone)]
pub struct ConnectSettings {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) dbname: String,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) passwords: Arc<[PassEntry]>,
    pub(super) tls: TlsSettings,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) options: Option<String>,
    pub(super) application_name: Option<String>,
    pub(super) session_attrs: SessionAttrs,
    pub(super) keepalive: Keepalive,
    pub(super) notes: Vec<String>,
}

impl ConnectSettings {
    /// Resolves a URL, a key=value string, a bare database name, or nothing at all (then variables and defaults
    /// decide). Reads the service file and the password file, never the network.
    pub fn resolve(text: Option<&str>, env: &Env) -> Result<Self, PgError> {
        super::resolve::resolve(text, env)
    }

    /// Settings for a server behind a Unix socket, given in full; neither variables nor files are looked at.
    pub fn for_socket(directory: &Path, port: u16, dbname: &str, user: &str, password: &str) -> Self {
        Self {
            endpoints: vec![Endpoint { host: Host::Socket(directory.to_owned()), port }],
            dbname: dbname.to_owned(),
            user: user.to_owned(),
            password: Some(Secret(password.to_owned())),
            passwords: Arc::from([]),
            tls: TlsSettings::disabled(),
            connect_timeout: Some(DEFAULT_CONNECT_TIMEOUT),
            options: None,
            application_name: None,
            session_attrs: SessionAttrs::Any,
            keepalive: Keepalive::default(),
            notes: Vec::new(),
        }
    }

    /// The database.
    pub fn dbname(&self) -> &str {
        &self.dbname
    }

    /// The role to log in as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The first server: a host name or address, or the directory of a Unix socket.
    pub fn host(&self) -> String {
        match self.endpoints.first().map(|endpoint| &endpoint.host) {
            Some(Host::Tcp { name, .. }) => name.clone(),
            Some(Host::Socket(directory)) => directory.display().to_string(),
            None => String::new(),
        }
    }

    /// The port of the first server.
    pub fn port(&self) -> u16 {
        self.endpoints.first().map_or(5432, |endpoint| endpoint.port)
    }

    /// The same server and login, another database.
    #[must_use]
    pub fn with_database(&self, dbname: &str) -> Self {
        Self { dbname: dbname.to_owned(), ..self.clone() }
    }

    /// The same server and database, another role. A password that was given stays; one from the password file is
    /// looked up anew.
    #[must_use]
    pub fn with_user(&self, user: &str) -> Self {
        Self { user: user.to_owned(), ..self.clone() }
    }

    /// The same with this password.
    #[must_use]
    pub fn with_password(&self, password: &str) -> Self {
        Self { password: Some(Secret(password.to_owned())), ..self.clone() }
    }

    /// For messages: `database "shop" at db1:5432`, or `at /tmp/sock`.
    pub fn describe(&self) -> String {
        let servers: Vec<String> = self.endpoints.iter().map(ToString::to_string).collect();
        format!("database \"{}\" at {}", self.dbname, servers.join(", "))
    }

    /// The settings as a key=value string that `psql` takes, without the password.
    pub fn redacted(&self) -> String {
        let quote = |text: &str| {
            let plain = !text.is_empty()
                && !text.contains(|letter: char| letter.is_whitespace() || "'\\".contains(letter));
            if plain {
                text.to_owned()
            } else {
                format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
            }
        };
        let hosts: Vec<String> = self
            .endpoints
            .iter()
            .map(|endpoint| match &endpoint.host {
                Host::Tcp { name, .. } => name.clone(),
                Host::Socket(directory) => directory.display().to_string(),
            })
            .collect();
        let ports: Vec<String> = self.endpoints.iter().map(|endpoint| endpoint.port.to_string()).collect();
        format!(
            "host={} port={} dbname={} user={} sslmode={}",
            quote(&hosts.join(",")),
            ports.join(","),
            quote(&self.dbname),
            quote(&self.user),
            self.tls.mode.as_str()
        )
    }

    /// Lines worth telling the user once, such as a password file that was left aside.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The password for one server: the one given, else the password file's.
    pub(super) fn password_for(&self, endpoint: &Endpoint) -> Option<&str> {
        if let Some(Secret(password)) = &self.password {
            return Some(password);
        }
        let named = match &endpoint.host {
            Host::Tcp { name, .. } => name.clone(),
            Host::Socket(directory) => directory.display().to_string(),
        };
        let is_default = matches!(&endpoint.host, Host::Socket(directory) if is_default_socket(directory));
        let host = if is_default { "localhost" } else { &named };
        let key = PassKey { host, port: endpoint.port, dbname: &self.dbname, user: &self.user };
        passfile::find(&self.passwords, key)
    }
}

impl fmt::Debug for ConnectSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ConnectSettings({})", self.redacted())
    }
}

/// Where packagers put the socket: PostgreSQL's own default, Debian's and Red Hat's.
const SOCKET_DIRECTORIES: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

fn is_default_socket(directory: &Path) -> bool {
    SOCKET_DIRECTORIES.iter().any(|known| directory == Path::new(known))
}

/// The directory that has a socket for this port; without one, the first that exists.
pub(super) fn default_socket(port: u16) -> PathBuf {
    let directories = SOCKET_DIRECTORIES.map(PathBuf::from);
    let with_socket =
        directories.iter().find(|directory| directory.join(format!(".s.PGSQL.{port}")).exists());
    let found = with_socket.or_else(|| directories.iter().find(|directory| directory.is_dir()));
    found.cloned().unwrap_or_else(|| PathBuf::from("/tmp"))
}
