//! From COPY fields to an Arrow array, one column at a time. Which Arrow type a PostgreSQL type gets is decided here.
//! Never decides what to do about a value that does not fit; it only says so.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder, Int16Builder,
    Int32Builder, Int64Builder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, BinaryArray, StringArray};
use arrow_schema::{ArrowError, DataType, TimeUnit};

use super::text::BytesBuilder;
use super::timestamp::Zone;
use super::{BaseType, boolean, bytea, copy_text, date, float, integer, numeric, time, timestamp};

/// Why a field could not be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// The column's native type would not print this value back identically; the column must be text.
    Native,
    /// The field is not spelled as COPY TO spells it.
    Spelling,
}

/// Collects one column's fields into an Arrow array.
#[derive(Debug)]
pub struct ColumnBuilder {
    store: Store,
}

#[derive(Debug)]
enum Store {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Bytea(BytesBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder, Zone),
    Time(Time64MicrosecondBuilder),
    Text(BytesBuilder),
}

impl ColumnBuilder {
    /// A column of the type's native Arrow type, or of its text where it has none.
    pub fn native(base: BaseType) -> Self {
        let store = match base {
            BaseType::Bool => Store::Bool(BooleanBuilder::new()),
            BaseType::Int2 => Store::Int2(Int16Builder::new()),
            BaseType::Int4 => Store::Int4(Int32Builder::new()),
            BaseType::Int8 => Store::Int8(Int64Builder::new()),
            BaseType::Float4 => Store::Float4(Float32Builder::new()),
            BaseType::Float8 => Store::Float8(Float64Builder::new()),
            BaseType::Numeric { precision, scale } => match numeric::fits_decimal(precision, scale) {
                Some((precision, scale)) => {
                    let builder =
                        Decimal128Builder::new().with_data_type(DataType::Decimal128(precision, scale));
                    Store::Decimal(builder, precision, scale)
                }
                None => Store::Text(BytesBuilder::default()),
            },
            BaseType::Bytea => Store::Bytea(BytesBuilder::default()),
            BaseType::Date => Store::Date(Date32Builder::new()),
            BaseType::Timestamp => Store::Timestamp(TimestampMicrosecondBuilder::new(), Zone::Absent),
            BaseType::TimestampTz => {
                Store::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"), Zone::Utc)
            }
            BaseType::Time => Store::Time(Time64MicrosecondBuilder::new()),
            BaseType::UnboundedNumeric
            | BaseType::Text
            | BaseType::Varchar
            | BaseType::Bpchar
            | BaseType::Name
            | BaseType::Uuid
            | BaseType::Json
            | BaseType::Jsonb
            | BaseType::Other => Store::Text(BytesBuilder::default()),
        };
        Self { store }
    }

    /// A column that keeps PostgreSQL's text.
    pub fn text() -> Self {
        Self { store: Store::Text(BytesBuilder::default()) }
    }

    /// The Arrow type of the arrays that this builder makes.
    pub fn data_type(&self) -> DataType {
        match &self.store {
            Store::Bool(_) => DataType::Boolean,
            Store::Int2(_) => DataType::Int16,
            Store::Int4(_) => DataType::Int32,
            Store::Int8(_) => DataType::Int64,
            Store::Float4(_) => DataType::Float32,
            Store::Float8(_) => DataType::Float64,
            Store::Decimal(_, precision, scale) => DataType::Decimal128(*precision, *scale),
            Store::Bytea(_) => DataType::Binary,
            Store::Date(_) => DataType::Date32,
            Store::Timestamp(_, Zone::Absent) => DataType::Timestamp(TimeUnit::Microsecond, None),
            Store::Timestamp(_, Zone::Utc) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Store::Time(_) => DataType::Time64(TimeUnit::Microsecond),
            Store::Text(_) => DataType::Utf8,
        }
    }

    /// Does the column keep the text?
    pub fn is_text(&self) -> bool {
        matches!(self.store, Store::Text(_))
    }

