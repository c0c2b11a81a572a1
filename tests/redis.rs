//! Several instances on one Redis, its sessions and its emitters. Starts `redis-server` itself; without one, each test
//! prints SKIPPED.
#![cfg(all(feature = "client", feature = "redis"))]

#[path = "redis/chaos.rs"]
mod chaos;
#[path = "redis/cluster.rs"]
mod cluster;
#[cfg(target_os = "linux")]
#[path = "redis/slow_peers.rs"]
mod slow_peers;
#[path = "redis/world.rs"]
mod world;

use std::time::Duration;

use futures_lite::future::block_on;

use symple::client::Event;
use symple::net::ServerConfig;
use symple::net::redis::{Emitter, RedisConfig, Session, Sessions};
use symple::proto::{Draft, MessageKind, Status};
use world::{Peer, World, config, wait_for};

fn say(to: &str, data: &str) -> Draft {
    Draft::new(MessageKind::Message).to(to).data(data)
}

#[test]
fn peers_of_three_instances_behave_like_those_of_one() {
    let Some(world) = World::start(3) else { return };
    let alice = world.peer(0, "alice", &["team"]);
    let bob = world.peer(1, "bob", &["team"]);
    let carol = world.peer(2, "carol", &["team"]);
    let dave = world.peer(2, "dave", &[]);
    for peer in [&alice, &bob, &carol] {
        wait_for("a roster of two others", || peer.client.roster().len() == 2);
    }
    for (n, to) in ["bob", "team"].into_iter().enumerate() {
        alice.client.send(say(to, &format!("{n}"))).expect("online");
    }
    alice.client.send(say(&bob.address(), "2")).expect("online");
    alice
        .client
        .send(Draft::new(MessageKind::Message).to_all(&["bob", "carol", "team"]).data("3"))
        .expect("online");
    alice.client.send(Draft::new(MessageKind::Message).data("4")).expect("online");
    assert_eq!(bob.hear(5), ["0", "1", "2", "3", "4"]);
    assert_eq!(carol.hear(3), ["1", "3", "4"]);

    dave.client.join("team").expect("online");
    dave.wait("join:ok", |e| matches!(e, Event::Joined { room } if room == "team"));
    alice.client.send(say("team", "to all")).expect("online");
    assert_eq!(dave.hear(1), ["to all"]);
    wait_for("dave knows three", || dave.client.roster().len() == 3);

    let id = alice.client.send(say("team", "x").with("receipt", &true)).expect("online");
    let receipt = |e: &Event| matches!(e, Event::Receipt { delivered: 3, status: Status::OK, .. });
    let Event::Receipt { id: of, .. } = alice.wait("a receipt", receipt) else {
        unreachable!("just matched")
    };
    assert_eq!(of, id);

    bob.client.close();
    wait_for("bob is gone", || carol.client.roster().iter().all(|p| p.user != "bob"));
    assert_eq!(dave.hear(1), ["x"], "once each");
}

#[test]
fn a_room_receives_from_all_instances_since_its_join_ok() {
    let Some(world) = World::start(2) else { return };
    let alice = world.peer(0, "alice", &[]);
    let bob = world.peer(1, "bob", &[]);
    for n in 0..50 {
        let room = format!("room-{n}");
        alice.client.join(&room).expect("online");
        alice.wait("join:ok", |e| matches!(e, Event::Joined { .. }));
        bob.client.join(&room).expect("online");
        bob.wait("join:ok", |e| matches!(e, Event::Joined { .. }));
        alice.client.send(say(&room, &room)).expect("online");
        assert_eq!(bob.hear(1), [room]);
    }
}

#[test]
fn order_and_count_are_kept_under_load() {
    let Some(world) = World::start(2) else { return };
    let alice = world.peer(0, "alice", &["team"]);
    let bob = world.peer(1, "bob", &["team"]);
    wait_for("they know each other", || alice.client.roster().len() == 1);
    let want: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    let mut sent = want.iter().peekable();
    while let Some(n) = sent.peek() {
        let to = ["bob", "team", &bob.address()][n.len() % 3].to_owned();
        match alice.client.send(say(&to, n)) {
            Ok(_) => _ = sent.next(),
            Err(_) => std::thread::yield_now(),
        }
    }
    assert_eq!(bob.hear(2000), want);
}

