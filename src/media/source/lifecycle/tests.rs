//! The table of transitions, and what only shows over a longer time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn error(kind: ErrorKind) -> MediaError {
    MediaError::new(kind, "rtsp://192.0.2.7/s3cret")
}

/// A source, its clock, and what was put out, in words.
struct World {
    life: Lifecycle,
    now: Instant,
}

impl World {
    fn new(reopening: Reopening) -> World {
        let config = Config { reopening, pluggable: true, stalled: error(ErrorKind::Stalled) };
        World { life: Lifecycle::new(config), now: Instant::now() }
    }

    fn state(&self) -> String {
        let left = |until: Instant| until.saturating_duration_since(self.now).as_secs_f32();
        match &self.life.state {
            State::Closed => "closed".into(),
            State::Opening(_) => "opening".into(),
            State::Playing(_) => "playing".into(),
            State::Lost { absent: false, .. } => "lost".into(),
            State::Lost { absent: true, .. } => "absent".into(),
            State::Waiting { until, next: Next::Try } => format!("tries in {}", left(*until)),
            State::Waiting { until, next: Next::Look } => format!("looks in {}", left(*until)),
            State::Waiting { until, next: Next::Round } => format!("repeats in {}", left(*until)),
            State::Ended => "ended".into(),
            State::GaveUp => "gave up".into(),
        }
    }

    /// What an input does: "the state after it: what was put out".
    fn does(&mut self, input: &str) -> String {
        if input == "stall" {
            // As much time as any quiet takes.
            self.now += FIRST;
        }
        let input = match input {
            "wanted" => Input::Wanted,
            "unwanted" => Input::Unwanted,
            "opened" => Input::Opened,
            "alive" => Input::Alive(self.now),
            "frame" => Input::FirstFrame,
            "reopen" => Input::Reopen,
            "busy" => Input::Failed(error(ErrorKind::CameraBusy)),
            "unplugged" => Input::Failed(error(ErrorKind::NoCamera)),
            "silent" => Input::Failed(error(ErrorKind::Unreachable)),
            "refused" => Input::Failed(error(ErrorKind::Unauthorized)),
            "end" => Input::Ended,
            "stall" | "timeout" => Input::Timeout,
            other => panic!("{other}"),
        };
        self.life.handle_input(input, self.now);
        let mut out = Vec::new();
        loop {
            out.push(match self.life.poll_output() {
                Output::Timeout(_) => break,
                Output::Open => "open".to_owned(),
                Output::Close => "close".into(),
                Output::Event(SourceEvent::State(status)) => {
                    format!("{}/{}", status.state.as_str(), status.code)
                }
                Output::Event(SourceEvent::Failed(error)) => format!("Failed({})", error.code()),
                Output::Event(SourceEvent::Stalled(_)) => "Stalled".into(),
                Output::Event(event) => format!("{event:?}"),
            });
        }
        if out.is_empty() { self.state() } else { format!("{}: {}", self.state(), out.join(" ")) }
    }

    /// Passes over what inputs do.
    fn after(mut self, inputs: &[&str]) -> World {
        inputs.iter().for_each(|input| _ = self.does(input));
        self
    }
}

const INPUTS: [&str; 13] = [
    "wanted",
    "unwanted",
    "opened",
    "alive",
    "frame",
    "reopen",
    "busy",
    "unplugged",
    "silent",
    "refused",
    "end",
    "stall",
    "timeout",
];

