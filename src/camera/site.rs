//! The camera's place on the network: its own server with page and API, or a client of a server elsewhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::permission;
use super::{CameraError, Config, Connect, Serve, Signalling, Snapshot, SnapshotError, Status};
use crate::calling::ANSWERS;
use crate::client;
use crate::media::sink::Outcome;
use crate::net::http::{Method, Request, Response, base_path};
use crate::net::site::{Guard, Site};
use crate::net::udp::Udp;
use crate::net::{ServerConfig, addresses, lock, outward_address};
use crate::proto::Token;
use crate::rtc::LocalCandidate;
use crate::server;
use crate::{Client, Server};
use futures_lite::future::Boxed;

/// Files that source, encoders and log keep open, and those that a restart opens; a pipeline has about twenty.
const OWN_FILES: usize = 128;

/// A camera's connection to signalling.
pub(super) struct Entrance {
    pub server: Option<Server>,
    /// The server belongs to the camera: it runs and ends with it.
    pub owned: bool,
    pub client: Client,
    /// The settings of its own server.
    pub rules: Option<Arc<Rules>>,
}

/// What the site shows of the camera: `None` before it is made, and after it was dropped.
pub(super) trait SiteData: Send + Sync {
    fn status(&self) -> Option<Status>;

    /// The newest picture; one of this age will do.
    fn snapshot(&self, age: Duration) -> Option<Boxed<Outcome>>;
}

/// Settings of a camera's own server that may change while it runs.
pub(super) struct Rules {
    token: Mutex<Option<Token>>,
    /// Who may watch.
    watchers: Mutex<Guard>,
    site: Mutex<Arc<Site>>,
    data: Arc<dyn SiteData>,
}

impl Rules {
    fn new(config: &Config, serve: &Serve, data: Arc<dyn SiteData>) -> Rules {
        Rules {
            token: Mutex::new(serve.token.clone()),
            watchers: Mutex::new(permission::watchers(serve)),
            site: Mutex::new(site(config, serve, &data)),
            data,
        }
    }

    /// Changes the token and the ICE servers.
    pub(super) fn change(&self, config: &Config, serve: &Serve) {
        lock(&self.token).clone_from(&serve.token);
        *lock(&self.watchers) = permission::watchers(serve);
        *lock(&self.site) = site(config, serve, &self.data);
    }

    /// The newest frame as JPEG, for those who may watch.
    async fn snapshot(self: Arc<Self>, request: Request) -> Response {
        let may = lock(&self.watchers).admits(&request);
        if !may {
            return Response::unauthorized(&request, "A token is required: Authorization: Bearer …\n");
        }
        match self.data.snapshot(may_be_old(request.query())) {
            // A page of another site cannot show it, whatever its visitors' browsers reach; those that may connect read
            // it by CORS.
            Some(snapshot) => {
                picture(snapshot.await).header("Cross-Origin-Resource-Policy", "same-origin").shared()
            }
            None => Response::text(503, ABOUT_TO_START),
        }
    }
}

/// The longest age that a snapshot may be asked for with.
const OLDEST: u64 = 3600;

/// How old a snapshot may be by the query `age=SECONDS`: whoever fills a gap takes what there is, which costs nothing.
fn may_be_old(query: Option<&str>) -> Duration {
    let mut ages = query.unwrap_or_default().split('&').filter_map(|part| part.strip_prefix("age="));
    let seconds: u64 = ages.next_back().and_then(|age| age.parse().ok()).unwrap_or(0);
    Duration::from_secs(seconds.min(OLDEST))
}

const ABOUT_TO_START: &str = "The camera is starting.\n";

/// Converts a snapshot to an HTTP response.
pub(super) fn picture(snapshot: Result<Snapshot, SnapshotError>) -> Response {
    match snapshot {
        Ok(snapshot) => {
            Response::new(200, "image/jpeg", snapshot.jpeg.to_vec()).header("Cache-Control", "no-store")
        }
        Err(error) => {
            let status = if error == SnapshotError::NoJpeg { 404 } else { 503 };
            Response::text(status, format!("{error}\n"))
        }
    }
}

/// Opens the server if it is the camera's own, and creates the client.
pub(super) fn open(config: &Config, data: Arc<dyn SiteData>) -> Result<Entrance, CameraError> {
    Ok(match &config.signalling {
        Signalling::Serve(serve) => {
            let rules = Arc::new(Rules::new(config, serve, data));
            let server = serve_here(config, serve, &rules)?;
            let client = server.peer(identity(config, None));
            Entrance { server: Some(server), owned: true, client, rules: Some(rules) }
        }
        Signalling::Within(server) => {
            if !server.reserves(&config.user) {
                let user = &config.user;
                log::warn!(
                    "{user:?} is not among the server's reserved names: anybody may take it, and calls with it"
                );
            }
            let client = server.peer(identity(config, None));
            Entrance { server: Some(server.clone()), owned: false, client, rules: None }
        }
        Signalling::Connect(connect) => {
            Entrance { server: None, owned: false, client: connect_to(config, connect)?, rules: None }
        }
    })
}

