//! Reads a remote description, as far as a sender of media must understand it.
//!
//! str0m sees nothing that wasn't read here first: it is given a description written anew from what was
//! chosen (see [`super::negotiate`]), so that what a peer claims can't lead it astray.

use std::net::{IpAddr, SocketAddr};

use super::refusal::Refusal;

/// Chromium's longest offers are about 12 KB; this leaves room for many candidates.
const MAX_BYTES: usize = 64 * 1024;
/// A browser with one peer connection for sound, pictures and data makes three.
const MAX_SECTIONS: usize = 16;
/// RTP payload types are 7 bits.
const MAX_FORMATS: usize = 128;
/// Beyond these a description's candidates are not even read; a host has a handful.
const MAX_CANDIDATES: usize = 64;

fn bad<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::BadSdp(why.into()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Audio,
    Video,
    /// Data channels and whatever else: declined.
    Other,
}

/// How ICE and DTLS are reached; one for all sections, which are bundled.
#[derive(Clone, Debug, Default)]
pub(super) struct Transport {
    pub(super) ufrag: String,
    pub(super) pwd: String,
    /// `sha-256 AA:BB…`, which also tells one peer connection from the next.
    pub(super) fingerprint: String,
    pub(super) setup: Option<String>,
    pub(super) ice_lite: bool,
    /// Candidate attributes over UDP with literal addresses, without the leading `a=`.
    pub(super) candidates: Vec<String>,
}

/// One payload type of a section.
#[derive(Clone, Debug, Default)]
pub(super) struct Format {
    pub(super) pt: u8,
    /// `H264/90000`; empty where only the number was given.
    pub(super) name: String,
    pub(super) fmtp: String,
    pub(super) feedback: Vec<String>,
}

impl Format {
    /// A parameter of `a=fmtp`, its key compared without case.
    pub(super) fn param(&self, key: &str) -> Option<&str> {
        self.fmtp.split(';').find_map(|pair| {
            let (k, v) = pair.split_once('=')?;
            k.trim().eq_ignore_ascii_case(key).then_some(v.trim())
        })
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// One `m=` line and what follows it.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) kind: Kind,
    /// `m=video 9 UDP/TLS/RTP/SAVPF 96 …` without the `m=`.
    pub(super) line: String,
    pub(super) mid: String,
    /// Port 0, and not bundled without a port of its own (`a=bundle-only`).
    pub(super) rejected: bool,
    /// Whether the other side wants to receive here.
    pub(super) receives: bool,
    pub(super) formats: Vec<Format>,
    /// (id, URI) of the RTP header extensions.
    pub(super) extensions: Vec<(u8, String)>,
}

/// A description as the other side wrote it.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) transport: Transport,
    pub(super) sections: Vec<Section>,
}

impl Remote {
    pub(super) fn parse(sdp: &str) -> Result<Remote, Refusal> {
        if sdp.len() > MAX_BYTES {
            return bad(format!("it is longer than {} KiB", MAX_BYTES / 1024));
        }
        if !sdp.starts_with("v=0") {
            return bad("it does not begin with v=0");
        }
        let mut transport = Transport::default();
        let mut sections: Vec<Section> = vec![];
        let mut session_receives = true;
        let mut bundle: Option<Vec<&str>> = None;
        for line in sdp.lines().map(str::trim_end) {
            if let Some(m) = line.strip_prefix("m=") {
                if sections.len() == MAX_SECTIONS {
                    return bad(format!("it has more than {MAX_SECTIONS} media sections"));
                }
                sections.push(Section::open(m, session_receives)?);
                continue;
            }
            let Some(attribute) = line.strip_prefix("a=") else { continue };
            let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
            if transport.take(key, value, attribute) {
                continue;
            }
            match (key, sections.last_mut()) {
                ("group", None) => {
                    if let Some(mids) = value.strip_prefix("BUNDLE") {
                        bundle.get_or_insert_with(|| mids.split_whitespace().collect());
                    }
                }
                (_, None) => session_receives = receives(key).unwrap_or(session_receives),
                (_, Some(section)) => section.take(key, value)?,
            }
        }
        let remote = Remote { transport, sections };
        remote.check(bundle.as_deref())?;
        Ok(remote)
    }

