//! The findings of an audit, and their number by kind.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// An input has no outcome, or a feedback record no row.
    Lost,
    /// An input has two outcomes, or a feedback record two rows.
    Duplicated,
    /// An outcome follows that of a later input of its partition.
    Reordered,
    /// Only a part of a transaction is visible.
    Torn,
    /// An outcome is not the expected one.
    Wrong,
}

impl FindingKind {
    const ALL: [Self; 5] = [
        Self::Lost,
        Self::Duplicated,
        Self::Reordered,
        Self::Torn,
        Self::Wrong,
    ];
}

/// The findings, one line for each case. A case that is found twice is listed once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    cases: BTreeSet<(FindingKind, String)>,
}

impl Findings {
    /// Adds a case.
    pub fn add(&mut self, kind: FindingKind, case: String) {
        self.cases.insert((kind, case));
    }

    /// Adds the cases of another audit.
    pub fn extend(&mut self, other: Self) {
        self.cases.extend(other.cases);
    }

    /// Returns the number of findings of each kind.
    #[must_use]
    pub fn counts(&self) -> FindingCounts {
        let count = |kind| self.of(kind).count();
        FindingCounts {
            lost: count(FindingKind::Lost),
            duplicated: count(FindingKind::Duplicated),
            reordered: count(FindingKind::Reordered),
            torn: count(FindingKind::Torn),
            wrong: count(FindingKind::Wrong),
        }
    }

    /// Returns all cases, one a line.
    #[must_use]
    pub fn listing(&self) -> String {
        let line = |(kind, case): &(FindingKind, String)| format!("{kind:?}: {case}\n");
        self.cases.iter().map(line).collect()
    }

    fn of(&self, kind: FindingKind) -> impl Iterator<Item = &str> {
        self.cases
            .iter()
            .filter(move |(found, _)| *found == kind)
            .map(|(_, case)| case.as_str())
    }
}

impl fmt::Display for Findings {
    /// Writes the first findings of each kind, and the number of the others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for kind in FindingKind::ALL {
            for case in self.of(kind).take(SHOWN) {
                writeln!(f, "{kind:?}: {case}")?;
            }
            match self.of(kind).count().saturating_sub(SHOWN) {
                0 => {}
                more => writeln!(f, "{kind:?}: {more} more")?,
            }
        }
        Ok(())
    }
}

/// The number of findings of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FindingCounts {
    /// Lost.
    pub lost: usize,
    /// Duplicated.
    pub duplicated: usize,
    /// Reordered.
    pub reordered: usize,
    /// Torn.
    pub torn: usize,
    /// Wrong.
    pub wrong: usize,
}

impl FindingCounts {
    /// Returns the sums of two audits.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            reordered: self.reordered + other.reordered,
            torn: self.torn + other.torn,
            wrong: self.wrong + other.wrong,
        }
    }
}

impl fmt::Display for FindingCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            duplicated,
            reordered,
            torn,
            wrong,
        } = self;
        write!(
            f,
            "{lost} lost, {duplicated} duplicated, {reordered} reordered, {torn} torn, {wrong} wrong"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_five_cases_of_each_kind_are_shown_and_the_others_counted() {
        let mut findings = Findings::default();
        for number in 0..7 {
            findings.add(FindingKind::Torn, format!("case {number}"));
        }
        findings.add(FindingKind::Lost, "0/1".to_owned());
        findings.add(FindingKind::Lost, "0/1".to_owned());
        let text = findings.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "Lost: 0/1");
        assert_eq!(lines[1], "Torn: case 0");
        assert_eq!(lines[6], "Torn: 2 more");
        assert_eq!(findings.listing().lines().count(), 8);
        assert_eq!(
            findings.counts().to_string(),
            "1 lost, 0 duplicated, 0 reordered, 7 torn, 0 wrong"
        );
    }
}
