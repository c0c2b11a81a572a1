//! Talk-back: passes the audio of the viewer who holds the floor to the speaker, and publishes the state in the
//! presence.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::{CameraCore, Output};
use crate::call::CallId;
use crate::camera::controls::Reply;
use crate::camera::event::{Event, ViewerId};
use crate::camera::floor::Floor;
use crate::camera::talk::{self, Action, Commands};
use crate::camera::talk_settings::Duplex;
use crate::media::error::MediaError;
use crate::media::{Frame, Kind};
use crate::proto::{Address, Message};
use crate::rtc::Directions;

/// How long the speaker stays open after somebody has talked, so that it need not reopen for each sentence.
const LINGER: Duration = Duration::from_secs(10);

/// An order for the speaker.
#[derive(Debug)]
pub(crate) enum Order {
    /// Opens it.
    Open,
    /// Plays a frame of audio.
    Play(Frame),
    /// Closes it.
    Close,
}

/// An event of the speaker.
#[derive(Debug)]
pub(crate) enum News {
    /// Audio reaches the output.
    Playing,
    /// It does not work. If `is_over`, it is not opened again before somebody else talks.
    Failed { error: MediaError, is_over: bool },
}

/// The state of talk-back in the core.
pub(crate) struct Talking {
    commands: Commands,
    duplex: Duplex,
    floor: Floor,
    /// The viewer who talks, as last reported.
    talker: Option<(CallId, Address)>,
    is_open: bool,
    close_at: Option<Instant>,
    problem: Option<MediaError>,
    /// The number of frames played.
    heard: u64,
}

/// The status of talk-back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TalkStatus {
    /// Whether viewers hear the camera while they talk.
    pub duplex: Duplex,
    /// The viewer who is talking.
    pub talker: Option<Address>,
    /// Why nothing is heard, if the output does not work.
    pub problem: Option<MediaError>,
    /// The number of audio frames passed to the output.
    pub frames: u64,
}

impl TalkStatus {
    /// Returns the status for `/api/status`.
    pub(in crate::camera) fn to_json(&self) -> Json {
        json!({
            "mode": self.duplex.code(),
            "by": self.talker.as_ref().map(Address::user),
            "frames": self.frames,
            "problem": self.problem.as_ref().map(|error| {
                json!({ "code": error.code(), "message": error.to_string() })
            }),
        })
    }
}

impl Talking {
    pub(in crate::camera) fn new(commands: Commands, duplex: Duplex) -> Talking {
        Talking {
            commands,
            duplex,
            floor: Floor::default(),
            talker: None,
            is_open: false,
            close_at: None,
            problem: None,
            heard: 0,
        }
    }

    /// Returns the status for the presence.
    pub(in crate::camera) fn presence(&self) -> Json {
        let mut data = json!({ "mode": self.duplex.code() });
        if let Some((_, peer)) = &self.talker {
            data["by"] = peer.as_str().into();
        }
        if let Some(error) = &self.problem {
            data["problem"] = talk::problem(error);
        }
        data
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.floor.poll_timeout().into_iter().chain(self.close_at).min()
    }
}

impl CameraCore {
    /// Whether a command belongs to talk-back.
    pub(crate) fn is_talk(&self, command: &Message) -> bool {
        self.talking.is_some() && Commands::is_concerned(command)
    }

    /// Returns the status of talk-back; `None` if nobody may talk.
    pub(crate) fn talk_status(&self) -> Option<TalkStatus> {
        let talking = self.talking.as_ref()?;
        Some(TalkStatus {
            duplex: talking.duplex,
            talker: talking.talker.as_ref().map(|(_, peer)| peer.clone()),
            problem: talking.problem.clone(),
            frames: talking.heard,
        })
    }

    /// Lets a caller with the permission send audio.
    pub(super) fn grant_talk(&self, peer: &Address, directions: &mut Directions) {
        if self.talking.as_ref().is_some_and(|talking| talking.commands.allows(peer.user())) {
            directions.receive.insert(Kind::Audio);
        }
    }

