//! Owns what the engine must know of SEPA credit transfers through a gateway: IBANs, the gateway's requests and
//! answers, its webhooks and its daily reports. Does not own HTTP, retries nor bookkeeping (host, `payments`).

mod iban;
mod report;
mod transfer;
mod webhook;

pub use iban::{Iban, IbanRefused};
pub use report::{
    Day, DayRefused, Entry, EntryKind, Report, ReportRefused, parse_report, report_request,
};
pub use transfer::{
    MAX_NAME_CHARS, Mismatch, NameRefused, StatusAnswer, Transfer, TransferAnswer, TransferOrder,
    TransferStatus, check_name, parse_status_response, parse_transfer_response, status_request,
    transfer_request,
};
pub use webhook::{
    SIGNATURE_HEADER, WebhookEvent, WebhookKind, WebhookRefused, parse_webhook_body, sign_webhook,
    verify_webhook, verify_webhook_sender,
};

#[cfg(test)]
mod tests;
