//! Placeholder: the recipe layer.
