//! Which pages of other origins may call.

use reqwest::Url;

use super::parsers::Expected;

/// The origins whose pages may call with the session cookie.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct CorsConfig {
    /// Comma-separated origins whose pages may call with the session cookie, such as `https://clinic.example`. `*` is refused.
    // They are compared exactly, as browsers send them: `scheme://host[:port]`.
    #[arg(id = "cors-allowed-origins", long, env = "CORS_ALLOWED_ORIGINS", value_name = "ORIGIN",
        value_delimiter = ',', value_parser = origin)]
    pub allowed_origins: Vec<String>,
}

/// Reads an origin and writes it as browsers send it: in lower case, international names as punycode, without the port that
/// is the scheme's default (HTML standard, "ASCII serialization of an origin").
fn origin(text: &str) -> Result<String, Expected> {
    if text == "*" {
        return Err(Expected("each origin by name, because calls carry the session cookie"));
    }
    let expected = Expected("an origin such as https://clinic.example, without a path or a wildcard");
    // The parser of URLs is lenient: it repairs slashes, drops tabs and takes `*` for a letter.
    let (_, host_and_port) = text.split_once("://").ok_or(expected)?;
    let is_plain = |c: char| !matches!(c, '/' | '\\' | '?' | '#' | '@' | '*' | '%') && !c.is_whitespace();
    if host_and_port.is_empty() || !host_and_port.chars().all(is_plain) {
        return Err(expected);
    }
    let url = Url::parse(text).map_err(|_| expected)?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(expected);
    }
    Ok(url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for text in ["https://clinic.example", "http://localhost:3000", "http://[::1]:8080", "https://a.b:80"]
        {
            assert_eq!(origin(text).as_deref(), Ok(text));
        }
        for text in [
            "*",
            "null",
            "",
            "https://",
            "https:",
            "https:a.b",
            "clinic.example",
            "https://a.b/",
            "https://a.b/c",
            "https://a.b?c",
            "https://a.b#c",
            "https://a.b\\c",
            "https://*.b",
            "https://*",
            "https://a.b:*",
            "https://a.b:65536",
            "https://a.b:x",
            "https://a%2Eb",
            "https://a b",
            "https://a\t.b",
            "ftp://a.b",
            "file://a",
            "https://u@a.b",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_is_compared_as_browsers_write_it() {
        for (text, sent) in [
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("https://APP.example", "https://app.example"),
            ("HTTPS://app.example:8443", "https://app.example:8443"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://क्लिनिक.भारत", "https://xn--11ba0dwb0db8g.xn--h2brj9c"),
            ("http://[0:0::1]:80", "http://[::1]"),
            ("http://127.1", "http://127.0.0.1"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(sent));
        }
    }
}
