//! Placeholder: the diff layer.
