//! The encoding of a response: plain, compressed, or 304 because the client has it already (RFC 9110, sections 8.8.3,
//! 12.5.3 and 13.1.2).

use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, IF_NONE_MATCH};

use super::Response;

/// The encoding of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// The compressed body, if it is the one to send.
    pub gzip: Option<&'static [u8]>,
    /// The ETag of the chosen encoding.
    pub etag: Option<String>,
    /// The client already has it.
    pub cached: bool,
}

pub(super) fn choose(headers: &HeaderMap, response: &Response) -> Shape {
    let gzip = response.gzip.filter(|_| accepts_gzip(headers));
    let etag = response.etag.clone().map(|etag| match gzip {
        // A strong validator identifies one encoding.
        Some(_) => format!("{}-gzip\"", etag.trim_end_matches('"')),
        None => etag,
    });
    let known = |etag: &String| items(headers, IF_NONE_MATCH).any(|known| known == "*" || known == etag);
    let cached = etag.as_ref().is_some_and(known);
    Shape { gzip: gzip.filter(|_| !cached), etag, cached }
}

/// Whether gzip is listed with a weight other than 0. A bare `*` is not enough.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    items(headers, ACCEPT_ENCODING).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        is_gzip && parts.all(|parameter| !is_zero(parameter))
    })
}

/// Whether a parameter is a weight of 0, such as `q=0` or `q=0.0`.
fn is_zero(parameter: &str) -> bool {
    let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
    weight.is_some_and(|weight| weight.bytes().all(|byte| byte == b'0' || byte == b'.'))
}

fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn shape(headers: &[(HeaderName, &'static str)], response: &Response) -> (bool, Option<String>, bool) {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        let shape = choose(&headers, response);
        (shape.gzip.is_some(), shape.etag, shape.cached)
    }

    #[test]
    fn a_client_that_accepts_gzip_gets_it() {
        let file = Response::file("text/plain", b"as it is", "\"1\"").gzipped(b"less");
        for (accepts, gzip) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.8", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("identity", false),
            ("xgzip", false),
            ("*", false),
        ] {
            assert_eq!(shape(&[(ACCEPT_ENCODING, accepts)], &file).0, gzip, "{accepts}");
        }
        assert!(!shape(&[], &file).0);
        let plain = Response::file("text/plain", b"as it is", "\"1\"");
        assert!(!shape(&[(ACCEPT_ENCODING, "gzip")], &plain).0);
    }

    #[test]
    fn each_encoding_has_its_own_validator() {
        let file = Response::file("text/plain", b"as it is", "\"1\"").gzipped(b"less");
        let accepts = (ACCEPT_ENCODING, "gzip");
        let tag = |tag: &str| Some(tag.to_owned());
        assert_eq!(shape(&[], &file), (false, tag("\"1\""), false));
        assert_eq!(shape(&[(IF_NONE_MATCH, "\"1\"")], &file), (false, tag("\"1\""), true));
        assert_eq!(shape(std::slice::from_ref(&accepts), &file), (true, tag("\"1-gzip\""), false));
        assert_eq!(
            shape(&[accepts.clone(), (IF_NONE_MATCH, "\"1\"")], &file),
            (true, tag("\"1-gzip\""), false)
        );
        let known = (IF_NONE_MATCH, "\"0\", \"1-gzip\"");
        assert_eq!(shape(&[accepts, known], &file), (false, tag("\"1-gzip\""), true));
        assert_eq!(shape(&[(IF_NONE_MATCH, "*")], &Response::json("{}".into())), (false, None, false));
    }
}
