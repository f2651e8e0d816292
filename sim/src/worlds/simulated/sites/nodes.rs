//! Owns bringing trouble with the processes and disks of Lightning nodes about. Does not own what it does to them
//! (`node_process::trouble`), nor the engine's process and disk.

use super::super::node_process::Directory;
use crate::faults::FaultId;
use crate::scenario::{Endpoint, Trouble};
use crate::worlds::{FaultSite, WorldError};

/// The Lightning nodes of a world.
pub(in super::super) struct Nodes(pub Directory);

impl FaultSite for Nodes {
    fn begin(&self, trouble: &Trouble, fault: FaultId) -> Result<bool, WorldError> {
        let (Trouble::Process {
            of: Endpoint::Node(name),
            ..
        }
        | Trouble::Disk {
            of: Endpoint::Node(name),
            ..
        }) = trouble
        else {
            return Ok(false);
        };
        let Some(node) = self.0.get(name.as_str()) else {
            return Ok(false);
        };
        match trouble {
            Trouble::Process { kind, .. } => node.begin_process(*kind, fault)?,
            Trouble::Disk { kind, .. } => node.begin_disk(*kind, fault)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn end(&self, fault: FaultId) -> Result<(), WorldError> {
        let nodes = self.0.all();
        nodes.iter().try_for_each(|node| node.end_trouble(fault))
    }
}
