//! `rowback` brings lost or damaged rows back from a PostgreSQL backup into the live database, and touches nothing
//! else.
//!
//! ```text
//! backup ─► scratch ─► extract ─► staging ─► diff ◄─ live
//!                                             │
//!          certificate ◄─ verify ◄─ apply ◄─ plan (batches/*.sql, undo/*.sql)
//! ```

pub mod apply;
pub mod backup;
pub mod cancel;
pub mod case;
pub mod catalog;
pub mod clock;
pub mod compare;
pub mod diff;
pub mod env;
pub mod error;
pub mod extract;
pub mod ident;
pub mod pg;
pub mod plan;
pub mod progress;
pub mod recipe;
pub mod report;
pub mod scratch;
pub mod sql;
pub mod staging;
pub mod value;
pub mod verify;

pub use case::Error;
