//! The REST surface against a real broker in a temporary folder, through the router, without a socket.

mod backup;
mod deduplication;
mod events;
mod exchanges;
mod expiry;
mod groups;
mod hostile;
mod limits;
mod lite;
mod publish;
mod read;
mod receive;
mod statistics;
mod statuses;
mod topics;
mod trace;
mod transactions;
mod users;
mod world;
