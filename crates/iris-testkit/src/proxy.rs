//! A TCP proxy in front of a broker, which delays and cuts, and knows a commit when it sees one.
//!
//! Clients reach a broker only through its proxy, since that is the address that the broker advertises; brokers talk to
//! each other without it. Of the protocol the proxy reads no more than it must: the length of a request, its kind, and
//! whether an EndTxn commits.

mod group;
mod request;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use group::{GroupRequests, HeldRequest};
use request::int16;

/// The kind of request that ends a transaction: <https://kafka.apache.org/protocol#The_Messages_EndTxn>
const END_TXN: i16 = 26;

/// Versions of EndTxn up to this end with the byte that says whether to commit.
const LAST_VERSION_ENDING_WITH_COMMITTED: i16 = 2;

/// How long a connection to the broker outlives the client's after a cut, for the broker to act on what it was sent.
const LINGER: Duration = Duration::from_secs(1);

/// What happens to a request that commits a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// It reaches the broker later, even if the client has given up on it by then.
    Delay(Duration),
    /// It does not reach the broker; the connection is cut.
    CutBefore,
    /// It reaches the broker, but the connection is cut before the answer.
    CutAfter,
}

/// What is to happen to commits, through whichever broker they go, and what did.
#[derive(Debug, Default)]
pub struct CommitFaults {
    due: Mutex<VecDeque<CommitFault>>,
    delayed: AtomicU64,
    cut: AtomicU64,
}

impl CommitFaults {
    /// Arranges for the next commit to meet a fault.
    pub fn arrange(&self, fault: CommitFault) {
        self.due().push_back(fault);
    }

    /// Forgets the faults that no commit has met.
    pub fn clear(&self) {
        self.due().clear();
    }

    /// How many commits were delayed, and how many cut off.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.delayed.load(Ordering::Relaxed),
            self.cut.load(Ordering::Relaxed),
        )
    }

    fn due(&self) -> MutexGuard<'_, VecDeque<CommitFault>> {
        self.due.lock()
    }

    fn next(&self) -> Option<CommitFault> {
        let fault = self.due().pop_front()?;
        let counter = match fault {
            CommitFault::Delay(_) => &self.delayed,
            CommitFault::CutBefore | CommitFault::CutAfter => &self.cut,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Some(fault)
    }
}

/// The state of the network between clients and a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Everything goes through.
    #[default]
    Up,
    /// Each request goes through after this time.
    Slow(Duration),
    /// Connections are cut and refused.
    Cut,
}

/// A proxy in front of one broker, on a port of its own.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    network: watch::Sender<Network>,
}

impl Proxy {
    /// Starts forwarding from a free port to `upstream` on this machine, for as long as `runtime` lives.
    ///
    /// # Errors
    /// If there is no port.
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

    /// The port that clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the state of the network, for connections that are open and new ones.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

/// One client's connection.
struct Link {
    network: watch::Receiver<Network>,
    commit_faults: Arc<CommitFaults>,
    groups: Arc<GroupRequests>,
}

/// How a connection's requests came to an end.
enum End {
    /// One of the two hung up.
    HungUp,
    /// The connection is to be cut, the broker's side last.
    Cut,
    /// As a cut, but before the broker's side ends it gets this request when it is released.
    Held(Vec<u8>, watch::Receiver<bool>),
}

impl Link {
    async fn carry(mut self, client: TcpStream, broker: SocketAddr) {
        let Ok(broker) = TcpStream::connect(broker).await else {
            return;
        };
        // Nothing is lost by not setting it but time.
        let _ = (client.set_nodelay(true), broker.set_nodelay(true));
        let (mut requests, mut answers_out) = client.into_split();
        let (mut answers, mut broker) = broker.into_split();
        let answering = tokio::spawn(async move {
            let _ = tokio::io::copy(&mut answers, &mut answers_out).await;
        });
        let mut network = self.network.clone();
        let cut = async move {
            let _ = network.wait_for(|state| *state == Network::Cut).await;
        };
        let end = tokio::select! {
            end = self.forward(&mut requests, &mut broker) => end.unwrap_or(End::HungUp),
            () = cut => End::Cut,
        };
        // The client's side ends here: with the task goes the half that it writes to.
        answering.abort();
        drop(requests);
        match end {
            End::HungUp => return,
            End::Cut => {}
            End::Held(request, mut released) => {
                if released.wait_for(|is_released| *is_released).await.is_err()
                    || broker.write_all(&request).await.is_err()
                {
                    return;
                }
            }
        }
        tokio::time::sleep(LINGER).await;
    }

