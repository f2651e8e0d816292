//! Owns bringing trouble with clocks about. Does not own what a wrong clock shows (`clocks`).

use crate::faults::FaultId;
use crate::scenario::Trouble;
use crate::worlds::simulated::clocks::Clocks;
use crate::worlds::{FaultSite, WorldError};

impl FaultSite for Clocks {
    fn begin(&self, trouble: &Trouble, fault: FaultId) -> Result<bool, WorldError> {
        let Trouble::Clock { of, kind } = trouble else {
            return Ok(false);
        };
        self.begin_fault(of.as_str(), *kind, fault);
        Ok(true)
    }

    fn end(&self, fault: FaultId) -> Result<(), WorldError> {
        self.end_fault(fault);
        Ok(())
    }
}
