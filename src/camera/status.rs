//! What a camera reports of itself: to the program, as JSON, and to Prometheus.

use std::time::Duration;

use serde_json::{Value, json};

#[cfg(feature = "talk")]
use super::core::talk::TalkStatus;
use super::event::Viewer;
use crate::media::adapt::ladder::Quality;
use crate::media::source::SourceStatus;
use crate::media::{Kind, StreamId, StreamInfo};
use crate::net::site::Metrics;
use crate::rtc::{Delays, PathInfo, SessionStats, Skipped};

/// The current state of a camera.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The viewers, with statistics of their sessions.
    pub viewers: Vec<(Viewer, Option<SessionStats>)>,
    /// The streams that are produced.
    pub streams: Vec<StreamInfo>,
    /// The state of the source; `None` while nobody watches.
    pub source: Option<SourceStatus>,
    /// Frames that were dropped because the camera did not keep up with the encoder.
    pub dropped: u64,
    /// Frames that were not sent to a viewer, by reason, over all viewers since the start.
    pub skipped: Skipped,
    /// Panics, each of which ended one viewer's session and nothing else. Please report each as a bug.
    pub panics: u64,
    /// The name of the H.264 encoder.
    pub encoder: String,
    /// The target bitrate of the H.264 encoder, in bit/s.
    pub bitrate: u32,
    /// Its frame rate and resolution: reduced if network or board cannot sustain the full ones.
    pub quality: Option<Quality>,
    /// The board's temperature in °C, if it has a thermometer.
    pub celsius: Option<f32>,
    /// Viewers who talk; `None` where nobody may.
    #[cfg(feature = "talk")]
    pub talk: Option<TalkStatus>,
    /// The name of the board's profile.
    #[cfg(feature = "gst")]
    pub board: String,
}

impl Status {
    /// The body of `/api/status`.
    pub(super) fn to_json(&self) -> Value {
        let viewers =
            self.viewers.iter().map(|(viewer, stats)| session(viewer, stats.as_ref(), &self.streams));
        let streams = self.streams.iter().map(|info| {
            json!({
                "id": info.id.0,
                "codec": info.codec.name(),
                "rendition": info.rendition,
                "width": info.video().map(|format| format.width),
                "height": info.video().map(|format| format.height),
                "fps": info.video().map(|format| format.fps),
            })
        });
        json!({
            "viewers": self.viewers.len(),
            "streams": streams.collect::<Vec<_>>(),
            "pipelines": u32::from(!self.streams.is_empty()),
            "encoders": self.encoders(),
            "source": self.source.map(SourceStatus::to_json),
            "encoder": self.encoder,
            "bitrate": self.bitrate,
            "percent": self.quality.map(|quality| quality.percent),
            "fps": self.quality.map(|quality| quality.fps),
            "board": self.board(),
            "celsius": self.celsius,
            "talk": self.talk(),
            "dropped": self.dropped,
            "skipped": skipped(&self.skipped),
            "panics": self.panics,
            "sessions": viewers.collect::<Vec<_>>(),
        })
    }

