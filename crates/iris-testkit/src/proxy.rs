//! A TCP proxy in front of a broker that delays and cuts requests.
//!
//! Clients reach a broker only through its proxy, because the broker advertises the proxy's address; brokers talk to each
//! other directly. The proxy reads only the length and the kind of a request, whether an EndTxn commits, and the generation in
//! a heartbeat.

mod commits;
mod group;
mod link;
mod request;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use commits::{CommitFault, CommitFaults};
pub use group::{GroupRequests, HeldRequest};
use link::Link;
pub use link::Network;

/// A proxy in front of one broker, on its own port.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    network: watch::Sender<Network>,
}

impl Proxy {
    /// Forwards connections from a free port to `upstream` on this machine, until `runtime` is dropped.
    ///
    /// # Errors
    /// If no port is free.
    pub fn start(
        runtime: &Handle,
        upstream: u16,
        commit_faults: Arc<CommitFaults>,
        groups: Arc<GroupRequests>,
    ) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (network, state) = watch::channel(Network::Up);
        let broker = SocketAddr::from((Ipv4Addr::LOCALHOST, upstream));
        runtime.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            while let Ok((client, _)) = listener.accept().await {
                if *state.borrow() != Network::Cut {
                    let link = Link {
                        network: state.clone(),
                        commit_faults: Arc::clone(&commit_faults),
                        groups: Arc::clone(&groups),
                    };
                    tokio::spawn(link.carry(client, broker));
                }
            }
        });
        Ok(Self { port, network })
    }

    /// Returns the port that clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the state of the network, for open and for new connections.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::time::Duration;

    use super::commits::END_TXN;
    use super::group::JOIN_GROUP;
    use super::request::tests::request;
    use super::*;

    /// A broker that responds to each request with the request's last byte, and a client connected to it through a proxy.
    struct Connected {
        _runtime: tokio::runtime::Runtime,
        proxy: Proxy,
        faults: Arc<CommitFaults>,
        groups: Arc<GroupRequests>,
        /// The last byte of each request that the broker received.
        received: std::sync::mpsc::Receiver<u8>,
        client: std::net::TcpStream,
    }

    fn connected() -> Connected {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let broker = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = broker.local_addr().unwrap().port();
        let (sender, received) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in broker.incoming() {
                let (mut stream, sender) = (stream.unwrap(), sender.clone());
                std::thread::spawn(move || {
                    let mut frame = [0; 9];
                    while stream.read_exact(&mut frame).is_ok() {
                        let _ = sender.send(frame[8]);
                        let _ = stream.write_all(&frame[8..]);
                    }
                });
            }
        });
        let faults = Arc::<CommitFaults>::default();
        let groups = Arc::<GroupRequests>::default();
        let (commits, joins) = (Arc::clone(&faults), Arc::clone(&groups));
        let proxy = Proxy::start(runtime.handle(), port, commits, joins).unwrap();
        let client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        Connected {
            _runtime: runtime,
            proxy,
            faults,
            groups,
            received,
            client,
        }
    }

    fn exchange(client: &mut std::net::TcpStream, request: &[u8]) -> io::Result<u8> {
        client.write_all(&5_u32.to_be_bytes())?;
        client.write_all(request)?;
        let mut response = [0];
        client.read_exact(&mut response)?;
        Ok(response[0])
    }

    #[test]
    fn requests_and_responses_are_forwarded_and_the_next_commit_meets_its_fault() {
        let mut connected = connected();
        let (faults, client) = (&connected.faults, &mut connected.client);
        assert_eq!(exchange(client, &request(3, 1, 7)).unwrap(), 7);
        faults.arrange(CommitFault::Delay(Duration::from_millis(200)));
        faults.arrange(CommitFault::CutAfter);
        assert_eq!(exchange(client, &request(END_TXN, 1, 0)).unwrap(), 0);
        assert_eq!(faults.counts(), (0, 0), "an abort meets no fault");
        let started = std::time::Instant::now();
        assert_eq!(exchange(client, &request(END_TXN, 1, 1)).unwrap(), 1);
        assert!(started.elapsed() >= Duration::from_millis(200));
        assert!(exchange(client, &request(END_TXN, 1, 1)).is_err());
        assert_eq!(faults.counts(), (1, 1));
    }

    #[test]
    fn connections_are_cut_and_refused_until_the_network_is_up_again() {
        let mut connected = connected();
        let (proxy, client) = (&connected.proxy, &mut connected.client);
        proxy.set(Network::Cut);
        assert!(exchange(client, &request(3, 1, 7)).is_err());
        let connect = || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()));
        assert!(exchange(&mut connect().unwrap(), &request(3, 1, 7)).is_err());
        proxy.set(Network::Up);
        assert_eq!(
            exchange(&mut connect().unwrap(), &request(3, 1, 7)).unwrap(),
            7
        );
    }

    #[test]
    fn a_held_join_reaches_the_broker_when_it_is_released() {
        let mut connected = connected();
        let held = connected.groups.hold_join(1);
        let client = &mut connected.client;
        assert_eq!(exchange(client, &request(JOIN_GROUP, 9, 1)).unwrap(), 1);
        assert!(!held.is_held());
        assert!(exchange(client, &request(JOIN_GROUP, 9, 2)).is_err());
        assert!(held.is_held());
        let port = connected.proxy.port();
        let mut client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_eq!(
            exchange(&mut client, &request(JOIN_GROUP, 9, 3)).unwrap(),
            3
        );
        held.release();
        let next = || {
            connected
                .received
                .recv_timeout(Duration::from_secs(10))
                .unwrap()
        };
        assert_eq!([next(), next(), next()], [1, 3, 2]);
    }
}
