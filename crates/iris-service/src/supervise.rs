//! Runs a service's work and its followers on threads of their own, and ends the process when one of them hangs.

use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::health::{HANG, Part};
use crate::service::Service;

/// How often to check whether a part hangs.
const HANG_INTERVAL: Duration = Duration::from_secs(1);

/// A check that is this late shows that the process was frozen.
const FROZEN: Duration = Duration::from_secs(5);

/// How long followers may take to end after the work has ended. A request to an unreachable cluster can take longer; since
/// nothing depends on its answer, the process exits without it.
const FOLLOWER_GRACE: Duration = Duration::from_secs(1);

/// Work for a thread of its own.
pub type Work<T> = Box<dyn FnOnce() -> anyhow::Result<T> + Send>;

/// A task in the background of the work, such as following a topic. It runs until its token is cancelled, and reports to
/// its health part at least every 10 s.
pub type Follower = Box<dyn FnOnce(&CancellationToken, &Arc<Part>) -> anyhow::Result<()> + Send>;

/// Returns a follower with its name. It reports what `watch` passes on until the token is cancelled: a problem, or `None`.
pub fn watcher(
    name: &str,
    watch: impl FnOnce(&CancellationToken, &mut dyn FnMut(Option<String>)) + Send + 'static,
) -> (String, Follower) {
    let follower: Follower = Box::new(move |until, part| {
        watch(until, &mut |problem| part.report(problem));
        Ok(())
    });
    (name.to_owned(), follower)
}

/// Runs each piece of work on a thread of its own, under its name, and waits for all of them.
///
/// When one fails or panics, the service is stopped. After a stop, all have `grace` to end. A part that hangs, as in a
/// library call that never returns, is an error too: a new process can recover, and every write is safe to repeat.
///
/// # Errors
/// The first failure; that the work did not end in time; or the name of the part that hangs.
pub async fn supervise<T: Send + 'static>(
    work: Vec<(String, Work<T>)>,
    service: &Service,
    grace: Duration,
) -> anyhow::Result<Vec<T>> {
    supervise_with(work, Vec::new(), service, grace).await
}

/// Runs work as [`supervise`] does, and followers with it. Each follower is a part of the service's health under its name,
/// and is stopped when all work has ended. A follower that ends earlier stops the service and is an error.
///
/// # Errors
/// As [`supervise`].
pub async fn supervise_with<T: Send + 'static>(
    work: Vec<(String, Work<T>)>,
    followers: Vec<(String, Follower)>,
    service: &Service,
    grace: Duration,
) -> anyhow::Result<Vec<T>> {
    let stop = &service.stop;
    // Cancelled when the work has ended, however this function ends.
    let until = stop.child_token();
    let _ending = until.clone().drop_guard();
    let followers = followers
        .into_iter()
        .map(|(name, follower)| follow(name, follower, service, &until))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let work = work
        .into_iter()
        .map(|(name, work)| run(name, work, stop))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let all = async {
        let mut results = Vec::new();
        for end in work {
            results.push(end.await);
        }
        until.cancel();
        let results = results.into_iter().collect::<anyhow::Result<Vec<T>>>()?;
        let followed = async {
            for end in followers {
                end.await?;
            }
            Ok(())
        };
        let in_time = tokio::time::timeout(FOLLOWER_GRACE, followed).await;
        in_time.unwrap_or(Ok(())).map(|()| results)
    };
    let out_of_time = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    let hangs = async {
        let (mut checked, mut thawed) = (Instant::now(), None);
        loop {
            tokio::time::sleep(HANG_INTERVAL).await;
            if checked.elapsed() > FROZEN {
                thawed = Some(Instant::now());
            }
            checked = Instant::now();
            // While the process is frozen, no part reports, and none hangs.
            let may_hang = thawed.is_none_or(|thawed| thawed.elapsed() > HANG);
            if let Some(part) = service.health.hanging().filter(|_| may_hang) {
                break part;
            }
        }
    };
    tokio::select! {
        results = all => results,
        part = hangs => Err(anyhow!("{part} hangs: the process must be restarted")),
        () = out_of_time => Err(anyhow!("work in progress did not end within {} ms", grace.as_millis())),
    }
}

/// Starts a follower. It fails if it ends before `until` is cancelled.
fn follow(
    name: String,
    follower: Follower,
    service: &Service,
    until: &CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let part = service.health.part(&name);
    let (until, ended) = (until.clone(), anyhow!("{name} has ended"));
    let work: Work<()> = Box::new(move || {
        let result = follower(&until, &part).and_then(|()| {
            if until.is_cancelled() {
                Ok(())
            } else {
                Err(ended)
            }
        });
        match &result {
            Ok(()) => part.finish(),
            Err(error) => part.report(Some(format!("{error:#}"))),
        }
        result
    });
    run(name, work, &service.stop)
}

