//! The direction of a media section (RFC 3264, 5.1 and 6.1; RFC 8829, 5.3.1).

/// A direction from the point of view of the description's author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(in crate::rtc) fn of(sends: bool, receives: bool) -> Direction {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// Parses a direction attribute; returns `None` for any other attribute.
    pub(in crate::rtc) fn parse(attribute: &str) -> Option<Direction> {
        let all = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
        all.into_iter().find(|direction| direction.attribute() == attribute)
    }

    pub(in crate::rtc) fn attribute(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    pub(in crate::rtc) fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    pub(in crate::rtc) fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// Returns our direction in a section in which the other side wants `self` and we want `ours`: a side only sends
    /// what the other receives.
    pub(in crate::rtc) fn agree(self, ours: Direction) -> Direction {
        Direction::of(ours.sends() && self.receives(), ours.receives() && self.sends())
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{self, Inactive, RecvOnly, SendOnly, SendRecv};

    const ALL: [Direction; 4] = [SendRecv, SendOnly, RecvOnly, Inactive];

    #[test]
    fn one_side_sends_what_the_other_takes() {
        // RFC 3264, 6.1. Rows: what the other side wants; columns: what we want.
        let table = [
            (SendRecv, [SendRecv, SendOnly, RecvOnly, Inactive]),
            (SendOnly, [RecvOnly, Inactive, RecvOnly, Inactive]),
            (RecvOnly, [SendOnly, SendOnly, Inactive, Inactive]),
            (Inactive, [Inactive, Inactive, Inactive, Inactive]),
        ];
        for (theirs, row) in table {
            for (ours, expected) in ALL.into_iter().zip(row) {
                assert_eq!(theirs.agree(ours), expected, "they {theirs:?}, we {ours:?}");
                // Both sides reach the same result.
                assert_eq!(
                    ours.agree(theirs),
                    Direction::of(expected.receives(), expected.sends()),
                    "we {ours:?}, they {theirs:?}"
                );
            }
        }
    }

    #[test]
    fn attributes_are_read_as_they_are_written() {
        for direction in ALL {
            assert_eq!(Direction::parse(direction.attribute()), Some(direction));
            assert_eq!(Direction::of(direction.sends(), direction.receives()), direction);
        }
        assert_eq!(Direction::parse("setup"), None);
    }
}