    /// Handles a talk-back command. Returns the reply, if there is one.
    pub(super) fn talk_command(
        &mut self,
        command: &Message,
        host: Option<std::net::IpAddr>,
        now: Instant,
    ) -> Option<Reply> {
        let talking = self.talking.as_mut()?;
        if !talking.commands.admits(command, host, now) {
            return None;
        }
        let action = match talking.commands.read(command) {
            Ok(action) => action,
            Err(reply) => return Some(reply),
        };
        let party = self.calling.parties().find(|party| Some(party.peer) == command.from());
        let Some(call) = party.map(|party| party.call) else { return Some(talk::no_call()) };
        let is_taken = match action {
            Action::Start => talking.floor.start(call, now),
            Action::Stop => {
                talking.floor.stop(call);
                true
            }
            Action::Read => true,
        };
        let reply = if is_taken { talk::taken(talking.duplex) } else { talk::busy() };
        self.settle_talk(now);
        Some(reply)
    }

    /// Handles a viewer's audio.
    pub(super) fn hear(&mut self, call: CallId, frame: Frame, now: Instant) {
        let Some(talking) = &mut self.talking else { return };
        if frame.codec.kind() != Kind::Audio || !talking.floor.hear(call, now) {
            return;
        }
        self.settle_talk(now);
        let Some(talking) = &mut self.talking else { return };
        if talking.is_open {
            talking.heard += 1;
            self.out.push_back(Output::Speaker(Order::Play(frame)));
        }
    }

    /// Handles the end of a call.
    pub(super) fn end_talk(&mut self, call: CallId, now: Instant) {
        let Some(talking) = &mut self.talking else { return };
        talking.floor.leave(call);
        self.settle_talk(now);
    }

    /// Silences a call again if its viewer is talking, since its session may be a new one.
    pub(super) fn silence_again(&mut self, call: CallId, now: Instant) {
        let Some(talking) = &self.talking else { return };
        if talking.duplex == Duplex::Half && talking.talker.as_ref().is_some_and(|(known, _)| *known == call)
        {
            self.calling.set_silent(call, true, now);
        }
    }

    pub(super) fn talk_timeout(&mut self, now: Instant) {
        let Some(talking) = &mut self.talking else { return };
        talking.floor.handle_timeout(now);
        self.settle_talk(now);
    }

    /// Handles an event of the speaker.
    pub(super) fn speaker_news(&mut self, news: News) {
        let Some(talking) = &mut self.talking else { return };
        let before = talking.problem.clone();
        match news {
            News::Playing => talking.problem = None,
            News::Failed { error, is_over } => {
                if is_over && std::mem::take(&mut talking.is_open) {
                    talking.close_at = None;
                    self.out.push_back(Output::Speaker(Order::Close));
                }
                talking.problem = Some(error);
            }
        }
        if before == talking.problem {
            return;
        }
        self.out.push_back(Output::Talk(talking.presence()));
        let error = talking.problem.clone();
        self.out.push_back(Output::Event(Event::Speaker { error }));
    }

    /// Ends talk-back because the camera ends.
    pub(super) fn stop_talking(&mut self) {
        let Some(talking) = &mut self.talking else { return };
        talking.close_at = None;
        if std::mem::take(&mut talking.is_open) {
            self.out.push_back(Output::Speaker(Order::Close));
        }
    }

    /// Applies the state of the floor.
    fn settle_talk(&mut self, now: Instant) {
        let Some(talking) = &mut self.talking else { return };
        let (before, holder) = (talking.talker.as_ref().map(|(call, _)| *call), talking.floor.holder());
        if before != holder {
            let party = holder.and_then(|call| self.calling.party(call));
            talking.talker = party.map(|party| (party.call, party.peer.clone()));
            if let Some(call) = before {
                self.out.push_back(Output::Event(Event::TalkEnded { id: ViewerId(call) }));
            }
            if let Some((call, peer)) = &talking.talker {
                let (id, peer) = (ViewerId(*call), peer.clone());
                self.out.push_back(Output::Event(Event::TalkStarted { id, peer }));
            }
            self.out.push_back(Output::Talk(talking.presence()));
            if talking.duplex == Duplex::Half {
                for (call, is_silent) in [(before, false), (holder, true)] {
                    if let Some(call) = call {
                        self.calling.set_silent(call, is_silent, now);
                    }
                }
            }
            talking.close_at = holder.is_none().then_some(now + LINGER).filter(|_| talking.is_open);
            if holder.is_some() && !std::mem::replace(&mut talking.is_open, true) {
                self.out.push_back(Output::Speaker(Order::Open));
            }
        }
        if talking.close_at.take_if(|at| *at <= now).is_some() {
            talking.is_open = false;
            self.out.push_back(Output::Speaker(Order::Close));
        }
    }
}
