//! Two ends on a virtual network and clock.

mod description;
mod viewing;
mod world;
