//! From an Arrow array back to COPY fields: our own arrays print what was parsed; arrays that other programs wrote
//! are taken where their values mean the same without any rounding, and refused otherwise.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Int8Type, Time32MillisecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, StringArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};

use super::timestamp::Zone;
use super::{BaseType, boolean, bytea, copy_text, date, float, integer, numeric, time, timestamp, uuid};

/// Why a value of a file cannot be a value of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrintError {
    /// The number has more digits than the column's type.
    #[error("the number does not fit the column's type")]
    OutOfRange,
    /// A date, time or timestamp outside of what staging keeps natively.
    #[error("the date or time is outside of the years 0001 to 9999")]
    OutOfTime,
    /// A time with digits below the microsecond.
    #[error("the time is finer than a microsecond")]
    TooFine,
    /// PostgreSQL has no text with a zero byte.
    #[error("the text contains a zero byte")]
    ZeroByte,
}

/// One column of a batch, ready to be printed row by row.
#[derive(Debug, Clone)]
pub struct ColumnValues {
    values: Values,
    nulls: Option<NullBuffer>,
}

#[derive(Debug, Clone)]
enum Values {
    Null,
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array, Limits),
    Float4(Float32Array),
    Float8(Float64Array),
    Decimal(Decimal128Array, i8, Option<(u8, i8)>),
    Bytea(BinaryArray),
    Text(StringArray),
    Date(Date32Array),
    Timestamp(Int64Array, Ticks, Zone),
    Time(Int64Array, Ticks),
    Uuid(FixedSizeBinaryArray),
}

/// The smallest and largest number that a column takes.
type Limits = (i64, i64);

/// How a count of ticks becomes microseconds.
#[derive(Debug, Clone, Copy)]
enum Ticks {
    Times(i64),
    DividedBy(i64),
}

impl Ticks {
    fn of(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::Second => Self::Times(1_000_000),
            TimeUnit::Millisecond => Self::Times(1_000),
            TimeUnit::Microsecond => Self::Times(1),
            TimeUnit::Nanosecond => Self::DividedBy(1_000),
        }
    }

    fn microseconds(self, ticks: i64) -> Result<i64, PrintError> {
        match self {
            Self::Times(factor) => ticks.checked_mul(factor).ok_or(PrintError::OutOfTime),
            Self::DividedBy(divisor) if ticks % divisor == 0 => Ok(ticks / divisor),
            Self::DividedBy(_) => Err(PrintError::TooFine),
        }
    }
}

impl ColumnValues {
    /// The array as values of a column of type `base`; `None` when arrays of this type are not taken for it.
    /// Text is taken for every type, as PostgreSQL's own text.
    pub fn new(base: BaseType, array: &ArrayRef) -> Option<Self> {
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Utf8 => Values::Text(array.as_string::<i32>().clone()),
            _ => typed_values(base, array)?,
        };
        Some(Self { values, nulls: array.logical_nulls() })
    }

    /// Appends the raw field of row `row` of the batch. After an error the output ends somewhere in the field.
    pub fn print(&self, row: usize, out: &mut Vec<u8>) -> Result<(), PrintError> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(copy_text::NULL);
            return Ok(());
        }
        match &self.values {
            Values::Null => out.extend_from_slice(copy_text::NULL),
            Values::Bool(array) => boolean::print(array.value(row), out),
            Values::Int2(array) => integer::print(i64::from(array.value(row)), out),
            Values::Int4(array) => integer::print(i64::from(array.value(row)), out),
            Values::Int8(array, limits) => integer::print(within(array.value(row), *limits)?, out),
            Values::Float4(array) => float::print4(array.value(row), out),
            Values::Float8(array) => float::print8(array.value(row), out),
            Values::Decimal(array, scale, column) => print_decimal(array.value(row), *scale, *column, out)?,
            Values::Bytea(array) => bytea::print(array.value(row), out),
            Values::Text(array) => print_text(array.value(row).as_bytes(), out)?,
            Values::Date(array) => date::print(array.value(row), out).ok_or(PrintError::OutOfTime)?,
            Values::Timestamp(array, ticks, zone) => {
                let microseconds = ticks.microseconds(array.value(row))?;
                timestamp::print(microseconds, *zone, out).ok_or(PrintError::OutOfTime)?;
            }
            Values::Time(array, ticks) => {
                let microseconds = ticks.microseconds(array.value(row))?;
                time::print(microseconds, out).ok_or(PrintError::OutOfTime)?;
            }
            Values::Uuid(array) => uuid::print(array.value(row), out).ok_or(PrintError::OutOfRange)?,
        }
        Ok(())
    }
}

