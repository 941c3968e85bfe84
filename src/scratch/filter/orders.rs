//! How the values of a table's columns are ordered, where their type alone does not say it: texts by their bytes, enums by
//! the order of their labels. A column that is not named here has no order that a filter knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ident::Ident;
use crate::value::copy_text::push_escaped;

/// Labels of an enum as they stand in a dump, with their place in the enum's order.
pub(super) type Labels = BTreeMap<Vec<u8>, usize>;

/// By column.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    columns: BTreeMap<Ident, Order>,
}

#[derive(Debug, Clone)]
enum Order {
    Bytes,
    Labels(Arc<Labels>),
}

impl Orders {
    /// The column's texts are ordered byte by byte, as the collations C and POSIX do.
    pub fn by_bytes(&mut self, column: Ident) {
        self.columns.insert(column, Order::Bytes);
    }

    /// The column's enum has these labels, in this order.
    pub fn by_labels<'a>(&mut self, column: Ident, labels: impl IntoIterator<Item = &'a str>) {
        let escaped = |label: &str| {
            let mut field = Vec::with_capacity(label.len());
            push_escaped(&mut field, label.as_bytes());
            field
        };
        let labels = labels.into_iter().enumerate().map(|(place, label)| (escaped(label), place)).collect();
        self.columns.insert(column, Order::Labels(Arc::new(labels)));
    }

    pub(super) fn is_by_bytes(&self, column: &Ident) -> bool {
        matches!(self.columns.get(column), Some(Order::Bytes))
    }

    pub(super) fn labels(&self, column: &Ident) -> Option<&Arc<Labels>> {
        match self.columns.get(column) {
            Some(Order::Labels(labels)) => Some(labels),
            _ => None,
        }
    }
}
