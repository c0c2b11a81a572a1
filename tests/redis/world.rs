//! A redis-server for the test, instances that use it, and clients.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use symple::client::{Config, Event};
use symple::net::ServerConfig;
use symple::net::redis::{RedisConfig, RedisUrl};
use symple::proto::{Address, Token};
use symple::{Client, Server};

/// Far longer than anything here takes; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub port: u16,
    scheme: String,
    args: Vec<String>,
    redis: Option<Child>,
    password: Option<String>,
    pub servers: Vec<Instance>,
    dir: std::path::PathBuf,
}

/// One server and its driver.
pub(crate) struct Instance {
    pub server: Server,
    pub url: String,
    stop: Option<smol::channel::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Instance {
    pub(crate) fn start(config: ServerConfig) -> Instance {
        let server = Server::bind(config).expect("a free port");
        let url = format!("ws://{}", server.addresses()[0]);
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        let run = server.run();
        let thread = std::thread::spawn(move || {
            let killed = async { _ = stopped.recv().await };
            smol::block_on(smol::future::or(run, killed));
        });
        Instance { server, url, stop: Some(stop), thread: Some(thread) }
    }

    /// Drops its driver, and with it all sockets, without a close.
    pub(crate) fn kill(mut self) {
        self.stop.take();
        self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop.take();
        self.thread.take().map(JoinHandle::join);
    }
}

impl World {
    pub(crate) fn start(instances: usize) -> Option<World> {
        World::with(instances, |_| {})
    }

    /// Instances with settings changed by `adjust`. `None`, and SKIPPED, without a redis-server.
    pub(crate) fn with(instances: usize, adjust: impl Fn(&mut ServerConfig)) -> Option<World> {
        let mut world = World::bare("redis://", &[])?;
        for _ in 0..instances {
            let mut config = ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")]);
            config.redis = Some(RedisConfig::new(world.url()));
            config.hub.rate = 1e6;
            config.hub.burst = 1e6;
            adjust(&mut config);
            world.servers.push(Instance::start(config));
        }
        wait_for("all are connected", || world.servers.iter().all(|s| s.server.redis_is_up() == Some(true)));
        Some(world)
    }

    /// A Redis that requires this password, without instances; its URLs use database 3.
    pub(crate) fn secured(password: &str) -> Option<World> {
        let mut world = World::bare(&format!("redis://:{password}@"), &["--requirepass", password])?;
        world.password = Some(password.into());
        Some(world)
    }

    /// A Redis that only speaks TLS, and its certificate.
    #[cfg(feature = "tls")]
    pub(crate) fn encrypted() -> Option<(World, Vec<u8>)> {
        let dir = std::env::temp_dir().join(format!("symple-redis-tls-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder of our own");
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.join(name).display().to_string());
        let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=redis \
            -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
        let mut made = Command::new("openssl");
        made.args(words.split_whitespace()).args(["-out", &cert, "-keyout", &key]);
        if !made.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            println!("SKIPPED: there is no openssl to make a certificate");
            return None;
        }
        let args = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-auth-clients", "no"];
        let world = World::bare("rediss://", &args)?;
        let cert = std::fs::read(cert).expect("just made");
        _ = std::fs::remove_dir_all(dir);
        Some((world, cert))
    }

