//! The descriptions that viewers and the bound write, and what is read of any.

use std::net::SocketAddr;

use crate::dtls::Identity;
use crate::peer::Peer;

const TRANSPORT_WIDE: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// The numbers that viewers offer. A sender answers with the same.
pub(crate) const H264: u8 = 108;
pub(crate) const RETRANSMISSION: u8 = 109;
pub(crate) const OPUS: u8 = 111;
pub(crate) const TRANSPORT_EXTENSION: u8 = 3;

#[derive(Default)]
pub(crate) struct Description {
    pub(crate) ufrag: String,
    pub(crate) password: String,
    pub(crate) fingerprint: String,
    pub(crate) candidates: Vec<SocketAddr>,
}

impl Description {
    pub(crate) fn parse(sdp: &str) -> Description {
        let mut out = Description::default();
        for line in sdp.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            match name {
                "a=ice-ufrag" => out.ufrag = value.into(),
                "a=ice-pwd" => out.password = value.into(),
                "a=fingerprint" => out.fingerprint = value.split(' ').nth(1).unwrap_or_default().into(),
                "a=candidate" => out.candidates.extend(candidate(line)),
                "a=setup" => assert_ne!(value, "active", "viewers open the handshake"),
                _ => {}
            }
        }
        out
    }
}

/// The address of a UDP candidate on this machine.
pub(crate) fn candidate(line: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = line.split_once("candidate:")?.1.split(' ').collect();
    let [_, _, transport, _, ip, port, ..] = words[..] else { return None };
    let address = SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
    (transport.eq_ignore_ascii_case("udp") && address.ip().is_loopback() && address.is_ipv4())
        .then_some(address)
}

/// What a browser that only watches offers, without the codecs that it wouldn't get.
pub(crate) fn offer(peer: &Peer, identity: &Identity, address: SocketAddr) -> String {
    let video = video(peer, identity, address, "actpass", "recvonly");
    let audio = transport(peer, identity, address, "actpass", "recvonly");
    format!(
        "{}{video}m=audio 9 UDP/TLS/RTP/SAVPF {OPUS}\r\n{audio}a=mid:1\r\n\
         a=extmap:{TRANSPORT_EXTENSION} {TRANSPORT_WIDE}\r\na=extmap:4 {MID}\r\na=rtcp-fb:{OPUS} transport-cc\r\n\
         a=rtpmap:{OPUS} opus/48000/2\r\na=fmtp:{OPUS} minptime=10;useinbandfec=1\r\n",
        head("0 1")
    )
}

/// Video is sent, audio is rejected.
pub(crate) fn answer(peer: &Peer, identity: &Identity, address: SocketAddr) -> String {
    let video = video(peer, identity, address, "passive", "sendonly");
    format!("{}{video}m=audio 0 UDP/TLS/RTP/SAVPF {OPUS}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n", head("0"))
}

fn head(bundle: &str) -> String {
    format!("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {bundle}\r\n")
}

fn transport(peer: &Peer, identity: &Identity, address: SocketAddr, setup: &str, direction: &str) -> String {
    let (ufrag, password, fingerprint) = (&peer.ufrag, &peer.password, &identity.fingerprint);
    let (ip, port) = (address.ip(), address.port());
    format!(
        "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=fingerprint:sha-256 {fingerprint}\r\n\
         a=setup:{setup}\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
         a=candidate:1 1 udp 2130706431 {ip} {port} typ host\r\n"
    )
}

fn video(peer: &Peer, identity: &Identity, address: SocketAddr, setup: &str, direction: &str) -> String {
    let transport = transport(peer, identity, address, setup, direction);
    format!(
        "m=video 9 UDP/TLS/RTP/SAVPF {H264} {RETRANSMISSION}\r\n{transport}a=mid:0\r\n\
         a=extmap:{TRANSPORT_EXTENSION} {TRANSPORT_WIDE}\r\na=extmap:4 {MID}\r\na=rtcp-fb:{H264} transport-cc\r\n\
         a=rtcp-fb:{H264} ccm fir\r\na=rtcp-fb:{H264} nack\r\na=rtcp-fb:{H264} nack pli\r\n\
         a=rtpmap:{H264} H264/90000\r\n\
         a=fmtp:{H264} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
         a=rtpmap:{RETRANSMISSION} rtx/90000\r\na=fmtp:{RETRANSMISSION} apt={H264}\r\n"
    )
}
