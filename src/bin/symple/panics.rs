//! A panic ends the process, unless it is one of a viewer's session, which is closed alone.

/// With `panic = "unwind"` a panic would otherwise end its thread only, and leave half a program running.
pub fn abort_where_not_contained() {
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
