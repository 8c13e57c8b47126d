//! Conditional and partial reads of objects: a client that resumes a download never gets parts of two files.

use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use chrono::{NaiveDateTime, TimeDelta};
use futures::future::join;
use futures::{StreamExt, stream};
use reqwest::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED,
};
use reqwest::{Client, Method};

use crate::files::{Files, each_files, file, http, now};

#[path = "../../persistence/src/embedded/conditions/oracle.rs"]
mod oracle;

use oracle::{Answer, Case, Known};

const ADA: &str = "ada@x.com";
const KEY: &str = "ada@x.com/a";
/// The caching that the links in these tests ask for.
const CACHING: &str = "private, max-age=60";
/// The format of dates in headers.
const DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";
/// The HTTP test asks for every 13th combination; the unit test of the evaluation covers all. 13 shares no factor with the number
/// of values of any header, so all values of any three headers meet.
const STEP: usize = 13;
/// Requests at once.
const REQUESTS: usize = 16;

/// An answer as a client sees it.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn length(&self) -> Option<usize> {
        self.header(CONTENT_LENGTH).map(|length| length.parse().unwrap())
    }
}

async fn ask(http: &Client, method: &Method, url: &str, headers: &[(&str, &str)]) -> Got {
    let mut request = http.request(method.clone(), url).timeout(Duration::from_secs(60));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Got { status, headers, body: answer.bytes().await.unwrap().to_vec() }
}

fn an_hour() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(3600)).unwrap()
}

async fn link(files: &Files, key: &str) -> String {
    let get = files.s3.client().get_object().bucket(&files.s3.buckets().medilocker).key(key);
    get.response_cache_control(CACHING).presigned(an_hour()).await.unwrap().uri().to_owned()
}

async fn head_link(files: &Files, key: &str) -> String {
    let head = files.s3.client().head_object().bucket(&files.s3.buckets().medilocker).key(key);
    head.presigned(an_hour()).await.unwrap().uri().to_owned()
}

#[tokio::test]
async fn resumed_download_of_a_replaced_file_starts_from_the_beginning() {
    each_files(async |files| {
        let (http, locker) = (http(), files.locker());
        locker.upload(ADA, vec![file("a", &[b'A'; 1000])], now()).await.unwrap();
        // The locker's own links open one object only; this one opens whatever its key names.
        let key = format!("{ADA}/a");
        let url = link(files, &key).await;
        let get = async |headers: &[(&str, &str)]| ask(&http, &Method::GET, &url, headers).await;
        let first = get(&[]).await;
        let old = first.header(ETAG).unwrap();
        let rest = get(&[("range", "bytes=500-"), ("if-range", old)]).await;
        assert_eq!((rest.status, rest.body), (206, vec![b'A'; 500]));

        assert!(locker.delete(ADA, "a", now()).await.unwrap());
        locker.upload(ADA, vec![file("a", &[b'B'; 1000])], now()).await.unwrap();
        let resumed = get(&[("range", "bytes=500-"), ("if-range", old)]).await;
        assert_eq!((resumed.status, &resumed.body), (200, &vec![b'B'; 1000]));
        let new = resumed.header(ETAG).unwrap();
        assert_ne!(new, old);
        let rest = get(&[("range", "bytes=500-"), ("if-range", new)]).await;
        assert_eq!((rest.status, rest.body), (206, vec![b'B'; 500]));
        assert_eq!(get(&[("if-match", old)]).await.status, 412);
    })
    .await;
}

