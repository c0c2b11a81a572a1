//! The viewer page: plain HTML, CSS and ES modules, embedded at compile time.
//!
//! The page is served at `/`, its parts by name beside it. Pages of other origins may import `element.js`, which defines
//! `<symple-camera>`, or the modules that it is made of; `README.md` in this folder shows how, for they are an npm package
//! too. What the page and the element need from a host is a WebSocket at the page's address and `GET /api/config`:
//! `{"iceServers":[…],"room":"public","auth":true}`. A camera whose presence data has `"still":true` also has
//! `GET /api/snapshot.jpg?age=60` there, a JPEG that is shown until the first frame.

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// The `Content-Type`.
    pub mime: &'static str,
    /// The file, not compressed; of a script without the lines that are comments.
    pub body: &'static [u8],
    /// The same with `Content-Encoding: gzip`.
    pub gzip: &'static [u8],
    /// A strong `ETag` with its quotes; it changes with the body.
    pub etag: &'static str,
}

/// A `Content-Security-Policy` that the page keeps to: nothing inline, nothing from elsewhere.
///
/// Sockets are allowed by scheme, because older browsers don't count them to `'self'`. Who may frame the page is the
/// server's decision: [`net`](crate::net) sends a second policy with the `frame-ancestors` that follow from its origins, and
/// another HTTP server should do likewise.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' blob:; media-src 'self' blob:; connect-src 'self' ws: wss:; base-uri 'none'; \
     form-action 'none'";

/// The file at a path of the page, with or without the slash before it; `/` is the page itself.
///
/// ```
/// let page = symple::web::asset("/").expect("the page is there");
/// assert_eq!(page.mime, "text/html; charset=utf-8");
/// assert!(symple::web::asset("/../Cargo.toml").is_none());
/// ```
pub fn asset(path: &str) -> Option<Asset> {
    let name = match path.strip_prefix('/').unwrap_or(path) {
        "" => "index.html",
        name => name,
    };
    ASSETS.iter().find(|(known, _)| *known == name).map(|(_, asset)| *asset)
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($name:literal: $mime:expr,)*) => {
        &[$(($name, {
            const BODY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/", $name));
            const ETAG: [u8; 18] = etag(BODY);
            match std::str::from_utf8(&ETAG) {
                Ok(etag) => Asset {
                    mime: $mime,
                    body: BODY,
                    gzip: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
                    etag,
                },
                Err(_) => panic!("quotes and hexadecimal digits are UTF-8"),
            }
        })),*]
    };
}

static ASSETS: &[(&str, Asset)] = assets! {
    "index.html": HTML,
    "style.css": CSS,
    "icon.svg": SVG,
    "app.js": SCRIPT,
    "element.js": SCRIPT,
    "site.js": SCRIPT,
    "watcher.js": SCRIPT,
    "watching.js": SCRIPT,
    "channel.js": SCRIPT,
    "publish.js": SCRIPT,
    "prepared.js": SCRIPT,
    "delays.js": SCRIPT,
    "route.js": SCRIPT,
    "stuck.js": SCRIPT,
    "minute.js": SCRIPT,
    "figures.js": SCRIPT,
    "little.js": SCRIPT,
    "preparing.js": SCRIPT,
    "still.js": SCRIPT,
    "reasons.js": SCRIPT,
    "words.js": SCRIPT,
    "view.js": SCRIPT,
    "own.js": SCRIPT,
    "talk.js": SCRIPT,
    "talkback.js": SCRIPT,
    "client.js": SCRIPT,
    "limits.js": SCRIPT,
    "roster.js": SCRIPT,
    "call.js": SCRIPT,
    "player.js": SCRIPT,
    "events.js": SCRIPT,
    "controls.js": SCRIPT,
};

