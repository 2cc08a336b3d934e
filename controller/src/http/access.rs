//! Who may call what: the one table. A route that is not in it is refused to everybody.
//!
//! Roles are a ladder: viewer, responder, engineer, admin; each may do what those before it may.

use cordon_store::Role;

/// All roles, the one that may least first.
pub const ROLES: [Role; 4] = [Role::Viewer, Role::Responder, Role::Engineer, Role::Admin];

/// The name in JSON and on the screen.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Responder => "responder",
        Role::Engineer => "engineer",
        Role::Admin => "admin",
    }
}

/// Reads a [`role_name`].
pub fn parse_role(text: &str) -> Result<Role, String> {
    let found = ROLES.into_iter().find(|role| role_name(*role) == text);
    found.ok_or_else(|| {
        format!("no role {text:?}; the roles are viewer, responder, engineer and admin")
    })
}

/// HTTP methods that the interface uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads; changes nothing.
    Get,
    /// Changes something.
    Post,
}

impl Method {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// What a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: this is how one signs in.
    Nobody,
    /// To be signed in, with this role or one that may more.
    AtLeast(Role),
}

impl Need {
    /// Whether a signed-in `role` is enough.
    pub fn admits(self, role: Role) -> bool {
        match self {
            Self::Nobody => true,
            Self::AtLeast(least) => role >= least,
        }
    }
}

const VIEWER: Need = Need::AtLeast(Role::Viewer);
const RESPONDER: Need = Need::AtLeast(Role::Responder);
const ENGINEER: Need = Need::AtLeast(Role::Engineer);
const ADMIN: Need = Need::AtLeast(Role::Admin);

/// Every route under `/api/v1` and what it needs.
pub const TABLE: &[(Method, &str, Need)] = &[
    (Method::Get, "/openapi.json", Need::Nobody),
    (Method::Post, "/login", Need::Nobody),
    (Method::Post, "/logout", VIEWER),
    (Method::Get, "/me", VIEWER),
    (Method::Post, "/me/password", VIEWER),
    (Method::Get, "/hosts", VIEWER),
    (Method::Get, "/hosts/{id}", VIEWER),
    (Method::Post, "/hosts/{id}/isolate", RESPONDER),
    (Method::Post, "/hosts/{id}/release", RESPONDER),
    (Method::Post, "/hosts/{id}/approve", RESPONDER),
    (Method::Post, "/hosts/{id}/refuse", RESPONDER),
    (Method::Post, "/hosts/{id}/orders", RESPONDER),
    (Method::Post, "/hosts/{id}/release-challenge", RESPONDER),
    (Method::Get, "/approvals", VIEWER),
    (Method::Get, "/incidents", VIEWER),
    (Method::Get, "/incidents/{id}", VIEWER),
    (Method::Post, "/incidents/{id}/verdict", RESPONDER),
    (Method::Get, "/detections", VIEWER),
    (Method::Get, "/orders", VIEWER),
    (Method::Get, "/orders/{id}", VIEWER),
    (Method::Post, "/orders/{id}/undo", RESPONDER),
    (Method::Get, "/events", VIEWER),
    (Method::Get, "/policies", VIEWER),
    (Method::Post, "/policies", ENGINEER),
    (Method::Get, "/tokens", ADMIN),
    (Method::Post, "/tokens", ADMIN),
    (Method::Get, "/users", ADMIN),
    (Method::Post, "/users", ADMIN),
    (Method::Get, "/audit", ADMIN),
];

/// What a route needs; nothing when the table does not know it.
pub fn need(method: Method, path: &str) -> Option<Need> {
    let row = TABLE.iter().find(|row| row.0 == method && row.1 == path);
    row.map(|row| row.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_is_listed_twice() {
        for (index, (method, path, _)) in TABLE.iter().enumerate() {
            let again = TABLE[index + 1..]
                .iter()
                .any(|r| r.0 == *method && r.1 == *path);
            assert!(!again, "{} {path}", method.name());
        }
    }

    #[test]
    fn a_viewer_changes_nothing_but_itself() {
        let own = ["/login", "/logout", "/me/password"];
        for (method, path, need) in TABLE {
            if *method == Method::Post && !own.contains(path) {
                assert!(!need.admits(Role::Viewer), "{path}");
            }
        }
    }

    #[test]
    fn roles_read_as_they_are_written_and_are_a_ladder() {
        for role in ROLES {
            assert_eq!(parse_role(role_name(role)), Ok(role));
            assert_eq!(serde_json::json!(role), role_name(role));
        }
        assert!(ROLES.is_sorted());
        assert!(parse_role("root").is_err());
    }
}
