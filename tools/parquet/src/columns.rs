//! The one schema: columns in the order in which segments and files have them.

/// Type of a column, and how a segment stores a value of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// INT64; eight bytes, little-endian.
    Long,
    /// INT32; four bytes, little-endian.
    Int,
    /// BOOLEAN; one byte, 0 or 1.
    Bool,
    /// Text; one byte, the place in [`KINDS`].
    Kind,
    /// Text, canonical; the byte 4 or 6, then four or sixteen bytes.
    Address,
    /// Text; its length in two bytes, little-endian, then UTF-8.
    Text,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub of: Type,
    /// Whether its values repeat, so that a dictionary pays.
    pub repeats: bool,
}

/// Kinds of rows, sorted.
pub const KINDS: [&str; 5] = ["alert", "books", "connection", "flow", "fold"];
/// Place of `ts_ns`, which every row has.
pub const TS: usize = 0;
/// Place of `kind`, which every row has.
pub const KIND: usize = 1;
/// Place of `src_ip`.
pub const SRC: usize = 4;
/// Place of `dst_ip`.
pub const DST: usize = 5;
/// Place of `dst_port`.
pub const DST_PORT: usize = 7;

const fn column(name: &'static str, of: Type) -> Column {
    let repeats = matches!(of, Type::Kind | Type::Address | Type::Text | Type::Int);
    Column { name, of, repeats }
}

/// A column of values that differ from row to row.
const fn unique(name: &'static str, of: Type) -> Column {
    let repeats = false;
    Column { name, of, repeats }
}

/// All columns.
pub static COLUMNS: [Column; 45] = [
    column("ts_ns", Type::Long),
    column("kind", Type::Kind),
    column("first_ns", Type::Long),
    column("last_ns", Type::Long),
    column("src_ip", Type::Address),
    column("dst_ip", Type::Address),
    unique("src_port", Type::Int),
    column("dst_port", Type::Int),
    column("proto", Type::Int),
    column("attempts", Type::Long),
    column("interface", Type::Text),
    column("reply_interface", Type::Text),
    column("vlan_outer", Type::Int),
    column("vlan_inner", Type::Int),
    column("isn", Type::Long),
    column("odd", Type::Bool),
    column("flow_id", Type::Long),
    unique("community_id", Type::Text),
    column("service", Type::Text),
    column("conn_state", Type::Text),
    column("history", Type::Text),
    column("reason", Type::Text),
    column("duration_ns", Type::Long),
    column("orig_pkts", Type::Long),
    column("resp_pkts", Type::Long),
    column("orig_bytes", Type::Long),
    column("resp_bytes", Type::Long),
    column("orig_ip_bytes", Type::Long),
    column("resp_ip_bytes", Type::Long),
    column("retransmitted_pkts", Type::Long),
    column("retransmitted_bytes", Type::Long),
    column("missed_bytes", Type::Long),
    column("tcp_flags_orig", Type::Int),
    column("tcp_flags_resp", Type::Int),
    column("midstream", Type::Bool),
    column("tunnel", Type::Bool),
    column("interim", Type::Bool),
    column("part", Type::Long),
    column("alert", Type::Text),
    column("severity", Type::Int),
    column("distinct", Type::Long),
    column("window_ns", Type::Long),
    unique("evidence", Type::Text),
    column("lost", Type::Long),
    column("not_watched_ns", Type::Long),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_with_a_name_are_those_of_their_columns() {
        for (at, name) in [
            (TS, "ts_ns"),
            (KIND, "kind"),
            (SRC, "src_ip"),
            (DST, "dst_ip"),
            (DST_PORT, "dst_port"),
        ] {
            assert_eq!(COLUMNS[at].name, name);
        }
        assert!(KINDS.is_sorted(), "their numbers sort as their words do");
        assert!(COLUMNS.len() < 64, "a row's columns are bits of one number");
    }
}