#[test]
fn messages_from_emitters_reach_everybody_once() {
    let Some(world) = World::start(2) else { return };
    let alice = world.peer(0, "alice", &["team"]);
    let bob = world.peer(1, "bob", &["team"]);
    let app = Emitter::new(world.url()).from("app|1");
    block_on(async {
        app.rooms(["team", "bob"]).send("both").await.expect("published");
        app.to("bob").emit("news", "bob's").await.expect("published");
        app.to("nobody").event("x", "lost").await.expect("published");
        app.to("team").event("done", "end").await.expect("published");
        assert_eq!(app.send("x").await.expect_err("to nobody").code(), "malformed");
    });
    assert_eq!(alice.hear(2), ["both", "end"]);
    assert_eq!(bob.hear(3), ["both", "bob's", "end"]);
    world.servers[0].server.publish(r#"{"type":"event","to":"team","data":"host"}"#);
    assert_eq!((alice.hear(1), bob.hear(1)), (vec!["host".into()], vec!["host".into()]));
}

#[test]
fn an_emitter_learns_that_no_server_heard_it() {
    let Some(world) = World::bare("redis://", &[]) else { return };
    let app = Emitter::new(world.url()).to("bob");
    assert_eq!(block_on(app.send("x")).expect_err("nobody is there").code(), "unheard");
}

/// Redis closes the connection of one instance or the other between pushes. If neither has one, the emitter learns
/// it, and pushes again.
#[test]
fn what_emitters_push_while_an_instance_is_away_reaches_its_peers_too() {
    let beats = |config: &mut ServerConfig| {
        // A heartbeat each second.
        config.redis.as_mut().expect("with Redis").dead_after = Duration::from_secs(3);
    };
    let Some(world) = World::with(2, beats) else { return };
    let alice = world.peer(0, "alice", &["team"]);
    let bob = world.peer(1, "bob", &["team"]);
    let app = Emitter::new(world.url()).to("team");
    let pubsub = || {
        let list = world.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        let id = |line: &str| line.split(' ').find_map(|word| word.strip_prefix("id=").map(str::to_owned));
        list.lines().filter_map(id).collect::<Vec<_>>()
    };
    world.await_heartbeats();
    let (mut numbers, mut unheard, mut partly) = (Vec::new(), 0, 0);
    for n in 0..600 {
        if n % 60 == 30 {
            wait_for("both have subscribed", || pubsub().len() == 2);
            assert_eq!(world.cli(&["CLIENT", "KILL", "ID", &pubsub()[n / 60 % 2]]), "1");
        }
        partly += usize::from(n % 60 == 30 && pubsub().len() == 1);
        while let Err(e) = block_on(app.send(&n.to_string())) {
            assert_eq!(e.code(), "unheard");
            unheard += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        numbers.push(n.to_string());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(alice.hear(600), numbers);
    assert_eq!(bob.hear(600), numbers);
    assert!(partly > 0, "one was away while the other heard ({unheard} went unheard)");
}

#[test]
fn sessions_are_stored_and_decide_about_admission() {
    let Some(world) = World::with(1, |config| config.hub.authenticate = true) else { return };
    let sessions = Sessions::new(world.url());
    let minute = Duration::from_secs(60);
    let alice = Session::new("alice").name("Alice").room("team-a");
    block_on(async {
        sessions.set("t1", &alice, Some(minute)).await.expect("stored");
        assert_eq!(sessions.get("t1").await, Ok(Some(alice.clone())));
        assert_eq!(sessions.exists("t1").await, Ok(true));
        assert_eq!(sessions.touch("t1", minute).await, Ok(true));
        assert_eq!(sessions.touch("none", minute).await, Ok(false));
        assert_eq!(sessions.get("none").await, Ok(None));
    });
    world.cli(&["SET", "symple:session:t2", "no json"]);
    world.cli(&["SET", "symple:session:t3", r#"["user"]"#]);
    world.cli(&["SET", "symple:session:t4", r#"{"name":"X"}"#]);
    world.cli(&["SET", "symple:session:t5", r#"{"user":"x"}"#, "PX", "1"]);
    world.cli(&["LPUSH", "symple:session:t6", "a list"]);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(block_on(sessions.get("t6")).expect_err("no session").code(), "malformed");
    assert_eq!(block_on(sessions.get("t2")).expect_err("no session").code(), "malformed");
    for token in ["none", "t2", "t3", "t4", "t5", "t6"] {
        let peer = Peer::start(&world.servers[0].url, config("mallory", &["team-a"], Some(token)));
        let end = peer.wait("an end", |e| matches!(e, Event::Ended { .. }));
        assert!(format!("{end:?}").contains("Authentication failed"), "{token}: {end:?}");
    }
    let peer = Peer::start(&world.servers[0].url, config("mallory", &["team-b"], Some("t1")));
    let online = peer.wait("online", |e| matches!(e, Event::Online { .. }));
    let Event::Online { peer: me, rooms } = online else { unreachable!("just matched") };
    assert_eq!((&*me.user, &*me.name, rooms), ("alice", "Alice", vec!["alice".into(), "team-a".into()]));
    assert_eq!(block_on(sessions.delete("t1")), Ok(true));
    assert_eq!(block_on(sessions.delete("t1")), Ok(false));
}

#[test]
fn a_session_that_ends_closes_its_peer_and_activity_extends_it() {
    let short = Duration::from_millis(600);
    let Some(world) = World::with(1, |config| {
        config.hub.authenticate = true;
        let redis = config.redis.as_mut().expect("set by the world");
        redis.session_ttl = Some(short);
        redis.touch_interval = Duration::from_millis(100);
    }) else {
        return;
    };
    let sessions = Sessions::new(world.url());
    for (token, user) in [("t1", "active"), ("t2", "idle"), ("t3", "deleted")] {
        block_on(sessions.set(token, &Session::new(user), Some(short))).expect("stored");
    }
    let [active, idle, deleted] = ["t1", "t2", "t3"].map(|token| {
        let peer = Peer::start(&world.servers[0].url, config("x", &[], Some(token)));
        peer.wait("online", |e| matches!(e, Event::Online { .. }));
        peer
    });
    let ended = |peer: &Peer| {
        let end = peer.wait("an end", |e| matches!(e, Event::Ended { .. } | Event::Offline { .. }));
        assert!(format!("{end:?}").contains("session has ended"), "{end:?}");
    };
    block_on(sessions.delete("t3")).expect("there");
    ended(&deleted);
    for _ in 0..20 {
        active.client.send(say("nobody", "x")).expect("online");
        std::thread::sleep(short / 10);
    }
    assert!(active.client.peer().is_some(), "twice its lifetime has passed, but it was active");
    ended(&idle);
}

#[test]
fn without_redis_local_traffic_continues_and_everything_recovers() {
    let Some(mut world) = World::start(2) else { return };
    let alice = world.peer(0, "alice", &["team"]);
    let carol = world.peer(0, "carol", &["team"]);
    let bob = world.peer(1, "bob", &["team"]);
    wait_for("all know each other", || [&alice, &bob, &carol].iter().all(|p| p.client.roster().len() == 2));
    world.kill_redis();
    wait_for("it is noticed", || world.servers.iter().all(|s| s.server.redis_is_up() == Some(false)));
    alice.client.send(say("team", "home")).expect("online");
    assert_eq!(carol.hear(1), ["home"]);
    let dave = world.peer(1, "dave", &["team"]);
    carol.client.close();
    world.start_redis();
    for peer in [&alice, &bob, &dave] {
        wait_for("a roster of two others", || {
            let roster = peer.client.roster();
            roster.len() == 2 && roster.iter().all(|p| p.user != "carol")
        });
    }
    alice.client.send(say("team", "again")).expect("online");
    // Messages sent meanwhile are kept, and reach those who are in the room when they arrive.
    assert_eq!(
        (bob.hear(2), dave.hear(2)),
        (vec!["home".into(), "again".into()], vec!["home".into(), "again".into()])
    );
}

#[test]
fn without_redis_authentication_is_refused_in_time() {
    let Some(mut world) = World::with(1, |config| config.hub.authenticate = true) else { return };
    let sessions = Sessions::new(world.url());
    block_on(sessions.set("t1", &Session::new("alice"), None)).expect("stored");
    world.kill_redis();
    let begun = std::time::Instant::now();
    let peer = Peer::start(&world.servers[0].url, config("alice", &[], Some("t1")));
    let offline = peer.wait("a refusal", |e| matches!(e, Event::Error { .. } | Event::Offline { .. }));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(
        format!("{offline:?}").contains("503") || format!("{offline:?}").contains("try again"),
        "{offline:?}"
    );
    world.start_redis();
    peer.wait("online after all", |e| matches!(e, Event::Online { .. }));
}

#[test]
fn peers_of_a_dead_instance_go_offline() {
    let Some(mut world) = World::start(2) else { return };
    let alice = world.peer(0, "alice", &["team"]);
    let bob = world.peer(1, "bob", &["team"]);
    wait_for("they know each other", || alice.client.roster().len() == 1);
    let begun = std::time::Instant::now();
    world.servers.remove(1).kill();
    wait_for("bob is gone", || alice.client.roster().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(15));
    drop(bob);
}

#[test]
fn an_instance_that_shuts_down_says_goodbye() {
    let Some(world) = World::start(2) else { return };
    let alice = world.peer(0, "alice", &["team"]);
    let _bob = world.peer(1, "bob", &["team"]);
    wait_for("they know each other", || alice.client.roster().len() == 1);
    let begun = std::time::Instant::now();
    world.servers[1].server.shutdown();
    wait_for("bob is gone", || alice.client.roster().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(8), "not by its timeout");
}

#[test]
fn password_and_database_are_used() {
    let Some(world) = World::secured("s3cret") else { return };
    let sessions = Sessions::new(world.url());
    block_on(sessions.set("t", &Session::new("alice"), None)).expect("let in");
    assert_eq!(world.cli(&["-n", "3", "EXISTS", "symple:session:t"]), "1");
    let wrong: RedisConfig =
        RedisConfig::new(format!("redis://:wrong@127.0.0.1:{}", world.port).parse().expect("good"));
    let said = block_on(Sessions::new(wrong.url).exists("t")).expect_err("wrong password");
    assert_eq!(said.code(), "refused");
    assert!(!said.to_string().contains("wrong@"));
}

#[cfg(feature = "tls")]
#[test]
fn a_redis_with_tls_is_trusted_by_its_certificate() {
    let Some((world, root)) = World::encrypted() else { return };
    let trusted = world.url().trust(symple::net::Roots::Pem(root));
    let sessions = Sessions::new(trusted);
    block_on(sessions.set("t", &Session::new("alice"), None)).expect("believed");
    assert_eq!(block_on(sessions.exists("t")), Ok(true));
    let said = block_on(Sessions::new(world.url()).exists("t")).expect_err("nobody vouches for it");
    assert_eq!(said.code(), "unreachable");
}

#[test]
fn sentinel_leads_to_the_next_master() {
    let Some(mut first) = World::start(0) else { return };
    let second = World::start(0).expect("there was one just now");
    assert_eq!(second.cli(&["REPLICAOF", "127.0.0.1", &first.port.to_string()]), "OK");
    let sentinel = first.sentinel("main");
    let url = |name: &str| format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/{name}", sentinel.port).parse();
    let sessions = Sessions::new(url("main").expect("a good address"));
    block_on(sessions.set("t", &Session::new("alice"), None)).expect("stored at the first");
    assert_eq!(first.cli(&["EXISTS", "symple:session:t"]), "1");
    let nobody = Sessions::new(url("other").expect("a good address"));
    let said = block_on(nobody.exists("t")).expect_err("no Redis of this name");
    assert!(said.to_string().contains("of this name"), "{said}");
    wait_for("the second is a copy", || second.cli(&["EXISTS", "symple:session:t"]) == "1");
    wait_for("the sentinel knows the second", || {
        sentinel.cli(&["SENTINEL", "replicas", "main"]).contains("slave")
    });
    first.kill_redis();
    wait_for("the second is found", || block_on(sessions.exists("t")) == Ok(true));
    assert!(second.cli(&["ROLE"]).starts_with("master"));
}
