//! SQL text: the registry of `queries/*.sql` and the user's predicate. Nothing here talks to a server.

pub mod condition;
mod guard;
pub(crate) mod lexer;
pub mod literal;
pub mod mention;
pub mod own_rows;
pub mod predicate;
pub mod registry;
