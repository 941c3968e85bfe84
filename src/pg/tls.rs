//! TLS with libpq's meaning of `sslmode`, on OpenSSL, so that a certificate that `psql` takes is taken here as well.
//! `require` encrypts without checking, unless a root certificate is there; only `verify-full` checks the name.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::store::{File, X509Lookup};
use openssl::x509::verify::X509VerifyFlags;
use postgres_openssl::MakeTlsConnector;

use super::error::PgError;
use super::settings::Secret;

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl TlsMode {
    pub(super) fn parse(text: &str) -> Option<Self> {
        use TlsMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
        [Disable, Allow, Prefer, Require, VerifyCa, VerifyFull].into_iter().find(|mode| mode.as_str() == text)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// Whose signature the server's certificate must bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TrustRoot {
    /// Anybody's: the certificate is not checked.
    Unchecked,
    /// One in this file.
    File(PathBuf),
    /// One that the operating system trusts (`sslrootcert=system`).
    System,
}

/// `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    Disable,
    Prefer,
    Require,
}

/// Everything about TLS that the settings say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TlsSettings {
    pub mode: TlsMode,
    pub root: TrustRoot,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub key_password: Option<Secret>,
    pub revoked: Option<PathBuf>,
    pub server_name: bool,
    pub direct: bool,
    pub oldest: Option<SslVersion>,
    pub newest: Option<SslVersion>,
    pub binding: Binding,
}

impl TlsSettings {
    pub(super) fn disabled() -> Self {
        Self {
            mode: TlsMode::Disable,
            root: TrustRoot::Unchecked,
            certificate: None,
            key: None,
            key_password: None,
            revoked: None,
            server_name: true,
            direct: false,
            oldest: Some(SslVersion::TLS1_2),
            newest: None,
            binding: Binding::Prefer,
        }
    }

    /// Reads the `ssl…` keywords; files that libpq takes from `~/.postgresql` are taken if they exist.
    pub(super) fn resolve<'a>(
        mode: TlsMode,
        text: impl Fn(&str) -> Option<&'a str>,
        home: Option<&Path>,
    ) -> Result<Self, PgError> {
        let usual =
            |name: &str| home.map(|home| home.join(".postgresql").join(name)).filter(|path| path.exists());
        let file = |keyword: &str, name: &str| text(keyword).map(PathBuf::from).or_else(|| usual(name));
        let root = match text("sslrootcert") {
            Some("system") => TrustRoot::System,
            _ => root_file(mode, file("sslrootcert", "root.crt"))?,
        };
        if root == TrustRoot::System && mode != TlsMode::VerifyFull && text("sslmode").is_some() {
            return Err(PgError::settings(format!(
                "sslmode={} is too weak for sslrootcert=system, which needs verify-full",
                mode.as_str()
            )));
        }
        let mode = if root == TrustRoot::System { TlsMode::VerifyFull } else { mode };
        let direct = match text("sslnegotiation") {
            None | Some("postgres") => false,
            Some("direct") if mode >= TlsMode::Require => true,
            Some(_) => {
                return Err(PgError::settings(
                    "`sslnegotiation` is \"postgres\", or \"direct\" with sslmode=require or stronger",
                ));
            }
        };
        Ok(Self {
            mode,
            root,
            certificate: file("sslcert", "postgresql.crt"),
            key: file("sslkey", "postgresql.key"),
            key_password: text("sslpassword").map(|password| Secret(password.to_owned())),
            revoked: file("sslcrl", "root.crl"),
            server_name: text("sslsni") != Some("0"),
            direct,
            oldest: version("ssl_min_protocol_version", text("ssl_min_protocol_version"))?
                .or(Some(SslVersion::TLS1_2)),
            newest: version("ssl_max_protocol_version", text("ssl_max_protocol_version"))?,
            binding: binding(text("channel_binding"))?,
        })
    }

    /// The connector for these settings.
    pub(super) fn connector(&self) -> Result<MakeTlsConnector, PgError> {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|error| broken(&error))?;
        self.set_trust(&mut builder)?;
        self.set_client_certificate(&mut builder)?;
        let versions = builder
            .set_min_proto_version(self.oldest)
            .and_then(|()| builder.set_max_proto_version(self.newest))
            .and_then(
                |()| if self.direct { postgres_openssl::set_postgresql_alpn(&mut builder) } else { Ok(()) },
            );
        versions.map_err(|error| broken(&error))?;
        let mut connector = MakeTlsConnector::new(builder.build());
        let (check_name, send_name) = (self.mode == TlsMode::VerifyFull, self.server_name);
        connector.set_callback(move |connection, _| {
            connection.set_verify_hostname(check_name);
            connection.set_use_server_name_indication(send_name);
            Ok(())
        });
        Ok(connector)
    }

    fn set_trust(&self, builder: &mut SslConnectorBuilder) -> Result<(), PgError> {
        match &self.root {
            TrustRoot::Unchecked => builder.set_verify(SslVerifyMode::NONE),
            TrustRoot::System => builder.set_verify(SslVerifyMode::PEER),
            TrustRoot::File(path) => {
                // The builder begins with the system's authorities; libpq trusts those of the file only.
                let empty = X509StoreBuilder::new().map_err(|error| broken(&error))?;
                builder.set_cert_store(empty.build());
                builder.set_ca_file(path).map_err(|error| unreadable("sslrootcert", path, &error))?;
                builder.set_verify(SslVerifyMode::PEER);
            }
        }
        if let Some(path) = self.revoked.as_ref().filter(|_| self.root != TrustRoot::Unchecked) {
            let store = builder.cert_store_mut();
            let lookup: &'static _ = X509Lookup::<File>::file();
            let loaded = store.add_lookup(lookup).and_then(|list| list.load_crl_file(path, SslFiletype::PEM));
            loaded.map_err(|error| unreadable("sslcrl", path, &error))?;
            let flags = X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL;
            store.set_flags(flags).map_err(|error| broken(&error))?;
        }
        Ok(())
    }

    fn set_client_certificate(&self, builder: &mut SslConnectorBuilder) -> Result<(), PgError> {
        let Some(certificate) = &self.certificate else { return Ok(()) };
        builder
            .set_certificate_chain_file(certificate)
            .map_err(|error| unreadable("sslcert", certificate, &error))?;
        let Some(path) = &self.key else {
            return Err(PgError::settings(format!(
                "there is a client certificate \"{}\", but no key for it (sslkey)",
                certificate.display()
            )));
        };
        check_private(path)?;
        let pem = std::fs::read(path)
            .map_err(|error| PgError::settings(format!("sslkey \"{}\": {error}", path.display())))?;
        let password = self.key_password.as_ref().map_or("", |Secret(password)| password);
        let key = openssl::pkey::PKey::private_key_from_pem_passphrase(&pem, password.as_bytes())
            .map_err(|error| unreadable("sslkey", path, &error))?;
        builder.set_private_key(&key).map_err(|error| unreadable("sslkey", path, &error))
    }
}

