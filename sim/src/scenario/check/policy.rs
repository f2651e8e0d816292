//! Owns checking what the scenario sets of the engine's policy. Does not own the rest of the setup (`setup`).

use super::names::{Kind, Names};
use super::{paying, positive, quantity, right_or_absent};
use crate::scenario::choice::{Bearer, Disposal};
use crate::scenario::model::{Depth, OwnWalletName, PolicyOverrides, Shortfall, Stray};
use crate::scenario::problem::Problems;
use crate::scenario::read::{At, Optional};
use crate::scenario::text;
use crate::scenario::units::{Blocks, CentsPerBtc, Feerate, Millis, Sat};

/// Default of the most that a party may owe.
const RECEIVABLE: &str = "0.01 BTC";

pub(super) fn policy(
    file: &text::Scenario,
    names: &Names,
    problems: &mut Problems,
) -> Option<PolicyOverrides> {
    let Some(typed) = file.policy.as_ref().map(|typed| &typed.value) else {
        return Some(PolicyOverrides::default());
    };
    let rate = typed.rate.as_ref().map(|rate| {
        positive(
            &rate.value.0,
            &rate.span,
            "the policy's rate",
            CentsPerBtc::parse,
            problems,
        )
    });
    let depth = typed.depth.as_ref().map(|rules| depth(rules, problems));
    let payout_depth = typed.payout_depth.as_ref().map(|depth| {
        positive(
            &depth.value.0,
            &depth.span,
            "a payout's depth",
            Blocks::parse,
            problems,
        )
    });
    let feerate = typed.feerate.as_ref().map(|rate| {
        positive(
            &rate.value.0,
            &rate.span,
            "the operator's feerate",
            Feerate::parse,
            problems,
        )
    });
    let hold_margin = typed.hold_margin.as_ref().map(|margin| {
        quantity(
            &margin.value.0,
            &margin.span,
            "the hold margin",
            Blocks::parse,
            problems,
        )
    });
    let poll = typed.poll_interval.as_ref().map(|poll| {
        positive(
            &poll.value.0,
            &poll.span,
            "the poll interval",
            Millis::parse,
            problems,
        )
    });
    let tolerance = typed.tolerance.as_ref().map(|tolerance| {
        quantity(
            &tolerance.value.0,
            &tolerance.span,
            "the tolerance of a charge",
            Sat::parse,
            problems,
        )
    });
    let max_tip_age = typed.max_tip_age.as_ref().map(|age| {
        positive(
            &age.value.0,
            &age.span,
            "the age of a tip",
            Millis::parse,
            problems,
        )
    });
    let shortfall = typed.shortfall.as_ref();
    let shortfall = shortfall.map(|typed| self::shortfall(&typed.value, problems));
    let patience = typed.cosigner_patience.as_ref().map(|patience| {
        positive(
            &patience.value.0,
            &patience.span,
            "the patience with a cosigner",
            Millis::parse,
            problems,
        )
    });
    let paying = typed
        .paying
        .as_ref()
        .map(|typed| paying::paying(typed, problems));
    let by_value = match &typed.wallet_by_value {
        Some(rules) => wallet_by_value(rules, names, problems)?,
        None => Vec::new(),
    };
    Some(PolicyOverrides {
        wallet_by_value: by_value,
        cosigner_patience: right_or_absent(patience)?,
        rate: right_or_absent(rate)?,
        depth: right_or_absent(depth)?,
        payout_depth: right_or_absent(payout_depth)?,
        feerate: right_or_absent(feerate)?,
        charges_into: typed.charges_into.as_ref().map(|word| word.value),
        payouts_from: typed.payouts_from.as_ref().map(|word| word.value),
        hold_margin: right_or_absent(hold_margin)?,
        poll_interval: right_or_absent(poll)?,
        binding: typed.binding.as_ref().map(|asked| asked.value),
        channels: typed
            .channels
            .as_ref()
            .is_some_and(|channels| channels.value),
        reputation: typed
            .reputation
            .as_ref()
            .is_some_and(|reputation| reputation.value),
        stray: typed.stray.as_ref().map(|typed| stray(&typed.value)),
        tolerance: right_or_absent(tolerance)?,
        max_tip_age: right_or_absent(max_tip_age)?,
        shortfall: right_or_absent(shortfall)?,
        paying: right_or_absent(paying)?.unwrap_or_default(),
    })
}

