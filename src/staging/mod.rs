//! Placeholder: the staging layer.
