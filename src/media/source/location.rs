//! The source as users write it: `test`, `/dev/video0`, `csi`, a file, an RTSP address.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::media::error::{ErrorKind, MediaError};

/// A source of video and, if it has any, audio; parsed from a string.
///
/// | text | source |
/// |---|---|
/// | `test` | a moving pattern with a clock, a frame counter and a tone |
/// | `/dev/…` | a V4L2 device |
/// | `csi` | the first camera at the board's own camera port |
/// | `csi:NAME` | the camera of this name: libcamera's (`cam --list` shows it), on a Jetson a number |
/// | `rtsp://…`, `rtsps://…` | a network camera |
/// | `file:///…`, or any other path | a file |
///
/// A file called `csi` or `test` is written `./csi`, `./test`.
///
/// ```
/// use symple::media::source::Location;
/// let source: Location = "rtsp://me:secret@192.0.2.7/live?token=secret".parse().unwrap();
/// assert_eq!(source.to_string(), "rtsp://192.0.2.7/…"); // what may be a credential is never printed
/// assert!("http://example.com/".parse::<Location>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// The built-in pattern and tone.
    Test,
    /// A V4L2 device by its path.
    V4l2 {
        /// The device path, such as `/dev/video0`.
        path: PathBuf,
    },
    /// A camera at the board's own port (MIPI CSI-2), by its name, or the first one. The board profile decides
    /// which element opens it. Not tested with a real sensor.
    Csi {
        /// Its name or number; `None` for the first camera.
        camera: Option<String>,
    },
    /// A video or image file.
    File {
        /// The file path.
        path: PathBuf,
    },
    /// A network camera.
    Rtsp {
        /// The address without the user and password before its host.
        url: RtspUrl,
        /// User and password, if the address had them.
        login: Option<Login>,
    },
}

impl Location {
    /// Whether it is a camera, which may come back after a loss, rather than a file or the test pattern.
    pub fn is_live(&self) -> bool {
        matches!(self, Location::V4l2 { .. } | Location::Csi { .. } | Location::Rtsp { .. })
    }
}

/// The address of a network camera. `Display` shows only scheme, host and port, because some cameras take passwords in
/// the path or the query, under any name.
#[derive(Clone, PartialEq, Eq)]
pub struct RtspUrl(String);

impl RtspUrl {
    /// The complete address, for connecting.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The host and the port, where it is certain which those are.
    #[cfg(any(test, feature = "gst"))]
    pub(in crate::media) fn host(&self) -> Option<(&str, u16)> {
        let (scheme, rest) = self.0.split_once("://")?;
        let authority = rest.get(..end_of_authority(rest))?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = match port.filter(|port| !port.is_empty()) {
            Some(port) => port.parse().ok()?,
            // RFC 2326, 3.2; that of rtsps depends on the version.
            None => (scheme == "rtsp").then_some(554)?,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (!self.is_ambiguous()).then_some((bare, port))
    }

    /// Whether an `@` follows the host. If so, what looks like the host may be part of a password.
    pub fn is_ambiguous(&self) -> bool {
        self.0.contains('@')
    }
}

impl fmt::Display for RtspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("rtsp", ""));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let host = if self.is_ambiguous() { "" } else { &rest[..end] };
        write!(f, "{scheme}://{host}")?;
        // `/` tells nothing.
        if host.is_empty() || rest.len() > end + 1 { f.write_str("/…") } else { f.write_str(&rest[end..]) }
    }
}

impl fmt::Debug for RtspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RtspUrl({self})")
    }
}

/// A user and password. `Debug` prints neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub user: String,
    /// The password; may be empty.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Test => f.write_str("test"),
            Location::V4l2 { path } => path.display().fmt(f),
            Location::File { path } => f.write_str(&masked(&path.display().to_string())),
            Location::Csi { camera: None } => f.write_str("csi"),
            Location::Csi { camera: Some(name) } => write!(f, "csi:{name}"),
            Location::Rtsp { url, .. } => url.fmt(f),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

