//! Methods of the classes exchange and queue: checked as far as the protocol goes, and turned into requests.
//!
//! Whether anything exists, is equal or may be used is the broker's matter.

use super::*;

impl<L> Channel<L> {
    pub(super) fn exchange_declare(&mut self, method: &ExchangeDeclare<'_>) -> Result<Handled<L>, Fault> {
        let settings = match method.passive {
            true => None,
            false => Some(exchange_settings(method)?),
        };
        let request = DeclareExchange { exchange: without_line_breaks(method.exchange), settings };
        let expected = expected::<ExchangeDeclare<'_>>(Reply::ExchangeDeclareOk, method.no_wait);
        Ok(self.ask(expected, Request::DeclareExchange(request)))
    }

    pub(super) fn exchange_delete(&mut self, method: &ExchangeDelete<'_>) -> Handled<L> {
        let exchange = without_line_breaks(method.exchange);
        let expected = expected::<ExchangeDelete<'_>>(Reply::ExchangeDeleteOk, method.no_wait);
        self.ask(expected, Request::DeleteExchange { exchange, if_unused: method.if_unused })
    }

    pub(super) fn exchange_bind(&mut self, method: &ExchangeBind<'_>) -> Handled<L> {
        let binding = Binding {
            source: without_line_breaks(method.source),
            target: BindingTarget::Exchange(without_line_breaks(method.destination)),
            key: method.routing_key.to_owned(),
            arguments: method.arguments.as_bytes().to_vec(),
        };
        let expected = expected::<ExchangeBind<'_>>(Reply::ExchangeBindOk, method.no_wait);
        self.ask(expected, Request::Bind(binding))
    }

    pub(super) fn exchange_unbind(&mut self, method: &ExchangeUnbind<'_>) -> Handled<L> {
        let binding = Binding {
            source: without_line_breaks(method.source),
            target: BindingTarget::Exchange(without_line_breaks(method.destination)),
            key: method.routing_key.to_owned(),
            arguments: method.arguments.as_bytes().to_vec(),
        };
        let expected = expected::<ExchangeUnbind<'_>>(Reply::ExchangeUnbindOk, method.no_wait);
        self.ask(expected, Request::Unbind(binding))
    }

    pub(super) fn queue_declare(&mut self, method: &QueueDeclare<'_>) -> Result<Handled<L>, Fault> {
        let (queue, settings) = match method.passive {
            true => (self.queue_name(QueueDeclare::ID, method.queue)?, None),
            false => (without_line_breaks(method.queue), Some(arguments::queue_settings(method)?)),
        };
        let expected = expected::<QueueDeclare<'_>>(Reply::QueueDeclareOk, method.no_wait);
        Ok(self.ask(expected, Request::DeclareQueue(DeclareQueue { queue, settings })))
    }

    pub(super) fn queue_bind(&mut self, method: &QueueBind<'_>) -> Result<Handled<L>, Fault> {
        let queue = self.queue_name(QueueBind::ID, method.queue)?;
        let binding = Binding {
            source: without_line_breaks(method.exchange),
            key: binding_key(method.queue, method.routing_key, &queue),
            target: BindingTarget::Queue(queue),
            arguments: method.arguments.as_bytes().to_vec(),
        };
        let expected = expected::<QueueBind<'_>>(Reply::QueueBindOk, method.no_wait);
        Ok(self.ask(expected, Request::Bind(binding)))
    }

    pub(super) fn queue_unbind(&mut self, method: &QueueUnbind<'_>) -> Result<Handled<L>, Fault> {
        let queue = self.queue_name(QueueUnbind::ID, method.queue)?;
        let binding = Binding {
            source: without_line_breaks(method.exchange),
            key: binding_key(method.queue, method.routing_key, &queue),
            target: BindingTarget::Queue(queue),
            arguments: method.arguments.as_bytes().to_vec(),
        };
        let expected = expected::<QueueUnbind<'_>>(Reply::QueueUnbindOk, false);
        Ok(self.ask(expected, Request::Unbind(binding)))
    }

    pub(super) fn queue_purge(&mut self, method: &QueuePurge<'_>) -> Result<Handled<L>, Fault> {
        let queue = self.queue_name(QueuePurge::ID, method.queue)?;
        let expected = expected::<QueuePurge<'_>>(Reply::QueuePurgeOk, method.no_wait);
        Ok(self.ask(expected, Request::PurgeQueue { queue }))
    }

