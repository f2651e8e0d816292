//! Owns a scenario that says everything that the format can say, and the canonical line of each of its steps. Does not own
//! what is checked with it (`tests`).

/// Everything that the format can say, once.
pub(in crate::scenario) const EVERYTHING: &str = r#"
title = "Everything that the format can say"
worlds = ["simulated"]
why_not = { regtest = "faults of links are simulated only" }
covers = ["L1", "F54"]
seed = 7
pace = "free"
operator = { node = "shop", wallet = "0.1 BTC", gateway = "1_000.00 EUR", wallets = { savings = { purpose = "savings", script = "tr", funds = "0.2 BTC", gap_limit = 5 }, own = { owner = "merchant" }, vault = { purpose = "multisig", cosigners = { threshold = 2, of = ["anna", "ben"], recovery = "notary", after = "20 blocks" } } } }
policy.rate = "60_000.00 EUR/BTC"
policy.payout_depth = "2 blocks"
policy.feerate = "3 sat/vB"
policy.hold_margin = 0
policy.poll_interval = "1 min"
policy.reputation = true
policy.channels = true
policy.charges_into = "hot"
policy.payouts_from = "hot"
policy.wallet_by_value = [{ from = "0.1 BTC", wallet = "vault" }]
policy.cosigner_patience = "10 min"
policy.binding = "payouts"
policy.stray = { partial = "credit", over = "refund", late = "suspense", double = "refund" }
policy.tolerance = "10 sat"
policy.max_tip_age = "20 min"
policy.shortfall = { by = "receivable", limit = "100_000 sat" }
policy.paying = { floor = "1 sat/vB", ceiling = "40 sat/vB", budget = "30_000 sat", bump = "child", window = "5 min", most = 3, coins = 20, cheap = "2 sat/vB" }
policy.depth = [{ below = "1_000_000 sat", blocks = 1 }, { blocks = "6 blocks" }]
parties.merchant = { did = "key" }
parties.heir = { did = "key" }
nodes.shop = {}
nodes.B = { funds = "0.2 BTC" }
nodes.buyer = { funds = "0.2 BTC" }
wallets.alice = { funds = "0.5 BTC" }
wallets.bob = {}
accounts.merchant-bank = { iban = "DE89 3704 0044 0532 0130 00", name = "Merchant GmbH" }
channels.buyer-B = { from = "buyer", to = "B", capacity = "2_000_000 sat", push = "500_000 sat" }
channels.B-shop = { from = "B", to = "shop", capacity = "2_000_000 sat", announced = false, fees = { from = { base = "200 msat", ppm = 1_000, cltv = "40 blocks" } } }
channels.late = { from = "buyer", to = "B", capacity = "1_000_000 sat", later = true }
steps = [
  { at = "10 s", charge = { id = "c1", party = "merchant", amount = "400_000 sat", over = "lightning", hold = true, expires = "2 h" } },
  { pay = { charge = "c1", from = "buyer", amount = "400_001 msat" } },
  { expect = { payment = "c1", state = "held", within = "5 min" } },
  { release = "c1" },
  { charge = { id = "c2", party = "merchant", amount = "1 sat", over = "lightning", hold = true } },
  { refuse = "c2" },
  { expect = { payment = "c2", state = "failed", reason = "refused" } },
  { at = "10.2 s", pay = { id = "p1", from = "buyer", to = "merchant", amount = "5_000_000 sat", over = "lightning" } },
  { pay = { id = "p2", from = "alice", to = "merchant", amount = "0.01 BTC", feerate = "2.5 sat/vB" } },
  { open = "late" },
  { expect = { channel = "late", state = "open", within = "5 min" } },
  { expect = { node = "buyer", balance = "1 sat" } },
  { close = { channel = "late", by = "B" } },
  { close = { channel = "late", force = true } },
  { fee = "10 sat/vB" },
  { mine = "6 blocks" },
  { expect = { confirmations = { payment = "p2", at_least = 1 } } },
  { reorg = { depth = 2, then = 3, drop = ["p2"], keep = true } },
  { crash = { node = "B" } },
  { restart = { node = "B" } },
  { crash = { node = "B", for = "30 s" } },
  { crash = { engine = "journaled", on = "o1" } },
  { gateway = { fault = "lose-response", on = "o1" } },
  { gateway = { fault = "duplicate-webhook", on = "o1" } },
  { gateway = { fault = "delay-webhook", on = "o1", by = "1 min" } },
  { gateway = { fault = "drop-webhook", on = "o1" } },
  { gateway = { fault = "wrong-signature", on = "o1" } },
  { gateway = { fault = "forged-webhook", on = "o1" } },
  { gateway = { fault = "reject", on = "o1", code = "invalid_iban" } },
  { gateway = { fault = "return", on = "o1", reason = "AC06", after = "2 d" } },
  { gateway = { fault = "server-error", on = "o1", times = 3 } },
  { gateway = { fault = "lose-request", on = "o1" } },
  { gateway = { fault = "slow-response", on = "o1", by = "40 s" } },
  { gateway = { fault = "slow-body", on = "o1", by = "5 s" } },
  { gateway = { fault = "cut-body", on = "o1" } },
  { gateway = { fault = "too-many-requests", on = "o1", times = 2 } },
  { gateway = { fault = "forget-key", on = "o1" } },
  { gateway = { fault = "reorder-webhooks", on = "o1" } },
  { gateway = { fault = "wrong-amount", on = "o1" } },
  { payout = { id = "o1", from = "merchant", to = "merchant-bank", amount = "12.50 EUR", funded_by = "BTC", over = "sepa", deadline = "1 h" } },
  { payout = { id = "o2", from = "merchant", to = "buyer", amount = "4_999_999 msat" } },
  { payout = { id = "o3", from = "merchant", to = "alice", amount = "0.001 BTC" } },
  { link = { between = ["buyer", "B"], fault = "partition", for = "20 s" }, only = "simulated" },
  { link = { between = ["buyer", "B"], fault = "disconnect" } },
  { link = { between = ["buyer", "B"], fault = "delay", by = "500 ms", for = "20 s" } },
  { link = { between = ["engine", "gateway"], fault = "one-way", for = "20 s" } },
  { link = { between = ["B", "chain"], fault = "clog", for = "20 s" } },
  { link = { between = ["buyer", "B"], fault = "half-open", for = "20 s" } },
  { link = { between = ["buyer", "B"], fault = "spikes", by = "2 s", for = "20 s" } },
  { link = { between = ["chain", "B"], fault = "reorder", by = "2 s", for = "20 s" } },
  { link = { between = ["chain", "engine"], fault = "duplicate", for = "20 s" } },
  { link = { between = ["buyer", "B"], fault = "loss", for = "20 s" } },
  { process = { of = "engine", fault = "kill", for = "5 s" } },
  { process = { of = "B", fault = "kill-at-write", write = 3, for = "5 s" } },
  { process = { of = "gateway", fault = "pause", for = "5 s" } },
  { process = { of = "B", fault = "stale-restart", by = "1 min", for = "5 s" } },
  { process = { of = "B", fault = "slow-start", for = "5 s" } },
  { disk = { of = "engine", fault = "torn", for = "5 s" } },
  { disk = { of = "engine", fault = "lost", for = "5 s" } },
  { disk = { of = "B", fault = "slow", by = "300 ms", for = "5 s" } },
  { disk = { of = "engine", fault = "failed-sync", for = "5 s" } },
  { disk = { of = "B", fault = "full", for = "5 s" } },
  { disk = { of = "engine", fault = "read-error", for = "5 s" } },
  { disk = { of = "engine", fault = "bit-flip", for = "5 s" } },
  { clock = { of = "engine", fault = "skew", by = "90 s", for = "1 h" } },
  { clock = { of = "chain", fault = "step", by = "10 min", behind = true } },
  { clock = { of = "B", fault = "drift", ppm = 50_000, for = "1 h" } },
  { chain = { fault = "late-blocks", for = "1 h" } },
  { chain = { fault = "empty-blocks", for = "1 h" } },
  { chain = { fault = "fee-spike", feerate = "40 sat/vB", for = "1 h" } },
  { chain = { fault = "evict", on = "o3" } },
  { chain = { fault = "replace", on = "p2" } },
  { chain = { fault = "lag", blocks = 2, for = "1 h" } },
  { chain = { fault = "stop", for = "1 h" } },
  { chain = { fault = "lie", for = "1 h" } },
  { peer = { of = "B", fault = "withhold-htlc", for = "1 min" } },
  { peer = { of = "B", fault = "silent", for = "1 min" } },
  { peer = { of = "B", fault = "revoked", channel = "buyer-B" } },
  { wait = "2 min" },
  { reconcile = { id = "r1" } },
  { expect = { party = "merchant", btc = "-5_000_000 sat", eur = "0.00 EUR" } },
  { expect = { channel = "buyer-B", end = "B", balance = "500_000 sat" } },
  { expect = { forwarded = { node = "B", fee = "200 msat" } } },
  { expect = { htlc = { channel = "buyer-B", amount = "5_010_198 msat", cltv_delta = 80 } } },
  { expect = { wallet = "operator", balance = "0.1 BTC" } },
  { expect = { wallet = "alice", balance = "0 sat" } },
  { expect = { account = "merchant-bank", balance = "12.50 EUR" } },
  { expect = { account = "operator", balance = "987.50 EUR" } },
  { expect = { run = "r1", breaks = 0 } },
  { expect = { executed = "o1", times = 1 } },
  { enrol = "merchant" },
  { expect = { enrolment = "merchant", state = "enrolled", within = "10 s" } },
  { layer0 = { party = "merchant", state = "revoked" } },
  { layer0 = { fault = "lose-request", party = "merchant", times = 2 } },
  { layer0 = { fault = "lose-response", on = "c1" } },
  { layer0 = { fault = "slow-response", on = "c1", by = "40 s" } },
  { layer0 = { fault = "slow-body", on = "c1", by = "5 s" } },
  { layer0 = { fault = "cut-body", on = "c1" } },
  { layer0 = { fault = "server-error", on = "c1", times = 3 } },
  { layer0 = { fault = "too-many-requests", on = "c1" } },
  { layer0 = { fault = "forget-key", on = "c1" } },
  { link = { between = ["engine", "layer0"], fault = "partition", for = "1 h" } },
  { process = { of = "layer0", fault = "kill", for = "5 s" } },
  { expect = { stated = "c1", outcome = "failed-by-subject", times = 2, within = "1 min" } },
  { expect = { reputation = "merchant", score = 480 } },
  { register = { id = "home", party = "merchant", wallet = "alice", did = "heir", purpose = "payouts", valid_for = "2 h" } },
  { register = { id = "other", party = "heir", wallet = "bob" } },
  { prove = { binding = "home" } },
  { prove = { binding = "other", wallet = "alice", challenge = "home", did = "merchant" } },
  { expect = { binding = "home", state = "bound", within = "1 min" } },
  { rotate = { binding = "home", to = "merchant" } },
  { rotate = { binding = "home", to = "heir", old_signs = false, new_signs = false } },
  { revoke = "home" },
  { layer0 = { party = "merchant", rotates_to = "heir" } },
  { move = { id = "m1", from = "savings", to = "hot", amount = "0.05 BTC" } },
  { address = "savings" },
  { charge = { id = "c3", party = "merchant", amount = "0.02 BTC", over = "onchain", wallet = "savings", refund_to = "bob" } },
  { pay = { charge = "c3", from = "alice", amount = "0.01 BTC" } },
  { pay = { charge = "c3", from = "alice", instead_of = "c3" } },
  { payout = { id = "o4", from = "merchant", to = "bob", amount = "0.001 BTC", payee = "heir", wallet = "savings" } },
  { payout = { id = "o5", from = "merchant", to = "bob", amount = "all", payee = "heir" } },
  { charge = { id = "c4", party = "merchant", amount = "any", over = "lightning", description = "alms" } },
  { charge = { id = "c5", party = "merchant", amount = "1 sat", over = "lightning", description_hash = "alms" } },
  { charge = { id = "c6", party = "merchant", amount = "0.01 BTC", over = "onchain", invoice = true, description = "a bicycle" } },
  { pay = { charge = "c6", from = "buyer" } },
  { payout = { id = "o6", from = "merchant", to = "buyer", amount = "1 sat", invoice = "open", max_fee = "0 msat", retry = "1 min" } },
  { payout = { id = "o7", from = "merchant", to = "buyer", amount = "1 sat", invoice_of = "o6" } },
  { expect = { payment = "o6", state = "unknown" } },
  { label = { charge = "c3", text = "alms", spendable = false } },
  { label = { charge = "c3", spendable = true } },
  { recover = "savings" },
  { restore = "engine" },
  { sweep = "vault" },
  { cosigner = { of = "ben", fault = "absent", for = "5 min" } },
  { cosigner = { of = "ben", fault = "undecided", for = "5 min" } },
  { cosigner = { of = "ben", fault = "refuse", for = "5 min" } },
  { cosigner = { of = "ben", fault = "alter", for = "5 min" } },
  { cosigner = { of = "ben", fault = "wrong-sighash", for = "5 min" } },
  { cosigner = { of = "ben", fault = "something-else", for = "5 min" } },
  { cosigner = { of = "ben", fault = "twice", for = "5 min" } },
  { cosigner = { of = "ben", fault = "somebody-elses", for = "5 min" } },
  { cosigner = { of = "ben", fault = "leave-out", for = "5 min" } },
  { cosigner = { of = "ben", fault = "garbage", for = "5 min" } },
  { charge = { id = "e1", party = "merchant", amount = "5 sat", over = "lightning", escrow = { id = "deal", agent = "heir" } } },
  { charge = { id = "e2", party = "merchant", amount = "7_000 sat", over = "onchain", refund_to = "bob", escrow = { id = "deal", agent = "heir" } } },
  { decide = { escrow = "deal", verdict = "release", signer = "merchant" } },
  { decide = { escrow = "deal", verdict = "refuse", altered = true, times = 2 } },
  { decide = { escrow = "deal", verdict = "split", shares = [{ charge = "e1", payee = "4_999 msat", payer = "1 msat", to = "buyer" }, { charge = "e2", payee = "0 sat", payer = "7_000 sat" }] } },
  { expect = { payment = "e1.refund-1", state = "settled" } },
]
"#;

