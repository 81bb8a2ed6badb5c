//! Requests that create and delete access control lists, in the first version that brokers still have.
//!
//! librdkafka has them too, but rust-rdkafka does not expose them, and Kafka's own tool starts a Java virtual machine each time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};
use iris_contract::rights::{Operation, Pattern, ResourceKind, Right};

use crate::wait::eventually;

const DESCRIBE_ACLS: i16 = 29;
const CREATE_ACLS: i16 = 30;
const DELETE_ACLS: i16 = 31;
const VERSION: i16 = 1;

/// How long a change may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Allows, rather than denies.
const ALLOW: u8 = 3;

/// A right of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// The user.
    pub user: String,
    /// The kind of the resource.
    pub kind: ResourceKind,
    /// The resource's name, or the beginning of it.
    pub name: String,
    /// Whether the name is whole.
    pub pattern: Pattern,
    /// The operation.
    pub operation: Operation,
}

impl Acl {
    /// Returns a right of a role as one of this user.
    #[must_use]
    pub fn of(user: &str, right: &Right) -> Self {
        Self {
            user: user.to_owned(),
            kind: right.kind,
            name: right.name.clone(),
            pattern: right.pattern,
            operation: right.operation,
        }
    }

    /// Returns the right to describe the same resource.
    #[must_use]
    pub fn describe(&self) -> Self {
        Self {
            operation: Operation::Describe,
            ..self.clone()
        }
    }

    fn kind(&self) -> u8 {
        match self.kind {
            ResourceKind::Topic => 2,
            ResourceKind::Group => 3,
            ResourceKind::Cluster => 4,
            ResourceKind::TransactionalId => 5,
        }
    }

    fn operation(&self) -> u8 {
        match self.operation {
            Operation::Read => 3,
            Operation::Write => 4,
            Operation::Create => 5,
            Operation::Delete => 6,
            Operation::Alter => 7,
            Operation::Describe => 8,
        }
    }

    /// All requests have the same fields.
    fn write(&self, request: &mut Vec<u8>) {
        let pattern = match self.pattern {
            Pattern::Literal => 3,
            Pattern::Prefix => 4,
        };
        request.push(self.kind());
        string(request, &self.name);
        request.push(pattern);
        string(request, &format!("User:{}", self.user));
        string(request, "*");
        request.extend([self.operation(), ALLOW]);
    }
}

fn string(request: &mut Vec<u8>, text: &str) {
    let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
    request.extend(length.to_be_bytes());
    request.extend(text.as_bytes());
}

/// Creates access control lists.
pub(super) fn create(port: u16, acls: &[Acl]) -> anyhow::Result<()> {
    let mut response = send(port, CREATE_ACLS, acls)?;
    for acl in acls {
        let (code, message) = (response.i16()?, response.nullable_string()?);
        ensure!(code == 0, "{acl:?}: error {code} {message}");
    }
    await_effect(port, acls, true)
}

/// Waits until the broker applies a change: the controller answers before that.
fn await_effect(port: u16, acls: &[Acl], exists: bool) -> anyhow::Result<()> {
    for acl in acls {
        eventually("access control lists to take effect", TIMEOUT, || {
            let found = is_in_effect(port, acl);
            found.map_or_else(
                |error| Some(Err(error)),
                |found| (found == exists).then_some(Ok(())),
            )
        })??;
    }
    Ok(())
}

/// Whether the broker applies an access control list.
fn is_in_effect(port: u16, acl: &Acl) -> anyhow::Result<bool> {
    let mut fields = Vec::new();
    acl.write(&mut fields);
    let mut response = request(port, DESCRIBE_ACLS, &fields)?;
    // The throttle time.
    response.take(4)?;
    let (code, message) = (response.i16()?, response.nullable_string()?);
    ensure!(code == 0, "{acl:?}: error {code} {message}");
    Ok(response.i32()? > 0)
}

/// Deletes access control lists, each of which must exist.
pub(super) fn delete(port: u16, acls: &[Acl]) -> anyhow::Result<()> {
    let mut response = send(port, DELETE_ACLS, acls)?;
    for acl in acls {
        let (code, message) = (response.i16()?, response.nullable_string()?);
        ensure!(code == 0, "{acl:?}: error {code} {message}");
        let matches = response.i32()?;
        ensure!(matches == 1, "{acl:?}: {matches} are deleted");
        for _ in 0..matches {
            let (code, message) = (response.i16()?, response.nullable_string()?);
            ensure!(code == 0, "{acl:?}: error {code} {message}");
            response.take(1)?;
            response.nullable_string()?;
            response.take(1)?;
            response.nullable_string()?;
            response.nullable_string()?;
            response.take(2)?;
        }
    }
    await_effect(port, acls, false)
}

/// Sends a request, and returns the results in the response.
fn send(port: u16, api: i16, acls: &[Acl]) -> anyhow::Result<Response> {
    let mut fields = i32::try_from(acls.len())?.to_be_bytes().to_vec();
    acls.iter().for_each(|acl| acl.write(&mut fields));
    let mut response = request(port, api, &fields)?;
    // The throttle time and the number of results.
    response.take(8)?;
    Ok(response)
}

/// Sends a request with these fields, and returns the response.
fn request(port: u16, api: i16, fields: &[u8]) -> anyhow::Result<Response> {
    let mut request = Vec::new();
    request.extend(api.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    // The number of the request, and no client id.
    request.extend(1_i32.to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend(fields);
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(&i32::try_from(request.len())?.to_be_bytes())?;
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    stream.read_exact(&mut bytes)?;
    let mut response = Response { bytes, at: 0 };
    // The number of the request.
    response.take(4)?;
    Ok(response)
}

/// A response that is read from its beginning.
struct Response {
    bytes: Vec<u8>,
    at: usize,
}

impl Response {
    fn take(&mut self, count: usize) -> anyhow::Result<&[u8]> {
        let start = self.at;
        self.at += count;
        self.bytes
            .get(start..self.at)
            .context("the response is too short")
    }

    fn i16(&mut self) -> anyhow::Result<i16> {
        let bytes = self.take(2)?.try_into()?;
        Ok(i16::from_be_bytes(bytes))
    }

    fn i32(&mut self) -> anyhow::Result<i32> {
        let bytes = self.take(4)?.try_into()?;
        Ok(i32::from_be_bytes(bytes))
    }

    fn nullable_string(&mut self) -> anyhow::Result<String> {
        let length = usize::try_from(self.i16()?).unwrap_or_default();
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }
}
