//! SQL text: the registry of `queries/*.sql` and the user's predicate. Nothing here talks to a server.

pub mod literal;