    pub(super) fn queue_delete(&mut self, method: &QueueDelete<'_>) -> Result<Handled<L>, Fault> {
        let queue = self.queue_name(QueueDelete::ID, method.queue)?;
        let (if_unused, if_empty) = (method.if_unused, method.if_empty);
        let expected = expected::<QueueDelete<'_>>(Reply::QueueDeleteOk, method.no_wait);
        Ok(self.ask(expected, Request::DeleteQueue { queue, if_unused, if_empty }))
    }

    pub(super) fn topology_reply(
        &mut self,
        reply: Reply,
        answer: Answer<'_, L>,
        no_wait: bool,
        method: MethodId,
        out: &mut impl Outgoing,
    ) -> Result<(), Fault> {
        let channel = self.key.number;
        if let Answer::Declared { queue, .. } = answer {
            self.last_queue.clear();
            self.last_queue.push_str(queue);
        }
        match (reply, answer) {
            (Reply::ExchangeDeclareOk, Answer::Done) => write(out, channel, no_wait, &ExchangeDeclareOk),
            (Reply::ExchangeDeleteOk, Answer::Done) => write(out, channel, no_wait, &ExchangeDeleteOk),
            (Reply::ExchangeBindOk, Answer::Done) => write(out, channel, no_wait, &ExchangeBindOk),
            (Reply::ExchangeUnbindOk, Answer::Done) => write(out, channel, no_wait, &ExchangeUnbindOk),
            (Reply::QueueBindOk, Answer::Done) => write(out, channel, no_wait, &QueueBindOk),
            (Reply::QueueUnbindOk, Answer::Done) => write(out, channel, no_wait, &QueueUnbindOk),
            (Reply::QueuePurgeOk, Answer::Count(message_count)) => {
                write(out, channel, no_wait, &QueuePurgeOk { message_count });
            }
            (Reply::QueueDeleteOk, Answer::Count(message_count)) => {
                write(out, channel, no_wait, &QueueDeleteOk { message_count });
            }
            (Reply::QueueDeclareOk, Answer::Declared { queue, messages, consumers }) => {
                let ok = QueueDeclareOk { queue, message_count: messages, consumer_count: consumers };
                write(out, channel, no_wait, &ok);
            }
            (_, answer) => {
                let kind = match answer {
                    Answer::Done => "done",
                    Answer::Declared { .. } => "declared",
                    Answer::Count(_) => "a count",
                    Answer::Message(_) => "a message",
                };
                let text = format!("{method} was answered with {kind}");
                return Err(Fault::new(ReplyCode::InternalError, method, text));
            }
        }
        Ok(())
    }

    /// The queue a method means: an empty name is the queue declared last on this channel.
    pub(super) fn queue_name(&self, method: MethodId, name: &str) -> Result<String, Fault> {
        match (name, self.last_queue.as_str()) {
            ("", "") => {
                Err(Fault::new(ReplyCode::NotFound, method, "no queue was declared on this channel before"))
            }
            ("", last) => Ok(last.to_owned()),
            (name, _) => Ok(without_line_breaks(name)),
        }
    }
}

fn expected<M: Arguments>(reply: Reply, no_wait: bool) -> Expected {
    Expected { method: M::ID, reply, no_wait }
}

fn write<M: Arguments>(out: &mut impl Outgoing, channel: u16, no_wait: bool, method: &M) {
    if !no_wait {
        writer::method(out, channel, method);
    }
}

/// Without queue and key the queue's name is the key too.
fn binding_key(queue: &str, key: &str, resolved: &str) -> String {
    if queue.is_empty() && key.is_empty() { resolved.to_owned() } else { key.to_owned() }
}

/// Names with line breaks come from files read carelessly; RabbitMQ strips them too.
fn without_line_breaks(name: &str) -> String {
    name.chars().filter(|char| !matches!(char, '\r' | '\n')).collect()
}

fn exchange_settings(method: &ExchangeDeclare<'_>) -> Result<ExchangeSettings, Fault> {
    let id = ExchangeDeclare::ID;
    let kind = match method.kind {
        "direct" => ExchangeType::Direct,
        "fanout" => ExchangeType::Fanout,
        "topic" => ExchangeType::Topic,
        "headers" => ExchangeType::Headers,
        other => {
            let text = format!("unknown exchange type '{other}'");
            return Err(Fault::new(ReplyCode::PreconditionFailed, id, text));
        }
    };
    let alternate = arguments::alternate_exchange(method.arguments)?;
    let ExchangeDeclare { durable, auto_delete, internal, .. } = *method;
    Ok(ExchangeSettings { kind, durable, auto_delete, internal, alternate })
}
