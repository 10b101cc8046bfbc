//! `mailrail-load`: one lean load generator for every protocol and every broker that stands beside ours.
//! It sends frames encoded once and patched per message, so that the broker and not the generator is measured, and it
//! counts only what was acknowledged with the protocol's success code; any other answer ends the run with an error.
//! It is not a client: it has no retries, no reconnection, and checks nothing about what the messages hold.
mod amqp;
mod bare;
mod conversation;
mod drive;
mod http;
mod observe;
mod remoting;
mod report;
mod run;
mod settings;
mod stamp;
mod window;

use std::process::ExitCode;

use clap::Parser;

use conversation::{Failure, Workload};
use settings::{Settings, Work};

fn main() -> ExitCode {
    let settings = Settings::parse();
    if let Err(message) = settings.check() {
        eprintln!("mailrail-load: {message}");
        return ExitCode::from(2);
    }
    match measure(&settings) {
        Ok(report) => {
            eprintln!("{report}");
            println!("{}", report.to_json());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("mailrail-load: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(settings: &Settings) -> Result<report::Report, Failure> {
    let workload: Box<dyn Workload> = match settings.work {
        Work::Bare => Box::new(bare::Frames::new(settings)),
        Work::RemotingSend => Box::new(remoting::send::Sends::prepare(settings)?),
        Work::RemotingPull => Box::new(remoting::pull::Pulls::prepare(settings)?),
        Work::AmqpPublish => Box::new(amqp::publish::Publishes::prepare(settings)?),
        Work::AmqpConsume => Box::new(amqp::consume::Consumes::prepare(settings)?),
        Work::RestPublish => Box::new(http::Requests::publish(settings)),
        Work::HttpGet => Box::new(http::Requests::get(settings)),
    };
    let measured = drive::run(settings, workload.as_ref())?;
    Ok(report::Report::new(settings, &measured))
}
