//! The answers to conditional reads, straight from RFC 9110, section 13.2.2. The oracle parses nothing: it builds the headers
//! of a case from their meaning. `tests/store` includes this file and asks real servers.

/// A list of entity tags, compared with the tag of the object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Tags {
    Absent,
    Same,
    Other,
    Weak,
    Malformed,
    Any,
    List,
}

/// A date, compared with that of the object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Date {
    Absent,
    Same,
    Before,
    Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Range {
    Absent,
    SecondHalf,
    Unsatisfiable,
    UnknownUnit,
    Several,
    Reversed,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum IfRange {
    Absent,
    SameTag,
    OtherTag,
    WeakTag,
    SameDate,
    OtherDate,
    Malformed,
}

/// A request for an object of 1000 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    if_match: Tags,
    if_unmodified_since: Date,
    if_none_match: Tags,
    if_modified_since: Date,
    range: Range,
    if_range: IfRange,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Answer {
    Whole,
    SecondHalf,
    NotModified,
    PreconditionFailed,
    NotSatisfiable,
}

/// What a client knows of the object.
pub(crate) struct Known<'a> {
    /// The value of `ETag`.
    pub(crate) e_tag: &'a str,
    /// The value of `Last-Modified`.
    pub(crate) modified: &'a str,
    /// One second before `modified`.
    pub(crate) before: &'a str,
}

const TAGS: [Tags; 7] =
    [Tags::Absent, Tags::Same, Tags::Other, Tags::Weak, Tags::Malformed, Tags::Any, Tags::List];
const DATES: [Date; 4] = [Date::Absent, Date::Same, Date::Before, Date::Malformed];
const RANGES: [Range; 6] = [
    Range::Absent,
    Range::SecondHalf,
    Range::Unsatisfiable,
    Range::UnknownUnit,
    Range::Several,
    Range::Reversed,
];
const IF_RANGES: [IfRange; 7] = [
    IfRange::Absent,
    IfRange::SameTag,
    IfRange::OtherTag,
    IfRange::WeakTag,
    IfRange::SameDate,
    IfRange::OtherDate,
    IfRange::Malformed,
];

impl Case {
    /// Every combination.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let radices = [TAGS.len(), DATES.len(), TAGS.len(), DATES.len(), RANGES.len(), IF_RANGES.len()];
        (0..radices.iter().product()).map(move |number: usize| {
            let mut rest = number;
            let [a, b, c, d, e, f] = radices.map(|radix| {
                let digit = rest % radix;
                rest /= radix;
                digit
            });
            Self {
                if_match: TAGS[a],
                if_unmodified_since: DATES[b],
                if_none_match: TAGS[c],
                if_modified_since: DATES[d],
                range: RANGES[e],
                if_range: IF_RANGES[f],
            }
        })
    }

    pub(crate) fn headers(&self, validators: &Known<'_>) -> Vec<(&'static str, String)> {
        let Known { e_tag, modified, before } = validators;
        let tags = |tags| match tags {
            Tags::Absent => None,
            Tags::Same => Some((*e_tag).to_owned()),
            Tags::Other => Some("\"other\"".to_owned()),
            Tags::Weak => Some(format!("W/{e_tag}")),
            Tags::Malformed => Some(format!("{e_tag} {e_tag}")),
            Tags::Any => Some("*".to_owned()),
            Tags::List => Some(format!("\"other\", W/\"weak\" ,{e_tag}")),
        };
        let date = |date| match date {
            Date::Absent => None,
            Date::Same => Some((*modified).to_owned()),
            Date::Before => Some((*before).to_owned()),
            Date::Malformed => Some("yesterday".to_owned()),
        };
        let range = match self.range {
            Range::Absent => None,
            Range::SecondHalf => Some("bytes=500-"),
            Range::Unsatisfiable => Some("bytes=1000-"),
            Range::UnknownUnit => Some("items=0-1"),
            Range::Several => Some("bytes=0-1,5-6"),
            Range::Reversed => Some("bytes=5-2"),
        };
        let if_range = match self.if_range {
            IfRange::Absent => None,
            IfRange::SameTag => Some((*e_tag).to_owned()),
            IfRange::OtherTag => Some("\"other\"".to_owned()),
            IfRange::WeakTag => Some(format!("W/{e_tag}")),
            IfRange::SameDate => Some((*modified).to_owned()),
            IfRange::OtherDate => Some((*before).to_owned()),
            IfRange::Malformed => Some(format!("{e_tag} {e_tag}")),
        };
        let headers = [
            ("if-match", tags(self.if_match)),
            ("if-unmodified-since", date(self.if_unmodified_since)),
            ("if-none-match", tags(self.if_none_match)),
            ("if-modified-since", date(self.if_modified_since)),
            ("range", range.map(str::to_owned)),
            ("if-range", if_range),
        ];
        headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The answer to GET. The answer to HEAD is the same: S3's reference of `HeadObject` applies a range to it as well.
    pub(crate) fn expected(&self) -> Answer {
        // 1. If-Match is present: if it is false, respond 412. The comparison is strong. 2. Only without If-Match,
        // evaluate If-Unmodified-Since: if it is false, respond 412. A malformed date is ignored.
        if self.if_match != Tags::Absent {
            if ![Tags::Same, Tags::Any, Tags::List].contains(&self.if_match) {
                return Answer::PreconditionFailed;
            }
        } else if self.if_unmodified_since == Date::Before {
            return Answer::PreconditionFailed;
        }
        // 3. If-None-Match is present: if it is false, respond 304. The comparison is weak. 4. Only without
        // If-None-Match, evaluate If-Modified-Since: if it is false, respond 304. A malformed date is ignored.
        if self.if_none_match != Tags::Absent {
            if [Tags::Same, Tags::Weak, Tags::Any, Tags::List].contains(&self.if_none_match) {
                return Answer::NotModified;
            }
        } else if self.if_modified_since == Date::Same {
            return Answer::NotModified;
        }
        // 5. Range and If-Range are present: if If-Range is false, ignore the range. The comparison is strong.
        if ![IfRange::Absent, IfRange::SameTag, IfRange::SameDate].contains(&self.if_range) {
            return Answer::Whole;
        }
        // 6. Perform the method. An unknown unit, several ranges and a malformed range are ignored.
        match self.range {
            Range::SecondHalf => Answer::SecondHalf,
            Range::Unsatisfiable => Answer::NotSatisfiable,
            Range::Absent | Range::UnknownUnit | Range::Several | Range::Reversed => Answer::Whole,
        }
    }
}
