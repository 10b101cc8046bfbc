//! How a scenario ends: passed, not possible for this SDK, or failed. Does not print anything.

/// What came of a scenario that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that the scenario states was seen.
    Pass,
    /// The same but for what this SDK has no way to send or to show; the reason goes into the table.
    PassBut(String),
    /// The SDK or its protocol has no way to do it; the reason goes into the table.
    Cannot(String),
}

/// Why a scenario failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The broker did something else than the scenario states.
    #[error("{0}")]
    Wrong(String),
    /// The driver answered a command with an error of its SDK.
    #[error("{driver}: `{command}` failed: {text}")]
    Refused { driver: String, command: String, text: String },
    /// The driver says that its SDK has no such call; scenarios turn this into [`Outcome::Cannot`].
    #[error("{driver}: `{command}` is not possible: {reason}")]
    Unsupported { driver: String, command: String, reason: String },
    /// A program ended, stayed silent, or wrote what is not a line of the protocol.
    #[error("{program}: {text}")]
    Program { program: String, text: String },
    /// An SDK beyond the quick set cannot be installed on this machine; its cells say why.
    #[error("{driver} is not installed: {reason}")]
    NotInstalled { driver: String, reason: String },
    /// The machine lacks something that the run needs.
    #[error("cannot run: {0}")]
    Environment(String),
    #[error("{context}: {source}")]
    Io { context: String, source: std::io::Error },
}

impl Failure {
    /// For `map_err`: an IO error with what was being done.
    pub fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }
}

/// Fails the scenario with a message unless the condition holds.
#[macro_export]
macro_rules! require {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Failure::Wrong(format!($($message)+)));
        }
    };
}
