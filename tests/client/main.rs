//! The client core alone, against a scripted server, on a virtual clock.

mod answers;
mod connecting;
mod disclosure;
mod limits;
mod messages;
mod reconnecting;
mod rooms;
mod roster;
mod scenario;
