//! Commands to the controls: each is answered.

use super::*;

/// A camera whose one control everybody may set.
fn with_a_control() -> World {
    use crate::camera::permission::Permission;
    use crate::camera::{Controllers, Serve, Signalling};
    use crate::media::source::controls::{Control, ControlKind};

    let gain = Control::new(0x0098_0913, "Gain", ControlKind::Integer { min: 0, max: 255, step: 1 });
    let signalling = Signalling::Serve(Serve::default());
    let controls = ControlCommands::new(Permission::new(Controllers::Everybody, &signalling), vec![gain]);
    World::of(4, true, AnswerPolicy::All, Some(controls))
}

fn control_command(world: &mut World, id: u64) {
    let text = format!(
        r#"{{"type":"command","id":"c{id}","from":"bob|1","node":"camera:control","action":"list"}}"#
    );
    let command = Message::parse(text).expect("a command");
    assert!(world.core.is_control(&command));
    world.input(Input::Control { command, whence: Whence::Unknown, request: RequestId(id) });
}

#[test]
fn a_control_command_is_answered_in_time_although_the_device_is_silent() {
    let mut world = with_a_control();
    control_command(&mut world, 1);
    world.wait(Duration::from_secs(4));
    control_command(&mut world, 2);
    assert_eq!(world.control_requests, [RequestId(1), RequestId(2)]);
    world.wait(Duration::from_millis(5_990));
    assert_eq!(world.replies, []);
    world.wait(Duration::from_millis(10));
    assert_eq!(world.replies, [(Some("c1".to_owned()), 503)]);
    world.input(Input::Source(SourceEvent::ControlsRead { request: RequestId(2), result: Ok(vec![]) }));
    assert_eq!(world.replies[1..], [(Some("c2".to_owned()), 200)]);
    world.wait(Duration::from_secs(60));
    assert_eq!(world.replies.len(), 2);
}

#[test]
fn control_commands_to_a_source_that_is_replaced_are_answered() {
    let mut world = with_a_control();
    control_command(&mut world, 1);
    world.input(Input::Replaced { streams: streams(true, None), live: true });
    assert_eq!(world.replies, [(Some("c1".to_owned()), 503)]);
}
