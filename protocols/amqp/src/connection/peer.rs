//! What the two sides say about themselves: the server's properties, and the part of the client's that matters.
//!
//! The product is the server's own name and not `RabbitMQ`. Clients branch on it in one place that matters: kombu sends
//! `basic.qos` with global=true to RabbitMQ 3.3 to 3.x only, and the limit per consumer that it asks of everybody else
//! is what Celery wants, since here it also changes consumers that run already. The version has three numbers because
//! kombu and the Java client's suite parse it.

use crate::codec::{Table, TableBuffer, Value};

/// Longest names of clients that are kept for logs.
const CLIENT_TEXT_CHARS_MAX: usize = 128;

/// What a client can take, by the names of RabbitMQ's capability table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Takes connection.close after a wrong password; others are dropped without a word.
    pub authentication_failure_close: bool,
    /// Takes basic.cancel from the server.
    pub consumer_cancel_notify: bool,
    /// Takes connection.blocked.
    pub connection_blocked: bool,
}

/// The client, as it describes itself. Empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub product: String,
    pub version: String,
    pub connection_name: String,
    pub capabilities: Capabilities,
}

impl Client {
    pub(super) fn read(properties: Table<'_>) -> Self {
        let text = |key: &str| {
            let found = properties.get(key).and_then(|value| value.as_text()).unwrap_or_default();
            found.chars().take(CLIENT_TEXT_CHARS_MAX).collect()
        };
        let capabilities = match properties.get("capabilities") {
            Some(Value::Table(table)) => table,
            _ => Table::default(),
        };
        let can = |key: &str| capabilities.get(key) == Some(Value::Bool(true));
        Client {
            product: text("product"),
            version: text("version"),
            connection_name: text("connection_name"),
            capabilities: Capabilities {
                authentication_failure_close: can("authentication_failure_close"),
                consumer_cancel_notify: can("consumer_cancel_notify"),
                connection_blocked: can("connection.blocked"),
            },
        }
    }
}

/// Properties for connection.start.
pub(super) fn server_properties(cluster_name: &str) -> TableBuffer {
    let mut capabilities = TableBuffer::default();
    for (name, can) in [
        ("publisher_confirms", true),
        ("exchange_exchange_bindings", true),
        ("basic.nack", true),
        ("consumer_cancel_notify", true),
        ("connection.blocked", true),
        ("consumer_priorities", true),
        ("authentication_failure_close", true),
        ("per_consumer_qos", true),
        ("direct_reply_to", false),
    ] {
        capabilities.put(name, Value::Bool(can));
    }
    let mut properties = TableBuffer::default();
    properties
        .put("capabilities", Value::Table(capabilities.as_table()))
        .put_text("cluster_name", cluster_name)
        .put_text("platform", "Rust")
        .put_text("product", "Mailrail")
        .put_text("version", env!("CARGO_PKG_VERSION"));
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_has_three_numbers() {
        let properties = server_properties("here");
        let version = properties.as_table().get("version").and_then(|value| value.as_text()).unwrap();
        assert_eq!(version.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{version}");
    }

    #[test]
    fn a_client_is_read_and_its_texts_are_cut() {
        let mut capabilities = TableBuffer::default();
        capabilities.put("connection.blocked", Value::Bool(true)).put("basic.nack", Value::Bool(true));
        let mut properties = TableBuffer::default();
        properties
            .put("capabilities", Value::Table(capabilities.as_table()))
            .put_text("connection_name", &"x".repeat(1_000))
            .put("product", Value::I32(5));
        let client = Client::read(properties.as_table());
        assert_eq!(client.capabilities, Capabilities { connection_blocked: true, ..Capabilities::default() });
        assert_eq!((client.connection_name.len(), client.product.as_str()), (CLIENT_TEXT_CHARS_MAX, ""));
    }
}
