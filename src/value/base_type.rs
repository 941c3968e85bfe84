//! Which built-in type a column's values have, as far as staging treats types differently.

use serde::{Deserialize, Serialize};

/// A built-in type, or `Other` for everything that is only ever passed on as text (arrays, ranges, enums, composites,
/// intervals, extension types …). Domains are resolved to their base type by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseType {
    /// `boolean`.
    Bool,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `numeric(precision, scale)`; the scale may be negative or larger than the precision from PostgreSQL 15 on.
    Numeric {
        /// Decimal digits in total, 1 to 1000.
        precision: u16,
        /// Digits after the point, -1000 to 1000.
        scale: i16,
    },
    /// `numeric` without a precision.
    UnboundedNumeric,
    /// `text`.
    Text,
    /// `character varying`.
    Varchar,
    /// `character`, padded with blanks.
    Bpchar,
    /// `name`.
    Name,
    /// `bytea`.
    Bytea,
    /// `date`.
    Date,
    /// `timestamp without time zone`.
    Timestamp,
    /// `timestamp with time zone`.
    TimestampTz,
    /// `time without time zone`.
    Time,
    /// `uuid`.
    Uuid,
    /// `json`, kept as its own text.
    Json,
    /// `jsonb`, kept as PostgreSQL prints it.
    Jsonb,
    /// Anything else.
    Other,
}

impl BaseType {
    /// The base type for an OID of `pg_type` (no domain) and the column's `atttypmod` (-1 where there is none).
    pub fn of(type_oid: u32, typmod: i32) -> Self {
        match type_oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            19 => Self::Name,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            25 => Self::Text,
            114 => Self::Json,
            700 => Self::Float4,
            701 => Self::Float8,
            1042 => Self::Bpchar,
            1043 => Self::Varchar,
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1700 => numeric_of(typmod),
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            _ => Self::Other,
        }
    }
}

/// Source: `make_numeric_typmod` and its readers in PostgreSQL's numeric.c: precision in the upper 16 bits, the scale
/// as a signed number in the lower 11, all of it offset by 4.
fn numeric_of(typmod: i32) -> BaseType {
    let Some(packed) = typmod.checked_sub(4).filter(|packed| *packed >= 0) else {
        return BaseType::UnboundedNumeric;
    };
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    match (u16::try_from((packed >> 16) & 0xffff), i16::try_from(scale)) {
        (Ok(precision), Ok(scale)) => BaseType::Numeric { precision, scale },
        _ => BaseType::UnboundedNumeric,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numeric_modifiers() {
        let packed =
            |precision: u16, scale: i16| ((i32::from(precision) << 16) | (i32::from(scale) & 0x7ff)) + 4;
        assert_eq!(BaseType::of(1700, -1), BaseType::UnboundedNumeric);
        for (precision, scale) in [(12, 2), (1000, 1000), (3, -2), (2, 5), (1000, -1000), (38, 0)] {
            assert_eq!(BaseType::of(1700, packed(precision, scale)), BaseType::Numeric { precision, scale });
        }
        assert_eq!(BaseType::of(1700, 786_438), BaseType::Numeric { precision: 12, scale: 2 });
        assert_eq!(BaseType::of(1231, -1), BaseType::Other);
    }
}
