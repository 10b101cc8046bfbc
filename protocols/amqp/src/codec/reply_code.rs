//! Reply codes (AMQP 0-9-1 section 1.2) and what dies by each.
//!
//! Holds no texts: those name the case and are written where it is found.

/// What an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Channel,
    Connection,
}

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal $text:literal $scope:ident,)*) => {
        /// A code of a close or a return.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ReplyCode {
            $($(#[$doc])* $name,)*
        }

        impl ReplyCode {
            /// The number on the wire.
            pub fn number(self) -> u16 {
                match self { $(ReplyCode::$name => $code,)* }
            }

            /// The name that reply texts begin with, as RabbitMQ's do.
            pub fn name(self) -> &'static str {
                match self { $(ReplyCode::$name => $text,)* }
            }

            /// The code alone decides what dies; only on channel 0 everything ends the connection.
            pub fn scope(self) -> Scope {
                match self { $(ReplyCode::$name => Scope::$scope,)* }
            }
        }
    };
}

reply_codes! {
    ReplySuccess = 200 "OK" Connection,
    ContentTooLarge = 311 "CONTENT_TOO_LARGE" Channel,
    /// Only in `basic.return`.
    NoRoute = 312 "NO_ROUTE" Channel,
    ConnectionForced = 320 "CONNECTION_FORCED" Connection,
    AccessRefused = 403 "ACCESS_REFUSED" Channel,
    NotFound = 404 "NOT_FOUND" Channel,
    ResourceLocked = 405 "RESOURCE_LOCKED" Channel,
    PreconditionFailed = 406 "PRECONDITION_FAILED" Channel,
    FrameError = 501 "FRAME_ERROR" Connection,
    SyntaxError = 502 "SYNTAX_ERROR" Connection,
    CommandInvalid = 503 "COMMAND_INVALID" Connection,
    ChannelError = 504 "CHANNEL_ERROR" Connection,
    UnexpectedFrame = 505 "UNEXPECTED_FRAME" Connection,
    ResourceError = 506 "RESOURCE_ERROR" Connection,
    NotAllowed = 530 "NOT_ALLOWED" Connection,
    NotImplemented = 540 "NOT_IMPLEMENTED" Connection,
    InternalError = 541 "INTERNAL_ERROR" Connection,
}
