//! The program `symple` as people and scripts meet it: started as it is built, talked to over its port.
#![cfg(all(feature = "program", unix))]

mod command_line;
mod http;
mod peers;
mod signals;
mod tls;
mod watch;
mod world;
