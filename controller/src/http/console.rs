//! The web console, carried in the binary.

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::RustEmbed;

use super::problem::Problem;

#[derive(RustEmbed)]
#[folder = "console/dist/"]
#[allow_missing = true]
struct Dist;

const WITHOUT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Cordon</title>\
<h1>This controller was built without its console</h1>\
<p>The REST interface under <code>/api/v1</code> and <code>cordonctl</code> work. To have the console, \
run <code>npm ci &amp;&amp; npm run build</code> in <code>controller/console</code> and build the \
controller again; <code>cargo xtask demo</code> does both.</p></html>";

/// Files are named by the hash of what is in them, the page that names them is not.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const EVERY_TIME: HeaderValue = HeaderValue::from_static("no-cache");

/// A file of the console. Its pages are in the URL's fragment, so `/` is the only page.
pub async fn file(uri: Uri, headers: HeaderMap) -> Response {
    let path = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    if let Some(file) = Dist::get(path) {
        return answer(path, &file, &headers);
    }
    if path == "index.html" {
        return (StatusCode::NOT_FOUND, Html(WITHOUT)).into_response();
    }
    Problem::not_found("page").into_response()
}

fn answer(path: &str, file: &rust_embed::EmbeddedFile, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", hex::encode(file.metadata.sha256_hash()));
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let keep = if path.starts_with("assets/") {
        FOREVER
    } else {
        EVERY_TIME
    };
    let mut response = file.data.clone().into_owned().into_response();
    let out = response.headers_mut();
    out.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(media_type(path)),
    );
    out.insert(header::CACHE_CONTROL, keep);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(header::ETAG, tag);
    }
    response
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("woff2") => "font/woff2",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}
