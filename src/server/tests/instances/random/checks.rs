//! What must arrive at the peers of a random run, and whether it did.

use super::*;

/// An older message may have been dropped before everything was calm, since it is kept for 30 s. Its recipients are then
/// told.
const SURE: Duration = Duration::from_secs(20);

/// Messages for an instance that was away for longer may have been dropped, however new they are.
const AWAY: Duration = Duration::from_secs(30);

impl Run {
    /// Whether a message certainly arrives: both are in the room that they share, and the name matches.
    pub(super) fn must_reach(&self, from: &str, name: &str, to: &[String]) -> bool {
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

    /// Checks everything that arrived.
    pub(super) fn read(&mut self) {
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
    pub(super) fn calm_down(&mut self) {
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
    pub(super) fn same_data(&self) {
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
pub(super) fn may_reach(name: &str, to: &[String]) -> bool {
    to.is_empty()
        || to.iter().any(|to| match to.as_str() {
            to if to.contains('#') => to.ends_with(&format!("#{name}")),
            to => to == user(name) || ROOMS.contains(&to),
        })
}