/// The Arrow types that are taken for a column of type `base`, for messages.
pub fn accepted_types(base: BaseType) -> &'static str {
    match base {
        BaseType::Bool => "boolean or text",
        BaseType::Int2 | BaseType::Int4 | BaseType::Int8 => "an integer of up to 64 bits or text",
        BaseType::Float4 => "a 32-bit float or text",
        BaseType::Float8 => "a 64-bit float or text",
        BaseType::Numeric { .. } | BaseType::UnboundedNumeric => {
            "a decimal, an integer or text (no float: it would round)"
        }
        BaseType::Bytea => "binary or text",
        BaseType::Date => "date or text",
        BaseType::Timestamp => "a timestamp without time zone or text",
        BaseType::TimestampTz => "a timestamp in UTC or text",
        BaseType::Time => "a time of day or text",
        BaseType::Uuid => "a UUID of 16 bytes or text",
        BaseType::Text
        | BaseType::Varchar
        | BaseType::Bpchar
        | BaseType::Name
        | BaseType::Json
        | BaseType::Jsonb
        | BaseType::Other => "text",
    }
}

fn typed_values(base: BaseType, array: &ArrayRef) -> Option<Values> {
    Some(match (base, array.data_type()) {
        (BaseType::Bool, DataType::Boolean) => Values::Bool(array.as_boolean().clone()),
        (BaseType::Int2, DataType::Int16) => Values::Int2(array.as_primitive().clone()),
        (BaseType::Int4, DataType::Int32) => Values::Int4(array.as_primitive().clone()),
        (BaseType::Int2, _) => Values::Int8(integers(array)?, (i64::from(i16::MIN), i64::from(i16::MAX))),
        (BaseType::Int4, _) => Values::Int8(integers(array)?, (i64::from(i32::MIN), i64::from(i32::MAX))),
        (BaseType::Int8, _) => Values::Int8(integers(array)?, (i64::MIN, i64::MAX)),
        (BaseType::Float4, DataType::Float32) => Values::Float4(array.as_primitive().clone()),
        (BaseType::Float8, DataType::Float64) => Values::Float8(array.as_primitive().clone()),
        (BaseType::Numeric { precision, scale }, _) => {
            let (decimal, from) = decimals(array)?;
            Values::Decimal(decimal, from, Some(numeric::fits_decimal(precision, scale)?))
        }
        (BaseType::UnboundedNumeric, _) => {
            let (decimal, from) = decimals(array).filter(|(_, scale)| *scale >= 0)?;
            Values::Decimal(decimal, from, None)
        }
        (BaseType::Bytea, DataType::Binary) => Values::Bytea(array.as_binary::<i32>().clone()),
        (BaseType::Date, DataType::Date32) => Values::Date(array.as_primitive().clone()),
        (BaseType::Timestamp, DataType::Timestamp(unit, None)) => {
            Values::Timestamp(instants(*unit, array), Ticks::of(*unit), Zone::Absent)
        }
        (BaseType::TimestampTz, DataType::Timestamp(unit, Some(_))) => {
            Values::Timestamp(instants(*unit, array), Ticks::of(*unit), Zone::Utc)
        }
        (BaseType::Time, DataType::Time64(TimeUnit::Nanosecond)) => {
            Values::Time(widen::<Time64NanosecondType>(array), Ticks::of(TimeUnit::Nanosecond))
        }
        (BaseType::Time, DataType::Time64(unit)) => {
            Values::Time(widen::<Time64MicrosecondType>(array), Ticks::of(*unit))
        }
        (BaseType::Time, DataType::Time32(TimeUnit::Millisecond)) => {
            Values::Time(widen::<Time32MillisecondType>(array), Ticks::of(TimeUnit::Millisecond))
        }
        (BaseType::Uuid, DataType::FixedSizeBinary(16)) => Values::Uuid(array.as_fixed_size_binary().clone()),
        _ => return None,
    })
}

fn instants(unit: TimeUnit, array: &ArrayRef) -> Int64Array {
    match unit {
        TimeUnit::Second => widen::<TimestampSecondType>(array),
        TimeUnit::Millisecond => widen::<TimestampMillisecondType>(array),
        TimeUnit::Microsecond => widen::<TimestampMicrosecondType>(array),
        TimeUnit::Nanosecond => widen::<TimestampNanosecondType>(array),
    }
}

fn integers(array: &ArrayRef) -> Option<Int64Array> {
    Some(match array.data_type() {
        DataType::Int8 => widen::<Int8Type>(array),
        DataType::Int16 => widen::<arrow_array::types::Int16Type>(array),
        DataType::Int32 => widen::<arrow_array::types::Int32Type>(array),
        DataType::Int64 => array.as_primitive().clone(),
        DataType::UInt8 => widen::<UInt8Type>(array),
        DataType::UInt16 => widen::<UInt16Type>(array),
        DataType::UInt32 => widen::<UInt32Type>(array),
        _ => return None,
    })
}

