//! What doctors say of themselves, and who subscribes to them.

use std::time::Duration;

use actix_web::web::{self, Data, Json, Payload};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use engine::DoctorId;
use persistence::{DocumentKind, ProfileChange, ProfileText};
use serde::{Deserialize, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::body::{self, BodyLimit};
use crate::error::ApiError;
use crate::handlers::parse_doctor;
use crate::json::{JsonBody, JsonText, make_number_whole};
use crate::openapi::fields;
use crate::peer::{Network, Peer};
use crate::places::Place;
use crate::services::{NewDocument, Subscribed};
use crate::state::AppState;

/// Three documents of 5 MiB as base64, and some text. A slow phone gets through.
pub(crate) const BODY_LIMIT: BodyLimit =
    BodyLimit { bytes: 21 * 1024 * 1024, timeout: Duration::from_secs(180) };

/// Characters of a description.
const DESCRIPTION_MAX: usize = 2_000;
/// Characters of any other text.
const TEXT_MAX: usize = 200;
/// Rupees for a visit.
const FEES_MAX: u32 = 1_000_000;
/// Years of experience that a number may say.
const YEARS_MAX: u64 = 100;

/// Whose profile a body is about.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow)]
    email: Option<&'a RawValue>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(examples(json!({
    "email": "asha@clinic.example", "specialization": "Cardiology", "experience": "12 years", "fees": 500
})))]
struct CompleteProfile {
    #[serde(rename = "email")]
    #[schema(schema_with = fields::email)]
    _email: String,
    #[schema(schema_with = fields::description)]
    description: Option<String>,
    #[schema(schema_with = fields::said)]
    specialization: Option<String>,
    /// For how long, in words or in years.
    #[schema(schema_with = fields::experience)]
    experience: Option<Box<RawValue>>,
    /// Rupees for a visit.
    #[schema(value_type = Option<u32>, maximum = 1_000_000)]
    fees: Option<Number>,
    #[schema(schema_with = fields::said)]
    timings: Option<String>,
    #[schema(schema_with = fields::said)]
    license_number: Option<String>,
    #[schema(schema_with = fields::said)]
    registration_id: Option<String>,
    #[schema(schema_with = fields::said)]
    affiliation: Option<String>,
    /// A PDF or a JPEG, PNG or WebP image, of at most 5 MiB.
    degree_certificate: Option<Document>,
    /// A PDF or a JPEG, PNG or WebP image, of at most 5 MiB.
    govt_id_proof: Option<Document>,
    /// A JPEG, PNG or WebP image of at most 5 MiB.
    profile_photo: Option<Document>,
}

#[derive(Deserialize, ToSchema)]
struct Document {
    #[schema(schema_with = fields::new_file_name)]
    filename: String,
    /// Base64, or a data URL. What it is, is told by its bytes.
    base64_content: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"user_email": "ada@example.com", "doctor_email": "asha@clinic.example"})))]
struct Subscribe {
    #[serde(rename = "user_email")]
    #[schema(schema_with = fields::email)]
    _user_email: String,
    #[schema(schema_with = fields::email)]
    doctor_email: String,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"message": "Doctor profile updated successfully."})))]
pub(crate) struct ProfileUpdated {
    message: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"message": "User ada@example.com successfully subscribed to Doctor asha@clinic.example"})))]
pub(crate) struct SubscribeDone {
    message: String,
}

impl CompleteProfile {
    /// What changes: all that was sent and is not null.
    fn changes(self) -> Result<(ProfileChange, Vec<NewDocument>), ApiError> {
        let experience = self.experience.as_deref().map(parse_experience).transpose()?;
        let said = [
            ("description", ProfileText::Description, self.description),
            ("specialization", ProfileText::Specialization, self.specialization),
            ("experience", ProfileText::Experience, experience),
            ("timings", ProfileText::Timings, self.timings),
            ("licenseNumber", ProfileText::LicenseNumber, self.license_number),
            ("registrationId", ProfileText::RegistrationId, self.registration_id),
            ("affiliation", ProfileText::Affiliation, self.affiliation),
        ];
        let mut texts = Vec::new();
        for (name, field, text) in said {
            let Some(text) = text else { continue };
            check_text(name, field, &text)?;
            texts.push((field, text));
        }
        let fees = self.fees.map(parse_fees).transpose()?;
        let sent = [
            ("degreeCertificate", DocumentKind::DegreeCertificate, self.degree_certificate),
            ("govtIdProof", DocumentKind::GovtIdProof, self.govt_id_proof),
            ("profilePhoto", DocumentKind::ProfilePhoto, self.profile_photo),
        ];
        let mut documents = Vec::new();
        for (name, kind, document) in sent {
            let Some(Document { filename, base64_content }) = document else { continue };
            documents.push(NewDocument::read(kind, name, &filename, &base64_content)?);
        }
        Ok((ProfileChange { texts, fees, ..ProfileChange::default() }, documents))
    }
}

