//! Two network namespaces with a cable between them: the camera's, and that of the street, which has many addresses.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

pub(crate) const CAMERA: Ipv4Addr = Ipv4Addr::new(10, 83, 0, 1);
pub(crate) const OWNER: Ipv4Addr = Ipv4Addr::new(10, 83, 0, 2);
pub(crate) const VIEWERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 83, 0, 3), Ipv4Addr::new(10, 83, 0, 4)];
/// An address without a host.
pub(crate) const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 83, 0, 5);

/// The number of attackers' addresses.
pub(crate) const STRANGERS: u8 = 20;

const INSIDE: &str = "SYMPLE_TEST_STREET";

/// An attacker's address.
pub(crate) fn stranger(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 83, 0, 20 + (n % usize::from(STRANGERS)) as u8)
}

/// Whether this process is in the namespace of the street; returns the camera's namespace if so.
pub(crate) fn camera_namespace() -> Option<String> {
    std::env::var(INSIDE).ok()
}

pub(crate) fn is_inside() -> bool {
    camera_namespace().is_some()
}

/// Runs one test of this program again, on the street.
pub(crate) fn enter(test: &str) {
    let names = ["home", "street"].map(|part| format!("symple-{part}-{}", std::process::id()));
    let _gone = Gone(names.clone());
    let [home, street] = &names;
    let mut steps: Vec<String> = names.iter().map(|name| format!("netns add {name}")).collect();
    steps.push(format!("-n {home} link add eth0 type veth peer name eth0 netns {street}"));
    steps.push(format!("-n {home} address add {CAMERA}/24 dev eth0"));
    for ip in [OWNER, VIEWERS[0], VIEWERS[1], VICTIM].into_iter().chain((0..STRANGERS.into()).map(stranger)) {
        steps.push(format!("-n {street} address add {ip}/24 dev eth0"));
    }
    for name in &names {
        steps.push(format!("-n {name} link set lo up"));
        steps.push(format!("-n {name} link set eth0 up"));
    }
    for step in steps {
        if let Err(why) = ip(&step) {
            println!("SKIPPED: network namespaces cannot be made here (root and iproute2 are needed): {why}");
            return;
        }
    }
    let this = std::env::current_exe().expect("it runs");
    let status = Command::new("ip")
        .args(["netns", "exec", street])
        .arg(this)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, home)
        .status();
    assert!(status.expect("ip was there a moment ago").success(), "see above");
}

fn ip(args: &str) -> Result<(), String> {
    let output = Command::new("ip").args(args.split(' ')).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// Removes the namespaces, with their contents.
struct Gone([String; 2]);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.iter().for_each(|name| _ = ip(&format!("netns del {name}")));
    }
}
