//! Forwards one client's connection to the broker.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::commits::{CommitFault, CommitFaults, is_commit};
use super::group::GroupRequests;

/// How long the connection to the broker outlives the client's after a cut, so that the broker handles what it received.
const LINGER: Duration = Duration::from_secs(1);

/// The state of the network between clients and a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Requests are forwarded at once.
    #[default]
    Up,
    /// Each request is forwarded after this time.
    Slow(Duration),
    /// Connections are cut and refused.
    Cut,
}

/// A client's connection to the broker.
pub(super) struct Link {
    pub(super) network: watch::Receiver<Network>,
    pub(super) commit_faults: Arc<CommitFaults>,
    pub(super) groups: Arc<GroupRequests>,
}

/// The reason why forwarding ended.
enum End {
    /// The client or the broker closed the connection.
    HungUp,
    /// The connection is cut: first the client's side, then the broker's.
    Cut,
    /// The connection is cut, and the broker still receives this request once it is released.
    Held(Vec<u8>, watch::Receiver<bool>),
}

impl Link {
    /// Connects to the broker and forwards until one side hangs up or the connection is cut.
    pub(super) async fn carry(mut self, client: TcpStream, broker: SocketAddr) {
        let Ok(broker) = TcpStream::connect(broker).await else {
            return;
        };
        // Without it, forwarding is only slower.
        let _ = (client.set_nodelay(true), broker.set_nodelay(true));
        let (mut requests, mut responses_out) = client.into_split();
        let (mut responses, mut broker) = broker.into_split();
        let responding = tokio::spawn(async move {
            let _ = tokio::io::copy(&mut responses, &mut responses_out).await;
        });
        let mut network = self.network.clone();
        let cut = async move {
            let _ = network.wait_for(|state| *state == Network::Cut).await;
        };
        let end = tokio::select! {
            end = self.forward(&mut requests, &mut broker) => end.unwrap_or(End::HungUp),
            () = cut => End::Cut,
        };
        // Aborting the task closes the client's side.
        responding.abort();
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

    /// Forwards requests one by one.
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
