//! Owns the tests of several wallets under one view, of the gap limit, of coins set aside, and of recovery.

use super::*;
use crate::rail::Entropy;

fn named(text: &str) -> WalletId {
    WalletId::new(text).expect("valid")
}

fn spec(name: &str, script: &str, seed: u8) -> WalletSpec {
    let public = Xpub::from_priv(&Secp256k1::new(), &master(seed));
    WalletSpec {
        name: named(name),
        purpose: Purpose::Savings,
        ..WalletSpec::hot(Descriptors {
            external: format!("{script}({public}/0/*)"),
            internal: format!("{script}({public}/1/*)"),
        })
    }
}

/// `hot` and a taproot wallet `savings`, with the first script of each.
fn two() -> (Wallets, ScriptBuf, ScriptBuf) {
    let mut wallets =
        Wallets::new(WalletSpec::hot(descriptors()), Network::Regtest).expect("usable");
    wallets.open(&spec("savings", "tr", 8)).expect("another");
    let (_, hot) = wallets.reveal_address(&WalletId::hot());
    let (_, savings) = wallets.reveal_address(&named("savings"));
    assert!(hot.is_p2wpkh() && savings.is_p2tr());
    (wallets, hot, savings)
}

fn whole_state(wallets: &Wallets) -> String {
    serde_json::to_string(&wallets.snapshot()).expect("the snapshot is JSON")
}

fn order(script: &ScriptBuf, sat: u64) -> BuildOrder {
    BuildOrder {
        fee_included: false,
        recipients: vec![Recipient {
            script: script.clone(),
            amount_sat: Sat(sat),
        }],
        confirmed_first: false,
        feerate_sat_per_kwu: 500,
        max_fee_sat: Sat(10_000),
        entropy: Entropy([9; 32]),
    }
}

#[test]
fn one_view_is_the_history_of_all_or_of_none() {
    let (mut wallets, hot, savings) = two();
    let mut both = payment(&hot, PAID_SAT, "payer's coin");
    both.output.extend(payment(&savings, 7_000, "same").output);
    let alone = payment(&savings, 500, "another coin");
    let seen = vec![
        confirmed(&both, block("a", 1)),
        confirmed(&alone, block("a", 1)),
    ];
    wallets
        .apply_view(&view(branch("a", 0, 1), seen))
        .expect("good");
    let totals = BTreeMap::from([
        (WalletId::hot(), Sat(PAID_SAT)),
        (named("savings"), Sat(7_500)),
    ]);
    assert_eq!(wallets.totals(), totals);
    assert_eq!(wallets.confirmations(alone.compute_txid()), Some(1));
    let of_hot: Vec<Txid> = wallets
        .get(&WalletId::hot())
        .expect("open")
        .transactions()
        .collect();
    assert_eq!(
        of_hot,
        [both.compute_txid()],
        "the other is none of its business"
    );

    // What only savings has lost is lost to all: the next block is taken by none.
    let before = whole_state(&wallets);
    let lacking = view(branch("a", 1, 2), vec![confirmed(&both, block("a", 1))]);
    assert!(matches!(
        wallets.check_view(&lacking),
        Err(ViewRefused::HistoryMissing { txid, .. }) if txid == alone.compute_txid()
    ));
    assert_eq!(wallets.apply_view(&lacking), wallets.check_view(&lacking));
    assert_eq!(whole_state(&wallets), before);
    assert_eq!(wallets.tip(), block("a", 1));
}

