//! Owns recovering wallets from their descriptors alone: the chain is asked until no used script is unknown.
//! Does not own which scripts to ask about (`onchain::Recovery`) nor labels (the journal has what they were for).

use crate::ports::{ChainSource, ChainUnavailable};
use bitcoin::Network;
use lockstep_engine::onchain::{Recovery, RecoveryRefused, ViewRefused, WalletSpec, Wallets};

/// Looks in all. Each finds at least one more used script; a wallet with more than this times its gap limit of addresses
/// is none of ours.
const MOST_LOOKS: u32 = 10_000;

/// Why wallets were not recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// There is nothing to recover.
    #[error("failed to make the wallets")]
    Refused(#[source] RecoveryRefused),
    /// The backend gave no view.
    #[error("failed to look at the chain")]
    Unavailable(#[source] ChainUnavailable),
    /// It gave one that cannot be believed.
    #[error("failed to believe the chain's backend")]
    NotBelieved(#[source] ViewRefused),
    /// It goes on finding more.
    #[error("still finding scripts after {MOST_LOOKS} looks")]
    Endless,
}

/// The wallets with all that the chain knows of them.
pub async fn recover_wallets(
    chain: &dyn ChainSource,
    specs: &[WalletSpec],
    network: Network,
) -> Result<Wallets, RecoverError> {
    let mut recovery = Recovery::new(specs, network).map_err(RecoverError::Refused)?;
    for _ in 0..MOST_LOOKS {
        let (scripts, known) = recovery.question();
        let view = chain.view(scripts, known).await;
        let view = view.map_err(RecoverError::Unavailable)?;
        if recovery.take(&view).map_err(RecoverError::NotBelieved)? {
            return Ok(recovery.finish());
        }
    }
    Err(RecoverError::Endless)
}
