//! Tables of input and the settings that come out: text, service, environment, defaults.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::settings::{ConnectSettings, SessionAttrs};
use super::tls::{TlsMode, TrustRoot};
use crate::env::Env;
use crate::error::Explain;

/// A home directory with nothing in it, and an environment that points there.
struct Home {
    directory: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let variables = vec![("HOME".to_owned(), directory.path().to_str().unwrap().to_owned())];
        Self { directory, variables }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn env(&self) -> Env {
        Env::from_pairs(self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    fn resolve(&self, text: &str) -> ConnectSettings {
        ConnectSettings::resolve(Some(text), &self.env())
            .unwrap_or_else(|error| panic!("{error} {:?}", error.causes()))
    }

    fn refuse(&self, text: &str) -> (Vec<String>, String) {
        let error = ConnectSettings::resolve(Some(text), &self.env()).unwrap_err();
        assert_eq!(error.code(), "connection-settings");
        (error.causes(), error.hint())
    }
}

fn password(settings: &ConnectSettings) -> Option<&str> {
    settings.password_for(&settings.endpoints[0])
}

#[test]
fn every_form_of_text() {
    let home = Home::new();
    for (text, redacted) in [
        ("postgresql://ann@db1/shop", "host=db1 port=5432 dbname=shop user=ann sslmode=prefer"),
        (
            "postgres://ann:pw@db1:5433/shop?sslmode=disable",
            "host=db1 port=5433 dbname=shop user=ann sslmode=disable",
        ),
        ("postgresql://ann@%2Ftmp%2Fs/shop", "host=/tmp/s port=5432 dbname=shop user=ann sslmode=prefer"),
        ("postgresql://ann@a,b:6000/shop", "host=a,b port=5432,6000 dbname=shop user=ann sslmode=prefer"),
        ("postgresql://ann@[::1]:7/shop", "host=::1 port=7 dbname=shop user=ann sslmode=prefer"),
        ("host=a,b port=7 user=ann", "host=a,b port=7,7 dbname=ann user=ann sslmode=prefer"),
        (
            "hostaddr=10.0.0.1 user=ann dbname='my shop'",
            "host=10.0.0.1 port=5432 dbname='my shop' user=ann sslmode=prefer",
        ),
        ("host=db1 user='a\\'b' dbname=d", "host=db1 port=5432 dbname=d user='a\\'b' sslmode=prefer"),
    ] {
        assert_eq!(home.resolve(text).redacted(), redacted, "{text}");
    }
}

#[test]
fn text_before_service_before_environment() {
    let home = Home::new()
        .file(".pg_service.conf", "[shop]\nhost=svc\nport=1111\ndbname=svcdb\n[other]\nhost=no\n")
        .with("PGHOST", "envhost")
        .with("PGPORT", "2222")
        .with("PGDATABASE", "envdb")
        .with("PGUSER", "envuser")
        .with("PGPASSWORD", "envpw")
        .with("PGSSLMODE", "disable");
    let settings = home.resolve("service=shop port=3333");
    assert_eq!(settings.redacted(), "host=svc port=3333 dbname=svcdb user=envuser sslmode=disable");
    assert_eq!(password(&settings), Some("envpw"));
    assert_eq!(
        home.resolve("").redacted(),
        "host=envhost port=2222 dbname=envdb user=envuser sslmode=disable"
    );
    assert_eq!(home.resolve("textdb").dbname(), "textdb");
    let by_variable = home.with("PGSERVICE", "other");
    assert_eq!(by_variable.resolve("").host(), "no");
    assert_eq!(by_variable.resolve("postgresql:///?service=shop").host(), "svc");
    let (causes, _) = by_variable.refuse("service=nowhere");
    assert!(causes[0].starts_with("no service \"nowhere\" in "), "{causes:?}");
}

#[test]
fn a_service_file_by_variable_must_be_there() {
    let home = Home::new().file("my.conf", "[s]\nhost=h\nbogus=1\n");
    let path = home.path("my.conf").to_str().unwrap().to_owned();
    let home = home.with("PGSERVICEFILE", &path);
    let (causes, _) = home.refuse("service=s");
    assert_eq!(causes, ["unknown connection setting \"bogus\""]);
    let gone = Home::new().with("PGSERVICEFILE", "/nowhere/x.conf");
    assert!(gone.refuse("service=s").0[0].contains("cannot be read"));
}

#[test]
fn the_password_file_is_asked_per_server_database_and_user() {
    let home = Home::new()
        .file(".pgpass", "b:5432:*:*:for-b\nlocalhost:*:*:*:for-socket\n*:*:shop2:ann:for-shop2\n");
    let settings = home.resolve("host=a,b user=ann dbname=shop");
    let asked: Vec<_> = settings.endpoints.iter().map(|endpoint| settings.password_for(endpoint)).collect();
    assert_eq!(asked, [None, Some("for-b")]);
    assert_eq!(password(&settings.with_database("shop2")), Some("for-shop2"));
    assert_eq!(password(&settings.with_database("shop2").with_user("bob")), None);
    assert_eq!(password(&home.resolve("host=/tmp user=ann dbname=x")), Some("for-socket"));
    assert_eq!(password(&home.resolve("host=b user=ann password=given")), Some("given"));
    let open = home.path(".pgpass");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o640)).unwrap();
    let settings = home.resolve("host=b user=ann");
    assert_eq!((password(&settings), settings.notes().len()), (None, 1));
    assert_eq!(home.resolve("host=b user=ann password=given").notes().len(), 0);
    let other = home.file("pass2", "*:*:*:*:two\n");
    let text = format!("host=b user=ann passfile={}", other.path("pass2").display());
    assert_eq!(password(&other.resolve(&text)), Some("two"));
}

