//! Patients' and doctors' accounts: login data in `Users` and `Doctors`, as the old platform wrote it.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use engine::chance::{Chance, SystemChance};
use engine::store::LoadError;

use super::error::{Failure, load_error};
use super::items::{Item, text, text_of};
use super::{Dynamo, keys};

const PASSWORD: &str = "password";
const PHONE_NUMBER: &str = "phoneNumber";
pub(super) const LOCATION: &str = "location";
const EMAIL_VERIFIED: &str = "emailVerified";
const PHONE_VERIFIED: &str = "phoneVerified";
pub(super) const ONBOARDED: &str = "onboarded";
/// Names the sign-up that wrote the row, so that a repeat of a put knows its own earlier success.
const SIGNUP_ID: &str = "signup_id";

/// The address must not be taken.
const IS_FREE: &str = "attribute_not_exists(email)";
/// The hash must still be the one that was checked.
const HASH_STANDS: &str = "#password = :old";

/// Whose account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountKind {
    /// A patient's, in `Users`.
    User,
    /// A doctor's, in `Doctors`.
    Doctor,
}

impl AccountKind {
    pub(super) const fn name_attribute(self) -> &'static str {
        match self {
            Self::User => "username",
            Self::Doctor => "doctorname",
        }
    }
}

/// What logging in needs of a stored account.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The stored spelling of the address: the identity that keys and tokens carry.
    pub email: String,
    /// The name to greet; empty when the row has none.
    pub name: String,
    /// Argon2id or bcrypt; `None` when the row has none that can be read, so that nobody can log in.
    pub password_hash: Option<String>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account(..)")
    }
}

/// A sign-up.
#[derive(Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// Whose.
    pub kind: AccountKind,
    /// The address as sent.
    pub email: String,
    /// The name to greet.
    pub name: String,
    /// Argon2id.
    pub password_hash: String,
    /// As sent.
    pub phone_number: String,
    /// As sent, if it was.
    pub location: Option<String>,
}

impl fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewAccount({:?}, ..)", self.kind)
    }
}

/// Why accounts cannot be read or written now.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// Throttled, unreachable or too slow; a write may have happened, and may be asked for again.
    #[error("the account store does not answer, a retry is safe: {0}")]
    Unavailable(String),
    /// The store refuses the request itself.
    #[error("the account store refuses the request: {0}")]
    Refused(String),
}

impl From<LoadError> for AccountsError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unavailable(text) => Self::Unavailable(text),
            LoadError::Refused(text) => Self::Refused(text),
        }
    }
}

/// Why an account was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Somebody has the address.
    #[error("the address is taken")]
    Taken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] AccountsError),
}

/// The accounts in `Users` and `Doctors`.
#[derive(Debug, Clone)]
pub struct Accounts {
    dynamo: Dynamo,
}

impl Accounts {
    pub(super) const fn new(dynamo: Dynamo) -> Self {
        Self { dynamo }
    }

    /// Finds an account by its address as sent, then by the lower-cased address: old rows kept the case that
    /// they came in. Reads are strongly consistent.
    pub async fn find(&self, kind: AccountKind, email: &str) -> Result<Option<Account>, AccountsError> {
        if let Some(account) = self.get(kind, email).await? {
            return Ok(Some(account));
        }
        let stored = stored_spelling(email);
        if stored == email { Ok(None) } else { self.get(kind, &stored).await }
    }