    /// `scheme` is the prefix of its URLs.
    pub(crate) fn bare(scheme: &str, args: &[&str]) -> Option<World> {
        let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        if found.is_err() {
            println!("SKIPPED: there is no redis-server; `apt-get install redis-server` brings it");
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let dir = std::env::temp_dir().join(format!("symple-redis-{}-{}", std::process::id(), free.port()));
        std::fs::create_dir_all(&dir).expect("a folder of our own");
        let mut world = World {
            port: free.port(),
            scheme: scheme.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            redis: None,
            password: None,
            servers: Vec::new(),
            dir,
        };
        world.start_redis();
        Some(world)
    }

    pub(crate) fn url(&self) -> RedisUrl {
        let db = if self.password.is_some() { "/3" } else { "" };
        format!("{}127.0.0.1:{}{db}", self.scheme, self.port).parse().expect("a good address")
    }

    pub(crate) fn start_redis(&mut self) {
        let mut command = Command::new("redis-server");
        let port = self.port.to_string();
        if self.scheme.starts_with("rediss") {
            command.args(["--port", "0", "--tls-port", &port]);
        } else {
            command.args(["--port", &port]);
        }
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]).args(&self.args);
        command.arg("--dir").arg(&self.dir).stdout(Stdio::null()).stderr(Stdio::null());
        self.redis = Some(command.spawn().expect("it was found"));
        wait_for("Redis listens", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// A sentinel that monitors this Redis under a name.
    pub(crate) fn sentinel(&self, name: &str) -> World {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let dir = self.dir.join("sentinel");
        std::fs::create_dir_all(&dir).expect("a folder of our own");
        let (port, file) = (free.port(), dir.join("sentinel.conf"));
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {name} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 3000\n",
            dir.display(),
            self.port
        );
        std::fs::write(&file, config).expect("a folder of our own");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
        let redis = Some(command.spawn().expect("it was found"));
        wait_for("the sentinel listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        let (args, servers) = (Vec::new(), Vec::new());
        World { port, scheme: "redis://".into(), args, redis, password: None, servers, dir }
    }

    pub(crate) fn kill_redis(&mut self) {
        if let Some(mut redis) = self.redis.take() {
            _ = redis.kill();
            _ = redis.wait();
        }
    }

    /// Sends it a signal, by the name that `kill` uses.
    pub(crate) fn signal_redis(&self, name: &str) {
        let id = self.redis.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().expect("kill is there").success());
    }

    /// The output of redis-cli.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]);
        if let Some(password) = &self.password {
            command.args(["--no-auth-warning", "-a", password]);
        }
        let out = command.args(args).output().expect("it comes with redis-server");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Returns once each instance has sent a heartbeat. Redis delivers in one order to all, so whatever is published
    /// from then on reaches the other instances after it.
    pub(crate) fn await_heartbeats(&self) {
        let mut redis = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        redis.set_read_timeout(Some(PATIENCE)).expect("not zero");
        redis.write_all(b"SUBSCRIBE symple:cluster:0:all\r\n").expect("it reads");
        let mut instances = BTreeSet::new();
        for line in BufReader::new(redis).lines() {
            let line = line.expect("a heartbeat each second");
            // The first line of an envelope.
            let Ok(head) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            if head["k"] == "alive" {
                instances.insert(head["i"].to_string());
            }
            if instances.len() == self.servers.len() {
                return;
            }
        }
        panic!("Redis closed the connection");
    }

    /// A client of an instance, online.
    pub(crate) fn peer(&self, at: usize, user: &str, rooms: &[&str]) -> Peer {
        let peer = Peer::start(&self.servers[at].url, config(user, rooms, None));
        peer.wait("welcome", |e| matches!(e, Event::Online { .. }));
        peer
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.servers.clear();
        self.kill_redis();
        _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn config(user: &str, rooms: &[&str], token: Option<&str>) -> Config {
    Config {
        rooms: rooms.iter().map(|room| (*room).to_owned()).collect(),
        token: token.map(Token::new),
        backoff_max: Duration::from_secs(1),
        rate: 1_000_000,
        burst: 1_000_000,
        ..Config::new(user)
    }
}

pub(crate) struct Peer {
    pub client: Client,
    heard: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    pub(crate) fn start(url: &str, config: Config) -> Peer {
        let client = Client::new(url, config).expect("a good address");
        let (tell, heard) = channel();
        client.on(move |event| _ = tell.send(event));
        let run = client.run();
        let thread = Some(std::thread::spawn(move || smol::block_on(run)));
        Peer { client, heard, thread }
    }

    pub(crate) fn address(&self) -> String {
        self.client.peer().map(|peer| Address::new(&peer.user, &peer.id).to_string()).unwrap_or_default()
    }

    pub(crate) fn wait(&self, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let event = self.heard.recv_timeout(left).unwrap_or_else(|_| panic!("{what} was not heard"));
            if is(&event) {
                return event;
            }
        }
    }

    /// The data of the next `count` messages.
    pub(crate) fn hear(&self, count: usize) -> Vec<String> {
        let mut got = Vec::new();
        while got.len() < count {
            let event =
                self.heard.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("only {got:?} were received"));
            if let Event::Message { message } = event {
                got.push(message.data().unwrap_or_default());
            }
        }
        got
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.client.close();
        self.thread.take().map(JoinHandle::join);
    }
}

/// Waits until a condition is true.
pub(crate) fn wait_for(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
