//! A panic ends the process, except in a viewer's session, where it closes only that session.

/// With `panic = "unwind"` a panic would otherwise end only its thread, and leave half a program running.
pub(crate) fn abort_where_not_contained() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        #[cfg(feature = "rtc")]
        if symple::rtc::panic_is_contained() {
            return;
        }
        std::process::abort();
    }));
}
