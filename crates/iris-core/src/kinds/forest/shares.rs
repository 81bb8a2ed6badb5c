//! The shares of the classes in a leaf.

use std::collections::HashMap;

/// The sum of a leaf's shares. All numbers up to 12 divide it, so that the shares of small leaves are exact.
pub(super) const WHOLE: u16 = 55_440;

/// Returns the share of each class that has one.
pub(super) fn of(counts: &[u64]) -> impl Iterator<Item = (usize, u16)> {
    let total: u64 = counts.iter().sum();
    let share = move |&count: &u64| {
        let rounded = (count * u64::from(WHOLE) + total / 2) / total.max(1);
        u16::try_from(rounded).unwrap_or(WHOLE)
    };
    let shares = counts.iter().map(share).enumerate();
    shares.filter(|(_, share)| *share > 0)
}

/// The shares of all leaves. Equal ones are kept once.
#[derive(Clone, Debug)]
pub(super) struct ShareTable {
    classes: usize,
    /// For each place, the share of each class. The first places are those of leaves of one class.
    shares: Vec<u16>,
}

impl ShareTable {
    /// Returns the shares at a place.
    #[inline]
    pub(super) fn at(&self, place: usize) -> &[u16] {
        &self.shares[place * self.classes..(place + 1) * self.classes]
    }

    /// Adds the shares at a place to `votes`.
    #[inline]
    pub(super) fn add(&self, place: u32, votes: &mut [u32]) {
        for (vote, &share) in votes.iter_mut().zip(self.at(place as usize)) {
            *vote += u32::from(share);
        }
    }
}

/// Collects the shares of leaves.
pub(super) struct ShareTableBuilder {
    table: ShareTable,
    places: HashMap<Vec<(u16, u16)>, u32>,
}

impl ShareTableBuilder {
    /// Begins with the leaves of one class: for each class, the place with its number.
    pub(super) fn new(classes: usize) -> Self {
        let mut shares = vec![0; classes * classes];
        for class in 0..classes {
            shares[class * (classes + 1)] = WHOLE;
        }
        Self {
            table: ShareTable { classes, shares },
            places: HashMap::new(),
        }
    }

    /// Returns the place of shares, given as classes and shares. Classes must be in the table.
    pub(super) fn place(&mut self, shares: Vec<(u16, u16)>) -> Option<u32> {
        if let Some(&place) = self.places.get(&shares) {
            return Some(place);
        }
        let table = &mut self.table;
        let place = table.shares.len() / table.classes;
        let start = table.shares.len();
        table.shares.resize(start + table.classes, 0);
        for &(class, share) in &shares {
            *table.shares[start..].get_mut(usize::from(class))? = share;
        }
        let place = u32::try_from(place).ok()?;
        self.places.insert(shares, place);
        Some(place)
    }

    /// Returns the table.
    pub(super) fn finish(self) -> ShareTable {
        self.table
    }
}
