//! What nodes say to each other, as JSON. The engine's types have no serialised form: these forms are read into them at
//! the door, and what does not fit is nonsense. Two nodes of one cluster may be of different versions: a field or a word
//! that is not known here is nonsense as well, never left out.

use chrono::{NaiveDate, Weekday};
use engine::calendar::{Booking, SLOTS_PER_DAY};
use engine::{
    Answer, Command, DayView, DoctorId, EngineError, IdempotencyKey, Rejection, SlotSet, SlotSpan, SlotStart,
    UserId,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Not what a node says. What it was is not repeated: there are addresses in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not what a node says")]
pub(super) struct Nonsense;

/// A command for a doctor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskForm {
    doctor: String,
    command: CommandForm,
}

/// A look at a doctor's date.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LookForm {
    doctor: String,
    date: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum CommandForm {
    Book(SeatForm),
    Cancel { user: String, date: String, start: String },
    SetSlots { weekday: u8, offered: u64 },
    UpdateSlot { weekday: u8, start: String, end: String, available: bool },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeatForm {
    user: String,
    date: String,
    start: String,
    key: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReplyForm<T> {
    Answer(T),
    Error(#[serde(with = "ErrorForm")] EngineError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AnswerForm {
    Booked(SeatForm),
    BookedBefore(SeatForm),
    Cancelled,
    ScheduleSet,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewForm {
    offered: u64,
    /// Seats taken, slot by slot.
    booked: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "EngineError", rename_all = "snake_case")]
enum ErrorForm {
    Rejected(#[serde(with = "RejectionForm")] Rejection),
    Busy,
    NotHere,
    Unavailable,
    OutcomeUnknown,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Rejection", rename_all = "snake_case")]
enum RejectionForm {
    DoctorNotFound,
    OutsideWindow,
    SlotInPast,
    AlreadyBooked,
    SlotUnavailable,
    SlotFull,
    TooManyBookings { limit: u16 },
    BookingNotFound,
}

pub(super) fn write_ask(doctor: &DoctorId, command: &Command) -> Vec<u8> {
    write(&AskForm { doctor: doctor.as_str().to_owned(), command: command_form(command) })
}

pub(super) fn read_ask(bytes: &[u8]) -> Result<(DoctorId, Command), Nonsense> {
    let AskForm { doctor, command } = read(bytes)?;
    Ok((read_doctor(&doctor)?, read_command(command)?))
}

pub(super) fn write_look(doctor: &DoctorId, date: NaiveDate) -> Vec<u8> {
    write(&LookForm { doctor: doctor.as_str().to_owned(), date: date.to_string() })
}

pub(super) fn read_look(bytes: &[u8]) -> Result<(DoctorId, NaiveDate), Nonsense> {
    let LookForm { doctor, date } = read(bytes)?;
    Ok((read_doctor(&doctor)?, read_date(&date)?))
}

pub(super) fn write_answer(answer: &Result<Answer, EngineError>) -> Vec<u8> {
    write(&reply_form(answer, answer_form))
}

/// The answer to this command, and to no other.
pub(super) fn read_answer(bytes: &[u8], command: &Command) -> Result<Result<Answer, EngineError>, Nonsense> {
    let answer = match read(bytes)? {
        ReplyForm::Error(error) => return Ok(Err(error)),
        ReplyForm::Answer(AnswerForm::Booked(seat)) => Answer::Booked(read_booking(seat)?),
        ReplyForm::Answer(AnswerForm::BookedBefore(seat)) => Answer::BookedBefore(read_booking(seat)?),
        ReplyForm::Answer(AnswerForm::Cancelled) => Answer::Cancelled,
        ReplyForm::Answer(AnswerForm::ScheduleSet) => Answer::ScheduleSet,
    };
    let fits = match command {
        Command::Book { .. } => matches!(answer, Answer::Booked(_) | Answer::BookedBefore(_)),
        Command::Cancel { .. } => answer == Answer::Cancelled,
        Command::SetSlots { .. } | Command::UpdateSlot { .. } => answer == Answer::ScheduleSet,
    };
    if fits { Ok(Ok(answer)) } else { Err(Nonsense) }
}

pub(super) fn write_view(view: &Result<DayView, EngineError>) -> Vec<u8> {
    write(&reply_form(view, |view| ViewForm {
        offered: bits(view.offered()),
        booked: SlotStart::all().map(|start| view.booked(start)).collect(),
    }))
}

pub(super) fn read_view(bytes: &[u8]) -> Result<Result<DayView, EngineError>, Nonsense> {
    let ViewForm { offered, booked } = match read(bytes)? {
        ReplyForm::Error(error) => return Ok(Err(error)),
        ReplyForm::Answer(view) => view,
    };
    if booked.len() != usize::from(SLOTS_PER_DAY) {
        return Err(Nonsense);
    }
    let mut view = DayView::new(read_set(offered)?);
    for (start, seats) in SlotStart::all().zip(booked) {
        (0..seats).for_each(|_| view.add(start));
    }
    Ok(Ok(view))
}

fn write(form: &impl Serialize) -> Vec<u8> {
    // A form holds texts and numbers: it can always be written, and nothing can be read as nonsense.
    serde_json::to_vec(form).unwrap_or_default()
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Nonsense> {
    serde_json::from_slice(bytes).map_err(|_| Nonsense)
}

fn reply_form<T, F>(reply: &Result<T, EngineError>, form: impl Fn(&T) -> F) -> ReplyForm<F> {
    match reply {
        Ok(answer) => ReplyForm::Answer(form(answer)),
        Err(error) => ReplyForm::Error(error.clone()),
    }
}

fn command_form(command: &Command) -> CommandForm {
    match command {
        Command::Book { user, date, start, key } => {
            CommandForm::Book(seat_form(user, *date, *start, key.as_ref()))
        }
        Command::Cancel { user, date, start } => CommandForm::Cancel {
            user: user.as_str().to_owned(),
            date: date.to_string(),
            start: start.to_string(),
        },
        Command::SetSlots { weekday, offered } => {
            CommandForm::SetSlots { weekday: weekday_number(*weekday), offered: bits(*offered) }
        }
        Command::UpdateSlot { weekday, span, available } => CommandForm::UpdateSlot {
            weekday: weekday_number(*weekday),
            start: span.start().to_string(),
            end: span.end(),
            available: *available,
        },
    }
}

fn read_command(form: CommandForm) -> Result<Command, Nonsense> {
    Ok(match form {
        CommandForm::Book(seat) => {
            let Booking { user, date, start, key } = read_booking(seat)?;
            Command::Book { user, date, start, key }
        }
        CommandForm::Cancel { user, date, start } => {
            Command::Cancel { user: read_user(&user)?, date: read_date(&date)?, start: read_start(&start)? }
        }
        CommandForm::SetSlots { weekday, offered } => {
            Command::SetSlots { weekday: read_weekday(weekday)?, offered: read_set(offered)? }
        }
        CommandForm::UpdateSlot { weekday, start, end, available } => {
            let span = SlotSpan::parse(&start, &end).map_err(|_| Nonsense)?;
            Command::UpdateSlot { weekday: read_weekday(weekday)?, span, available }
        }
    })
}

fn answer_form(answer: &Answer) -> AnswerForm {
    let seat = |Booking { user, date, start, key }: &Booking| seat_form(user, *date, *start, key.as_ref());
    match answer {
        Answer::Booked(booking) => AnswerForm::Booked(seat(booking)),
        Answer::BookedBefore(booking) => AnswerForm::BookedBefore(seat(booking)),
        Answer::Cancelled => AnswerForm::Cancelled,
        Answer::ScheduleSet => AnswerForm::ScheduleSet,
    }
}

fn seat_form(user: &UserId, date: NaiveDate, start: SlotStart, key: Option<&IdempotencyKey>) -> SeatForm {
    SeatForm {
        user: user.as_str().to_owned(),
        date: date.to_string(),
        start: start.to_string(),
        key: key.map(|key| key.as_str().to_owned()),
    }
}

fn read_booking(SeatForm { user, date, start, key }: SeatForm) -> Result<Booking, Nonsense> {
    let key = key.map(|key| IdempotencyKey::parse(&key)).transpose().map_err(|_| Nonsense)?;
    Ok(Booking { user: read_user(&user)?, date: read_date(&date)?, start: read_start(&start)?, key })
}

fn read_doctor(text: &str) -> Result<DoctorId, Nonsense> {
    DoctorId::parse(text).map_err(|_| Nonsense)
}

fn read_user(text: &str) -> Result<UserId, Nonsense> {
    UserId::parse(text).map_err(|_| Nonsense)
}

fn read_start(text: &str) -> Result<SlotStart, Nonsense> {
    SlotStart::parse(text).map_err(|_| Nonsense)
}

/// A date as we write it and in no other spelling.
fn read_date(text: &str) -> Result<NaiveDate, Nonsense> {
    text.parse().ok().filter(|date: &NaiveDate| date.to_string() == text).ok_or(Nonsense)
}

/// From Monday, which is 0.
fn weekday_number(weekday: Weekday) -> u8 {
    weekday.days_since(Weekday::Mon).to_le_bytes()[0]
}

fn read_weekday(number: u8) -> Result<Weekday, Nonsense> {
    Weekday::try_from(number).map_err(|_| Nonsense)
}

/// One bit for each slot; midnight's is the lowest.
fn bits(set: SlotSet) -> u64 {
    set.iter().fold(0, |bits, slot| bits | 1 << slot.index())
}

fn read_set(bits: u64) -> Result<SlotSet, Nonsense> {
    if bits >> SLOTS_PER_DAY != 0 {
        return Err(Nonsense);
    }
    Ok(SlotStart::all().filter(|slot| bits & 1 << slot.index() != 0).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9अ-ह.+\"\\\\]{1,20}@[a-z.é]{1,20}"
    }

    fn date() -> impl Strategy<Value = NaiveDate> {
        (0..366 * 3_000).prop_filter_map("a date", NaiveDate::from_num_days_from_ce_opt)
    }

    fn start() -> impl Strategy<Value = SlotStart> {
        (0..usize::from(SLOTS_PER_DAY)).prop_filter_map("a slot", |index| SlotStart::all().nth(index))
    }

    fn set() -> impl Strategy<Value = SlotSet> {
        (0..1_u64 << SLOTS_PER_DAY).prop_filter_map("a set", |bits| read_set(bits).ok())
    }

    fn weekday() -> impl Strategy<Value = Weekday> {
        (0_u8..7).prop_filter_map("a weekday", |number| Weekday::try_from(number).ok())
    }

    fn booking() -> impl Strategy<Value = Booking> {
        let key = prop::option::of("[!-~]{1,64}");
        (address(), date(), start(), key).prop_map(|(user, date, start, key)| Booking {
            user: UserId::parse(&user).unwrap(),
            date,
            start,
            key: key.map(|key| IdempotencyKey::parse(&key).unwrap()),
        })
    }

    fn command() -> impl Strategy<Value = Command> {
        let span = (start(), start()).prop_filter_map("a span", |(start, end)| {
            SlotSpan::parse(&start.to_string(), &end.span().end()).ok()
        });
        prop_oneof![
            booking().prop_map(|Booking { user, date, start, key }| Command::Book { user, date, start, key }),
            booking().prop_map(|Booking { user, date, start, .. }| Command::Cancel { user, date, start }),
            (weekday(), set()).prop_map(|(weekday, offered)| Command::SetSlots { weekday, offered }),
            (weekday(), span, any::<bool>()).prop_map(|(weekday, span, available)| Command::UpdateSlot {
                weekday,
                span,
                available
            }),
        ]
    }

    fn error() -> impl Strategy<Value = EngineError> {
        let rejection = prop::sample::select(vec![
            Rejection::DoctorNotFound,
            Rejection::OutsideWindow,
            Rejection::SlotInPast,
            Rejection::AlreadyBooked,
            Rejection::SlotUnavailable,
            Rejection::SlotFull,
            Rejection::TooManyBookings { limit: 10 },
            Rejection::BookingNotFound,
        ]);
        prop_oneof![
            rejection.prop_map(EngineError::Rejected),
            Just(EngineError::Busy),
            Just(EngineError::NotHere),
            Just(EngineError::Unavailable),
            Just(EngineError::OutcomeUnknown),
        ]
    }

    proptest! {
        #[test]
        fn what_is_asked_arrives_as_it_was_meant(doctor in address(), command in command(), date in date()) {
            let doctor = DoctorId::parse(&doctor).unwrap();
            prop_assert_eq!(read_ask(&write_ask(&doctor, &command)), Ok((doctor.clone(), command)));
            prop_assert_eq!(read_look(&write_look(&doctor, date)), Ok((doctor, date)));
        }

        #[test]
        fn what_is_answered_arrives_as_it_was_meant(
            booking in booking(),
            command in command(),
            error in error(),
            offered in set(),
            seats in prop::collection::vec((start(), 1_u8..=255), 0..9),
            is_repeat: bool,
        ) {
            let answer = Ok(match &command {
                Command::Book { .. } if is_repeat => Answer::BookedBefore(booking),
                Command::Book { .. } => Answer::Booked(booking),
                Command::Cancel { .. } => Answer::Cancelled,
                Command::SetSlots { .. } | Command::UpdateSlot { .. } => Answer::ScheduleSet,
            });
            prop_assert_eq!(read_answer(&write_answer(&answer), &command), Ok(answer));
            let failed = Err(error.clone());
            prop_assert_eq!(read_answer(&write_answer(&failed), &command), Ok(failed));
            let mut view = DayView::new(offered);
            for (start, seats) in seats {
                (0..seats).for_each(|_| view.add(start));
            }
            let view = Ok(view);
            prop_assert_eq!(read_view(&write_view(&view)), Ok(view));
            let failed = Err(error);
            prop_assert_eq!(read_view(&write_view(&failed)), Ok(failed));
        }

        #[test]
        fn a_message_that_is_cut_short_is_nonsense(doctor in address(), command in command(), cut in 1_usize..40) {
            let whole = write_ask(&DoctorId::parse(&doctor).unwrap(), &command);
            prop_assert_eq!(read_ask(&whole[..whole.len() - cut]), Err(Nonsense));
        }
    }

    #[test]
    fn what_does_not_fit_is_nonsense() {
        let good =
            r#"{"doctor":"a@b","command":{"do":"cancel","user":"c@d","date":"2026-11-24","start":"10:00"}}"#;
        assert!(read_ask(good.as_bytes()).is_ok());
        for (from, to) in [
            ("a@b", "a"),
            ("c@d", "c#@d"),
            ("2026-11-24", "2026-11-4"),
            ("2026-11-24", "2026-02-30"),
            ("10:00", "10:10"),
            ("cancel", "move"),
            ("\"start\"", "\"new\":1,\"start\""),
            ("\"doctor\"", "\"new\":1,\"doctor\""),
        ] {
            assert_eq!(read_ask(good.replace(from, to).as_bytes()), Err(Nonsense), "{to}");
        }
        let cancel = read_ask(good.as_bytes()).unwrap().1;
        assert!(read_answer(br#"{"answer":"cancelled"}"#, &cancel).is_ok());
        for text in [
            r#"{"answer":"schedule_set"}"#,
            r#"{"error":"tired"}"#,
            r#"{"error":{"rejected":"no"}}"#,
            "",
            "{}",
        ] {
            assert_eq!(read_answer(text.as_bytes(), &cancel), Err(Nonsense), "{text}");
        }
        for view in [
            format!(r#"{{"answer":{{"offered":{},"booked":{:?}}}}}"#, 1_u64 << 48, [0; 48]),
            format!(r#"{{"answer":{{"offered":1,"booked":{:?}}}}}"#, vec![0; 47]),
            format!(r#"{{"answer":{{"offered":1,"booked":{:?}}}}}"#, [256; 48]),
        ] {
            assert_eq!(read_view(view.as_bytes()), Err(Nonsense), "{view}");
        }
    }
}
