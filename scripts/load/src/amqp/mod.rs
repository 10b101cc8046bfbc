//! AMQP 0-9-1 as a client library speaks it: publishes with confirms, consume with acknowledgements.
//! One channel per connection, default exchange, durable queues.
pub mod consume;
pub mod frame;
pub mod handshake;
pub mod publish;
