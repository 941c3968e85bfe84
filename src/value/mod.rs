//! PostgreSQL values. The currency from dump to batch is canonical COPY text; `copy_text` knows its syntax, the other
//! files how one family of types is parsed to an Arrow value and printed again, byte for byte as PostgreSQL prints it.
//! Pure: no files, no database. Every parser answers `None` for a text it would not print back identically.

pub mod base_type;
pub mod boolean;
pub mod bytea;
pub mod column;
pub mod copy_text;
pub mod date;
pub mod float;
pub mod integer;
pub mod json_path;
pub mod native;
pub mod numeric;
mod shortest;
pub mod text;
pub mod time;
pub mod timestamp;
pub mod uuid;

pub use base_type::BaseType;
pub use column::{ColumnBuilder, Misfit};
pub use json_path::JsonPath;
pub use native::{ColumnValues, PrintError};
