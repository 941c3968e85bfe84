//! PostgreSQL values. The currency from dump to batch is canonical COPY text; `copy_text` knows its syntax.

pub mod copy_text;
