//! Documents in every order and state of repair.

use std::io::{Seek, SeekFrom};

use super::*;

fn read_text(text: &str) -> Result<Document, ApiError> {
    read(text.as_bytes(), &std::env::temp_dir())
}

/// The files of a document that can be read: names, contents and metadata.
fn files(text: &str) -> Result<Vec<(String, String, String)>, ApiError> {
    let files = read_text(text)?.files()?;
    Ok(files
        .into_iter()
        .map(|mut file| {
            let mut content = String::new();
            file.content.seek(SeekFrom::Start(0)).unwrap();
            file.content.read_to_string(&mut content).unwrap();
            assert_eq!(content.len() as u64, file.size);
            (file.name.as_str().to_owned(), content, format!("{:?}", file.metadata))
        })
        .collect())
}

fn refusal(text: &str) -> String {
    match files(text) {
        Err(ApiError::InvalidValue(sentence)) => sentence.into_owned(),
        Err(other) => other.to_string(),
        Ok(_) => panic!("accepted: {text}"),
    }
}

#[test]
fn fields_may_come_in_any_order_and_unknown_ones_are_passed_over() {
    for text in [
        r#"{"email":"a@x.com","files":[{"filename":"a","content":"YQ==","metadata":{"k":"v"}}]}"#,
        r#"{"files":[{"content":"YQ","metadata":{"k":"v"},"filename":"\u0061"}],"email":"a@x.com"}"#,
        r#" { "platform" : {"a":[1e400, {"files":7}]} , "files" : [ { "x":null, "metadata":{"k":"v"}, "content":"Y\u0051==", "filename":"a" } ] , "email" : "a@x.com" } "#,
    ] {
        let document = read_text(text).unwrap();
        assert_eq!(document.raw_email(), Some("a@x.com"));
        let expected = ("a".to_owned(), "a".to_owned(), r#"{"k": "v"}"#.to_owned());
        assert_eq!(files(text).unwrap(), [expected], "{text}");
    }
}

#[test]
fn of_a_field_that_comes_twice_the_last_one_counts() {
    let text = r#"{"email":"a@x.com","files":[],"files":[{"filename":"x/y","filename":"a","content":"*","content":"Yg",
        "metadata":{"k":1},"metadata":{"k":"v","k":"w"}}],"email":"b@x.com"}"#;
    assert_eq!(read_text(text).unwrap().raw_email(), Some("b@x.com"));
    assert_eq!(files(text).unwrap(), [("a".to_owned(), "b".to_owned(), r#"{"k": "w"}"#.to_owned())]);
}

#[test]
fn metadata_may_be_left_out_and_keeps_case_and_script() {
    let text = r#"{"email":"a@x.com","files":[{"filename":"a","content":""},{"filename":"b","content":"","metadata":null},
        {"filename":"c","content":"","metadata":{"Kind":"रक्त","":""}}]}"#;
    let metadata: Vec<String> = files(text).unwrap().into_iter().map(|file| file.2).collect();
    assert_eq!(metadata, ["{}", "{}", &format!("{:?}", BTreeMap::from([("", ""), ("Kind", "रक्त")]))]);
}