    /// The body of `/metrics`.
    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        let mut family = |name: &str, kind, help, rows: &[(&str, u64)]| {
            metrics.family(&format!("symple_camera_{name}"), kind, help, rows);
        };
        family("viewers", "gauge", "Viewers whose media is connected.", &[("", self.viewers.len() as u64)]);
        family("video_streams", "gauge", "Video streams that are produced.", &[("", self.encoders() as u64)]);
        let bitrate = [("", self.bitrate.into())];
        family("bitrate_bits", "gauge", "Target bitrate of the H.264 encoder, in bit/s.", &bitrate);
        let celsius = self.celsius.map(|celsius| [("", celsius.max(0.0).round() as u64)]);
        if let Some(celsius) = celsius {
            family("temperature_celsius", "gauge", "The board's temperature, in °C.", &celsius);
        }
        let dropped = [("", self.dropped)];
        family("dropped_frames_total", "counter", "Frames dropped before they reached any viewer.", &dropped);
        family(
            "skipped_frames_total",
            "counter",
            "Frames not sent to a viewer: before its first key frame (joining), because its network was too slow \
             (network), because our socket was too slow (socket).",
            &[
                ("{reason=\"joining\"}", self.skipped.joining),
                ("{reason=\"network\"}", self.skipped.network),
                ("{reason=\"socket\"}", self.skipped.socket),
            ],
        );
        family(
            "panics_total",
            "counter",
            "Panics that ended one viewer's session each.",
            &[("", self.panics)],
        );
        self.viewer_metrics(&mut metrics);
        metrics
    }

    /// What is sent to each viewer, and what becomes of it. At a time there are as many of each kind as viewers, which
    /// the camera's seats limit; a viewer that calls again has another number.
    fn viewer_metrics(&self, metrics: &mut Metrics) {
        let viewers: Vec<(String, &SessionStats)> = self
            .viewers
            .iter()
            .filter_map(|(viewer, stats)| Some((format!("viewer=\"{}\"", viewer.id), stats.as_ref()?)))
            .collect();
        let mut family = |name: &str, kind, help, of: &dyn Fn(&SessionStats) -> Vec<(&str, u64)>| {
            let rows = viewers.iter().flat_map(|(viewer, stats)| {
                let all = of(stats).into_iter();
                all.map(move |(labels, value)| (format!("{{{viewer}{labels}}}"), value))
            });
            let rows: Vec<(String, u64)> = rows.collect();
            let rows: Vec<(&str, u64)> =
                rows.iter().map(|(labels, value)| (labels.as_str(), *value)).collect();
            metrics.family(&format!("symple_camera_viewer_{name}"), kind, help, &rows);
        };
        let one = |value: Option<u64>| value.map(|value| ("", value)).into_iter().collect::<Vec<_>>();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        family("sent_bytes_total", "counter", "RTP bytes sent to a viewer.", &|s| one(Some(s.bytes)));
        family("frames_total", "counter", "Frames sent to a viewer.", &|s| one(Some(s.frames)));
        family("skipped_frames_total", "counter", "Frames not sent to a viewer.", &|s| {
            vec![
                (",reason=\"joining\"", s.skipped.joining),
                (",reason=\"network\"", s.skipped.network),
                (",reason=\"socket\"", s.skipped.socket),
            ]
        });
        family("key_frame_requests_total", "counter", "Key frames that a viewer asked for.", &|s| {
            one(Some(s.key_frame_requests))
        });
        family("retransmissions_total", "counter", "Packets sent to a viewer again.", &|s| {
            one(Some(s.retransmissions))
        });
        family("estimate_bits", "gauge", "What a viewer's network is estimated to carry, in bit/s.", &|s| {
            one(s.estimate.map(u64::from))
        });
        family("loss_permille", "gauge", "Packets lost on the way to a viewer, of a thousand.", &|s| {
            one(s.loss.map(|loss| (loss.clamp(0.0, 1.0) * 1000.0).round() as u64))
        });
        family("round_trip_milliseconds", "gauge", "The round trip to a viewer.", &|s| one(s.rtt.map(ms)));
        family(
            "delay_milliseconds",
            "gauge",
            "What a frame takes in the camera: until its encoder gets it (capture; where the encoder is not known, until \
             it is encoded), in the encoder (encoding), then pacing and the socket (queue).",
            &|s| {
                let parts = |d: Delays| {
                    let encoding = d.encoding.map(|time| (",part=\"encoding\"", ms(time)));
                    let others = [(",part=\"capture\"", ms(d.capture)), (",part=\"queue\"", ms(d.queue))];
                    others.into_iter().chain(encoding).collect()
                };
                s.delays.map(parts).unwrap_or_default()
            },
        );
        family("rendition", "gauge", "What a viewer gets: 0 the main rendition, 1 the small one.", &|s| {
            one(s.video.and_then(|id| rendition(&self.streams, id)).map(u64::from))
        });
        let paths: Vec<(String, u64)> =
            viewers.iter().filter_map(|(viewer, s)| path_row(viewer, s.path)).collect();
        let paths: Vec<(&str, u64)> = paths.iter().map(|(labels, value)| (labels.as_str(), *value)).collect();
        let help = "1: the protocol and the types of the candidates by which a viewer is reached.";
        metrics.family("symple_camera_viewer_path", "gauge", help, &paths);
    }

    fn encoders(&self) -> usize {
        self.streams.iter().filter(|info| info.kind() == Kind::Video).count()
    }

    fn talk(&self) -> Value {
        #[cfg(feature = "talk")]
        return self.talk.as_ref().map_or(Value::Null, TalkStatus::to_json);
        #[cfg(not(feature = "talk"))]
        Value::Null
    }

    /// The name of the board profile, if there is one.
    fn board(&self) -> &str {
        #[cfg(feature = "gst")]
        return &self.board;
        #[cfg(not(feature = "gst"))]
        ""
    }
}

