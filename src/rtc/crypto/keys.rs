//! The SRTP keys of a session, from its DTLS handshake, for sealing and opening its packets.

use std::cell::RefCell;
use std::fmt;

use openssl::srtp::SrtpProfileId;

thread_local! {
    static ESTABLISHED: RefCell<Option<Keys>> = const { RefCell::new(None) };
}

/// A protection profile for SRTP and SRTCP (RFC 5764, 4.1.2; RFC 7714, 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// AES-128 in counter mode with a tag of 80 bits, for SRTP and SRTCP.
    Aes128CmSha1,
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
}

impl Profile {
    pub(super) fn of(id: SrtpProfileId) -> Option<Profile> {
        match id {
            SrtpProfileId::SRTP_AES128_CM_SHA1_80 => Some(Profile::Aes128CmSha1),
            SrtpProfileId::SRTP_AEAD_AES_128_GCM => Some(Profile::Aes128Gcm),
            SrtpProfileId::SRTP_AEAD_AES_256_GCM => Some(Profile::Aes256Gcm),
            _ => None,
        }
    }

    /// Of a key, in bytes.
    pub(super) fn key_len(self) -> usize {
        match self {
            Profile::Aes128CmSha1 | Profile::Aes128Gcm => 16,
            Profile::Aes256Gcm => 32,
        }
    }

    /// Of a salt, in bytes.
    pub(super) fn salt_len(self) -> usize {
        match self {
            Profile::Aes128CmSha1 => 14,
            Profile::Aes128Gcm | Profile::Aes256Gcm => 12,
        }
    }

    /// Of an authentication tag, in bytes.
    pub(super) fn tag_len(self) -> usize {
        match self {
            Profile::Aes128CmSha1 => 10,
            Profile::Aes128Gcm | Profile::Aes256Gcm => 16,
        }
    }

    /// Of both sides' keys and salts, in bytes.
    pub(crate) fn material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }
}

/// The profiles that we support, in OpenSSL's words. The cheapest comes first, because a DTLS server chooses by its own
/// order.
///
/// On a CPU with AES instructions, counter mode with SHA-1 takes three times as long as AES-128-GCM to seal a packet of
/// 1100 bytes. Without them GCM's authentication also runs in plain code, so counter mode comes first there; that was not
/// measured. AES-256 has four more rounds than AES-128, and WebRTC needs none of them.
pub(super) fn profiles() -> &'static str {
    if has_aes() {
        "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80"
    } else {
        "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM"
    }
}

/// Whether the CPU has AES instructions.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// The master keys and salts of both sides.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    profile: Profile,
    /// Client's key, server's key, client's salt, server's salt (RFC 5764, 4.2).
    material: Vec<u8>,
    client: bool,
}

/// One side's key and salt, from which its session keys are derived.
#[derive(Clone, Copy)]
pub(super) struct Master<'a> {
    pub(super) profile: Profile,
    pub(super) key: &'a [u8],
    pub(super) salt: &'a [u8],
}

impl Keys {
    /// `material` is what the DTLS connection exported; `client` says whether we were its client.
    ///
    /// # Panics
    ///
    /// If the material's length is not [`Profile::material_len`].
    pub(crate) fn new(profile: Profile, material: Vec<u8>, client: bool) -> Keys {
        assert_eq!(material.len(), profile.material_len(), "the material's length is the profile's");
        Keys { profile, material, client }
    }

    /// What we seal with.
    pub(super) fn ours(&self) -> Master<'_> {
        self.master(self.client)
    }

    /// What the peer seals with.
    pub(super) fn theirs(&self) -> Master<'_> {
        self.master(!self.client)
    }

    fn master(&self, client: bool) -> Master<'_> {
        let (key_len, salt_len) = (self.profile.key_len(), self.profile.salt_len());
        let (keys, salts) = self.material.split_at(2 * key_len);
        let (key, salt) = if client { (0, 0) } else { (key_len, salt_len) };
        Master { profile: self.profile, key: &keys[key..][..key_len], salt: &salts[salt..][..salt_len] }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("profile", &self.profile)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// A DTLS connection was established on this thread.
