//! The test vectors of RFC 7714, sections 16 and 17.

use super::keys::Profile;
use super::suite::SessionKeys;

/// The session keys of all vectors.
pub(super) fn session(profile: Profile) -> SessionKeys {
    let key = (0..profile.key_len() as u8).collect();
    SessionKeys { key, salt: b"Quid pro quo".to_vec(), auth: vec![] }
}

/// 16: sequence number 0xf17b, rollover counter 0.
pub(super) const RTP_HEADER: &str = "8040f17b8041f8d35501a0b2";
pub(super) const RTP_PAYLOAD: &[u8] = b"Gallia est omnis divisa in partes tres";

/// 16.1.1 and 16.2.1: the sealed payloads.
pub(super) const RTP: [(Profile, &str); 2] = [
    (
        Profile::Aes128Gcm,
        "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
         899d7f27beb16a9152cf765ee4390cce",
    ),
    (
        Profile::Aes256Gcm,
        "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
         7aa3db36dfffd6b0f9bb7878d7a76c13",
    ),
];

/// 17: the compound packet.
pub(super) const RTCP_PLAIN: &str = "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
     deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
pub(super) const RTCP_INDEX: u32 = 0x5d4;

/// 17.1 and 17.2: the sealed packets.
pub(super) const RTCP: [(Profile, &str); 2] = [
    (
        Profile::Aes128Gcm,
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda\
         4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
    ),
    (
        Profile::Aes256Gcm,
        "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be\
         8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
    ),
];

/// 17.3: what follows [`RTCP_PLAIN`] if it is only authenticated, by AES-128.
pub(super) const RTCP_TAG_ONLY: &str = "841dd9683dd78ec92ae58790125f62b3000005d4";
