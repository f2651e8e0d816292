//! Owns checking the families of faults: links, processes, disks, clocks, the chain, peers. Which parameters a fault takes is
//! said once for each kind. Does not own what the trouble does (the worlds).

use super::count;
use super::names::Kind;
use super::positive;
use super::steps::StepChecker;
use crate::scenario::choice::{
    ChainFault, ClockFault, CosignerFault, DiskFault, LinkFault, PeerFault, ProcessFault,
};
use crate::scenario::model::{
    ChainFaultKind, ChannelName, ClockFaultKind, CosignerFaultKind, CosignerName, DiskFaultKind,
    Endpoint, LinkFaultKind, NodeName, PeerFaultKind, ProcessFaultKind, Trouble,
};
use crate::scenario::problem::Problem;
use crate::scenario::read::{At, Optional};
use crate::scenario::text;
use crate::scenario::units::{Feerate, Millis};
use std::ops::Range;

/// What a parameter means to a fault that does not take it.
const NOTHING: &str = "it means nothing to this fault";

/// The endpoints that are there beside the nodes.
const ENDPOINTS: [(&str, Endpoint); 4] = [
    ("engine", Endpoint::Engine),
    ("gateway", Endpoint::Gateway),
    ("layer0", Endpoint::Layer0),
    ("chain", Endpoint::Chain),
];

