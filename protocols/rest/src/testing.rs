//! What tests inside the crate stand on: a broker at a time that stands still, and messages.

use std::sync::Arc;
use std::time::Duration;

use mailrail_broker::{Broker, BrokerConfig, Clock, Now};
use mailrail_message::Draft;

use crate::{RestConfig, RestState};

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Now {
        Now { wall_ms: 1_795_336_144_547, mono: Duration::ZERO }
    }
}

pub(crate) struct Rig {
    pub state: RestState,
    _data: tempfile::TempDir,
}

impl Rig {
    pub fn new() -> Rig {
        let data = tempfile::tempdir().unwrap();
        let config = BrokerConfig::new(data.path(), Arc::new(StillClock), "test".into());
        let broker = Broker::open(config).unwrap();
        let state = RestState::new(broker, RestConfig::new("127.0.0.1:9876".parse().unwrap()));
        Rig { state, _data: data }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let stopped = self.state.broker().stop();
        assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
    }
}

/// A message that says nothing but its body.
pub(crate) fn draft(body: &[u8]) -> Draft<'_> {
    let host = "127.0.0.1:1".parse().unwrap();
    Draft {
        topic: "t",
        flag: 0,
        sys_flags: 0,
        born_ms: 1_700_000_000_000,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        body,
        properties: b"",
        more_properties: &[],
        annexes: &[],
    }
}
