//! Flags of `block`.

use super::{BEHAVIOUR, SOCKET};
use crate::host::addresses::parse_network;
use crate::respond::block::plan::{BlockTime, parse_time};
use crate::settings::given::Given;
use clap::{Args, Subcommand, ValueHint};
use ipnet::IpNet;
use std::path::PathBuf;

/// Flags of `block`.
#[derive(Debug, Clone, Args)]
pub struct BlockCommandArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: BlockAction,
    /// Socket of the sensor.
    ///
    /// As in its `--status-socket`. `none`: no sensor is asked, but what an earlier one left in the kernel is listed or removed.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = SOCKET,
        value_hint = ValueHint::FilePath,
        help_heading = BEHAVIOUR
    )]
    pub socket: PathBuf,
    /// Nothing: it reads no configuration file.
    #[arg(skip)]
    pub given: Given,
}

words! {
    /// `--format`.
    pub flag enum ListFormat {
        /// A network a line, `#` and what is known of it behind.
        Cidr = "cidr",
        /// An array of objects.
        Json = "json",
        /// A script for nft.
        Nft = "nft",
    }
}

/// What to do with blocks.
#[derive(Debug, Clone, Subcommand)]
pub enum BlockAction {
    /// Print each block: who, until when, since when, packets dropped, why.
    List {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Block addresses or networks.
    ///
    /// They pass the guard of the sensor, which must run. The time of one that is blocked begins anew.
    Add {
        /// Addresses and networks, such as 192.0.2.9 or 2001:db8::/64.
        #[arg(required = true, value_name = "NET", value_parser = parse_network)]
        nets: Vec<IpNet>,
        /// How long: 1s to 365d.
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = parse_time)]
        time: BlockTime,
        /// Why, in one line: it stands in the list and in the log.
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        reason: String,
    },
    /// Let an address or network in again.
    ///
    /// Also forgets how often it was blocked.
    Del {
        /// As in the list.
        #[arg(value_name = "NET", value_parser = parse_network)]
        net: IpNet,
    },
    /// Let everybody in again.
    ///
    /// Where no sensor runs, what it left in the kernel is removed: table, maps and programs.
    Flush,
    /// Print all blocks for another program.
    Export {
        /// Form: cidr, json or nft.
        #[arg(
            long,
            value_name = "FORM",
            default_value = "cidr",
            hide_possible_values = true
        )]
        format: ListFormat,
    },
    /// Block all networks of a file.
    ///
    /// They pass the guard of the sensor, which must run, and what is refused is printed with its line and the reason. A line that cannot be read, or
    /// more lines than there is room for, changes nothing at all. `-` is standard input.
    Import {
        /// The file; its form is found out: lines, JSON or elements of an nft script.
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Name of the list: it stands in the list of blocks and in the log.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// How long: 1s to 365d.
        ///
        /// One with `until` in JSON is blocked no longer than until then.
        #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = parse_time)]
        time: BlockTime,
    },
}
