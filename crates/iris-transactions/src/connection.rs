//! A connection to a broker.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable as _, Encodable as _, HeaderVersion as _, StrBytes};

use crate::address::Address;
use crate::error::{Code, TransactionsError};
use crate::messages::Call;
use crate::stream::{Encryption, Stream, connect};

/// The largest response that is read.
const MAX_RESPONSE_BYTES: usize = 100 * 1024 * 1024;

/// A connection to a broker, over which one request at a time is sent.
pub struct Connection {
    address: Address,
    client_id: StrBytes,
    stream: Box<dyn Stream>,
    /// The versions of each request that the broker supports.
    versions: BTreeMap<i16, (i16, i16)>,
    sent: i32,
}

impl Connection {
    /// Connects, without a login.
    pub(crate) fn open(
        address: &Address,
        client_id: &str,
        encryption: Option<&Encryption>,
    ) -> Result<Self, TransactionsError> {
        let stream = connect(address, encryption);
        let stream = stream.map_err(|error| unreachable(address, &error.to_string()))?;
        let mut connection = Self {
            address: address.clone(),
            client_id: StrBytes::from_string(client_id.to_owned()),
            stream,
            versions: BTreeMap::new(),
            sent: 0,
        };
        let answer = connection.exchange(&ApiVersionsRequest::default(), 0)?;
        Code(answer.error_code).check("ApiVersions")?;
        let supported = answer.api_keys.iter();
        connection.versions = supported
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        Ok(connection)
    }

    /// Sends a request in the newest version that both sides support, and returns the response.
    ///
    /// # Errors
    /// If the connection fails, or the broker does not support the request.
    pub fn send<C: Call>(&mut self, request: &C) -> Result<C::Response, TransactionsError> {
        let (least, most) = self
            .versions
            .get(&(C::KEY as i16))
            .copied()
            .unwrap_or((0, -1));
        let version = most.min(*C::SENDABLE.end());
        if version < least.max(*C::SENDABLE.start()) {
            return Err(TransactionsError::TooOld {
                address: self.address.to_string(),
                request: C::NAME,
            });
        }
        self.exchange(request, version)
    }

    fn exchange<C: Call>(
        &mut self,
        request: &C,
        version: i16,
    ) -> Result<C::Response, TransactionsError> {
        self.try_exchange(request, version)
            .map_err(|problem| unreachable(&self.address, &format!("{}: {problem}", C::NAME)))
    }

    fn try_exchange<C: Call>(&mut self, request: &C, version: i16) -> Result<C::Response, String> {
        self.sent = self.sent.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(C::KEY as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.sent)
            .with_client_id(Some(self.client_id.clone()));
        let mut message = BytesMut::new();
        header
            .encode(&mut message, C::header_version(version))
            .and_then(|()| request.encode(&mut message, version))
            .map_err(|error| error.to_string())?;
        let mut response = self.transfer(&message)?;
        let header = ResponseHeader::decode(&mut response, C::Response::header_version(version))
            .map_err(|error| error.to_string())?;
        if header.correlation_id != self.sent {
            return Err("the response belongs to another request".to_owned());
        }
        C::Response::decode(&mut response, version).map_err(|error| error.to_string())
    }

    /// Sends a message, and returns the answer.
    fn transfer(&mut self, message: &[u8]) -> Result<Bytes, String> {
        let length = i32::try_from(message.len()).map_err(|error| error.to_string())?;
        let mut answer_length = [0; 4];
        let mut read = || {
            self.stream.write_all(&length.to_be_bytes())?;
            self.stream.write_all(message)?;
            self.stream.flush()?;
            self.stream.read_exact(&mut answer_length)
        };
        read().map_err(|error| error.to_string())?;
        let length = usize::try_from(i32::from_be_bytes(answer_length)).unwrap_or(usize::MAX);
        if length > MAX_RESPONSE_BYTES {
            return Err(
                "the response is too large; does the broker expect encrypted connections?"
                    .to_owned(),
            );
        }
        let mut answer = vec![0; length];
        let read = self.stream.read_exact(&mut answer);
        read.map_err(|error| error.to_string())?;
        Ok(answer.into())
    }

    /// Returns the error about a login that was refused.
    pub(crate) fn refused_login(&self, problem: String) -> TransactionsError {
        TransactionsError::Login {
            address: self.address.to_string(),
            problem,
        }
    }
}

fn unreachable(address: &Address, problem: &str) -> TransactionsError {
    TransactionsError::Unreachable {
        address: address.to_string(),
        problem: problem.to_owned(),
    }
}
