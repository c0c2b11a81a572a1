//! The number of sockets that the limit on open files allows.

/// The minimum, whatever the limit: a server without sockets would be useless.
const LEAST: usize = 16;

/// The number of sockets that leaves `reserved` of the process's files for everything else.
pub(super) fn sockets(reserved: usize) -> usize {
    within(limit(), reserved)
}

fn within(limit: Option<u64>, reserved: usize) -> usize {
    let Some(limit) = limit else { return usize::MAX };
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(reserved).max(LEAST)
}

/// The soft limit of the process, if there is one.
#[cfg(unix)]
fn limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn limit() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_leave_the_reserved_files_free() {
        for (limit, reserved, sockets) in
            [(Some(1024), 64, 960), (Some(80), 64, 16), (Some(10), 64, 16), (None, 64, usize::MAX)]
        {
            assert_eq!(within(limit, reserved), sockets, "{limit:?}");
        }
    }
}
