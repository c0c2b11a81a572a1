//! The lines that `symple camera` prints about what happens.

use symple::camera::Event;
use symple::media::{StreamId, StreamInfo, VIDEO_H264_SMALL};

/// The line for an event; `None` for one that is not worth a line.
pub(super) fn words_of(event: &Event) -> Option<String> {
    let words = match event {
        Event::Calling { id, peer: address } => format!("call {id}: with {}", address.user()),
        Event::ViewerJoined { viewer } => {
            let doing = match viewer.video {
                Some(codec) => format!("is watching ({})", codec.name()),
                None if viewer.audio => "is listening".into(),
                // One that only publishes or talks.
                None => "is connected".into(),
            };
            format!("call {}: {} {doing}", viewer.id, viewer.address.user())
        }
        Event::ViewerLeft { viewer, end: reason } => format!("call {}: ended ({reason})", viewer.id),
        Event::CallFailed { id, end: reason, .. } => format!("call {id}: failed ({reason})"),
        Event::Streaming { streams } if streams.is_empty() => "producing nothing".into(),
        Event::Streaming { streams } => {
            let name = |info: &StreamInfo| format!("{}{}", small(info.id), info.codec.name());
            format!("producing {}", streams.iter().map(name).collect::<Vec<_>>().join(", "))
        }
        // A source whose frames come from elsewhere does not know yet.
        Event::Format { stream, width, height, fps: 0 } => {
            format!("{}video: {width} x {height}", small(*stream))
        }
        Event::Format { stream, width, height, fps } => {
            format!("{}video: {width} x {height} at {fps} fps", small(*stream))
        }
        Event::Capture { info } => format!("camera: {info}"),
        Event::ControlSet { name, result: Ok(control), .. } => format!("{name} is {}", control.value_text()),
        Event::ControlSet { name, result: Err(why), .. } => format!("cannot set {name}: {why}"),
        // Several per minute for each viewer on a bad network; `/api/status` has the latest.
        Event::Bitrate { bps, .. } => {
            log::debug!("encoder bitrate: {} kbit/s", bps / 1000);
            return None;
        }
        Event::Quality { stream, percent, fps, why } => {
            let small = small(*stream);
            format!("{small}video: {percent} % of the resolution, at most {fps} fps: {why}")
        }
        Event::Share { id, share, reason } => format!("call {id}: gets {} ({reason})", share.code()),
        Event::Board { message: words } => format!("board: {words}"),
        Event::Source { status: source } => format!("source: {} ({})", source.state.as_str(), source.code),
        Event::Media { error: trouble } => format!("source: {trouble}"),
        #[cfg(feature = "relay")]
        Event::PublishStarted { id, peer } => format!("call {id}: {} publishes", peer.user()),
        #[cfg(feature = "relay")]
        Event::PublishEnded { id } => format!("call {id}: publishes no more"),
        #[cfg(feature = "talk")]
        Event::TalkStarted { id, peer } => format!("call {id}: {} talks", peer.user()),
        #[cfg(feature = "talk")]
        Event::TalkEnded { id } => format!("call {id}: has talked"),
        #[cfg(feature = "talk")]
        Event::Speaker { error: Some(error) } => format!("speaker: {error}"),
        #[cfg(feature = "talk")]
        Event::Speaker { error: None } => "speaker: works".into(),
        Event::SourceEnded => "the source ended".into(),
        Event::Online { .. } => "online".into(),
        Event::Offline { reason } => format!("offline: {reason}"),
        Event::Lost { count } => format!("{count} events were lost"),
        _ => return None,
    };
    Some(words.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect())
}

/// How words about a stream begin.
fn small(stream: StreamId) -> &'static str {
    if stream == VIDEO_H264_SMALL { "small " } else { "" }
}
