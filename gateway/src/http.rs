//! The HTTP listener: the REST protocol's routes, and the process's own metrics.

use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::driver::Phase;

/// Content type of the Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often the recorder folds what was recorded, so that it does not pile up while nobody asks.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves until the broker closes.
pub async fn serve(
    listener: TcpListener,
    rest: Router,
    metrics: PrometheusHandle,
    mut phase: watch::Receiver<Phase>,
) -> std::io::Result<()> {
    let rendered = metrics.clone();
    let router = rest.route(
        "/metrics",
        get(move || std::future::ready(([(header::CONTENT_TYPE, METRICS_TYPE)], rendered.render()))),
    );
    let upkeep = tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.run_upkeep();
        }
    });
    let closing = async move {
        let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
    };
    let served = axum::serve(listener, router).with_graceful_shutdown(closing).await;
    upkeep.abort();
    served
}
