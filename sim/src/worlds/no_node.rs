//! Owns the Lightning port of an engine whose operator has no node: every order is refused. The same in both worlds.
//! Does not own any node.

use futures_util::future::BoxFuture;
use lockstep_engine::money::{Msat, Sat};
use lockstep_engine::rail::NodeView;
use lockstep_host::ports::{
    ClaimOrder, ClaimTaken, CloseChannelOrder, FailOrder, InvoiceOrder, LightningBalance,
    LightningError, LightningEvent, LightningNode, LightningUnavailable, OpenChannelOrder,
    PayError, PayOrder, PayTaken,
};

/// For a scenario without a Lightning node of the operator.
pub struct NoNode;

impl NoNode {
    const REASON: &'static str = "the scenario gives the operator no Lightning node";
}

impl LightningNode for NoNode {
    fn create_invoice(
        &self,
        _: InvoiceOrder,
    ) -> BoxFuture<'static, Result<String, LightningError>> {
        Box::pin(std::future::ready(Err(LightningError::Refused {
            reason: Self::REASON.to_owned(),
        })))
    }

    fn pay(&self, _: PayOrder) -> BoxFuture<'static, Result<PayTaken, PayError>> {
        Box::pin(std::future::ready(Err(PayError::Unavailable {
            reason: Self::REASON.to_owned(),
        })))
    }

    fn claim_held(
        &self,
        _: ClaimOrder,
    ) -> BoxFuture<'static, Result<ClaimTaken, LightningUnavailable>> {
        Box::pin(std::future::ready(Err(LightningUnavailable {
            reason: Self::REASON.to_owned(),
        })))
    }

    fn fail_held(&self, _: FailOrder) -> BoxFuture<'static, Result<(), LightningUnavailable>> {
        Box::pin(std::future::ready(Err(LightningUnavailable {
            reason: Self::REASON.to_owned(),
        })))
    }

    fn balance(&self) -> BoxFuture<'static, Result<LightningBalance, LightningUnavailable>> {
        let nothing = LightningBalance {
            local_msat: Msat(0),
            outgoing_htlcs_msat: Msat(0),
        };
        Box::pin(std::future::ready(Ok(nothing)))
    }

    fn open_channel(&self, _: OpenChannelOrder) -> BoxFuture<'static, Result<(), LightningError>> {
        Box::pin(std::future::ready(Err(LightningError::Refused {
            reason: Self::REASON.to_owned(),
        })))
    }

    fn close_channel(
        &self,
        _: CloseChannelOrder,
    ) -> BoxFuture<'static, Result<(), LightningError>> {
        Box::pin(std::future::ready(Err(LightningError::Refused {
            reason: Self::REASON.to_owned(),
        })))
    }

    fn view(&self) -> BoxFuture<'static, Result<NodeView, LightningUnavailable>> {
        Box::pin(std::future::ready(Ok(NodeView {
            wallet: Sat(0),
            channels: Vec::new(),
            unswept: Vec::new(),
        })))
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn next_event(&self) -> BoxFuture<'static, LightningEvent> {
        Box::pin(std::future::pending())
    }

    fn event_handled(&self) -> BoxFuture<'static, Result<(), LightningUnavailable>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
