//! Why transactions cannot be listed or ended.

use iris_kafka::MissingRights;
use kafka_protocol::ResponseError;
use thiserror::Error;

/// Why transactions cannot be listed or ended.
#[derive(Debug, Error)]
pub enum TransactionsError {
    /// The settings need something that this connection does not support.
    #[error("{0}")]
    Unsupported(String),
    /// A broker cannot be reached, or the connection failed.
    #[error("broker {address}: {problem}")]
    Unreachable {
        /// The broker's address.
        address: String,
        /// The reason.
        problem: String,
    },
    /// A broker does not have a request.
    #[error(
        "broker {address} does not support the request {request}: Kafka 3.0 or later is needed"
    )]
    TooOld {
        /// The broker's address.
        address: String,
        /// The request's name.
        request: &'static str,
    },
    /// A broker has refused a login.
    #[error("broker {address} refuses the login: {problem}")]
    Login {
        /// The broker's address.
        address: String,
        /// The broker's reason.
        problem: String,
    },
    /// A right is missing.
    #[error("{0}")]
    MissingRights(MissingRights),
    /// A topic does not exist.
    #[error("topic `{0}` does not exist, or this user may not see it")]
    NoTopic(String),
    /// A broker refuses a request for another reason.
    #[error("{request}: {problem}")]
    Refused {
        /// The request and its subject.
        request: String,
        /// The reason.
        problem: String,
    },
    /// The transaction that was named is not open.
    #[error("{0}")]
    NotOpen(String),
}

/// An error code of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) i16);

impl Code {
    /// Returns the error; `None` for success.
    pub(crate) fn error(self) -> Option<ResponseError> {
        ResponseError::try_from_code(self.0)
    }

    /// Returns an error if the code is not that of success.
    pub(crate) fn check(self, request: &str) -> Result<(), TransactionsError> {
        match self.error() {
            None => Ok(()),
            Some(error) => Err(TransactionsError::Refused {
                request: request.to_owned(),
                problem: error.to_string(),
            }),
        }
    }
}