    /// Appends a raw (escaped) field. After an error nothing of the field was appended.
    pub fn push(&mut self, field: &[u8]) -> Result<(), Misfit> {
        if copy_text::is_null(field) {
            self.push_null();
            return Ok(());
        }
        let appended = match &mut self.store {
            Store::Bool(builder) => boolean::parse(field).map(|value| builder.append_value(value)),
            Store::Int2(builder) => narrow(field).map(|value| builder.append_value(value)),
            Store::Int4(builder) => narrow(field).map(|value| builder.append_value(value)),
            Store::Int8(builder) => integer::parse(field).map(|value| builder.append_value(value)),
            Store::Float4(builder) => float::parse4(field).map(|value| builder.append_value(value)),
            Store::Float8(builder) => float::parse8(field).map(|value| builder.append_value(value)),
            Store::Decimal(builder, precision, scale) => {
                numeric::parse(field, *precision, *scale).map(|units| builder.append_value(units))
            }
            Store::Bytea(builder) => builder.push(|bytes| bytea::parse(field, bytes)),
            Store::Date(builder) => date::parse(field).map(|days| builder.append_value(days)),
            Store::Timestamp(builder, zone) => {
                timestamp::parse(field, *zone).map(|microseconds| builder.append_value(microseconds))
            }
            Store::Time(builder) => time::parse(field).map(|microseconds| builder.append_value(microseconds)),
            Store::Text(builder) => {
                let appended = builder.push(|bytes| copy_text::push_unescaped(bytes, field));
                return appended.ok_or(Misfit::Spelling);
            }
        };
        appended.ok_or(Misfit::Native)
    }

    /// Appends NULL.
    fn push_null(&mut self) {
        match &mut self.store {
            Store::Bool(builder) => builder.append_null(),
            Store::Int2(builder) => builder.append_null(),
            Store::Int4(builder) => builder.append_null(),
            Store::Int8(builder) => builder.append_null(),
            Store::Float4(builder) => builder.append_null(),
            Store::Float8(builder) => builder.append_null(),
            Store::Decimal(builder, ..) => builder.append_null(),
            Store::Date(builder) => builder.append_null(),
            Store::Timestamp(builder, _) => builder.append_null(),
            Store::Time(builder) => builder.append_null(),
            Store::Bytea(builder) | Store::Text(builder) => builder.push_null(),
        }
    }

    /// The array of what was appended; the builder starts anew. An error means text that is no UTF-8.
    pub fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match &mut self.store {
            Store::Bool(builder) => Arc::new(builder.finish()),
            Store::Int2(builder) => Arc::new(builder.finish()),
            Store::Int4(builder) => Arc::new(builder.finish()),
            Store::Int8(builder) => Arc::new(builder.finish()),
            Store::Float4(builder) => Arc::new(builder.finish()),
            Store::Float8(builder) => Arc::new(builder.finish()),
            Store::Decimal(builder, ..) => Arc::new(builder.finish()),
            Store::Date(builder) => Arc::new(builder.finish()),
            Store::Timestamp(builder, _) => Arc::new(builder.finish()),
            Store::Time(builder) => Arc::new(builder.finish()),
            Store::Bytea(builder) => {
                let (offsets, bytes, nulls) = builder.take();
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Store::Text(builder) => {
                let (offsets, bytes, nulls) = builder.take();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
        })
    }
}

fn narrow<T: TryFrom<i64>>(field: &[u8]) -> Option<T> {
    integer::parse(field).and_then(|value| T::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;

    #[test]
    fn a_misfit_leaves_the_column_as_it_was() {
        let mut column = ColumnBuilder::native(BaseType::Date);
        assert_eq!(column.push(b"2026-11-19"), Ok(()));
        assert_eq!(column.push(b"infinity"), Err(Misfit::Native));
        assert_eq!(column.push(b"\\N"), Ok(()));
        let array = column.finish().unwrap();
        assert_eq!((array.len(), array.null_count(), array.data_type()), (2, 1, &DataType::Date32));

        let mut column = ColumnBuilder::native(BaseType::Bytea);
        assert_eq!(column.push(b"\\\\x00zz"), Err(Misfit::Native));
        assert_eq!(column.push(b"\\\\x00ff"), Ok(()));
        let array = column.finish().unwrap();
        assert_eq!(array.as_any().downcast_ref::<BinaryArray>().unwrap().value(0), b"\x00\xff");

        let mut column = ColumnBuilder::text();
        assert_eq!(column.push(b"\\101"), Err(Misfit::Spelling));
        assert_eq!(column.push(b"\xff"), Ok(()));
        assert!(column.finish().is_err());
        assert_eq!(column.push(b"a"), Ok(()));
        assert_eq!(column.finish().unwrap().len(), 1);
    }

    #[test]
    fn numeric_that_no_decimal_holds_is_text() {
        for (precision, scale, text) in
            [(38, 38, false), (39, 0, true), (3, -2, true), (2, 5, true), (12, 2, false)]
        {
            let column = ColumnBuilder::native(BaseType::Numeric { precision, scale });
            assert_eq!(column.is_text(), text, "{precision},{scale}");
        }
    }
}
