//! Placeholder: the catalog layer.
