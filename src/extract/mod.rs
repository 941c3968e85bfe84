//! Placeholder: the extract layer.
