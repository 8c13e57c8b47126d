//! Chats, payments, and the engine's own items.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Finding, Missing, Session};
use crate::dynamo::items::{Item, number_of, text_of};
use crate::dynamo::{keys, words_of};
use crate::scan::ScanError;

impl Session<'_> {
    pub(super) async fn others(&mut self, missing: &Missing) -> Result<(), ScanError> {
        let tables = self.given.dynamo.tables();
        for (table, look) in [
            (&tables.chat_history, Self::chat as fn(&mut Self, &str, &Item)),
            (&tables.payments, Self::payment),
            (&tables.engine, Self::own),
        ] {
            let Some(mut rows) = self.rows(table, missing).await? else { continue };
            while let Some(page) = self.page(&mut rows).await? {
                page.iter().for_each(|row| look(self, table, row));
            }
        }
        Ok(())
    }

    fn chat(&mut self, table: &str, row: &Item) {
        let said = |name| row.get(name).and_then(words_of).is_some();
        let is_timed = number_of::<f64>(row, keys::TIMESTAMP).is_some();
        if !is_timed || !said("user_message") || !said("bot_message") {
            self.note(Finding::ChatUnreadable, table, &text_of(row, keys::EMAIL).unwrap_or_default());
        }
    }

    fn payment(&mut self, table: &str, row: &Item) {
        let key = text_of(row, keys::PAYMENT_ID).unwrap_or_default();
        let is_amount = |value: &AttributeValue| value.is_n() || value.is_null();
        if text_of(row, "status").is_none() || !row.get("amount").is_some_and(is_amount) {
            self.note(Finding::PaymentUnreadable, table, &key);
        }
        if text_of(row, "payer").is_none() && text_of(row, "reference").is_none() {
            self.note(Finding::PaymentOfNobody, table, &key);
        }
    }

    /// The journals of uploads; fences are the engine's own business.
    fn own(&mut self, table: &str, row: &Item) {
        let key = text_of(row, keys::PK).unwrap_or_default();
        for (name, entry) in row.iter().filter(|(name, _)| name.starts_with(keys::UPLOAD_PREFIX)) {
            let names = entry.as_m().ok().and_then(|entry| entry.get("names")?.as_l().ok());
            let is_readable = names.is_some_and(|names| names.iter().all(AttributeValue::is_s));
            let finding = if is_readable { Finding::UploadUnfinished } else { Finding::UploadUnreadable };
            self.note(finding, table, &format_args!("{key} {name}"));
        }
    }
}
