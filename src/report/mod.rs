//! Placeholder: the report layer.
