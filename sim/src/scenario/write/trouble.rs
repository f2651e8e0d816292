//! Owns writing the families of faults. Does not own the other steps (`steps`).

use super::{Inline, NameSpace, Writer, amounts, list};
use crate::scenario::trouble::{
    ChainFaultKind, ClockFaultKind, DiskFaultKind, Endpoint, LinkFaultKind, PeerFaultKind,
    ProcessFaultKind, Trouble,
};

impl Writer<'_> {
    pub(super) fn trouble(&self, trouble: &Trouble) -> (&'static str, String) {
        let mut table = Inline::default();
        match trouble {
            Trouble::Link { between, .. } => {
                let ends = [self.endpoint(&between.0), self.endpoint(&between.1)];
                table.put("between", list(ends.iter().map(String::as_str)));
            }
            Trouble::Process { of, .. } | Trouble::Disk { of, .. } | Trouble::Clock { of, .. } => {
                table.text("of", self.endpoint(of))
            }
            Trouble::Peer { of, .. } => {
                table.text("of", self.name(NameSpace::Outside, of.as_str()));
            }
            Trouble::Cosigner { of, .. } => table.text("of", of.as_str()),
            Trouble::Chain(_) => {}
        }
        table.text("fault", trouble.name());
        self.details(trouble, &mut table);
        table.maybe("for", trouble.lasts().map(amounts::span));
        (trouble.family().as_str(), table.end())
    }

    fn endpoint(&self, endpoint: &Endpoint) -> String {
        match endpoint {
            Endpoint::Node(name) => self.name(NameSpace::Outside, name.as_str()),
            Endpoint::Engine | Endpoint::Gateway | Endpoint::Layer0 | Endpoint::Chain => {
                endpoint.to_string()
            }
        }
    }

    fn details(&self, trouble: &Trouble, table: &mut Inline) {
        match trouble {
            Trouble::Link { kind, .. } => match kind {
                LinkFaultKind::Delay { by, .. }
                | LinkFaultKind::Spikes { by, .. }
                | LinkFaultKind::Reorder { by, .. } => table.text("by", amounts::span(*by)),
                _ => {}
            },
            Trouble::Process { kind, .. } => match kind {
                ProcessFaultKind::KillAtWrite { write, .. } if *write != 1 => {
                    table.put("write", write.to_string());
                }
                ProcessFaultKind::StaleRestart { age, .. } => {
                    table.text("by", amounts::span(*age));
                }
                _ => {}
            },
            Trouble::Disk { kind, .. } => {
                if let DiskFaultKind::Slow { by, .. } = kind {
                    table.text("by", amounts::span(*by));
                }
            }
            Trouble::Clock { kind, .. } => clock(kind, table),
            Trouble::Chain(kind) => self.chain(kind, table),
            Trouble::Cosigner { .. } => {}
            Trouble::Peer { kind, .. } => {
                if let PeerFaultKind::Revoked { channel } = kind {
                    table.text("channel", self.name(NameSpace::Channel, channel.as_str()));
                }
            }
        }
    }

    fn chain(&self, kind: &ChainFaultKind, table: &mut Inline) {
        match kind {
            ChainFaultKind::FeeSpike { feerate, .. } => table.text("feerate", feerate.to_string()),
            ChainFaultKind::Evict { on } | ChainFaultKind::Replace { on } => {
                table.text("on", self.payment(on));
            }
            ChainFaultKind::Lag { by, .. } => table.put("blocks", by.get().to_string()),
            ChainFaultKind::LateBlocks { .. }
            | ChainFaultKind::EmptyBlocks { .. }
            | ChainFaultKind::Stop { .. }
            | ChainFaultKind::Lie { .. } => {}
        }
    }
}

fn clock(kind: &ClockFaultKind, table: &mut Inline) {
    let slow = match kind {
        ClockFaultKind::Skew { by, behind, .. } | ClockFaultKind::Step { by, behind } => {
            table.text("by", amounts::span(*by));
            behind
        }
        ClockFaultKind::Drift { ppm, behind, .. } => {
            table.put("ppm", amounts::grouped(u64::from(*ppm)));
            behind
        }
    };
    table.flag("behind", *slow);
}