#[test]
fn coins_of_one_wallet_pay_for_its_own_orders_only() {
    let (mut wallets, hot, savings) = two();
    let seen = vec![
        confirmed(&payment(&hot, 50_000, "1"), block("a", 1)),
        confirmed(&payment(&savings, PAID_SAT, "2"), block("a", 1)),
    ];
    wallets
        .apply_view(&view(branch("a", 0, 1), seen))
        .expect("good");
    let payee = payment(&hot, 1, "x").output[0].script_pubkey.clone();
    let too_much = wallets.build(&WalletId::hot(), order(&payee, 60_000));
    assert!(matches!(
        too_much,
        Err(BuildRefused::InsufficientFunds { .. })
    ));
    let built = wallets
        .build(&named("savings"), order(&payee, 60_000))
        .expect("enough");
    let psbt: Psbt = built.psbt_base64.parse().expect("a PSBT");
    let change = psbt
        .unsigned_tx
        .output
        .iter()
        .find(|o| o.script_pubkey != payee);
    let change = change.expect("40,000 sat are left").script_pubkey.clone();
    assert_eq!(wallets.owner_of(&change), Some(&named("savings")));
    assert_eq!(wallets.abandon(built.txid), Ok(()));
    assert!(matches!(
        wallets.abandon(built.txid),
        Err(AbandonRefused::NotBuiltHere { .. })
    ));
}

#[test]
fn a_wallet_is_opened_once_and_under_descriptors_of_its_own() {
    let (mut wallets, ..) = two();
    let again = wallets.open(&spec("savings", "wpkh", 9));
    assert!(matches!(again, Err(OpenRefused::Exists { .. })));
    let same = wallets.open(&spec("other", "tr", 8));
    assert!(
        matches!(same, Err(OpenRefused::DescriptorsInUse { other, .. }) if other == named("savings"))
    );
    let mut swapped = spec("other", "tr", 8);
    let Descriptors { external, internal } = swapped.descriptors.clone();
    swapped.descriptors = Descriptors {
        external: internal,
        internal: external,
    };
    assert!(matches!(
        wallets.open(&swapped),
        Err(OpenRefused::DescriptorsInUse { .. })
    ));
    for gap_limit in [0, 1_001] {
        let spec = WalletSpec {
            gap_limit,
            ..spec("other", "tr", 9)
        };
        assert_eq!(
            wallets.open(&spec),
            Err(OpenRefused::GapLimit { gap_limit })
        );
    }
}

#[test]
fn a_wallet_that_is_opened_late_knows_the_chain_and_then_its_history() {
    let (mut wallets, ..) = two();
    wallets
        .apply_view(&view(branch("a", 0, 5), vec![]))
        .expect("good");
    wallets.open(&spec("late", "wpkh", 9)).expect("another");
    let late = wallets.get(&named("late")).expect("open");
    assert_eq!((late.tip(), late.total()), (block("a", 5), Sat(0)));
    let (_, script) = wallets.reveal_address(&named("late"));
    let paid = confirmed(&payment(&script, PAID_SAT, "old"), block("a", 3));
    wallets
        .apply_view(&view(branch("a", 5, 6), vec![paid]))
        .expect("good");
    assert_eq!(wallets.total(&named("late")), Sat(PAID_SAT));
    assert_eq!(wallets.take_unseen(), [named("late"), named("savings")]);
    assert_eq!(wallets.take_unseen(), []);
}

#[test]
fn unused_addresses_are_counted_behind_the_last_that_was_paid() {
    let mut onchain = wallet();
    let scripts: Vec<ScriptBuf> = (0..5).map(|_| onchain.reveal_address().1).collect();
    assert_eq!(onchain.unused_addresses(), 5);
    let paid = payment(&scripts[2], PAID_SAT, "coin");
    let blocks = branch("a", 0, 1);
    onchain
        .apply_view(&view(blocks.clone(), vec![in_mempool(&paid)]))
        .expect("good");
    assert_eq!(onchain.unused_addresses(), 2);
    onchain.apply_view(&view(blocks, vec![])).expect("good");
    assert_eq!(onchain.unused_addresses(), 2, "what was ever paid is used");
}

