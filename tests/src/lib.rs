//! The lab: a fleet of network namespaces on one machine, and the end-to-end tests in it.
#![forbid(unsafe_code)]

pub mod bench;
pub mod command;
pub mod demo;
pub mod eval;
pub mod fleet;
pub mod lab;
pub mod narrator;
pub mod record;
pub mod wait;
