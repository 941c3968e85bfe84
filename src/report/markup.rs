//! Pieces of HTML. The one place that puts text between tags, so that nothing gets there unescaped.

use super::visible;

/// HTML that is safe to put into a page.
#[derive(Debug, Clone, Default)]
pub(super) struct Markup(String);

/// Text from anywhere.
pub(super) fn text(text: &str) -> Markup {
    let mut safe = String::with_capacity(text.len());
    for letter in visible(text).chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    Markup(safe)
}

/// An element; `opening` is its name with attributes, as they stand in this program.
pub(super) fn element(opening: &'static str, inner: &Markup) -> Markup {
    let name = opening.split(' ').next().unwrap_or(opening);
    Markup(format!("<{opening}>{}</{name}>", inner.0))
}

/// Text in monospace.
pub(super) fn monospace(inner: &str) -> Markup {
    element("code", &text(inner))
}

/// HTML as it stands in this program.
pub(super) fn fixed(html: &'static str) -> Markup {
    Markup(html.to_owned())
}

impl Markup {
    /// Adds a piece.
    pub(super) fn push(&mut self, more: &Markup) {
        self.0.push_str(&more.0);
    }

    /// Adds a block element on a line of its own.
    pub(super) fn block(&mut self, opening: &'static str, inner: &Markup) {
        self.push(&element(opening, inner));
        self.0.push('\n');
    }

    /// Nothing in it?
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The page.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Several pieces one after the other.
pub(super) fn all(pieces: impl IntoIterator<Item = Markup>) -> Markup {
    let mut whole = Markup::default();
    pieces.into_iter().for_each(|piece| whole.push(&piece));
    whole
}

/// Pieces with something between them.
pub(super) fn joined(pieces: impl IntoIterator<Item = Markup>, between: &'static str) -> Markup {
    let mut whole = Markup::default();
    for piece in pieces {
        if !whole.is_empty() {
            whole.0.push_str(between);
        }
        whole.push(&piece);
    }
    whole
}

/// A cell's class: numbers stand on the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// Words.
    Words,
    /// A number.
    Number,
}

impl Cell {
    fn head(self) -> &'static str {
        match self {
            Self::Words => "th",
            Self::Number => "th class=\"n\"",
        }
    }

    fn body(self) -> &'static str {
        match self {
            Self::Words => "td",
            Self::Number => "td class=\"n\"",
        }
    }
}

/// A table with a header.
pub(super) fn table(header: &[(String, Cell)], rows: Vec<Vec<Markup>>) -> Markup {
    let head = all(header.iter().map(|(name, kind)| element(kind.head(), &text(name))));
    let mut body = Markup::default();
    for row in rows {
        body.block("tr", &all(header.iter().zip(&row).map(|((_, kind), inner)| element(kind.body(), inner))));
    }
    let mut inner = Markup::default();
    inner.block("thead", &element("tr", &head));
    inner.push(&element("tbody", &body));
    element("div class=\"wide\"", &element("table", &inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_a_tag() {
        assert_eq!(
            text("<b a=\"1\" c='2'>&\u{1b}\n").into_string(),
            "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\\u{1b}\\n"
        );
        let header = [("<i>".to_owned(), Cell::Words), ("n".to_owned(), Cell::Number)];
        assert_eq!(
            table(&header, vec![vec![text("<"), text("1")]]).into_string(),
            "<div class=\"wide\"><table><thead><tr><th>&lt;i&gt;</th><th class=\"n\">n</th></tr></thead>\n\
             <tbody><tr><td>&lt;</td><td class=\"n\">1</td></tr>\n</tbody></table></div>"
        );
    }
}