pub(super) fn established(keys: Keys) {
    ESTABLISHED.replace(Some(keys));
}

/// The keys of the DTLS connection that was established on this thread since the last call.
///
/// Call it after each input to a session, or the next session gets these. The handshake does not know the peer: use them
/// only once str0m is connected, after it compared the certificate's fingerprint.
pub(crate) fn take() -> Option<Keys> {
    ESTABLISHED.take()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use str0m::config::DtlsVersion;
    use str0m::crypto::dtls::{DtlsOutput, DtlsProvider};

    use super::super::dtls::Dtls;
    use super::*;

    #[test]
    fn each_side_has_its_key_and_salt() {
        for profile in [Profile::Aes128CmSha1, Profile::Aes128Gcm, Profile::Aes256Gcm] {
            let (key, salt) = (profile.key_len(), profile.salt_len());
            let material = [vec![1; key], vec![2; key], vec![3; salt], vec![4; salt]].concat();
            for (client, [our_key, our_salt], [their_key, their_salt]) in
                [(true, [1, 3], [2, 4]), (false, [2, 4], [1, 3])]
            {
                let keys = Keys::new(profile, material.clone(), client);
                assert_eq!(
                    (keys.ours().key, keys.ours().salt),
                    (&*vec![our_key; key], &*vec![our_salt; salt])
                );
                assert_eq!(
                    (keys.theirs().key, keys.theirs().salt),
                    (&*vec![their_key; key], &*vec![their_salt; salt])
                );
            }
        }
    }

    #[test]
    fn no_key_is_printed() {
        let keys = Keys::new(Profile::Aes128Gcm, vec![0xab; 56], true);
        assert_eq!(format!("{keys:?}"), "Keys { profile: Aes128Gcm, client: true, .. }");
    }

    #[test]
    fn keys_are_taken_once_and_by_their_thread() {
        let keys = Keys::new(Profile::Aes128Gcm, vec![1; 56], true);
        established(keys.clone());
        assert_eq!(std::thread::spawn(take).join().expect("no panic"), None);
        assert_eq!(take(), Some(keys));
        assert_eq!(take(), None);
    }

    /// Both ends on one thread: each input may establish one of them.
    #[test]
    fn a_handshake_gives_both_sides_each_others_keys() {
        let now = Instant::now();
        let end = |client| {
            let certificate = Dtls.generate_certificate().expect("OpenSSL");
            let mut end = Dtls.new_dtls(&certificate, now, DtlsVersion::Dtls12, None).expect("OpenSSL");
            end.set_active(client);
            end
        };
        let mut ends = [end(true), end(false)];
        let mut keys = [None, None];
        ends[0].handle_packet(&[]).expect("it starts the client");
        for turn in 0..20 {
            let mut buffer = vec![0; 4000];
            let (from, to) = (turn % 2, (turn + 1) % 2);
            while let DtlsOutput::Packet(packet) = ends[from].poll_output(&mut buffer) {
                let packet = packet.to_vec();
                ends[to].handle_packet(&packet).expect("an honest peer");
                keys[to] = keys[to].take().or_else(take);
            }
        }
        let [Some(client), Some(server)] = keys else { panic!("{keys:?}") };
        assert_eq!((client.client, server.client), (true, false));
        assert_eq!(client.ours().key, server.theirs().key);
        assert_eq!(client.theirs().salt, server.ours().salt);
        assert_ne!(client.ours().key, client.theirs().key);
        let best = if has_aes() { Profile::Aes128Gcm } else { Profile::Aes128CmSha1 };
        assert_eq!(client.profile, best);
        assert_eq!(take(), None);
    }

    #[test]
    fn aes_256_is_never_first_and_all_are_offered() {
        let mut all: Vec<&str> = profiles().split(':').collect();
        assert_eq!(all[0] == "SRTP_AEAD_AES_128_GCM", has_aes());
        assert_ne!(all[0], "SRTP_AEAD_AES_256_GCM");
        all.sort_unstable();
        assert_eq!(all, ["SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM", "SRTP_AES128_CM_SHA1_80"]);
    }
}
