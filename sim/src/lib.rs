//! The deterministic simulation and testing harness of the Lockstep payment engine.
//!
//! One scenario file runs in two worlds, with the same engine, the same assertions and the same canonical trace.
//! Layers import downwards only (docs/ARCHITECTURE.md has the table, `tests/tidy.rs` enforces it).

pub mod bundle;
pub mod cli;
pub mod coverage;
pub mod entropy_shim;
pub mod faults;
pub mod invariants;
pub mod links;
pub mod model;
pub mod prng;
pub mod report;
pub mod run;
pub mod scenario;
pub mod scheduler;
pub mod shrink;
pub mod trace;
pub mod vtime;
pub mod workload;
pub mod worlds;

#[cfg(not(madsim))]
compile_error!(
    "lockstep must be built with `--cfg madsim`. The checkout's .cargo/config.toml sets it; RUSTFLAGS in the environment \
     replaces that setting. Remedy: unset RUSTFLAGS, or add `--cfg madsim` to it."
);
