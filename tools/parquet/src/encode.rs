//! Parquet files of sorted rows: bytes follow from the rows alone.

use crate::columns::{COLUMNS, Column, DST, KIND, KINDS, SRC, TS, Type};
use crate::segment::{Segment, Value, Values};
use crate::table::{Part, Row, Table};
use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};
use std::fmt::Write as _;
use std::sync::Arc;

/// Rows of a row group: what a reader can skip, and what is held as columns at a time.
const GROUP_ROWS: usize = 64 << 10;
/// The schema's name and the writer's, in each file.
const CREATED_BY: &str = "synledger-parquet";
/// Columns that files are sorted by: kind, source, destination, its port, time.
const SORTED_BY: [usize; 5] = [KIND, SRC, DST, crate::columns::DST_PORT, TS];

/// Encodes files of segments.
#[derive(Debug)]
pub struct Encoder {
    schema: TypePtr,
    properties: Arc<WriterProperties>,
    kinds: [ByteArray; KINDS.len()],
}

/// The values of a column in a row group, and which rows have one.
enum Cells {
    Long(Vec<i64>),
    Int(Vec<i32>),
    Bool(Vec<bool>),
    Text(Vec<ByteArray>),
}

impl Cells {
    fn of(of: Type) -> Self {
        match of {
            Type::Long => Self::Long(Vec::new()),
            Type::Int => Self::Int(Vec::new()),
            Type::Bool => Self::Bool(Vec::new()),
            Type::Kind | Type::Address | Type::Text => Self::Text(Vec::new()),
        }
    }
}

/// The schema as Parquet writes it down.
pub fn schema() -> String {
    let mut text = String::from("message synledger {\n");
    for (at, column) in COLUMNS.iter().enumerate() {
        let need = match at {
            TS | KIND => "REQUIRED",
            _ => "OPTIONAL",
        };
        let (of, note) = match column.of {
            Type::Long => ("INT64", ""),
            Type::Int => ("INT32", ""),
            Type::Bool => ("BOOLEAN", ""),
            Type::Kind | Type::Address | Type::Text => ("BYTE_ARRAY", " (STRING)"),
        };
        let _ = writeln!(text, "  {need} {of} {}{note};", column.name);
    }
    text + "}\n"
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// Of the one schema.
    pub fn new() -> Self {
        let schema = parse_message_type(&schema()).expect("the schema is a constant");
        let level = ZstdLevel::try_new(1).expect("zstd has a level 1");
        let mut properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::ZSTD(level))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_dictionary_enabled(false)
            .set_sorting_columns(Some(SORTED_BY.map(sorted_by).to_vec()));
        for column in COLUMNS.iter().filter(|column| column.repeats) {
            let path = ColumnPath::from(column.name);
            properties = properties.set_column_dictionary_enabled(path, true);
        }
        // Their least and greatest value tells nothing, and finding it costs a comparison a row.
        let is_random = |column: &&Column| column.of == Type::Text && !column.repeats;
        for column in COLUMNS.iter().filter(is_random) {
            let path = ColumnPath::from(column.name);
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        Self {
            schema: Arc::new(schema),
            properties: Arc::new(properties.build()),
            kinds: KINDS.map(ByteArray::from),
        }
    }

    /// The file of a part.
    ///
    /// # Errors
    ///
    /// Those of the encoder: the rows do not fit the schema.
    pub fn file(&self, segment: &Segment, table: &Table, part: Part<'_>) -> Result<Bytes> {
        let properties = self.properties.clone();
        let out = Vec::with_capacity(part.rows.len() * 32 + 4096);
        let mut file = SerializedFileWriter::new(out, self.schema.clone(), properties)?;
        for rows in part.rows.chunks(GROUP_ROWS) {
            let mut group = file.next_row_group()?;
            self.group(&mut group, segment, table, rows)?;
            group.close()?;
        }
        Ok(file.into_inner()?.into())
    }

    fn group(
        &self,
        group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
        segment: &Segment,
        table: &Table,
        rows: &[Row],
    ) -> Result<()> {
        let mut cells: Vec<Cells> = COLUMNS.iter().map(|column| Cells::of(column.of)).collect();
        // Of each column, a number for each row: 1 if it has a value.
        let mut present = vec![0_i16; rows.len() * COLUMNS.len()];
        for (at, row) in rows.iter().enumerate() {
            for (column, value) in Values::of(&segment.bytes[row.body.clone()]) {
                present[column * rows.len() + at] = 1;
                match (&mut cells[column], value) {
                    (Cells::Long(all), Value::Long(value)) => all.push(value),
                    (Cells::Int(all), Value::Int(value)) => all.push(value),
                    (Cells::Bool(all), Value::Bool(value)) => all.push(value),
                    (Cells::Text(all), value) => all.push(match value {
                        Value::Kind(kind) => self.kinds[usize::from(kind)].clone(),
                        Value::Address(_) if column == SRC => {
                            table.addresses[row.src as usize].clone()
                        }
                        Value::Address(_) => table.addresses[row.dst as usize].clone(),
                        Value::Text(text) => segment.bytes.slice_ref(text.as_bytes()).into(),
                        _ => unreachable!("texts are kinds, addresses and texts"),
                    }),
                    _ => unreachable!("a value has its column's type"),
                }
            }
        }
        for (column, cells) in cells.iter().enumerate() {
            let levels = &present[column * rows.len()..][..rows.len()];
            let levels = (column != TS && column != KIND).then_some(levels);
            let mut writer = group.next_column()?.expect("the schema has all columns");
            put(writer.untyped(), cells, levels)?;
            writer.close()?;
        }
        Ok(())
    }
}

fn put(writer: &mut ColumnWriter<'_>, cells: &Cells, levels: Option<&[i16]>) -> Result<()> {
    match (writer, cells) {
        (ColumnWriter::Int64ColumnWriter(to), Cells::Long(all)) => {
            to.write_batch(all, levels, None)
        }
        (ColumnWriter::Int32ColumnWriter(to), Cells::Int(all)) => to.write_batch(all, levels, None),
        (ColumnWriter::BoolColumnWriter(to), Cells::Bool(all)) => to.write_batch(all, levels, None),
        (ColumnWriter::ByteArrayColumnWriter(to), Cells::Text(all)) => {
            to.write_batch(all, levels, None)
        }
        _ => unreachable!("a writer has its column's type"),
    }
    .map(drop)
}

fn sorted_by(column: usize) -> SortingColumn {
    SortingColumn {
        column_idx: i32::try_from(column).expect("there are few columns"),
        descending: false,
        nulls_first: true,
    }
}

#[cfg(test)]
mod tests;
