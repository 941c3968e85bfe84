//! The connection keywords of libpq 18, the variable that belongs to each, and what we make of it.
//! A keyword that libpq knows is never unknown here; one that we cannot honour is refused, not ignored.

use super::error::PgError;

/// What becomes of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is honoured.
    Honoured,
    /// It has no bearing on what rowback does.
    Ignored,
    /// Only these values mean what rowback does anyway; any other is refused.
    Only(&'static [&'static str]),
}

struct Keyword {
    name: &'static str,
    variable: Option<&'static str>,
    usage: Use,
}

const fn honoured(name: &'static str, variable: &'static str) -> Keyword {
    Keyword { name, variable: Some(variable), usage: Use::Honoured }
}

const fn unnamed(name: &'static str, usage: Use) -> Keyword {
    Keyword { name, variable: None, usage }
}

const fn only(name: &'static str, variable: &'static str, values: &'static [&'static str]) -> Keyword {
    Keyword { name, variable: Some(variable), usage: Use::Only(values) }
}

static KEYWORDS: &[Keyword] = &[
    honoured("service", "PGSERVICE"),
    honoured("user", "PGUSER"),
    honoured("password", "PGPASSWORD"),
    honoured("passfile", "PGPASSFILE"),
    honoured("dbname", "PGDATABASE"),
    honoured("host", "PGHOST"),
    honoured("hostaddr", "PGHOSTADDR"),
    honoured("port", "PGPORT"),
    honoured("connect_timeout", "PGCONNECT_TIMEOUT"),
    honoured("application_name", "PGAPPNAME"),
    honoured("options", "PGOPTIONS"),
    honoured("sslmode", "PGSSLMODE"),
    honoured("sslrootcert", "PGSSLROOTCERT"),
    honoured("sslcert", "PGSSLCERT"),
    honoured("sslkey", "PGSSLKEY"),
    honoured("sslcrl", "PGSSLCRL"),
    honoured("sslnegotiation", "PGSSLNEGOTIATION"),
    honoured("sslsni", "PGSSLSNI"),
    honoured("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    honoured("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    honoured("channel_binding", "PGCHANNELBINDING"),
    honoured("target_session_attrs", "PGTARGETSESSIONATTRS"),
    unnamed("sslpassword", Use::Honoured),
    unnamed("fallback_application_name", Use::Honoured),
    unnamed("keepalives", Use::Honoured),
    unnamed("keepalives_idle", Use::Honoured),
    unnamed("keepalives_interval", Use::Honoured),
    unnamed("keepalives_count", Use::Honoured),
    unnamed("tcp_user_timeout", Use::Honoured),
    unnamed("load_balance_hosts", Use::Ignored),
    unnamed("client_encoding", Use::Ignored),
    unnamed("sslcompression", Use::Ignored),
    unnamed("krbsrvname", Use::Ignored),
    unnamed("gsslib", Use::Ignored),
    unnamed("gssdelegation", Use::Ignored),
    unnamed("min_protocol_version", Use::Ignored),
    unnamed("max_protocol_version", Use::Ignored),
    unnamed("replication", Use::Only(&["", "false", "off", "no", "0"])),
    only("gssencmode", "PGGSSENCMODE", &["", "disable", "prefer"]),
    only("sslcertmode", "PGSSLCERTMODE", &["", "allow"]),
    only("sslcrldir", "PGSSLCRLDIR", &[""]),
    only("requirepeer", "PGREQUIREPEER", &[""]),
    only("require_auth", "PGREQUIREAUTH", &[""]),
];

/// The keyword in its lasting form, if `name` is one and `value` can be honoured; `Ok(None)` when it may be ignored.
pub(super) fn accept(name: &str, value: &str) -> Result<Option<&'static str>, PgError> {
    let Some(keyword) = KEYWORDS.iter().find(|keyword| keyword.name == name) else {
        return Err(unknown(name));
    };
    match keyword.usage {
        Use::Honoured => Ok(Some(keyword.name)),
        Use::Ignored => Ok(None),
        Use::Only(values) if values.contains(&value) => Ok(None),
        Use::Only(_) => Err(PgError::settings_with(
            format!("rowback cannot honour the connection setting {name}={value}"),
            format!("Leave `{name}` out, if the connection is safe without it."),
        )),
    }
}

fn unknown(name: &str) -> PgError {
    let nearest = KEYWORDS
        .iter()
        .map(|keyword| (strsim::damerau_levenshtein(keyword.name, name), keyword.name))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    let problem = format!("unknown connection setting {name:?}");
    match nearest {
        Some((_, near)) => PgError::settings_with(problem, format!("Did you mean `{near}`?")),
        None => PgError::settings_with(
            problem,
            "The settings are those of libpq, `host`, `port`, `dbname`, `user` and so on.",
        ),
    }
}

/// Every keyword that has a variable, with that variable.
pub(super) fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYWORDS.iter().filter_map(|keyword| Some((keyword.name, keyword.variable?)))
}
