//! The connection and channel state machines, driven by bytes and a clock that the test moves. No socket, no broker.

mod close_codes;
mod consume;
mod handshake;
mod limits;
mod publish;
mod split;
mod wire;
