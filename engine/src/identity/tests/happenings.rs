//! Owns the property that a wallet is bound exactly while all was checked, whatever happens in whatever order.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What may happen to one binding.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Prove { wallet: bool, did: bool, text: bool },
    Status(Option<DidState>),
    Revoke,
    DidRevoked,
    DidRotated,
    Rotate { old: bool, new: bool },
    Wait { hours: u8 },
}

fn happening() -> impl Strategy<Value = Happening> {
    let state = prop_oneof![
        4 => Just(Some(DidState::Active)),
        1 => Just(Some(DidState::Suspended)),
        1 => Just(None),
    ];
    prop_oneof![
        4 => (prop::bool::weighted(0.8), prop::bool::weighted(0.8), prop::bool::weighted(0.8))
            .prop_map(|(wallet, did, text)| Happening::Prove { wallet, did, text }),
        5 => state.prop_map(Happening::Status),
        1 => Just(Happening::Revoke),
        1 => Just(Happening::DidRevoked),
        1 => Just(Happening::DidRotated),
        3 => (prop::bool::weighted(0.8), prop::bool::weighted(0.8))
            .prop_map(|(old, new)| Happening::Rotate { old, new }),
        2 => (0_u8..25).prop_map(|hours| Happening::Wait { hours }),
    ]
}

/// What must be true, told a second time and without the code's states.
#[derive(Default)]
struct Shadow {
    wallet_proven: bool,
    did_proven: bool,
    active: bool,
    ended: bool,
    until: Option<u64>,
}

struct Story {
    book: Bindings,
    challenge: Challenge,
    now: Timestamp,
    /// Holders by the number of rotations: the DID after n of them.
    holder: u8,
    named: bool,
    shadow: Shadow,
}

impl Story {
    fn new() -> Story {
        let (book, challenge) = registered(&Holder::ed(100));
        Story {
            book,
            challenge,
            now: Timestamp(1_000),
            holder: 100,
            named: false,
            shadow: Shadow::default(),
        }
    }

    fn happens(&mut self, what: Happening) {
        let holder = Holder::ed(self.holder);
        let next = Holder::ed(self.holder.saturating_add(1));
        match what {
            Happening::Prove { wallet, did, text } => {
                let text = if text {
                    self.challenge.text.clone()
                } else {
                    "other".to_owned()
                };
                let order = ProveWallet {
                    binding: id("w"),
                    wallet_proof: proof(if wallet { 1 } else { 2 }, &text),
                    did_signature: if did {
                        holder.sign(&text)
                    } else {
                        next.sign(&text)
                    },
                };
                if self.book.check_prove(self.now, &order).is_ok() {
                    assert!(wallet && did && text == self.challenge.text);
                    assert!(self.now < self.challenge.answer_before);
                    self.book.prove(&order);
                    (self.shadow.wallet_proven, self.shadow.did_proven) = (true, true);
                }
            }
            Happening::Status(state) => {
                let status = state.map(|state| DidRecord {
                    state,
                    ..active(&holder.did())
                });
                let status = status.as_ref().ok_or(NotBound::DidUnknown);
                match self.book.on_status(self.now, &id("w"), status) {
                    Some(Confirmed::Bound { until }) => {
                        assert_eq!(state, Some(DidState::Active));
                        self.shadow.active = true;
                        let first = *self.shadow.until.get_or_insert(until.0);
                        assert_eq!(first, until.0);
                    }
                    Some(Confirmed::Refused { .. }) => self.shadow.ended = true,
                    None => {}
                }
            }
            Happening::Revoke => {
                if self.book.check_revoke(&id("w")).is_ok() {
                    assert!(self.book.revoke(&id("w"), RevokedBy::Party));
                    self.shadow.ended = true;
                }
            }
            Happening::DidRevoked => {
                if !self.book.on_did_revoked(&holder.did()).is_empty() {
                    self.shadow.ended = true;
                }
            }
            Happening::DidRotated => {
                if !self
                    .book
                    .on_did_rotated(&holder.did(), &next.did())
                    .is_empty()
                {
                    self.shadow.did_proven = false;
                    self.shadow.active = false;
                    self.named = true;
                }
            }
            Happening::Rotate { old, new } => self.rotate(&holder, &next, old, new),
            Happening::Wait { hours } => {
                self.now = self
                    .now
                    .plus(Span::secs(u64::from(hours).saturating_mul(3_600)));
                if self.now >= self.challenge.answer_before && self.book.on_challenge_over(&id("w"))
                {
                    self.shadow.ended = true;
                }
                if self.book.on_expiry(self.now, &id("w")) {
                    assert!(self.shadow.until.is_some_and(|until| until <= self.now.0));
                    self.shadow.ended = true;
                }
            }
        }
    }

    fn rotate(&mut self, holder: &Holder, next: &Holder, old: bool, new: bool) {
        let rotations = u32::from(self.holder.saturating_sub(100));
        let text = rotation_text(&id("w"), &self.challenge, &next.did(), rotations);
        let order = RotateDid {
            binding: id("w"),
            to: next.did(),
            old_signature: old.then(|| holder.sign(&text)),
            new_signature: if new {
                next.sign(&text)
            } else {
                holder.sign(&text)
            },
        };
        if self.book.check_rotate(&order).is_ok() {
            assert!(new && (old || self.named));
            self.book.rotate(&order);
            self.holder = self.holder.saturating_add(1);
            self.named = false;
            self.shadow.did_proven = true;
            self.shadow.active = false;
        }
    }

    fn check(&self) {
        let shadow = &self.shadow;
        let due = shadow.until.is_none_or(|until| self.now.0 < until);
        let may =
            shadow.wallet_proven && shadow.did_proven && shadow.active && !shadow.ended && due;
        let is = owner(&self.book, 1, Purpose::Both).is_some();
        assert_eq!(is, may, "{}", state(&self.book));
        if shadow.ended {
            assert!(self.book.get(&id("w")).is_some_and(Binding::is_final));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_wallet_is_bound_exactly_while_all_was_checked(happenings in prop::collection::vec(happening(), 1..24)) {
        let mut story = Story::new();
        for what in happenings {
            story.happens(what);
            story.check();
        }
    }
}

/// The property above must see bound wallets, and every end.
#[test]
fn the_property_reaches_every_state() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::new();
    for _ in 0..200 {
        let plan = prop::collection::vec(happening(), 1..24);
        let plan = plan.new_tree(&mut runner).expect("draws").current();
        let mut story = Story::new();
        for what in plan {
            story.happens(what);
            *seen.entry(state(&story.book)).or_insert(0_u32) += 1;
        }
    }
    let states = [
        "bound", "checking", "expired", "proposed", "refused", "revoked", "rotated",
    ];
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), states);
}
