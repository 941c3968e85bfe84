//! Placeholder: the pg layer.
