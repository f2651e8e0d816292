//! Owns the recovery of wallets from their descriptors alone: which scripts to ask the chain about, and when enough is known.
//! Does not own asking (the host) nor what anything was for (`labels`, from the journal).
//!
//! Each look finds used scripts; behind the last used one of a keychain as many more are asked about as the gap limit
//! says (BIP 44). When a look makes no new script known, all is found.

use super::{DescriptorsRefused, ViewRefused, WalletSpec, Wallets};
use crate::rail::{BlockId, ChainView};
use bitcoin::{Network, ScriptBuf};

/// Wallets being recovered.
#[derive(Debug)]
pub struct Recovery {
    wallets: Wallets,
    asked: usize,
}

/// Why there is nothing to recover.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryRefused {
    /// No wallet was named.
    #[error("no wallet was named")]
    NoWallet,
    /// The first one's descriptors make no wallet.
    #[error("{cause}")]
    Descriptors {
        /// Why not.
        #[from]
        cause: DescriptorsRefused,
    },
    /// Another one cannot be opened beside it.
    #[error("{cause}")]
    Open {
        /// Why not.
        #[from]
        cause: super::OpenRefused,
    },
}

impl Recovery {
    /// Knows nothing but the network's genesis block.
    pub fn new(specs: &[WalletSpec], network: Network) -> Result<Recovery, RecoveryRefused> {
        let (first, others) = specs.split_first().ok_or(RecoveryRefused::NoWallet)?;
        let mut wallets = Wallets::new(first.clone(), network)?;
        for spec in others {
            wallets.open(spec)?;
        }
        Ok(Recovery { wallets, asked: 0 })
    }

    /// What the next look must cover, and a block that it must reach back to.
    pub fn question(&mut self) -> (Vec<ScriptBuf>, Vec<BlockId>) {
        let scripts = self.wallets.watched_scripts();
        self.asked = scripts.len();
        (scripts, self.wallets.blocks())
    }

    /// Takes the answer in; whether all is found.
    pub fn take(&mut self, view: &ChainView) -> Result<bool, ViewRefused> {
        self.wallets.apply_view(view)?;
        Ok(self.wallets.watched_scripts().len() == self.asked)
    }

    /// What was found.
    pub fn finish(self) -> Wallets {
        self.wallets
    }
}
