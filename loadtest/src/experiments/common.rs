//! Flags that the experiments share.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::flags::{SEED_MAX, has_folder, whole};
use crate::lab::{Lab, SetUp};
use crate::receivers::sensor::Sensor;
use crate::report::record::Record;
use crate::send::Sender;

/// The lab.
#[derive(Clone, Debug, Args)]
pub struct LabArgs {
    /// Which CPU does the kernel's receiving.
    #[arg(long, value_enum, default_value = "fair")]
    pub set_up: SetUp,
}

impl LabArgs {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// See [`Lab::new`].
    pub fn make(&self) -> Result<Lab> {
        Lab::new(self.set_up)
    }
}

/// The sender, the sensor and the record.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// How frames are sent.
    #[arg(long, value_enum, default_value = "xdp")]
    pub sender: Sender,
    /// Seed of the load, 0 to 4294967295.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>(0, SEED_MAX))]
    pub seed: u64,
    /// The sensor's program. Default: `synledger` beside this program.
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// Append the measurements to this file. Default: target/load/SUBCOMMAND.csv.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// A flag for the sensor, with its value behind an equals sign: --sensor-flag=--memory-mib=64. Repeatable.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub sensor_flag: Vec<String>,
}

impl Common {
    /// The sensor at this depth.
    ///
    /// # Errors
    ///
    /// When the path of this program is unknown.
    pub fn sensor(&self, depth: &str) -> Result<Sensor> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => std::env::current_exe()?.with_file_name("synledger"),
        };
        let mut sensor = Sensor::new(binary, depth);
        sensor.args.clone_from(&self.sensor_flag);
        Ok(sensor)
    }

    /// The CSV of this subcommand.
    ///
    /// # Errors
    ///
    /// When the folder of --csv is missing; see [`Record::open`].
    pub fn record(&self, experiment: &str) -> Result<Record> {
        let default = || Path::new("target/load").join(format!("{experiment}.csv"));
        if let Some(path) = &self.csv {
            has_folder("--csv", path)?;
        }
        let path = self.csv.clone().unwrap_or_else(default);
        Record::open(&path, experiment)
    }
}