    /// Creates an account under the lower-cased address, unless that or the address as sent is taken. Of
    /// several sign-ups at once for one address exactly one wins.
    ///
    /// The put is repeated by the SDK after a time-out or a broken connection. That is safe: a repeat that
    /// finds the address taken looks whether it was its own earlier attempt that took it.
    pub async fn create(&self, account: NewAccount) -> Result<(), CreateError> {
        let stored = stored_spelling(&account.email);
        if stored != account.email && self.get(account.kind, &account.email).await?.is_some() {
            return Err(CreateError::Taken);
        }
        let signup_id = format!("{:032x}", SystemChance.bits());
        let request = self
            .dynamo
            .patient
            .put_item()
            .table_name(self.table(account.kind))
            .set_item(Some(account_item(account, stored, signup_id.clone())))
            .condition_expression(IS_FREE)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    let ours = failed.item().and_then(|item| text_of(item, SIGNUP_ID)) == Some(&signup_id);
                    if ours { Ok(()) } else { Err(CreateError::Taken) }
                }
                Some(_) | None => Err(AccountsError::from(load_error(error)).into()),
            },
        }
    }

    /// Replaces a password's hash if it is still the one that was checked; says whether it was. For a better
    /// hash of the same password, so losing a race costs nothing.
    pub async fn replace_password(
        &self,
        kind: AccountKind,
        email: &str,
        old_hash: &str,
        new_hash: &str,
    ) -> Result<bool, AccountsError> {
        let request = self
            .dynamo
            .patient
            .update_item()
            .table_name(self.table(kind))
            .key(keys::EMAIL, text(email))
            .update_expression("SET #password = :new")
            .condition_expression(HASH_STANDS)
            .expression_attribute_names("#password", PASSWORD)
            .expression_attribute_values(":old", text(old_hash))
            .expression_attribute_values(":new", text(new_hash));
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                Some(_) | None => Err(Failure::of(&error).into_load_error().into()),
            },
        }
    }

    /// Whether there are accounts of this kind at all.
    pub async fn any(&self, kind: AccountKind) -> Result<bool, AccountsError> {
        let scan = self.dynamo.patient.scan().table_name(self.table(kind)).limit(1);
        let found = scan.projection_expression(keys::EMAIL).consistent_read(true).send().await;
        Ok(found.map_err(load_error)?.count() > 0)
    }

    async fn get(&self, kind: AccountKind, email: &str) -> Result<Option<Account>, AccountsError> {
        let request = self
            .dynamo
            .patient
            .get_item()
            .table_name(self.table(kind))
            .key(keys::EMAIL, text(email))
            .projection_expression("#email, #name, #password")
            .set_expression_attribute_names(Some(HashMap::from(
                [("#email", keys::EMAIL), ("#name", kind.name_attribute()), ("#password", PASSWORD)]
                    .map(|(placeholder, name)| (placeholder.to_owned(), name.to_owned())),
            )))
            .consistent_read(true);
        let item = request.send().await.map_err(load_error)?.item;
        Ok(item.map(|item| Account {
            email: email.to_owned(),
            name: text_of(&item, kind.name_attribute()).unwrap_or_default().to_owned(),
            password_hash: text_of(&item, PASSWORD).filter(|hash| !hash.is_empty()).map(str::to_owned),
        }))
    }

    fn table(&self, kind: AccountKind) -> &str {
        match kind {
            AccountKind::User => &self.dynamo.tables.users,
            AccountKind::Doctor => &self.dynamo.tables.doctors,
        }
    }
}

/// How a new account's address is stored.
fn stored_spelling(email: &str) -> String {
    email.to_lowercase()
}

/// The row, exactly as the old platform writes it, and the sign-up's name.
fn account_item(account: NewAccount, email: String, signup_id: String) -> Item {
    let NewAccount { kind, email: _, name, password_hash, phone_number, location } = account;
    let mut item = Item::from(
        [
            (keys::EMAIL, text(email)),
            (kind.name_attribute(), text(name)),
            (PASSWORD, text(password_hash)),
            (PHONE_NUMBER, text(phone_number)),
            (LOCATION, location.map_or(AttributeValue::Null(true), AttributeValue::S)),
            (EMAIL_VERIFIED, AttributeValue::Bool(false)),
            (PHONE_VERIFIED, AttributeValue::Bool(false)),
            (SIGNUP_ID, text(signup_id)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    match kind {
        AccountKind::User => {}
        AccountKind::Doctor => {
            item.insert(ONBOARDED.to_owned(), AttributeValue::Bool(false));
        }
    }
    item
}
