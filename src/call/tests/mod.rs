//! Tests of call signalling.