/// The static HTTP API of the camera's own server.
fn site(config: &Config, serve: &Serve, data: &Arc<dyn SiteData>) -> Arc<Site> {
    let guard = permission::watchers(serve);
    let show = |answer: fn(&Status) -> Response| {
        let data = data.clone();
        move || match data.status() {
            Some(status) => answer(&status),
            None => Response::text(503, ABOUT_TO_START),
        }
    };
    // Credentials of ICE servers are only for those who may watch.
    let site = Site::new(&config.ice_servers, Some(&config.room), serve.asks())
        .watchers(guard.clone())
        .numbers(guard)
        .open("/api/ready", show(|_| Response::json(r#"{"ready":true}"#.into())))
        .guarded("/api/status", show(|status| Response::json(status.to_json().to_string())))
        .guarded("/metrics", show(|status| status.metrics().into_response()));
    Arc::new(site)
}

fn connect_to(config: &Config, connect: &Connect) -> Result<Client, CameraError> {
    let client = Client::new(&connect.url, identity(config, connect.token.clone()))?;
    #[cfg(feature = "tls")]
    client.trust(connect.roots.clone());
    Ok(client)
}

fn identity(config: &Config, token: Option<Token>) -> client::Config {
    let mut data = config.data.clone();
    data.entry("peerType").or_insert_with(|| "camera".into());
    // Ours to say, whatever the program has put there.
    data.insert(ANSWERS.into(), config.answer.presence());
    data.retain(|name, value| name != ANSWERS || !value.is_null());
    if cfg!(feature = "channels") {
        // Ours to say, too.
        data.insert("channel".into(), true.into());
    }
    if matches!(config.signalling, Signalling::Serve(_)) {
        // The page is beside our snapshots.
        data.entry("still").or_insert_with(|| true.into());
    }
    client::Config {
        name: config.name.clone(),
        token,
        rooms: vec![config.room.clone()],
        data,
        ..client::Config::new(&config.user)
    }
}

fn serve_here(config: &Config, serve: &Serve, rules: &Arc<Rules>) -> Result<Server, CameraError> {
    let hub = server::Config {
        authenticate: serve.asks(),
        rooms: vec![config.room.clone()],
        // Viewers call whoever has this name.
        reserved: [&[config.user.clone()][..], &serve.reserved].concat(),
        // A board has little memory, and viewers send little.
        queue_limit: 1 << 20,
        memory_limit: 8 << 20,
        ..server::Config::default()
    };
    let server = ServerConfig {
        hub,
        listen: serve.listen.clone(),
        origins: Some(permission::origins(&serve.origins)),
        trusted_proxies: serve.trusted_proxies.clone(),
        max_per_address: serve.max_per_address,
        max_unauthenticated_per_address: serve.max_unauthenticated_per_address,
        exempt: serve.exempt.clone(),
        reserved_files: OWN_FILES,
        routes: serve.routes.clone().route(Method::Get, "/api/snapshot.jpg", {
            let rules = rules.clone();
            move |request| rules.clone().snapshot(request)
        }),
        base_path: serve.base_path.clone(),
        #[cfg(feature = "tls")]
        tls: serve.tls.clone(),
        ..ServerConfig::default()
    };
    let server = Server::bind(server.http({
        let rules = rules.clone();
        move |request| {
            let site = lock(&rules.site).clone();
            site.answer(request)
        }
    }))?;
    permission::decide_who_enters(&server, serve, {
        let rules = rules.clone();
        move || lock(&rules.token).clone()
    });
    Ok(server)
}

/// One UDP port for all viewers, on every address: ICE credentials protect it, and a browser on this machine reaches us
/// on whichever address it prefers.
pub(super) fn udp(config: &Config, tcp: Option<SocketAddr>) -> Result<Udp, CameraError> {
    let port = config.udp_port.or(tcp.map(|a| a.port())).unwrap_or(0);
    let bind = |port| Udp::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    match bind(port) {
        // Nobody asked for this number: the system chose the TCP port.
        Err(_) if config.udp_port.is_none() && chosen_by_system(config) => bind(0),
        bound => bound,
    }
    .map_err(|cause| CameraError::Udp { port, cause })
}

/// Determines the addresses at which viewers find the UDP port.
pub(super) struct Reachability {
    pub advertise: Option<SocketAddr>,
    /// The page is only on loopback.
    pub loopback: bool,
}

impl Reachability {
    /// The port on every current address of this machine.
    pub(super) fn candidates(&self, udp: &Udp) -> Vec<LocalCandidate> {
        let mut candidates = udp.local_candidates(self.advertise).unwrap_or_else(|e| {
            log::warn!("cannot list the network interfaces: {e}");
            Vec::new()
        });
        let loopback = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), udp.port());
        if self.loopback && candidates.iter().all(|c| c.base != loopback) {
            candidates.push(LocalCandidate { base: loopback, advertised: None });
        }
        candidates
    }
}

fn chosen_by_system(config: &Config) -> bool {
    matches!(&config.signalling, Signalling::Serve(serve) if serve.listen.iter().all(|a| a.port() == 0))
}

impl Config {
    /// The URLs at which people open the page of a camera with these settings, those for other machines last;
    /// [`Camera::urls`](super::Camera::urls) has those of a running camera. A port chosen by the system is not known in
    /// advance. Empty if the server is elsewhere.
    pub fn urls(&self) -> Vec<String> {
        let Signalling::Serve(serve) = &self.signalling else { return vec![] };
        let known = serve.listen.iter().filter(|address| address.port() != 0);
        #[cfg(feature = "tls")]
        let secure = serve.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let secure = false;
        page_urls(known, secure, &format!("{}/", base_path(&serve.base_path)))
    }
}

/// The URLs at which people open the page of a server.
pub(super) fn urls(server: &Server) -> Vec<String> {
    page_urls(server.addresses(), server.is_secure(), &server.page())
}

fn page_urls<'a>(listen: impl IntoIterator<Item = &'a SocketAddr>, secure: bool, page: &str) -> Vec<String> {
    let scheme = if secure { "https" } else { "http" };
    let mut urls = Vec::new();
    for address in listen {
        let hosts = if address.ip().is_unspecified() {
            let mut hosts = vec![Ipv4Addr::LOCALHOST.into()];
            hosts.extend(others_reach(address.ip()));
            hosts
        } else {
            vec![address.ip()]
        };
        for ip in hosts {
            let url = format!("{scheme}://{}{page}", SocketAddr::new(ip, address.port()));
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
    }
    urls
}

/// The addresses at which others reach a wildcard: the one with a route to the outside or, without one (a direct cable,
/// a network without a router), all of them.
fn others_reach(wildcard: IpAddr) -> Vec<IpAddr> {
    if let Some(ip) = outward_address() {
        return vec![ip];
    }
    let all = addresses::of_this_machine().unwrap_or_default();
    // The IPv6 wildcard includes IPv4.
    all.into_iter().filter(|ip| !ip.is_loopback() && (ip.is_ipv4() || wildcard.is_ipv6())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Camera;
    use crate::media::Codec;
    use crate::media::source::Source;

    fn config(signalling: Signalling) -> Config {
        let (source, _feed) = Source::push(Codec::H264);
        Config { signalling, ..Config::new(source) }
    }

    #[test]
    fn urls_lead_below_the_base_path() {
        for (base_path, path) in [("", "/"), ("/", "/"), ("cam1", "/cam1/"), ("/cam1/", "/cam1/")] {
            let listen = vec!["127.0.0.1:4501".parse().expect("literal")];
            let serve = Serve { listen, base_path: base_path.into(), ..Serve::default() };
            let settings = config(Signalling::Serve(serve.clone()));
            assert_eq!(settings.urls(), [format!("http://127.0.0.1:4501{path}")], "{base_path:?}");

            let listen = vec!["127.0.0.1:0".parse().expect("literal")];
            let camera = Camera::new(config(Signalling::Serve(Serve { listen: listen.clone(), ..serve })));
            let camera = camera.expect("it starts");
            let address = camera.server().expect("its own").addresses()[0];
            assert_eq!(camera.urls(), [format!("http://{address}{path}")], "{base_path:?}");

            let server = ServerConfig { listen, base_path: base_path.into(), ..ServerConfig::default() };
            let server = Server::bind(server).expect("it starts");
            let within = Camera::new(config(Signalling::Within(server.clone()))).expect("it starts");
            let address = server.addresses()[0];
            assert_eq!(within.urls(), [format!("http://{address}{path}")], "{base_path:?}");
        }
    }

    #[cfg(all(feature = "tls", feature = "program"))]
    #[test]
    fn urls_have_the_scheme_of_the_server_around_the_camera() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let pem = (made.cert.pem(), made.signing_key.serialize_pem());
        let tls = crate::net::ServerTls::from_pem(pem.0.as_bytes(), pem.1.as_bytes()).expect("they match");
        let listen = vec!["127.0.0.1:0".parse().expect("literal")];
        let server = ServerConfig { listen, tls: Some(tls), ..ServerConfig::default() };
        let server = Server::bind(server).expect("it starts");
        let camera = Camera::new(config(Signalling::Within(server.clone()))).expect("it starts");
        assert_eq!(camera.urls(), [format!("https://{}/", server.addresses()[0])]);
    }
}
