//! Reads what a user typed as a connection: a URL, a key=value string or a bare database name, into keyword–value
//! pairs. Follows libpq's grammar; never repeats the text in an error, because it may hold a password.

use super::error::PgError;

/// Keyword and value, in the order they were written; a later one wins.
pub(super) type Pairs = Vec<(String, String)>;

/// Reads any of the three forms.
pub(super) fn parse(text: &str) -> Result<Pairs, PgError> {
    let text = text.trim();
    for scheme in ["postgresql://", "postgres://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return parse_url(rest);
        }
    }
    if let Some((scheme, _)) = text.split_once("://")
        && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    {
        return Err(PgError::settings_with(
            format!("\"{scheme}://\" is no PostgreSQL URL"),
            "A URL begins with `postgresql://` or `postgres://`.",
        ));
    }
    if text.contains('=') {
        return parse_pairs(text);
    }
    let pairs = if text.is_empty() { vec![] } else { vec![("dbname".to_owned(), text.to_owned())] };
    Ok(pairs)
}

/// `host=db1 password='it\'s'`: values bare or in single quotes, backslash escapes in both.
fn parse_pairs(text: &str) -> Result<Pairs, PgError> {
    let mut pairs = Pairs::new();
    let mut letters = text.chars().peekable();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        if letters.peek().is_none() {
            return Ok(pairs);
        }
        let mut keyword = String::new();
        while let Some(letter) = letters.next_if(|letter| *letter != '=' && !letter.is_whitespace()) {
            keyword.push(letter);
        }
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        if letters.next() != Some('=') {
            // What looks like a keyword may be the rest of an unquoted password: so it is not repeated.
            let position = pairs.len() + 1;
            return Err(PgError::settings_with(
                format!("a \"=\" is missing after setting number {position} of the connection string"),
                "Values with spaces stand in single quotes: `password='two words'`.",
            ));
        }
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let value = read_value(&mut letters, &keyword)?;
        pairs.push((keyword, value));
    }
}

fn read_value(
    letters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    keyword: &str,
) -> Result<String, PgError> {
    let quoted = letters.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match letters.next() {
            None if quoted => {
                return Err(PgError::settings(format!(
                    "the quote is not closed in the value of `{keyword}`"
                )));
            }
            None => return Ok(value),
            Some('\'') if quoted => return Ok(value),
            Some(letter) if !quoted && letter.is_whitespace() => return Ok(value),
            Some('\\') => value.extend(letters.next()),
            Some(letter) => value.push(letter),
        }
    }
}

/// What follows `postgresql://`: `[user[:password]@][host[:port],…][/dbname][?key=value&…]`.
fn parse_url(rest: &str) -> Result<Pairs, PgError> {
    let mut pairs = Pairs::new();
    let (main, query) = rest.split_once('?').map_or((rest, None), |(main, query)| (main, Some(query)));
    let (authority, dbname) = main.split_once('/').map_or((main, ""), |(authority, name)| (authority, name));
    if dbname.contains('@') {
        return Err(unescaped("there is a `@` behind its first `/`"));
    }
    let hosts = match authority.rsplit_once('@') {
        None => authority,
        Some((login, hosts)) => {
            let (user, password) =
                login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
            push_decoded(&mut pairs, "user", user)?;
            push_decoded(&mut pairs, "password", password.unwrap_or_default())?;
            hosts
        }
    };
    push_hosts(&mut pairs, hosts)?;
    push_decoded(&mut pairs, "dbname", dbname)?;
    for parameter in query.into_iter().flat_map(|text| text.split('&')).filter(|text| !text.is_empty()) {
        let Some((key, value)) = parameter.split_once('=') else {
            return Err(PgError::settings("a parameter of the URL has no \"=\""));
        };
        let (key, value) = (decode(key)?, decode(value)?);
        // libpq takes JDBC's spelling, too.
        let pair =
            if key == "ssl" && value == "true" { ("sslmode".into(), "require".into()) } else { (key, value) };
        pairs.push(pair);
    }
    Ok(pairs)
}

/// A password with a `/` or `?` in it ends the part of the URL in which it stands: what follows would be taken for a host, a port
/// or a database, and be printed as such.
fn unescaped(what: &str) -> PgError {
    PgError::settings_with(
        format!("the URL cannot be read: {what}"),
        "Special characters are written as `%` and two digits in a URL: `/` as `%2F`, `@` as `%40`, `?` as `%3F`, `:` as `%3A`.",
    )
}

