//! `sslmode` against a server with a certificate of its own authority: each mode checks what libpq's does, no more and
//! no less.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use rowback::env::Env;
use rowback::error::Explain;
use rowback::pg::{ConnectSettings, PgError, ReadSession, SessionOptions};

use super::support::{Server, TempDir};

/// A certificate and its key; signed by `authority`, or by itself.
fn certificate(name: &str, authority: Option<&(X509, PKey<Private>)>) -> (X509, PKey<Private>) {
    let key = PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(u32::try_from(name.len()).unwrap()).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(authority.map_or(&subject, |(issuer, _)| issuer.subject_name())).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    builder.set_pubkey(&key).unwrap();
    match authority {
        None => builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap(),
        Some((issuer, _)) => {
            let names =
                SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(Some(issuer), None));
            builder.append_extension(names.unwrap()).unwrap();
        }
    }
    builder.sign(authority.map_or(&key, |(_, key)| key), MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}

/// A key as a server or client wants it: for its owner only.
fn write_key(files: &TempDir, name: &str, key: &PKey<Private>, owner: Option<(u32, u32)>) -> String {
    let path = files.write(name, key.private_key_to_pem_pkcs8().unwrap());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    if let Some((uid, gid)) = owner {
        chown(&path, Some(uid), Some(gid)).unwrap();
    }
    path.display().to_string()
}

/// The account that test servers run as when the tests run as root.
fn server_owner() -> Option<(u32, u32)> {
    let account =
        rowback::pg::Account::by_name("postgres").or_else(|| rowback::pg::Account::by_name("nobody"));
    rustix::process::geteuid().is_root().then(|| account.map(|account| (account.uid, account.gid)).unwrap())
}

async fn connect(text: &str, home: &Path) -> Result<ReadSession, PgError> {
    let env = Env::from_pairs([("HOME", home.to_str().unwrap())]);
    ReadSession::connect(&ConnectSettings::resolve(Some(text), &env)?, &SessionOptions::named("test")).await
}

/// `true` for TLS, `false` for plain, or the code of the refusal.
async fn outcome(text: &str, home: &Path) -> Result<bool, &'static str> {
    let session = connect(text, home).await.map_err(|error| error.code())?;
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    Ok(session.text_rows("asking", sql).await.unwrap() == [[Some("t".to_owned())]])
}

#[tokio::test]
async fn every_mode_checks_what_libpq_checks() {
    let files = TempDir::new("tls");
    let authority = certificate("rowback test authority", None);
    let stranger = certificate("some other authority", None);
    let (leaf, key) = certificate("localhost", Some(&authority));
    let server_certificate = files.write("server.crt", leaf.to_pem().unwrap());
    let server_key = write_key(&files, "server.key", &key, server_owner());
    let root = files.write("root.crt", authority.0.to_pem().unwrap()).display().to_string();
    let wrong = files.write("wrong.crt", stranger.0.to_pem().unwrap()).display().to_string();
    let server = Server::start(&[
        "ssl=on",
        &format!("ssl_cert_file={}", server_certificate.display()),
        &format!("ssl_key_file={server_key}"),
        &format!("ssl_ca_file={root}"),
    ]);
    server.psql("postgres", "create role ann login password 'pw'");
    let base = format!("hostaddr=127.0.0.1 port={} user=ann password=pw dbname=postgres", server.port());
    let bare_home = files.join("bare");
    let home_with_wrong_root = files.join("home");
    files.write("home/.postgresql/root.crt", stranger.0.to_pem().unwrap());

    for (host, rest, home, expected) in [
        ("localhost", "sslmode=disable", &bare_home, Ok(false)),
        ("localhost", "sslmode=allow", &bare_home, Ok(false)),
        ("localhost", "sslmode=prefer", &bare_home, Ok(true)),
        ("localhost", "sslmode=require", &bare_home, Ok(true)),
        ("other.name", "sslmode=require", &bare_home, Ok(true)),
        ("localhost", &format!("sslmode=verify-ca sslrootcert={root}"), &bare_home, Ok(true)),
        ("other.name", &format!("sslmode=verify-ca sslrootcert={root}"), &bare_home, Ok(true)),
        ("localhost", &format!("sslmode=verify-full sslrootcert={root}"), &bare_home, Ok(true)),
        ("other.name", &format!("sslmode=verify-full sslrootcert={root}"), &bare_home, Err("tls-failed")),
        ("127.0.0.1", &format!("sslmode=verify-full sslrootcert={root}"), &bare_home, Err("tls-failed")),
        ("localhost", &format!("sslmode=verify-ca sslrootcert={wrong}"), &bare_home, Err("tls-failed")),
        ("localhost", &format!("sslmode=verify-full sslrootcert={wrong}"), &bare_home, Err("tls-failed")),
        ("localhost", "sslrootcert=system", &bare_home, Err("tls-failed")),
        // A root certificate in the home directory turns `require` into a check of the chain; `prefer` goes plain.
        ("localhost", "sslmode=require", &home_with_wrong_root, Err("tls-failed")),
        ("localhost", "sslmode=prefer", &home_with_wrong_root, Ok(false)),
        ("localhost", &format!("sslmode=require sslrootcert={root}"), &home_with_wrong_root, Ok(true)),
        ("localhost", "sslmode=require channel_binding=require", &bare_home, Ok(true)),
        ("localhost", "sslmode=disable channel_binding=require", &bare_home, Err("login-rejected")),
        ("localhost", "sslmode=require ssl_max_protocol_version=TLSv1.2", &bare_home, Ok(true)),
    ] {
        let text = format!("{base} host={host} {rest}");
        assert_eq!(outcome(&text, home).await, expected, "{host} {rest}");
    }

    // A client certificate is sent where there is one, and its key must be private.
    let (client, client_key) = certificate("ann", Some(&authority));
    let client = files.write("client.crt", client.to_pem().unwrap());
    let client_key = write_key(&files, "client.key", &client_key, None);
    let text =
        format!("{base} host=localhost sslmode=require sslcert={} sslkey={client_key}", client.display());
    let session = connect(&text, &bare_home).await.unwrap();
    let sql = "select client_dn from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(session.text_rows("asking", sql).await.unwrap(), [[Some("/CN=ann".to_owned())]]);
    std::fs::set_permissions(&client_key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = connect(&text, &bare_home).await.err().unwrap();
    assert_eq!(error.causes(), [format!("sslkey \"{client_key}\" can be read by others")]);

    // The request to stop goes over TLS as well.
    let canceller = session.canceller();
    let (stopped, sent) = tokio::join!(session.text_rows("sleeping", "select pg_sleep(60)"), async {
        let sleeping =
            "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'";
        while server.psql("postgres", sleeping).trim() != "1" {
            tokio::task::yield_now().await;
        }
        canceller.cancel().await
    });
    sent.unwrap();
    assert!(matches!(stopped, Err(PgError::Cancelled { .. })), "{stopped:?}");
}
