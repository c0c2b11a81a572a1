//! Writes our descriptions: offers, and answers to parsed offers (RFC 8829, 5.2 and 5.3).
//!
//! They have one CNAME for all streams, contain only what the other side offered, and include our addresses, so that
//! nobody waits for candidates.

use std::net::SocketAddr;

use super::section::{DataSection, Declined, Part, STREAM_NAME, Used, Whole};
use super::simulcast::Layers;
use super::slots::{kind, write_format, write_line};

/// The port that str0m and everybody else uses.
pub(in crate::rtc) const SCTP_PORT: u16 = 5000;

/// The facts that all sections of a description share.
pub(in crate::rtc) struct Facts<'a> {
    /// From `o=`: the session ID, which is the same in all descriptions, and the version of this one.
    pub(in crate::rtc) origin: u64,
    pub(in crate::rtc) version: u64,
    pub(in crate::rtc) ufrag: &'a str,
    pub(in crate::rtc) pwd: &'a str,
    /// `sha-256 AA:BB…`
    pub(in crate::rtc) fingerprint: &'a str,
    pub(in crate::rtc) setup: &'a str,
    pub(in crate::rtc) cname: &'a str,
    pub(in crate::rtc) candidates: &'a [String],
    /// The default candidate, for peers without ICE (RFC 8839, 4.2.1.2).
    pub(in crate::rtc) default: Option<SocketAddr>,
    /// The maximum size of a data channel message, in bytes.
    pub(in crate::rtc) max_message: usize,
    pub(in crate::rtc) whole: Whole,
}

pub(in crate::rtc) fn write(facts: &Facts<'_>, parts: &[Part]) -> String {
    let mut sdp = String::new();
    write_line(&mut sdp, format_args!("v=0"));
    write_line(&mut sdp, format_args!("o=- {} {} IN IP4 127.0.0.1", facts.origin, facts.version));
    write_line(&mut sdp, format_args!("s=-"));
    write_line(&mut sdp, format_args!("t=0 0"));
    if facts.whole.bundles {
        let used = parts.iter().filter(|part| !part.is_declined());
        let mids: String = used.map(|part| format!(" {}", part.mid())).collect();
        write_line(&mut sdp, format_args!("a=group:BUNDLE{mids}"));
    }
    if facts.whole.mixes_extensions {
        write_line(&mut sdp, format_args!("a=extmap-allow-mixed"));
    }
    write_line(&mut sdp, format_args!("a=msid-semantic: WMS {STREAM_NAME}"));
    let mut candidates = facts.candidates;
    for part in parts {
        match part {
            Part::Used(used) => write_used(&mut sdp, facts, used, std::mem::take(&mut candidates)),
            Part::Data(data) => write_data(&mut sdp, facts, data, std::mem::take(&mut candidates)),
            Part::Declined(declined) => write_declined(&mut sdp, facts, declined),
        }
    }
    sdp
}

/// Writes the attributes of ICE and DTLS. Declined sections have them, too: several stacks refuse a description
/// without.
fn write_transport(sdp: &mut String, facts: &Facts<'_>) {
    write_line(sdp, format_args!("a=ice-ufrag:{}", facts.ufrag));
    write_line(sdp, format_args!("a=ice-pwd:{}", facts.pwd));
    write_line(sdp, format_args!("a=ice-options:trickle"));
    write_line(sdp, format_args!("a=fingerprint:{}", facts.fingerprint));
    write_line(sdp, format_args!("a=setup:{}", facts.setup));
}

/// Returns the port for an `m=` line; 9 means none yet (RFC 8829, 5.2.1).
fn port(facts: &Facts<'_>) -> u16 {
    facts.default.map_or(9, |address| address.port())
}

/// Writes our addresses into a used section.
fn write_place(sdp: &mut String, facts: &Facts<'_>, candidates: &[String]) {
    match facts.default.map(|address| address.ip()) {
        Some(ip) if ip.is_ipv6() => write_line(sdp, format_args!("c=IN IP6 {ip}")),
        Some(ip) => write_line(sdp, format_args!("c=IN IP4 {ip}")),
        None => write_line(sdp, format_args!("c=IN IP4 0.0.0.0")),
    }
    for candidate in candidates {
        write_line(sdp, format_args!("a={candidate}"));
    }
    if !candidates.is_empty() {
        write_line(sdp, format_args!("a=end-of-candidates"));
    }
    write_transport(sdp, facts);
}

