//! Every method of AMQP 0-9-1 with its arguments: read by borrowing, written straight into the output.
//!
//! @generated from methods.table by examples/generate_methods.rs. Knows no state: which method may come when is the
//! connection's and the channel's matter.

mod connection;
mod channel;
mod access;
mod exchange;
mod queue;
mod basic;
mod confirm;
mod tx;

use bytes::BytesMut;

use super::method::{Arguments, MethodError, MethodId, finish};

pub use self::connection::*;
pub use self::channel::*;
pub use self::access::*;
pub use self::exchange::*;
pub use self::queue::*;
pub use self::basic::*;
pub use self::confirm::*;
pub use self::tx::*;

/// Any method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method<'a> {
    ConnectionStart(ConnectionStart<'a>),
    ConnectionStartOk(ConnectionStartOk<'a>),
    ConnectionSecure(ConnectionSecure<'a>),
    ConnectionSecureOk(ConnectionSecureOk<'a>),
    ConnectionTune(ConnectionTune),
    ConnectionTuneOk(ConnectionTuneOk),
    ConnectionOpen(ConnectionOpen<'a>),
    ConnectionOpenOk(ConnectionOpenOk),
    ConnectionClose(ConnectionClose<'a>),
    ConnectionCloseOk(ConnectionCloseOk),
    ConnectionBlocked(ConnectionBlocked<'a>),
    ConnectionUnblocked(ConnectionUnblocked),
    ConnectionUpdateSecret(ConnectionUpdateSecret<'a>),
    ConnectionUpdateSecretOk(ConnectionUpdateSecretOk),
    ChannelOpen(ChannelOpen),
    ChannelOpenOk(ChannelOpenOk),
    ChannelFlow(ChannelFlow),
    ChannelFlowOk(ChannelFlowOk),
    ChannelClose(ChannelClose<'a>),
    ChannelCloseOk(ChannelCloseOk),
    AccessRequest(AccessRequest<'a>),
    AccessRequestOk(AccessRequestOk),
    ExchangeDeclare(ExchangeDeclare<'a>),
    ExchangeDeclareOk(ExchangeDeclareOk),
    ExchangeDelete(ExchangeDelete<'a>),
    ExchangeDeleteOk(ExchangeDeleteOk),
    ExchangeBind(ExchangeBind<'a>),
    ExchangeBindOk(ExchangeBindOk),
    ExchangeUnbind(ExchangeUnbind<'a>),
    ExchangeUnbindOk(ExchangeUnbindOk),
    QueueDeclare(QueueDeclare<'a>),
    QueueDeclareOk(QueueDeclareOk<'a>),
    QueueBind(QueueBind<'a>),
    QueueBindOk(QueueBindOk),
    QueuePurge(QueuePurge<'a>),
    QueuePurgeOk(QueuePurgeOk),
    QueueDelete(QueueDelete<'a>),
    QueueDeleteOk(QueueDeleteOk),
    QueueUnbind(QueueUnbind<'a>),
    QueueUnbindOk(QueueUnbindOk),
    BasicQos(BasicQos),
    BasicQosOk(BasicQosOk),
    BasicConsume(BasicConsume<'a>),
    BasicConsumeOk(BasicConsumeOk<'a>),
    BasicCancel(BasicCancel<'a>),
    BasicCancelOk(BasicCancelOk<'a>),
    BasicPublish(BasicPublish<'a>),
    BasicReturn(BasicReturn<'a>),
    BasicDeliver(BasicDeliver<'a>),
    BasicGet(BasicGet<'a>),
    BasicGetOk(BasicGetOk<'a>),
    BasicGetEmpty(BasicGetEmpty),
    BasicAck(BasicAck),
    BasicReject(BasicReject),
    BasicRecoverAsync(BasicRecoverAsync),
    BasicRecover(BasicRecover),
    BasicRecoverOk(BasicRecoverOk),
    BasicNack(BasicNack),
    ConfirmSelect(ConfirmSelect),
    ConfirmSelectOk(ConfirmSelectOk),
    TxSelect(TxSelect),
    TxSelectOk(TxSelectOk),
    TxCommit(TxCommit),
    TxCommitOk(TxCommitOk),
    TxRollback(TxRollback),
    TxRollbackOk(TxRollbackOk),
}

impl<'a> Method<'a> {
    /// Reads the payload of a method frame.
    pub fn read(payload: &'a [u8]) -> Result<Self, MethodError> {
        let (id, input) = MethodId::read(payload)?;
        match (id.class, id.method) {
            (10, 10) => finish(id, ConnectionStart::read(input)).map(Method::ConnectionStart),
            (10, 11) => finish(id, ConnectionStartOk::read(input)).map(Method::ConnectionStartOk),
            (10, 20) => finish(id, ConnectionSecure::read(input)).map(Method::ConnectionSecure),
            (10, 21) => finish(id, ConnectionSecureOk::read(input)).map(Method::ConnectionSecureOk),
            (10, 30) => finish(id, ConnectionTune::read(input)).map(Method::ConnectionTune),
            (10, 31) => finish(id, ConnectionTuneOk::read(input)).map(Method::ConnectionTuneOk),
            (10, 40) => finish(id, ConnectionOpen::read(input)).map(Method::ConnectionOpen),
            (10, 41) => finish(id, ConnectionOpenOk::read(input)).map(Method::ConnectionOpenOk),
            (10, 50) => finish(id, ConnectionClose::read(input)).map(Method::ConnectionClose),
            (10, 51) => finish(id, ConnectionCloseOk::read(input)).map(Method::ConnectionCloseOk),
            (10, 60) => finish(id, ConnectionBlocked::read(input)).map(Method::ConnectionBlocked),
            (10, 61) => finish(id, ConnectionUnblocked::read(input)).map(Method::ConnectionUnblocked),
            (10, 70) => finish(id, ConnectionUpdateSecret::read(input)).map(Method::ConnectionUpdateSecret),
            (10, 71) => finish(id, ConnectionUpdateSecretOk::read(input)).map(Method::ConnectionUpdateSecretOk),
            (20, 10) => finish(id, ChannelOpen::read(input)).map(Method::ChannelOpen),
            (20, 11) => finish(id, ChannelOpenOk::read(input)).map(Method::ChannelOpenOk),
            (20, 20) => finish(id, ChannelFlow::read(input)).map(Method::ChannelFlow),
            (20, 21) => finish(id, ChannelFlowOk::read(input)).map(Method::ChannelFlowOk),
            (20, 40) => finish(id, ChannelClose::read(input)).map(Method::ChannelClose),
            (20, 41) => finish(id, ChannelCloseOk::read(input)).map(Method::ChannelCloseOk),
            (30, 10) => finish(id, AccessRequest::read(input)).map(Method::AccessRequest),
            (30, 11) => finish(id, AccessRequestOk::read(input)).map(Method::AccessRequestOk),
            (40, 10) => finish(id, ExchangeDeclare::read(input)).map(Method::ExchangeDeclare),
            (40, 11) => finish(id, ExchangeDeclareOk::read(input)).map(Method::ExchangeDeclareOk),
            (40, 20) => finish(id, ExchangeDelete::read(input)).map(Method::ExchangeDelete),
            (40, 21) => finish(id, ExchangeDeleteOk::read(input)).map(Method::ExchangeDeleteOk),
            (40, 30) => finish(id, ExchangeBind::read(input)).map(Method::ExchangeBind),
            (40, 31) => finish(id, ExchangeBindOk::read(input)).map(Method::ExchangeBindOk),
            (40, 40) => finish(id, ExchangeUnbind::read(input)).map(Method::ExchangeUnbind),
            (40, 51) => finish(id, ExchangeUnbindOk::read(input)).map(Method::ExchangeUnbindOk),
            (50, 10) => finish(id, QueueDeclare::read(input)).map(Method::QueueDeclare),
            (50, 11) => finish(id, QueueDeclareOk::read(input)).map(Method::QueueDeclareOk),
            (50, 20) => finish(id, QueueBind::read(input)).map(Method::QueueBind),
            (50, 21) => finish(id, QueueBindOk::read(input)).map(Method::QueueBindOk),
            (50, 30) => finish(id, QueuePurge::read(input)).map(Method::QueuePurge),
            (50, 31) => finish(id, QueuePurgeOk::read(input)).map(Method::QueuePurgeOk),
            (50, 40) => finish(id, QueueDelete::read(input)).map(Method::QueueDelete),
            (50, 41) => finish(id, QueueDeleteOk::read(input)).map(Method::QueueDeleteOk),
            (50, 50) => finish(id, QueueUnbind::read(input)).map(Method::QueueUnbind),
            (50, 51) => finish(id, QueueUnbindOk::read(input)).map(Method::QueueUnbindOk),
            (60, 10) => finish(id, BasicQos::read(input)).map(Method::BasicQos),
            (60, 11) => finish(id, BasicQosOk::read(input)).map(Method::BasicQosOk),
            (60, 20) => finish(id, BasicConsume::read(input)).map(Method::BasicConsume),
            (60, 21) => finish(id, BasicConsumeOk::read(input)).map(Method::BasicConsumeOk),
            (60, 30) => finish(id, BasicCancel::read(input)).map(Method::BasicCancel),
            (60, 31) => finish(id, BasicCancelOk::read(input)).map(Method::BasicCancelOk),
            (60, 40) => finish(id, BasicPublish::read(input)).map(Method::BasicPublish),
            (60, 50) => finish(id, BasicReturn::read(input)).map(Method::BasicReturn),
            (60, 60) => finish(id, BasicDeliver::read(input)).map(Method::BasicDeliver),
            (60, 70) => finish(id, BasicGet::read(input)).map(Method::BasicGet),
            (60, 71) => finish(id, BasicGetOk::read(input)).map(Method::BasicGetOk),
            (60, 72) => finish(id, BasicGetEmpty::read(input)).map(Method::BasicGetEmpty),
            (60, 80) => finish(id, BasicAck::read(input)).map(Method::BasicAck),
            (60, 90) => finish(id, BasicReject::read(input)).map(Method::BasicReject),
            (60, 100) => finish(id, BasicRecoverAsync::read(input)).map(Method::BasicRecoverAsync),
            (60, 110) => finish(id, BasicRecover::read(input)).map(Method::BasicRecover),
            (60, 111) => finish(id, BasicRecoverOk::read(input)).map(Method::BasicRecoverOk),
            (60, 120) => finish(id, BasicNack::read(input)).map(Method::BasicNack),
            (85, 10) => finish(id, ConfirmSelect::read(input)).map(Method::ConfirmSelect),
            (85, 11) => finish(id, ConfirmSelectOk::read(input)).map(Method::ConfirmSelectOk),
            (90, 10) => finish(id, TxSelect::read(input)).map(Method::TxSelect),
            (90, 11) => finish(id, TxSelectOk::read(input)).map(Method::TxSelectOk),
            (90, 20) => finish(id, TxCommit::read(input)).map(Method::TxCommit),
            (90, 21) => finish(id, TxCommitOk::read(input)).map(Method::TxCommitOk),
            (90, 30) => finish(id, TxRollback::read(input)).map(Method::TxRollback),
            (90, 31) => finish(id, TxRollbackOk::read(input)).map(Method::TxRollbackOk),
            _ => Err(MethodError::Unknown(id)),
        }
    }

    pub fn id(&self) -> MethodId {
        match self {
            Method::ConnectionStart(_) => ConnectionStart::ID,
            Method::ConnectionStartOk(_) => ConnectionStartOk::ID,
            Method::ConnectionSecure(_) => ConnectionSecure::ID,
            Method::ConnectionSecureOk(_) => ConnectionSecureOk::ID,
            Method::ConnectionTune(_) => ConnectionTune::ID,
            Method::ConnectionTuneOk(_) => ConnectionTuneOk::ID,
            Method::ConnectionOpen(_) => ConnectionOpen::ID,
            Method::ConnectionOpenOk(_) => ConnectionOpenOk::ID,
            Method::ConnectionClose(_) => ConnectionClose::ID,
            Method::ConnectionCloseOk(_) => ConnectionCloseOk::ID,
            Method::ConnectionBlocked(_) => ConnectionBlocked::ID,
            Method::ConnectionUnblocked(_) => ConnectionUnblocked::ID,
            Method::ConnectionUpdateSecret(_) => ConnectionUpdateSecret::ID,
            Method::ConnectionUpdateSecretOk(_) => ConnectionUpdateSecretOk::ID,
            Method::ChannelOpen(_) => ChannelOpen::ID,
            Method::ChannelOpenOk(_) => ChannelOpenOk::ID,
            Method::ChannelFlow(_) => ChannelFlow::ID,
            Method::ChannelFlowOk(_) => ChannelFlowOk::ID,
            Method::ChannelClose(_) => ChannelClose::ID,
            Method::ChannelCloseOk(_) => ChannelCloseOk::ID,
            Method::AccessRequest(_) => AccessRequest::ID,
            Method::AccessRequestOk(_) => AccessRequestOk::ID,
            Method::ExchangeDeclare(_) => ExchangeDeclare::ID,
            Method::ExchangeDeclareOk(_) => ExchangeDeclareOk::ID,
            Method::ExchangeDelete(_) => ExchangeDelete::ID,
            Method::ExchangeDeleteOk(_) => ExchangeDeleteOk::ID,
            Method::ExchangeBind(_) => ExchangeBind::ID,
            Method::ExchangeBindOk(_) => ExchangeBindOk::ID,
            Method::ExchangeUnbind(_) => ExchangeUnbind::ID,
            Method::ExchangeUnbindOk(_) => ExchangeUnbindOk::ID,
            Method::QueueDeclare(_) => QueueDeclare::ID,
            Method::QueueDeclareOk(_) => QueueDeclareOk::ID,
            Method::QueueBind(_) => QueueBind::ID,
            Method::QueueBindOk(_) => QueueBindOk::ID,
            Method::QueuePurge(_) => QueuePurge::ID,
            Method::QueuePurgeOk(_) => QueuePurgeOk::ID,
            Method::QueueDelete(_) => QueueDelete::ID,
            Method::QueueDeleteOk(_) => QueueDeleteOk::ID,
            Method::QueueUnbind(_) => QueueUnbind::ID,
            Method::QueueUnbindOk(_) => QueueUnbindOk::ID,
            Method::BasicQos(_) => BasicQos::ID,
            Method::BasicQosOk(_) => BasicQosOk::ID,
            Method::BasicConsume(_) => BasicConsume::ID,
            Method::BasicConsumeOk(_) => BasicConsumeOk::ID,
            Method::BasicCancel(_) => BasicCancel::ID,
            Method::BasicCancelOk(_) => BasicCancelOk::ID,
            Method::BasicPublish(_) => BasicPublish::ID,
            Method::BasicReturn(_) => BasicReturn::ID,
            Method::BasicDeliver(_) => BasicDeliver::ID,
            Method::BasicGet(_) => BasicGet::ID,
            Method::BasicGetOk(_) => BasicGetOk::ID,
            Method::BasicGetEmpty(_) => BasicGetEmpty::ID,
            Method::BasicAck(_) => BasicAck::ID,
            Method::BasicReject(_) => BasicReject::ID,
            Method::BasicRecoverAsync(_) => BasicRecoverAsync::ID,
            Method::BasicRecover(_) => BasicRecover::ID,
            Method::BasicRecoverOk(_) => BasicRecoverOk::ID,
            Method::BasicNack(_) => BasicNack::ID,
            Method::ConfirmSelect(_) => ConfirmSelect::ID,
            Method::ConfirmSelectOk(_) => ConfirmSelectOk::ID,
            Method::TxSelect(_) => TxSelect::ID,
            Method::TxSelectOk(_) => TxSelectOk::ID,
            Method::TxCommit(_) => TxCommit::ID,
            Method::TxCommitOk(_) => TxCommitOk::ID,
            Method::TxRollback(_) => TxRollback::ID,
            Method::TxRollbackOk(_) => TxRollbackOk::ID,
        }
    }

    /// Appends the arguments, without the ids.
    pub fn write_arguments(&self, out: &mut BytesMut) {
        match self {
            Method::ConnectionStart(method) => method.write(out),
            Method::ConnectionStartOk(method) => method.write(out),
            Method::ConnectionSecure(method) => method.write(out),
            Method::ConnectionSecureOk(method) => method.write(out),
            Method::ConnectionTune(method) => method.write(out),
            Method::ConnectionTuneOk(method) => method.write(out),
            Method::ConnectionOpen(method) => method.write(out),
            Method::ConnectionOpenOk(method) => method.write(out),
            Method::ConnectionClose(method) => method.write(out),
            Method::ConnectionCloseOk(method) => method.write(out),
            Method::ConnectionBlocked(method) => method.write(out),
            Method::ConnectionUnblocked(method) => method.write(out),
            Method::ConnectionUpdateSecret(method) => method.write(out),
            Method::ConnectionUpdateSecretOk(method) => method.write(out),
            Method::ChannelOpen(method) => method.write(out),
            Method::ChannelOpenOk(method) => method.write(out),
            Method::ChannelFlow(method) => method.write(out),
            Method::ChannelFlowOk(method) => method.write(out),
            Method::ChannelClose(method) => method.write(out),
            Method::ChannelCloseOk(method) => method.write(out),
            Method::AccessRequest(method) => method.write(out),
            Method::AccessRequestOk(method) => method.write(out),
            Method::ExchangeDeclare(method) => method.write(out),
            Method::ExchangeDeclareOk(method) => method.write(out),
            Method::ExchangeDelete(method) => method.write(out),
            Method::ExchangeDeleteOk(method) => method.write(out),
            Method::ExchangeBind(method) => method.write(out),
            Method::ExchangeBindOk(method) => method.write(out),
            Method::ExchangeUnbind(method) => method.write(out),
            Method::ExchangeUnbindOk(method) => method.write(out),
            Method::QueueDeclare(method) => method.write(out),
            Method::QueueDeclareOk(method) => method.write(out),
            Method::QueueBind(method) => method.write(out),
            Method::QueueBindOk(method) => method.write(out),
            Method::QueuePurge(method) => method.write(out),
            Method::QueuePurgeOk(method) => method.write(out),
            Method::QueueDelete(method) => method.write(out),
            Method::QueueDeleteOk(method) => method.write(out),
            Method::QueueUnbind(method) => method.write(out),
            Method::QueueUnbindOk(method) => method.write(out),
            Method::BasicQos(method) => method.write(out),
            Method::BasicQosOk(method) => method.write(out),
            Method::BasicConsume(method) => method.write(out),
            Method::BasicConsumeOk(method) => method.write(out),
            Method::BasicCancel(method) => method.write(out),
            Method::BasicCancelOk(method) => method.write(out),
            Method::BasicPublish(method) => method.write(out),
            Method::BasicReturn(method) => method.write(out),
            Method::BasicDeliver(method) => method.write(out),
            Method::BasicGet(method) => method.write(out),
            Method::BasicGetOk(method) => method.write(out),
            Method::BasicGetEmpty(method) => method.write(out),
            Method::BasicAck(method) => method.write(out),
            Method::BasicReject(method) => method.write(out),
            Method::BasicRecoverAsync(method) => method.write(out),
            Method::BasicRecover(method) => method.write(out),
            Method::BasicRecoverOk(method) => method.write(out),
            Method::BasicNack(method) => method.write(out),
            Method::ConfirmSelect(method) => method.write(out),
            Method::ConfirmSelectOk(method) => method.write(out),
            Method::TxSelect(method) => method.write(out),
            Method::TxSelectOk(method) => method.write(out),
            Method::TxCommit(method) => method.write(out),
            Method::TxCommitOk(method) => method.write(out),
            Method::TxRollback(method) => method.write(out),
            Method::TxRollbackOk(method) => method.write(out),
        }
    }
}

impl MethodId {
    /// `class.method` as the specification spells it; `None` for ids it does not have.
    pub fn name(self) -> Option<&'static str> {
        Some(match (self.class, self.method) {
            (10, 10) => "connection.start",
            (10, 11) => "connection.start-ok",
            (10, 20) => "connection.secure",
            (10, 21) => "connection.secure-ok",
            (10, 30) => "connection.tune",
            (10, 31) => "connection.tune-ok",
            (10, 40) => "connection.open",
            (10, 41) => "connection.open-ok",
            (10, 50) => "connection.close",
            (10, 51) => "connection.close-ok",
            (10, 60) => "connection.blocked",
            (10, 61) => "connection.unblocked",
            (10, 70) => "connection.update-secret",
            (10, 71) => "connection.update-secret-ok",
            (20, 10) => "channel.open",
            (20, 11) => "channel.open-ok",
            (20, 20) => "channel.flow",
            (20, 21) => "channel.flow-ok",
            (20, 40) => "channel.close",
            (20, 41) => "channel.close-ok",
            (30, 10) => "access.request",
            (30, 11) => "access.request-ok",
            (40, 10) => "exchange.declare",
            (40, 11) => "exchange.declare-ok",
            (40, 20) => "exchange.delete",
            (40, 21) => "exchange.delete-ok",
            (40, 30) => "exchange.bind",
            (40, 31) => "exchange.bind-ok",
            (40, 40) => "exchange.unbind",
            (40, 51) => "exchange.unbind-ok",
            (50, 10) => "queue.declare",
            (50, 11) => "queue.declare-ok",
            (50, 20) => "queue.bind",
            (50, 21) => "queue.bind-ok",
            (50, 30) => "queue.purge",
            (50, 31) => "queue.purge-ok",
            (50, 40) => "queue.delete",
            (50, 41) => "queue.delete-ok",
            (50, 50) => "queue.unbind",
            (50, 51) => "queue.unbind-ok",
            (60, 10) => "basic.qos",
            (60, 11) => "basic.qos-ok",
            (60, 20) => "basic.consume",
            (60, 21) => "basic.consume-ok",
            (60, 30) => "basic.cancel",
            (60, 31) => "basic.cancel-ok",
            (60, 40) => "basic.publish",
            (60, 50) => "basic.return",
            (60, 60) => "basic.deliver",
            (60, 70) => "basic.get",
            (60, 71) => "basic.get-ok",
            (60, 72) => "basic.get-empty",
            (60, 80) => "basic.ack",
            (60, 90) => "basic.reject",
            (60, 100) => "basic.recover-async",
            (60, 110) => "basic.recover",
            (60, 111) => "basic.recover-ok",
            (60, 120) => "basic.nack",
            (85, 10) => "confirm.select",
            (85, 11) => "confirm.select-ok",
            (90, 10) => "tx.select",
            (90, 11) => "tx.select-ok",
            (90, 20) => "tx.commit",
            (90, 21) => "tx.commit-ok",
            (90, 30) => "tx.rollback",
            (90, 31) => "tx.rollback-ok",
            _ => return None,
        })
    }

    /// True for methods that only a server sends.
    pub fn is_servers_alone(self) -> bool {
        matches!(
            (self.class, self.method),
            (10, 10)
                | (10, 20)
                | (10, 30)
                | (10, 41)
                | (10, 60)
                | (10, 61)
                | (10, 71)
                | (20, 11)
                | (30, 11)
                | (40, 11)
                | (40, 21)
                | (40, 31)
                | (40, 51)
                | (50, 11)
                | (50, 21)
                | (50, 31)
                | (50, 41)
                | (50, 51)
                | (60, 11)
                | (60, 21)
                | (60, 50)
                | (60, 60)
                | (60, 71)
                | (60, 72)
                | (60, 111)
                | (85, 11)
                | (90, 11)
                | (90, 21)
                | (90, 31)
        )
    }
}
