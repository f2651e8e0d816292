//! Owns bringing trouble about in the simulated world: one site for each family of faults. Does not own what a part does
//! when it is troubled (`links`, `backend`, `node_process`, ...).

mod chain;
mod clocks;
pub(super) mod disks;
mod links;
pub(super) mod nodes;
pub(super) mod peers;
pub(super) mod processes;
