//! The interface, described by itself: OpenAPI 3.1.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};

use super::{
    accounts, approvals, audit, auth, detections, dto, events, gate, hosts, incidents, orders,
    policies, problem, steps, tokens,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cordon controller",
        description = "Every answer that is not a success is an RFC 9457 problem. Requests that change \
                       something need the header x-cordon-csrf unless they carry an API token."
    ),
    paths(
        document,
        auth::login,
        auth::logout,
        auth::me,
        auth::change_password,
        hosts::list,
        hosts::one,
        hosts::release_challenge,
        orders::isolate,
        orders::release,
        steps::create,
        steps::undo,
        approvals::list,
        approvals::approve,
        approvals::refuse,
        incidents::list,
        incidents::one,
        incidents::judge,
        detections::list,
        orders::list,
        orders::one,
        events::list,
        policies::list,
        policies::push,
        tokens::list,
        tokens::create,
        accounts::list,
        accounts::create,
        audit::list,
    ),
    components(schemas(
        problem::ProblemBody,
        dto::Host,
        dto::Peers,
        dto::Incident,
        dto::IncidentRow,
        dto::StoredDetection,
        dto::Order,
        dto::Approval,
        dto::Event
    ))
)]
struct Interface;

/// The whole document.
pub fn describe() -> Document {
    let mut document = Interface::openapi();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "session",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(gate::COOKIE))),
    );
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    let either = ["session", "token"].map(|name| SecurityRequirement::new(name, [""; 0]));
    document.security = Some(either.to_vec());
    document
}

/// This document.
#[utoipa::path(operation_id = "document", get, path = "/api/v1/openapi.json", responses((status = 200, description = "OpenAPI 3.1")))]
pub async fn document() -> Json<Document> {
    Json(describe())
}

#[cfg(test)]
mod tests {
    use super::super::access::TABLE;
    use super::*;

    #[test]
    fn every_route_is_described() {
        let document = serde_json::to_value(describe()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut names = std::collections::HashSet::new();
        for (method, path, _) in TABLE {
            let described = &document["paths"][format!("{}{path}", super::super::BASE)];
            let method = method.name().to_lowercase();
            let name = described[&method]["operationId"].as_str();
            assert!(names.insert(name.unwrap_or_default()), "{method} {path}");
        }
    }
}
