//! Changing settings while the camera runs, without ending calls.

use super::core::{self, Input};
use super::shared::Shared;
use super::sources::Epoch;
use super::{Camera, CameraError, CameraSource, Config, Signalling, open_in_place_of};
use crate::calling::ANSWERS;
use crate::media::source::Command;
use crate::media::{Codec, StreamInfo};
use crate::net::lock;

impl Camera {
    /// Changes settings while the camera runs, without ending calls. These take effect: `source`, `vp8`, `bitrate`,
    /// `policy`, `linger`, `answer`, `max_viewers` (current viewers stay), `snapshot_every`, the `ice_servers` of the own
    /// server's page, and the token: that of an own server that already has one (connected peers stay), and that for a
    /// server elsewhere at the next connection.
    ///
    /// A new `source` is checked before anything changes, which may take seconds and blocks, like [`Camera::new`]. Then
    /// the old source is closed, and the new one continues the same calls from a key frame. Controls of a V4L2 camera
    /// and temperature limits remain those of the first source.
    ///
    /// Errors: a setting that needs a restart, or a source that does not work. In both cases nothing changes.
    /// [`Config::update`] takes only what may change.
    ///
    /// ```no_run
    /// # fn f(camera: symple::camera::Camera) -> Result<(), symple::camera::CameraError> {
    /// camera.reconfigure(|config| {
    ///     config.max_viewers = 4;
    ///     config.bitrate.max = 1_000_000;
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconfigure(&self, change: impl FnOnce(&mut Config)) -> Result<(), CameraError> {
        let shared = &self.shared;
        // One at a time, to its end; who reads the settings meanwhile does not wait for a source to open.
        let _turn = lock(&shared.changing);
        let config = lock(&shared.config).clone();
        let mut new = config.clone();
        change(&mut new);
        keep_own_data(&config, &mut new);
        #[cfg(feature = "talk")]
        super::echo::connect(&mut new, shared.echo.as_ref());
        let fixed = fixed(&config, &new);
        if !fixed.is_empty() {
            let words = format!("cannot change {} while the camera runs; restart it", fixed.join(", "));
            return Err(CameraError::Setting { message: words });
        }
        new.bitrate.check_range()?;
        let next = match is_same(&config.source, &new.source) && config.vp8 == new.vp8 {
            true => None,
            false => Some(open_in_place_of(&config.source, &new.source)?),
        };
        match &new.signalling {
            Signalling::Serve(serve) => {
                if let Some(rules) = &shared.rules {
                    rules.change(&new, serve);
                }
            }
            Signalling::Connect(connect) => shared.client.set_token(connect.token.clone()),
            Signalling::Within(_) => {}
        }
        let settings = core::LiveSettings {
            bitrate: new.bitrate.clone(),
            policy: new.policy.clone(),
            linger: new.linger,
            max_viewers: new.max_viewers,
            answer: new.answer,
            snapshot_every: new.snapshot_every,
        };
        if new.answer != config.answer {
            shared.publish(ANSWERS, new.answer.presence());
        }
        *lock(&shared.config) = new;
        shared.input(Input::Settings(settings));
        if let Some(next) = next {
            let (leaving, _passed_over) = {
                let mut sources = lock(&shared.sources);
                (sources.current.clone(), sources.next.replace(next))
            };
            leaving.producer().command(Command::Want(Default::default()));
        }
        shared.inbox.changed.notify();
        Ok(())
    }
}

