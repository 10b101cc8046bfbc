//! Runs the connections: opens them, gives each its turn to send and to read, measures between two moments, and ends
//! when everything in flight has been answered. Knows bytes and times, no protocol.
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::conversation::{Connection, Failure, Workload};
use crate::observe::{self, Usage};
use crate::run::{Latencies, Pace, Run, Tally};
use crate::settings::Settings;

const READ_BYTES: usize = 256 * 1024;
/// A run in which nothing is acknowledged for so long has failed.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long requests in flight may take after the run ended.
const DRAIN_MAX: Duration = Duration::from_secs(15);
/// How often a run with a goal looks whether it got there or stalled; its end is taken from the last answer instead.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

/// The difference between two moments of one run.
pub struct Measured {
    pub seconds: f64,
    pub messages: u64,
    pub latencies: Latencies,
    /// The server when measuring began and when it ended.
    pub server: Option<(Usage, Usage)>,
    pub generator_cpu_us: f64,
    pub machine_busy_us: f64,
}

/// One moment of a run.
struct Moment {
    at_ns: u64,
    messages: u64,
    server: Option<Usage>,
    generator_cpu_us: f64,
    machine_busy_us: f64,
}

/// Everything the connections of one thread share with the one that measures.
#[derive(Clone)]
struct Shared {
    run: Arc<Run>,
    stop: watch::Receiver<bool>,
    batch: usize,
    requests_per_s: Option<f64>,
    connections: usize,
}

/// Opens all connections, loads the server and measures it.
pub fn run(settings: &Settings, workload: &dyn Workload) -> Result<Measured, Failure> {
    let mut connections: Vec<Vec<(usize, Connection)>> = (0..settings.threads).map(|_| Vec::new()).collect();
    for index in 0..settings.connections {
        connections[index % settings.threads].push((index, workload.connect(index)?));
    }
    let run = Arc::new(Run::new(settings.count));
    let (stop, stopped) = watch::channel(false);
    let shared = Shared {
        run: Arc::clone(&run),
        stop: stopped,
        batch: settings.batch,
        requests_per_s: settings.rate.map(|rate| rate / settings.batch as f64 / settings.connections as f64),
        connections: settings.connections,
    };
    let begin = match settings.count {
        Some(_) => Some(moment(settings, &run)?),
        None => None,
    };
    let (results, ended) = mpsc::channel();
    for share in connections.into_iter().filter(|share| !share.is_empty()) {
        let (shared, results) = (shared.clone(), results.clone());
        thread::spawn(move || {
            // The measuring thread may have given up on the run already.
            let _ = results.send(drive_share(share, &shared));
        });
    }
    drop(results);
    let (begin, end) = match begin {
        Some(begin) => (begin, measure_goal(settings, &run, &stop, &ended)?),
        None => measure_time(settings, &run, &stop, &ended)?,
    };
    let mut latencies = end.1;
    collect(&ended, &mut latencies)?;
    Ok(difference(&begin, &end.0, latencies))
}

/// A moment, and the latencies of the threads that had ended by then.
type Ending = (Moment, Latencies);

fn measure_time(
    settings: &Settings,
    run: &Run,
    stop: &watch::Sender<bool>,
    ended: &mpsc::Receiver<Result<Latencies, Failure>>,
) -> Result<(Moment, Ending), Failure> {
    wait_for(settings.warm_up(), ended)?;
    run.measure(true);
    let begin = moment(settings, run)?;
    wait_for(settings.seconds(), ended)?;
    let end = moment(settings, run)?;
    run.measure(false);
    run.stop();
    stop.send_replace(true);
    if end.messages == begin.messages {
        return Err(Failure::Stalled("nothing was acknowledged in the measured time".to_owned()));
    }
    Ok((begin, (end, Latencies::new())))
}

/// No thread ends by itself before it is stopped, unless it failed.
fn wait_for(time: Duration, ended: &mpsc::Receiver<Result<Latencies, Failure>>) -> Result<(), Failure> {
    match ended.recv_timeout(time) {
        Err(RecvTimeoutError::Timeout) => Ok(()),
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(_)) | Err(RecvTimeoutError::Disconnected) => {
            Err(Failure::Stalled("the load ended before its time".to_owned()))
        }
    }
}

