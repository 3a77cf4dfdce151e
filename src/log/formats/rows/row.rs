//! One row in the form of a segment: length, CRC-32, a bit for each column that has a value, and the values.
//!
//! `synledger-parquet` reads it; `tools/parquet/src/segment.rs` has the form in full. `tests/rows.golden` there holds both
//! to one form.

use flate2::Crc;
use std::net::IpAddr;

/// First bytes of a segment, with the version of its form.
const MAGIC: &[u8; 8] = b"SYNROWS1";
/// Bytes of a row before its values: length, sum, columns.
const HEAD: usize = 16;
/// The longest text of a column; a longer one is cut.
const TEXT_MAX: usize = 48 << 10;

/// Columns, in the order of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Column {
    Ts,
    Kind,
    First,
    Last,
    Src,
    Dst,
    SrcPort,
    DstPort,
    Proto,
    Attempts,
    Interface,
    ReplyInterface,
    VlanOuter,
    VlanInner,
    Isn,
    Odd,
    FlowId,
    CommunityId,
    /// Which service a flow is of: not known to the sensor.
    #[allow(dead_code, reason = "the place is the schema's")]
    Service,
    ConnState,
    History,
    Reason,
    Duration,
    OrigPkts,
    RespPkts,
    OrigBytes,
    RespBytes,
    OrigIpBytes,
    RespIpBytes,
    RetransmittedPkts,
    RetransmittedBytes,
    MissedBytes,
    TcpFlagsOrig,
    TcpFlagsResp,
    Midstream,
    Tunnel,
    Interim,
    Part,
    Alert,
    Severity,
    Distinct,
    Window,
    Evidence,
    Lost,
    NotWatched,
}

/// Kinds of rows, by their number.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum RowKind {
    Alert,
    Books,
    Connection,
    Flow,
    Fold,
}

fn sum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Appends the head of a segment of this sensor.
pub fn head(out: &mut Vec<u8>, sensor: &str) {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    let len = u16::try_from(sensor.len()).expect("a sensor's name is short");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(sensor.as_bytes());
    let sum = sum(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// A row that is being appended.
pub struct Row<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    columns: u64,
}

impl<'a> Row<'a> {
    /// Begins a row.
    #[inline]
    pub fn begin(out: &'a mut Vec<u8>, ts_ns: i64, kind: RowKind) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD]);
        let columns = 0;
        let mut row = Self {
            out,
            start,
            columns,
        };
        row.long(Column::Ts, ts_ns);
        row.has(Column::Kind);
        row.out.push(kind as u8);
        row
    }

    #[inline]
    fn has(&mut self, column: Column) {
        let bit = 1_u64 << column as u8;
        debug_assert!(self.columns < bit, "values come in the order of columns");
        self.columns |= bit;
    }

    /// Appends a long value.
    #[inline]
    pub fn long(&mut self, column: Column, value: i64) {
        self.has(column);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends a count; one beyond 2^63 is cut.
    #[inline]
    pub fn count(&mut self, column: Column, value: u64) {
        self.long(column, i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// Appends an int value.
    #[inline]
    pub fn int(&mut self, column: Column, value: impl Into<i32>) {
        self.has(column);
        self.out.extend_from_slice(&value.into().to_le_bytes());
    }

    /// Appends a bool value.
    #[inline]
    pub fn boolean(&mut self, column: Column, value: bool) {
        self.has(column);
        self.out.push(u8::from(value));
    }

    /// Appends an address.
    #[inline]
    pub fn address(&mut self, column: Column, address: IpAddr) {
        self.has(column);
        match address {
            IpAddr::V4(v4) => {
                self.out.push(4);
                self.out.extend_from_slice(&v4.octets());
            }
            IpAddr::V6(v6) => {
                self.out.push(6);
                self.out.extend_from_slice(&v6.octets());
            }
        }
    }

    /// Appends a text; nothing if it is empty.
    #[inline]
    pub fn text(&mut self, column: Column, text: &[u8]) {
        let text = &text[..text.len().min(TEXT_MAX)];
        if text.is_empty() {
            return;
        }
        self.has(column);
        let len = u16::try_from(text.len()).expect("it is cut");
        self.out.extend_from_slice(&len.to_le_bytes());
        self.out.extend_from_slice(text);
    }

    /// Appends the tags of VLANs.
    #[inline]
    pub fn vlans(&mut self, tags: [u16; 2], count: u8) {
        let columns = [Column::VlanOuter, Column::VlanInner];
        for (column, tag) in columns.into_iter().zip(tags).take(count.into()) {
            self.int(column, tag);
        }
    }

    /// Ends the row.
    #[inline]
    pub fn end(self) {
        let Self {
            out,
            start,
            columns,
        } = self;
        let body = start + 8;
        out[body..start + HEAD].copy_from_slice(&columns.to_le_bytes());
        let len = u32::try_from(out.len() - body).expect("texts are cut");
        let sum = sum(&out[body..]);
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
        out[start + 4..body].copy_from_slice(&sum.to_le_bytes());
    }
}
