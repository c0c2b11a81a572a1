//! Viewers who talk; on a virtual clock.

use super::{OFFER, World};
use crate::camera::permission::Permission;
use crate::camera::{Connect, Controllers, Signalling};

fn permission(users: &[&str]) -> Permission {
    let users = users.iter().map(|&user| user.to_owned()).collect();
    Permission::new(Controllers::Users(users), &Signalling::Connect(Connect::new("wss://a.example")))
}

/// Chromium's offer with a microphone.
fn with_microphone() -> String {
    let audio = OFFER.find("m=audio").expect("it has audio");
    let (before, after) = OFFER.split_at(audio);
    before.to_owned() + &after.replacen("a=recvonly", "a=sendrecv", 1)
}

#[test]
fn the_audio_of_who_may_talk_is_taken() {
    let mut world = World::with_talkers(permission(&["bob"]));
    for peer in ["bob|1", "eve|1"] {
        world.offer(peer, &with_microphone());
        let start = format!("call:answer {peer} ");
        let answer = world.said.iter().find(|said| said.starts_with(&start)).expect("answered");
        let sections = ["audio", "video"].map(|kind| {
            let section = answer.split("m=").find(|section| section.starts_with(kind)).expect(kind);
            ["sendrecv", "sendonly"].map(|way| section.contains(&format!("a={way}")))
        });
        assert_eq!(sections, [[peer == "bob|1", peer != "bob|1"], [false, true]], "{answer}");
    }
}
