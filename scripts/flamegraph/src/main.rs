//! Draws a flame graph of what `perf script` prints: from standard input to standard output, as SVG. The one argument is
//! its title.
use std::io::{self, BufReader, BufWriter, Write};
use std::process::ExitCode;

use inferno::collapse::Collapse;
use inferno::collapse::perf::Folder;
use inferno::flamegraph::{self, Options};

fn main() -> ExitCode {
    let Some(title) = std::env::args().nth(1) else {
        eprintln!("usage: perf script | mailrail-flamegraph TITLE >FILE.svg");
        return ExitCode::from(2);
    };
    match draw(title) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mailrail-flamegraph: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(title: String) -> io::Result<()> {
    let mut stacks = Vec::new();
    Folder::default().collapse(BufReader::new(io::stdin().lock()), &mut stacks)?;
    let mut options = Options::default();
    options.title = title;
    let mut out = BufWriter::new(io::stdout().lock());
    flamegraph::from_reader(&mut options, stacks.as_slice(), &mut out)?;
    out.flush()
}
