//! Which pages of other origins may call.

use actix_web::http::Uri;

use super::environment::Environment;

/// The origins whose pages may call with the session cookie.
#[derive(Debug, Clone, Default)]
pub struct CorsConfig {
    /// `scheme://host[:port]`, compared exactly.
    pub allowed_origins: Vec<String>,
}

impl CorsConfig {
    /// Reads `CORS_ALLOWED_ORIGINS` (default none).
    pub(super) fn from_env(env: &mut Environment) -> Self {
        Self { allowed_origins: env.list("CORS_ALLOWED_ORIGINS", origin) }
    }
}

fn origin(text: &str) -> Result<String, &'static str> {
    if text == "*" {
        return Err("allowed, since calls carry the session cookie: name each origin");
    }
    let expected = "an origin such as https://clinic.example, without a path";
    let uri: Uri = text.parse().map_err(|_| expected)?;
    let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
    let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    let plain = format!("{scheme}://{host}{port}");
    let is_origin = ["http", "https"].contains(&scheme) && !host.is_empty() && plain == text;
    is_origin.then_some(plain).ok_or(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for text in ["https://clinic.example", "http://localhost:3000", "http://[::1]:80"] {
            assert_eq!(origin(text).as_deref(), Ok(text));
        }
        for text in
            ["*", "null", "clinic.example", "https://a.b/", "https://a.b/c", "ftp://a.b", "https://u@a.b"]
        {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