impl StepChecker<'_> {
    fn endpoint(&mut self, name: &At<String>) -> Option<Endpoint> {
        let known = ENDPOINTS.iter().find(|(word, _)| *word == name.value);
        match known {
            Some((_, Endpoint::Layer0)) if self.dids.is_empty() => {
                let help = "give a party a DID: `parties.NAME = { did = \"key\" }`";
                let label = "nobody has a DID";
                self.problems
                    .at(&name.span, "there is no Layer 0", label, help);
                None
            }
            Some((_, endpoint)) => Some(endpoint.clone()),
            None => self
                .names
                .resolve(Kind::Node, NodeName, Some(name), self.problems)
                .map(Endpoint::Node),
        }
    }

    /// One of some endpoints only; `who` says which.
    fn endpoint_of(
        &mut self,
        name: &At<String>,
        who: &str,
        fits: fn(&Endpoint) -> bool,
    ) -> Option<Endpoint> {
        let endpoint = self.endpoint(name)?;
        if fits(&endpoint) {
            return Some(endpoint);
        }
        let title = format!("this cannot happen to `{endpoint}`");
        self.problems
            .at(&name.span, title, "not here", format!("name {who}"));
        None
    }

    /// The span in `for` or `by`, refused or required as the fault says.
    fn span(
        &mut self,
        typed: &Optional<text::Duration>,
        key: &str,
        (what, takes): (&str, bool),
        verb: &Range<usize>,
    ) -> Option<Millis> {
        let what = format!("\"{what}\"");
        if takes {
            return self.needed_span(typed, key, &what, verb);
        }
        self.refuse_parameter(typed, key, &what, NOTHING);
        None
    }

    fn required_span(&mut self, typed: &At<text::Duration>) -> Option<Millis> {
        let place = "how long it lasts";
        positive(
            &typed.value.0,
            &typed.span,
            place,
            Millis::parse,
            self.problems,
        )
    }

    pub(super) fn link(&mut self, typed: &text::Link, verb: &Range<usize>) -> Option<Trouble> {
        let between = typed
            .between
            .0
            .as_ref()
            .and_then(|names| self.two_ends(names));
        let fault = typed.fault.0.as_ref()?.value;
        let lasts = fault != LinkFault::Disconnect;
        let late = matches!(
            fault,
            LinkFault::Delay | LinkFault::Spikes | LinkFault::Reorder
        );
        let lasts = self.span(&typed.span, "for", (fault.as_str(), lasts), verb);
        let by = self.span(&typed.by, "by", (fault.as_str(), late), verb);
        let kind = match fault {
            LinkFault::Partition => LinkFaultKind::Partition { lasts: lasts? },
            LinkFault::OneWay => LinkFaultKind::OneWay { lasts: lasts? },
            LinkFault::Clog => LinkFaultKind::Clog { lasts: lasts? },
            LinkFault::HalfOpen => LinkFaultKind::HalfOpen { lasts: lasts? },
            LinkFault::Disconnect => LinkFaultKind::Disconnect,
            LinkFault::Delay => LinkFaultKind::Delay {
                by: by?,
                lasts: lasts?,
            },
            LinkFault::Spikes => LinkFaultKind::Spikes {
                by: by?,
                lasts: lasts?,
            },
            LinkFault::Reorder => LinkFaultKind::Reorder {
                by: by?,
                lasts: lasts?,
            },
            LinkFault::Duplicate => LinkFaultKind::Duplicate { lasts: lasts? },
            LinkFault::Loss => LinkFaultKind::Loss { lasts: lasts? },
        };
        Some(Trouble::Link {
            between: between?,
            kind,
        })
    }

    fn two_ends(&mut self, names: &At<Vec<At<String>>>) -> Option<(Endpoint, Endpoint)> {
        let [one, other] = &names.value[..] else {
            self.problems.at(
                &names.span,
                "a link has two ends",
                format!("{} named", names.value.len()),
                "write `between = [\"a\", \"b\"]`",
            );
            return None;
        };
        let found = [one, other].map(|name| self.endpoint(name));
        if one.value == other.value {
            self.problems.at(
                &other.span,
                "a link has two ends",
                "the same one again",
                "name another one",
            );
        }
        let [one, other] = found;
        Some((one?, other?))
    }

    pub(super) fn process(
        &mut self,
        typed: &text::Process,
        verb: &Range<usize>,
    ) -> Option<Trouble> {
        let fault = typed.fault.0.as_ref()?.value;
        let has_disk = |of: &Endpoint| matches!(of, Endpoint::Engine | Endpoint::Node(_));
        let of = typed.of.0.as_ref().and_then(|name| match fault {
            ProcessFault::StaleRestart => self.endpoint_of(
                name,
                "a node: the engine's journal is the only copy of what it has answered",
                |of| matches!(of, Endpoint::Node(_)),
            ),
            ProcessFault::KillAtWrite => self.endpoint_of(name, "a node or \"engine\"", has_disk),
            ProcessFault::Kill | ProcessFault::Pause | ProcessFault::SlowStart => {
                self.endpoint(name)
            }
        });
        let lasts = typed
            .span
            .0
            .as_ref()
            .and_then(|span| self.required_span(span));
        let stale = (fault.as_str(), fault == ProcessFault::StaleRestart);
        let age = self.span(&typed.by, "by", stale, verb);
        if fault != ProcessFault::KillAtWrite {
            let what = format!("\"{fault}\"");
            self.refuse_parameter(&typed.write, "write", &what, NOTHING);
        }
        let kind = match fault {
            ProcessFault::Kill => ProcessFaultKind::Kill { down_for: lasts? },
            ProcessFault::KillAtWrite => ProcessFaultKind::KillAtWrite {
                write: self.times(&typed.write)?,
                down_for: lasts?,
            },
            ProcessFault::Pause => ProcessFaultKind::Pause { lasts: lasts? },
            ProcessFault::StaleRestart => ProcessFaultKind::StaleRestart {
                age: age?,
                down_for: lasts?,
            },
            ProcessFault::SlowStart => ProcessFaultKind::SlowStart { lasts: lasts? },
        };
        Some(Trouble::Process { of: of?, kind })
    }

    pub(super) fn disk(&mut self, typed: &text::Disk, verb: &Range<usize>) -> Option<Trouble> {
        let of = typed.of.0.as_ref().and_then(|name| {
            self.endpoint_of(name, "a node or \"engine\"", |of| {
                matches!(of, Endpoint::Engine | Endpoint::Node(_))
            })
        });
        let fault = typed.fault.0.as_ref()?.value;
        let lasts = typed
            .span
            .0
            .as_ref()
            .and_then(|span| self.required_span(span));
        let slow = (fault.as_str(), fault == DiskFault::Slow);
        let by = self.span(&typed.by, "by", slow, verb);
        let kind = match fault {
            DiskFault::Torn => DiskFaultKind::Torn { down_for: lasts? },
            DiskFault::Lost => DiskFaultKind::Lost { down_for: lasts? },
            DiskFault::Slow => DiskFaultKind::Slow {
                by: by?,
                lasts: lasts?,
            },
            DiskFault::FailedSync => DiskFaultKind::FailedSync { lasts: lasts? },
            DiskFault::Full => DiskFaultKind::Full { lasts: lasts? },
            DiskFault::ReadError => DiskFaultKind::ReadError { lasts: lasts? },
            DiskFault::BitFlip => DiskFaultKind::BitFlip { lasts: lasts? },
        };
        Some(Trouble::Disk { of: of?, kind })
    }

    pub(super) fn clock(&mut self, typed: &text::Clock, verb: &Range<usize>) -> Option<Trouble> {
        let of = typed.of.0.as_ref().and_then(|name| self.endpoint(name));
        let fault = typed.fault.0.as_ref()?.value;
        let word = fault.as_str();
        let lasts = self.span(&typed.span, "for", (word, fault != ClockFault::Step), verb);
        let by = self.span(&typed.by, "by", (word, fault != ClockFault::Drift), verb);
        let behind = typed.behind.as_ref().is_some_and(|behind| behind.value);
        let kind = match fault {
            ClockFault::Skew => ClockFaultKind::Skew {
                by: by?,
                behind,
                lasts: lasts?,
            },
            ClockFault::Step => ClockFaultKind::Step { by: by?, behind },
            ClockFault::Drift => ClockFaultKind::Drift {
                ppm: self.ppm(&typed.ppm, verb)?,
                behind,
                lasts: lasts?,
            },
        };
        if fault != ClockFault::Drift {
            self.refuse_parameter(&typed.ppm, "ppm", &format!("\"{fault}\""), NOTHING);
        }
        Some(Trouble::Clock { of: of?, kind })
    }

    fn ppm(&mut self, typed: &Optional<u64>, verb: &Range<usize>) -> Option<u32> {
        let help = "add `ppm = 50_000`, from 1 to 500_000";
        let Some(typed) = typed else {
            self.problems
                .at(verb, "\"drift\" lacks `ppm`", "how fast?", help);
            return None;
        };
        if !(1..=500_000).contains(&typed.value) {
            self.problems
                .at(&typed.span, "no such drift", "out of range", help);
        }
        count(typed, self.problems)
    }

    pub(super) fn chain(&mut self, typed: &text::Chain, verb: &Range<usize>) -> Option<Trouble> {
        let fault = typed.fault.0.as_ref()?.value;
        let word = fault.as_str();
        let once = matches!(fault, ChainFault::Evict | ChainFault::Replace);
        let lasts = self.span(&typed.span, "for", (word, !once), verb);
        let what = format!("\"{fault}\"");
        if !once {
            self.refuse_parameter(&typed.on, "on", &what, NOTHING);
        }
        if fault != ChainFault::Lag {
            self.refuse_parameter(&typed.blocks, "blocks", &what, NOTHING);
        }
        if fault != ChainFault::FeeSpike {
            self.refuse_parameter(&typed.feerate, "feerate", &what, NOTHING);
        }
        let kind = match fault {
            ChainFault::LateBlocks => ChainFaultKind::LateBlocks { lasts: lasts? },
            ChainFault::EmptyBlocks => ChainFaultKind::EmptyBlocks { lasts: lasts? },
            ChainFault::FeeSpike => {
                let feerate = self.present(&typed.feerate, ("feerate", "\"40 sat/vB\""), verb)?;
                let place = "what a transaction needs";
                ChainFaultKind::FeeSpike {
                    feerate: positive(
                        &feerate.value.0,
                        &feerate.span,
                        place,
                        Feerate::parse,
                        self.problems,
                    )?,
                    lasts: lasts?,
                }
            }
            ChainFault::Evict => {
                let on = self.present(&typed.on, ("on", "\"p1\""), verb)?;
                ChainFaultKind::Evict {
                    on: self.onchain_payment(on)?,
                }
            }
            ChainFault::Replace => {
                let on = self.present(&typed.on, ("on", "\"p1\""), verb)?;
                ChainFaultKind::Replace {
                    on: self.onchain_charge(on)?,
                }
            }
            ChainFault::Lag => {
                let blocks = self.present(&typed.blocks, ("blocks", "\"2 blocks\""), verb)?;
                ChainFaultKind::Lag {
                    by: self
                        .blocks(&crate::scenario::read::Required(Some(blocks.clone())), word)?,
                    lasts: lasts?,
                }
            }
            ChainFault::Stop => ChainFaultKind::Stop { lasts: lasts? },
            ChainFault::Lie => ChainFaultKind::Lie { lasts: lasts? },
        };
        Some(Trouble::Chain(kind))
    }

    fn present<'a, T>(
        &mut self,
        typed: &'a Optional<T>,
        (key, example): (&str, &str),
        verb: &Range<usize>,
    ) -> Option<&'a At<T>> {
        if typed.is_none() {
            self.problems.at(
                verb,
                format!("this fault lacks `{key}`"),
                "incomplete",
                format!("add `{key} = {example}`"),
            );
        }
        typed.as_ref()
    }

    fn onchain_charge(&mut self, name: &At<String>) -> Option<crate::scenario::PaymentName> {
        let payment = self.onchain_payment(name)?;
        let (_, facts) = self
            .names
            .payment(Some(name), super::names::When::Any, self.problems)?;
        if facts.payout {
            self.problems.add(Problem {
                title: format!("`{payment}` is not paid by an outsider"),
                span: name.span.clone(),
                label: "a payout of the operator".to_owned(),
                also: Some((facts.span.clone(), "made here".to_owned())),
                help: "name an on-chain charge".to_owned(),
            });
        }
        Some(payment)
    }

    pub(super) fn peer(&mut self, typed: &text::Peer, verb: &Range<usize>) -> Option<Trouble> {
        let of = typed.of.0.as_ref().and_then(|name| {
            self.refuse_operator(name, "break the protocol");
            self.names
                .resolve(Kind::Node, NodeName, Some(name), self.problems)
        });
        let fault = typed.fault.0.as_ref()?.value;
        let lasting = (fault.as_str(), fault != PeerFault::Revoked);
        let lasts = self.span(&typed.span, "for", lasting, verb);
        if fault != PeerFault::Revoked {
            let what = format!("\"{fault}\"");
            self.refuse_parameter(&typed.channel, "channel", &what, NOTHING);
        }
        let kind = match fault {
            PeerFault::WithholdHtlc => PeerFaultKind::WithholdHtlc { lasts: lasts? },
            PeerFault::Silent => PeerFaultKind::Silent { lasts: lasts? },
            PeerFault::Revoked => {
                let channel = self.present(&typed.channel, ("channel", "\"a-b\""), verb)?;
                PeerFaultKind::Revoked {
                    channel: self.names.resolve(
                        Kind::Channel,
                        ChannelName,
                        Some(channel),
                        self.problems,
                    )?,
                }
            }
        };
        Some(Trouble::Peer { of: of?, kind })
    }

    pub(super) fn cosigner(&mut self, typed: &text::Cosigner) -> Option<Trouble> {
        let of = typed.of.0.as_ref();
        let of = self
            .names
            .resolve(Kind::Cosigner, CosignerName, of, self.problems);
        let lasts = self.required_span(typed.span.0.as_ref()?);
        let (fault, lasts) = (typed.fault.0.as_ref()?.value, lasts?);
        let kind = match fault {
            CosignerFault::Absent => CosignerFaultKind::Absent { lasts },
            CosignerFault::Undecided => CosignerFaultKind::Undecided { lasts },
            CosignerFault::Refuse => CosignerFaultKind::Refuse { lasts },
            CosignerFault::Alter => CosignerFaultKind::Alter { lasts },
            CosignerFault::WrongSighash => CosignerFaultKind::WrongSighash { lasts },
            CosignerFault::SomethingElse => CosignerFaultKind::SomethingElse { lasts },
            CosignerFault::Twice => CosignerFaultKind::Twice { lasts },
            CosignerFault::SomebodyElses => CosignerFaultKind::SomebodyElses { lasts },
            CosignerFault::LeaveOut => CosignerFaultKind::LeaveOut { lasts },
            CosignerFault::Garbage => CosignerFaultKind::Garbage { lasts },
        };
        Some(Trouble::Cosigner { of: of?, kind })
    }
}