/// A viewer and its session, as in `/api/status`; `streams` are those that run.
pub(super) fn session(viewer: &Viewer, stats: Option<&SessionStats>, streams: &[StreamInfo]) -> Value {
    json!({
        "user": viewer.address.user(),
        "video": viewer.video.map(|codec| format!("{codec:?}")),
        "audio": viewer.audio,
        "share": viewer.share.map(|(share, _)| share.code()),
        "shareCode": viewer.share.map(|(_, reason)| reason.code()),
        "shard": stats.map(|s| s.shard.0),
        "rendition": stats.and_then(|s| s.video).and_then(|id| rendition(streams, id)),
        "packets": stats.map(|s| s.packets),
        "bytes": stats.map(|s| s.bytes),
        "frames": stats.map(|s| s.frames),
        "skipped": stats.map(|s| skipped(&s.skipped)),
        "keyFrameRequests": stats.map(|s| s.key_frame_requests),
        "nacks": stats.map(|s| s.nacks),
        "retransmissions": stats.map(|s| s.retransmissions),
        "loss": stats.and_then(|s| s.loss),
        "estimate": stats.and_then(|s| s.estimate),
        "path": stats.and_then(|s| s.path).map(path),
        "rttMs": stats.and_then(|s| s.rtt).map(|rtt| rtt.as_millis() as u64),
        "delaysMs": stats.and_then(|s| s.delays).map(delays),
    })
}

/// The rank of a stream among those of its codec; `None` if it does not run.
fn rendition(streams: &[StreamInfo], id: StreamId) -> Option<u8> {
    streams.iter().find(|info| info.id == id).map(|info| info.rendition)
}

fn path_row(viewer: &str, path: Option<PathInfo>) -> Option<(String, u64)> {
    let PathInfo { protocol, local, remote, .. } = path?;
    let [protocol, local, remote] = [protocol.as_str(), local.as_str(), remote.as_str()];
    Some((format!("{{{viewer},protocol=\"{protocol}\",local=\"{local}\",remote=\"{remote}\"}}"), 1))
}

fn path(path: PathInfo) -> Value {
    let PathInfo { protocol, local, remote, .. } = path;
    json!({ "protocol": protocol.as_str(), "local": local.as_str(), "remote": remote.as_str() })
}

/// In ms, with one decimal.
fn delays(delays: Delays) -> Value {
    let ms = |delay: Duration| (delay.as_secs_f64() * 1e4).round() / 10.0;
    json!({ "capture": ms(delays.capture), "encoding": delays.encoding.map(ms), "queue": ms(delays.queue) })
}

