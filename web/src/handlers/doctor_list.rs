//! What anybody may see of doctors, page by page.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Number;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::json::JsonBodyOrNothing;
use crate::openapi::fields;
use crate::peer::Network;
use crate::services::{Filter, List, Listed, Page, PageKey};
use crate::state::AppState;

/// Doctors on one page.
const PAGE_MAX: u64 = 1_000;
/// The old client shows how many subscribers there are by counting them.
const SHOWN_SUBSCRIBERS_MAX: usize = 1_000;
/// Characters of what is searched for.
const TEXT_MAX: usize = 200;
/// Bytes of a cursor's checksum.
const CHECKSUM: usize = 8;

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"specialization": "Cardiology", "limit": 20})))]
struct FetchDoctors {
    /// Exactly this, in any case.
    #[schema(max_length = 200)]
    specialization: Option<String>,
    /// A part of the name, the specialization, the location or the affiliation, in any case.
    #[schema(max_length = 200)]
    search: Option<String>,
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000, default = 1_000)]
    limit: Option<Number>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"doctors": [{
    "email": "asha@clinic.example", "doctorname": "Dr. Asha Rao", "location": "Bengaluru",
    "specialization": "Cardiology", "experience": "12 years", "fees": 500, "timings": "10:00 to 16:00",
    "affiliation": "City Hospital", "description": null, "onboarded": true, "subscriberCount": 2,
    "profilePhoto": null, "subscribers": [null, null]
}]})))]
struct Doctors<'a> {
    doctors: Vec<Doctor<'a>>,
    /// There only when there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// All that anybody may see of a doctor.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Doctor<'a> {
    email: &'a str,
    doctorname: Option<&'a str>,
    location: Option<&'a str>,
    specialization: Option<&'a str>,
    experience: Option<&'a str>,
    #[schema(value_type = Option<f64>)]
    fees: Option<&'a Number>,
    timings: Option<&'a str>,
    affiliation: Option<&'a str>,
    description: Option<&'a str>,
    onboarded: bool,
    subscriber_count: usize,
    /// Good for an hour.
    profile_photo: Option<String>,
    /// As many as there are subscribers, at most 1,000.
    #[schema(schema_with = fields::nulls)]
    subscribers: Vec<()>,
}

impl FetchDoctors {
    fn filter(&self) -> Result<Filter, ApiError> {
        for (name, text) in [("specialization", &self.specialization), ("search", &self.search)] {
            if text.as_ref().is_some_and(|text| text.chars().count() > TEXT_MAX) {
                let sentence = format!("'{name}' must have at most {TEXT_MAX} characters");
                return Err(ApiError::invalid(sentence));
            }
        }
        Ok(Filter::new(self.specialization.as_deref(), self.search.as_deref()))
    }

    fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.limit.as_ref().map_or(Some(PAGE_MAX), Number::as_u64);
        let limit = limit.filter(|limit| (1..=PAGE_MAX).contains(limit));
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        limit.ok_or_else(|| ApiError::invalid(format!("'limit' must be a whole number from 1 to {PAGE_MAX}")))
    }
}

impl<'a> Doctor<'a> {
    fn of(listed: &'a Listed, photo: Option<String>) -> Self {
        let doctor = &listed.doctor;
        Self {
            email: &doctor.email,
            doctorname: doctor.name.as_deref(),
            location: doctor.location.as_deref(),
            specialization: doctor.specialization.as_deref(),
            experience: doctor.experience.as_deref(),
            fees: doctor.fees.as_ref(),
            timings: doctor.timings.as_deref(),
            affiliation: doctor.affiliation.as_deref(),
            description: doctor.description.as_deref(),
            onboarded: doctor.onboarded,
            subscriber_count: doctor.subscribers,
            profile_photo: photo,
            subscribers: vec![(); doctor.subscribers.min(SHOWN_SUBSCRIBERS_MAX)],
        }
    }
}

/// Shows doctors to anybody, by address.
///
/// Without a body: all of them, a thousand a page.
#[utoipa::path(post, path = "/doctorsService/fetchDoctors", tag = "doctorsService", security(()),
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer to the same body")),
    request_body = Option<FetchDoctors>, responses(
        (status = 200, body = Doctors, headers(("ETag" = String, description = "Names this page as it is now"))),
        (status = 304, description = "The page has not changed")))]
pub(crate) async fn fetch_doctors(
    app: Data<AppState>,
    request: HttpRequest,
    network: Network,
    body: JsonBodyOrNothing,
) -> Result<HttpResponse, ApiError> {
    let asked: FetchDoctors = body.parse()?;
    let (filter, limit) = (asked.filter()?, asked.limit()?);
    let after = asked.cursor.as_deref().map(read_cursor).transpose()?;
    let list = app.profiles.all().await?;
    let key = PageKey { list: list.version(), filter, after, limit };
    let page = app.doctor_pages.get(&key, || render(&app, &list, &key, network)).await?;
    Ok(page.answer(&request))
}

/// Writes a page of the list.
async fn render(app: &AppState, list: &List, key: &PageKey, network: Network) -> Result<Page, ApiError> {
    let (page, more) = list.page(&key.filter, key.after.as_deref(), key.limit);
    let next_cursor = page.last().filter(|_| more).map(|last| write_cursor(&last.doctor.email));
    let mut doctors = Vec::with_capacity(page.len());
    for listed in page {
        let photo = match &listed.doctor.photo {
            Some(stored) => app.profiles.photo(stored).await,
            None => None,
        };
        doctors.push(Doctor::of(listed, photo));
    }
    let json = serde_json::to_vec(&Doctors { doctors, next_cursor }).map_err(ApiError::internal)?;
    let reserved = app.unread.reserve(json.len(), network)?;
    Ok(Page::new(json, reserved))
}

/// A cursor is the last address shown and a checksum. It guards against mistakes: the address is public, so nothing is
/// gained by making one up.
pub(super) fn write_cursor(last: &str) -> String {
    let mut cursor = digest(&SHA256, last.as_bytes()).as_ref()[..CHECKSUM].to_vec();
    cursor.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(cursor)
}

pub(super) fn read_cursor(cursor: &str) -> Result<String, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let last = bytes.as_ref().and_then(|bytes| std::str::from_utf8(bytes.get(CHECKSUM..)?).ok());
    let last = last.filter(|last| write_cursor(last) == cursor);
    last.map(str::to_owned).ok_or_else(|| ApiError::invalid("'cursor' is not one of ours"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_any_other_text_does_not() {
        for last in ["asha@x.com", "", "डॉ@उदाहरण.भारत"] {
            let cursor = write_cursor(last);
            assert_eq!(read_cursor(&cursor).unwrap(), last);
            for n in 0..cursor.len() {
                let other = if cursor.as_bytes()[n] == b'A' { "B" } else { "A" };
                let tampered = [&cursor[..n], other, &cursor[n + 1..]].concat();
                assert!(read_cursor(&tampered).is_err(), "{tampered}");
                assert!(read_cursor(&cursor[..n]).is_err());
            }
        }
        for text in ["", "=", "asha@x.com", &"A".repeat(10_000)] {
            assert!(read_cursor(text).is_err(), "{text:.20}");
        }
    }
}
