//! What went wrong, with its reply code: the code alone says whether a channel or the connection dies.
//!
//! Knows no state; whoever sends the close frame decides that channel 0 turns everything into a connection's death.

use crate::codec::{MethodId, ReplyCode, Scope};

/// An error that closes something. Its text is what the client reads behind the code's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} - {text}", code.name())]
pub struct Fault {
    pub code: ReplyCode,
    /// The method at fault, or [`MethodId::NONE`].
    pub method: MethodId,
    pub text: String,
}

impl Fault {
    pub fn new(code: ReplyCode, method: MethodId, text: impl Into<String>) -> Self {
        Fault { code, method, text: text.into() }
    }

    /// What dies, on any channel but 0.
    pub fn scope(&self) -> Scope {
        self.code.scope()
    }
}

/// Why the broker's side refused a request. The state machine adds the method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} - {text}", code.name())]
pub struct Refusal {
    pub code: ReplyCode,
    pub text: String,
}

impl Refusal {
    pub fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Refusal { code, text: text.into() }
    }

    pub(crate) fn of(self, method: MethodId) -> Fault {
        Fault { code: self.code, method, text: self.text }
    }
}