/// Writes a section for data channels (RFC 8841, 5.1 and 6.1).
fn write_data(sdp: &mut String, facts: &Facts<'_>, data: &DataSection, candidates: &[String]) {
    write_line(sdp, format_args!("m=application {} UDP/DTLS/SCTP webrtc-datachannel", port(facts)));
    write_place(sdp, facts, candidates);
    if !data.mid.is_empty() {
        write_line(sdp, format_args!("a=mid:{}", data.mid));
    }
    write_line(sdp, format_args!("a=sctp-port:{SCTP_PORT}"));
    write_line(sdp, format_args!("a=max-message-size:{}", facts.max_message));
}

fn write_used(sdp: &mut String, facts: &Facts<'_>, used: &Used, candidates: &[String]) {
    let numbers: String = used
        .formats
        .iter()
        .flat_map(|(choice, _)| choice.payload_types())
        .map(|pt| format!(" {pt}"))
        .collect();
    let kind = kind(used.kind);
    write_line(sdp, format_args!("m={kind} {} UDP/TLS/RTP/SAVPF{numbers}", port(facts)));
    write_place(sdp, facts, candidates);
    if !used.mid.is_empty() {
        write_line(sdp, format_args!("a=mid:{}", used.mid));
    }
    let named = used.layers.iter().flat_map(Layers::extensions);
    for (id, uri) in used.extensions.iter().copied().chain(named) {
        write_line(sdp, format_args!("a=extmap:{id} {uri}"));
    }
    write_line(sdp, format_args!("a={}", used.direction().attribute()));
    if let Some((ssrc, _)) = used.sends {
        write_line(sdp, format_args!("a=msid:{STREAM_NAME} {kind}-{ssrc}"));
    }
    write_line(sdp, format_args!("a=rtcp-mux"));
    if used.reduced_rtcp {
        write_line(sdp, format_args!("a=rtcp-rsize"));
    }
    for (choice, feedback) in &used.formats {
        write_format(sdp, choice, choice.profile, choice.asymmetric);
        for what in feedback {
            write_line(sdp, format_args!("a=rtcp-fb:{} {what}", choice.pt));
        }
    }
    if let Some(layers) = &used.layers {
        layers.write(sdp);
    }
    let Some((ssrc, rtx)) = used.sends else { return };
    if let Some(rtx) = rtx {
        write_line(sdp, format_args!("a=ssrc-group:FID {ssrc} {rtx}"));
    }
    for one in [Some(ssrc), rtx].into_iter().flatten() {
        write_line(sdp, format_args!("a=ssrc:{one} cname:{}", facts.cname));
        write_line(sdp, format_args!("a=ssrc:{one} msid:{STREAM_NAME} {kind}-{ssrc}"));
    }
}

fn write_declined(sdp: &mut String, facts: &Facts<'_>, declined: &Declined) {
    let Declined { media, is_rtp, protocol, format, mid, sctp_port, named } = declined;
    write_line(sdp, format_args!("m={media} 0 {protocol} {format}"));
    write_line(sdp, format_args!("c=IN IP4 0.0.0.0"));
    write_line(sdp, format_args!("a=inactive"));
    if !mid.is_empty() {
        write_line(sdp, format_args!("a=mid:{mid}"));
    }
    write_transport(sdp, facts);
    match sctp_port {
        _ if *is_rtp => write_line(sdp, format_args!("a=rtcp-mux")),
        Some(port) => write_line(sdp, format_args!("a=sctp-port:{port}")),
        None => {}
    }
    // A stopped section does not need this, but str0m parses no dynamic payload type without its name, and werift takes
    // these formats as its codecs when the section is reused.
    if let Some((f, feedback)) = named {
        write_line(sdp, format_args!("a=rtpmap:{} {}", f.pt, f.name));
        if !f.fmtp.is_empty() {
            write_line(sdp, format_args!("a=fmtp:{} {}", f.pt, f.fmtp));
        }
        for what in feedback {
            write_line(sdp, format_args!("a=rtcp-fb:{} {what}", f.pt));
        }
    }
}