impl Config {
    /// Takes those settings of another configuration that [`Camera::reconfigure`] can change. Returns the names of the
    /// others that differ: they need a restart.
    ///
    /// ```no_run
    /// # fn f(camera: symple::Camera, new: symple::camera::Config) -> Result<(), symple::camera::CameraError> {
    /// let mut later = Vec::new();
    /// camera.reconfigure(|config| later = config.update(new))?;
    /// println!("needs a restart: {}", later.join(", "));
    /// # Ok(())
    /// # }
    /// ```
    pub fn update(&mut self, mut new: Config) -> Vec<&'static str> {
        keep_own_data(self, &mut new);
        let fixed = fixed(self, &new);
        if !fixed.contains(&"source") {
            (self.source, self.vp8) = (new.source, new.vp8);
        }
        (self.bitrate, self.policy) = (new.bitrate, new.policy);
        (self.linger, self.answer) = (new.linger, new.answer);
        (self.max_viewers, self.snapshot_every) = (new.max_viewers, new.snapshot_every);
        self.ice_servers = new.ice_servers;
        match (&mut self.signalling, new.signalling) {
            (Signalling::Serve(old), Signalling::Serve(new))
                if old.token.is_some() == new.token.is_some() =>
            {
                old.token = new.token;
            }
            (Signalling::Connect(old), Signalling::Connect(new)) => old.token = new.token,
            _ => {}
        }
        fixed
    }
}

/// Keeps the presence data that the camera added to the program's.
fn keep_own_data(old: &Config, new: &mut Config) {
    for member in ["controls", "talk"] {
        if let Some(value) = old.data.get(member) {
            new.data.entry(member).or_insert_with(|| value.clone());
        }
    }
}

impl Shared {
    /// The old source has closed: switches to its replacement.
    pub(super) fn replace_source(&self) {
        let vp8 = lock(&self.config).vp8;
        let (next, _gone) = {
            let mut sources = lock(&self.sources);
            let Some(next) = sources.next.take() else { return };
            (next.clone(), std::mem::replace(&mut sources.current, next))
        };
        Epoch::listen(&self.inbox, &next);
        let producer = next.producer();
        let (streams, live) = (offered(producer.streams(), vp8), producer.is_live());
        self.inbox.forget();
        self.input(Input::Replaced { streams, live });
    }
}

/// The streams to offer.
pub(super) fn offered(mut streams: Vec<StreamInfo>, vp8: bool) -> Vec<StreamInfo> {
    let has_h264 = streams.iter().any(|info| info.codec == Codec::H264);
    streams.retain(|info| vp8 || !has_h264 || info.codec != Codec::Vp8);
    streams
}

fn is_same(a: &CameraSource, b: &CameraSource) -> bool {
    match (a, b) {
        (CameraSource::Source(a), CameraSource::Source(b)) => a.is_same(b),
        #[cfg(feature = "gst")]
        (CameraSource::Capture(a), CameraSource::Capture(b)) => a == b,
        #[cfg(feature = "relay")]
        (CameraSource::Published(a), CameraSource::Published(b)) => a == b,
        #[cfg(any(feature = "gst", feature = "relay"))]
        _ => false,
    }
}

/// Settings that differ but cannot change at runtime.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let rest = |config: &Config| {
        [
            ("user", config.user.clone()),
            ("name", format!("{:?}", config.name)),
            ("data", format!("{:?}", config.data)),
            ("room", config.room.clone()),
            ("controls", format!("{:?}", config.controls)),
            #[cfg(feature = "relay")]
            ("source", published(config)),
            #[cfg(feature = "talk")]
            ("talk", format!("{:?}", config.talk)),
            ("adapt", config.adapt.to_string()),
            ("max_unconnected", config.max_unconnected.to_string()),
            ("offer_rate", format!("{:?}", config.offer_rate)),
            ("audio_packet", format!("{:?}", config.audio_packet)),
            ("udp_port", format!("{:?}", config.udp_port)),
            ("advertise", format!("{:?}", config.advertise)),
        ]
    };
    let differing = rest(old).into_iter().zip(rest(new)).filter(|(a, b)| a.1 != b.1).map(|(a, _)| a.0);
    differing.chain(place(&old.signalling, &new.signalling)).collect()
}

/// How callers publish, if they do.
#[cfg(feature = "relay")]
fn published(config: &Config) -> String {
    match &config.source {
        CameraSource::Published(publishing) => format!("{publishing:?}"),
        _ => String::new(),
    }
}

