//! Withdrawing a message before its time (370), by the handle that its send was answered with.

use mailrail_broker::connection::Output;
use mailrail_broker::{Command as Ask, Error, Name, Reply};

use crate::codec::command::{RecallHandle, RecallMessage};
use crate::codec::response_code as response;
use crate::connection::Connection;
use crate::outstanding::{Asker, Waiting};
use crate::refusal::Refusal;
use crate::to_wire;

pub(crate) fn recall(
    connection: &mut Connection,
    asker: Asker,
    recall: &RecallMessage<'_>,
) -> Result<(), Refusal> {
    let topic = connection.topic(recall.topic).ok_or_else(|| Refusal::no_topic(recall.topic))?;
    let handle = RecallHandle::decode(recall.handle);
    let handle = handle.ok_or_else(|| illegal("recall handle is invalid"))?;
    if handle.topic != recall.topic {
        return Err(illegal("topic and recall handle do not match"));
    }
    if handle.broker_name != connection.config.broker_name {
        return Err(illegal("the recall handle is of another broker"));
    }
    let topic = Some(Name::clone(&topic.name));
    let token = connection.outstanding.add(Waiting::Recalled { asker, unique: handle.unique });
    connection.asks.push(Ask::Recall { token, position: handle.position, topic });
    Ok(())
}

pub(crate) fn recalled(asker: Asker, unique: &str, result: Result<Reply, Error>, output: &mut Output) {
    match result {
        Ok(_) => to_wire::put_text(output, asker, "msgId", unique),
        Err(error @ Error::NotWaiting { .. }) => {
            to_wire::put_refusal(output, asker, &illegal(error.to_string()));
        }
        Err(error) => to_wire::put_refusal(output, asker, &error.into()),
    }
}

fn illegal(remark: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(response::ILLEGAL_OPERATION, remark)
}
