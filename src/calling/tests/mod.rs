//! Programs that call each other, on a virtual network and clock.

#[cfg(feature = "calls")]
mod conversations;
#[cfg(feature = "calls")]
mod crossing;
#[cfg(feature = "calls")]
mod data;
#[cfg(feature = "calls")]
mod renegotiating;
#[cfg(feature = "calls")]
mod world;