#[test]
fn a_refusal_names_the_field_and_repeats_no_value() {
    let one = |file: &str| {
        refusal(&format!(r#"{{"email":"a@x.com","files":[{{"filename":"ok","content":""}},{file}]}}"#))
    };
    assert_eq!(one("7"), "'files[1]' is not of the right type");
    assert_eq!(one(r#"{"content":""}"#), "'files[1].filename' is missing");
    assert_eq!(one(r#"{"filename":7,"content":""}"#), "'files[1].filename' is not of the right type");
    assert!(
        one(r#"{"filename":"../canary","content":""}"#).starts_with("'files[1].filename' is not valid: ")
    );
    assert!(!one(r#"{"filename":"../canary","content":""}"#).contains("canary"));
    assert_eq!(one(r#"{"filename":"ok","content":""}"#), "'files[1].filename' occurs twice");
    assert_eq!(one(r#"{"filename":"a"}"#), "'files[1].content' is missing");
    assert_eq!(one(r#"{"filename":"a","content":null}"#), "'files[1].content' is not of the right type");
    assert_eq!(one(r#"{"filename":"a","content":"can*ary"}"#), "'files[1].content' is not base64");
    let metadata = |metadata: &str| one(&format!(r#"{{"filename":"a","content":"","metadata":{metadata}}}"#));
    assert_eq!(metadata("[]"), "'files[1].metadata' is not of the right type");
    assert_eq!(metadata(r#"{"k":["canary"]}"#), "'files[1].metadata' must hold texts only");
    assert_eq!(metadata(&format!(r#"{{"k":"{}"}}"#, "x".repeat(2048))), "metadata_too_large");
    assert_eq!(refusal(r#"{"files":[]}"#), "'email' is missing");
    assert_eq!(refusal(r#"{"email":7,"files":[]}"#), "'email' is not of the right type");
    assert_eq!(refusal(r#"{"email":"a@x.com"}"#), "'files' is missing");
    assert_eq!(refusal(r#"{"email":"a@x.com","files":{}}"#), "'files' is not of the right type");
    assert_eq!(refusal(r#"{"email":"a@x.com","files":[]}"#), "'files' must be 1 to 20 files");
    for text in ["[]", "7", "null", "\"a\""] {
        assert_eq!(refusal(text), "The body must be a JSON object");
    }
}

#[test]
fn twenty_files_are_taken_and_one_more_is_not() {
    let of = |number: usize| {
        let files: Vec<String> =
            (0..number).map(|n| format!(r#"{{"filename":"{n}","content":""}}"#)).collect();
        format!(r#"{{"email":"a@x.com","files":[{}]}}"#, files.join(","))
    };
    assert_eq!(files(&of(FILES_MAX)).unwrap().len(), FILES_MAX);
    assert_eq!(refusal(&of(FILES_MAX + 1)), "'files' must be 1 to 20 files");
}

#[test]
fn a_value_that_is_refused_does_not_keep_whose_files_they_are_from_being_known() {
    let text = r#"{"files":[{"filename":"","content":"*"},7],"email":"b@x.com"}"#;
    assert_eq!(read_text(text).unwrap().raw_email(), Some("b@x.com"));
}

#[test]
fn a_document_that_is_cut_anywhere_is_no_json() {
    let text = r#"{"a":[true,{"b":-1.5e3}],"files":[{"filename":"ä","content":"YWJj","metadata":{"k":"v"}}],"email":"a@x.com"}"#;
    assert!(files(text).is_ok());
    for (end, _) in text.char_indices() {
        assert!(matches!(read_text(&text[..end]), Err(ApiError::InvalidJson)), "{end}");
    }
    let deep = "[".repeat(10_000);
    for text in [&format!("{text}x"), &format!("{text}{text}"), "{\"email\":tru}", "{\"a\":1,}", &deep] {
        assert!(matches!(read_text(text), Err(ApiError::InvalidJson)), "{text:.40}");
    }
    assert!(matches!(read(&b"{\"a\":\"\xff\"}"[..], &std::env::temp_dir()), Err(ApiError::InvalidJson)));
}

#[test]
fn what_is_no_content_is_bounded_wherever_it_stands() {
    let long = "x".repeat(usize::try_from(OTHER_BYTES_MAX).unwrap());
    for text in [
        format!(r#"{{"email":"{long}"}}"#),
        format!(r#"{{"{long}":1}}"#),
        format!(r#"{{"a":"{long}"}}"#),
        format!("{{{}", " ".repeat(long.len())),
        format!(r#"{{"files":[{{"filename":"{long}"}}]}}"#),
        format!(r#"{{"files":[{{"metadata":{{"{long}":""}}}}]}}"#),
    ] {
        assert!(matches!(read_text(&text), Err(ApiError::BodyTooLarge(_))), "{text:.20}");
    }
}

#[test]
fn a_content_may_be_long_also_when_it_is_refused() {
    let long = "A".repeat(4 * 1024 * 1024);
    let text = |content: &str| {
        format!(r#"{{"email":"a@x.com","files":[{{"filename":"a","content":"{content}"}}]}}"#)
    };
    assert_eq!(files(&text(&long)).unwrap()[0].1.len(), 3 * 1024 * 1024);
    assert_eq!(refusal(&text(&format!("*{long}"))), "'files[0].content' is not base64");
    let longer = "A".repeat(14 * 1024 * 1024);
    assert!(matches!(read_text(&text(&longer)), Err(ApiError::File(FileRefusal::TooLarge))));
}
