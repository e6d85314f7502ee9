//! The structures of a footer: which fields they have, and of which kind.

use Kind::{Bool, Byte, Bytes, Integer, List, Struct, Union};

/// What the protocol calls a structure.
pub(super) const STRUCT: u8 = 12;

/// What a field must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Bool,
    Byte,
    /// Of 16, 32 or 64 bits: written alike.
    Integer,
    Bytes,
    List(&'static Kind),
    Struct(&'static [(i64, Kind)]),
    /// A struct of one of these fields, of which polars refuses any other.
    Union(&'static [(i64, Kind)]),
}

/// `FileMetaData` and all that it consists of, by the numbers of their fields:
/// <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.
pub(super) const FILE: &[(i64, Kind)] = &[
    (1, Integer),
    (2, List(&Struct(SCHEMA_ELEMENT))),
    (3, Integer),
    (4, List(&Struct(ROW_GROUP))),
    (5, List(&Struct(KEY_VALUE))),
    (6, Bytes),
    (7, List(&Struct(COLUMN_ORDER))),
    (8, Struct(&[])),
    (9, Bytes),
];
pub(super) const SCHEMA_ELEMENT: &[(i64, Kind)] = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Bytes),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, Integer),
    (9, Integer),
    (10, Union(LOGICAL_TYPE)),
];
/// Those that polars knows.
pub(super) const LOGICAL_TYPE: &[(i64, Kind)] = &[
    (1, Struct(&[])),
    (2, Struct(&[])),
    (3, Struct(&[])),
    (4, Struct(&[])),
    (5, Struct(&[(1, Integer), (2, Integer)])),
    (6, Struct(&[])),
    (7, Struct(&[(1, Bool), (2, Struct(TIME_UNIT))])),
    (8, Struct(&[(1, Bool), (2, Struct(TIME_UNIT))])),
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (11, Struct(&[])),
    (12, Struct(&[])),
    (13, Struct(&[])),
    (14, Struct(&[])),
    (15, Struct(&[])),
];
pub(super) const TIME_UNIT: &[(i64, Kind)] = &[(1, Struct(&[])), (2, Struct(&[])), (3, Struct(&[]))];
pub(super) const ROW_GROUP: &[(i64, Kind)] = &[
    (1, List(&Struct(COLUMN_CHUNK))),
    (2, Integer),
    (3, Integer),
    (4, List(&Struct(&[(1, Integer), (2, Bool), (3, Bool)]))),
    (5, Integer),
    (6, Integer),
    (7, Integer),
];
pub(super) const COLUMN_CHUNK: &[(i64, Kind)] = &[
    (1, Bytes),
    (2, Integer),
    (3, Struct(COLUMN)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, Struct(&[])),
    (9, Bytes),
];
pub(super) const COLUMN: &[(i64, Kind)] = &[
    (1, Integer),
    (2, List(&Integer)),
    (3, List(&Bytes)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, List(&Struct(KEY_VALUE))),
    (9, Integer),
    (10, Integer),
    (11, Integer),
    (12, Struct(STATISTICS)),
    (13, List(&Struct(&[(1, Integer), (2, Integer), (3, Integer)]))),
    (14, Integer),
    (15, Integer),
    (16, Struct(&[(1, Integer), (2, List(&Integer)), (3, List(&Integer))])),
    (17, Struct(&[])),
];
pub(super) const STATISTICS: &[(i64, Kind)] =
    &[(1, Bytes), (2, Bytes), (3, Integer), (4, Integer), (5, Bytes), (6, Bytes), (7, Bool), (8, Bool)];
pub(super) const KEY_VALUE: &[(i64, Kind)] = &[(1, Bytes), (2, Bytes)];
pub(super) const COLUMN_ORDER: &[(i64, Kind)] = &[(1, Struct(&[]))];

impl Kind {
    /// Whether it is what the protocol calls by this number.
    pub(super) fn is(self, number: u8) -> bool {
        match self {
            Bool => matches!(number, 1 | 2),
            Byte => number == 3,
            Integer => matches!(number, 4..=6),
            Bytes => number == 8,
            List(_) => number == 9,
            Struct(_) | Union(_) => number == STRUCT,
        }
    }
}
