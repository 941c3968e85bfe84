//! Placeholder: the plan layer.
