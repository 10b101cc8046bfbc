//! Where an expression finds what it names: the properties of a stored message, and what JMS calls its header.

use mailrail_message::StoredMessage;
use mailrail_message::property::{self, Properties};

use super::Value;

/// What JMS gives a message whose sender said nothing.
const JMS_PRIORITY_DEFAULT: i32 = 4;

/// Named values of a message.
pub(super) trait Fields {
    /// [`Value::Null`] when there is none.
    fn field(&self, name: &str) -> Value<'_>;
}

/// As RocketMQ has it: every property, those with a meaning included, is text.
impl Fields for Properties<'_> {
    fn field(&self, name: &str) -> Value<'_> {
        self.get(name).map_or(Value::Null, Value::Text)
    }
}

/// As JMS has it: the header fields that a selector may name, then the properties.
pub(super) struct JmsFields<'a>(pub StoredMessage<'a>);

impl Fields for JmsFields<'_> {
    fn field(&self, name: &str) -> Value<'_> {
        let properties = self.0.properties();
        let text = |name: &str| properties.get(name).map_or(Value::Null, Value::Text);
        match name {
            "JMSMessageID" => text(property::UNIQUE_ID),
            "JMSCorrelationID" => text(property::CORRELATION_ID),
            "JMSType" => text(property::MESSAGE_TYPE),
            "JMSTimestamp" => Value::Long(i64::try_from(self.0.born_ms()).unwrap_or(i64::MAX)),
            "JMSPriority" => {
                let priority = properties.get(property::PRIORITY).and_then(|text| text.parse().ok());
                Value::Int(priority.unwrap_or(JMS_PRIORITY_DEFAULT))
            }
            "JMSDeliveryMode" if properties.get(property::WAIT) == Some("false") => {
                Value::Text("NON_PERSISTENT")
            }
            "JMSDeliveryMode" => Value::Text("PERSISTENT"),
            name => text(name),
        }
    }
}
