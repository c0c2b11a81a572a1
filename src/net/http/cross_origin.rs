//! What pages of other origins may do with a response: import and read it (CORS, as in the Fetch standard), or show it
//! in a frame. Both follow from the [`Origins`] that may open a socket.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{Method, Origins, Response, single};

/// How long a browser may cache the result, in seconds: Chromium caches it for at most two hours, and the list of
/// origins may change at a restart.
const MAX_AGE: &str = "600";

impl Origins {
    /// Adds the headers that allow pages to read and frame a [shared](Response::shared) response.
    pub(super) fn share(&self, request: &HeaderMap, host: Option<&str>, answer: &mut HeaderMap) {
        self.allow(request, host, answer);
        match HeaderValue::from_str(&format!("frame-ancestors {}", self.ancestors())) {
            // A second policy beside the page's own: browsers enforce both.
            Ok(policy) => _ = answer.append(header::CONTENT_SECURITY_POLICY, policy),
            Err(_) => log::error!("an origin is not valid text, so frames are not allowed"),
        }
    }

    /// The reply to a browser that asks whether its page may send a custom header.
    pub(super) fn preflight(&self, request: &HeaderMap, host: Option<&str>, answer: &mut HeaderMap) {
        if self.allow(request, host, answer) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization"));
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        }
    }

    /// Names the page's origin if it is allowed, or any if all are.
    fn allow(&self, request: &HeaderMap, host: Option<&str>, answer: &mut HeaderMap) -> bool {
        let allowed = if *self == Origins::Any {
            Some(HeaderValue::from_static("*"))
        } else {
            // Also for a response that allows nobody: caches must distinguish origins.
            answer.append(header::VARY, HeaderValue::from_static("Origin"));
            let origin = single(request, header::ORIGIN.as_str()).ok().flatten();
            origin.filter(|_| self.admit(origin, host)).and_then(|origin| HeaderValue::from_str(origin).ok())
        };
        let is_allowed = allowed.is_some();
        if let Some(allowed) = allowed {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        }
        is_allowed
    }

    /// The sources of `frame-ancestors` (CSP 3, section 6.4.2).
    fn ancestors(&self) -> String {
        let Origins::OwnAnd { others } = self else { return "*".into() };
        // Origins cannot contain the separators of sources and directives.
        let is_source =
            |o: &&str| o.contains("://") && !o.contains([';', ',', '\'']) && !o.contains(char::is_whitespace);
        let others = others.iter().map(|o| o.trim_end_matches('/')).filter(is_source);
        ["'self'"].into_iter().chain(others).collect::<Vec<_>>().join(" ")
    }
}

/// Whether this is a browser's preflight request (Fetch, section 3.2.2).
pub(super) fn is_preflight<B>(request: &hyper::Request<B>) -> bool {
    let asks = |name: HeaderName| request.headers().contains_key(name);
    request.method() == hyper::Method::OPTIONS
        && asks(header::ORIGIN)
        && asks(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// If [`Origins::preflight`] allowed the page anything, names the methods of the path's own routes, and allows JSON.
pub(super) fn allow_methods(methods: &[Method], answer: &mut HeaderMap) {
    let names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    if let (true, Ok(names)) =
        (answer.contains_key(header::ACCESS_CONTROL_ALLOW_METHODS), HeaderValue::from_str(&names.join(", ")))
    {
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, names);
        let headers = HeaderValue::from_static("Authorization, Content-Type");
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
    }
}

/// The response to a preflight, before [`Origins::preflight`] adds to it.
pub(super) fn no_content() -> Response {
    Response { status: 204, ..Response::text(204, "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origins: &[&'static str]) -> HeaderMap {
        origins.iter().map(|o| (header::ORIGIN, HeaderValue::from_static(o))).collect()
    }

    fn all<'a>(answer: &'a HeaderMap, name: &str) -> Vec<&'a str> {
        answer.get_all(name).iter().map(|v| v.to_str().expect("text")).collect()
    }

    #[test]
    fn pages_that_may_open_a_socket_may_read_shared_responses() {
        let own = Origins::OwnAnd {
            others: vec!["https://viewer.example/".into(), "http://127.0.0.1:8000".into()],
        };
        let host = Some("192.0.2.7:4500");
        for (origins, allowed) in [
            (&[][..], None),
            (&["https://viewer.example"][..], Some("https://viewer.example")),
            (&["http://127.0.0.1:8000"][..], Some("http://127.0.0.1:8000")),
            (&["http://192.0.2.7:4500"][..], Some("http://192.0.2.7:4500")),
            (&["http://127.0.0.1:8001"][..], None),
            (&["http://viewer.example"][..], None),
            (&["https://viewer.example.evil.example"][..], None),
            (&["https://evil.example"][..], None),
            (&["null"][..], None),
            (&["*"][..], None),
            (&["https://viewer.example", "https://evil.example"][..], None),
        ] {
            for run in [Origins::share, Origins::preflight] {
                let mut answer = HeaderMap::new();
                run(&own, &headers(origins), host, &mut answer);
                assert_eq!(
                    all(&answer, "access-control-allow-origin"),
                    Vec::from_iter(allowed),
                    "{origins:?}"
                );
                assert_eq!(all(&answer, "vary"), ["Origin"], "{origins:?}");
            }
            let mut answer = HeaderMap::new();
            own.preflight(&headers(origins), host, &mut answer);
            let may_send = allowed.map(|_| "Authorization");
            assert_eq!(all(&answer, "access-control-allow-headers"), Vec::from_iter(may_send), "{origins:?}");

            let mut answer = HeaderMap::new();
            Origins::Any.share(&headers(origins), host, &mut answer);
            assert_eq!(all(&answer, "access-control-allow-origin"), ["*"]);
            assert_eq!(all(&answer, "vary"), [""; 0], "the response is the same for everybody");
        }
    }

    #[test]
    fn framing_follows_the_same_list() {
        let odd = [
            "https://a.example; script-src *",
            "https://b.example https://c.example",
            "*",
            "https://d.example/",
        ];
        for (origins, ancestors) in [
            (Origins::Any, "frame-ancestors *"),
            (Origins::OwnAnd { others: vec![] }, "frame-ancestors 'self'"),
            (
                Origins::OwnAnd { others: odd.map(str::to_owned).to_vec() },
                "frame-ancestors 'self' https://d.example",
            ),
        ] {
            let mut answer = HeaderMap::new();
            origins.share(&HeaderMap::new(), None, &mut answer);
            assert_eq!(all(&answer, "content-security-policy"), [ancestors]);
        }
    }
}
