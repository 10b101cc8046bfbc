//! Methods of class basic: publishing, consuming, settling.
//!
//! Nothing here touches a queue; it turns into requests, or into leases settled.

use super::unacked::Tagged;
use super::*;
use crate::codec::limits::CHANNEL_CONSUMERS_MAX;

impl<L> Channel<L> {
    pub(super) fn basic_publish(&mut self, method: &BasicPublish<'_>) -> Result<Handled<L>, Fault> {
        if method.immediate {
            let text = "immediate=true is not implemented";
            return Err(Fault::new(ReplyCode::NotImplemented, BasicPublish::ID, text));
        }
        self.assembly.publish(method);
        Ok(Handled::Nothing)
    }

    pub(super) fn basic_qos(
        &mut self,
        method: &BasicQos,
        out: &mut impl Outgoing,
    ) -> Result<Handled<L>, Fault> {
        if method.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({}) is not implemented", method.prefetch_size);
            return Err(Fault::new(ReplyCode::NotImplemented, BasicQos::ID, text));
        }
        match method.global {
            true => self.consumers.set_channel_limit(method.prefetch_count),
            false => self.consumers.set_limit(method.prefetch_count),
        }
        writer::method(out, self.key.number, &BasicQosOk);
        Ok(Handled::Nothing)
    }

    pub(super) fn basic_consume(
        &mut self,
        method: &BasicConsume<'_>,
        terms: &mut Terms,
    ) -> Result<Handled<L>, Fault> {
        let id = BasicConsume::ID;
        let priority = arguments::consumer_priority(method.arguments)?;
        if self.consumers.len() >= CHANNEL_CONSUMERS_MAX {
            let text =
                format!("channel has {CHANNEL_CONSUMERS_MAX} consumers, which is the most it may have");
            return Err(Fault::new(ReplyCode::ResourceError, id, text));
        }
        if self.consumers.has_tag(method.consumer_tag) {
            let text = format!("attempt to reuse consumer tag '{}'", method.consumer_tag);
            return Err(Fault::new(ReplyCode::NotAllowed, id, text));
        }
        let queue = self.queue_name(id, method.queue)?;
        terms.consumers += 1;
        let tag = match method.consumer_tag {
            "" => format!("amq.ctag-{:016x}-{}", terms.tag_seed, terms.consumers),
            tag => tag.to_owned(),
        };
        let consumer = ConsumerKey::new(self.key.number, terms.consumers);
        let credit = self.consumers.add(consumer, tag, method.no_ack);
        let (no_ack, exclusive) = (method.no_ack, method.exclusive);
        let expected = Expected { method: id, reply: Reply::ConsumeOk(consumer), no_wait: method.no_wait };
        Ok(self.ask(expected, Request::Consume { consumer, queue, no_ack, exclusive, credit, priority }))
    }

    pub(super) fn basic_cancel(&mut self, method: &BasicCancel<'_>, out: &mut impl Outgoing) -> Handled<L> {
        let Some(consumer) = self.consumers.key_of(method.consumer_tag) else {
            if !method.no_wait {
                let reply = BasicCancelOk { consumer_tag: method.consumer_tag };
                writer::method(out, self.key.number, &reply);
            }
            return Handled::Nothing;
        };
        let reply = Reply::CancelOk { consumer, tag: method.consumer_tag.to_owned() };
        let expected = Expected { method: BasicCancel::ID, reply, no_wait: method.no_wait };
        self.ask(expected, Request::Cancel { consumer })
    }

    pub(super) fn basic_get(&mut self, method: &BasicGet<'_>) -> Result<Handled<L>, Fault> {
        let queue = self.queue_name(BasicGet::ID, method.queue)?;
        let expected = Expected { method: BasicGet::ID, reply: Reply::Get, no_wait: false };
        Ok(self.ask(expected, Request::Get { queue, no_ack: method.no_ack }))
    }

    pub(super) fn basic_ack(&mut self, method: &BasicAck) -> Result<Handled<L>, Fault> {
        self.settle(BasicAck::ID, method.delivery_tag, method.multiple, Settlement::Ack)
    }

    pub(super) fn basic_nack(&mut self, method: &BasicNack) -> Result<Handled<L>, Fault> {
        let settlement = if method.requeue { Settlement::Requeue } else { Settlement::Reject };
        self.settle(BasicNack::ID, method.delivery_tag, method.multiple, settlement)
    }

    pub(super) fn basic_reject(&mut self, method: &BasicReject) -> Result<Handled<L>, Fault> {
        let settlement = if method.requeue { Settlement::Requeue } else { Settlement::Reject };
        self.settle(BasicReject::ID, method.delivery_tag, false, settlement)
    }

    pub(super) fn basic_recover(
        &mut self,
        method: &BasicRecover,
        out: &mut impl Outgoing,
    ) -> Result<Handled<L>, Fault> {
        let handled = self.recover(BasicRecover::ID, method.requeue)?;
        writer::method(out, self.key.number, &BasicRecoverOk);
        Ok(handled)
    }

    pub(super) fn basic_recover_async(&mut self, method: &BasicRecoverAsync) -> Result<Handled<L>, Fault> {
        self.recover(BasicRecoverAsync::ID, method.requeue)
    }

    /// Gives everything unacknowledged back to its queues. Sending it again to the same consumers is not done by
    /// RabbitMQ either.
    fn recover(&mut self, method: MethodId, requeue: bool) -> Result<Handled<L>, Fault> {
        if !requeue {
            let text = "requeue=false is not implemented";
            return Err(Fault::new(ReplyCode::NotImplemented, method, text));
        }
        self.settled.clear();
        self.unacked.drain(|tagged| self.settled.push(tagged.lease));
        self.consumers.settled_all();
        Ok(self.handled_settlement(Settlement::Requeue))
    }

    fn settle(
        &mut self,
        method: MethodId,
        tag: u64,
        multiple: bool,
        settlement: Settlement,
    ) -> Result<Handled<L>, Fault> {
        self.settled.clear();
        let (settled, consumers) = (&mut self.settled, &mut self.consumers);
        let unknown = |_| transaction::precondition(method, &format!("unknown delivery tag {tag}"));
        if let Some(transaction) = &mut self.transaction {
            let mut gathered = Vec::new();
            self.unacked.settle(tag, multiple, |tagged| gathered.push(tagged)).map_err(unknown)?;
            transaction.settle(settlement, gathered).map_err(|refusal| refusal.of(method))?;
            return Ok(Handled::Nothing);
        }
        let each = |Tagged { consumer, lease, .. }: Tagged<L>| {
            if let Some(consumer) = consumer {
                consumers.settled(consumer);
            }
            settled.push(lease);
        };
        self.unacked.settle(tag, multiple, each).map_err(unknown)?;
        Ok(self.handled_settlement(settlement))
    }

    fn handled_settlement(&self, settlement: Settlement) -> Handled<L> {
        if self.settled.is_empty() { Handled::Nothing } else { Handled::Settle(settlement) }
    }

    pub(super) fn got(&mut self, fetched: Option<Fetched<'_, L>>, terms: &Terms, out: &mut impl Outgoing) {
        let Some(Fetched { lease, message, left }) = fetched else {
            return writer::method(out, self.key.number, &BasicGetEmpty);
        };
        let delivery_tag = match lease {
            Some(lease) => self.unacked.tag_leased(None, lease),
            None => self.unacked.tag_settled(),
        };
        let got = BasicGetOk {
            delivery_tag,
            redelivered: message.redelivered,
            exchange: message.exchange,
            routing_key: message.routing_key,
            message_count: left,
        };
        writer::message(out, self.key.number, terms.frame_bytes_max, &got, message.content);
    }

    pub(super) fn consume_reply(&mut self, consumer: ConsumerKey, no_wait: bool, out: &mut impl Outgoing) {
        if let Some(consumer) = self.consumers.get(consumer).filter(|_| !no_wait) {
            writer::method(out, self.key.number, &BasicConsumeOk { consumer_tag: &consumer.tag });
        }
    }

    pub(super) fn cancel_reply(
        &mut self,
        consumer: ConsumerKey,
        tag: &str,
        no_wait: bool,
        out: &mut impl Outgoing,
    ) {
        self.consumers.remove(consumer);
        if !no_wait {
            writer::method(out, self.key.number, &BasicCancelOk { consumer_tag: tag });
        }
    }
}