/// A path as it may be shown: an address that was written without its scheme looks like one, with the password in
/// it. `me:secret@camera/live` becomes `…@camera/live`.
pub(in crate::media) fn masked(path: &str) -> String {
    let end = path.rfind('@').filter(|at| path[..*at].contains(':'));
    let shown = end.map_or(path.to_owned(), |at| format!("…{}", &path[at..]));
    // Pairs such as user=a&password=b; files have no `=` before an `&`.
    match (shown.find('='), shown.rfind('&')) {
        (Some(equals), Some(and)) if equals < and => format!("{}=…", &shown[..equals]),
        _ => shown,
    }
}

impl FromStr for Location {
    type Err = MediaError;

    fn from_str(text: &str) -> Result<Self, MediaError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(bad(
                "the source is empty: use `test`, a device such as /dev/video0, `csi`, a file or rtsp://…",
            ));
        }
        if text == "test" {
            return Ok(Location::Test);
        }
        if text == "csi" {
            return Ok(Location::Csi { camera: None });
        }
        // A scheme before `:` has two letters at least (RFC 3986 allows one, which is a Windows drive).
        let scheme = text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        match scheme {
            Some((scheme, rest)) if scheme == "rtsp" || scheme == "rtsps" => rtsp(&scheme, rest),
            Some((scheme, rest)) if scheme == "file" => file_url(rest),
            Some((scheme, rest)) if scheme == "csi" => csi(rest),
            Some((scheme, rest)) if rest.starts_with("//") => Err(bad(format!(
                "{scheme}: addresses are not supported as a source: use rtsp://…, a file, a device, `csi` or `test`"
            ))),
            _ if text.starts_with("/dev/") => Ok(Location::V4l2 { path: text.into() }),
            _ => Ok(Location::File { path: text.into() }),
        }
    }
}

fn rtsp(scheme: &str, rest: &str) -> Result<Location, MediaError> {
    let wrong = || {
        bad(
            "invalid RTSP address: use rtsp://host/path or rtsp://user:password@host:port/path; in a password write \
             %2F for /, %3F for ?, %23 for #, %40 for @ and %25 for %",
        )
    };
    let rest = rest.strip_prefix("//").ok_or_else(wrong)?;
    let (login, rest) = split_login(rest);
    let (host, path) = rest.split_at(end_of_authority(rest));
    if !is_host(host) {
        return Err(wrong());
    }
    let login = login
        .map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            Ok(Login { user: percent_decoded(user)?, password: percent_decoded(password)? })
        })
        .transpose()?;
    Ok(Location::Rtsp { url: RtspUrl(format!("{scheme}://{host}{path}")), login })
}

fn end_of_authority(rest: &str) -> usize {
    rest.find(['/', '?', '#']).unwrap_or(rest.len())
}

/// Login, if there is one, and what follows its `@`.
///
/// People write passwords as they are. The last `@` before the path ends the login; and where what stands before
/// the path is no host and port (`me:pa` of `me:pa/ss@host`), the password goes on.
fn split_login(rest: &str) -> (Option<&str>, &str) {
    let mut begin = 0;
    let authority = &rest[..end_of_authority(rest)];
    if !authority.contains('@') {
        if is_host(authority) {
            return (None, rest);
        }
        let Some(at) = rest.find('@') else { return (None, rest) };
        begin = at;
    }
    let end = begin + 1 + end_of_authority(rest.get(begin + 1..).unwrap_or_default());
    let end = if begin == 0 { authority.len() } else { end };
    match rest[..end].rfind('@') {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    }
}

/// A name or address, and perhaps a port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(']') {
        Some((name, port)) => (name.strip_prefix('[').unwrap_or_default(), port.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let strange =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '%' | '&' | '=' | '"' | '<' | '>');
    let port = port.filter(|port| !port.is_empty()).is_none_or(|port| port.parse::<u16>().is_ok());
    !name.is_empty() && !name.contains(strange) && port
}

fn csi(name: &str) -> Result<Location, MediaError> {
    let name = name.trim();
    // libcamera's names begin with one slash: /base/soc/i2c0mux/i2c@1/imx219@10.
    if name.is_empty() || name.starts_with("//") || name.contains(char::is_control) {
        return Err(bad(
            "invalid CSI camera: use `csi` for the first one, or csi:NAME with a name from `cam --list`",
        ));
    }
    Ok(Location::Csi { camera: Some(name.into()) })
}