fn stray(typed: &text::Stray) -> Stray {
    let of =
        |kind: &Optional<Disposal>| kind.as_ref().map_or(Disposal::Suspense, |kind| kind.value);
    Stray {
        partial: of(&typed.partial),
        over: of(&typed.over),
        late: of(&typed.late),
        double: of(&typed.double),
    }
}

fn shortfall(typed: &text::Shortfall, problems: &mut Problems) -> Option<Shortfall> {
    let by = typed.by.0.as_ref()?.value;
    if let Some(limit) = typed.limit.as_ref().filter(|_| by != Bearer::Receivable) {
        problems.at(
            &limit.span,
            "only a receivable has a limit",
            format!("this is borne by \"{by}\""),
            "remove `limit`",
        );
        return None;
    }
    let (limit, place) = typed.limit.as_ref().map_or((RECEIVABLE, 0..0), |limit| {
        (limit.value.0.as_str(), limit.span.clone())
    });
    let limit = quantity(limit, &place, "what a party may owe", Sat::parse, problems);
    Some(match by {
        Bearer::Receivable => Shortfall::Receivable { limit: limit? },
        Bearer::Operator => Shortfall::Operator,
        Bearer::Freeze => Shortfall::Freeze,
    })
}

fn wallet_by_value(
    rules: &At<Vec<At<text::WalletRule>>>,
    names: &Names,
    problems: &mut Problems,
) -> Option<Vec<(Sat, OwnWalletName)>> {
    let mut steps: Vec<(Sat, OwnWalletName)> = Vec::new();
    for rule in &rules.value {
        let from = rule.value.from.0.as_ref()?;
        let place = "the amount from which a wallet pays";
        let sat = positive(&from.value.0, &from.span, place, Sat::parse, problems)?;
        let wallet = rule.value.wallet.0.as_ref();
        let wallet = names.resolve(Kind::OwnWallet, OwnWalletName, wallet, problems)?;
        if steps.last().is_some_and(|(before, _)| *before >= sat) {
            problems.at(
                &from.span,
                "wallets by value must ascend",
                "not above the rule before",
                "sort the rules by `from`",
            );
            return None;
        }
        steps.push((sat, wallet));
    }
    Some(steps)
}

fn depth(rules: &At<Vec<At<text::DepthRule>>>, problems: &mut Problems) -> Option<Depth> {
    let mut below: Vec<(Sat, Blocks)> = Vec::new();
    let mut otherwise = None;
    for (index, rule) in rules.value.iter().enumerate() {
        let blocks = rule.value.blocks.0.as_ref().and_then(|blocks| {
            positive(
                &blocks.value.0,
                &blocks.span,
                "a depth",
                Blocks::parse,
                problems,
            )
        });
        let is_last = index + 1 == rules.value.len();
        match &rule.value.below {
            None if is_last => otherwise = blocks,
            None => problems.at(
                &rule.span,
                "only the last rule may lack `below`",
                "the rules after it would never hold",
                "move it to the end",
            ),
            Some(bound) => {
                let sat = positive(
                    &bound.value.0,
                    &bound.span,
                    "a bound of depth rules",
                    Sat::parse,
                    problems,
                );
                if let (Some(sat), Some((before, _))) = (sat, below.last())
                    && sat <= *before
                {
                    let help = "order the rules by `below`, smallest first";
                    problems.at(
                        &bound.span,
                        "depth rules must ascend",
                        format!("not above {before}, the rule before"),
                        help,
                    );
                }
                below.extend(sat.zip(blocks));
                if is_last {
                    problems.at(
                        &rule.span,
                        "the last depth rule must hold for all others",
                        "this has a bound",
                        "add `{ blocks = 6 }` as last rule",
                    );
                }
            }
        }
    }
    if rules.value.is_empty() {
        problems.at(
            &rules.span,
            "no depth rule",
            "an empty list",
            "write `depth = [{ blocks = 6 }]`, or leave `depth` out",
        );
    }
    Some(Depth {
        below,
        otherwise: otherwise?,
    })
}
