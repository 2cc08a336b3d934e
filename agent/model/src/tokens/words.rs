//! One word for each kind of descriptor and class of user.

use cordon_behavior::story::StdioKind;

/// The name of a kind, as in the story's JSON.
pub fn stdio_name(kind: StdioKind) -> &'static str {
    match kind {
        StdioKind::Tty => "tty",
        StdioKind::Null => "null",
        StdioKind::Pipe => "pipe",
        StdioKind::File => "file",
        StdioKind::Socket => "socket",
        StdioKind::UnixSocket => "unix_socket",
        StdioKind::Closed => "closed",
        StdioKind::Other => "other",
        StdioKind::Unknown => "unknown",
    }
}

/// Users as classes: root, a service, a person.
pub fn user_class(uid: u32) -> &'static str {
    match uid {
        0 => "root",
        1..1000 | 65_534 => "service",
        _ => "person",
    }
}
