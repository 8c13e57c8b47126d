//! What a doctor publishes.

use actix_web::web::{Data, Json};
use chrono::Weekday;
use engine::calendar::SLOTS_PER_DAY;
use engine::{Answer, Command, DoctorId, SlotSet, SlotSpan};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::json::JsonBody;
use crate::openapi::fields;
use crate::state::AppState;

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({
    "doctor_id": "asha@clinic.example", "day": "Monday", "slots": [{"start": "10:00", "end": "13:00"}]
})))]
struct SetSlots {
    #[serde(rename = "doctor_id")]
    #[schema(schema_with = fields::email)]
    _doctor_id: String,
    #[schema(schema_with = fields::weekday)]
    day: String,
    /// What is offered; no two may overlap.
    #[schema(max_items = 48)]
    slots: Vec<Span>,
}

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({
    "doctor_id": "asha@clinic.example", "day": "Monday", "slot": {"start": "10:00", "end": "10:30"}, "available": false
})))]
struct UpdateSlot {
    #[serde(rename = "doctor_id")]
    #[schema(schema_with = fields::email)]
    _doctor_id: String,
    #[schema(schema_with = fields::weekday)]
    day: String,
    slot: Span,
    #[schema(default = true)]
    available: Option<bool>,
}

/// One or more slots in a row.
#[derive(Deserialize, ToSchema)]
struct Span {
    #[schema(schema_with = fields::slot_start)]
    start: String,
    #[schema(schema_with = fields::slot_end)]
    end: String,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"message": "Availability for Monday set successfully."})))]
pub(crate) struct Done {
    message: String,
}

/// Replaces a weekday's slots.
///
/// Longer spans are cut into slots. Bookings already made stay.
#[utoipa::path(post, path = "/doctorsService/setSlots", tag = "doctorsService", request_body = SetSlots, responses(
    (status = 200, body = Done),
    (status = 404, description = "doctor_not_found")))]
pub(crate) async fn set_slots(
    app: Data<AppState>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<Done>, ApiError> {
    let doctor = caller.doctor()?;
    caller.acts_for(body.raw("doctor_id"))?;
    let SetSlots { day, slots, .. } = body.parse()?;
    let weekday = parse_weekday(&day)?;
    let offered = parse_slots(&slots)?;
    schedule(&app, doctor, Command::SetSlots { weekday, offered }).await?;
    Ok(Json(Done { message: format!("Availability for {day} set successfully.") }))
}

/// Offers or withdraws one span of a weekday.
#[utoipa::path(post, path = "/doctorsService/updateSlot", tag = "doctorsService", request_body = UpdateSlot, responses(
    (status = 200, body = Done),
    (status = 404, description = "doctor_not_found")))]
pub(crate) async fn update_slot(
    app: Data<AppState>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<Done>, ApiError> {
    let doctor = caller.doctor()?;
    caller.acts_for(body.raw("doctor_id"))?;
    let UpdateSlot { day, slot, available, .. } = body.parse()?;
    let (weekday, available) = (parse_weekday(&day)?, available.unwrap_or(true));
    let span = parse_span("slot", &slot)?;
    schedule(&app, doctor, Command::UpdateSlot { weekday, span, available }).await?;
    let done = if available { "enabled" } else { "disabled" };
    Ok(Json(Done { message: format!("Slot {done} successfully") }))
}

async fn schedule(app: &AppState, doctor: &DoctorId, command: Command) -> Result<(), ApiError> {
    match app.router.ask(doctor, command).await? {
        Answer::ScheduleSet => Ok(()),
        answer @ (Answer::Booked(_) | Answer::BookedBefore(_) | Answer::Cancelled) => {
            Err(ApiError::internal(format!("a schedule was answered with {answer:?}")))
        }
    }
}

fn parse_weekday(text: &str) -> Result<Weekday, ApiError> {
    match text {
        "Monday" => Ok(Weekday::Mon),
        "Tuesday" => Ok(Weekday::Tue),
        "Wednesday" => Ok(Weekday::Wed),
        "Thursday" => Ok(Weekday::Thu),
        "Friday" => Ok(Weekday::Fri),
        "Saturday" => Ok(Weekday::Sat),
        "Sunday" => Ok(Weekday::Sun),
        _ => Err(ApiError::invalid("'day' must be one of Monday, Tuesday .. Sunday")),
    }
}

fn parse_span(field: &str, Span { start, end }: &Span) -> Result<SlotSpan, ApiError> {
    SlotSpan::parse(start, end).map_err(|error| ApiError::invalid(format!("'{field}' is not valid: {error}")))
}

fn parse_slots(slots: &[Span]) -> Result<SlotSet, ApiError> {
    if slots.len() > usize::from(SLOTS_PER_DAY) {
        return Err(ApiError::invalid(format!("'slots' must have at most {SLOTS_PER_DAY} members")));
    }
    let mut offered = SlotSet::EMPTY;
    for (n, slot) in slots.iter().enumerate() {
        for start in parse_span(&format!("slots[{n}]"), slot)?.slots() {
            if offered.contains(start) {
                return Err(ApiError::invalid(format!("'slots[{n}]' overlaps another one")));
            }
            offered.set(start, true);
        }
    }
    Ok(offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(slots: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let span = |(start, end): &(&str, &str)| Span { start: (*start).to_owned(), end: (*end).to_owned() };
        let slots: Vec<Span> = slots.iter().map(span).collect();
        parse_slots(&slots)
            .map(|set| set.iter().map(|start| start.to_string()).collect())
            .map_err(|error| String::from_utf8(error.body(None)).unwrap())
    }

    #[test]
    fn spans_are_cut_into_slots_that_must_not_overlap() {
        assert_eq!(offered(&[]), Ok(Vec::new()));
        let cut = offered(&[("23:30", "00:00"), ("10:00", "11:00")]).unwrap();
        assert_eq!(cut, ["10:00", "10:30", "23:30"]);
        assert!(offered(&[("10:00", "11:00"), ("10:30", "11:30")]).unwrap_err().contains("slots[1]"));
        assert!(offered(&[("10:10", "10:40")]).unwrap_err().contains("slots[0]"));
        assert!(offered(&vec![("10:00", "10:30"); 49]).unwrap_err().contains("at most 48"));
    }
}
