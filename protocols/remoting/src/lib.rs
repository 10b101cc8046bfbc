//! RocketMQ remoting (4.x and 5.x clients) for Mailrail: name server and broker answered on one port.
//!
//! `codec` turns bytes into typed frames and back. It knows no socket, no clock and no broker.
//! What is absent: listeners and TLS (the gateway's), and everything a message means (the broker's).

pub mod codec;
