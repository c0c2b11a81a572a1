//! The octets of 6.5 to 6.23, after Markus Kuhn's UTF-8 decoder stress test, and which of them are valid UTF-8.

/// κόσμε; its second letter has three octets.
pub(super) const KOSME: &[u8] = "κ\u{1f79}σμε".as_bytes();

/// A group and its members in order. Validity is checked with `std` and against the suite's description of the group,
/// so that neither is trusted alone.
pub(super) struct Group {
    pub what: &'static str,
    pub valid: Valid,
    pub members: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Valid {
    All,
    None,
    /// The members with these numbers, counted from one.
    Only(&'static [usize]),
}

impl Valid {
    pub(super) fn holds(self, place: usize) -> bool {
        match self {
            Valid::All => true,
            Valid::None => false,
            Valid::Only(places) => places.contains(&place),
        }
    }
}

fn group(what: &'static str, valid: Valid, members: &[&[u8]]) -> Group {
    Group { what, valid, members: members.iter().map(|m| m.to_vec()).collect() }
}

/// In the order of the suite; the first is 6.5.
pub(super) fn groups() -> Vec<Group> {
    use Valid::{All, None, Only};
    let incomplete: [&[u8]; 10] = [
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
    ];
    vec![
        group(
            "valid UTF-8",
            All,
            &[
                b"hello\x24world",
                b"hello\xc2\xa2world",
                b"hello\xe2\x82\xacworld",
                b"hello\xf0\xa4\xad\xa2world",
                KOSME,
            ],
        ),
        Group {
            what: "prefixes of a valid text",
            valid: Only(&[2, 5, 7, 9, 11]),
            members: (1..=KOSME.len()).map(|len| KOSME[..len].to_vec()).collect(),
        },
        group(
            "first sequence of a length",
            All,
            &[b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
        ),
        group(
            "first sequence of length 5 and 6",
            None,
            &[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
        ),
        group(
            "last sequence of a length",
            All,
            &[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
        ),
        group(
            "last sequence of length 4, 5 and 6",
            None,
            &[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
        ),
        group(
            "other boundaries",
            Only(&[1, 2, 3, 4]),
            &[b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"],
        ),
        Group {
            what: "unexpected continuation",
            valid: None,
            members: [&b"\x80"[..], b"\xbf"]
                .into_iter()
                .map(<[u8]>::to_vec)
                .chain((2..=6).map(|len| b"\x80\xbf".repeat(3)[..len].to_vec()))
                .chain([(0x80..0xbf).collect()])
                .collect(),
        },
        Group {
            what: "lonely start characters",
            valid: None,
            members: [0xc0..0xdf, 0xe0..0xef, 0xf0..0xf7, 0xf8..0xfb, 0xfc..0xfd_u8]
                .map(|starts| starts.flat_map(|start| [start, b' ']).collect())
                .into(),
        },
        group("last continuation missing", None, &incomplete),
        group("incomplete sequences in a row", None, &[&incomplete.concat()]),
        group("impossible octets", None, &[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
        group(
            "overlong ASCII",
            None,
            &[
                b"\xc0\xaf",
                b"\xe0\x80\xaf",
                b"\xf0\x80\x80\xaf",
                b"\xf8\x80\x80\x80\xaf",
                b"\xfc\x80\x80\x80\x80\xaf",
            ],
        ),
        group(
            "longest overlong",
            None,
            &[
                b"\xc1\xbf",
                b"\xe0\x9f\xbf",
                b"\xf0\x8f\xbf\xbf",
                b"\xf8\x87\xbf\xbf\xbf",
                b"\xfc\x83\xbf\xbf\xbf\xbf",
            ],
        ),
        group(
            "overlong NUL",
            None,
            &[
                b"\xc0\x80",
                b"\xe0\x80\x80",
                b"\xf0\x80\x80\x80",
                b"\xf8\x80\x80\x80\x80",
                b"\xfc\x80\x80\x80\x80\x80",
            ],
        ),
        group(
            "single surrogates",
            None,
            &[
                b"\xed\xa0\x80",
                b"\xed\xad\xbf",
                b"\xed\xae\x80",
                b"\xed\xaf\xbf",
                b"\xed\xb0\x80",
                b"\xed\xbe\x80",
                b"\xed\xbf\xbf",
            ],
        ),
        Group {
            what: "paired surrogates",
            valid: None,
            members: [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf"]
                .into_iter()
                .flat_map(|high| [b"\xed\xb0\x80", b"\xed\xbf\xbf"].map(|low| [*high, *low].concat()))
                .collect(),
        },
        Group { what: "no characters, yet UTF-8", valid: All, members: noncharacters() },
        Group {
            what: "specials",
            valid: All,
            members: (0xb9..=0xbf).map(|last| vec![0xef, 0xbf, last]).collect(),
        },
    ]
}

/// U+FFFE, U+FFFF and the last two of each plane.
fn noncharacters() -> Vec<Vec<u8>> {
    (0..=16_u32)
        .flat_map(|plane| [plane << 16 | 0xfffe, plane << 16 | 0xffff])
        .map(|code| char::from_u32(code).expect("no surrogate").to_string().into_bytes())
        .collect()
}

#[test]
fn the_groups_agree_with_std_about_utf8() {
    for Group { what, valid, members } in groups() {
        for (place, member) in (1..).zip(&members) {
            assert_eq!(valid.holds(place), std::str::from_utf8(member).is_ok(), "{what} {place}");
        }
    }
}
