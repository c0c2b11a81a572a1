//! Anything, in any order: peers connect, leave, join and send at several instances, stop reading or read little, while
//! lines break, the bus restarts, and instances hang and die. Nothing arrives twice, order is kept, only expired messages
//! are lost, nobody is held for longer than it may be, and in the end nobody is held, sees a ghost or misses a peer.

use std::collections::BTreeSet;

use super::bounds::{Bounds, STEP};
use super::*;
use crate::dice::Dice;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq)]
struct Faults {
    /// Some peers stop reading or read little, and some of those resume.
    slow: bool,
    /// Lines break, the bus restarts, and instances hang.
    outages: bool,
    /// Instances die.
    deaths: bool,
}

const NONE: Faults = Faults { slow: false, outages: false, deaths: false };
const SLOW: Faults = Faults { slow: true, ..NONE };
const OUTAGES: Faults = Faults { outages: true, ..NONE };
const ALL: Faults = Faults { deaths: true, ..OUTAGES };

const USERS: [&str; 4] = ["ann", "ben", "cat", "dan"];
/// Not a client.
const EMITTER: &str = "app";
const ROOMS: [&str; 3] = ["red", "blue", "ann"];

/// The rooms that a client certainly is in.
#[derive(Clone, Default, PartialEq)]
struct Sure {
    welcome: bool,
    rooms: BTreeSet<String>,
    /// Rooms that it is leaving, without an answer so far.
    leaves: BTreeSet<String>,
}

struct Sent {
    number: usize,
    from: String,
    at: Instant,
    /// The clients that must receive it, or be told that it is lost.
    owed: Vec<String>,
    /// The clients that may receive it.
    named: Vec<String>,
}

/// An older message may have been dropped before everything was calm, since it is kept for 30 s. Its recipients are then
/// told.
const SURE: Duration = Duration::from_secs(20);

/// Messages for an instance that was away for longer may have been dropped, however new they are.
const AWAY: Duration = Duration::from_secs(30);

struct Run {
    fleet: Fleet,
    dice: Dice,
    sure: BTreeMap<String, Sure>,
    sent: Vec<Sent>,
    clients: usize,
    /// Every (client, number) that arrived.
    got: BTreeSet<(String, usize)>,
    /// How many messages each client was told that it missed.
    missed: BTreeMap<String, usize>,
    /// How many of these it had certainly missed before.
    explained: BTreeMap<String, usize>,
    /// The last number that arrived from one client at another.
    last: BTreeMap<(String, String), usize>,
    faults: Faults,
    delivered: usize,
    /// How many messages certainly had to arrive.
    made: usize,
    /// Peers that were closed for reading too slowly.
    closed: usize,
    /// Those among the peers that have stopped that read a little now and then.
    trickling: BTreeSet<String>,
    bounds: Bounds,
    /// Since when instances hang.
    hung: BTreeMap<usize, Instant>,
}

impl Run {
    fn new(seed: u64, faults: Faults) -> Run {
        let mut fleet = Fleet::new(0);
        if faults.slow {
            // A few messages fill a queue.
            fleet.config.queue_limit = 2000;
        }
        (0..3).for_each(|at| fleet.start(at));
        fleet.settle();
        Run {
            fleet,
            dice: Dice(seed),
            sure: BTreeMap::new(),
            sent: Vec::new(),
            clients: 0,
            got: BTreeSet::new(),
            missed: BTreeMap::new(),
            explained: BTreeMap::new(),
            last: BTreeMap::new(),
            faults,
            delivered: 0,
            made: 0,
            closed: 0,
            trickling: BTreeSet::new(),
            bounds: Bounds::default(),
            hung: BTreeMap::new(),
        }
    }

