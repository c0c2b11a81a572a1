//! Tests of call signalling: the tables row by row, two ends over a virtual network, and random inputs.

mod anything;
mod bench;
mod early;
mod glare;
mod goodbye;
mod limits;
mod net;
mod rules;
mod scenarios;
mod signalling;