/// The canonical line of each step of `EVERYTHING`.
pub(super) const LINES: &str = "\
at 10 s: charge c1: merchant 400000 sat over lightning hold expires 7200 s
pay c1: buyer instead 400001 msat
expect payment c1 held within 300 s
release c1
charge c2: merchant 1 sat over lightning hold expires 3600 s
refuse c2
expect payment c2 failed because refused
at 10.2 s: pay p1: buyer -> merchant 5000000 sat over lightning
pay p2: alice -> merchant 1000000 sat over onchain at 2.5 sat/vB
open late
expect channel late open within 300 s
expect node buyer balance 1 sat
close late by B
force-close late by buyer
fee 10 sat/vB
mine 6 blocks
expect confirmations p2 at least 1
reorg 2 blocks then 3 blocks drop p2 keep
crash node B
restart node B
crash node B for 30 s
crash engine journaled on o1
gateway lose-response on o1 times 1
gateway duplicate-webhook on o1
gateway delay-webhook on o1 by 60 s
gateway drop-webhook on o1
gateway wrong-signature on o1
gateway forged-webhook on o1
gateway reject on o1 code invalid_iban
gateway return on o1 reason AC06 after 172800 s
gateway server-error on o1 times 3
gateway lose-request on o1 times 1
gateway slow-response on o1 by 40 s
gateway slow-body on o1 by 5 s
gateway cut-body on o1 times 1
gateway too-many-requests on o1 times 2
gateway forget-key on o1
gateway reorder-webhooks on o1
gateway wrong-amount on o1
payout o1: merchant -> merchant-bank 12.50 EUR over sepa funded by BTC within 3600 s
payout o2: merchant -> buyer 4999999 msat over lightning within 3600 s
payout o3: merchant -> alice 100000 sat over onchain within 3600 s
link partition buyer <-> B for 20 s only in simulated
link disconnect buyer <-> B
link delay buyer <-> B by 0.5 s for 20 s
link one-way engine <-> gateway for 20 s
link clog B <-> chain for 20 s
link half-open buyer <-> B for 20 s
link spikes buyer <-> B by 2 s for 20 s
link reorder chain <-> B by 2 s for 20 s
link duplicate chain <-> engine for 20 s
link loss buyer <-> B for 20 s
process kill engine for 5 s
process kill-at-write B 3 for 5 s
process pause gateway for 5 s
process stale-restart B by 60 s for 5 s
process slow-start B for 5 s
disk torn engine for 5 s
disk lost engine for 5 s
disk slow B by 0.3 s for 5 s
disk failed-sync engine for 5 s
disk full B for 5 s
disk read-error engine for 5 s
disk bit-flip engine for 5 s
clock skew engine by 90 s for 3600 s
clock step chain by 600 s behind
clock drift B by 50000 ppm for 3600 s
chain late-blocks for 3600 s
chain empty-blocks for 3600 s
chain fee-spike 40 sat/vB for 3600 s
chain evict o3
chain replace p2
chain lag by 2 blocks for 3600 s
chain stop for 3600 s
chain lie for 3600 s
peer withhold-htlc B for 60 s
peer silent B for 60 s
peer revoked B buyer-B
wait 120 s
reconcile r1
expect party merchant btc -5000000 sat eur 0.00 EUR
expect channel buyer-B end B balance 500000 sat
expect forwarded B fee 200 msat
expect htlc buyer-B 5010198 msat cltv delta 80 blocks
expect wallet operator balance 10000000 sat
expect wallet alice balance 0 sat
expect account merchant-bank balance 12.50 EUR
expect account operator balance 987.50 EUR
expect run r1 breaks 0
expect executed o1 times 1
enrol merchant
expect enrolment merchant enrolled within 10 s
layer0 merchant revoked
layer0 lose-request party merchant times 2
layer0 lose-response on c1 times 1
layer0 slow-response on c1 by 40 s
layer0 slow-body on c1 by 5 s
layer0 cut-body on c1 times 1
layer0 server-error on c1 times 3
layer0 too-many-requests on c1 times 1
layer0 forget-key on c1
link partition engine <-> layer0 for 3600 s
process kill layer0 for 5 s
expect stated c1 failed-by-subject times 2 within 60 s
expect reputation merchant score 480
register home: alice of merchant for payouts by the DID of heir valid for 7200 s
register other: bob of heir for both by the DID of heir valid for 86400 s
prove home
prove other with wallet alice over the challenge of home signed by merchant
expect binding home bound within 60 s
rotate home to the DID of merchant
rotate home to the DID of heir, the old one unsigned, the new one unsigned
revoke home
layer0 merchant rotates to heir
move m1: savings -> hot 5000000 sat
address savings
charge c3: merchant 2000000 sat over onchain into savings expires 3600 s refund to bob
pay c3: alice instead 1000000 sat
pay c3: alice in place of c3
payout o4: merchant -> bob 100000 sat over onchain out of savings within 3600 s bound to heir
payout o5: merchant -> bob all over onchain within 3600 s bound to heir
charge c4: merchant any amount over lightning for \"alms\" expires 3600 s
charge c5: merchant 1 sat over lightning for the hash of \"alms\" expires 3600 s
charge c6: merchant 1000000 sat over onchain or by invoice for \"a bicycle\" expires 3600 s
pay c6: buyer
payout o6: merchant -> buyer 1 sat over lightning invoice open max fee 0 sat retry 60 s within 3600 s
payout o7: merchant -> buyer 1 sat over lightning invoice of o6 within 3600 s
expect payment o6 unknown
label c3 \"alms\" not spendable
label c3 spendable
recover savings
restore engine
sweep vault
cosigner absent ben for 300 s
cosigner undecided ben for 300 s
cosigner refuse ben for 300 s
cosigner alter ben for 300 s
cosigner wrong-sighash ben for 300 s
cosigner something-else ben for 300 s
cosigner twice ben for 300 s
cosigner somebody-elses ben for 300 s
cosigner leave-out ben for 300 s
cosigner garbage ben for 300 s
charge e1: merchant 5 sat over lightning expires 3600 s in escrow deal of heir
charge e2: merchant 7000 sat over onchain expires 3600 s refund to bob in escrow deal of heir
decide deal: release signed by merchant
decide deal: refuse altered told 2 times
decide deal: split e1 4999 msat and 1 msat to buyer e2 0 sat and 7000 sat
expect payment e1.refund-1 settled";