#[tokio::test]
async fn resumed_download_gets_one_file_while_the_file_is_replaced() {
    each_files(async |files| {
        let (a, b) = (&[b'A'; 1000], &[b'B'; 1500]);
        files.put(KEY, a, &[]).await;
        let (http, url) = (http(), link(files, KEY).await);
        let first = ask(&http, &Method::GET, &url, &[]).await;
        let tag = first.header(ETAG).unwrap();
        let replaced = async {
            for _ in 0..50 {
                files.put(KEY, b, &[]).await;
                files.put(KEY, a, &[]).await;
            }
        };
        let read = stream::iter(0..500).for_each_concurrent(4, async |_| {
            let got = ask(&http, &Method::GET, &url, &[("range", "bytes=500-"), ("if-range", tag)]).await;
            if got.header(ETAG) == Some(tag) {
                assert_eq!(got.header(CONTENT_RANGE), Some("bytes 500-999/1000"));
                assert_eq!((got.status, &got.body[..]), (206, &a[500..]));
            } else {
                assert_eq!((got.status, &got.body[..]), (200, &b[..]));
            }
        });
        join(replaced, read).await;
    })
    .await;
}

#[tokio::test]
async fn conditions_and_ranges_are_evaluated_in_the_order_of_the_rfc() {
    each_files(async |files| {
        let content: Vec<u8> = (0..=250).cycle().take(1000).collect();
        files.put(KEY, content.clone().leak(), &[]).await;
        let links = [(Method::GET, link(files, KEY).await), (Method::HEAD, head_link(files, KEY).await)];
        let http = http();
        let whole = ask(&http, &Method::GET, &links[0].1, &[]).await;
        let modified = whole.header(LAST_MODIFIED).unwrap();
        let before = NaiveDateTime::parse_from_str(modified, DATE).unwrap() - TimeDelta::seconds(1);
        let before = before.format(DATE).to_string();
        let known = Known { e_tag: whole.header(ETAG).unwrap(), modified, before: &before };
        let cases = Case::all().step_by(STEP).map(|case| (case, case.headers(&known)));
        // S3's reference has one entity tag in a condition on a read: no list and no `*`.
        let cases = cases.filter(|(_, headers)| {
            let is_list = |value: &str| value == "*" || value.starts_with('"') && value.contains(',');
            files.is_embedded || !headers.iter().any(|(_, value)| is_list(value))
        });
        let requests = cases.flat_map(|(case, headers)| {
            links.iter().map(move |(method, url)| (case, headers.clone(), method, url))
        });
        let count = stream::iter(requests)
            .map(async |(case, headers, method, url)| {
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
                let got = ask(&http, method, url, &headers).await;
                assert_answered(&got, case.expected(), method, &content, &known, &format!("{case:?}"));
            })
            .buffer_unordered(REQUESTS)
            .count()
            .await;
        assert!(count > 1000, "{count}");
    })
    .await;
}

fn assert_answered(
    got: &Got,
    expected: Answer,
    method: &Method,
    content: &[u8],
    known: &Known<'_>,
    case: &str,
) {
    let case = format!("{method} {case}: {} {:?}", got.status, got.headers);
    let (status, range) = (got.status, got.header(CONTENT_RANGE));
    let is_head = *method == Method::HEAD;
    let has_validators =
        got.header(ETAG) == Some(known.e_tag) && got.header(LAST_MODIFIED) == Some(known.modified);
    let is = |part: &[u8]| {
        got.length() == Some(part.len()) && got.body == if is_head { &[] } else { part } && has_validators
    };
    match expected {
        Answer::Whole => {
            assert_eq!((status, range), (200, None), "{case}");
            assert!(is(content), "{case}");
        }
        Answer::SecondHalf => {
            assert_eq!((status, range), (206, Some("bytes 500-999/1000")), "{case}");
            assert!(is(&content[500..]), "{case}");
        }
        Answer::NotModified => {
            assert_eq!((status, range), (304, None), "{case}");
            assert!(has_validators && got.body.is_empty(), "{case}");
            assert!(is_head || got.header(CACHE_CONTROL) == Some(CACHING), "{case}");
            // Without a body, a length would be that of the whole.
            assert!(got.length().is_none_or(|length| length == content.len()), "{case}");
        }
        Answer::PreconditionFailed => assert_eq!((status, range), (412, None), "{case}"),
        Answer::NotSatisfiable => assert_eq!((status, range), (416, Some("bytes */1000")), "{case}"),
    }
}

