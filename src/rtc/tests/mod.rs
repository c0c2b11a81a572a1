//! Two ends on a virtual network and clock.

mod camera_moves;
mod changing_codec;
#[cfg(feature = "recv")]
mod channels;
mod description;
mod ending;
mod full_socket;
mod hostile;
#[cfg(feature = "recv")]
mod hostile_channels;
mod ice_restarts;
mod moves;
mod numbers;
mod other_stacks;
#[cfg(feature = "recv")]
mod pair;
mod panics;
mod paths;
mod probing;
#[cfg(feature = "recv")]
mod receiving;
#[cfg(feature = "recv")]
mod renegotiating;
mod reports;
mod riding;
#[cfg(feature = "recv")]
mod rollover;
mod serving;
mod several_sections;
mod shards;
mod shared_ports;
#[cfg(feature = "recv")]
mod simulcast;
#[cfg(feature = "recv")]
mod ten_minutes;
mod viewing;
mod world;
