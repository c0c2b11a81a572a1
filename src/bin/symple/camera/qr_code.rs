//! The page's address for a phone: a QR code on the terminal.

use std::io::IsTerminal;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// The QR code of the last of `urls`, since those for other machines come last; empty if a phone could not reach it, or
/// if the output is not a terminal.
pub(super) fn code(urls: &[String]) -> String {
    if std::io::stdout().is_terminal() { of(urls) } else { String::new() }
}

fn of(urls: &[String]) -> String {
    let here = |url: &str| url.contains("//127.") || url.contains("//[::1]");
    let url = urls.last().filter(|url| !here(url));
    let code = url.and_then(|url| QrCode::new(url).ok());
    code.map(|code| code.render::<Dense1x2>().build() + "\n").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_a_phone_can_reach_has_a_code() {
        let urls = |urls: &[&str]| of(&urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>());
        let code = urls(&["http://127.0.0.1:4500/", "http://192.0.2.7:4500/"]);
        assert!(code.lines().count() > 10, "{code}");
        for none in [&[][..], &["http://127.0.0.1:4500/"], &["https://[::1]:4500/"]] {
            assert_eq!(urls(none), "", "{none:?}");
        }
    }
}