#[tokio::test]
async fn conditions_that_are_signed_count_like_others_and_cannot_be_changed() {
    each_files(async |files| {
        files.put(KEY, b"0123456789", &[]).await;
        let get = || files.s3.client().get_object().bucket(&files.s3.buckets().medilocker).key(KEY);
        for ignored in ["bytes=0-1,3-4", "bytes=5-2", "items=0-1"] {
            let whole = get().range(ignored).send().await.unwrap();
            assert_eq!(whole.content_range(), None, "{ignored}");
            assert_eq!(whole.body.collect().await.unwrap().to_vec(), b"0123456789", "{ignored}");
        }
        let tag = get().send().await.unwrap().e_tag.unwrap();
        if files.is_embedded {
            let listed = get().if_none_match(format!("\"other\", W/{tag}")).send().await.unwrap_err();
            assert_eq!(listed.raw_response().unwrap().status().as_u16(), 304);
        }
        let refused = get().if_match("\"other\"").send().await.unwrap_err();
        assert_eq!(refused.code(), Some("PreconditionFailed"));
        let beyond = get().range("bytes=10-").send().await.unwrap_err();
        assert_eq!(beyond.code(), Some("InvalidRange"));

        let signed = get().range("bytes=2-4").presigned(an_hour()).await.unwrap();
        assert_eq!(signed.headers().collect::<Vec<_>>(), [("range", "bytes=2-4")]);
        let http = http();
        for (headers, status) in
            [(&[("range", "bytes=2-4")][..], 206), (&[("range", "bytes=2-5")], 403), (&[], 403)]
        {
            assert_eq!(ask(&http, &Method::GET, signed.uri(), headers).await.status, status, "{headers:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn header_that_is_sent_twice_is_a_list_or_malformed() {
    each_files(async |files| {
        // S3's reference has each of these headers once.
        if !files.is_embedded {
            return;
        }
        files.put(KEY, b"0123456789", &[]).await;
        let (http, url) = (http(), link(files, KEY).await);
        let get = async |headers: &[(&str, &str)]| ask(&http, &Method::GET, &url, headers).await;
        let whole = get(&[]).await;
        let (tag, date) = (whole.header(ETAG).unwrap(), whole.header(LAST_MODIFIED).unwrap());
        let range = ("range", "bytes=1-2");
        for (headers, status) in [
            (&[range][..], 206),
            (&[range, range], 200),
            (&[range, ("if-range", tag)], 206),
            (&[range, ("if-range", tag), ("if-range", tag)], 200),
            (&[("if-modified-since", date), ("if-modified-since", date)], 200),
            (&[("if-none-match", "\"other\""), ("if-none-match", tag)], 304),
            (&[("if-match", "\"other\""), ("if-match", tag)], 200),
        ] {
            assert_eq!(get(headers).await.status, status, "{headers:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn no_range_of_an_empty_object_is_a_part() {
    each_files(async |files| {
        files.put(KEY, b"", &[]).await;
        let (http, url) = (http(), link(files, KEY).await);
        for range in ["bytes=0-", "bytes=0-0", "bytes=-0"] {
            let got = ask(&http, &Method::GET, &url, &[("range", range)]).await;
            assert_eq!((got.status, got.header(CONTENT_RANGE)), (416, Some("bytes */0")), "{range}");
        }
        // The last bytes of nothing are satisfiable, says RFC 9110, but no `Content-Range` can name them.
        let got = ask(&http, &Method::GET, &url, &[("range", "bytes=-5")]).await;
        assert!(got.status == 200 && got.body.is_empty() || !files.is_embedded, "{got:?}");
    })
    .await;
}

#[tokio::test]
async fn missing_object_is_not_found_under_any_condition() {
    each_files(async |files| {
        let http = http();
        for (method, url) in
            [(Method::GET, link(files, "gone").await), (Method::HEAD, head_link(files, "gone").await)]
        {
            for headers in [("if-match", "*"), ("if-none-match", "*"), ("range", "bytes=0-")] {
                assert_eq!(ask(&http, &method, &url, &[headers]).await.status, 404, "{method} {headers:?}");
            }
        }
    })
    .await;
}
