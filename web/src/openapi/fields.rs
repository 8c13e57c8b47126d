//! Schemas of fields that several bodies share, for `#[schema(schema_with = fields::email)]`.

use utoipa::openapi::schema::{
    Array, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{KnownFormat, SchemaFormat};

use crate::services::QUESTION_CHARS_MAX;

/// Control characters and what else shows nothing (Unicode's `Default_Ignorable_Code_Point`), for a character class. Regular
/// expressions of Python know no Unicode properties.
macro_rules! hidden {
    () => {
        "\\x00-\\x1F\\x7F-\\x9F\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\
         \\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\uFFF0-\\uFFF8\u{1BCA0}-\u{1BCA3}\u{1D173}-\u{1D17A}\u{E0000}-\u{E0FFF}"
    };
}

/// A text that is not blank and shows all that it holds. The joiners that some scripts need are taken all the same.
const NAME: &str = concat!("^[^", hidden!(), "]*[^\\s\\u2800", hidden!(), "][^", hidden!(), "]*$");
/// A text without control characters.
const NO_CONTROLS: &str = r"^[^\x00-\x1F\x7F-\x9F]*$";
/// Base64 whose padding may be left out, with line breaks anywhere.
const BASE64: &str = r"^[\r\n]*(([A-Za-z0-9+/][\r\n]*){4})*([A-Za-z0-9+/][\r\n]*[AQgw][\r\n]*(=[\r\n]*){0,2}|([A-Za-z0-9+/][\r\n]*){2}[AEIMQUYcgkosw048][\r\n]*(=[\r\n]*)?)?$";
/// A text without control characters but those that make lines.
const NO_CONTROLS_BUT_LAYOUT: &str = r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*$";
const EMAIL: &str = concat!("^[^@#\\s", hidden!(), "]+@[^@#\\s", hidden!(), "]+$");

/// An e-mail address.
pub(crate) fn email() -> Object {
    let bounds = "At most 254 bytes, without `#`, spaces, control characters and invisible characters.";
    let text = text(EMAIL).max_length(Some(engine::ids::EMAIL_BYTES_MAX)).description(Some(bounds));
    text.examples(["ada@example.com"]).build()
}

/// An e-mail address that may be left out.
pub(crate) fn email_or_none() -> Object {
    or_none(email())
}

/// A date on the clinic's calendar.
pub(crate) fn date() -> Object {
    let text =
        text("^[0-9]{4}-[0-9]{2}-[0-9]{2}$").format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)));
    text.examples(["2026-11-24"]).build()
}

/// When a slot starts on the doctor's wall clock.
pub(crate) fn slot_start() -> Object {
    text("^([01][0-9]|2[0-3]):(00|30)$").examples(["10:00"]).build()
}

/// When a slot ends on the doctor's wall clock; at midnight either `24:00` or `00:00`.
pub(crate) fn slot_end() -> Object {
    let text = text("^(([01][0-9]|2[0-3]):(00|30)|24:00)$");
    text.description(Some("Midnight is `24:00`, or `00:00`.")).examples(["10:30"]).build()
}

/// A question to the assistant.
pub(crate) fn question() -> Object {
    let text = text(r"\S").min_length(Some(1)).max_length(Some(QUESTION_CHARS_MAX));
    text.examples(["Is it good to walk every day?"]).build()
}

/// The language of the assistant's answer, if another than English.
pub(crate) fn language() -> Object {
    or_none(text("^(en|hi|es|te|ta)$").default(Some("en".into())).examples(["hi"]).build())
}

/// A weekday.
pub(crate) fn weekday() -> Object {
    let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(days)).build()
}

/// A person's name, in any script.
pub(crate) fn person() -> Object {
    text(NAME).min_length(Some(1)).max_length(Some(100)).examples(["Ada"]).build()
}

/// A password at sign-up.
pub(crate) fn new_password() -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(8)).max_length(Some(128));
    text.format(Some(SchemaFormat::KnownFormat(KnownFormat::Password))).examples(["correct horse"]).build()
}

/// A password at log-in: those of old accounts may be shorter.
pub(crate) fn password() -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String).examples(["correct horse"]);
    text.format(Some(SchemaFormat::KnownFormat(KnownFormat::Password))).build()
}

/// A phone number.
pub(crate) fn phone() -> Object {
    text("^[0-9 +-]{4,20}$").examples(["+91 98765 43210"]).build()
}

/// Where somebody is, if they say so.
pub(crate) fn location() -> Object {
    or_none(text(NO_CONTROLS).max_length(Some(200)).examples(["Pune"]).build())
}

/// What a new file may be called.
pub(crate) fn new_file_name() -> Object {
    let text = text(r"^[^./\\\x00-\x1F\x7F-\x9F][^/\\\x00-\x1F\x7F-\x9F]*$")
        .min_length(Some(1))
        .max_length(Some(255));
    text.description(Some("At most 255 bytes, in any script.")).examples(["report.txt"]).build()
}

/// A file's bytes.
pub(crate) fn file_content() -> Object {
    let text = text(BASE64)
        .content_encoding("base64")
        .description(Some("At most 10 MiB, decoded. Line breaks are skipped."));
    text.examples(["aGVsbG8="]).build()
}

/// What a doctor says of itself, if it does.
pub(crate) fn said() -> Object {
    or_none(text(NO_CONTROLS).max_length(Some(200)).build())
}

/// The same in several lines.
pub(crate) fn description() -> Object {
    or_none(text(NO_CONTROLS_BUT_LAYOUT).max_length(Some(2_000)).build())
}

/// For how long a doctor has practised, in words or in years.
pub(crate) fn experience() -> Schema {
    let years = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(100));
    OneOfBuilder::new().item(said()).item(years).build().into()
}

/// A list of which only the length says something.
pub(crate) fn nulls() -> Array {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    ArrayBuilder::new().items(null).max_items(Some(1_000)).build()
}

fn text(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}

/// The same, or `null`.
fn or_none(schema: Object) -> Object {
    ObjectBuilder::from(schema).schema_type(SchemaType::from_iter([Type::String, Type::Null])).build()
}
