//! Parses a remote description, as far as we need it.
//!
//! Nothing else parses it: str0m gets the results from here (see [`super::connect`]), so a peer cannot mislead it.

use std::net::{IpAddr, SocketAddr};

use super::direction::Direction;
use super::simulcast::Sent;
use crate::media;
use crate::rtc::refusal::Refusal;

/// Chromium's longest offers are about 12 KB; this leaves room for many candidates.
const MAX_BYTES: usize = 64 * 1024;
/// A conference page may offer one for each participant; each unused one costs a line.
const MAX_SECTIONS: usize = 256;
/// Longer than any identification tag in use; 16 bytes fit into a one-byte header extension (RFC 8285, 4.2).
const MAX_MID: usize = 256;
/// RTP payload types are 7 bits.
const MAX_FORMATS: usize = 128;
/// A description's candidates beyond this are not parsed; a host has a handful.
const MAX_CANDIDATES: usize = 64;

fn bad<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::bad_sdp(why))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) enum Kind {
    Audio,
    Video,
    /// Data channels.
    Data,
    /// Anything else: declined.
    Other,
}

impl Kind {
    /// Returns the kind of media of a section, if it is media.
    pub(in crate::rtc) fn media(self) -> Option<media::Kind> {
        match self {
            Kind::Audio => Some(media::Kind::Audio),
            Kind::Video => Some(media::Kind::Video),
            Kind::Data | Kind::Other => None,
        }
    }
}

/// The parameters of ICE and DTLS, shared by all used sections, which are bundled.
#[derive(Clone, Debug, Default)]
pub(in crate::rtc) struct Transport {
    pub(in crate::rtc) ufrag: String,
    pub(in crate::rtc) pwd: String,
    /// `sha-256 AA:BB…`; also identifies the peer connection.
    pub(in crate::rtc) fingerprint: String,
    pub(in crate::rtc) setup: Option<String>,
    pub(in crate::rtc) ice_lite: bool,
    /// Candidate attributes over UDP with literal addresses, without the leading `a=`.
    pub(in crate::rtc) candidates: Vec<String>,
}

/// One payload type of a section.
#[derive(Clone, Debug, Default)]
pub(in crate::rtc) struct Format {
    pub(in crate::rtc) pt: u8,
    /// `H264/90000`; empty if only the number was given.
    pub(in crate::rtc) name: String,
    pub(in crate::rtc) fmtp: String,
    pub(in crate::rtc) feedback: Vec<String>,
}

impl Format {
    /// Returns a parameter of `a=fmtp`; compares the key without case.
    pub(in crate::rtc) fn param(&self, key: &str) -> Option<&str> {
        self.fmtp.split(';').find_map(|pair| {
            let (k, v) = pair.split_once('=')?;
            k.trim().eq_ignore_ascii_case(key).then_some(v.trim())
        })
    }

    pub(in crate::rtc) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// One `m=` line and its attributes.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct Section {
    pub(in crate::rtc) kind: Kind,
    /// `m=video 9 UDP/TLS/RTP/SAVPF 96 …` without the `m=`.
    pub(in crate::rtc) line: String,
    /// Empty if there is none: rejected or single sections may lack it.
    pub(in crate::rtc) mid: String,
    /// Port 0 without `a=bundle-only`.
    pub(in crate::rtc) rejected: bool,
    /// Whether it shares the transport in use.
    pub(in crate::rtc) reachable: bool,
    /// What the other side wants here.
    pub(in crate::rtc) direction: Direction,
    pub(in crate::rtc) formats: Vec<Format>,
    /// The RTP header extensions: (id, URI).
    pub(in crate::rtc) extensions: Vec<(u8, String)>,
    /// Whether reduced-size RTCP is allowed (RFC 5506, 5).
    pub(in crate::rtc) reduced_rtcp: bool,
    /// The SCTP port of data channels (RFC 8841, 5.1).
    pub(in crate::rtc) sctp_port: Option<String>,
    /// The encodings of its video (simulcast).
    pub(in crate::rtc) sent: Sent,
    /// The maximum size of a message that the other side accepts, in bytes; 0 for no limit (RFC 8841, 6.1).
    pub(in crate::rtc) max_message: Option<u64>,
    transport: Transport,
}

/// A parsed description of the other side.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct Remote {
    /// Empty if every section is rejected.
    pub(in crate::rtc) transport: Transport,
    /// The section that carries the transport.
    pub(in crate::rtc) tag: String,
    /// Whether it has a bundle; only then may the answer have one (RFC 8843, 7.3).
    pub(in crate::rtc) bundles: bool,
    /// Whether both forms of header extensions may be mixed (RFC 8285, 6).
    pub(in crate::rtc) mixes_extensions: bool,
    pub(in crate::rtc) sections: Vec<Section>,
}

