//! Wire format, typed ids, signed envelope and the signed documents shared by agent and controller.
//!
//! - [`pb`]: generated from `proto/cordon/v1/fleet.proto` (a test regenerates and compares it).
//! - [`envelope`]: DSSE, the only way a signed document is read or written.
//! - [`policy`], [`order`]: the documents that flow down.
//! - [`model`]: a site's word for a model.
//! - [`release`]: challenge, code and signed file that open a host without the controller; the code that stops its agent.
//! - [`record`]: what flows up, kept on the agent's disk until the controller has committed it.
//! - [`verdict`]: what the judge says of a story.
//! - [`id`]: typed ids.
#![forbid(unsafe_code)]

pub mod envelope;
pub mod id;
pub mod model;
pub mod order;
/// Generated protobuf and gRPC types of package `cordon.v1`.
#[expect(clippy::pedantic, missing_docs, reason = "generated code")]
pub mod pb {
    include!("generated/cordon.v1.rs");
}
pub mod policy;
pub mod process;
pub mod record;
pub mod release;
pub mod verdict;

/// Version of the wire protocol in [`pb::Hello`]. A controller refuses a hello it does not know.
pub const PROTOCOL_VERSION: u32 = 1;

/// Socket mark on the agent's own sockets to the controller: the one thing that isolation lets
/// reach the controller's pinned address. "crdn" in ASCII.
pub const AGENT_SOCKET_MARK: u32 = 0x6372_646e;

/// DNS name in every controller's server certificate, whatever address it is reached by. Agents check
/// for it, so that a host's own certificate, signed by the same CA, can never pass for the controller.
pub const CONTROLLER_SERVER_NAME: &str = "controller.cordon.internal";
