//! What a process has cost so far, read from /proc: CPU time, memory, context switches. Linux only, and from outside,
//! so it works on any server. Threads that have ended take their context switches with them.
use std::fs;
use std::io;

const MICROS_PER_S: f64 = 1e6;
/// Linux reports CPU times in units of 1/100 s whatever the kernel's own tick is (proc(5), USER_HZ).
const TICKS_PER_S: f64 = 100.0;

/// Totals since the process began, but for memory, which is what it holds now and at most held.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu_us: f64,
    pub resident_kib: u64,
    pub resident_kib_high: u64,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
}

/// Reads the usage of `pid`.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut usage = Usage {
        cpu_us: cpu_ticks(&stat).ok_or_else(|| missing("utime"))? / TICKS_PER_S * MICROS_PER_S,
        resident_kib: field(&status, "VmRSS").ok_or_else(|| missing("VmRSS"))?,
        resident_kib_high: field(&status, "VmHWM").ok_or_else(|| missing("VmHWM"))?,
        ..Usage::default()
    };
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
        usage.voluntary_switches += field(&status, "voluntary_ctxt_switches").unwrap_or(0);
        usage.involuntary_switches += field(&status, "nonvoluntary_ctxt_switches").unwrap_or(0);
    }
    Ok(usage)
}

/// Microseconds in which the cores of this machine did anything, or were taken away by its host.
pub fn machine_busy_us() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let times: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    match times[..] {
        [user, nice, system, _, _, irq, softirq, steal, ..] => {
            Ok((user + nice + system + irq + softirq + steal) / TICKS_PER_S * MICROS_PER_S)
        }
        _ => Err(missing("cpu")),
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no {name} in /proc"))
}

/// utime + stime: fields 14 and 15; the name in field 2 may hold spaces and brackets, so count from its end.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stat_whatever_the_process_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(300.0));
        assert_eq!(cpu_ticks("7 (short) S 1"), None);
    }

    #[test]
    fn reads_fields_by_their_whole_name() {
        let status = "VmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nnonvoluntary_ctxt_switches:\t3\nvoluntary_ctxt_switches:\t4\n";
        assert_eq!(field(status, "VmRSS"), Some(1024));
        assert_eq!(field(status, "voluntary_ctxt_switches"), Some(4));
        assert_eq!(field(status, "Vm"), None);
    }

    #[test]
    fn sees_its_own_process() {
        let usage = usage(std::process::id()).expect("the own process is readable");
        assert!(usage.resident_kib > 0 && usage.resident_kib_high >= usage.resident_kib);
        assert!(machine_busy_us().expect("/proc/stat is readable") > 0.0);
    }
}
