//! The rack's API: parses, authorises, calls a command, renders. One declaration per operation is in `hoist-api`.

mod apps;
mod builds;
mod call;
mod command_output;
mod env;
mod moving;
mod params;
mod planned;
mod processes;
mod promotions;
mod prune;
mod racks;
mod releases;
mod sessions;
mod sources;
mod stream;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hoist_api::endpoint::CHECK_PATH;
use hoist_api::error::{ErrorBody, ErrorCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use crate::rack::Rack;

/// Every operation in its place, and a JSON answer for every other path.
pub fn router(rack: Arc<Rack>) -> Router {
    let router = Router::new().route(CHECK_PATH, get(|| async { "ok\n" }));
    let router = racks::mount(router);
    let router = apps::mount(router);
    let router = params::mount(router);
    let router = builds::mount(router);
    let router = moving::mount(router);
    let router = sources::mount(router);
    let router = releases::mount(router);
    let router = promotions::mount(router);
    let router = prune::mount(router);
    let router = env::mount(router);
    let router = processes::mount(router);
    let router = sessions::mount(router);
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(rack)
}

async fn no_route(State(_): State<Arc<Rack>>, request: Request) -> Response {
    call::refused(ErrorBody {
        code: ErrorCode::RouteNotFound,
        message: format!("there is nothing at {}", request.uri().path()),
        hint: Some("GET /v1/openapi.json lists every operation".to_owned()),
        request_id: call::request_id(),
    })
}

async fn no_method(State(_): State<Arc<Rack>>, request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    call::refused(ErrorBody {
        code: ErrorCode::MethodNotAllowed,
        message: format!("{path} does not take {method}"),
        hint: Some("GET /v1/openapi.json lists every operation".to_owned()),
        request_id: call::request_id(),
    })
    .into_response()
}

/// Serves the API until the listener's task is dropped.
pub async fn serve(rack: Arc<Rack>, listener: TcpListener) {
    let service = TowerToHyperService::new(router(rack));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors: wait for some to come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        tokio::spawn(async move {
            let mut server = auto::Builder::new(TokioExecutor::new());
            server
                .http1()
                .timer(hyper_util::rt::TokioTimer::new())
                .header_read_timeout(std::time::Duration::from_secs(30));
            // A client that goes away is no event.
            let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
            let _ = connection.await;
        });
    }
}