/// Reads what a doctor's own body says, on a thread that may block.
fn read(caller: &Caller, body: &JsonText) -> Result<(ProfileChange, Vec<NewDocument>), ApiError> {
    let email = body.parse::<About<'_>>()?.email;
    let email = email.and_then(|email| serde_json::from_str::<String>(email.get()).ok());
    caller.acts_for(email.as_deref())?;
    body.parse::<CompleteProfile>()?.changes()
}

fn parse_experience(experience: &RawValue) -> Result<String, ApiError> {
    if let Ok(words) = serde_json::from_str(experience.get()) {
        return Ok(words);
    }
    let years = serde_json::from_str(experience.get()).ok().and_then(whole);
    let years = years.filter(|years| *years <= YEARS_MAX).map(|years| years.to_string());
    years.ok_or_else(|| ApiError::invalid(format!("'experience' must be a text or 0 to {YEARS_MAX} years")))
}

/// A description may have lines; no other text has control characters.
fn check_text(name: &str, field: ProfileText, text: &str) -> Result<(), ApiError> {
    let (max, layout): (_, &[char]) = match field {
        ProfileText::Description => (DESCRIPTION_MAX, &['\n', '\r', '\t']),
        ProfileText::Specialization
        | ProfileText::Experience
        | ProfileText::Timings
        | ProfileText::LicenseNumber
        | ProfileText::RegistrationId
        | ProfileText::Affiliation => (TEXT_MAX, &[]),
    };
    let is_odd = |c: char| c.is_control() && !layout.contains(&c);
    if text.chars().count() > max || text.chars().any(is_odd) {
        let sentence = format!("'{name}' must have at most {max} characters and no control characters");
        return Err(ApiError::invalid(sentence));
    }
    Ok(())
}

/// A number without a sign and a fraction.
fn whole(mut number: Number) -> Option<u64> {
    make_number_whole(&mut number);
    number.as_u64()
}

fn parse_fees(fees: Number) -> Result<u32, ApiError> {
    let fees = whole(fees).and_then(|fees| u32::try_from(fees).ok()).filter(|fees| *fees <= FEES_MAX);
    fees.ok_or_else(|| ApiError::invalid(format!("'fees' must be a whole number from 0 to {FEES_MAX}")))
}

/// Changes a doctor's own profile.
///
/// What is not sent, or null, keeps its value. A patient is refused before the body is read.
#[utoipa::path(post, path = "/doctorsService/completeProfile", tag = "doctorsService",
    request_body = CompleteProfile, responses(
    (status = 200, body = ProfileUpdated),
    (status = 404, description = "doctor_not_found"),
    (status = 413, description = "document_too_large"),
    (status = 422, description = "unsupported_document, name_too_long")))]
pub(crate) async fn complete_profile(
    app: Data<AppState>,
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
) -> Result<Json<ProfileUpdated>, ApiError> {
    let doctor = caller.doctor()?.clone();
    let place = place(&app, &request, &doctor).await?;
    let body = JsonText::from_request(&request, &mut payload.into_inner()).await?;
    // The place goes with the body, also where the caller hangs up meanwhile.
    let reading = web::block(move || read(&caller, &body).map(|asked| (asked, place)));
    let ((change, documents), _place) = reading.await.map_err(ApiError::internal)??;
    app.profiles.complete(&doctor, change, documents).await?;
    Ok(Json(ProfileUpdated { message: "Doctor profile updated successfully." }))
}

/// Subscribes a patient to a doctor, once.
#[utoipa::path(post, path = "/doctorsService/subscribe", tag = "doctorsService", request_body = Subscribe, responses(
    (status = 200, body = SubscribeDone),
    (status = 404, description = "doctor_not_found"),
    (status = 409, description = "subscriptions_full, subscribers_full")))]
pub(crate) async fn subscribe(
    app: Data<AppState>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<SubscribeDone>, ApiError> {
    let user = caller.user()?;
    caller.acts_for(body.raw("user_email"))?;
    let Subscribe { doctor_email, .. } = body.parse()?;
    let doctor = parse_doctor("doctor_email", &doctor_email)?;
    let message = match app.profiles.subscribe(user, doctor).await? {
        (doctor, Subscribed::Now) => {
            format!("User {} successfully subscribed to Doctor {}", user.as_str(), doctor.as_str())
        }
        (_, Subscribed::Before) => "User is already subscribed to this doctor.".to_owned(),
    };
    Ok(Json(SubscribeDone { message }))
}

/// A place in memory for a body that is larger than usual, or does not say.
async fn place(
    app: &AppState,
    request: &HttpRequest,
    doctor: &DoctorId,
) -> Result<Option<Place<DoctorId>>, ApiError> {
    if body::announced(request).is_some_and(|length| length <= app.server.body_bytes_max as u64) {
        return Ok(None);
    }
    let network = Network::of(Peer::of(request)?.address);
    let place = app.profiles.place_for_large_body(doctor, network).await?;
    request.extensions_mut().insert(place.progress());
    Ok(Some(place))
}
