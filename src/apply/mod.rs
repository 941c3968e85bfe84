//! Placeholder: the apply layer.
