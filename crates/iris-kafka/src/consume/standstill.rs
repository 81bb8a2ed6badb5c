//! Partitions that stand still although there is more to read in them.
//!
//! A client that reads nothing may have nothing to read, or may have got stuck, as after a change of leaders in a storm. It
//! does not say which. So while a consumer is idle it asks the brokers where its partitions end, and compares.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// How often an idle consumer asks where its partitions end.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);

/// A partition that has not moved for longer, with more to read, stands still.
const PATIENCE: Duration = Duration::from_secs(6);

/// Where a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    /// The offset to fetch next; negative if the client does not know it yet.
    pub(crate) next: i64,
    /// The offset up to which committed records go.
    pub(crate) end: i64,
}

/// A partition that stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standstill {
    /// Which.
    pub partition: i32,
    next: i64,
    end: i64,
    /// Whether reading it anew may help: not if that was just done, nor if the client still waits to be told where to
    /// start.
    pub is_to_be_read_anew: bool,
}

impl fmt::Display for Standstill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            next,
            end,
            ..
        } = self;
        if *next >= 0 {
            write!(
                f,
                "partition {partition} stands still at offset {next} although it goes up to {end}"
            )
        } else {
            write!(
                f,
                "partition {partition} waits for the group's committed offset, which a transaction may be about to change"
            )
        }
    }
}

/// What earlier looks have shown.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    looked: Option<Instant>,
    since: BTreeMap<i32, (i64, Instant)>,
    found: Option<Standstill>,
}

impl Watch {
    /// Whether it is time to look again.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.looked
            .is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_INTERVAL)
    }

    /// Takes note of where all partitions are. Those that are not listed have moved or left.
    pub(crate) fn look(&mut self, now: Instant, places: &[Place]) {
        let mut since = BTreeMap::new();
        let before = self.found.take();
        for &Place {
            partition,
            next,
            end,
        } in places
        {
            if next >= end {
                continue;
            }
            let from = match self.since.get(&partition) {
                Some(&(earlier, from)) if earlier == next => from,
                _ => now,
            };
            since.insert(partition, (next, from));
            let is_long = now.saturating_duration_since(from) >= PATIENCE;
            let is_still =
                before.is_some_and(|before| (before.partition, before.next) == (partition, next));
            if is_long || is_still {
                self.found = Some(Standstill {
                    partition,
                    next,
                    end,
                    is_to_be_read_anew: is_long && next >= 0,
                });
            }
        }
        self.since = since;
        self.looked = Some(now);
    }

    /// What stands still.
    pub(crate) fn found(&self) -> Option<Standstill> {
        self.found
    }

    /// Starts afresh, since reading has begun anew. What stood still is known to until it has moved.
    pub(crate) fn reset(&mut self, now: Instant) {
        self.looked = Some(now);
        self.since.clear();
        if let Some(found) = &mut self.found {
            found.is_to_be_read_anew = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(next: i64, end: i64) -> Place {
        Place {
            partition: 2,
            next,
            end,
        }
    }

    #[test]
    fn a_partition_that_has_more_and_does_not_move_stands_still() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(watch.is_due(start));
        watch.look(start, &[place(10, 20)]);
        assert!(!watch.is_due(after(2)) && watch.is_due(after(3)));
        assert_eq!(watch.found(), None);
        watch.look(after(6), &[place(10, 21)]);
        assert_eq!(
            watch.found().unwrap().to_string(),
            "partition 2 stands still at offset 10 although it goes up to 21"
        );
        assert!(watch.found().unwrap().is_to_be_read_anew);
        watch.reset(after(6));
        watch.look(after(9), &[place(10, 21)]);
        assert!(
            !watch.found().unwrap().is_to_be_read_anew,
            "that was just done"
        );
        watch.look(after(15), &[place(10, 21)]);
        assert!(
            watch.found().unwrap().is_to_be_read_anew,
            "it has not helped"
        );
        watch.look(after(18), &[place(11, 21)]);
        assert_eq!(watch.found(), None, "it has moved");
    }

    #[test]
    fn a_partition_that_is_read_to_its_end_does_not() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        watch.look(start, &[place(20, 20)]);
        watch.look(start + Duration::from_secs(60), &[place(20, 20)]);
        assert_eq!(watch.found(), None);
        watch.look(start + Duration::from_secs(90), &[place(20, 25)]);
        assert_eq!(watch.found(), None, "there is more only now");
    }

    #[test]
    fn a_place_that_is_not_known_yet_is_waited_for() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        watch.look(start, &[place(-1001, 5)]);
        watch.look(start + Duration::from_secs(7), &[place(-1001, 5)]);
        let found = watch.found().unwrap();
        assert!(!found.is_to_be_read_anew);
        assert!(
            found
                .to_string()
                .contains("waits for the group's committed offset")
        );
    }
}
