//! `[lanes]`: slots of what is scarce. Counts the machine's cores and nothing else of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spindle_shared::lane::Lane;

use super::Config;

/// Slots of what is scarce.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lanes {
    /// Processor slots; default: the machine's cores. 1–1024.
    pub cpu: Option<u32>,
    /// Runs that wait for the disk more than they compute. 1–64.
    pub io: u32,
    /// Transfers at once. 1–64.
    pub net: u32,
    /// Runs at once on each graphics card. 1–64.
    pub gpu: u32,
    /// Memory that all runs together may be expected to take; default: three quarters of the machine's. 32–16777216.
    pub memory_mib: Option<u64>,
    /// Of the state folder's disk, so much stays free; default: a twentieth, 8 at least and 1024 at most. 8–16777216.
    pub disk_reserve_mib: Option<u64>,
}

impl Default for Lanes {
    fn default() -> Self {
        Lanes { cpu: None, io: 4, net: 2, gpu: 1, memory_mib: None, disk_reserve_mib: None }
    }
}

impl Config {
    /// Slots of each lane, in a house with so many graphics cards.
    pub fn slots(&self, gpus: u8) -> BTreeMap<Lane, u32> {
        let cards = (0..gpus).map(|number| (Lane::Gpu(number), self.gpu_slots()));
        [
            (Lane::Cpu, self.cpu_slots()),
            (Lane::Io, self.io_slots()),
            (Lane::Net, self.net_slots()),
            (Lane::Api, self.api_slots()),
        ]
        .into_iter()
        .chain(cards)
        .collect()
    }

    pub fn gpu_slots(&self) -> u32 {
        self.lanes.gpu
    }

    pub fn io_slots(&self) -> u32 {
        self.lanes.io
    }

    pub fn net_slots(&self) -> u32 {
        self.lanes.net
    }

    pub fn cpu_slots(&self) -> u32 {
        self.lanes.cpu.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32))
    }
}