/// Parts of the signalling that differ but cannot change at runtime.
fn place(old: &Signalling, new: &Signalling) -> Vec<&'static str> {
    let those = |parts: &[(&'static str, bool)]| {
        parts.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect()
    };
    match (old, new) {
        (Signalling::Serve(old), Signalling::Serve(new)) => {
            let rules = |serve: &super::Serve| {
                let limits = (serve.max_per_address, serve.max_unauthenticated_per_address);
                let lists = (&serve.origins, &serve.trusted_proxies, &serve.exempt, &serve.reserved);
                format!("{lists:?} {limits:?}")
            };
            let asks = old.token.is_some() == new.token.is_some();
            #[cfg(feature = "tls")]
            let tls = match (&old.tls, &new.tls) {
                (Some(old), Some(new)) => old.is_same(new),
                (old, new) => old.is_some() == new.is_some(),
            };
            #[cfg(not(feature = "tls"))]
            let tls = true;
            those(&[
                ("listen", old.listen != new.listen),
                ("whether there is a token", !asks),
                ("admit", !old.admit.is_same(&new.admit)),
                ("routes", !old.routes.is_same(&new.routes)),
                ("base_path", old.base_path != new.base_path),
                ("tls", !tls),
                ("the rules of its server", rules(old) != rules(new)),
            ])
        }
        (Signalling::Connect(old), Signalling::Connect(new)) => those(&[
            ("connect", old.url != new.url),
            #[cfg(feature = "tls")]
            ("roots", old.roots != new.roots),
        ]),
        (Signalling::Within(old), Signalling::Within(new)) => those(&[("the server", !old.is_same(new))]),
        _ => vec!["signalling"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;
    use crate::camera::{Admit, Connect, Serve};
    use crate::media::source::Source;
    use crate::net::ServerConfig;
    use crate::net::http::{Method, Response, Routes};
    use crate::proto::Token;

    /// What is refused of a change.
    fn refused(signalling: &Signalling, change: impl FnOnce(&mut Config)) -> Vec<&'static str> {
        let (source, _feed) = Source::push(Codec::H264);
        let old = Config { signalling: signalling.clone(), ..Config::new(source) };
        let mut new = old.clone();
        change(&mut new);
        fixed(&old, &new)
    }

    fn serve(config: &mut Config) -> &mut Serve {
        match &mut config.signalling {
            Signalling::Serve(serve) => serve,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_applied_is_refused() {
        let admit = Admit::application(|_| {});
        let routes = Routes::new().route(Method::Get, "/x", |_| async { Response::text(200, "x") });
        let token = Some(Token::new("s3cret"));
        let own = Signalling::Serve(Serve { admit, routes, token, ..Serve::default() });
        assert_eq!(refused(&own, |_| {}), [""; 0]);
        assert_eq!(refused(&own, |c| serve(c).token = Some(Token::new("other"))), [""; 0]);
        assert_eq!(refused(&own, |c| serve(c).admit = Admit::Token), ["admit"]);
        assert_eq!(refused(&own, |c| serve(c).admit = Admit::application(|_| {})), ["admit"]);
        assert_eq!(refused(&own, |c| serve(c).routes = Routes::new()), ["routes"]);
        assert_eq!(refused(&own, |c| serve(c).base_path = "/cam1/".into()), ["base_path"]);
        // A camera that asked the program for each newcomer would have been open to everybody.
        let asks = Signalling::Serve(Serve { admit: Admit::application(|_| {}), ..Serve::default() });
        assert_eq!(refused(&asks, |c| serve(c).admit = Admit::Token), ["admit"]);
        let server = || Server::bind(ServerConfig::listen([])).expect("no port is needed");
        let within = Signalling::Within(server());
        assert_eq!(refused(&within, |_| {}), [""; 0]);
        let other = refused(&within, |c| c.signalling = Signalling::Within(server()));
        assert_eq!(other, ["the server"]);
        let elsewhere = Signalling::Connect(Connect::new("wss://a.example"));
        let moved =
            refused(&elsewhere, |c| c.signalling = Signalling::Connect(Connect::new("wss://b.example")));
        assert_eq!(moved, ["connect"]);
        #[cfg(feature = "tls")]
        {
            let mut trusts = Connect::new("wss://a.example");
            trusts.roots = crate::net::Roots::Pem(vec![]);
            assert_eq!(refused(&elsewhere, |c| c.signalling = Signalling::Connect(trusts)), ["roots"]);
        }
    }
}