fn measure_goal(
    settings: &Settings,
    run: &Run,
    stop: &watch::Sender<bool>,
    ended: &mpsc::Receiver<Result<Latencies, Failure>>,
) -> Result<Ending, Failure> {
    let mut latencies = Latencies::new();
    let mut last = (run.messages(), run.now_ns());
    while !run.reached_goal() {
        match ended.recv_timeout(WATCH_INTERVAL) {
            Ok(result) => latencies.add(&result?),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if run.reached_goal() => break,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Stalled(format!("the load ended at {} messages", run.messages())));
            }
        }
        if run.messages() != last.0 {
            last = (run.messages(), run.now_ns());
        } else if run.now_ns() - last.1 > STALL_MAX.as_nanos() as u64 {
            return Err(Failure::Stalled(format!("nothing for {STALL_MAX:?} after {} messages", last.0)));
        }
    }
    let end = moment(settings, run)?;
    run.stop();
    stop.send_replace(true);
    Ok((end, latencies))
}

fn collect(
    ended: &mpsc::Receiver<Result<Latencies, Failure>>,
    latencies: &mut Latencies,
) -> Result<(), Failure> {
    loop {
        match ended.recv_timeout(DRAIN_MAX) {
            Ok(result) => latencies.add(&result?),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                return Err(Failure::Stalled(format!("requests unanswered {DRAIN_MAX:?} after the end")));
            }
        }
    }
}

fn moment(settings: &Settings, run: &Run) -> Result<Moment, Failure> {
    let server = match settings.pid {
        Some(pid) => Some(observe::usage(pid).map_err(|source| Failure::Process { pid, source })?),
        None => None,
    };
    Ok(Moment {
        at_ns: run.now_ns(),
        messages: run.messages(),
        server,
        generator_cpu_us: observe::usage(std::process::id())?.cpu_us,
        machine_busy_us: observe::machine_busy_us()?,
    })
}

fn difference(begin: &Moment, end: &Moment, latencies: Latencies) -> Measured {
    Measured {
        seconds: (end.at_ns - begin.at_ns) as f64 / 1e9,
        messages: end.messages - begin.messages,
        latencies,
        server: begin.server.zip(end.server),
        generator_cpu_us: end.generator_cpu_us - begin.generator_cpu_us,
        machine_busy_us: end.machine_busy_us - begin.machine_busy_us,
    }
}

/// Drives one thread's connections to their end; the first failure ends them all.
fn drive_share(share: Vec<(usize, Connection)>, shared: &Shared) -> Result<Latencies, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for (index, connection) in share {
            tasks.spawn(drive(index, connection, shared.clone()));
        }
        let mut latencies = Latencies::new();
        while let Some(joined) = tasks.join_next().await {
            latencies.add(&joined.map_err(std::io::Error::other)??);
        }
        Ok(latencies)
    })
}

async fn drive(index: usize, connection: Connection, mut shared: Shared) -> Result<Latencies, Failure> {
    let Connection { stream, mut conversation } = connection;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream)?;
    let (mut reader, mut writer) = stream.split();
    let run = Arc::clone(&shared.run);
    let phase = index as f64 / shared.connections as f64;
    let mut pace = Pace::new(&run, shared.batch, shared.requests_per_s, phase);
    let mut latencies = Latencies::new();
    let mut input = BytesMut::with_capacity(READ_BYTES);
    let mut out = Vec::new();
    let mut written = 0;
    loop {
        let now_ns = run.now_ns();
        if written == out.len() {
            out.clear();
            written = 0;
        }
        conversation.request(&mut out, &mut pace, now_ns);
        if *shared.stop.borrow() && conversation.in_flight() == 0 && written == out.len() {
            return Ok(latencies);
        }
        input.reserve(READ_BYTES / 4);
        tokio::select! {
            biased;
            count = writer.write(&out[written..]), if written < out.len() => { written += count?; }
            count = reader.read_buf(&mut input) => {
                if count? == 0 {
                    return Err(Failure::Closed);
                }
                let taken = conversation.answer(&input, &mut Tally::new(&run, &mut latencies))?;
                input.advance(taken);
            }
            () = tokio::time::sleep(pace.wait(now_ns).unwrap_or(STALL_MAX)), if pace.wait(now_ns).is_some() => {}
            _ = shared.stop.changed() => {}
        }
    }
}
