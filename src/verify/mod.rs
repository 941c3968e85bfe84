//! Placeholder: the verify layer.