    /// What str0m asserts about a description, or would trip over.
    fn check(&self, bundle: Option<&[&str]>) -> Result<(), Refusal> {
        if self.sections.is_empty() {
            return bad("it has no media sections");
        }
        let Some(bundle) = bundle else {
            return bad("it does not bundle its media (a=group:BUNDLE)");
        };
        for (i, s) in self.sections.iter().enumerate() {
            if !is_token(&s.mid, 16) {
                return bad("a media section has no a=mid of 1 to 16 plain characters");
            }
            if self.sections[..i].iter().any(|other| other.mid == s.mid) {
                return bad("two media sections have the same a=mid");
            }
            if s.kind != Kind::Other && !s.rejected && !bundle.contains(&s.mid.as_str()) {
                return bad("a media section is not in the bundle");
            }
        }
        let t = &self.transport;
        if !is_token(&t.ufrag, 256) || t.ufrag.len() < 4 || !is_token(&t.pwd, 256) || t.pwd.len() < 22 {
            return bad("it has no usable a=ice-ufrag and a=ice-pwd");
        }
        if t.fingerprint.is_empty() {
            return bad("it has no sha-256 a=fingerprint");
        }
        Ok(())
    }

    /// The names of the video codecs, for words.
    pub(super) fn video_codecs(&self) -> String {
        let mut names: Vec<String> = vec![];
        let formats = self.sections.iter().filter(|s| s.kind == Kind::Video).flat_map(|s| &s.formats);
        for f in formats {
            let mut name: String = f
                .name
                .split('/')
                .next()
                .unwrap_or("")
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .take(16)
                .collect();
            if ["", "rtx", "red", "ulpfec", "flexfec03"].contains(&name.to_ascii_lowercase().as_str()) {
                continue;
            }
            if let Some(profile) = f.param("profile-level-id").filter(|p| is_token(p, 6)) {
                name = format!(
                    "{name} {profile} mode {}",
                    f.param("packetization-mode").map_or("0", |m| if m == "1" { "1" } else { "0" })
                );
            }
            if !names.contains(&name) && names.len() < 12 {
                names.push(name);
            }
        }
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }
}

impl Transport {
    /// Takes a line that says how to reach the other side; the first of each kind counts.
    fn take(&mut self, key: &str, value: &str, attribute: &str) -> bool {
        let first = |slot: &mut String| {
            if slot.is_empty() {
                value.clone_into(slot);
            }
        };
        match key {
            "ice-ufrag" => first(&mut self.ufrag),
            "ice-pwd" => first(&mut self.pwd),
            "fingerprint" => {
                if is_sha256(value) {
                    first(&mut self.fingerprint);
                }
            }
            "setup" => {
                if ["actpass", "active", "passive"].contains(&value) {
                    self.setup.get_or_insert_with(|| value.to_owned());
                }
            }
            "ice-lite" => self.ice_lite = true,
            "candidate" => {
                let usable = candidate_is_usable(attribute).unwrap_or(false);
                if usable
                    && self.candidates.len() < MAX_CANDIDATES
                    && !self.candidates.iter().any(|c| c == attribute)
                {
                    self.candidates.push(attribute.to_owned());
                }
            }
            "ice-options" | "end-of-candidates" => {}
            _ => return false,
        }
        true
    }
}

