//! Listening sockets: bound before anything else happens, accepting once the broker is open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mailrail_broker::Broker;
use mailrail_broker::connection::Connection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::buffers::Buffers;
use crate::driver::{self, Ended, Phase};
use crate::metering::ConnectionMeter;
use crate::tls::Tls;

/// How long to wait after accepting failed, as it does when the process has too many open files.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Connections the system may hold before they are accepted.
const BACKLOG: i32 = 1_024;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{key} {address} cannot be listened on: {error}")]
pub struct BindError {
    key: &'static str,
    address: SocketAddr,
    error: std::io::Error,
}

/// Binds an address; `key` is the setting it comes from.
pub fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let open = || {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|error| BindError { key, address, error })
}

/// What all listeners share.
#[derive(Clone)]
pub struct Shared {
    pub broker: Broker,
    pub places: Arc<Semaphore>,
    pub buffers: Arc<Buffers>,
    pub phase: watch::Receiver<Phase>,
    pub tls: Tls,
}

/// Accepts connections of one protocol until the broker drains; returns when all of them have ended.
pub async fn accept<C: Connection + 'static>(
    protocol: &'static str,
    listener: TcpListener,
    shared: Shared,
    connect: impl Fn(&Broker, SocketAddr) -> C,
) {
    let meter = ConnectionMeter::new(protocol);
    let mut phase = shared.phase.clone();
    let ended = async move { no_longer_running(&mut phase).await };
    let run = |stream, peer| {
        let connection = connect(&shared.broker, peer);
        run(protocol, stream, peer, connection, shared.clone(), meter.clone())
    };
    accept_each(protocol, listener, shared.places.clone(), ended, run).await;
}

/// Accepts connections until `ended`, and runs each in a task of its own while there are places for them. Returns when
/// all of them have ended.
pub async fn accept_each<R: Future<Output = ()> + Send + 'static>(
    protocol: &'static str,
    listener: TcpListener,
    places: Arc<Semaphore>,
    ended: impl Future<Output = ()>,
    run: impl Fn(TcpStream, SocketAddr) -> R,
) {
    let mut connections = JoinSet::new();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // On a listener of both families, clients of the older one come as mapped addresses.
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    let Ok(place) = places.clone().try_acquire_owned() else {
                        tracing::warn!(protocol, %peer, "refused: too many connections");
                        continue;
                    };
                    let running = run(stream, peer);
                    connections.spawn(async move {
                        running.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(protocol, %error, "accepting failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            () = &mut ended => break,
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn no_longer_running(phase: &mut watch::Receiver<Phase>) {
    // An error means that the sender has gone, which ends everything too.
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
}

async fn run<C: Connection>(
    protocol: &'static str,
    stream: TcpStream,
    peer: SocketAddr,
    mut connection: C,
    shared: Shared,
    meter: ConnectionMeter,
) {
    tracing::debug!(protocol, %peer, "connected");
    let _open = meter.opened();
    let mut phase = shared.phase.clone();
    let entered = tokio::select! {
        entered = shared.tls.enter(stream) => entered,
        () = no_longer_running(&mut phase) => return,
    };
    let stream = match entered {
        Ok(stream) => stream,
        Err(error) => return tracing::info!(protocol, %peer, %error, "closed before it began"),
    };
    let entry = shared.broker.enter_client(protocol, peer);
    connection.session().count_for(Some(entry.client().clone()));
    let ended = driver::drive(stream, connection, shared.phase, &meter, shared.buffers).await;
    if let Ended::ForMemory(why) = ended {
        tracing::info!(protocol, %peer, why, "closed: others wait for the memory it keeps");
    }
    tracing::debug!(protocol, %peer, ?ended, "disconnected");
}
