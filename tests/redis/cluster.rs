//! A Redis Cluster for the test: three masters, and a replica of the one at which instances meet.

use std::net::TcpListener;
use std::time::Duration;

use futures_lite::future::block_on;

use symple::client::Event;
use symple::net::ServerConfig;
use symple::net::redis::{Emitter, RedisConfig, RedisUrl, Session, Sessions};
use symple::proto::{Draft, MessageKind, Status};

use super::world::{Instance, Peer, World, config, wait_for};

const LAST_SLOTS: [u32; 3] = [5460, 10_922, 16_383];

struct Cluster {
    /// The masters in the order of their slots, and the replica.
    nodes: Vec<World>,
    /// The master with the slot of `symple:broadcast`.
    meeting: usize,
}

impl Cluster {
    /// `None`, and SKIPPED, without a redis-server.
    fn start() -> Option<Cluster> {
        let mut nodes = Vec::new();
        for _ in 0..4 {
            let bus = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
            let port = bus.port().to_string();
            let args =
                ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &port];
            let node = World::bare("redis://", &args)?;
            nodes.push((node, port));
        }
        let slot: u32 = nodes[0].0.cli(&["CLUSTER", "KEYSLOT", "symple:broadcast"]).parse().expect("a slot");
        let meeting = LAST_SLOTS.iter().position(|last| slot <= *last).expect("one of them");
        let mut first = 0;
        for (n, last) in LAST_SLOTS.iter().enumerate() {
            let range = ["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()];
            assert_eq!(nodes[n].0.cli(&range), "OK");
            assert_eq!(nodes[n].0.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]), "OK");
            first = last + 1;
        }
        let met = nodes[0].0.port.to_string();
        for (node, _) in &nodes[1..] {
            assert_eq!(node.cli(&["CLUSTER", "MEET", "127.0.0.1", &met, &nodes[0].1]), "OK");
        }
        let nodes: Vec<World> = nodes.into_iter().map(|(node, _)| node).collect();
        let is_whole = |node: &World| {
            let info = node.cli(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")
        };
        wait_for("a whole cluster", || nodes.iter().all(is_whole));
        let master = nodes[meeting].cli(&["CLUSTER", "MYID"]);
        assert_eq!(nodes[3].cli(&["CLUSTER", "REPLICATE", &master]), "OK");
        wait_for("a replica", || nodes[meeting].cli(&["INFO", "replication"]).contains("state=online"));
        let cluster = Cluster { nodes, meeting };
        wait_for("all know of the replica", || {
            cluster.nodes.iter().all(|node| node.cli(&["CLUSTER", "NODES"]).contains("slave"))
        });
        Some(cluster)
    }

    /// A URL with the nodes of these numbers.
    fn url(&self, by: &[usize]) -> RedisUrl {
        let hosts: Vec<_> = by.iter().map(|n| format!("127.0.0.1:{}", self.nodes[*n].port)).collect();
        format!("redis+cluster://{}", hosts.join(",")).parse().expect("a good address")
    }

    /// Two instances that authenticate by sessions, each configured with other nodes of the cluster.
    fn instances(&mut self) {
        let others: Vec<_> = (0..3).filter(|n| *n != self.meeting).collect();
        for by in [&others[..], &[self.meeting, others[0]]] {
            let mut config = ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")]);
            let mut redis = RedisConfig::new(self.url(by));
            redis.touch_interval = Duration::from_millis(200);
            redis.session_ttl = Some(Duration::from_secs(60));
            (config.redis, config.hub.authenticate) = (Some(redis), true);
            self.nodes[3].servers.push(Instance::start(config));
        }
        wait_for("both are connected", || self.are_up());
    }

    fn are_up(&self) -> bool {
        self.nodes[3].servers.iter().all(|s| s.server.redis_is_up() == Some(true))
    }

    /// A peer that is admitted by its session.
    fn peer(&self, at: usize, token: &str) -> Peer {
        let peer = Peer::start(&self.nodes[3].servers[at].url, config("x", &[], Some(token)));
        peer.wait("welcome", |e| matches!(e, Event::Online { .. }));
        peer
    }
}

fn say(data: &str) -> Draft {
    Draft::new(MessageKind::Message).to("team").data(data)
}