fn decimals(array: &ArrayRef) -> Option<(Decimal128Array, i8)> {
    if let DataType::Decimal128(_, scale) = array.data_type() {
        return Some((array.as_primitive().clone(), *scale));
    }
    let whole = integers(array)?;
    Some((whole.unary(i128::from), 0))
}

fn widen<T: ArrowPrimitiveType>(array: &ArrayRef) -> Int64Array
where
    i64: From<T::Native>,
{
    array.as_primitive::<T>().unary(i64::from)
}

fn within(value: i64, (smallest, largest): Limits) -> Result<i64, PrintError> {
    if (smallest..=largest).contains(&value) { Ok(value) } else { Err(PrintError::OutOfRange) }
}

fn print_decimal(
    units: i128,
    scale: i8,
    column: Option<(u8, i8)>,
    out: &mut Vec<u8>,
) -> Result<(), PrintError> {
    let (units, scale) = match column {
        Some((precision, to)) => {
            let units = numeric::rescale(units, scale, to).filter(|units| numeric::within(*units, precision));
            (units.ok_or(PrintError::OutOfRange)?, to)
        }
        None => (units, scale),
    };
    numeric::print(units, scale.unsigned_abs(), out);
    Ok(())
}

fn print_text(value: &[u8], out: &mut Vec<u8>) -> Result<(), PrintError> {
    if memchr::memchr(0, value).is_some() {
        return Err(PrintError::ZeroByte);
    }
    copy_text::push_escaped(out, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int8Array, TimestampNanosecondArray, UInt32Array};

    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "arrays are written where they are used")]
    fn printed(base: BaseType, array: ArrayRef) -> Option<Vec<Result<String, PrintError>>> {
        let values = ColumnValues::new(base, &array)?;
        let print = |row| {
            let mut out = Vec::new();
            values.print(row, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        Some((0..array.len()).map(print).collect())
    }

    #[test]
    fn foreign_numbers_are_taken_only_where_they_are_exact() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(40_000)]));
        let text = |s: &str| Ok(s.to_owned());
        let out = Err(PrintError::OutOfRange);
        assert_eq!(printed(BaseType::Int2, ints.clone()), Some(vec![text("7"), text("\\N"), out.clone()]));
        let money = BaseType::Numeric { precision: 6, scale: 2 };
        assert_eq!(printed(money, ints.clone()), Some(vec![text("7.00"), text("\\N"), out.clone()]));
        assert_eq!(printed(BaseType::UnboundedNumeric, ints.clone()).unwrap()[2], text("40000"));
        assert_eq!(printed(BaseType::Float8, ints.clone()), None);
        assert_eq!(printed(BaseType::Other, ints), None);
        let decimal = Decimal128Array::from(vec![12_300, 12_345]).with_precision_and_scale(9, 4).unwrap();
        assert_eq!(printed(money, Arc::new(decimal)), Some(vec![text("1.23"), out]));
        assert_eq!(printed(money, Arc::new(Float64Array::from(vec![1.5]))), None);
        assert_eq!(
            printed(BaseType::Int8, Arc::new(UInt32Array::from(vec![u32::MAX]))).unwrap()[0],
            text("4294967295")
        );
        assert_eq!(printed(BaseType::Int4, Arc::new(Int8Array::from(vec![-1]))).unwrap()[0], text("-1"));
    }

    #[test]
    fn foreign_times_need_the_right_zone_and_no_nanoseconds() {
        let array = TimestampNanosecondArray::from(vec![1_000, 1_001]);
        let expected = vec![Ok("1970-01-01 00:00:00.000001".to_owned()), Err(PrintError::TooFine)];
        assert_eq!(printed(BaseType::Timestamp, Arc::new(array.clone())), Some(expected));
        assert_eq!(printed(BaseType::TimestampTz, Arc::new(array.clone())), None);
        let zoned = array.with_timezone("Europe/Berlin");
        assert_eq!(printed(BaseType::Timestamp, Arc::new(zoned.clone())), None);
        assert_eq!(
            printed(BaseType::TimestampTz, Arc::new(zoned)).unwrap()[0],
            Ok("1970-01-01 00:00:00.000001+00".into())
        );
        let far: ArrayRef = Arc::new(Date32Array::from(vec![i32::MAX]));
        assert_eq!(printed(BaseType::Date, far), Some(vec![Err(PrintError::OutOfTime)]));
    }

    #[test]
    fn text_is_taken_for_every_type_but_without_zero_bytes() {
        let array: ArrayRef = Arc::new(StringArray::from(vec![Some("a\tb\\"), Some(""), None, Some("a\0")]));
        let expected = vec![
            Ok("a\\tb\\\\".to_owned()),
            Ok(String::new()),
            Ok("\\N".to_owned()),
            Err(PrintError::ZeroByte),
        ];
        for base in [BaseType::Other, BaseType::Int4, BaseType::TimestampTz, BaseType::Bytea] {
            assert_eq!(printed(base, array.clone()), Some(expected.clone()));
        }
    }
}
