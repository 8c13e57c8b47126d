use std::time::Duration;

use hyper::header::HeaderValue;

use super::oracle::{Answer, Case, Known};
use super::*;

fn evaluate(headers: &[(HeaderName, &[u8])], size: u64) -> Outcome {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    let conditions = Conditions::take(&mut all);
    assert!(all.is_empty());
    // Sun, 06 Nov 1994 08:49:37 GMT, and a fraction.
    let modified = UNIX_EPOCH + Duration::from_millis(784_111_777_900);
    conditions.evaluate(&Validators { e_tag: "a,b", modified, size })
}

#[test]
fn lists_of_tags_are_read_to_the_letter() {
    let named: [&[u8]; 8] = [
        b"*",
        b"\"a,b\"",
        b",\"a,b\"",
        b"\"x\" ,\t\"a,b\",",
        b"\"\", \"a,b\"",
        b"W/\"x\",, \"a,b\"",
        b"\"\xff!\",\"a,b\"",
        b" \"a,b\" ",
    ];
    let not_named: [&[u8]; 14] = [
        b"",
        b",",
        b"a,b",
        b"\"a\", \"b\"",
        b"\"A,B\"",
        b"\"a,b",
        b"a,b\"",
        b"'a,b'",
        b"w/\"a,b\"",
        b"W/ \"a,b\"",
        b"*, \"a,b\"",
        b"\"a,b\" \"c\"",
        b"\"a,b\", c",
        b"\"x y\", \"a,b\"",
    ];
    for (fields, is_named) in [(&named[..], true), (&not_named[..], false)] {
        for field in fields {
            let text = String::from_utf8_lossy(field);
            let expected = if is_named { Outcome::Whole } else { Outcome::PreconditionFailed };
            assert_eq!(evaluate(&[(IF_MATCH, field)], 9), expected, "{text}");
            let expected = if is_named { Outcome::NotModified } else { Outcome::Whole };
            assert_eq!(evaluate(&[(IF_NONE_MATCH, field)], 9), expected, "{text}");
        }
    }
    assert_eq!(evaluate(&[(IF_MATCH, b"W/\"a,b\"")], 9), Outcome::PreconditionFailed);
    assert_eq!(evaluate(&[(IF_NONE_MATCH, b"W/\"a,b\"")], 9), Outcome::NotModified);
    // Two lines are one list.
    assert_eq!(evaluate(&[(IF_MATCH, b"\"x\""), (IF_MATCH, b"\"a,b\"")], 9), Outcome::Whole);
    assert_eq!(evaluate(&[(IF_MATCH, b"*"), (IF_MATCH, b"\"x\"")], 9), Outcome::PreconditionFailed);
}

