//! Leaves the password out of a connection string, for files and messages. Never connects.

/// The URL or key=value string without its password; text that is neither comes back as it is.
pub fn without_password(connection: &str) -> String {
    match connection.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", url_without_password(rest)),
        None => pairs_without_password(connection),
    }
}

fn url_without_password(rest: &str) -> String {
    let (before_query, query) =
        rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let authority_end = before_query.find('/').unwrap_or(before_query.len());
    // An unescaped '/' may stand in a password; the last '@' of all ends the user's part then.
    let at = before_query.rfind('@').unwrap_or(0);
    let end = if at > authority_end { before_query.len() } else { authority_end };
    let (authority, path) = before_query.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
        None => authority.to_owned(),
    };
    let secret = |pair: &&str| !matches!(pair.split('=').next(), Some("password" | "sslpassword"));
    let query: Vec<&str> = query.into_iter().flat_map(|query| query.split('&')).filter(secret).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    format!("{authority}{path}{query}")
}

fn pairs_without_password(text: &str) -> String {
    let mut kept = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = pair_end(rest);
        let key = rest[..end].split('=').next().unwrap_or_default().trim();
        if !matches!(key, "password" | "sslpassword") {
            kept.push(rest[..end].trim_end());
        }
        rest = rest[end..].trim_start();
    }
    kept.join(" ")
}

/// Length of the first `key = value`, as libpq reads it: white space around `=`, quotes, backslashes.
fn pair_end(text: &str) -> usize {
    let Some(equals) = text.find('=') else { return text.len() };
    let value = equals + 1 + (text[equals + 1..].len() - text[equals + 1..].trim_start().len());
    let mut quoted = false;
    let mut escaped = false;
    for (at, letter) in text[value..].char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => quoted = !quoted,
            _ if letter.is_whitespace() && !quoted => return value + at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn no_password_is_left() {
        let cases = [
            (
                "postgresql://me:s3cret@db:5432/shop?sslmode=require",
                "postgresql://me@db:5432/shop?sslmode=require",
            ),
            ("postgresql://me:a/b@c@db/shop", "postgresql://me@db/shop"),
            ("postgres://db/shop?password=x&user=y", "postgres://db/shop?user=y"),
            ("postgres://db/shop?password=x", "postgres://db/shop"),
            ("postgres://me@db/shop", "postgres://me@db/shop"),
            ("host=db password='a b\\' c' user=me", "host=db user=me"),
            ("password = x  dbname = shop", "dbname = shop"),
            ("service=shop", "service=shop"),
            ("", ""),
        ];
        for (text, wanted) in cases {
            assert_eq!(without_password(text), wanted, "{text}");
        }
    }
}
