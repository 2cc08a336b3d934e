//! The controller: gRPC, HTTP, console and cordonctl.
//!
//! - [`init`]: makes a site.
//! - [`serve`]: runs it.
//! - [`http`]: the console and the REST interface.
//! - [`incidents`]: from stored facts to what people read.
//! - [`notify`]: tells people.
//! - [`ctl`]: the command `cordonctl`.
#![forbid(unsafe_code)]

pub mod config;
pub mod ctl;
pub mod http;
pub mod incidents;
pub mod init;
pub mod layout;
pub mod notify;
pub mod secret;
pub mod serve;
