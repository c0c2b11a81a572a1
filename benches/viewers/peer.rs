//! ICE and DTLS of one call, without a socket: datagrams in, datagrams out.

use std::net::SocketAddr;

use crate::clock::{MILLISECOND, Nanos};
use crate::dtls::{Handshake, Identity, Pair};
use crate::sdp::Description;
use crate::srtp::Keys;
use crate::stun::{self, Builder, Message, Transaction};

/// Between checks of a path that isn't known to work.
const CHECK: Nanos = 50 * MILLISECOND;
/// Between renewals of consent: browsers ask every 2.5 s.
const CONSENT: Nanos = 2500 * MILLISECOND;
/// How often OpenSSL is asked whether a flight has to be repeated.
const LOOK_AGAIN: Nanos = 50 * MILLISECOND;
/// That of a host candidate (RFC 8445, 5.1.2).
const PRIORITY: u32 = 1_845_501_695;

pub(crate) type Datagrams = Vec<(SocketAddr, Vec<u8>)>;

pub(crate) enum Role {
    /// It makes the offer, chooses the path and opens the handshake.
    Viewer,
    Sender,
}

pub(crate) enum Got {
    Nothing,
    Connected,
    Rtp,
    Rtcp,
}

pub(crate) struct Peer {
    pub(crate) ufrag: String,
    pub(crate) password: String,
    role: Role,
    tie_breaker: [u8; 8],
    remote: Description,
    candidates: Vec<SocketAddr>,
    checks: Vec<Transaction>,
    next_check: Nanos,
    next_look: Nanos,
    /// The path.
    pub(crate) selected: Option<SocketAddr>,
    handshake: Option<Handshake>,
    /// What came before the description.
    early: Vec<(SocketAddr, Vec<u8>)>,
    pub(crate) receive: Option<Keys>,
    pub(crate) send: Option<Keys>,
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    openssl::rand::rand_bytes(&mut bytes).expect("the system has random bytes");
    bytes
}

fn word<const N: usize>() -> String {
    random::<N>().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Peer {
    pub(crate) fn new(role: Role) -> Peer {
        Peer {
            ufrag: word::<4>(),
            password: word::<12>(),
            role,
            tie_breaker: random(),
            remote: Description::default(),
            candidates: Vec::new(),
            checks: Vec::new(),
            next_check: 0,
            next_look: 0,
            selected: None,
            handshake: None,
            early: Vec::new(),
            receive: None,
            send: None,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.send.is_some()
    }

    pub(crate) fn set_remote(
        &mut self,
        remote: Description,
        identity: &Identity,
        now: Nanos,
        out: &mut Datagrams,
    ) {
        self.handshake = Some(Handshake::new(identity, matches!(self.role, Role::Viewer)));
        remote.candidates.iter().for_each(|candidate| _ = self.add_candidate(*candidate));
        self.remote = remote;
        for (from, datagram) in std::mem::take(&mut self.early) {
            self.handle_datagram(&datagram, from, now, out);
        }
    }

    /// Whether it is new. Only loopback is used, whatever else the sender has.
    pub(crate) fn add_candidate(&mut self, candidate: SocketAddr) -> bool {
        let is_new = candidate.ip().is_loopback() && !self.candidates.contains(&candidate);
        if is_new {
            self.candidates.push(candidate);
        }
        is_new
    }

    pub(crate) fn handle_timeout(&mut self, now: Nanos, out: &mut Datagrams) -> Got {
        if self.handshake.is_none() {
            return Got::Nothing;
        }
        if now >= self.next_check {
            self.next_check = now + if self.selected.is_some() { CONSENT } else { CHECK };
            let to = self.selected.map_or_else(|| self.candidates.clone(), |selected| vec![selected]);
            to.into_iter().for_each(|to| self.check(to, out));
        }
        match self.selected.is_some() && !self.is_connected() && now >= self.next_look {
            true => self.shake(now, out),
            false => Got::Nothing,
        }
    }

    /// RTP and RTCP are left to the caller.
    pub(crate) fn handle_datagram(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Nanos,
        out: &mut Datagrams,
    ) -> Got {
        // RFC 7983, 7; RFC 5761, 4.
        match *datagram {
            [128..=191, 192..=223, ..] => return Got::Rtcp,
            [128..=191, ..] => return Got::Rtp,
            [20..=63, ..] => match &mut self.handshake {
                Some(_) if self.send.is_some() => {}
                Some(handshake) => {
                    handshake.input(datagram);
                    self.selected.get_or_insert(from);
                    return self.shake(now, out);
                }
                None => self.early.push((from, datagram.to_vec())),
            },
            [0..=3, ..] => return self.handle_stun(datagram, from, now, out),
            _ => {}
        }
        Got::Nothing
    }

    fn handle_stun(&mut self, datagram: &[u8], from: SocketAddr, now: Nanos, out: &mut Datagrams) -> Got {
        let Some(message) = Message::parse(datagram) else { return Got::Nothing };
        match message.kind {
            stun::REQUEST if self.handshake.is_none() => self.early.push((from, datagram.to_vec())),
            stun::REQUEST if from.ip().is_loopback() && message.is_of(&self.password) => {
                let reply = Builder::new(stun::SUCCESS, &message.transaction).mapped(from);
                out.push((from, reply.finish(&self.password)));
                if self.add_candidate(from) {
                    self.check(from, out);
                }
                if message.use_candidate && self.selected.is_none() {
                    return self.select(from, now, out);
                }
            }
            stun::SUCCESS if message.is_of(&self.remote.password) => {
                let Some(at) = self.checks.iter().position(|check| *check == message.transaction) else {
                    return Got::Nothing;
                };
                self.checks.swap_remove(at);
                if matches!(self.role, Role::Viewer) && self.selected.is_none() {
                    return self.select(from, now, out);
                }
            }
            _ => {}
        }
        Got::Nothing
    }

    fn select(&mut self, path: SocketAddr, now: Nanos, out: &mut Datagrams) -> Got {
        self.selected = Some(path);
        self.next_check = now + CONSENT;
        self.shake(now, out)
    }

    fn check(&mut self, to: SocketAddr, out: &mut Datagrams) {
        let transaction = random();
        let user = format!("{}:{}", self.remote.ufrag, self.ufrag);
        let request = Builder::new(stun::REQUEST, &transaction)
            .attribute(stun::USERNAME, user.as_bytes())
            .attribute(stun::PRIORITY, &PRIORITY.to_be_bytes());
        let request = match self.role {
            Role::Viewer => {
                request.attribute(stun::CONTROLLING, &self.tie_breaker).attribute(stun::USE_CANDIDATE, &[])
            }
            Role::Sender => request.attribute(stun::CONTROLLED, &self.tie_breaker),
        };
        out.push((to, request.finish(&self.remote.password)));
        self.checks.truncate(20);
        self.checks.insert(0, transaction);
    }

    fn shake(&mut self, now: Nanos, out: &mut Datagrams) -> Got {
        self.next_look = now + LOOK_AGAIN;
        let (Some(handshake), Some(to)) = (&mut self.handshake, self.selected) else { return Got::Nothing };
        match handshake.turn(&self.remote.fingerprint, |datagram| out.push((to, datagram))) {
            None => Got::Nothing,
            Some(Pair { receive, send }) => {
                (self.receive, self.send) = (Some(receive), Some(send));
                Got::Connected
            }
        }
    }
}
