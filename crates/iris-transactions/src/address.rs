//! Addresses of brokers.

/// The port of an address without one.
const DEFAULT_PORT: u16 = 9092;

/// The address of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Returns the addresses of a list as librdkafka reads it: separated by commas, each with an optional protocol before it and
    /// an optional port.
    pub(crate) fn list(text: &str) -> Vec<Self> {
        let parts = text.split(',').map(str::trim);
        parts
            .filter(|part| !part.is_empty())
            .map(Self::parse)
            .collect()
    }

    fn parse(text: &str) -> Self {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address without a port contains colons, too.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
            _ => (text, ""),
        };
        Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.parse().unwrap_or(DEFAULT_PORT),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_have_a_protocol_and_need_no_port() {
        let list = Address::list("a:1, SASL_SSL://b:2,c,[::1]:3 , ::1,");
        let shown: Vec<String> = list.iter().map(Address::to_string).collect();
        assert_eq!(shown, ["a:1", "b:2", "c:9092", "[::1]:3", "[::1]:9092"]);
    }
}
