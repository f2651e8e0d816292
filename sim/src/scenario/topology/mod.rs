//! Owns topologies: a network that is described instead of listed becomes nodes and channels of the scenario as typed, before
//! anything is checked, so that everything after it sees a scenario that lists them. Does not own which shapes there are
//! (`shapes`), nor the files of others (`lnd`, `sim_ln`, `located`).
//!
//! The draws of a random shape come from the stream `topology` of the scenario's `seed`, not of the run's: all runs of one
//! scenario have one network.

mod expand;
mod files;
mod lnd;
mod located;
mod shapes;
mod sim_ln;

pub use files::{Files, NoFiles};

pub(super) use expand::expand;

use super::read::{Optional, Required, table};
use super::text::{Amount, Forwarding};
use std::ops::Range;

/// Nodes of a topology: every one of them hears of every channel, so time and memory grow with the product.
const MAX_NODES: u64 = 500;

/// What names of nodes begin with: two names of nodes, and what joins them, are a name of a channel.
const MAX_PREFIX_CHARS: usize = 12;

/// Channels of a topology, for the same reason.
const MAX_CHANNELS: u64 = 2_500;

/// Below this the reserves (BOLT 2: 1,000 sat at each end with LDK), both anchors and the fee of the commitment leave
/// next to nothing to pay with.
const MIN_CAPACITY_SAT: u64 = 20_000;

/// LDK 0.2.7 takes no larger channel in (BOLT 2 without `option_support_large_channel`).
const MAX_CAPACITY_SAT: u64 = (1 << 24) - 1;

/// What a channel of a shape holds if nothing is said.
const USUAL_CAPACITY_SAT: u64 = 2_000_000;

table!(
    /// A network that is described instead of listed: exactly one of `line`, `star`, `small_world`, `lnd` and `sim_ln`.
    Topology {
        /// So many nodes in a row, each with a channel to the next.
        "line" line: Optional<u64>,
        /// So many nodes: the first has a channel with each of the others.
        "star" star: Optional<u64>,
        /// A ring of neighbours with shortcuts, drawn from the scenario's seed.
        "small_world" small_world: Optional<SmallWorld>,
        /// A file of LND's `describegraph`, by its path from the scenario's folder.
        "lnd" lnd: Optional<String>,
        /// A file of sim-ln with a `sim_network`, by its path from the scenario's folder.
        "sim_ln" sim_ln: Optional<String>,
        /// What the names of the nodes of a shape begin with; their number follows. Default "n".
        "prefix" prefix: Optional<String>,
        /// Size of every channel. Default "2_000_000 sat"; of an imported one what its file says.
        "capacity" capacity: Optional<Amount>,
        /// What the other end is given of every channel at its opening. Default half of it.
        "push" push: Optional<Amount>,
        /// What both ends of every channel ask for forwarding. Default as for a channel; of an imported one what its file says.
        "fees" fees: Optional<Forwarding>,
    }
);
table!(
    /// A small world of Watts and Strogatz (Nature 393, 1998, 440-442).
    SmallWorld {
        /// How many.
        "nodes" nodes: Required<u64>,
        /// With how many nearest neighbours on the ring each begins; even.
        "neighbours" neighbours: Required<u64>,
        /// Probability, in millionths, with which a channel goes elsewhere than to the neighbour. Default 100_000.
        "rewired_ppm" rewired_ppm: Optional<u64>,
    }
);

/// A network before it becomes part of the scenario.
#[derive(Debug, Default)]
struct Network {
    /// Names, each once.
    nodes: Vec<String>,
    /// In order of opening.
    channels: Vec<Edge>,
}

/// A channel of a network.
#[derive(Debug)]
struct Edge {
    name: String,
    from: String,
    to: String,
    /// Of an imported one, as its file says.
    capacity_sat: Option<u64>,
    /// What `from` and `to` ask, as the file of an imported one says.
    fees: [Option<Asked>; 2],
    /// Where it stands in its file.
    place: Option<Range<usize>>,
}

/// What an end asks for forwarding.
#[derive(Clone, Copy, Debug)]
struct Asked {
    base_msat: u64,
    ppm: u64,
    cltv_delta: u64,
}

#[cfg(test)]
mod tests;
