//! `text`, `varchar`, `char`, `name`, `json`, `jsonb`, and every type that is only passed on: the value's own text.
//! In Parquet a string is UTF-8, so a text that is not (a database in SQL_ASCII) cannot be staged.

use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};

/// Offsets, bytes and NULLs of a variable-width column, appended without an allocation per value.
#[derive(Debug)]
pub struct BytesBuilder {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
}

/// The three buffers of an Arrow string or binary array.
pub type BytesParts = (OffsetBuffer<i32>, Buffer, Option<arrow_buffer::NullBuffer>);

impl Default for BytesBuilder {
    fn default() -> Self {
        Self { offsets: vec![0], bytes: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }
}

impl BytesBuilder {
    /// Appends the value that `write` adds to the bytes; `None` (and nothing appended) when it answers `false` or the
    /// column passes 2 GiB.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<()> {
        let before = self.bytes.len();
        let end = if write(&mut self.bytes) { i32::try_from(self.bytes.len()).ok() } else { None };
        let Some(end) = end else {
            self.bytes.truncate(before);
            return None;
        };
        self.offsets.push(end);
        self.nulls.append_non_null();
        Some(())
    }

    /// Appends NULL.
    pub fn push_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or_default());
        self.nulls.append_null();
    }

    /// Takes what was appended and starts anew.
    pub fn take(&mut self) -> BytesParts {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let bytes = std::mem::take(&mut self.bytes);
        // Offsets only ever grow from 0, which is what this constructor checks.
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes), self.nulls.finish())
    }
}