/// libpq checks the certificate in every mode once a root certificate is there, and insists on one for `verify-…`.
fn root_file(mode: TlsMode, path: Option<PathBuf>) -> Result<TrustRoot, PgError> {
    match path {
        Some(path) if path.exists() => Ok(TrustRoot::File(path)),
        other if mode >= TlsMode::VerifyCa => {
            let place =
                other.map_or_else(|| "~/.postgresql/root.crt".to_owned(), |path| path.display().to_string());
            Err(PgError::settings_with(
                format!("there is no root certificate \"{place}\", which sslmode={} needs", mode.as_str()),
                "Give the authority's certificate as `sslrootcert`, or `sslrootcert=system`.",
            ))
        }
        _ => Ok(TrustRoot::Unchecked),
    }
}

fn check_private(path: &Path) -> Result<(), PgError> {
    let metadata = std::fs::metadata(path)
        .map_err(|error| PgError::settings(format!("sslkey \"{}\": {error}", path.display())))?;
    // libpq: 0600, or 0640 when root owns it.
    let forbidden = if std::os::unix::fs::MetadataExt::uid(&metadata) == 0 { 0o037 } else { 0o077 };
    if metadata.permissions().mode() & forbidden == 0 {
        return Ok(());
    }
    Err(PgError::settings_with(
        format!("sslkey \"{}\" can be read by others", path.display()),
        format!("Run `chmod 0600 {}`.", path.display()),
    ))
}

fn version(keyword: &str, text: Option<&str>) -> Result<Option<SslVersion>, PgError> {
    Ok(Some(match text.map(str::to_ascii_lowercase).as_deref() {
        None => return Ok(None),
        Some("tlsv1") => SslVersion::TLS1,
        Some("tlsv1.1") => SslVersion::TLS1_1,
        Some("tlsv1.2") => SslVersion::TLS1_2,
        Some("tlsv1.3") => SslVersion::TLS1_3,
        Some(other) => {
            return Err(PgError::settings(format!(
                "`{keyword}` is {other:?}, expected TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3"
            )));
        }
    }))
}

fn binding(text: Option<&str>) -> Result<Binding, PgError> {
    Ok(match text {
        None | Some("prefer") => Binding::Prefer,
        Some("disable") => Binding::Disable,
        Some("require") => Binding::Require,
        Some(other) => {
            return Err(PgError::settings(format!(
                "`channel_binding` is {other:?}, expected disable, prefer or require"
            )));
        }
    })
}

fn broken(error: &ErrorStack) -> PgError {
    PgError::settings(format!("OpenSSL cannot be set up: {error}"))
}

fn unreadable(keyword: &str, path: &Path, error: &ErrorStack) -> PgError {
    PgError::settings(format!("{keyword} \"{}\" cannot be used: {error}", path.display()))
}
