//! Owns checking `policy.paying`. Does not own the rest of the policy (`setup`).

use super::{count, positive, right_or_absent};
use crate::scenario::paying::PayingOverrides;
use crate::scenario::problem::Problems;
use crate::scenario::read::At;
use crate::scenario::text;
use crate::scenario::units::{Feerate, Millis, Sat};

/// Checks the table; `None` if something in it is wrong.
pub(super) fn paying(typed: &At<text::Paying>, problems: &mut Problems) -> Option<PayingOverrides> {
    let table = &typed.value;
    let rate = |typed: &At<text::FeerateText>, place: &str, problems: &mut Problems| {
        positive(&typed.value.0, &typed.span, place, Feerate::parse, problems)
    };
    let floor = table
        .floor
        .as_ref()
        .map(|t| rate(t, "the lowest feerate", problems));
    let ceiling = table
        .ceiling
        .as_ref()
        .map(|t| rate(t, "the highest feerate", problems));
    let budget = table
        .budget
        .as_ref()
        .map(|t| positive(&t.value.0, &t.span, "the fee budget", Sat::parse, problems));
    let window = table.window.as_ref().map(|t| {
        positive(
            &t.value.0,
            &t.span,
            "the batching window",
            Millis::parse,
            problems,
        )
    });
    let most = table.most.as_ref().map(|t| count(t, problems));
    let coins = table.coins.as_ref().map(|t| count(t, problems));
    let cheap = table
        .cheap
        .as_ref()
        .map(|t| rate(t, "the feerate of consolidations", problems));
    let (floor, ceiling) = (right_or_absent(floor)?, right_or_absent(ceiling)?);
    let estimate = both(floor, ceiling, ("floor", "ceiling"), typed, problems)?;
    let consolidate = both(
        right_or_absent(coins)?,
        right_or_absent(cheap)?,
        ("coins", "cheap"),
        typed,
        problems,
    )?;
    let wrong = [
        (
            estimate.is_some_and(|(floor, ceiling)| floor.get() > ceiling.get()),
            "`floor` is above `ceiling`",
            "let the floor be the lower one",
        ),
        (
            table.bump.is_some() && estimate.is_none(),
            "`bump` needs `floor` and `ceiling`",
            "only an estimate says that a transaction offers too little: add `floor` and `ceiling`",
        ),
        (
            consolidate.is_some_and(|(coins, _)| coins < 2),
            "`coins` is less than two",
            "one coin cannot be made fewer: write `coins = 10`",
        ),
        (
            most.flatten() == Some(0),
            "`most` is zero",
            "a transaction pays at least one payout: write `most = 10`",
        ),
    ];
    let mut right = true;
    for (_, title, help) in wrong.into_iter().filter(|(wrong, ..)| *wrong) {
        problems.at(&typed.span, title, "of this policy", help);
        right = false;
    }
    right.then_some(PayingOverrides {
        estimate,
        budget: right_or_absent(budget)?,
        bump: table.bump.as_ref().map(|bump| bump.value),
        window: right_or_absent(window)?,
        most: right_or_absent(most)?,
        consolidate,
    })
}

/// Two keys that stand together or not at all.
fn both<A, B>(
    first: Option<A>,
    second: Option<B>,
    (one, other): (&str, &str),
    typed: &At<text::Paying>,
    problems: &mut Problems,
) -> Option<Option<(A, B)>> {
    match (first, second) {
        (Some(first), Some(second)) => Some(Some((first, second))),
        (None, None) => Some(None),
        (Some(_), None) | (None, Some(_)) => {
            let title = format!("`{one}` and `{other}` belong together");
            problems.at(
                &typed.span,
                title,
                "one of them is absent",
                "write both, or neither",
            );
            None
        }
    }
}
