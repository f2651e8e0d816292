//! Owns bringing trouble with links about. Does not own what it does to bytes and messages (`links`).

use crate::faults::FaultId;
use crate::links::Network;
use crate::scenario::Trouble;
use crate::worlds::{FaultSite, WorldError};

impl FaultSite for Network {
    fn begin(&self, trouble: &Trouble, fault: FaultId) -> Result<bool, WorldError> {
        let Trouble::Link { between, kind } = trouble else {
            return Ok(false);
        };
        self.begin_fault((between.0.as_str(), between.1.as_str()), *kind, fault);
        Ok(true)
    }

    fn end(&self, fault: FaultId) -> Result<(), WorldError> {
        self.end_fault(fault);
        Ok(())
    }
}
