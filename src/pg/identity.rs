//! Which server and database a session is on, and whether two sessions are on the same one.

use serde::{Deserialize, Serialize};

use super::error::PgError;
use super::session::column;
use super::wire::Wire;
use crate::sql::registry::{SERVER_IDENTITY, SERVER_SYSTEM_IDENTIFIER};

/// What tells one database from another, and what the session may do there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerIdentity {
    /// The number that `initdb` gave the cluster; its physical copies share it. `None` where the role may not ask.
    pub system_identifier: Option<String>,
    /// Name of the database.
    pub dbname: String,
    /// Its oid.
    pub database_oid: u32,
    /// Version as a number, 150018 for 15.18.
    pub server_version_num: i32,
    /// The role.
    pub user: String,
    /// Is the role a superuser?
    pub is_superuser: bool,
    /// Is the server a standby?
    pub in_recovery: bool,
    /// Do transactions start read-only, unless the session says otherwise?
    #[serde(skip)]
    pub is_read_only: bool,
}

impl ServerIdentity {
    /// The major version, 15 for 15.18.
    pub fn major(&self) -> i32 {
        self.server_version_num / 10_000
    }

    /// Is this the same database? Where one side may not ask for the system identifier, database oid, name and
    /// server version decide, so that a doubt counts as "the same".
    pub fn is_same_database(&self, other: &Self) -> bool {
        let same_cluster = match (&self.system_identifier, &other.system_identifier) {
            (Some(one), Some(two)) => one == two,
            _ => self.server_version_num == other.server_version_num,
        };
        same_cluster && self.database_oid == other.database_oid && self.dbname == other.dbname
    }
}

/// Asks the server; outside a transaction, because a forbidden question would spoil it.
pub(super) async fn ask(wire: &Wire) -> Result<ServerIdentity, PgError> {
    const WHAT: &str = "asking the server who it is";
    let fail = |error: &tokio_postgres::Error| wire.error(WHAT, error);
    let statement = wire.prepared(SERVER_IDENTITY.text).await.map_err(|error| fail(&error))?;
    let row = wire.client().query_one(&statement, &[]).await.map_err(|error| fail(&error))?;
    let mut identity = ServerIdentity {
        system_identifier: None,
        dbname: column(&row, "dbname", WHAT)?,
        database_oid: column(&row, "database_oid", WHAT)?,
        server_version_num: column(&row, "server_version_num", WHAT)?,
        user: column(&row, "user_name", WHAT)?,
        is_superuser: column(&row, "is_superuser", WHAT)?,
        in_recovery: column(&row, "in_recovery", WHAT)?,
        is_read_only: column(&row, "is_read_only", WHAT)?,
    };
    if column(&row, "may_ask_identifier", WHAT)? {
        // Some hosted servers offer the function and refuse it when called: then the number stays unknown.
        let statement = wire.prepared(SERVER_SYSTEM_IDENTIFIER.text).await;
        let answer = match statement {
            Ok(statement) => wire.client().query_opt(&statement, &[]).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(Some(row)) => identity.system_identifier = Some(column(&row, "system_identifier", WHAT)?),
            Ok(None) => {}
            Err(error) if error.as_db_error().is_some() => {}
            Err(error) => return Err(fail(&error)),
        }
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_database_is_recognised_and_a_doubt_counts() {
        let shop = ServerIdentity {
            system_identifier: Some("7384120045".into()),
            dbname: "shop".into(),
            database_oid: 16384,
            server_version_num: 150_018,
            user: "ann".into(),
            is_superuser: false,
            in_recovery: false,
            is_read_only: false,
        };
        let other_user = ServerIdentity { user: "bob".into(), is_superuser: true, ..shop.clone() };
        assert!(shop.is_same_database(&other_user));
        let unknown = ServerIdentity { system_identifier: None, ..shop.clone() };
        assert!(shop.is_same_database(&unknown) && unknown.is_same_database(&shop));
        for other in [
            ServerIdentity { system_identifier: Some("1".into()), ..shop.clone() },
            ServerIdentity { dbname: "shop2".into(), ..shop.clone() },
            ServerIdentity { database_oid: 1, ..shop.clone() },
            ServerIdentity { server_version_num: 160_000, ..unknown.clone() },
        ] {
            assert!(!shop.is_same_database(&other), "{other:?}");
        }
    }
}