/// Starts work on a thread of its own, and returns its result once it ends. A failure or a panic cancels `stop`.
fn run<T: Send + 'static>(
    name: String,
    work: Work<T>,
    stop: &CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<T>> + use<T>> {
    let (end, ended) = oneshot::channel();
    let stopping = stop.clone().drop_guard();
    let thread = thread::Builder::new().name(name.clone());
    thread.spawn(move || {
        let result = work();
        match &result {
            Ok(_) => {
                stopping.disarm();
            }
            Err(error) => {
                debug!("{error:#}");
                drop(stopping);
            }
        }
        // The receiver is gone only if time ran out.
        let _ = end.send(result);
    })?;
    // The sender is dropped without sending only by a panic.
    Ok(async move {
        ended
            .await
            .unwrap_or_else(|_| Err(anyhow!("{name} panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn work(work: impl FnOnce() -> anyhow::Result<u8> + Send + 'static) -> (String, Work<u8>) {
        ("test".to_owned(), Box::new(work))
    }

    fn follower(
        follower: impl FnOnce(&CancellationToken, &Arc<Part>) -> anyhow::Result<()> + Send + 'static,
    ) -> (String, Follower) {
        ("follower".to_owned(), Box::new(follower))
    }

    /// Waits for a stop, and returns 1.
    fn waiting(service: &Service) -> (String, Work<u8>) {
        let stop = service.stop.clone();
        work(move || {
            while !stop.is_cancelled() {
                thread::yield_now();
            }
            Ok(1)
        })
    }

    #[tokio::test]
    async fn a_failure_stops_the_other_work_and_is_the_result() {
        let service = Service::detached("test");
        let all = vec![waiting(&service), work(|| Err(anyhow!("broken")))];
        let result = supervise(all, &service, GRACE).await;
        assert_eq!(result.unwrap_err().to_string(), "broken");
    }

    #[tokio::test]
    async fn a_panic_stops_the_other_work_and_is_the_result() {
        let service = Service::detached("test");
        let all = vec![waiting(&service), work(|| panic!("on purpose"))];
        let result = supervise(all, &service, GRACE).await;
        assert_eq!(result.unwrap_err().to_string(), "test panicked");
    }

    #[tokio::test]
    async fn work_that_does_not_end_in_time_is_an_error() {
        let service = Service::detached("test");
        service.stop.cancel();
        let (never, end) = std::sync::mpsc::channel::<()>();
        let stuck = work(move || Ok(end.recv().map_or(0, |()| 1)));
        let result = supervise(vec![stuck], &service, Duration::from_millis(5)).await;
        assert_eq!(
            result.unwrap_err().to_string(),
            "work in progress did not end within 5 ms"
        );
        drop(never);
    }

    #[tokio::test]
    async fn a_follower_is_stopped_when_the_work_has_ended() {
        let service = Service::detached("test");
        let follows = follower(|until, part| {
            while !until.is_cancelled() {
                part.report(None);
                thread::yield_now();
            }
            Ok(())
        });
        let result = supervise_with(vec![work(|| Ok(7))], vec![follows], &service, GRACE).await;
        assert_eq!(result.unwrap(), [7]);
        assert!(!service.stop.is_cancelled());
        assert_eq!(service.health.problems(), [""; 0]);
    }

    #[tokio::test]
    async fn a_follower_that_does_not_end_in_time_does_not_change_the_result() {
        let service = Service::detached("test");
        let (never, end) = std::sync::mpsc::channel::<()>();
        let stuck = follower(move |_, _| Ok(end.recv()?));
        let result = supervise_with(vec![work(|| Ok(7))], vec![stuck], &service, GRACE).await;
        assert_eq!(result.unwrap(), [7]);
        drop(never);
    }

    #[tokio::test]
    async fn a_follower_that_ends_fails_or_panics_stops_the_service() {
        let ends: [fn() -> anyhow::Result<()>; 3] = [
            || Ok(()),
            || Err(anyhow!("broken")),
            || panic!("on purpose"),
        ];
        let expected = [
            ("follower has ended", "follower: follower has ended"),
            ("broken", "follower: broken"),
            ("follower panicked", "follower: starting"),
        ];
        for (end, (error, problem)) in ends.into_iter().zip(expected) {
            let service = Service::detached("test");
            let follows = follower(move |_, _| end());
            let all = vec![waiting(&service)];
            let result = supervise_with(all, vec![follows], &service, GRACE).await;
            assert_eq!(result.unwrap_err().to_string(), error);
            assert_eq!(service.health.problems(), [problem]);
        }
    }
}