impl Section {
    fn open(line: &str, receives: bool) -> Result<Section, Refusal> {
        let mut words = line.split_whitespace();
        let kind = match words.next() {
            Some("audio") => Kind::Audio,
            Some("video") => Kind::Video,
            Some(_) => Kind::Other,
            None => return bad("an m= line is empty"),
        };
        let Some(port) = words.next().and_then(|p| p.split('/').next()?.parse::<u16>().ok()) else {
            return bad("an m= line has no port");
        };
        let Some(protocol) = words.next() else {
            return bad("an m= line has no protocol");
        };
        let mut formats: Vec<Format> = vec![];
        if kind != Kind::Other {
            if !protocol.ends_with("RTP/SAVPF") {
                return bad("its media is not UDP/TLS/RTP/SAVPF, which WebRTC needs");
            }
            for word in words {
                let Some(pt) = word.parse::<u8>().ok().filter(|pt| *pt < 128) else {
                    return bad("an m= line has a payload type that is not a number from 0 to 127");
                };
                if formats.len() == MAX_FORMATS || formats.iter().any(|f| f.pt == pt) {
                    return bad("an m= line names a payload type twice");
                }
                formats.push(Format { pt, ..Format::default() });
            }
        }
        Ok(Section {
            kind,
            line: line.to_owned(),
            mid: String::new(),
            rejected: port == 0,
            receives,
            formats,
            extensions: vec![],
        })
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), Refusal> {
        match key {
            "mid" => value.clone_into(&mut self.mid),
            "bundle-only" => self.rejected = false,
            "rtpmap" => self.about(value, |f, name| name.clone_into(&mut f.name)),
            "fmtp" => self.about(value, |f, fmtp| fmtp.clone_into(&mut f.fmtp)),
            "rtcp-fb" => {
                if let Some(all) = value.strip_prefix("* ") {
                    self.formats.iter_mut().for_each(|f| push_feedback(f, all));
                } else {
                    self.about(value, push_feedback);
                }
            }
            "extmap" => {
                let mut words = value.split_whitespace();
                let id = words.next().and_then(|w| w.split('/').next()?.parse::<u8>().ok());
                if let (Some(id @ 1..=14), Some(uri)) = (id, words.next())
                    && self.extensions.len() < 32
                {
                    self.extensions.push((id, uri.to_owned()));
                }
            }
            _ => self.receives = receives(key).unwrap_or(self.receives),
        }
        Ok(())
    }

    /// `96 something`: hands something to the format of that number.
    fn about(&mut self, value: &str, f: impl FnOnce(&mut Format, &str)) {
        let Some((pt, rest)) = value.split_once(' ') else { return };
        let Ok(pt) = pt.parse::<u8>() else { return };
        if let Some(format) = self.formats.iter_mut().find(|x| x.pt == pt) {
            f(format, rest.trim());
        }
    }
}

fn push_feedback(f: &mut Format, what: &str) {
    if f.feedback.len() < 16 {
        f.feedback.push(what.to_owned());
    }
}

/// Whether a direction attribute lets its writer receive; `None` for any other attribute.
fn receives(key: &str) -> Option<bool> {
    match key {
        "sendrecv" | "recvonly" => Some(true),
        "sendonly" | "inactive" => Some(false),
        _ => None,
    }
}

fn is_token(s: &str, max: usize) -> bool {
    (1..=max).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-_.".contains(&b))
}

fn is_sha256(value: &str) -> bool {
    let Some((hash, digest)) = value.split_once(' ') else { return false };
    hash.eq_ignore_ascii_case("sha-256")
        && digest.len() == 95
        && digest.split(':').all(|h| h.len() == 2 && h.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Where a [usable](candidate_is_usable) candidate is.
pub(super) fn candidate_address(attribute: &str) -> Option<SocketAddr> {
    let mut words = attribute.split_whitespace().skip(4);
    let ip = words.next()?.parse::<IpAddr>().ok()?;
    Some(SocketAddr::new(ip, words.next()?.parse().ok()?))
}

/// Whether a candidate attribute is one to try: UDP, for RTP, with a literal address. mDNS names are for
/// others to resolve: their owner reaches us first, and we learn its address then. An error says what is
/// wrong with the line.
pub(super) fn candidate_is_usable(attribute: &str) -> Result<bool, &'static str> {
    if attribute.len() > 512 {
        return Err("it is longer than 512 characters");
    }
    let Some(rest) = attribute.strip_prefix("candidate:") else {
        return Err("it does not begin with candidate:");
    };
    let words: Vec<&str> = rest.split_whitespace().collect();
    let [_, component, protocol, priority, address, port, "typ", _, ..] = words[..] else {
        return Err("it is not of the form candidate:… 1 udp <priority> <address> <port> typ <type>");
    };
    if priority.parse::<u32>().is_err() || port.parse::<u16>().is_err() {
        return Err("its priority or port is not a number");
    }
    if address.ends_with(".local") || component != "1" || !protocol.eq_ignore_ascii_case("udp") || port == "0"
    {
        return Ok(false);
    }
    if address.parse::<IpAddr>().is_err() {
        return Err("its address is not an IP address");
    }
    Ok(true)
}
