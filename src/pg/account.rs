//! Accounts of the operating system, as far as a connection's defaults and an unprivileged server need them.
//! Reads `/etc/passwd`, and asks `getent` for accounts that live elsewhere (LDAP, sssd).

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// One account of the operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home directory.
    pub home: PathBuf,
}

impl Account {
    /// The account this process runs as; `None` where the user id has no entry (common in containers).
    pub fn current() -> Option<Self> {
        Self::by_uid(rustix::process::geteuid().as_raw())
    }

    /// The account with this user id.
    pub fn by_uid(uid: u32) -> Option<Self> {
        look_up(&uid.to_string(), |account| account.uid == uid)
    }

    /// The account with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        look_up(name, |account| account.name == name)
    }
}

fn look_up(key: &str, wanted: impl Fn(&Account) -> bool) -> Option<Account> {
    let local = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if let Some(account) = local.lines().filter_map(parse_line).find(|account| wanted(account)) {
        return Some(account);
    }
    let asked =
        Command::new("getent").args(["passwd", key]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let lines = String::from_utf8(asked.ok()?.stdout).ok()?;
    lines.lines().filter_map(parse_line).find(|account| wanted(account))
}

fn parse_line(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = PathBuf::from(fields.nth(1)?);
    Some(Account { name, uid, gid, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_of_passwd() {
        let account =
            parse_line("postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash");
        let expected =
            Account { name: "postgres".into(), uid: 101, gid: 104, home: "/var/lib/postgresql".into() };
        assert_eq!(account, Some(expected));
        assert_eq!(parse_line("broken:x:abc"), None);
    }
}
