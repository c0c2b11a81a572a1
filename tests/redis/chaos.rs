//! Three instances in processes of their own on one Redis, clients that never stop sending, and faults: an instance is
//! killed and restarted, another is suspended for longer than the timeout, Redis restarts, stops for five seconds,
//! disconnects its subscribers. Everything sent arrives, once and in order, except while an instance dies or hangs;
//! after each fault every roster is exact again. The same beside peers that read too slowly.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use symple::client::{Config, Event};
use symple::net::ServerConfig;
use symple::net::redis::RedisConfig;
use symple::proto::{Draft, MessageKind};
use symple::{Client, Server};

#[cfg(target_os = "linux")]
use super::slow_peers::SlowPeers;
use super::world::{World, wait_for};

const REDIS: &str = "SYMPLE_TEST_REDIS";
const LISTEN: &str = "SYMPLE_TEST_LISTEN";
const QUEUE: &str = "SYMPLE_TEST_QUEUE";
/// Begins a line of a child that says how many it holds, and how many it closed for reading too slowly.
const SLOW: &str = "slow";
const CLIENTS: usize = 9;

/// The entry point of a child process; otherwise it does nothing.
#[test]
fn an_instance_in_a_process_of_its_own() {
    let (Ok(redis), Ok(listen)) = (std::env::var(REDIS), std::env::var(LISTEN)) else { return };
    let mut config = ServerConfig::listen([listen.parse().expect("an address")]);
    config.redis = Some(RedisConfig::new(redis.parse().expect("an address")));
    let queue = std::env::var(QUEUE).ok().and_then(|bytes| bytes.parse().ok()).expect("a number");
    (config.hub.rate, config.hub.burst, config.hub.queue_limit) = (1e6, 1e6, queue);
    let server = Server::bind(config).expect("a free port");
    println!("\nlistening {}", server.addresses()[0]);
    std::thread::spawn({
        let server = server.clone();
        move || {
            let (mut held, mut closed) = (0, 0);
            loop {
                let stats = server.stats();
                if (stats.held, stats.closed_slow) != (held, closed) {
                    (held, closed) = (stats.held, stats.closed_slow);
                    println!("{SLOW} {held} {closed}");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    // Ends with the test, however that ends.
    std::thread::spawn(|| {
        _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    smol::block_on(server.run());
}

struct Process {
    child: Child,
    address: String,
    /// How often it held somebody, and closed somebody for reading too slowly.
    slow: Arc<(AtomicU64, AtomicU64)>,
}

/// Counts what a process reports of slow readers. Reads to its end, since its pipe must not break.
fn count(said: Lines<BufReader<ChildStdout>>, slow: &(AtomicU64, AtomicU64)) {
    for line in said.map_while(Result::ok) {
        let numbers = line.strip_prefix(SLOW).map(|rest| rest.split_whitespace().map(str::parse::<u64>));
        if let Some([Ok(held), Ok(closed)]) = numbers.map(|numbers| numbers.collect::<Vec<_>>()).as_deref() {
            slow.0.fetch_add(u64::from(*held > 0), Ordering::Relaxed);
            slow.1.store(*closed, Ordering::Relaxed);
        }
    }
}

impl Process {
    /// Its peers have queues of this many bytes.
    fn start(world: &World, listen: &str, queue: usize) -> Process {
        let mut child = Command::new(std::env::current_exe().expect("we run"))
            .args(["--exact", "chaos::an_instance_in_a_process_of_its_own", "--nocapture"])
            .env(REDIS, format!("redis://127.0.0.1:{}", world.port))
            .env(LISTEN, listen)
            .env(QUEUE, queue.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program is running already");
        let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut words = said.by_ref().map_while(Result::ok);
        let address = words.find_map(|line| line.strip_prefix("listening ").map(str::to_owned));
        let slow = Arc::<(AtomicU64, AtomicU64)>::default();
        std::thread::spawn({
            let slow = slow.clone();
            move || count(said, &slow)
        });
        Process { child, address: address.expect("it prints its address"), slow }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().expect("kill is there").success());
    }

    fn kill(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The sender of a message, and its number.
type Owed = BTreeSet<(String, u64)>;

/// One client, and what it received.
struct Talker {
    client: Client,
    thread: Option<std::thread::JoinHandle<()>>,
    heard: Arc<Mutex<Heard>>,
    said: u64,
}

#[derive(Default)]
struct Heard {
    /// The numbers from each sender, in order of arrival.
    last: BTreeMap<String, u64>,
    /// Those of the current round.
    round: Owed,
    /// Those since the current fault began.
    fault: Owed,
    wrong: Vec<String>,
}

impl Talker {
    fn start(address: &str, at: usize) -> Talker {
        let config = Config {
            rooms: vec!["all".into(), format!("third-{}", at % 3), format!("half-{}", at % 2)],
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            ping_interval: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(30),
            rate: 1_000_000,
            burst: 1_000_000,
            ..Config::new(format!("user-{at}"))
        };
        let client = Client::new(&format!("ws://{address}"), config).expect("a good address");
        let heard = Arc::new(Mutex::new(Heard::default()));
        client.on({
            let heard = heard.clone();
            move |event| {
                let Event::Message { message } = event else { return };
                let (Some(from), Ok(n)) = (message.from(), message.data::<u64>()) else { return };
                let mut heard = heard.lock().expect("no panic under this lock");
                let from = from.user().to_owned();
                let last = heard.last.insert(from.clone(), n);
                if last >= Some(n) {
                    heard.wrong.push(format!("{n} of {from} arrived after {last:?}"));
                }
                heard.fault.insert((from.clone(), n));
                heard.round.insert((from, n));
            }
        });
        let thread = Some(std::thread::spawn({
            let run = client.run();
            move || smol::block_on(run)
        }));
        Talker { client, thread, heard, said: 0 }
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.client.close();
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

struct Chaos {
    world: World,
    processes: Vec<Process>,
    talkers: Vec<Talker>,
    queue: usize,
    /// The size of messages while nothing is wrong.
    bytes: usize,
    dice: u64,
    sent: u64,
    delivered: u64,
}

impl Chaos {
    fn roll(&mut self, sides: usize) -> usize {
        self.dice = self.dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.dice >> 33) as usize % sides
    }

    /// Sends one message of any form and about this size; returns the recipients, if it was sent.
    fn say(&mut self, bytes: usize) -> Option<(usize, u64, Vec<usize>)> {
        let (from, to) = (self.roll(CLIENTS), self.roll(CLIENTS));
        let form = self.roll(6);
        let all = 0..CLIENTS;
        let address = |talker: &Talker| talker.client.peer().map(|p| p.address().to_string());
        let draft = Draft::new(MessageKind::Message);
        let (draft, whom): (_, Vec<usize>) = match form {
            0 => (draft.to(&address(&self.talkers[to])?), vec![to]),
            1 => (draft.to(&format!("user-{to}")), vec![to]),
            2 => (draft.to("all"), all.collect()),
            3 => {
                let room = format!("third-{}", from % 3);
                (
                    draft.to_all(&[room, format!("user-{to}")]),
                    all.filter(|n| n % 3 == from % 3 || *n == to).collect(),
                )
            }
            4 => (draft.to(&format!("half-{}", from % 2)), all.filter(|n| n % 2 == from % 2).collect()),
            _ => (draft, all.collect()),
        };
        let talker = &mut self.talkers[from];
        talker.client.send(draft.data(&talker.said).with("rest", &"x".repeat(bytes))).ok()?;
        let n = talker.said;
        talker.said += 1;
        self.sent += 1;
        Some((from, n, whom.into_iter().filter(|whom| *whom != from).collect()))
    }

    fn clear(&self) {
        for talker in &self.talkers {
            talker.heard.lock().expect("no panic under this lock").round.clear();
        }
    }

    /// Sends this many messages while nothing is wrong: all arrive.
    fn calm(&mut self, messages: usize) {
        self.clear();
        let mut owed = vec![Owed::new(); CLIENTS];
        let mut said = 0;
        while said < messages {
            match self.say(self.bytes) {
                Some((from, n, whom)) => {
                    said += 1;
                    whom.into_iter().for_each(|whom| _ = owed[whom].insert((format!("user-{from}"), n)));
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
            if said % 200 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        self.arrive(&owed, |heard| &heard.round);
        self.right();
    }

    /// Waits until all have received everything.
    fn arrive(&mut self, owed: &[Owed], of: impl Fn(&Heard) -> &Owed) {
        for (at, owed) in owed.iter().enumerate() {
            let heard = self.talkers[at].heard.clone();
            let missing = || {
                let heard = heard.lock().expect("no panic under this lock");
                owed.difference(of(&heard)).count()
            };
            let end = Instant::now() + Duration::from_secs(30);
            while missing() > 0 {
                assert!(
                    Instant::now() < end,
                    "{} of {} are lost on their way to user-{at}",
                    missing(),
                    owed.len()
                );
                std::thread::sleep(Duration::from_millis(5));
            }
            self.delivered += owed.len() as u64;
        }
    }

    /// Continues to send while something is wrong; returns who must receive it in the end.
    fn talk(&mut self, time: Duration, owed: &mut [Owed]) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for _ in 0..10 {
                let Some((from, n, whom)) = self.say(0) else { continue };
                whom.into_iter().for_each(|whom| _ = owed[whom].insert((format!("user-{from}"), n)));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everybody sees exactly the others that are online now.
    fn heal(&mut self) {
        wait_for("exact rosters", || {
            let ids: Option<BTreeSet<String>> =
                self.talkers.iter().map(|t| Some(t.client.peer()?.address().to_string())).collect();
            let Some(ids) = ids else { return false };
            self.talkers.iter().all(|talker| {
                let roster = talker.client.roster();
                let roster = roster.iter().map(|peer| peer.address().to_string());
                let mut roster: BTreeSet<String> = roster.filter(|peer| !peer.starts_with("slow")).collect();
                roster.extend(talker.client.peer().map(|peer| peer.address().to_string()));
                roster == ids
            })
        });
        // After a short outage of Redis, rosters are unchanged.
        let end = Instant::now() + Duration::from_secs(30);
        while !self.all_hear_all() {
            assert!(Instant::now() < end, "not everybody receives from everybody");
        }
        self.right();
    }

    fn all_hear_all(&mut self) -> bool {
        self.clear();
        for talker in &mut self.talkers {
            let sent = talker.client.send(Draft::new(MessageKind::Message).to("all").data(&talker.said));
            talker.said += u64::from(sent.is_ok());
        }
        let hears = |talker: &Talker| {
            let heard = talker.heard.lock().expect("no panic under this lock");
            heard.round.iter().map(|(from, _)| from).collect::<BTreeSet<_>>().len() == CLIENTS - 1
        };
        (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            self.talkers.iter().all(hears)
        })
    }

    fn right(&self) {
        for (at, talker) in self.talkers.iter().enumerate() {
            let heard = talker.heard.lock().expect("no panic under this lock");
            assert!(heard.wrong.is_empty(), "user-{at}: {:?}", heard.wrong);
        }
    }

    fn fault(&mut self, kind: usize) {
        let at = self.roll(3);
        let owed = &mut vec![Owed::new(); CLIENTS];
        for talker in &self.talkers {
            talker.heard.lock().expect("no panic under this lock").fault.clear();
        }
        let kind = kind % 5;
        match kind {
            0 => {
                let address = self.processes[at].address.clone();
                self.processes[at].kill();
                let time = Duration::from_millis(self.roll(3000) as u64);
                self.talk(time, owed);
                self.processes[at] = Process::start(&self.world, &address, self.queue);
            }
            1 => {
                self.processes[at].signal("-STOP");
                let time = Duration::from_millis(11_000 + self.roll(3000) as u64);
                self.talk(time, owed);
                self.processes[at].signal("-CONT");
            }
            2 => {
                self.talk(Duration::from_millis(200), owed);
                self.world.kill_redis();
                let time = Duration::from_millis(self.roll(4000) as u64);
                self.talk(time, owed);
                self.world.start_redis();
            }
            3 => {
                self.world.signal_redis("-STOP");
                self.talk(Duration::from_secs(5), owed);
                self.world.signal_redis("-CONT");
            }
            _ => {
                for _ in 0..4 {
                    let time = Duration::from_millis(self.roll(600) as u64);
                    self.talk(time, owed);
                    self.world.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                }
            }
        }
        self.talk(Duration::from_millis(500), owed);
        self.heal();
        if kind > 1 {
            self.arrive(owed, |heard| &heard.fault);
        }
    }
}

impl Chaos {
    /// Three instances whose peers have queues of this many bytes, and clients that send messages of this size.
    fn start(queue: usize, bytes: usize) -> Option<Chaos> {
        let world = World::start(0)?;
        let dice = std::env::var("SYMPLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
        let processes: Vec<_> = (0..3).map(|_| Process::start(&world, "127.0.0.1:0", queue)).collect();
        let talkers = (0..CLIENTS).map(|at| Talker::start(&processes[at % 3].address, at)).collect();
        Some(Chaos { world, processes, talkers, queue, bytes, dice, sent: 0, delivered: 0 })
    }

    fn run(&mut self, rounds: usize, messages: usize) {
        self.heal();
        for round in 0..rounds {
            self.calm(messages);
            self.fault(round);
        }
        self.calm(messages);
        println!("{} messages were sent, {} deliveries owed and made", self.sent, self.delivered);
    }

    /// How often the processes held somebody, and how many they closed for reading too slowly.
    fn slow(&self) -> (u64, u64) {
        let of = |which: fn(&Process) -> &AtomicU64| {
            self.processes.iter().map(|process| which(process).load(Ordering::Relaxed)).sum()
        };
        (of(|process| &process.slow.0), of(|process| &process.slow.1))
    }
}

/// Without slow readers, nobody is closed.
fn run(rounds: usize, messages: usize) {
    let Some(mut chaos) = Chaos::start(64 << 20, 0) else { return };
    chaos.run(rounds, messages);
    assert_eq!(chaos.slow().1, 0, "nobody reads too slowly");
}

/// Slow readers at each instance hold everybody now and then.
#[cfg(target_os = "linux")]
fn run_with_slow_peers(rounds: usize, messages: usize) {
    // Ten megabytes for each in a round, more than the kernel's buffers hold, in messages of which a queue takes many.
    // With 100 KB, these clients hold their senders too, for some milliseconds; and the slow peers use up the ten
    // seconds of a minute for which a sender may be held, after which whoever holds it is closed.
    let Some(mut chaos) = Chaos::start(1 << 20, 30_000) else { return };
    let addresses: Vec<String> = chaos.processes.iter().map(|process| process.address.clone()).collect();
    let slow = SlowPeers::start(&addresses, "all");
    chaos.run(rounds, messages);
    let (held, closed) = chaos.slow();
    println!("slow peers came {} times, held others {held} times, and {closed} were closed", slow.came());
    assert!(held > 0 && closed > 0, "held {held}, closed {closed}");
}

#[test]
fn only_the_death_of_an_instance_loses_messages() {
    run(5, 1000);
}

#[cfg(target_os = "linux")]
#[test]
fn slow_readers_and_faults_lose_nothing() {
    run_with_slow_peers(5, 1000);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "takes ten minutes"]
fn slow_readers_and_faults_for_long() {
    run_with_slow_peers(30, 2000);
}

/// At least 200,000 messages.
#[test]
#[ignore = "takes ten minutes"]
fn faults_for_long() {
    run(40, 5000);
}
