//! From keyword–value pairs to settings: which source wins, what each value means, what is there without one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Account;
use super::error::PgError;
use super::settings::{
    ConnectSettings, DEFAULT_CONNECT_TIMEOUT, Endpoint, Host, Keepalive, Secret, SessionAttrs, default_socket,
};
use super::tls::{TlsMode, TlsSettings};
use super::{conninfo, keyword, passfile, service};
use crate::env::Env;

/// Puts the sources together: text before service before environment before default.
pub(super) fn resolve(text: Option<&str>, env: &Env) -> Result<ConnectSettings, PgError> {
    let home = env.var("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = home.or_else(|| Account::current().map(|account| account.home));
    let mut values = Values::default();
    values.take(conninfo::parse(text.unwrap_or_default())?)?;
    let service = values.text("service").or_else(|| env.var("PGSERVICE")).map(str::to_owned);
    if let Some(service) = service.filter(|name| !name.is_empty()) {
        values.fill(service::read(&service, env, home.as_ref())?)?;
    }
    let variables = keyword::variables()
        .filter_map(|(name, variable)| Some((name.to_owned(), env.var(variable)?.to_owned())))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    values.fill(variables)?;
    values.settings(home.as_deref(), env)
}

/// Keyword–value pairs on their way to settings.
#[derive(Default)]
struct Values {
    by_keyword: BTreeMap<&'static str, String>,
}

impl Values {
    /// Takes pairs that win over what is there.
    fn take(&mut self, pairs: conninfo::Pairs) -> Result<(), PgError> {
        for (name, value) in pairs {
            if let Some(keyword) = keyword::accept(&name, &value)? {
                self.by_keyword.insert(keyword, value);
            }
        }
        Ok(())
    }

    /// Takes pairs for what is still unset.
    fn fill(&mut self, pairs: conninfo::Pairs) -> Result<(), PgError> {
        let mut weaker = Self::default();
        weaker.take(pairs)?;
        for (keyword, value) in weaker.by_keyword {
            self.by_keyword.entry(keyword).or_insert(value);
        }
        Ok(())
    }

    /// The value; an empty one counts as unset, as in libpq.
    fn text(&self, keyword: &str) -> Option<&str> {
        self.by_keyword.get(keyword).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn owned(&self, keyword: &str) -> Option<String> {
        self.text(keyword).map(str::to_owned)
    }

    fn number(&self, keyword: &str) -> Result<Option<u32>, PgError> {
        let Some(text) = self.text(keyword) else { return Ok(None) };
        // libpq takes negative numbers as "not set".
        match text.trim().parse::<i32>() {
            Ok(number) => Ok(u32::try_from(number).ok()),
            Err(_not_a_number) => Err(self.wrong(keyword, "a whole number")),
        }
    }

    fn wrong(&self, keyword: &str, expected: &str) -> PgError {
        let value = self.text(keyword).unwrap_or_default();
        PgError::settings(format!("`{keyword}` is {value:?}, expected {expected}"))
    }

    fn settings(&self, home: Option<&Path>, env: &Env) -> Result<ConnectSettings, PgError> {
        let user = match self.owned("user") {
            Some(user) => user,
            None => default_user(env)?,
        };
        let passfile = match self.text("passfile") {
            Some(path) => passfile::read(Path::new(path)),
            None => home.map(|home| passfile::read(&home.join(".pgpass"))).unwrap_or_default(),
        };
        let password = self.owned("password").map(Secret);
        let notes = passfile.note.into_iter().filter(|_| password.is_none()).collect();
        let application_name =
            self.owned("application_name").or_else(|| self.owned("fallback_application_name"));
        Ok(ConnectSettings {
            endpoints: self.endpoints()?,
            dbname: self.owned("dbname").unwrap_or_else(|| user.clone()),
            user,
            password,
            passwords: passfile.entries.into(),
            tls: self.tls(home)?,
            connect_timeout: self.connect_timeout()?,
            options: self.owned("options"),
            application_name,
            session_attrs: self.session_attrs()?,
            keepalive: self.keepalive()?,
            notes,
        })
    }

    fn connect_timeout(&self) -> Result<Option<Duration>, PgError> {
        Ok(match self.number("connect_timeout")? {
            None => Some(DEFAULT_CONNECT_TIMEOUT),
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(u64::from(seconds))),
        })
    }

    fn session_attrs(&self) -> Result<SessionAttrs, PgError> {
        Ok(match self.text("target_session_attrs") {
            None | Some("any") => SessionAttrs::Any,
            Some("read-write") => SessionAttrs::ReadWrite,
            Some("read-only") => SessionAttrs::ReadOnly,
            Some("primary") => SessionAttrs::Primary,
            Some("standby") => SessionAttrs::Standby,
            Some("prefer-standby") => SessionAttrs::PreferStandby,
            Some(_) => {
                let expected = "any, read-write, read-only, primary, standby or prefer-standby";
                return Err(self.wrong("target_session_attrs", expected));
            }
        })
    }

    fn keepalive(&self) -> Result<Keepalive, PgError> {
        let usual = Keepalive::default();
        let seconds = |keyword, usual| {
            let number = self.number(keyword)?.filter(|number| *number > 0);
            Ok::<_, PgError>(number.map_or(usual, |number| Duration::from_secs(u64::from(number))))
        };
        let user_timeout = self.number("tcp_user_timeout")?.filter(|number| *number > 0);
        Ok(Keepalive {
            enabled: self.number("keepalives")? != Some(0),
            idle: seconds("keepalives_idle", usual.idle)?,
            interval: seconds("keepalives_interval", usual.interval)?,
            count: self.number("keepalives_count")?.filter(|number| *number > 0).unwrap_or(usual.count),
            user_timeout: user_timeout.map(|number| Duration::from_millis(u64::from(number))),
        })
    }

    fn tls(&self, home: Option<&Path>) -> Result<TlsSettings, PgError> {
        let mode = match self.text("sslmode") {
            None => TlsMode::Prefer,
            Some(text) => TlsMode::parse(text).ok_or_else(|| {
                self.wrong("sslmode", "disable, allow, prefer, require, verify-ca or verify-full")
            })?,
        };
        TlsSettings::resolve(mode, |keyword| self.text(keyword), home)
    }

    /// The list of servers: `host`, `hostaddr` and `port` are lists of the same length, or one port for all.
    fn endpoints(&self) -> Result<Vec<Endpoint>, PgError> {
        let list =
            |keyword| self.text(keyword).map(|text| text.split(',').map(str::trim).collect::<Vec<_>>());
        let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
        let count = hosts.as_ref().or(addresses.as_ref()).map_or(1, Vec::len);
        if addresses.as_ref().is_some_and(|addresses| addresses.len() != count) {
            return Err(PgError::settings("`host` and `hostaddr` are lists of different length"));
        }
        let ports = ports.unwrap_or_default();
        if ports.len() > 1 && ports.len() != count {
            return Err(PgError::settings(format!("{} ports for {count} hosts", ports.len())));
        }
        (0..count)
            .map(|at| {
                let port = ports.get(at).or_else(|| ports.first()).copied().unwrap_or_default();
                let host = hosts.as_ref().and_then(|hosts| hosts.get(at)).copied().unwrap_or_default();
                let address = addresses.as_ref().and_then(|list| list.get(at)).copied().unwrap_or_default();
                endpoint(host, address, port)
            })
            .collect()
    }
}

fn endpoint(host: &str, address: &str, port: &str) -> Result<Endpoint, PgError> {
    let port = match port {
        "" => 5432,
        text => text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            PgError::settings(format!("the port is {text:?}, expected a number from 1 to 65535"))
        })?,
    };
    let address = match address {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|error| {
            PgError::settings(format!("`hostaddr` is {text:?}, expected an IP address: {error}"))
        })?),
    };
    let host = match (host, address) {
        ("", None) => Host::Socket(default_socket(port)),
        ("", Some(address)) => Host::Tcp { name: address.to_string(), address: Some(address) },
        (path, None) if path.starts_with('/') => Host::Socket(PathBuf::from(path)),
        (name, address) => Host::Tcp { name: name.to_owned(), address },
    };
    Ok(Endpoint { host, port })
}

fn default_user(env: &Env) -> Result<String, PgError> {
    let account = Account::current().map(|account| account.name);
    let named = || ["USER", "LOGNAME"].iter().find_map(|name| env.var(name)).map(str::to_owned);
    account.or_else(named).ok_or_else(|| {
        PgError::settings_with("no user was given and this account has no name", "Set `user` or `PGUSER`.")
    })
}