impl Remote {
    pub(in crate::rtc) fn parse(sdp: &str) -> Result<Remote, Refusal> {
        if sdp.len() > MAX_BYTES {
            return bad(format!("it is longer than {} KiB", MAX_BYTES / 1024));
        }
        let sdp = sdp.trim_start();
        if !sdp.starts_with("v=0") {
            return bad("it does not begin with v=0");
        }
        let mut session = Transport::default();
        let mut sections: Vec<Section> = vec![];
        let mut direction = Direction::SendRecv;
        let mut mixes_extensions = false;
        let mut bundle: Option<Vec<&str>> = None;
        let mut candidates = 0;
        for line in sdp.lines().map(str::trim_end) {
            if let Some(m) = line.strip_prefix("m=") {
                if sections.len() == MAX_SECTIONS {
                    return bad(format!("it has more than {MAX_SECTIONS} media sections"));
                }
                sections.push(Section::open(m, direction)?);
                continue;
            }
            let Some(attribute) = line.strip_prefix("a=") else { continue };
            let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
            if key == "candidate" {
                candidates += 1;
                if candidates > MAX_CANDIDATES {
                    continue;
                }
            }
            let transport = sections.last_mut().map_or(&mut session, |section| &mut section.transport);
            if transport.take(key, value, attribute) {
                continue;
            }
            match (key, sections.last_mut()) {
                ("group", None) => {
                    if let Some(mids) = value.strip_prefix("BUNDLE") {
                        bundle.get_or_insert_with(|| mids.split_whitespace().collect());
                    }
                }
                ("extmap-allow-mixed", None) => mixes_extensions = true,
                (_, None) => direction = Direction::parse(key).unwrap_or(direction),
                (_, Some(section)) => section.take(key, value),
            }
        }
        let bundles = bundle.is_some();
        let mut remote =
            Remote { transport: session, tag: String::new(), bundles, mixes_extensions, sections };
        remote.check_sections()?;
        remote.choose_transport(bundle.as_deref());
        remote.check_transport()?;
        Ok(remote)
    }

    /// Checks that sections have what negotiation needs. Rejected sections may contain anything.
    fn check_sections(&self) -> Result<(), Refusal> {
        if self.sections.is_empty() {
            return bad("it has no media sections");
        }
        for (i, s) in self.sections.iter().enumerate().filter(|(_, s)| !s.rejected) {
            if s.kind.media().is_some() {
                s.check()?;
            }
            // A single section needs no name.
            let alone = s.mid.is_empty() && self.sections.len() == 1;
            if !(alone || is_token(&s.mid, MAX_MID)) {
                return bad(format!("a media section has no a=mid of 1 to {MAX_MID} plain characters"));
            }
            let same = |other: &Section| !other.rejected && other.mid == s.mid;
            if self.sections[..i].iter().any(same) {
                return bad("two media sections have the same a=mid");
            }
        }
        Ok(())
    }

    /// Marks the sections of one transport as reachable: the bundle, or otherwise a single section, preferring video
    /// over audio.
    fn choose_transport(&mut self, bundle: Option<&[&str]>) {
        let sections = &mut self.sections;
        let used = match bundle {
            Some(mids) => {
                for s in &mut *sections {
                    s.reachable = !s.rejected && mids.contains(&s.mid.as_str());
                }
                // The bundle's first section carries the transport (RFC 8843, 7.1).
                let place = |mid: &&str| sections.iter().position(|s| s.reachable && s.mid == **mid);
                mids.iter().find_map(place)
            }
            None => {
                let of = |kind| {
                    sections.iter().position(|s| !s.rejected && s.kind == kind && s.direction.receives())
                };
                let any = || sections.iter().position(|s| !s.rejected);
                let used = of(Kind::Video).or_else(|| of(Kind::Audio)).or_else(any);
                if let Some(i) = used {
                    sections[i].reachable = true;
                }
                used
            }
        };
        let session = std::mem::take(&mut self.transport);
        let Some(used) = used.map(|i| &self.sections[i]) else { return };
        let mut transport = used.transport.clone();
        transport.fill(&session);
        for s in self.sections.iter().filter(|s| s.reachable) {
            transport.fill(&s.transport);
        }
        self.tag.clone_from(&used.mid);
        self.transport = transport;
    }

    fn check_transport(&self) -> Result<(), Refusal> {
        if self.sections.iter().all(|s| s.rejected) {
            return Ok(());
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

    /// Returns the names of the video codecs, for messages.
    pub(in crate::rtc) fn video_codecs(&self) -> String {
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
    /// Parses a transport attribute; the first of each kind counts.
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
                if candidate_is_usable(attribute).unwrap_or(false) {
                    self.push(attribute);
                }
            }
            "ice-options" | "end-of-candidates" => {}
            _ => return false,
        }
        true
    }

    fn push(&mut self, candidate: &str) {
        if !self.candidates.iter().any(|c| c == candidate) {
            self.candidates.push(candidate.to_owned());
        }
    }

