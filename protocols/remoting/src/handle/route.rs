//! Routes (105) and the cluster (106): what a name server answers.
//!
//! There is one broker name per shard; a single node has one.

use bytes::BytesMut;
use mailrail_broker::connection::Output;

use crate::codec::Header;
use crate::codec::body::cluster::put_cluster;
use crate::codec::body::route::{BrokerAddress, PERM_INHERIT, PERM_READ, PERM_WRITE, QueueData, put_route};
use crate::codec::command::{self, GetRoute};
use crate::connection::Connection;
use crate::names;
use crate::outstanding::Asker;
use crate::refusal::Refusal;
use crate::to_wire;

pub(crate) fn route(
    connection: &mut Connection,
    asker: Asker,
    route: &GetRoute<'_>,
    output: &mut Output,
) -> Result<(), Refusal> {
    let (perm, queues) = match connection.topic(route.topic) {
        Some(topic) => {
            let settings = topic.settings();
            let read = if settings.readable { PERM_READ } else { 0 };
            let write = if settings.writable { PERM_WRITE } else { 0 };
            (read | write, u32::try_from(topic.queues().len()).unwrap_or(u32::MAX))
        }
        None => route_of_absent(connection, route.topic)?,
    };
    let address = connection.config.advertised.to_string();
    let broker = broker(connection, &address);
    let queues = QueueData {
        broker_name: broker.broker_name,
        perm,
        read_queues: queues,
        write_queues: queues,
        topic_sys_flag: 0,
    };
    let mut body = BytesMut::new();
    put_route(&mut body, &[broker], &[queues], route.keys);
    to_wire::put_body(output, asker, false, &body);
    Ok(())
}

/// Permissions and queues of a topic that nobody has made.
///
/// A retry topic is answered with the form it gets at the group's first heartbeat: clients ask for it just before
/// that, and some (Go) ask again only half a minute later, during which no failed message would come back.
fn route_of_absent(connection: &Connection, topic: &str) -> Result<(i32, u32), Refusal> {
    if let Some(queues) = names::system_topic_queues(topic, &connection.config) {
        return Ok((PERM_READ | PERM_WRITE | PERM_INHERIT, queues));
    }
    if topic.starts_with(names::RETRY_PREFIX) && names::check_new_topic(topic).is_ok() {
        return Ok((PERM_READ | PERM_WRITE, 1));
    }
    Err(Refusal::no_route(topic))
}

pub(crate) fn cluster(
    connection: &Connection,
    asker: Asker,
    header: &Header,
    output: &mut Output,
) -> Result<(), Refusal> {
    let address = connection.config.advertised.to_string();
    let brokers = [broker(connection, &address)];
    let mut body = BytesMut::new();
    put_cluster(&mut body, &connection.config.cluster_name, &brokers, command::cluster::keys(header));
    to_wire::put_body(output, asker, false, &body);
    Ok(())
}

fn broker<'a>(connection: &'a Connection, address: &'a str) -> BrokerAddress<'a> {
    let config = &connection.config;
    BrokerAddress { cluster: &config.cluster_name, broker_name: &config.broker_name, address }
}
