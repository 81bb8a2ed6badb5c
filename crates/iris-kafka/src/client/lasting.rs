//! Tells conditions that last from those that end by themselves within seconds.

use std::collections::BTreeMap;

/// How long a condition must hold, in microseconds, before it counts as a problem. Every open transaction holds records back for
/// a short time, and the partitions of a broker that stops get another leader within seconds.
const LASTING_MICROS: i64 = 8_000_000;

/// The conditions that the latest statistics show, by key, each with a description and the time since which all statistics have
/// shown it.
#[derive(Debug)]
pub(super) struct Lasting<K, V>(BTreeMap<K, (i64, V)>);

impl<K, V> Default for Lasting<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V> Lasting<K, V> {
    /// Notes the conditions that hold at a time, in microseconds, in place of all earlier ones.
    pub(super) fn observe(&mut self, at_micros: i64, found: impl Iterator<Item = (K, V)>) {
        let since = |(key, value): (K, V)| {
            let since = self.0.get(&key).map_or(at_micros, |(since, _)| *since);
            (key, (since, value))
        };
        self.0 = found.map(since).collect();
    }

    /// Returns the first condition that has lasted long enough to be a problem.
    pub(super) fn problem(&self, at_micros: i64) -> Option<(&K, &V)> {
        let lasts = |(_, (since, _)): &(&K, &(i64, V))| at_micros - since >= LASTING_MICROS;
        let (key, (_, value)) = self.0.iter().find(lasts)?;
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_a_problem_once_all_statistics_of_8_s_have_shown_it() {
        let mut lasting = Lasting::default();
        let mut at = |seconds: i64, found: &[(&'static str, i64)]| {
            let micros = seconds * 1_000_000;
            lasting.observe(micros, found.iter().copied());
            let problem = lasting.problem(micros);
            problem.map(|(key, value)| (*key, *value))
        };
        assert_eq!(at(0, &[("a", 1), ("b", 1)]), None);
        assert_eq!(at(7, &[("b", 2)]), None);
        // The description is that of the latest statistics, and `a` has ended in between.
        assert_eq!(at(8, &[("a", 3), ("b", 3)]), Some(("b", 3)));
        assert_eq!(at(15, &[("a", 4)]), None);
        assert_eq!(at(16, &[("a", 5)]), Some(("a", 5)));
        assert_eq!(at(17, &[]), None);
    }
}
