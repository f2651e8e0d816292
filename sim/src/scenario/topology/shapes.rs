//! Owns the shapes that are made by a rule: line, star, small world. Does not own what their channels hold (`expand`).

use super::{Edge, Network};
use crate::prng::RootSeed;
use std::collections::BTreeSet;

/// The draws of one scenario's topology.
const STREAM: &str = "topology";

/// A draw below this many is taken of a million.
pub(super) const MILLION: u64 = 1_000_000;

fn node(prefix: &str, number: usize) -> String {
    format!("{prefix}{number}")
}

fn edge(name: String, from: String, to: String) -> Edge {
    Edge {
        name,
        from,
        to,
        capacity_sat: None,
        fees: [None, None],
        place: None,
    }
}

fn nodes(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| node(prefix, number)).collect()
}

/// `n1` opens `n1-n2`, `n2` opens `n2-n3`, and so on.
pub(super) fn line(prefix: &str, count: usize) -> Network {
    let joined = |number| {
        let (from, to) = (node(prefix, number), node(prefix, number + 1));
        edge(format!("{from}-{to}"), from, to)
    };
    Network {
        nodes: nodes(prefix, count),
        channels: (1..count).map(joined).collect(),
    }
}

/// The outer nodes open: each `n2` to the last one a channel `n1-n2` with the centre `n1`. So all of them share blocks.
pub(super) fn star(prefix: &str, count: usize) -> Network {
    let centre = node(prefix, 1);
    let joined = |number| {
        let outer = node(prefix, number);
        edge(format!("{centre}-{outer}"), outer, centre.clone())
    };
    Network {
        nodes: nodes(prefix, count),
        channels: (2..=count).map(joined).collect(),
    }
}

/// What a small world is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct SmallWorldPlan {
    pub(super) nodes: usize,
    /// Even, above zero, and less than `nodes`.
    pub(super) neighbours: usize,
    pub(super) rewired_ppm: u32,
    pub(super) seed: u64,
}

/// The procedure of Watts and Strogatz: a ring on which everybody is joined to the nearest `neighbours`; then, for the
/// nearest, the second nearest and so on, once around the ring, the far end of each edge is moved with the given
/// probability to a node drawn from all, but never to the edge's own beginning nor to one with which that shares an edge.
///
/// Every node opens `neighbours / 2` channels, so that all of them open at once; `n5.2` is the second that `n5` opens.
pub(super) fn small_world(prefix: &str, plan: SmallWorldPlan) -> Network {
    let mut draws = RootSeed(plan.seed).stream(STREAM);
    let (count, reach) = (plan.nodes, plan.neighbours / 2);
    let mut ends: Vec<Vec<usize>> = (0..count)
        .map(|from| (1..=reach).map(|step| (from + step) % count).collect())
        .collect();
    let pair = |a: usize, b: usize| (a.min(b), a.max(b));
    let joined = ends.iter().enumerate();
    let mut joined: BTreeSet<(usize, usize)> = joined
        .flat_map(|(from, ends)| ends.iter().map(move |to| pair(from, *to)))
        .collect();
    for step in 0..reach {
        for (from, ends) in ends.iter_mut().enumerate() {
            let free: Vec<usize> = (0..count)
                .filter(|to| *to != from && !joined.contains(&pair(from, *to)))
                .collect();
            if !draws.chance(plan.rewired_ppm) || free.is_empty() {
                continue;
            }
            let to = free[draws.between(0, free.len() as u64 - 1) as usize];
            joined.remove(&pair(from, ends[step]));
            joined.insert(pair(from, to));
            ends[step] = to;
        }
    }
    let rounds = (0..reach).flat_map(|step| (0..count).map(move |from| (from, step)));
    let channels = rounds.map(|(from, step)| {
        let opener = node(prefix, from + 1);
        let name = format!("{opener}.{}", step + 1);
        edge(name, opener, node(prefix, ends[from][step] + 1))
    });
    Network {
        nodes: nodes(prefix, count),
        channels: channels.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rewired_ppm: u32, seed: u64) -> SmallWorldPlan {
        SmallWorldPlan {
            nodes: 20,
            neighbours: 4,
            rewired_ppm,
            seed,
        }
    }

    fn pairs(network: &Network) -> BTreeSet<(String, String)> {
        let pair = |edge: &Edge| {
            let (a, b) = (edge.from.clone(), edge.to.clone());
            if a < b { (a, b) } else { (b, a) }
        };
        network.channels.iter().map(pair).collect()
    }

    #[test]
    fn without_rewiring_it_is_the_ring() {
        let ring = small_world("n", plan(0, 1));
        assert_eq!(ring.channels.len(), 40);
        let first = &ring.channels[0];
        assert_eq!(
            (&*first.name, &*first.from, &*first.to),
            ("n1.1", "n1", "n2")
        );
        let last = ring.channels.last().expect("there are some");
        assert_eq!(
            (&*last.name, &*last.from, &*last.to),
            ("n20.2", "n20", "n2")
        );
    }

    #[test]
    fn rewiring_keeps_the_number_of_channels_and_makes_no_pair_twice() {
        for seed in 0..20 {
            let network = small_world("n", plan(300_000, seed));
            assert_eq!(network.channels.len(), 40);
            assert_eq!(pairs(&network).len(), 40, "seed {seed}");
            assert!(network.channels.iter().all(|edge| edge.from != edge.to));
        }
        let whole = small_world(
            "n",
            SmallWorldPlan {
                nodes: 5,
                neighbours: 4,
                ..plan(1_000_000, 1)
            },
        );
        assert_eq!(
            pairs(&whole).len(),
            10,
            "everybody is joined with everybody"
        );
    }

    #[test]
    fn the_seed_decides_and_about_so_many_are_rewired() {
        let drawn = |ppm, seed| pairs(&small_world("n", plan(ppm, seed)));
        assert_eq!(drawn(300_000, 7), drawn(300_000, 7));
        assert_ne!(drawn(300_000, 7), drawn(300_000, 8));
        let ring = drawn(0, 1);
        let moved: usize = (0..50)
            .map(|seed| drawn(300_000, seed).difference(&ring).count())
            .sum();
        // 50 times 40 edges, three of ten.
        assert!((450..=750).contains(&moved), "{moved} of 2000 moved");
    }

    #[test]
    fn a_star_is_opened_by_its_outer_nodes() {
        let star = star("s", 4);
        let opened: Vec<(&str, &str)> = star
            .channels
            .iter()
            .map(|edge| (edge.name.as_str(), edge.from.as_str()))
            .collect();
        assert_eq!(opened, [("s1-s2", "s2"), ("s1-s3", "s3"), ("s1-s4", "s4")]);
    }
}
