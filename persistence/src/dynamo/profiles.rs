//! Doctors' profiles in `Doctors`: what anybody may see of them, and what a doctor says of itself.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use engine::store::LoadError;
use serde_json::Number;

use super::accounts::{AccountKind, AccountsError, LOCATION, ONBOARDED};
use super::error::load_error;
use super::items::{Item, number, text, text_of};
use super::subscriptions::SUBSCRIBERS;
use super::{Dynamo, keys};
use crate::s3::DocumentKind;

const FEES: &str = "fees";

/// All that is ever read of a doctor here: a new attribute of a row is private until it is listed.
const PUBLIC: [&str; 12] = [
    keys::EMAIL,
    AccountKind::Doctor.name_attribute(),
    LOCATION,
    ONBOARDED,
    SUBSCRIBERS,
    FEES,
    DocumentKind::ProfilePhoto.name(),
    ProfileText::Specialization.attribute(),
    ProfileText::Experience.attribute(),
    ProfileText::Timings.attribute(),
    ProfileText::Affiliation.attribute(),
    ProfileText::Description.attribute(),
];

/// What a list of all doctors may hold, about: a hundred thousand doctors of the usual size are a third of it.
const LISTED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The row must be there.
const IS_PRESENT: &str = "attribute_exists(email)";

/// One text that a doctor says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProfileText {
    /// In its own words.
    Description,
    /// What it treats.
    Specialization,
    /// For how long.
    Experience,
    /// When it is there, in its own words.
    Timings,
    /// Not public.
    LicenseNumber,
    /// Not public.
    RegistrationId,
    /// Its hospital.
    Affiliation,
}

impl ProfileText {
    const ALL: [Self; 7] = [
        Self::Description,
        Self::Specialization,
        Self::Experience,
        Self::Timings,
        Self::LicenseNumber,
        Self::RegistrationId,
        Self::Affiliation,
    ];

    const fn attribute(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Specialization => "specialization",
            Self::Experience => "experience",
            Self::Timings => "timings",
            Self::LicenseNumber => "licenseNumber",
            Self::RegistrationId => "registrationId",
            Self::Affiliation => "affiliation",
        }
    }
}

/// What changes in a profile; the rest keeps its value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// Texts, each at most once.
    pub texts: Vec<(ProfileText, String)>,
    /// What a visit costs, in rupees.
    pub fees: Option<u32>,
    /// Where documents are now, each kind at most once.
    pub documents: Vec<(DocumentKind, String)>,
}

impl fmt::Debug for ProfileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProfileChange(..)")
    }
}

/// What anybody may see of a doctor. What a row lacks, or has in a form that cannot be read, is `None`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PublicDoctor {
    /// The address: the doctor's identity.
    pub email: String,
    /// The name.
    pub name: Option<String>,
    /// The town.
    pub location: Option<String>,
    /// What it treats.
    pub specialization: Option<String>,
    /// For how long.
    pub experience: Option<String>,
    /// What a visit costs, in rupees.
    pub fees: Option<Number>,
    /// When it is there, in its own words.
    pub timings: Option<String>,
    /// Its hospital.
    pub affiliation: Option<String>,
    /// In its own words.
    pub description: Option<String>,
    /// Whether it has completed its profile.
    pub onboarded: bool,
    /// How many patients have subscribed.
    pub subscribers: usize,
    /// Where its photo is, as stored.
    pub photo: Option<String>,
}

impl fmt::Debug for PublicDoctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicDoctor(..)")
    }
}

/// Doctors' profiles.
#[derive(Debug, Clone)]
pub struct Profiles {
    pub(super) dynamo: Dynamo,
}

impl Profiles {
    pub(super) const fn new(dynamo: Dynamo) -> Self {
        Self { dynamo }
    }