/// FNV-1a in hexadecimal, between quotes: enough to tell one build's file from another's.
const fn etag(body: &[u8]) -> [u8; 18] {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < body.len() {
        hash = (hash ^ body[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    let mut text = [b'"'; 18];
    let mut digit = 0;
    while digit < 16 {
        text[digit + 1] = b"0123456789abcdef"[(hash >> (60 - 4 * digit)) as usize & 15];
        digit += 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web");
        for entry in std::fs::read_dir(folder).expect("the folder of this file") {
            let name = entry.expect("a readable entry").file_name().into_string().expect("an ASCII name");
            // Beside them lies what only the npm package of the modules has.
            let is_part = [".html", ".css", ".js", ".svg"].iter().any(|end| name.ends_with(end));
            assert_eq!(asset(&name).is_some(), is_part, "{name}");
        }
    }

    #[test]
    fn scripts_are_served_without_their_comments_and_with_all_else() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/");
        for (name, asset) in ASSETS {
            let served = std::str::from_utf8(asset.body).expect("UTF-8");
            let source = std::fs::read_to_string(format!("{folder}{name}")).expect("a file of this folder");
            if !name.ends_with(".js") {
                assert_eq!(served, source, "{name}");
                continue;
            }
            assert_eq!(served.lines().count(), source.lines().count(), "{name}: lines keep their numbers");
            for (number, (served, source)) in std::iter::zip(served.lines(), source.lines()).enumerate() {
                let words = source.trim();
                let is_comment = words.starts_with("//") || words.starts_with("/*") || words.starts_with('*');
                assert_eq!(served, if is_comment { "" } else { source }, "{name}, line {}", number + 1);
                // What stands behind the end of a comment would be lost with it.
                assert!(
                    !is_comment
                        || words.starts_with("//")
                        || words.find("*/").is_none_or(|at| at + 2 == words.len())
                );
            }
        }
    }

    #[test]
    fn compressed_files_hold_the_same_in_less() {
        let bytes = |of: fn(&Asset) -> &'static [u8]| ASSETS.iter().map(|(_, a)| of(a).len()).sum::<usize>();
        let (plain, gzip) = (bytes(|asset| asset.body), bytes(|asset| asset.gzip));
        assert!(gzip * 2 < plain, "{gzip} bytes of {plain}");
        for (name, asset) in ASSETS {
            // RFC 1952, section 2.3.1: the magic, the method, and at the end the length of what was compressed.
            assert_eq!(&asset.gzip[..3], [0x1f, 0x8b, 8], "{name}");
            let length = asset.gzip.last_chunk::<4>().expect("long enough");
            assert_eq!(u32::from_le_bytes(*length) as usize, asset.body.len(), "{name}");
        }
    }

    #[test]
    fn nothing_inline_and_no_other_host() {
        for (name, asset) in ASSETS {
            let text = std::str::from_utf8(asset.body).expect("UTF-8");
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("://"), "{name} names another host");
            assert!(!text.contains(" style=") && !text.contains("<script>"), "{name} has inline parts");
        }
    }

    #[test]
    fn what_a_file_loads_is_there() {
        for (name, asset) in ASSETS {
            let text = std::str::from_utf8(asset.body).expect("UTF-8");
            let imports = text.split("from './").skip(1).map(|rest| rest.split('\'').next().unwrap_or(""));
            let links = text
                .split("<link ")
                .skip(1)
                .filter_map(|rest| rest.split("href=\"").nth(1)?.split('"').next());
            for loaded in imports.chain(links) {
                assert!(super::asset(loaded).is_some(), "{name} loads {loaded}");
            }
        }
    }

    #[test]
    fn the_page_asks_for_all_its_modules_at_once() {
        let text = |name: &str| {
            super::asset(name).map(|asset| String::from_utf8_lossy(asset.body)).expect("an asset")
        };
        let mut modules = vec!["app.js".to_owned()];
        for n in 0.. {
            let Some(module) = modules.get(n) else { break };
            for import in text(module).split("from './").skip(1).filter_map(|rest| rest.split('\'').next()) {
                if !modules.iter().any(|known| known == import) {
                    modules.push(import.to_owned());
                }
            }
        }
        let page = text("index.html");
        for module in modules {
            assert!(
                page.contains(&format!("rel=\"modulepreload\" href=\"{module}\"")),
                "{module} is not preloaded"
            );
        }
    }

    #[test]
    fn etags_differ() {
        let mut tags: Vec<_> = ASSETS.iter().map(|(_, asset)| asset.etag).collect();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), ASSETS.len());
        assert_eq!(&etag(b"a"), b"\"af63dc4c8601ec8c\"", "the published FNV-1a value");
    }
}