    /// Forwards request by request.
    async fn forward(
        &mut self,
        client: &mut OwnedReadHalf,
        broker: &mut OwnedWriteHalf,
    ) -> io::Result<End> {
        let mut frame = Vec::new();
        loop {
            let length = client.read_u32().await?;
            frame.clear();
            frame.extend(length.to_be_bytes());
            frame.resize(4 + length as usize, 0);
            client.read_exact(&mut frame[4..]).await?;
            let network = *self.network.borrow();
            if let Network::Slow(delay) = network {
                tokio::time::sleep(delay).await;
            }
            if let Some(released) = self.groups.see(&frame[4..]) {
                return Ok(End::Held(frame, released));
            }
            let fault = is_commit(&frame[4..]).then(|| self.commit_faults.next());
            match fault.flatten() {
                Some(CommitFault::CutBefore) => return Ok(End::Cut),
                Some(CommitFault::CutAfter) => {
                    broker.write_all(&frame).await?;
                    return Ok(End::Cut);
                }
                Some(CommitFault::Delay(delay)) => tokio::time::sleep(delay).await,
                None => {}
            }
            broker.write_all(&frame).await?;
        }
    }
}

/// Whether a request, without its length, ends a transaction by committing it.
fn is_commit(request: &[u8]) -> bool {
    match (int16(request, 0), int16(request, 2)) {
        (Some(END_TXN), Some(version)) if version <= LAST_VERSION_ENDING_WITH_COMMITTED => {
            request.last() == Some(&1)
        }
        (Some(END_TXN), _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::group::JOIN_GROUP;
    use super::*;

    /// A request of this kind and version whose body is one byte.
    fn request(kind: i16, version: i16, last: u8) -> Vec<u8> {
        let mut request = Vec::new();
        request.extend(kind.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.push(last);
        request
    }

    #[test]
    fn a_commit_is_told_from_an_abort_and_from_anything_else() {
        assert!(is_commit(&request(END_TXN, 1, 1)));
        assert!(!is_commit(&request(END_TXN, 1, 0)));
        assert!(is_commit(&request(END_TXN, 3, 0)));
        assert!(!is_commit(&request(0, 1, 1)));
        assert!(!is_commit(b"x"));
    }

    /// A broker that answers each request with its last byte, and a client's connection to it through a proxy.
    struct Connected {
        _runtime: tokio::runtime::Runtime,
        proxy: Proxy,
        faults: Arc<CommitFaults>,
        groups: Arc<GroupRequests>,
        /// The last bytes of what the broker got.
        got: std::sync::mpsc::Receiver<u8>,
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
        let (sender, got) = std::sync::mpsc::channel();
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
            got,
            client,
        }
    }

    fn ask(client: &mut std::net::TcpStream, request: &[u8]) -> io::Result<u8> {
        client.write_all(&5_u32.to_be_bytes())?;
        client.write_all(request)?;
        let mut answer = [0];
        client.read_exact(&mut answer)?;
        Ok(answer[0])
    }

    #[test]
    fn requests_and_answers_go_through_and_the_next_commit_meets_its_fault() {
        let mut connected = connected();
        let (faults, client) = (&connected.faults, &mut connected.client);
        assert_eq!(ask(client, &request(3, 1, 7)).unwrap(), 7);
        faults.arrange(CommitFault::Delay(Duration::from_millis(200)));
        faults.arrange(CommitFault::CutAfter);
        assert_eq!(ask(client, &request(END_TXN, 1, 0)).unwrap(), 0);
        assert_eq!(faults.counts(), (0, 0), "an abort meets none");
        let started = std::time::Instant::now();
        assert_eq!(ask(client, &request(END_TXN, 1, 1)).unwrap(), 1);
        assert!(started.elapsed() >= Duration::from_millis(200));
        assert!(ask(client, &request(END_TXN, 1, 1)).is_err());
        assert_eq!(faults.counts(), (1, 1));
    }

    #[test]
    fn a_cut_ends_connections_until_it_is_over() {
        let mut connected = connected();
        let (proxy, client) = (&connected.proxy, &mut connected.client);
        proxy.set(Network::Cut);
        assert!(ask(client, &request(3, 1, 7)).is_err());
        let connect = || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()));
        assert!(ask(&mut connect().unwrap(), &request(3, 1, 7)).is_err());
        proxy.set(Network::Up);
        assert_eq!(ask(&mut connect().unwrap(), &request(3, 1, 7)).unwrap(), 7);
    }

    #[test]
    fn a_join_that_is_held_reaches_the_broker_when_it_is_released() {
        let mut connected = connected();
        let held = connected.groups.hold_join(1);
        let client = &mut connected.client;
        assert_eq!(ask(client, &request(JOIN_GROUP, 9, 1)).unwrap(), 1);
        assert!(!held.is_held());
        assert!(ask(client, &request(JOIN_GROUP, 9, 2)).is_err());
        assert!(held.is_held());
        let port = connected.proxy.port();
        let mut client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_eq!(ask(&mut client, &request(JOIN_GROUP, 9, 3)).unwrap(), 3);
        held.release();
        let next = || connected.got.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!([next(), next(), next()], [1, 3, 2]);
    }
}