#[test]
fn dates_of_all_three_formats_count_in_seconds() {
    let same: [&[u8]; 3] =
        [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"];
    let range = (RANGE, &b"bytes=1-"[..]);
    for date in same {
        assert_eq!(evaluate(&[(IF_UNMODIFIED_SINCE, date)], 9), Outcome::Whole);
        assert_eq!(evaluate(&[(IF_MODIFIED_SINCE, date)], 9), Outcome::NotModified);
        assert_eq!(evaluate(&[(IF_RANGE, date), range.clone()], 9), Outcome::Part(1..9));
    }
    let earlier = &b"Sun, 06 Nov 1994 08:49:36 GMT"[..];
    assert_eq!(evaluate(&[(IF_UNMODIFIED_SINCE, earlier)], 9), Outcome::PreconditionFailed);
    assert_eq!(evaluate(&[(IF_MODIFIED_SINCE, earlier)], 9), Outcome::Whole);
    // A later date does not stand for the same object.
    for date in [earlier, b"Sun, 06 Nov 1994 08:49:38 GMT"] {
        assert_eq!(evaluate(&[(IF_RANGE, date), range.clone()], 9), Outcome::Whole);
    }
    let malformed: [&[u8]; 6] = [
        b"",
        b"784111777",
        b"1994-11-06T08:49:36Z",
        b"Mon, 06 Nov 1994 08:49:36 GMT",
        b"Sun, 06 Nov 1994 08:49:36",
        b"Sun, 06 Nov 1994 08:49:36 GMT, Sun, 06 Nov 1994 08:49:36 GMT",
    ];
    for date in malformed {
        assert_eq!(evaluate(&[(IF_UNMODIFIED_SINCE, date)], 9), Outcome::Whole);
        assert_eq!(evaluate(&[(IF_MODIFIED_SINCE, date)], 9), Outcome::Whole);
        assert_eq!(evaluate(&[(IF_RANGE, date), range.clone()], 9), Outcome::Whole);
    }
    for name in [IF_UNMODIFIED_SINCE, IF_MODIFIED_SINCE] {
        assert_eq!(evaluate(&[(name.clone(), earlier), (name, same[0])], 9), Outcome::Whole);
    }
    let twice = [(IF_RANGE, same[0]), (IF_RANGE, same[0]), range];
    assert_eq!(evaluate(&twice, 9), Outcome::Whole);
}

#[test]
fn ranges_are_read_to_the_letter() {
    let huge = "9".repeat(40);
    for (range, size, outcome) in [
        ("bytes=0-", 9, Outcome::Part(0..9)),
        ("BYTES=2-4", 9, Outcome::Part(2..5)),
        ("bytes=8-8", 9, Outcome::Part(8..9)),
        ("bytes=-4", 9, Outcome::Part(5..9)),
        ("bytes=-10", 9, Outcome::Part(0..9)),
        (&format!("bytes=1-{huge}"), 9, Outcome::Part(1..9)),
        (&format!("bytes=-{huge}"), 9, Outcome::Part(0..9)),
        ("bytes=9-", 9, Outcome::NotSatisfiable),
        ("bytes=9-9", 9, Outcome::NotSatisfiable),
        ("bytes=-0", 9, Outcome::NotSatisfiable),
        (&format!("bytes={huge}-"), 9, Outcome::NotSatisfiable),
        (&format!("bytes={huge}-{huge}"), u64::MAX, Outcome::NotSatisfiable),
        ("bytes=0-", 0, Outcome::NotSatisfiable),
        ("bytes=-0", 0, Outcome::NotSatisfiable),
        ("bytes=-1", 0, Outcome::Whole),
    ] {
        assert_eq!(evaluate(&[(RANGE, range.as_bytes())], size), outcome, "{range} of {size}");
    }
    let ignored: [&[u8]; 18] = [
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=-",
        b"bytes=5",
        b"bytes=5-2",
        b"bytes=0-1,3-4",
        b"bytes=0-1,",
        b"bytes= 0-1",
        b"bytes=0 - 1",
        b"bytes=+0-1",
        b"bytes=0--1",
        b"bytes=--1",
        b"bytes=a-b",
        b"bytes =0-1",
        b"bytes=0-1\xff",
        b"items=0-1",
        b"0-1",
    ];
    for range in ignored {
        assert_eq!(evaluate(&[(RANGE, range)], 9), Outcome::Whole, "{}", String::from_utf8_lossy(range));
    }
    assert_eq!(evaluate(&[(RANGE, b"bytes=0-1"), (RANGE, b"bytes=0-1")], 9), Outcome::Whole);
}

#[test]
fn every_combination_is_answered_as_the_rfc_says() {
    let known = Known {
        e_tag: "\"tag\"",
        modified: "Sun, 06 Nov 1994 08:49:37 GMT",
        before: "Sun, 06 Nov 1994 08:49:36 GMT",
    };
    let modified = UNIX_EPOCH + Duration::from_millis(784_111_777_900);
    let object = Validators { e_tag: "tag", modified, size: 1000 };
    for case in Case::all() {
        let headers = case.headers(&known).into_iter();
        let headers = headers.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let expected = match case.expected() {
            Answer::Whole => Outcome::Whole,
            Answer::SecondHalf => Outcome::Part(500..1000),
            Answer::NotModified => Outcome::NotModified,
            Answer::PreconditionFailed => Outcome::PreconditionFailed,
            Answer::NotSatisfiable => Outcome::NotSatisfiable,
        };
        assert_eq!(
            Conditions { headers: headers.collect(), bound_to: None }.evaluate(&object),
            expected,
            "{case:?}"
        );
    }
}