#[test]
fn a_coin_that_is_set_aside_is_not_spent() {
    let (mut wallets, hot, _) = two();
    let paid = payment(&hot, PAID_SAT, "coin");
    let coin = OutPoint {
        txid: paid.compute_txid(),
        vout: 0,
    };
    let seen = vec![confirmed(&paid, block("a", 1))];
    wallets
        .apply_view(&view(branch("a", 0, 1), seen))
        .expect("good");
    wallets.set_spendable(coin, false);
    let payee = payment(&hot, 1, "x").output[0].script_pubkey.clone();
    let refused = wallets.build(&WalletId::hot(), order(&payee, 1_000));
    assert!(matches!(
        refused,
        Err(BuildRefused::InsufficientFunds { .. })
    ));
    wallets.set_spendable(coin, true);
    assert!(
        wallets
            .build(&WalletId::hot(), order(&payee, 1_000))
            .is_ok()
    );
}

#[test]
fn recovery_goes_on_as_long_as_it_finds_scripts() {
    let original = {
        let mut onchain = wallet();
        let scripts: Vec<ScriptBuf> = (0..80).map(|_| onchain.reveal_address().1).collect();
        scripts
    };
    // Gaps of 19 are within the limit of 20, the one of 21 before the last is not.
    let paid: Vec<Transaction> = [(19, 1_000), (39, 2_000), (58, 4_000), (79, 8_000)]
        .map(|(index, sat): (usize, u64)| payment(&original[index], sat, &index.to_string()))
        .to_vec();
    let mut recovery =
        Recovery::new(&[WalletSpec::hot(descriptors())], Network::Regtest).expect("usable");
    let mut looks = 0;
    loop {
        looks += 1;
        let (scripts, known) = recovery.question();
        assert_eq!(known.first(), Some(&block("a", 0)));
        let shown = paid
            .iter()
            .filter(|tx| scripts.contains(&tx.output[0].script_pubkey));
        let shown = shown.map(|tx| confirmed(tx, block("a", 1))).collect();
        if recovery
            .take(&view(branch("a", 0, 1), shown))
            .expect("good")
        {
            break;
        }
    }
    let found = recovery.finish();
    assert_eq!((looks, found.total(&WalletId::hot())), (4, Sat(7_000)));
    let onchain = found.get(&WalletId::hot()).expect("open");
    assert_eq!(onchain.history().count(), 3);
    let fingerprint = master(7).fingerprint(&Secp256k1::new());
    assert_eq!(onchain.origin(), format!("wpkh([{fingerprint}])"));
}

/// Nobody is asked twice for one payment.
#[test]
fn what_cosigners_signed_is_not_bumped() {
    let (mut wallets, hot, _) = two();
    let person = |seed: u8| {
        let account = Xpub::from_priv(&Secp256k1::new(), &master(seed));
        let fingerprint = account.fingerprint();
        Cosigner {
            name: crate::id::CosignerId::new(format!("person-{seed}")).expect("valid"),
            key: format!("[{fingerprint}]{account}"),
        }
    };
    let people = Cosigners {
        threshold: 2,
        of: vec![person(21), person(22)],
        recovery: None,
    };
    let spec = WalletSpec {
        name: named("vault"),
        purpose: Purpose::Multisig,
        custody: Custody::Cosigners(people.clone()),
        descriptors: people.descriptors(),
        ..WalletSpec::hot(descriptors())
    };
    wallets.open(&spec).expect("another");
    let (_, vault) = wallets.reveal_address(&named("vault"));
    let seen = vec![confirmed(&payment(&vault, PAID_SAT, "1"), block("a", 1))];
    wallets
        .apply_view(&view(branch("a", 0, 1), seen))
        .expect("good");
    let built = wallets
        .build(&named("vault"), order(&hot, 60_000))
        .expect("enough");
    let bump = BumpOrder {
        txid: built.txid,
        feerate_sat_per_kwu: 5_000,
        max_fee_sat: Sat(20_000),
        entropy: Entropy([9; 32]),
    };
    let refused = Err(BumpRefused::Cosigned { txid: built.txid });
    assert_eq!(wallets.replace(&named("vault"), &bump), refused);
    assert_eq!(wallets.child(&named("vault"), &bump), refused);
}