#[test]
fn tls_follows_libpq() {
    let bare = Home::new();
    let tls = |home: &Home, text: &str| home.resolve(&format!("host=h user=u {text}")).tls;
    for (mode, expected) in [
        ("disable", TlsMode::Disable),
        ("allow", TlsMode::Allow),
        ("prefer", TlsMode::Prefer),
        ("require", TlsMode::Require),
    ] {
        let settings = tls(&bare, &format!("sslmode={mode}"));
        assert_eq!((settings.mode, settings.root), (expected, TrustRoot::Unchecked));
    }
    for mode in ["verify-ca", "verify-full"] {
        let (causes, hint) = bare.refuse(&format!("host=h user=u sslmode={mode}"));
        assert!(causes[0].contains("there is no root certificate"), "{causes:?}");
        assert!(hint.contains("sslrootcert"), "{hint}");
    }
    let system = tls(&bare, "sslrootcert=system");
    assert_eq!((system.mode, system.root), (TlsMode::VerifyFull, TrustRoot::System));
    assert!(bare.refuse("host=h user=u sslmode=require sslrootcert=system").0[0].contains("too weak"));
    // With a root certificate at hand, even `require` checks the chain.
    let home = Home::new().file(".postgresql/root.crt", "x").file("my.crt", "x");
    assert_eq!(tls(&home, "sslmode=require").root, TrustRoot::File(home.path(".postgresql/root.crt")));
    let text = format!("sslmode=verify-full sslrootcert={}", home.path("my.crt").display());
    assert_eq!(tls(&home, &text).root, TrustRoot::File(home.path("my.crt")));
}

#[test]
fn timeouts_and_roles() {
    let home = Home::new();
    let with = |text: &str| home.resolve(&format!("host=h user=u {text}"));
    assert_eq!(with("").connect_timeout, Some(Duration::from_secs(30)));
    assert_eq!(with("connect_timeout=5").connect_timeout, Some(Duration::from_secs(5)));
    assert_eq!(with("connect_timeout=0").connect_timeout, None);
    assert_eq!(with("target_session_attrs=prefer-standby").session_attrs, SessionAttrs::PreferStandby);
    assert_eq!(with("options='-c work_mem=1MB'").options.as_deref(), Some("-c work_mem=1MB"));
    assert_eq!(with("fallback_application_name=fb").application_name.as_deref(), Some("fb"));
    assert!(!with("keepalives=0").keepalive.enabled);
    let variables = Home::new().with("PGAPPNAME", "night").with("PGCONNECT_TIMEOUT", "7").with("PGHOST", "h");
    let settings = variables.resolve("");
    assert_eq!(settings.application_name.as_deref(), Some("night"));
    assert_eq!(settings.connect_timeout, Some(Duration::from_secs(7)));
}

#[test]
fn what_cannot_be_honoured_is_refused_with_the_nearest_name() {
    let home = Home::new();
    for (text, cause, hint) in [
        ("hots=db1", "unknown connection setting \"hots\"", "Did you mean `host`? Nothing was changed."),
        (
            "postgresql://h/d?ssl_mode=require",
            "unknown connection setting \"ssl_mode\"",
            "Did you mean `sslmode`? Nothing was changed.",
        ),
        (
            "host=h gssencmode=require",
            "rowback cannot honour the connection setting gssencmode=require",
            "Leave `gssencmode` out, if the connection is safe without it. Nothing was changed.",
        ),
    ] {
        assert_eq!(home.refuse(text), (vec![cause.to_owned()], hint.to_owned()), "{text}");
    }
    for (text, part) in [
        ("host=h port=no", "the port is \"no\""),
        ("host=h port=0", "the port is \"0\""),
        ("host=a,b,c port=1,2", "2 ports for 3 hosts"),
        ("host=a,b hostaddr=10.0.0.1", "different length"),
        ("host=h hostaddr=x", "expected an IP address"),
        ("host=h sslmode=verify", "`sslmode` is \"verify\""),
        ("host=h connect_timeout=soon", "`connect_timeout` is \"soon\", expected a whole number"),
        ("host=h target_session_attrs=x", "prefer-standby"),
    ] {
        let (causes, _) = home.refuse(text);
        assert!(causes[0].contains(part), "{text}: {causes:?}");
    }
    // Harmless ones are taken: the same string must work as in psql.
    home.resolve("host=h gssencmode=disable client_encoding=latin1 krbsrvname=postgres sslcompression=0");
}

#[test]
fn nothing_shows_a_password() {
    let home = Home::new();
    let settings = home.resolve("postgresql://ann:s3cret@db1/shop").with_user("bob").with_password("s3cret2");
    for text in [
        format!("{settings:?}"),
        settings.redacted(),
        settings.describe(),
        format!("{:?}", settings.password),
    ] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    let socket = ConnectSettings::for_socket(Path::new("/tmp/sock"), 5432, "shop", "ann", "s3cret");
    assert_eq!(socket.describe(), "database \"shop\" at /tmp/sock");
    assert_eq!(settings.describe(), "database \"shop\" at db1:5432");
    assert_eq!(
        home.resolve("host=a,::1 user=u dbname=d port=1,2").describe(),
        "database \"d\" at a:1, [::1]:2"
    );
}