    fn act(&mut self) {
        let clients: Vec<String> = self.sure.keys().cloned().collect();
        let awake = |run: &Run, at: usize| run.fleet.instances.get(&at).is_some_and(|i| !i.hangs);
        let able: Vec<String> =
            clients.iter().filter(|name| awake(self, self.fleet.clients[*name].at)).cloned().collect();
        match self.dice.roll(100) {
            0..4 if clients.len() < 12 => {
                let at = self.dice.roll(3);
                if awake(self, at) {
                    self.clients += 1;
                    let name = format!("{}.{}", USERS[self.dice.roll(4)], self.clients);
                    let room = ROOMS[self.dice.roll(3)];
                    self.fleet.connect(&name, at, &[room]);
                    self.sure.insert(name, Sure::default());
                }
            }
            4..6 => {
                if let Some(name) = self.dice.pick(&able).cloned() {
                    self.fleet.cut(&name);
                    self.vanish(&name);
                }
            }
            6..12 => {
                let room = ROOMS[self.dice.roll(3)];
                if let Some(name) = self.dice.pick(&able).cloned() {
                    self.fleet.send(&name, &format!(r#"{{"type":"join","room":"{room}"}}"#));
                }
            }
            12..15 => {
                let room = ROOMS[self.dice.roll(3)];
                if let Some(name) = self.dice.pick(&able).cloned()
                    && self.sure[&name].rooms.contains(room)
                {
                    let sure = self.sure.get_mut(&name).expect("there");
                    sure.rooms.remove(room);
                    sure.leaves.insert(room.into());
                    self.release(&name);
                    self.fleet.send(&name, &format!(r#"{{"type":"leave","room":"{room}"}}"#));
                }
            }
            15..18 => {
                if let Some(name) = self.dice.pick(&able).cloned() {
                    let n = self.dice.roll(1000);
                    self.fleet.send(&name, &format!(r#"{{"type":"presence","data":{{"n":{n}}}}}"#));
                }
            }
            18..50 => self.speak(&able),
            50..52 if self.faults.outages => self.fault(),
            52..55 if !self.faults.slow => self.push(),
            52..55 => self.slow_down(&able),
            55..57 if self.faults.slow => self.wait(),
            _ => {
                for _ in 0..self.dice.roll(12) {
                    let (at, line) = (self.dice.roll(3), self.dice.roll(2));
                    self.fleet.step(at, line);
                }
                if self.dice.roll(20) == 0 {
                    self.fleet.now += Duration::from_millis(self.dice.roll(2000) as u64);
                    self.fleet.wake();
                }
            }
        }
        self.read();
        self.part_closed();
    }

    /// A peer stops reading, or one that has stopped resumes.
    fn slow_down(&mut self, able: &[String]) {
        let Some(name) = self.dice.pick(able).cloned() else { return };
        self.trickling.remove(&name);
        if self.fleet.clients[&name].stopped {
            return self.fleet.read(&name);
        }
        self.fleet.clients.get_mut(&name).expect("there").stopped = true;
        if self.dice.roll(2) == 0 {
            self.trickling.insert(name);
        }
    }

    /// Time passes while peers send, and slow ones read a message per second or so.
    fn wait(&mut self) {
        for _ in 0..self.dice.roll(40) {
            let before = Bounds::look(&self.fleet);
            self.fleet.pass(STEP);
            self.bounds.count(&before, &Bounds::look(&self.fleet), self.fleet.now);
            let awake = |name: &&String| !self.fleet.instances[&self.fleet.clients[*name].at].hangs;
            let able: Vec<String> = self.sure.keys().filter(awake).cloned().collect();
            for name in able.iter().filter(|name| self.trickling.contains(*name)) {
                if self.dice.roll(10) == 0 {
                    self.fleet.trickle(name, 1);
                }
            }
            if self.dice.roll(3) == 0 {
                self.speak(&able);
            }
            self.read();
            self.part_closed();
        }
    }

    /// Peers that were closed for being too slow are gone, and so is everything that waited for or behind them.
    fn part_closed(&mut self) {
        let may_be = |name: &&String| self.fleet.clients[*name].stopped || self.fleet.clients[*name].closed;
        for name in self.sure.keys().filter(may_be).cloned().collect::<Vec<_>>() {
            let at = self.fleet.clients[&name].at;
            if !self.fleet.instances[&at].hangs && !self.fleet.is_live(&name) {
                self.closed += 1;
                self.fleet.cut(&name);
                self.vanish(&name);
            }
        }
    }

    fn speak(&mut self, able: &[String]) {
        let Some(from) = self.dice.pick(able).cloned() else { return };
        if !self.sure[&from].welcome {
            return;
        }
        let number = self.sent.len();
        let clients: Vec<String> = self.sure.keys().cloned().collect();
        let mut names = BTreeSet::new();
        for _ in 0..1 + self.dice.roll(3) {
            let name = match self.dice.roll(4) {
                0 => ROOMS[self.dice.roll(3)].to_owned(),
                1 => USERS[self.dice.roll(4)].to_owned(),
                2 => self.dice.pick(&clients).map(|c| format!("{}|#{c}", user(c))).unwrap_or_default(),
                _ => self.dice.pick(&clients).map(|c| format!("#{c}")).unwrap_or_default(),
            };
            names.insert(name);
        }
        let to: Vec<String> = if self.dice.roll(6) == 0 { Vec::new() } else { names.into_iter().collect() };
        let owed = clients.iter().filter(|name| **name != from && self.must_reach(&from, name, &to)).cloned();
        let owed = owed.collect();
        let named = clients.iter().filter(|name| **name != from && may_reach(name, &to)).cloned().collect();
        let to = match &*to {
            [] => String::new(),
            [one] => format!(r#""to":"{one}","#),
            all => format!(r#""to":{all:?},"#),
        };
        self.fleet.send(&from, &format!(r#"{{"type":"message",{to}"from":"x","data":{number}}}"#));
        self.sent.push(Sent { number, from, at: self.fleet.now, owed, named });
    }

    /// An emitter pushes something. It arrives at the peers of all instances if any of these hears it, and those that do
    /// not can ask that one.
    fn push(&mut self) {
        let (room, user) = (ROOMS[self.dice.roll(3)], USERS[self.dice.roll(4)]);
        let number = self.sent.len();
        let text = format!(r#"{{"type":"message","to":["{room}","{user}"],"from":"app|1","data":{number}}}"#);
        let heard = self.fleet.emit(&text);
        let hears = |name: &String| {
            let at = self.fleet.clients[name].at;
            let asks = |of: &usize| {
                let cluster = &self.fleet.instances[&at].hub.cluster;
                cluster.can_ask_for_pushed(self.fleet.instances[of].name())
            };
            heard.contains(&at) || (self.faults == OUTAGES && heard.iter().any(asks))
        };
        let is_for = |name: &&String| {
            let sure = &self.sure[*name];
            sure.welcome && (user == self::user(name) || sure.rooms.contains(room))
        };
        let owed = self.sure.keys().filter(is_for).filter(|name| hears(name)).cloned().collect();
        let named = self.sure.keys().cloned().collect();
        self.sent.push(Sent { number, from: EMITTER.into(), at: self.fleet.now, owed, named });
    }

    /// Whether a message certainly arrives: both are in the room that they share, and the name matches.
    fn must_reach(&self, from: &str, name: &str, to: &[String]) -> bool {
        let (a, b) = (&self.sure[from], &self.sure[name]);
        let both = |room: &str| a.rooms.contains(room) && b.rooms.contains(room);
        if !self.know_each_other(self.fleet.clients[from].at, self.fleet.clients[name].at) {
            return false;
        }
        let shares = b.welcome && (user(from) == user(name) || ROOMS.iter().any(|room| both(room)));
        to.is_empty() && shares
            || to.iter().any(|to| match to.as_str() {
                to if to.contains('#') => to.ends_with(&format!("#{name}")) && shares,
                to => (to == user(name) && shares) || (both(to) && b.welcome),
            })
    }

    /// Whether two instances know each other, so that what they miss is kept.
    fn know_each_other(&self, one: usize, two: usize) -> bool {
        let (one, two) = (&self.fleet.instances[&one], &self.fleet.instances[&two]);
        one.name() == two.name() || (one.hub.cluster.knows(two.name()) && two.hub.cluster.knows(one.name()))
    }

    fn fault(&mut self) {
        let at = self.dice.roll(3);
        match self.dice.roll(5) {
            0 if !self.faults.deaths => self.fleet.bus = true,
            0 => {
                let lost: Vec<String> = self
                    .fleet
                    .clients
                    .iter()
                    .filter(|(_, c)| c.at == at)
                    .map(|(name, _)| name.clone())
                    .collect();
                self.fleet.kill(at);
                lost.iter().for_each(|name| self.vanish(name));
                self.hung.remove(&at);
                self.fleet.start(at);
            }
            1 => self.fleet.part(at),
            2 => self.fleet.stop_bus(),
            3 => {
                if let Some(instance) = self.fleet.instances.get_mut(&at) {
                    instance.hangs = !instance.hangs;
                    match instance.hangs {
                        true => _ = self.hung.insert(at, self.fleet.now),
                        false => _ = self.hung.remove(&at),
                    }
                }
            }
            _ => self.fleet.bus = true,
        }
    }

    fn vanish(&mut self, name: &str) {
        self.sure.remove(name);
        self.trickling.remove(name);
        self.missed.remove(name);
        self.explained.remove(name);
        self.release(name);
        self.sent.iter_mut().filter(|sent| sent.from == name).for_each(|sent| sent.owed.clear());
    }

    /// A client is gone: nothing is expected by it or from it any more.
    fn release(&mut self, name: &str) {
        self.sent.iter_mut().for_each(|sent| sent.owed.retain(|owed| owed != name));
    }

    /// Checks everything that arrived.
    fn read(&mut self) {
        for (name, client) in &mut self.fleet.clients {
            assert_eq!(
                client.strangers, [""; 0],
                "{name} was told twice that a peer has left, or of a stranger"
            );
            for message in std::mem::take(&mut client.inbox) {
                let sure = self.sure.get_mut(name).expect("it is there");
                match message["type"].as_str() {
                    Some("welcome") => {
                        assert!(!std::mem::replace(&mut sure.welcome, true), "welcome once");
                        let rooms = message["rooms"].as_array().expect("a list").iter().skip(1);
                        sure.rooms.extend(rooms.filter_map(|room| room.as_str().map(str::to_owned)));
                    }
                    // A user's own room is not a named one.
                    Some("join:ok") if message["room"] == user(name) => {}
                    // A leave follows on its way.
                    Some("join:ok") if sure.leaves.contains(message["room"].as_str().expect("a name")) => {}
                    Some("join:ok") => {
                        _ = sure.rooms.insert(message["room"].as_str().expect("a name").into())
                    }
                    Some("message") => {
                        let number = message["data"].as_u64().expect("a number") as usize;
                        let from = message["from"].as_str().expect("stamped");
                        let sent = &self.sent[number];
                        if sent.from == EMITTER {
                            assert_eq!(from, "app|1");
                            assert!(self.got.insert((name.clone(), number)), "{number} came twice to {name}");
                            continue;
                        }
                        assert_eq!(from, format!("{}|#{}", user(&sent.from), sent.from));
                        assert!(self.got.insert((name.clone(), number)), "{number} arrived twice at {name}");
                        let last = self.last.insert((sent.from.clone(), name.clone()), number);
                        assert!(last < Some(number), "{number} arrived at {name} after {last:?}");
                        assert_ne!(*name, sent.from, "nobody receives its own message");
                        self.delivered += 1;
                    }
                    Some("leave:ok") => {
                        let room = message["room"].as_str().expect("a name");
                        sure.rooms.remove(room);
                        sure.leaves.remove(room);
                    }
                    Some("presence") => assert!(sure.welcome, "{message} before welcome"),
                    // A message expired before it could be sent: its sender and its recipients are told.
                    Some("event") if self.faults != NONE && message["name"] == "missed" => {
                        let missed = message["missed"].as_u64().expect("a number") as usize;
                        *self.missed.entry(name.clone()).or_default() += missed;
                    }
                    Some("error") if self.faults != NONE => assert_eq!(message["status"], 503),
                    _ => panic!("{name} received {message}"),
                }
            }
        }
    }

    /// All faults end, and everything in transit arrives.
    fn calm_down(&mut self) {
        self.fleet.bus = true;
        self.fleet.instances.values_mut().for_each(|instance| instance.hangs = false);
        let mut away = std::mem::take(&mut self.hung);
        away.retain(|_, since| self.fleet.now - *since > AWAY);
        self.fleet.wake();
        self.part_closed();
        if self.faults.slow {
            self.fleet.settle();
            self.read();
            self.part_closed();
            self.fleet.settle();
            self.holds_agree();
        }
        let began = self.fleet.now;
        let stopped = |name: &&String| self.fleet.clients[*name].stopped;
        for name in self.sure.keys().filter(stopped).cloned().collect::<Vec<_>>() {
            self.fleet.read(&name);
        }
        self.trickling.clear();
        // Peers that resume may have filled the queue of one that had not read yet.
        self.part_closed();
        // A dead instance is noticed after ten seconds.
        let calm = if self.faults.slow && self.faults.deaths { 14 } else { 6 };
        for _ in 0..calm {
            self.fleet.pass(Duration::from_secs(1));
            self.read();
        }
        let waiting: Vec<&String> =
            self.fleet.clients.iter().filter(|(_, c)| !c.unread.is_empty()).map(|(name, _)| name).collect();
        assert!(waiting.is_empty(), "{waiting:?} wait although all read");
        let held: usize = self.fleet.instances.values().map(|i| i.hub.stats().held).sum();
        assert_eq!(held, 0, "nobody is held once all read");
        for sent in self.sent.iter().filter(|sent| began - sent.at < SURE) {
            let is_sure = |name: &&String| !away.contains_key(&self.fleet.clients[*name].at);
            for name in sent.owed.iter().filter(is_sure) {
                let got = self.got.contains(&(name.clone(), sent.number));
                assert!(got, "{} of {} is lost on its way to {name}", sent.number, sent.from);
                self.made += 1;
            }
        }
        for _ in 0..14 {
            self.fleet.pass(Duration::from_secs(1));
            self.read();
        }
        self.count_missed();
        self.sent.iter_mut().for_each(|sent| sent.owed.clear());
        for (name, sure) in &self.sure {
            let shares = |other: &&String| {
                let rooms = &self.sure[*other].rooms;
                *other != name && (user(name) == user(other) || !rooms.is_disjoint(&sure.rooms))
            };
            let want: Vec<String> = self.sure.keys().filter(shares).cloned().collect();
            let mut roster = self.fleet.roster(name);
            roster.sort();
            let mut want = want;
            want.sort();
            assert_eq!(roster, want, "the roster of {name}");
        }
    }

    /// Who is held by a peer of another instance is held there too, and the other way round.
    fn holds_agree(&self) {
        let (mut by_ours, mut of_ours) = (BTreeSet::new(), BTreeSet::new());
        for instance in self.fleet.instances.values() {
            let hub = &instance.hub.hub;
            for (by, _) in hub.sessions.iter() {
                for held in hub.holds.held_by(by) {
                    let who = [by, *held].map(|key| hub.who(key).expect("neither is closing"));
                    let [by, held] = who.map(|who| who.address.id().to_owned());
                    // The peers of a dead instance remain until it is noticed.
                    if [&by, &held].iter().any(|id| !self.sure.contains_key(&id[1..])) {
                        continue;
                    }
                    match (hub.rooms.session(&by), hub.rooms.session(&held)) {
                        (Some(_), None) => _ = by_ours.insert((by, held)),
                        (None, Some(_)) => _ = of_ours.insert((by, held)),
                        _ => {}
                    }
                }
            }
        }
        assert_eq!(by_ours, of_ours, "who holds whom elsewhere");
    }

    /// Every client was told of each message that it had to receive and missed, and of none that arrived.
    fn count_missed(&mut self) {
        for name in self.sure.keys() {
            let without = |names: fn(&Sent) -> &Vec<String>| {
                let lost = |sent: &&Sent| {
                    sent.from != EMITTER
                        && names(sent).contains(name)
                        && !self.got.contains(&(name.clone(), sent.number))
                };
                self.sent.iter().filter(lost).count()
            };
            let told = self.missed.get(name).copied().unwrap_or(0);
            let (least, most) = (without(|sent| &sent.owed), without(|sent| &sent.named));
            let least = least + self.explained.get(name).copied().unwrap_or(0);
            assert!(least <= told, "{name} was told that it missed {told}, not at least {least}");
            assert!(told <= most, "{name} was told that it missed {told}, not at most {most}");
            self.explained.insert(name.clone(), least);
        }
    }

    /// The data of each peer is the same on all instances.
    fn same_data(&self) {
        let mut told: BTreeMap<&String, &Value> = BTreeMap::new();
        for client in self.fleet.clients.values() {
            for (address, data) in &client.roster {
                let first = told.entry(address).or_insert(data);
                assert_eq!(first["n"], data["n"], "the data of {address}");
            }
        }
    }
}

/// Whether a message may reach this client.
fn may_reach(name: &str, to: &[String]) -> bool {
    to.is_empty()
        || to.iter().any(|to| match to.as_str() {
            to if to.contains('#') => to.ends_with(&format!("#{name}")),
            to => to == user(name) || ROOMS.contains(&to),
        })
}

fn user(name: &str) -> &str {
    name.split('.').next().expect("a split has a first part")
}

fn run(seed: u64, faults: Faults, steps: usize) -> (usize, usize, usize) {
    let mut run = Run::new(seed, faults);
    for step in 0..steps {
        run.act();
        if step % 500 == 499 {
            run.calm_down();
            run.same_data();
        }
    }
    run.calm_down();
    run.same_data();
    let peers = run.fleet.clients.keys().cloned().collect::<Vec<_>>();
    for name in peers {
        run.fleet.cut(&name);
    }
    run.fleet.pass(Duration::from_secs(1));
    for instance in run.fleet.instances.values() {
        let stats = instance.hub.stats();
        assert_eq!((stats.peers_away, stats.rooms, instance.channels.len()), (0, 0, 3), "nothing is kept");
    }
    (run.delivered, run.made, run.closed)
}

fn seeds(faults: Faults, salt: u64, count: u64) {
    let (count, first) = match std::env::var("SYMPLE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => (1, seed),
        None => (count, salt),
    };
    let (mut all, mut certain, mut closed) = (0, 0, 0);
    for seed in first..first + count {
        let done = std::panic::catch_unwind(|| run(seed, faults, 2000));
        match done {
            Ok((delivered, made, parted)) => {
                (all, certain, closed) = (all + delivered, certain + made, closed + parted);
            }
            Err(_) => panic!("reproduce with SYMPLE_SEED={seed}"),
        }
    }
    if count == 1 {
        return;
    }
    assert!(all > 200 * count as usize, "enough messages were sent: {all}");
    assert!(closed > 0 || !faults.slow, "some were too slow");
    // What is addressed to peers that are closed or die may be lost.
    let least = if faults.slow && faults.deaths { 50 } else { 100 };
    assert!(certain > least * count as usize, "only {certain} of {all} messages had to arrive");
}

#[test]
fn without_faults_nothing_is_lost_duplicated_or_out_of_order() {
    seeds(NONE, 1, 10);
}

#[test]
fn with_faults_nothing_is_duplicated_and_everything_recovers() {
    seeds(ALL, 1000, 20);
}

#[test]
fn slow_readers_cost_other_peers_nothing() {
    seeds(SLOW, 3003, 20);
}

#[test]
fn outages_lose_nothing() {
    seeds(OUTAGES, 2000, 20);
}

#[test]
fn slow_readers_and_outages_cost_other_peers_nothing() {
    seeds(Faults { slow: true, ..OUTAGES }, 4000, 10);
}

#[test]
fn holds_end_when_instances_die() {
    seeds(Faults { slow: true, ..ALL }, 5000, 10);
}

/// 400,000 messages.
#[test]
#[ignore = "takes minutes"]
fn with_faults_for_long() {
    seeds(ALL, 100_000, 400);
    seeds(OUTAGES, 200_000, 400);
    seeds(SLOW, 300_000, 400);
}

#[test]
#[ignore = "takes minutes"]
fn slow_readers_and_faults_for_long() {
    seeds(Faults { slow: true, ..OUTAGES }, 400_000, 400);
    seeds(Faults { slow: true, ..ALL }, 500_000, 400);
}
