//! Owns bringing trouble with links about. Does not own what it does to bytes (`links`).

use crate::faults::FaultId;
use crate::links::Network;
use crate::scenario::{LinkFaultKind, Trouble};
use crate::worlds::{FaultSite, WorldError};
use std::time::Duration;

impl FaultSite for Network {
    fn begin(&self, trouble: &Trouble, fault: FaultId) -> Result<bool, WorldError> {
        let Trouble::Link { between, kind } = trouble else {
            return Ok(false);
        };
        let (a, b) = (between.0.as_str(), between.1.as_str());
        match *kind {
            LinkFaultKind::Partition { .. } => self.partition(a, b, fault),
            LinkFaultKind::Disconnect => self.disconnect(a, b, fault),
            LinkFaultKind::Loss { .. } => self.lose(a, b, fault),
            LinkFaultKind::Delay { by, .. } => {
                self.delay(a, b, fault, Duration::from_millis(by.get()));
            }
            LinkFaultKind::OneWay { .. }
            | LinkFaultKind::Clog { .. }
            | LinkFaultKind::HalfOpen { .. }
            | LinkFaultKind::Spikes { .. }
            | LinkFaultKind::Reorder { .. }
            | LinkFaultKind::Duplicate { .. } => return Ok(false),
        }
        Ok(true)
    }

    fn end(&self, fault: FaultId) -> Result<(), WorldError> {
        self.heal(fault);
        Ok(())
    }
}
