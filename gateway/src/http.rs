//! The HTTP listener: the REST protocol's routes, and the process's own metrics. Connections live within limits of
//! number and time; what requests may take is the routes' business.

mod patient;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mailrail_broker::Client;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::patient::PatientStream;
use crate::driver::Phase;
use crate::listeners::{self, Shared};
use crate::metering::{ConnectionMeter, MemoryMeter};
use crate::stream::Stream;

const PROTOCOL: &str = "http";
/// Content type of the Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often the recorder folds what was recorded, so that it does not pile up while nobody asks.
const UPKEEP: Duration = Duration::from_secs(5);
/// Bytes that a connection may hold of what was read and not understood yet, a request's head above all.
const READ_BYTES_MAX: usize = 64 * 1024;

/// How long a connection waits for its peer.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a whole request head: the first one, and the next one of a connection that is kept open.
    pub head: Duration,
    /// For the peer to take any byte of what is to be written.
    pub stall: Duration,
    /// For what is under way, once the broker closes.
    pub close: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let (head, stall) = (Duration::from_secs(30), Duration::from_secs(30));
        Timeouts { head, stall, close: Duration::from_secs(5) }
    }
}

/// The process's metrics, whose recorder is kept small, and what `series` writes besides.
pub fn metrics_routes(
    metrics: PrometheusHandle,
    memory: MemoryMeter,
    series: impl Fn() -> String + Clone + Send + Sync + 'static,
) -> Router {
    let rendered = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.run_upkeep();
        }
    });
    let memory = Arc::new(memory);
    Router::new().route(
        "/metrics",
        get(move || {
            memory.look();
            let (rendered, series) = (rendered.clone(), series.clone());
            async move {
                // Where topics are many, this takes longer than other requests should wait for.
                let text = tokio::task::spawn_blocking(move || rendered.render() + &series()).await;
                let text = text.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
                Ok::<_, StatusCode>(([(header::CONTENT_TYPE, METRICS_TYPE)], text))
            }
        }),
    )
}

/// Serves until the broker closes, so that readiness is answered while it drains; returns when all connections have
/// ended.
pub async fn serve(listener: TcpListener, routes: Router, shared: Shared, timeouts: Timeouts) {
    let meter = ConnectionMeter::new(PROTOCOL);
    let mut phase = shared.phase.clone();
    let closing = async move { closed(&mut phase).await };
    let run = |stream, peer| {
        let (routes, mut phase, meter) = (routes.clone(), shared.phase.clone(), meter.clone());
        let (tls, broker) = (shared.tls.clone(), shared.broker.clone());
        async move {
            tracing::debug!(protocol = PROTOCOL, %peer, "connected");
            let _open = meter.opened();
            let entered = tokio::select! {
                entered = tls.enter(stream) => entered,
                () = closed(&mut phase) => return,
            };
            let stream = match entered {
                Ok(stream) => stream,
                Err(error) => {
                    return tracing::info!(protocol = PROTOCOL, %peer, %error, "closed before it began");
                }
            };
            let entry = broker.enter_client(PROTOCOL, peer);
            let client = entry.client().clone();
            let ended = connection(stream, (peer, client), routes, phase, &meter, timeouts).await;
            tracing::debug!(protocol = PROTOCOL, %peer, ?ended, "disconnected");
        }
    };
    listeners::accept_each(PROTOCOL, listener, shared.places.clone(), closing, run).await;
}

async fn closed(phase: &mut watch::Receiver<Phase>) {
    // An error means that the sender has gone, which ends everything too.
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
}

async fn connection(
    stream: Stream,
    (peer, client): (SocketAddr, Arc<Client>),
    routes: Router,
    mut phase: watch::Receiver<Phase>,
    meter: &ConnectionMeter,
    timeouts: Timeouts,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay()?;
    let stream = PatientStream::new(stream, timeouts.stall, meter.clone());
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(client.clone());
        routes.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.head)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    tokio::select! {
        ended = served.as_mut() => return Ok(ended?),
        () = closed(&mut phase) => served.as_mut().graceful_shutdown(),
    }
    Ok(tokio::time::timeout(timeouts.close, served).await??)
}
