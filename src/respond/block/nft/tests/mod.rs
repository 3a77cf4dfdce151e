//! Messages against those of `nft`, the table in a full set.

mod by_nft;
mod table;