/// Of each state what each input does in it; those that are left out must do nothing at all.
type Table<'a> = &'a [(&'a str, &'a [&'a str], &'a [(&'a str, &'a str)])];

fn check(reopening: Reopening, table: Table<'_>) {
    for (state, path, transitions) in table {
        assert!(transitions.iter().all(|(input, _)| INPUTS.contains(input)), "{state}");
        for input in INPUTS {
            let mut world = World::new(reopening).after(path);
            assert_eq!(world.state(), *state, "the way to it");
            let expected = transitions.iter().find(|(of, _)| *of == input).map(|(_, does)| *does);
            // A wait ends by the time that a stall takes.
            let found = world.does(input);
            assert_eq!(found, expected.unwrap_or(state), "{state}, {input}");
        }
    }
}

#[test]
fn a_live_source() {
    let closing = ("unwanted", "closed: close Stopped");
    check(
        Reopening::AfterWait,
        &[
            ("closed", &[], &[("wanted", "opening: starting/starting open")]),
            (
                "opening",
                &["wanted"],
                &[
                    closing,
                    ("frame", "playing: playing/playing"),
                    ("reopen", "opening: close open"),
                    ("busy", "tries in 1: close Failed(camera-busy) lost/camera-busy"),
                    ("unplugged", "looks in 0.5: close Failed(no-camera) lost/no-camera"),
                    ("silent", "looks in 0.5: close Failed(unreachable) lost/unreachable"),
                    ("refused", "gave up: close Failed(unauthorized) failed/unauthorized GaveUp"),
                    ("end", "tries in 1: close Ended lost/ended"),
                    ("stall", "tries in 1: close Stalled lost/stalled"),
                ],
            ),
            (
                "playing",
                &["wanted", "opened", "alive", "frame"],
                &[
                    closing,
                    ("reopen", "opening: close open"),
                    ("busy", "tries in 1: close Failed(camera-busy) lost/camera-busy"),
                    ("unplugged", "looks in 0.5: close Failed(no-camera) lost/no-camera"),
                    ("silent", "tries in 1: close Failed(unreachable) lost/unreachable"),
                    ("refused", "gave up: close Failed(unauthorized) failed/unauthorized GaveUp"),
                    ("end", "tries in 1: close Ended lost/ended"),
                    ("stall", "tries in 1: close Stalled lost/stalled"),
                ],
            ),
            ("tries in 1", &["wanted", "busy"], &[("unwanted", "closed: Stopped"), ("stall", "lost: open")]),
            (
                "looks in 0.5",
                &["wanted", "unplugged"],
                &[("unwanted", "closed: Stopped"), ("stall", "absent: open")],
            ),
            (
                "lost",
                &["wanted", "busy", "stall"],
                &[
                    closing,
                    ("frame", "playing: playing/playing"),
                    ("reopen", "lost: close open"),
                    ("busy", "tries in 2: close Failed(camera-busy)"),
                    ("unplugged", "looks in 0.5: close Failed(no-camera) lost/no-camera"),
                    ("silent", "looks in 0.5: close Failed(unreachable) lost/unreachable"),
                    ("refused", "gave up: close Failed(unauthorized) failed/unauthorized GaveUp"),
                    ("end", "tries in 2: close Ended lost/ended"),
                    ("stall", "tries in 2: close Stalled lost/stalled"),
                ],
            ),
            (
                "absent",
                &["wanted", "unplugged", "stall"],
                &[
                    closing,
                    ("opened", "lost"),
                    ("frame", "playing: playing/playing"),
                    ("reopen", "absent: close open"),
                    ("busy", "tries in 1: close Failed(camera-busy) lost/camera-busy"),
                    // It was announced.
                    ("unplugged", "looks in 0.5: close"),
                    ("silent", "looks in 0.5: close"),
                    ("refused", "gave up: close Failed(unauthorized) failed/unauthorized GaveUp"),
                    ("end", "tries in 1: close Ended lost/ended"),
                    ("stall", "tries in 1: close Stalled lost/stalled"),
                ],
            ),
            (
                "gave up",
                &["wanted", "refused"],
                &[("wanted", "opening: starting/starting open"), ("unwanted", "closed")],
            ),
        ],
    );
}

#[test]
fn a_file_that_begins_again() {
    check(
        Reopening::AtEnd,
        &[
            (
                "opening",
                &["wanted"],
                &[
                    ("unwanted", "closed: close Stopped"),
                    ("frame", "playing: playing/playing"),
                    ("reopen", "opening: close open"),
                    ("busy", "gave up: close Failed(camera-busy) failed/camera-busy GaveUp"),
                    ("unplugged", "gave up: close Failed(no-camera) failed/no-camera GaveUp"),
                    ("silent", "gave up: close Failed(unreachable) failed/unreachable GaveUp"),
                    ("refused", "gave up: close Failed(unauthorized) failed/unauthorized GaveUp"),
                    ("end", "repeats in 1: close Ended"),
                    ("stall", "tries in 1: close Stalled lost/stalled"),
                ],
            ),
            (
                "repeats in 1",
                &["wanted", "frame", "end"],
                &[("unwanted", "closed: Stopped"), ("stall", "opening: open")],
            ),
        ],
    );
    // Its rounds pass without a word.
    let mut world = World::new(Reopening::AtEnd).after(&["wanted", "frame", "end", "stall"]);
    assert_eq!(world.does("frame"), "playing");
    world.now += SECOND * 3;
    assert_eq!(world.does("end"), "repeats in 0: close Ended", "a long one begins at once");
}

#[test]
fn a_file_that_is_played_once() {
    check(
        Reopening::Never,
        &[
            (
                "playing",
                &["wanted", "frame"],
                &[
                    ("unwanted", "closed: close Stopped"),
                    ("reopen", "opening: close open"),
                    ("busy", "gave up: close Failed(camera-busy) failed/camera-busy GaveUp"),
                    ("unplugged", "gave up: close Failed(no-camera) failed/no-camera GaveUp"),
                    ("silent", "gave up: close Failed(unreachable) failed/unreachable GaveUp"),
                    ("refused", "gave up: close Failed(unauthorized) failed/unauthorized GaveUp"),
                    ("end", "ended: close Ended ended/ended GaveUp"),
                    ("stall", "tries in 1: close Stalled lost/stalled"),
                ],
            ),
            (
                "ended",
                &["wanted", "frame", "end"],
                &[("wanted", "opening: starting/starting open"), ("unwanted", "closed")],
            ),
        ],
    );
}

#[test]
fn a_source_that_mends_itself() {
    let given_up = "gave up: close Failed(unauthorized) failed/unauthorized GaveUp";
    check(
        Reopening::ByItself,
        &[
            (
                "playing",
                &["wanted", "frame"],
                &[
                    ("unwanted", "closed: close Stopped"),
                    ("reopen", "opening: close open"),
                    ("busy", "lost: Failed(camera-busy) lost/camera-busy"),
                    ("unplugged", "lost: Failed(no-camera) lost/no-camera"),
                    ("silent", "lost: Failed(unreachable) lost/unreachable"),
                    ("refused", given_up),
                    ("end", "ended: close Ended ended/ended GaveUp"),
                ],
            ),
            (
                "lost",
                &["wanted", "frame", "busy"],
                &[
                    ("unwanted", "closed: close Stopped"),
                    ("frame", "playing: playing/playing"),
                    ("reopen", "lost: close open"),
                    ("busy", "lost: Failed(camera-busy)"),
                    ("unplugged", "lost: Failed(no-camera) lost/no-camera"),
                    ("silent", "lost: Failed(unreachable) lost/unreachable"),
                    ("refused", given_up),
                    ("end", "ended: close Ended ended/ended GaveUp"),
                ],
            ),
        ],
    );
}

#[test]
fn the_wait_doubles_up_to_half_a_minute() {
    let mut world = World::new(Reopening::AfterWait).after(&["wanted"]);
    let mut waits = Vec::new();
    for _ in 0..8 {
        waits.push(world.does("busy").split(':').next().expect("a state").to_owned());
        world.now += LONGEST_WAIT;
        world.does("timeout");
    }
    let expected = [1, 2, 4, 8, 16, 30, 30, 30].map(|seconds| format!("tries in {seconds}"));
    assert_eq!(waits, expected);
    assert_eq!(backoff(u32::MAX), LONGEST_WAIT);
}

#[test]
fn a_good_run_or_a_new_start_makes_the_wait_short_again() {
    let lost = || World::new(Reopening::AfterWait).after(&["wanted", "busy", "stall", "busy", "stall"]);
    let mut world = lost();
    world.does("frame");
    assert!(world.does("busy").starts_with("tries in 4:"), "a short run was no good one");
    let mut world = lost();
    world.does("frame");
    world.now += GOOD_RUN;
    assert!(world.does("busy").starts_with("tries in 1:"));
    let mut world = lost();
    world.now += GOOD_RUN;
    assert!(world.does("busy").starts_with("tries in 4:"), "it was open and gave nothing");
    let mut world = lost().after(&["unwanted", "wanted"]);
    assert!(world.does("busy").starts_with("tries in 1:"));
}

#[test]
fn a_quiet_source_stalls_later_before_its_first_sign_than_after_it() {
    let mut world = World::new(Reopening::AfterWait).after(&["wanted", "opened"]);
    let began = world.now;
    let wakes = |world: &mut World| match world.life.poll_output() {
        Output::Timeout(at) => at,
        other => panic!("{other:?}"),
    };
    assert_eq!(wakes(&mut world), Some(began + FIRST));
    world.now += SECOND;
    world.does("alive");
    assert_eq!(wakes(&mut world), Some(began + SECOND + STALL));
    world.does("frame");
    world.now += STALL - Duration::from_millis(1);
    assert_eq!(world.does("timeout"), "playing");
    world.now += Duration::from_millis(1);
    assert_eq!(world.does("timeout"), "tries in 1: close Stalled lost/stalled");
    assert_eq!(wakes(&mut world), Some(world.now + SECOND));
    world.now += SECOND;
    world.does("timeout");
    world.life.handle_input(Input::Alive(began), world.now);
    assert_eq!(wakes(&mut world), Some(world.now + FIRST), "that was the run before");
    world.does("unwanted");
    assert_eq!(wakes(&mut world), None);
}

#[test]
fn what_is_not_plugged_in_is_looked_for_without_a_word_and_announced_when_that_changes() {
    let mut world = World::new(Reopening::AfterWait).after(&["wanted", "unplugged"]);
    for _ in 0..10 {
        world.now += ABSENT;
        assert_eq!(world.does("timeout"), "absent: open");
        assert_eq!(world.does("unplugged"), "looks in 0.5: close");
    }
    world.now += ABSENT;
    world.does("timeout");
    assert_eq!(world.does("opened"), "lost");
    assert_eq!(world.does("frame"), "playing: playing/playing");
    assert_eq!(world.does("unplugged"), "looks in 0.5: close Failed(no-camera) lost/no-camera");
    // Whoever comes next is told anew.
    let mut world = world.after(&["unwanted", "wanted"]);
    assert_eq!(world.does("unplugged"), "looks in 0.5: close Failed(no-camera) lost/no-camera");
}

#[test]
fn a_host_that_answers_again_is_asked_within_a_second_however_long_it_was_gone() {
    for gone in (500..120_000).step_by(700).map(Duration::from_millis) {
        let mut world = World::new(Reopening::AfterWait).after(&["wanted", "opened", "alive", "frame"]);
        let lost = world.now;
        // The connection ends, which may be all that happened.
        assert_eq!(world.does("silent"), "tries in 1: close Failed(unreachable) lost/unreachable");
        let (mut tries, mut events) = (0, 0);
        loop {
            let Output::Timeout(Some(at)) = world.life.poll_output() else { panic!("it waits") };
            world.now = at;
            assert!(world.does("timeout").ends_with(": open"));
            if world.now >= lost + gone {
                break;
            }
            tries += 1;
            events += world.does("silent").matches("Failed").count();
        }
        let late = world.now - (lost + gone);
        assert!(late <= SECOND, "{late:?} after {gone:?} and {tries} tries");
        assert!(events <= 1, "it was announced");
        // The host is there, its stream is not: waits begin small if it was absent, and grow.
        world.does("opened");
        let silent = "close Failed(unreachable)";
        for seconds in if tries > 0 { [1, 2, 4] } else { [2, 4, 8] } {
            assert_eq!(world.does("silent"), format!("tries in {seconds}: {silent}"), "{gone:?}");
            world.does("stall");
            world.does("opened");
        }
    }
}
