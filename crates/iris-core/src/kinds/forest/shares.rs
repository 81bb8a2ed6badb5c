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

/// The number of classes whose shares are added at the same time.
pub(super) const GROUP: usize = 4;

/// The shares of all leaves. Equal ones are kept once.
#[derive(Clone, Debug)]
pub(super) struct ShareTable {
    /// The number of groups of classes.
    groups: usize,
    /// For each place, the share of each class, and 0 up to the next whole group. The first places are those of leaves of one
    /// class.
    shares: Vec<[u32; GROUP]>,
}

impl ShareTable {
    /// Returns the shares at a place.
    #[inline]
    pub(super) fn at(&self, place: u32) -> &[[u32; GROUP]] {
        &self.shares[place as usize * self.groups..][..self.groups]
    }
}

/// Adds up shares of classes.
#[inline]
pub(super) fn add(votes: &mut [[u32; GROUP]], shares: &[[u32; GROUP]]) {
    for (votes, shares) in votes.iter_mut().zip(shares) {
        for (vote, share) in votes.iter_mut().zip(shares) {
            *vote += share;
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
        let groups = classes.div_ceil(GROUP);
        let mut shares = vec![[0; GROUP]; classes * groups];
        for class in 0..classes {
            shares[class * groups + class / GROUP][class % GROUP] = WHOLE.into();
        }
        Self {
            table: ShareTable { groups, shares },
            places: HashMap::new(),
        }
    }

    /// Returns the place of shares, given as classes and shares; `None` if there is no such class, or no place.
    pub(super) fn place(&mut self, shares: Vec<(u16, u16)>) -> Option<u32> {
        if let Some(&place) = self.places.get(&shares) {
            return Some(place);
        }
        let table = &mut self.table;
        let start = table.shares.len();
        let place = u32::try_from(start / table.groups).ok()?;
        table.shares.resize(start + table.groups, [0; GROUP]);
        for &(class, share) in &shares {
            let class = usize::from(class);
            table.shares[start..].get_mut(class / GROUP)?[class % GROUP] = share.into();
        }
        self.places.insert(shares, place);
        Some(place)
    }

    /// Returns the table.
    pub(super) fn finish(self) -> ShareTable {
        self.table
    }
}