    /// Every doctor, by address. Strongly consistent: what was stored before the call is in it. Doctors past
    /// what memory allows are left out and reported.
    pub async fn all(&self) -> Result<Vec<PublicDoctor>, LoadError> {
        let (projection, names) = public_attributes();
        let table = &self.dynamo.tables.doctors;
        let scan = self
            .dynamo
            .patient
            .scan()
            .table_name(table)
            .projection_expression(projection)
            .set_expression_attribute_names(Some(names))
            .consistent_read(true);
        let (mut doctors, mut bytes, mut from) = (Vec::new(), 0, None);
        loop {
            let page = scan.clone().set_exclusive_start_key(from).send().await.map_err(load_error)?;
            let page_doctors = page.items.iter().flatten().map(read_doctor);
            doctors.extend(page_doctors.inspect(|doctor| bytes += doctor.bytes()));
            if bytes > LISTED_BYTES_MAX {
                tracing::error!(table, listed = doctors.len(), "too many doctors: the rest are not listed");
                break;
            }
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => from = Some(key),
                Some(_) | None => break,
            }
        }
        doctors.sort_unstable_by(|a, b| a.email.cmp(&b.email));
        Ok(doctors)
    }

    /// One doctor, by the stored spelling of its address. Strongly consistent.
    pub async fn one(&self, doctor: &str) -> Result<Option<PublicDoctor>, LoadError> {
        let (projection, names) = public_attributes();
        let request = self
            .dynamo
            .patient
            .get_item()
            .table_name(&self.dynamo.tables.doctors)
            .key(keys::EMAIL, text(doctor))
            .projection_expression(projection)
            .set_expression_attribute_names(Some(names))
            .consistent_read(true);
        Ok(request.send().await.map_err(load_error)?.item.as_ref().map(read_doctor))
    }

    /// Where a doctor's documents are, as stored; `None` when there is no such doctor. Strongly consistent.
    pub async fn documents(&self, doctor: &str) -> Result<Option<HashMap<DocumentKind, String>>, LoadError> {
        let projection = DocumentKind::ALL.map(DocumentKind::name).join(", ");
        let request = self
            .dynamo
            .patient
            .get_item()
            .table_name(&self.dynamo.tables.doctors)
            .key(keys::EMAIL, text(doctor))
            .projection_expression(format!("{}, {projection}", keys::EMAIL))
            .consistent_read(true);
        let item = request.send().await.map_err(load_error)?.item;
        let url = |item: &Item, kind: DocumentKind| Some((kind, text_of(item, kind.name())?.to_owned()));
        Ok(item.map(|item| DocumentKind::ALL.into_iter().filter_map(|kind| url(&item, kind)).collect()))
    }

    /// Changes a doctor's profile and marks it as complete; says whether there is such a doctor. Safe to
    /// repeat, as the SDK does. What was never said is NULL then, as in the old platform's rows, which reads it.
    pub async fn complete(&self, doctor: &str, change: ProfileChange) -> Result<bool, AccountsError> {
        let ProfileChange { texts, fees, documents } = change;
        let texts = texts.into_iter().map(|(field, value)| (field.attribute(), text(value)));
        let fees = fees.map(|fees| (FEES, number(fees)));
        let documents = documents.into_iter().map(|(kind, url)| (kind.name(), text(url)));
        let onboarded = [(ONBOARDED, AttributeValue::Bool(true))];
        let (mut assignments, mut names, mut values) = (Vec::new(), HashMap::new(), HashMap::new());
        for (n, (name, value)) in texts.chain(fees).chain(documents).chain(onboarded).enumerate() {
            assignments.push(format!("#{n} = :{n}"));
            names.insert(format!("#{n}"), name.to_owned());
            values.insert(format!(":{n}"), value);
        }
        let said: Vec<String> = names.values().cloned().collect();
        let unsaid = ProfileText::ALL.map(ProfileText::attribute).into_iter().chain([FEES]);
        for (n, name) in unsaid.filter(|name| !said.iter().any(|said| said == name)).enumerate() {
            assignments.push(format!("#unsaid{n} = if_not_exists(#unsaid{n}, :unsaid)"));
            names.insert(format!("#unsaid{n}"), name.to_owned());
            values.insert(":unsaid".to_owned(), AttributeValue::Null(true));
        }
        let request = self
            .dynamo
            .patient
            .update_item()
            .table_name(&self.dynamo.tables.doctors)
            .key(keys::EMAIL, text(doctor))
            .update_expression(format!("SET {}", assignments.join(", ")))
            .condition_expression(IS_PRESENT)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values));
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                Some(_) | None => Err(load_error(error).into()),
            },
        }
    }
}

/// A projection of [`PUBLIC`] and the names behind its placeholders: some are DynamoDB's own words.
fn public_attributes() -> (String, HashMap<String, String>) {
    let placeholders: Vec<String> = (0..PUBLIC.len()).map(|n| format!("#{n}")).collect();
    let projection = placeholders.join(", ");
    (projection, placeholders.into_iter().zip(PUBLIC.map(str::to_owned)).collect())
}

fn read_doctor(item: &Item) -> PublicDoctor {
    let text = |name| text_of(item, name).map(str::to_owned);
    let said = |field: ProfileText| text(field.attribute());
    let digits = |name: &str| item.get(name).and_then(|value| value.as_n().ok());
    PublicDoctor {
        email: text(keys::EMAIL).unwrap_or_default(),
        name: text(AccountKind::Doctor.name_attribute()),
        location: text(LOCATION),
        specialization: said(ProfileText::Specialization),
        experience: said(ProfileText::Experience)
            .or_else(|| digits(ProfileText::Experience.attribute()).cloned()),
        fees: digits(FEES).and_then(|digits| digits.parse().ok()),
        timings: said(ProfileText::Timings),
        affiliation: said(ProfileText::Affiliation),
        description: said(ProfileText::Description),
        onboarded: item.get(ONBOARDED).and_then(|value| value.as_bool().ok()).copied().unwrap_or(false),
        subscribers: item.get(SUBSCRIBERS).and_then(|value| value.as_l().ok()).map_or(0, Vec::len),
        photo: text(DocumentKind::ProfilePhoto.name()).filter(|url| !url.is_empty()),
    }
}

impl PublicDoctor {
    /// What it takes in memory, about.
    fn bytes(&self) -> usize {
        let Self {
            name, location, specialization, experience, timings, affiliation, description, photo, ..
        } = self;
        let texts = [name, location, specialization, experience, timings, affiliation, description, photo];
        let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
        size_of::<Self>() + self.email.len() + texts
    }
}