fn skipped(skipped: &Skipped) -> Value {
    json!({ "joining": skipped.joining, "network": skipped.network, "socket": skipped.socket })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::tests::{OFFER, World};
    use crate::media::{AUDIO_OPUS, Codec, Format, VIDEO_H264_SMALL, VideoFormat};
    use crate::rtc::CandidateType;

    fn status() -> Status {
        let mut world = World::new(4, true);
        world.offer("bob|2", OFFER);
        world.connect("bob|2");
        let (viewer, _) = world.core.viewers().next().expect("bob");
        let one = Skipped { joining: 1, network: 2, socket: 3 };
        let delays = Delays {
            capture: Duration::from_micros(12_340),
            encoding: Some(Duration::from_micros(8_660)),
            queue: Duration::from_micros(50),
        };
        let path = Some(PathInfo::udp(CandidateType::Host, CandidateType::ServerReflexive));
        let stats =
            SessionStats { frames: 90, skipped: one, delays: Some(delays), path, ..SessionStats::default() };
        Status {
            viewers: vec![(viewer, Some(stats))],
            streams: vec![],
            source: None,
            dropped: 4,
            skipped: Skipped { joining: 10, network: 20, socket: 30 },
            panics: 0,
            encoder: "x264enc".into(),
            bitrate: 1_000_000,
            quality: None,
            celsius: Some(61.4),
            #[cfg(feature = "talk")]
            talk: None,
            #[cfg(feature = "gst")]
            board: "generic".into(),
        }
    }

    #[test]
    fn the_json_has_skipped_frames_by_reason_in_all_and_of_each_viewer() {
        let json = status().to_json();
        assert_eq!(json["skipped"], json!({ "joining": 10, "network": 20, "socket": 30 }));
        assert_eq!(json["sessions"][0]["skipped"], json!({ "joining": 1, "network": 2, "socket": 3 }));
        assert_eq!(
            json["sessions"][0]["delaysMs"],
            json!({ "capture": 12.3, "encoding": 8.7, "queue": 0.1 })
        );
        let path = json!({ "protocol": "udp", "local": "host", "remote": "srflx" });
        assert_eq!(json["sessions"][0]["path"], path);
        assert_eq!((&json["sessions"][0]["frames"], &json["dropped"]), (&json!(90), &json!(4)));
    }

    #[test]
    fn the_json_has_each_stream_with_its_rendition() {
        let format = VideoFormat { width: 640, height: 360, fps: 15, profile_level_id: None };
        let mut small = StreamInfo::new(VIDEO_H264_SMALL, Codec::H264).with_format(Format::Video(format));
        small.rendition = 1;
        let audio = StreamInfo::new(AUDIO_OPUS, Codec::Opus);
        let json = Status { streams: vec![small, audio], ..status() }.to_json();
        let (h264, opus) = (Codec::H264.name(), Codec::Opus.name());
        let small = json!({ "id": 4, "codec": h264, "rendition": 1, "width": 640, "height": 360, "fps": 15 });
        let audio =
            json!({ "id": 2, "codec": opus, "rendition": 0, "width": null, "height": null, "fps": null });
        assert_eq!(json["streams"], json!([small, audio]));
        assert_eq!(json["celsius"], json!(61.4_f32));
    }

    #[test]
    fn metrics_have_skipped_frames_by_reason() {
        let response = status().metrics().into_response();
        let text = String::from_utf8(response.body.bytes().expect("whole").to_vec()).expect("text");
        for line in [
            "symple_camera_viewers 1",
            "symple_camera_dropped_frames_total 4",
            "symple_camera_skipped_frames_total{reason=\"joining\"} 10",
            "symple_camera_skipped_frames_total{reason=\"network\"} 20",
            "symple_camera_skipped_frames_total{reason=\"socket\"} 30",
            "symple_camera_viewer_frames_total{viewer=\"1\"} 90",
            "symple_camera_viewer_skipped_frames_total{viewer=\"1\",reason=\"network\"} 2",
            "symple_camera_viewer_delay_milliseconds{viewer=\"1\",part=\"capture\"} 12",
            "symple_camera_viewer_delay_milliseconds{viewer=\"1\",part=\"encoding\"} 8",
            "# TYPE symple_camera_viewer_estimate_bits gauge",
            "symple_camera_viewer_path{viewer=\"1\",protocol=\"udp\",local=\"host\",remote=\"srflx\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line:?} in:\n{text}");
        }
        assert!(!text.contains("viewer_estimate_bits{"), "what isn't known is left out");
    }
}
