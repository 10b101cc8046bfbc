//! Who shares a group: the list (38) and the notice that it has changed (40).
//!
//! The set itself is the broker's.

use bytes::BytesMut;
use mailrail_broker::connection::Output;
use mailrail_broker::{Command as Ask, Error, Name, Reply};

use crate::codec::body::members::put_client_ids;
use crate::codec::command::ConsumerList;
use crate::codec::command::notify::put_notice;
use crate::codec::response_code as response;
use crate::connection::Connection;
use crate::outstanding::{Asker, Waiting};
use crate::refusal::Refusal;
use crate::to_wire;

pub(crate) fn list(
    connection: &mut Connection,
    asker: Asker,
    list: &ConsumerList<'_>,
) -> Result<(), Refusal> {
    let group = Name::from(list.consumer_group);
    let token = connection.outstanding.add(Waiting::Members { asker, group: group.clone() });
    connection.asks.push(Ask::Members { token, group });
    Ok(())
}

/// An empty group is an error to clients, not an empty list.
pub(crate) fn put_members(asker: Asker, group: &str, result: Result<Reply, Error>, output: &mut Output) {
    let members = match result {
        Ok(Reply::Members(members)) => members,
        Ok(_) | Err(Error::NoGroup { .. }) => Vec::new(),
        Err(error) => return to_wire::put_refusal(output, asker, &error.into()),
    };
    if members.is_empty() {
        let refusal = Refusal::new(response::SYSTEM_ERROR, format!("no consumer for this group, {group}"));
        return to_wire::put_refusal(output, asker, &refusal);
    }
    let mut body = BytesMut::new();
    put_client_ids(&mut body, members.iter().map(|member| &**member));
    to_wire::put_body(output, asker, true, &body);
}

pub(crate) fn notify(connection: &mut Connection, group: &str, output: &mut Output) {
    let opaque = connection.next_opaque();
    output.append(|out| put_notice(out, opaque, group));
}
