//! Owns bringing trouble with the chain about. Does not own what the backend then does (`chain_faults`), nor eviction and
//! replacement of a payment: which transaction pays what is known to the run (`run`).

use crate::faults::FaultId;
use crate::scenario::{ChainFaultKind, Trouble};
use crate::worlds::simulated::backend::Backend;
use crate::worlds::{FaultSite, WorldError};

impl FaultSite for Backend {
    fn begin(&self, trouble: &Trouble, fault: FaultId) -> Result<bool, WorldError> {
        match trouble {
            Trouble::Chain(ChainFaultKind::Evict { .. } | ChainFaultKind::Replace { .. }) => {
                Ok(false)
            }
            Trouble::Chain(kind) => {
                self.begin_fault(kind, fault);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn end(&self, fault: FaultId) -> Result<(), WorldError> {
        self.end_fault(fault)
            .map_err(|reason| WorldError::refused("the chain", "mine", reason))
    }
}
