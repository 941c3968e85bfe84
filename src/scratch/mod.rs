//! Placeholder: the scratch layer.
