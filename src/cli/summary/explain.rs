//! How the backup was read: every pass over a table, which rows it let through, and why.

use rowback::scratch::Pass;

use super::super::args::LoadingArgs;
use super::super::output::{Output, write_stderr};
use super::super::table::grouped;

/// Prints the passes on stderr where somebody asked for them and they are not part of a JSON result; takes them away
/// where nobody did.
pub fn explain(passes: &mut Vec<Pass>, how: &LoadingArgs, output: &Output) {
    if !how.explain {
        passes.clear();
    } else if !output.is_json() {
        write_stderr(&text(passes));
    }
}

fn text(passes: &[Pass]) -> String {
    let mut text = String::new();
    for pass in passes {
        let (kept, read) = (grouped(pass.rows_kept), grouped(pass.rows_read));
        text.push_str(&format!("read {}: {kept} of {read} rows, {}\n", pass.table, pass.filter));
        text.push_str(&format!("     {}\n", pass.why));
    }
    text
}

#[cfg(test)]
mod tests {
    use rowback::ident::TableName;

    use super::*;

    #[test]
    fn a_pass_is_told_in_two_lines() {
        let pass = Pass {
            table: TableName::new("public", "orders"),
            filter: "customer_id = 7".to_owned(),
            why: "predicate".to_owned(),
            rows_read: 2_000_000,
            rows_kept: 12,
        };
        let wanted = "read public.orders: 12 of 2,000,000 rows, customer_id = 7\n     predicate\n";
        assert_eq!(text(&[pass]), wanted);
    }
}
