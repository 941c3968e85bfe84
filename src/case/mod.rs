//! Placeholder: the case layer.
