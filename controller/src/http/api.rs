//! The routes, each behind its gate.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use cordon_proto::envelope::MAX_ENVELOPE_BYTES;

use super::access::{Method, need};
use super::{
    AppState, accounts, approvals, audit, auth, detections, events, gate, hosts, incidents,
    no_such_route, openapi, orders, policies, steps, tokens,
};

/// Routes and the paths that they were given, so that a test can hold both against the table.
pub struct Routes {
    app: AppState,
    router: Router<AppState>,
    listed: Vec<(Method, &'static str)>,
}

impl Routes {
    fn new(app: &AppState) -> Self {
        Self {
            app: app.clone(),
            router: Router::new(),
            listed: Vec::new(),
        }
    }

    fn get<H: Handler<T, AppState>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add(Method::Get, path, get(handler))
    }

    fn post<H: Handler<T, AppState>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add(Method::Post, path, post(handler))
    }

    fn add(mut self, method: Method, path: &'static str, route: MethodRouter<AppState>) -> Self {
        let gate = from_fn_with_state((self.app.clone(), need(method, path)), gate::pass);
        self.router = self.router.route(path, route.route_layer(gate));
        self.listed.push((method, path));
        self
    }
}

/// All routes, without the base path.
pub fn routes(app: &AppState) -> Routes {
    let envelopes = DefaultBodyLimit::max(MAX_ENVELOPE_BYTES);
    Routes::new(app)
        .get("/openapi.json", openapi::document)
        .post("/login", auth::login)
        .post("/logout", auth::logout)
        .get("/me", auth::me)
        .post("/me/password", auth::change_password)
        .get("/hosts", hosts::list)
        .get("/hosts/{id}", hosts::one)
        .post("/hosts/{id}/isolate", orders::isolate)
        .post("/hosts/{id}/release", orders::release)
        .post("/hosts/{id}/approve", approvals::approve)
        .post("/hosts/{id}/refuse", approvals::refuse)
        .post("/hosts/{id}/orders", steps::create)
        .post("/hosts/{id}/release-challenge", hosts::release_challenge)
        .get("/approvals", approvals::list)
        .get("/incidents", incidents::list)
        .get("/incidents/{id}", incidents::one)
        .post("/incidents/{id}/verdict", incidents::judge)
        .get("/detections", detections::list)
        .get("/orders", orders::list)
        .get("/orders/{id}", orders::one)
        .post("/orders/{id}/undo", steps::undo)
        .get("/events", events::list)
        .get("/policies", policies::list)
        .post("/policies", policies::push.layer(envelopes))
        .get("/tokens", tokens::list)
        .post("/tokens", tokens::create)
        .get("/users", accounts::list)
        .post("/users", accounts::create)
        .get("/audit", audit::list)
}

/// The interface as one router.
pub fn router(app: &AppState) -> Router {
    let router = routes(app).router;
    router
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app.clone())
}

async fn no_such_method() -> super::problem::Problem {
    super::problem::Problem::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "this path has another method; /api/v1/openapi.json lists them",
    )
}