#[test]
fn a_cluster_behaves_like_one_redis() {
    let Some(mut cluster) = Cluster::start() else { return };
    let sessions = Sessions::new(cluster.url(&[0]));
    let tokens: Vec<String> = (0..60).map(|n| format!("t{n}")).collect();
    let minute = Some(Duration::from_secs(60));
    for token in &tokens {
        block_on(sessions.set(token, &Session::new(token).room("team"), minute)).expect("stored");
    }
    let stored = |n: usize| cluster.nodes[n].cli(&["DBSIZE"]).parse::<usize>().expect("a number");
    assert!(
        (0..3).all(|n| stored(n) > 0) && (0..3).map(stored).sum::<usize>() == 60,
        "each where it belongs"
    );

    cluster.instances();
    let peers: Vec<Peer> = tokens[..10].iter().enumerate().map(|(n, t)| cluster.peer(n % 2, t)).collect();
    wait_for("all know all", || peers.iter().all(|p| p.client.roster().len() == 9));
    let id = peers[0].client.send(say("hello").with("receipt", &true)).expect("online");
    let counted =
        |e: &Event| matches!(e, Event::Receipt { id: of, delivered: 9, status: Status::OK } if *of == id);
    peers[0].wait("a receipt", counted);
    let app = Emitter::new(cluster.url(&[1])).from("app|1");
    block_on(app.to("team").send("pushed")).expect("published");
    assert_eq!(peers[0].hear(1), ["pushed"]);
    for peer in &peers[1..] {
        assert_eq!(peer.hear(2), ["hello", "pushed"]);
    }
    // An emitter of another kind publishes at any node.
    for node in &cluster.nodes {
        let text = format!(r#"{{"type":"message","to":"team","data":"{}"}}"#, node.port);
        node.cli(&["PUBLISH", "symple:broadcast", &text]);
        assert!(peers.iter().all(|peer| peer.hear(1) == [node.port.to_string()]), "once each");
    }
    assert_eq!(block_on(sessions.delete("t7")), Ok(true));
    let end = peers[7].wait("its end", |e| matches!(e, Event::Ended { .. } | Event::Offline { .. }));
    assert!(format!("{end:?}").contains("session has ended"), "{end:?}");
    assert_eq!(block_on(sessions.exists("t7")), Ok(false));

    let plain: RedisUrl = format!("redis://127.0.0.1:{}", cluster.nodes[0].port).parse().expect("good");
    let plain = Sessions::new(plain);
    let said =
        tokens.iter().find_map(|token| block_on(plain.exists(token)).err()).expect("not all are there");
    assert!(said.to_string().contains("redis+cluster://"), "{said}");
}

#[test]
fn a_key_is_found_when_its_slot_moves() {
    let Some(cluster) = Cluster::start() else { return };
    let sessions = Sessions::new(cluster.url(&[0, 1, 2]));
    block_on(sessions.set("t", &Session::new("alice"), None)).expect("stored");
    let slot = cluster.nodes[0].cli(&["CLUSTER", "KEYSLOT", "symple:session:t"]);
    let number: u32 = slot.parse().expect("a slot");
    let from = LAST_SLOTS.iter().position(|last| number <= *last).expect("one of them");
    let to = (from + 1) % 3;
    let ids: Vec<String> = cluster.nodes.iter().map(|node| node.cli(&["CLUSTER", "MYID"])).collect();
    let (source, target) = (&cluster.nodes[from], &cluster.nodes[to]);
    assert_eq!(target.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[from]]), "OK");
    assert_eq!(source.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[to]]), "OK");
    let port = target.port.to_string();
    assert_eq!(source.cli(&["MIGRATE", "127.0.0.1", &port, "symple:session:t", "0", "1000"]), "OK");
    assert!(source.cli(&["EXISTS", "symple:session:t"]).starts_with("ASK "));
    assert_eq!(block_on(sessions.exists("t")), Ok(true), "found at its new node");
    for node in [target, source] {
        assert_eq!(node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[to]]), "OK");
    }
    assert!(source.cli(&["EXISTS", "symple:session:t"]).starts_with("MOVED "));
    assert_eq!(block_on(sessions.exists("t")), Ok(true), "and after its slot has moved");
}

#[test]
fn instances_follow_the_master() {
    let Some(mut cluster) = Cluster::start() else { return };
    let meeting = cluster.meeting;
    // Configured with the nodes that survive; the replica is discovered.
    let others: Vec<_> = (0..3).filter(|n| *n != meeting).collect();
    let sessions = Sessions::new(cluster.url(&others));
    let slot_of =
        |key: &str| -> u32 { cluster.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]).parse().expect("a slot") };
    let lies = |token: &str| {
        let slot = slot_of(&format!("symple:session:{token}"));
        LAST_SLOTS.iter().position(|last| slot <= *last) == Some(meeting)
    };
    let tokens: Vec<String> = (0..).map(|n| format!("t{n}")).filter(|token| lies(token)).take(3).collect();
    for token in &tokens {
        block_on(sessions.set(token, &Session::new(token).room("team"), None)).expect("stored");
    }
    cluster.instances();
    let (alice, bob) = (cluster.peer(0, &tokens[0]), cluster.peer(1, &tokens[1]));
    wait_for("they know each other", || alice.client.roster().len() == 1);
    wait_for("the replica has them all", || cluster.nodes[3].cli(&["DBSIZE"]) == "3");

    // By command, as for an upgrade: the old master continues as a replica and keeps its connections.
    assert_eq!(cluster.nodes[3].cli(&["CLUSTER", "FAILOVER"]), "OK");
    wait_for("they meet at the new master", || {
        cluster.nodes[3].cli(&["PUBSUB", "NUMSUB", "symple:broadcast"]).ends_with('2')
    });
    wait_for("the session is found", || block_on(sessions.exists(&tokens[0])) == Ok(true));
    wait_for("the old one is a replica", || {
        cluster.nodes[3].cli(&["INFO", "replication"]).contains("state=online")
    });

    // By its death: the first takes over again.
    cluster.nodes[3].kill_redis();
    wait_for("it is noticed", || !cluster.are_up());
    wait_for("the session is found", || block_on(sessions.exists(&tokens[0])) == Ok(true));
    wait_for("both are connected", || cluster.are_up());
    let _carol = cluster.peer(0, &tokens[2]);
    wait_for("all know all", || [&alice, &bob].iter().all(|p| p.client.roster().len() == 2));
    alice.client.send(say("again")).expect("online");
    assert_eq!(bob.hear(1), ["again"]);
}
