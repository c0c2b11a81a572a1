//! Numbers as Prometheus reads them.

use std::fmt::Write;

use crate::net::http::Response;

/// Metrics in the Prometheus text format, version 0.0.4.
///
/// ```
/// use symple::net::site::Metrics;
///
/// let mut metrics = Metrics::new();
/// let doors = [("{door=\"front\"}", 3), ("{door=\"back\"}", 0)];
/// metrics.family("opened_total", "counter", "How often a door was opened.", &doors);
/// let text = "# HELP opened_total How often a door was opened.\n# TYPE opened_total counter\n\
///     opened_total{door=\"front\"} 3\nopened_total{door=\"back\"} 0\n";
/// assert_eq!(metrics.into_response().body.bytes(), Some(text.as_bytes()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// No metrics yet.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// Adds a metric of this kind (`counter` or `gauge`) with its help text, and its values, each with its labels, such
    /// as `{reason="slow"}`, or none. Nothing is escaped.
    pub fn family(&mut self, name: &str, kind: &str, help: &str, values: &[(&str, u64)]) {
        _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            _ = writeln!(self.text, "{name}{labels} {value}");
        }
    }

    /// The response to a scrape.
    pub fn into_response(self) -> Response {
        Response {
            content_type: "text/plain; version=0.0.4; charset=utf-8".into(),
            ..Response::json(self.text)
        }
    }
}