fn push_decoded(pairs: &mut Pairs, keyword: &str, encoded: &str) -> Result<(), PgError> {
    if !encoded.is_empty() {
        pairs.push((keyword.to_owned(), decode(encoded)?));
    }
    Ok(())
}

fn push_hosts(pairs: &mut Pairs, text: &str) -> Result<(), PgError> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for part in text.split(',') {
        let (host, port) = if let Some(inner) = part.strip_prefix('[') {
            let (address, after) = inner
                .split_once(']')
                .ok_or_else(|| PgError::settings("the URL has a \"[\" without its \"]\""))?;
            match after.strip_prefix(':') {
                Some(port) => (address, port),
                None if after.is_empty() => (address, ""),
                None => return Err(PgError::settings("only a port may follow the \"]\" of a URL")),
            }
        } else {
            part.split_once(':').unwrap_or((part, ""))
        };
        let port = decode(port)?;
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(unescaped("what stands in the place of its port is no number"));
        }
        hosts.push(decode(host)?);
        ports.push(port);
    }
    if hosts.iter().any(|host| !host.is_empty()) {
        pairs.push(("host".to_owned(), hosts.join(",")));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.push(("port".to_owned(), ports.join(",")));
    }
    Ok(())
}

/// Undoes percent encoding; `+` stays `+`, as in libpq.
fn decode(text: &str) -> Result<String, PgError> {
    let wrong = || {
        PgError::settings_with(
            "the URL has a \"%\" that is not followed by two hexadecimal digits, or bytes that are no UTF-8",
            "Write special characters of a password as `%` and two digits, a `%` itself as `%25`.",
        )
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
            let decoded = u8::try_from(high * 16 + low).ok().filter(|byte| *byte != 0);
            bytes.push(decoded.ok_or_else(wrong)?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn key_value_strings() {
        assert_eq!(read(""), pairs(&[]));
        assert_eq!(read("shop"), pairs(&[("dbname", "shop")]));
        assert_eq!(
            read(r" host = db1 password='it\'s \\ a b' user=a\ b options='' port=1 "),
            pairs(&[
                ("host", "db1"),
                ("password", r"it's \ a b"),
                ("user", "a b"),
                ("options", ""),
                ("port", "1")
            ])
        );
    }

    #[test]
    fn urls() {
        assert_eq!(read("postgresql://"), pairs(&[]));
        assert_eq!(
            read("postgres://ann:p%40ss%3A@db1:5433/sh%20op?sslmode=require&connect_timeout=3"),
            pairs(&[
                ("user", "ann"),
                ("password", "p@ss:"),
                ("host", "db1"),
                ("port", "5433"),
                ("dbname", "sh op"),
                ("sslmode", "require"),
                ("connect_timeout", "3"),
            ])
        );
        assert_eq!(
            read("postgresql://a,[::1]:5433,%2Ftmp%2Fsock/db?ssl=true"),
            pairs(&[
                ("host", "a,::1,/tmp/sock"),
                ("port", ",5433,"),
                ("dbname", "db"),
                ("sslmode", "require")
            ])
        );
        assert_eq!(read("postgresql:///db?host=/tmp"), pairs(&[("dbname", "db"), ("host", "/tmp")]));
        assert_eq!(
            read("postgresql://u:a@b@h/d"),
            pairs(&[("user", "u"), ("password", "a@b"), ("host", "h"), ("dbname", "d")])
        );
    }

    #[test]
    fn errors_never_repeat_the_text() {
        for wrong in [
            "host=h password=sec ret",
            "password='secret",
            "mysql://u:secret@h/d",
            "postgres://u:secret%zz@h/d",
            "postgres://u:secret@[::1/d",
            "postgres://u:secret@[::1]x/d",
            "postgres://u:secret@h/d?x",
            "postgres://u:secret%00@h/d",
            "postgres://u:se/cret@h/d",
            "postgres://u:12/secret@h/d",
            "postgres://u:1@2/secret@h/d",
            "postgres://u:sec?x=1@h/d",
            "postgres://u:sec?ret@h/d",
        ] {
            let error = parse(wrong).unwrap_err();
            let text = format!("{error} {:?} {} {error:?}", error.causes(), error.hint());
            assert!(!text.contains("sec") && !text.contains("ret "), "{text}");
        }
    }
}