fn file_url(rest: &str) -> Result<Location, MediaError> {
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    if !path.starts_with('/') {
        return Err(bad("invalid file address: use file:///path/to/the/file"));
    }
    Ok(Location::File { path: percent_decoded(path)?.into() })
}

fn percent_decoded(text: &str) -> Result<String, MediaError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = (*first == b'%').then(|| tail.first_chunk::<2>()).flatten().and_then(|hex| {
            let digit = |c: u8| (c as char).to_digit(16);
            Some((digit(hex[0])? * 16 + digit(hex[1])?) as u8)
        });
        // A lone `%` stays itself, as browsers read it.
        bytes.push(escape.unwrap_or(*first));
        rest = if escape.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes)
        .map_err(|_| bad("the percent escapes in the source's address are not valid UTF-8"))
}

fn bad(words: impl Into<String>) -> MediaError {
    MediaError::new(ErrorKind::BadSettings, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str, password: &str) -> Option<Login> {
        Some(Login { user: user.into(), password: password.into() })
    }

    #[test]
    fn sources_are_read_as_people_write_them() {
        let rtsp = |url: &str, login| Location::Rtsp { url: RtspUrl(url.into()), login };
        let table = [
            ("test", Location::Test),
            (" test ", Location::Test),
            ("/dev/video0", Location::V4l2 { path: "/dev/video0".into() }),
            ("/dev/v4l/by-id/usb-x", Location::V4l2 { path: "/dev/v4l/by-id/usb-x".into() }),
            (" csi ", Location::Csi { camera: None }),
            ("csi:0", Location::Csi { camera: Some("0".into()) }),
            ("CSI: imx219 ", Location::Csi { camera: Some("imx219".into()) }),
            (
                "csi:/base/soc/i2c@1/imx219@10",
                Location::Csi { camera: Some("/base/soc/i2c@1/imx219@10".into()) },
            ),
            ("./csi", Location::File { path: "./csi".into() }),
            ("csi.mp4", Location::File { path: "csi.mp4".into() }),
            ("clip.mp4", Location::File { path: "clip.mp4".into() }),
            ("./test", Location::File { path: "./test".into() }),
            ("/srv/a b.mkv", Location::File { path: "/srv/a b.mkv".into() }),
            ("a:b.mp4", Location::File { path: "a:b.mp4".into() }),
            ("file:///srv/a%20b.mkv", Location::File { path: "/srv/a b.mkv".into() }),
            ("file:/srv/100%.mkv", Location::File { path: "/srv/100%.mkv".into() }),
            ("file://localhost/srv/a.mkv", Location::File { path: "/srv/a.mkv".into() }),
            ("rtsp://cam/live", rtsp("rtsp://cam/live", None)),
            ("RTSP://cam:8554/live?x=1@2", rtsp("rtsp://cam:8554/live?x=1@2", None)),
            ("rtsps://[2001:db8::1]:322/", rtsp("rtsps://[2001:db8::1]:322/", None)),
            ("rtsp://me:secret@cam/live", rtsp("rtsp://cam/live", login("me", "secret"))),
            ("rtsp://me:p%40ss@wd@cam", rtsp("rtsp://cam", login("me", "p@ss@wd"))),
            ("rtsp://me@cam/", rtsp("rtsp://cam/", login("me", ""))),
            ("rtsp://me:pa/ss@cam/live", rtsp("rtsp://cam/live", login("me", "pa/ss"))),
            ("rtsp://me:pa?s#s@cam:554/a", rtsp("rtsp://cam:554/a", login("me", "pa?s#s"))),
            ("rtsp://me:p/a@ss@cam/a@b", rtsp("rtsp://cam/a@b", login("me", "p/a@ss"))),
            ("rtsp://me:pa:ss@cam", rtsp("rtsp://cam", login("me", "pa:ss"))),
            ("rtsp://me:100%@cam", rtsp("rtsp://cam", login("me", "100%"))),
            ("rtsp://me:%2F%3f%23%25@cam", rtsp("rtsp://cam", login("me", "/?#%"))),
            ("rtsp://cam/user=a&password=b", rtsp("rtsp://cam/user=a&password=b", None)),
        ];
        for (text, source) in table {
            assert_eq!(text.parse::<Location>().as_ref(), Ok(&source), "{text}");
        }
    }

    #[test]
    fn an_address_has_a_host_where_that_is_certain() {
        for (url, host) in [
            ("rtsp://cam/live", Some(("cam", 554))),
            ("rtsp://cam:8554", Some(("cam", 8554))),
            ("rtsp://cam:?x=1", Some(("cam", 554))),
            ("rtsps://[2001:db8::1]:322/", Some(("2001:db8::1", 322))),
            ("rtsp://[2001:db8::1]/a:b", Some(("2001:db8::1", 554))),
            ("rtsps://cam/live", None),
            ("rtsp://cam/a@b", None),
        ] {
            assert_eq!(RtspUrl(url.into()).host(), host, "{url}");
        }
    }

    #[test]
    fn what_is_no_source_is_refused_in_words() {
        let table = [
            "",
            "  ",
            "rtsp:cam",
            "rtsp://",
            "rtsp:///live",
            "rtsp://me@/x",
            "rtsp://a b/",
            "rtsp://me:secret",
            "rtsp://cam:99999/",
            "http://x/y.mp4",
        ];
        let csi = ["csi:", "csi:  ", "csi://0", "csi:a\nb"];
        for text in table.into_iter().chain(csi).chain(["file://host/x", "file:x", "file:///%ff"]) {
            let error = text.parse::<Location>().expect_err(text);
            assert_eq!(error.code(), "bad-settings", "{text}");
        }
    }

    #[test]
    fn no_credential_is_printed_however_it_is_spelled() {
        let table = [
            ("rtsp://u5er:s3cret@cam/live", "rtsp://cam/…"),
            ("rtsp://u5er:s3/cret@cam/live", "rtsp://cam/…"),
            ("rtsp://u5er:s3?cret@cam", "rtsp://cam"),
            ("rtsp://u5er:s3#cret@cam/", "rtsp://cam/"),
            ("rtsp://u5er:s3@cret@cam:8554/", "rtsp://cam:8554/"),
            ("rtsp://u5er:s3:cret@[2001:db8::1]/", "rtsp://[2001:db8::1]/"),
            ("rtsp://u5er:s3%cret@cam/", "rtsp://cam/"),
            ("rtsp://u5er:s3%2Fcret@cam/", "rtsp://cam/"),
            // Read as a host `s3cret`, or a port 12, and shown as neither.
            ("rtsp://u5er:1@s3cret/x@cam/", "rtsp:///…"),
            ("rtsp://u5er:12/s3cret@cam/", "rtsp:///…"),
            ("rtsp://u5er/s3cret@cam/", "rtsp:///…"),
            ("rtsp://cam/user=u5er&password=s3cret", "rtsp://cam/…"),
            ("rtsp://cam/u5er/s3cret/live", "rtsp://cam/…"),
            ("rtsp://cam?user=u5er&pwd=s3cret", "rtsp://cam/…"),
            ("rtsp://cam:554/live?token=s3cret", "rtsp://cam:554/…"),
            ("rtsps://cam/live?auth=s3cret#key=s3cret", "rtsps://cam/…"),
            ("u5er:s3cret@cam/live", "…@cam/live"),
            ("//u5er:s3cret@cam/live", "…@cam/live"),
            ("cam/user=u5er&password=s3cret", "cam/user=…"),
        ];
        for (text, shown) in table {
            let source: Location = text.parse().expect(text);
            assert_eq!(source.to_string(), shown, "{text}");
            let printed = format!("{source} {source:?}").replace("user", "");
            for secret in ["u5er", "s3", "cret", "12"] {
                assert!(!printed.contains(secret), "{text}: {printed}");
            }
        }
        for text in [
            "rtsp://u5er:s3cret@/live",
            "rtsp://u5er:s3cret",
            "http://u5er:s3cret@cam/",
            "csi://u5er:s3cret@x",
        ] {
            let error = text.parse::<Location>().expect_err(text).to_string();
            assert!(!error.contains("s3cret") && !error.contains("u5er"), "{text}: {error}");
        }
    }
}
