//! Dates, starts and cursors, for every text.

use super::{doctor_list, parse_date, parse_doctor, parse_start, parse_user};

pub(crate) fn dates(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(date) = parse_date("date", text) {
        assert_eq!(date.to_string(), text);
    }
    if let Ok(start) = parse_start("start", text) {
        assert_eq!(start.to_string(), text);
    }
    assert_eq!(parse_doctor("a", text).is_ok(), parse_user("a", text).is_ok());
    assert_eq!(doctor_list::read_cursor(&doctor_list::write_cursor(text)).ok().as_deref(), Some(text));
    if let Ok(last) = doctor_list::read_cursor(text) {
        assert_eq!(doctor_list::write_cursor(&last), text);
    }
}
