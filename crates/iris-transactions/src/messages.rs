//! The requests that this crate sends.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, ApiKey, ApiVersionsRequest,
    ApiVersionsResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeTransactionsRequest, DescribeTransactionsResponse, FetchRequest, FetchResponse,
    InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListTransactionsRequest, ListTransactionsResponse, MetadataRequest, MetadataResponse,
    ProduceRequest, ProduceResponse, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
    WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

/// A request with its response.
pub trait Call: Encodable + HeaderVersion {
    /// The response.
    type Response: Decodable + HeaderVersion;
    /// The request's key in the protocol.
    const KEY: ApiKey;
    /// The request's name.
    const NAME: &'static str;
    /// The versions that this crate can send.
    const SENDABLE: RangeInclusive<i16>;
}

macro_rules! calls {
    ($($key:ident: $request:ident, $response:ident, $versions:expr;)*) => {
        $(impl Call for $request {
            type Response = $response;
            const KEY: ApiKey = ApiKey::$key;
            const NAME: &'static str = stringify!($key);
            const SENDABLE: RangeInclusive<i16> = $versions;
        })*
    };
}

calls! {
    ApiVersions: ApiVersionsRequest, ApiVersionsResponse, 0..=0;
    SaslHandshake: SaslHandshakeRequest, SaslHandshakeResponse, 1..=1;
    SaslAuthenticate: SaslAuthenticateRequest, SaslAuthenticateResponse, 0..=2;
    Metadata: MetadataRequest, MetadataResponse, 4..=12;
    // From version 2 on, the request names the isolation level.
    ListOffsets: ListOffsetsRequest, ListOffsetsResponse, 2..=7;
    // From version 13 on, topics have ids instead of names.
    Fetch: FetchRequest, FetchResponse, 4..=12;
    DescribeProducers: DescribeProducersRequest, DescribeProducersResponse, 0..=0;
    ListTransactions: ListTransactionsRequest, ListTransactionsResponse, 0..=1;
    DescribeTransactions: DescribeTransactionsRequest, DescribeTransactionsResponse, 0..=0;
    WriteTxnMarkers: WriteTxnMarkersRequest, WriteTxnMarkersResponse, 1..=1;
    // From version 3 on, the request names the producer that is fenced.
    InitProducerId: InitProducerIdRequest, InitProducerIdResponse, 3..=4;
    // From version 12 on, a broker adds the partition to the transaction by itself.
    Produce: ProduceRequest, ProduceResponse, 3..=11;
    AddOffsetsToTxn: AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, 0..=3;
    TxnOffsetCommit: TxnOffsetCommitRequest, TxnOffsetCommitResponse, 0..=3;
}
