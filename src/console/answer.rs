//! What each path answers.
//!
//! Reads what is told and changes nothing, so only GET is answered. Status codes are for machines: 200 when it
//! is so, 503 when it isn't, with the reason as JSON.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::Told;
use crate::metrics::{CONTENT_TYPE, Liveness, Phase};

const INDEX: &str = "tollgate\n\n\
    /metrics  numbers for Prometheus, as OpenMetrics text\n\
    /livez    200 while the job's loop turns, 503 with the reason when it should be restarted\n\
    /readyz   200 while events are answered, 503 with what it waits for otherwise\n";

pub(super) fn router(told: Told) -> Router {
    Router::new()
        .route("/", get(async || INDEX))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(async || (StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n"))
        .layer(middleware::from_fn(only_get))
        .with_state(told)
}

/// Refuses all other methods, on any path, and closes the connection behind each answer.
async fn only_get(request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::GET {
        next.run(request).await
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")], "only GET is answered\n").into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn metrics(State(told): State<Told>) -> Response {
    let turn_age = told.health.turn_age(told.clock.elapsed());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], told.metrics.render(turn_age)).into_response()
}

async fn livez(State(told): State<Told>) -> Response {
    let state = told.health.phase().name();
    match told.health.liveness(told.clock.elapsed()) {
        Liveness::Alive { age } => {
            let body = json!({ "alive": true, "state": state, "last_turn_seconds": age.as_secs_f64() });
            json_response(StatusCode::OK, &body)
        }
        Liveness::Hung { reason } => {
            let body = json!({ "alive": false, "state": state, "reason": reason });
            json_response(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}

async fn readyz(State(told): State<Told>) -> Response {
    let readiness = told.health.readiness();
    let progress = match readiness.phase {
        Phase::Starting => 0.0,
        Phase::Recovering { progress } => progress,
        Phase::Agreeing | Phase::Running | Phase::Draining | Phase::Stopped => 1.0,
    };
    let body = json!({
        "ready": readiness.waits_for.is_none(),
        "state": readiness.phase.name(),
        "progress": progress,
        "partitions": readiness.partitions,
        "waits_for": readiness.waits_for,
    });
    let status = match readiness.waits_for {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    json_response(status, &body)
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
