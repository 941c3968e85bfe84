//! The name that was probably meant. Used for hints only, never to decide.

use strsim::{damerau_levenshtein, jaro_winkler};

/// The candidate nearest to `name`, `None` when nothing is near enough to be worth a hint. Case does not count; a
/// candidate `schema.table` is also compared by its last part. Equal distances are decided by alphabet.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| distance(&wanted, &candidate.to_lowercase()).map(|d| (d, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between the two, in the order of usefulness; `None` when they are strangers.
fn distance(wanted: &str, candidate: &str) -> Option<usize> {
    let whole = near(wanted, candidate);
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    let by_last = near(&last(wanted), &last(candidate)).map(|edits| edits + 1);
    let parts_differ = wanted.contains('.') || candidate.contains('.');
    if parts_differ { [whole, by_last].into_iter().flatten().min() } else { whole }
}

fn near(wanted: &str, candidate: &str) -> Option<usize> {
    let edits = damerau_levenshtein(wanted, candidate);
    let longer = wanted.chars().count().max(candidate.chars().count());
    let close = edits <= (longer / 3).max(1) && edits < longer;
    let prefix = jaro_winkler(wanted, candidate) >= 0.9;
    (close || prefix || edits == 0).then_some(edits)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let tables = ["public.orders", "public.order_items", "shop.customers", "x"];
        assert_eq!(nearest("public.order", tables), Some("public.orders"));
        assert_eq!(nearest("customers", tables), Some("shop.customers"));
        assert_eq!(nearest("public.customer", tables), Some("shop.customers"));
        assert_eq!(nearest("order_itmes", tables), Some("public.order_items"));
        assert_eq!(nearest("invoices", tables), None);
        assert_eq!(nearest("wehre", ["where", "where_file", "query"]), Some("where"));
        assert_eq!(nearest("Kind", ["key", "kind"]), Some("kind"));
        assert_eq!(nearest("y", ["x"]), None);
    }
}