    /// Fills in missing values from another section or from the session level.
    fn fill(&mut self, other: &Transport) {
        // Username, password and candidates belong together.
        if self.ufrag.is_empty() {
            self.ufrag.clone_from(&other.ufrag);
            self.pwd.clone_from(&other.pwd);
        }
        if other.ufrag.is_empty() || other.ufrag == self.ufrag {
            if self.pwd.is_empty() {
                self.pwd.clone_from(&other.pwd);
            }
            other.candidates.iter().for_each(|c| self.push(c));
        }
        if self.fingerprint.is_empty() {
            self.fingerprint.clone_from(&other.fingerprint);
        }
        if self.setup.is_none() {
            self.setup.clone_from(&other.setup);
        }
        self.ice_lite |= other.ice_lite;
    }
}

impl Section {
    fn open(line: &str, direction: Direction) -> Result<Section, Refusal> {
        let mut words = line.split_whitespace();
        let kind = match words.next() {
            Some("audio") => Kind::Audio,
            Some("video") => Kind::Video,
            Some("application") if is_data(line) => Kind::Data,
            Some(_) => Kind::Other,
            None => return bad("an m= line is empty"),
        };
        let Some(port) = words.next().and_then(|p| p.split('/').next()?.parse::<u16>().ok()) else {
            return bad("an m= line has no port");
        };
        Ok(Section {
            kind,
            line: line.to_owned(),
            mid: String::new(),
            rejected: port == 0,
            reachable: false,
            direction,
            // Invalid payload types only matter in used sections: see `check`.
            formats: words.skip(1).take(MAX_FORMATS).filter_map(payload_type).map(Format::of).collect(),
            extensions: vec![],
            reduced_rtcp: false,
            sctp_port: None,
            sent: Sent::default(),
            max_message: None,
            transport: Transport::default(),
        })
    }

    /// Returns the protocol and the words after it.
    pub(in crate::rtc) fn protocol(&self) -> Option<(&str, impl Iterator<Item = &str>)> {
        let mut words = self.line.split_whitespace().skip(2);
        Some((words.next()?, words))
    }

    /// Checks the `m=` line of a media section.
    fn check(&self) -> Result<(), Refusal> {
        let Some((protocol, formats)) = self.protocol() else {
            return bad("an m= line has no protocol");
        };
        if !protocol.ends_with("RTP/SAVPF") {
            return bad("its media is not UDP/TLS/RTP/SAVPF, which WebRTC needs");
        }
        let mut seen: Vec<u8> = vec![];
        for word in formats {
            let Some(pt) = payload_type(word) else {
                return bad("an m= line has a payload type that is not a number from 0 to 127");
            };
            if seen.contains(&pt) {
                return bad("an m= line names a payload type twice");
            }
            seen.push(pt);
        }
        Ok(())
    }

    fn take(&mut self, key: &str, value: &str) {
        match key {
            "mid" => value.clone_into(&mut self.mid),
            "bundle-only" => self.rejected = false,
            "rtcp-rsize" => self.reduced_rtcp = true,
            "sctp-port" => self.sctp_port = value.parse::<u16>().ok().map(|port| port.to_string()),
            "rid" => self.sent.take_rid(value),
            "simulcast" => self.sent.take_simulcast(value),
            "max-message-size" => self.max_message = value.parse().ok(),
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
            _ => self.direction = Direction::parse(key).unwrap_or(self.direction),
        }
    }

    /// Parses `96 something`: passes `something` to the format with that number.
    fn about(&mut self, value: &str, f: impl FnOnce(&mut Format, &str)) {
        let Some((pt, rest)) = value.split_once(' ') else { return };
        let Ok(pt) = pt.parse::<u8>() else { return };
        if let Some(format) = self.formats.iter_mut().find(|x| x.pt == pt) {
            f(format, rest.trim());
        }
    }
}

impl Format {
    fn of(pt: u8) -> Format {
        Format { pt, ..Format::default() }
    }
}

/// Whether an `m=application` line is for data channels (RFC 8841, 4.1).
fn is_data(line: &str) -> bool {
    line.split_whitespace().skip(2).eq(["UDP/DTLS/SCTP", "webrtc-datachannel"])
}

fn payload_type(word: &str) -> Option<u8> {
    word.parse().ok().filter(|pt| *pt < 128)
}

fn push_feedback(f: &mut Format, what: &str) {
    if f.feedback.len() < 16 {
        f.feedback.push(what.to_owned());
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

/// Returns the address of a [usable](candidate_is_usable) candidate.
pub(in crate::rtc) fn candidate_address(attribute: &str) -> Option<SocketAddr> {
    let mut words = attribute.split_whitespace().skip(4);
    let ip = words.next()?.parse::<IpAddr>().ok()?;
    Some(SocketAddr::new(ip, words.next()?.parse().ok()?))
}

/// Whether a candidate attribute is worth trying: UDP, for RTP, with a literal address. mDNS names are not resolved:
/// their owner reaches us first, and we learn its address then. An error describes what is wrong with the line.
pub(in crate::rtc) fn candidate_is_usable(attribute: &str) -> Result<bool, &'static str> {
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
