//! Every operation of the document, as a good request for it.

use serde_json::{Value, json};

/// An operation: its name, method, path, and a good body.
pub struct Operation {
    pub name: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub body: Option<Value>,
}

pub fn operations() -> Vec<Operation> {
    let operation = |name, method, path, body| Operation { name, method, path, body };
    vec![
        operation("listTopics", "GET", "/v1/topics", None),
        operation("putTopic", "PUT", "/v1/topics/t", Some(json!({}))),
        operation("getTopic", "GET", "/v1/topics/t", None),
        operation("deleteTopic", "DELETE", "/v1/topics/t", None),
        operation("listLite", "GET", "/v1/topics/t/lite", None),
        operation("putLite", "PUT", "/v1/topics/t/lite/l", None),
        operation("listExchanges", "GET", "/v1/exchanges", None),
        operation("putExchange", "PUT", "/v1/exchanges/x", Some(json!({}))),
        operation("getExchange", "GET", "/v1/exchanges/x", None),
        operation("deleteExchange", "DELETE", "/v1/exchanges/x", None),
        operation("putBinding", "POST", "/v1/exchanges/x/bindings", Some(json!({"topic": "t", "key": "k"}))),
        operation("listBindings", "GET", "/v1/exchanges/x/bindings", None),
        operation("deleteBindings", "DELETE", "/v1/exchanges/x/bindings?topic=t&key=k", None),
        operation(
            "publishToExchange",
            "POST",
            "/v1/exchanges/x/messages",
            Some(json!({"messages": [{"routing_key": "k"}]})),
        ),
        operation("publishMessages", "POST", "/v1/topics/t/messages", Some(json!({"messages": [{}]}))),
        operation("readMessages", "GET", "/v1/topics/t/queues/0/messages", None),
        operation("getMessage", "GET", "/v1/messages/ID", None),
        operation("getMessageTrace", "GET", "/v1/messages/ID/trace", None),
        operation("recallMessage", "DELETE", "/v1/messages/ID", None),
        operation(
            "publishTogether",
            "POST",
            "/v1/messages",
            Some(json!({"messages": [{"topic": "t", "message": {}}]})),
        ),
        operation(
            "beginTransaction",
            "POST",
            "/v1/transactions",
            Some(json!({"topic": "t", "group": "g", "message": {}})),
        ),
        operation("listTransactions", "GET", "/v1/transactions", None),
        operation("commitTransaction", "POST", "/v1/transactions/ID/commit", None),
        operation("rollBackTransaction", "POST", "/v1/transactions/ID/rollback", None),
        operation("findMessages", "GET", "/v1/messages?topic=t&key=k", None),
        operation("streamEvents", "GET", "/v1/topics/t/events", None),
        operation("listGroups", "GET", "/v1/topics/t/groups", None),
        operation("putGroup", "PUT", "/v1/topics/t/groups/g", Some(json!({}))),
        operation("getGroup", "GET", "/v1/topics/t/groups/g", None),
        operation("deleteGroup", "DELETE", "/v1/topics/t/groups/g", None),
        operation("seekGroup", "POST", "/v1/topics/t/groups/g/seek", Some(json!({"to": "earliest"}))),
        operation("receiveMessages", "POST", "/v1/topics/t/groups/g/receive", Some(json!({}))),
        operation("settleMessages", "POST", "/v1/topics/t/groups/g/settle", Some(json!({"ack": ["R"]}))),
        operation(
            "extendLeases",
            "POST",
            "/v1/topics/t/groups/g/extend",
            Some(json!({"receipts": ["R"], "lease_ms": 1_000})),
        ),
        operation("getBackup", "GET", "/v1/backup", None),
        operation("listUsers", "GET", "/v1/users", None),
        operation("putUser", "PUT", "/v1/users/u", Some(json!({"password": "secret", "admin": true}))),
        operation("getUser", "GET", "/v1/users/u", None),
        operation("getPermissions", "GET", "/v1/users/u/permissions", None),
        operation("putPermissions", "PUT", "/v1/users/u/permissions", Some(json!({"permissions": []}))),
        operation("deleteUser", "DELETE", "/v1/users/u", None),
        operation("listChanges", "GET", "/v1/audit", None),
        operation("getStatistics", "GET", "/v1/statistics", None),
        operation("getTopicStatistics", "GET", "/v1/topics/t/statistics", None),
        operation("getGroupStatistics", "GET", "/v1/topics/t/groups/g/statistics", None),
        operation("listConnections", "GET", "/v1/connections", None),
        operation("getHealth", "GET", "/healthz", None),
        operation("getReadiness", "GET", "/readyz", None),
    ]
}
