//! Finds the exact nearest neighbours, with a defined order for ties.
//!
//! The index is a k-d tree (Friedman, Bentley and Finkel, 1977) with [`LANES`] children per node, whose leaves are scanned
//! in blocks of as many rows. Boxes and rows are laid out feature by feature, so that the compiler can vectorize the
//! comparisons, and the loops are compiled a second time for processors with wider registers. A small training set is a
//! single leaf, so brute force needs no implementation of its own. Where the tree cannot prune, as with many features, it
//! degrades to the same scan.
//!
//! Neighbours are ordered by distance (Euclidean or Manhattan) and then by row, so the earlier of two rows at the same distance is
//! the nearer. The order is total: results depend neither on the tree's shape, nor on the scan's direction, nor on the
//! processor.

use pulp::{Arch, NullaryFnOnce};
use serde::{Deserialize, Serialize};

/// The number of rows, or boxes, whose distances are computed together.
const LANES: usize = 8;

/// The number of times that rows are halved to form the children of a node.
const HALVINGS: u32 = LANES.ilog2();

/// The largest leaf, in rows; by measurement, scanning it is faster than testing more boxes.
const LEAF_ROWS: usize = 32;

/// The distance between two rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The square root of the sum of squared differences.
    #[default]
    Euclidean,
    /// The sum of absolute differences.
    Manhattan,
}

impl Metric {
    /// Returns its name, as in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Euclidean => "euclidean",
            Self::Manhattan => "manhattan",
        }
    }

    /// Returns the distance of a neighbour, given its sum.
    pub(crate) fn distance(self, sum: f64) -> f64 {
        match self {
            Self::Euclidean => sum.sqrt(),
            Self::Manhattan => sum,
        }
    }
}

/// One training row near a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Neighbor {
    /// The sum of the squared (Euclidean) or absolute (Manhattan) differences, in the order of the features.
    pub(crate) distance: f64,
    /// The row's position in the training set.
    pub(crate) row: u32,
}

/// A neighbour as one number: the bits of the distance are the upper half, and the row is the lower half. Ranks have the order of
/// the distances, because the bits of numbers that are neither NaN nor negative do. The smaller of two ranks is found without a
/// branch, which the processor would often predict wrongly.
type Rank = u128;

/// The number of bits of the row in a rank.
const ROW_BITS: u32 = u32::BITS;

/// A rank that is greater than the rank of every row.
const NONE: Rank = rank(f64::INFINITY, NO_ROW);

#[inline(always)]
const fn rank(distance: f64, row: u32) -> Rank {
    ((distance.to_bits() as Rank) << ROW_BITS) | row as Rank
}

/// Returns the neighbour of a rank.
#[expect(clippy::cast_possible_truncation, reason = "each half fits its type")]
#[inline(always)]
fn neighbor(rank: Rank) -> Neighbor {
    Neighbor {
        distance: f64::from_bits((rank >> ROW_BITS) as u64),
        row: rank as u32,
    }
}

/// The nearest rows found for a query, nearest first. Reuse it, so that queries do not allocate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Neighbors {
    /// The wanted number of ranks, lowest first; [`NONE`] where not found yet.
    ranks: Vec<Rank>,
    nearest: Vec<Neighbor>,
    /// Nodes to be searched, each with a lower bound of its rows' distances.
    open: Vec<(f64, usize)>,
}

impl Neighbors {
    /// Returns the neighbours, nearest first.
    #[must_use]
    pub(crate) fn as_slice(&self) -> &[Neighbor] {
        &self.nearest
    }

    fn start(&mut self, wanted: usize) {
        self.ranks.clear();
        self.ranks.resize(wanted, NONE);
        self.open.clear();
        self.open.push((0.0, ROOT));
    }

    fn finish(&mut self) {
        self.nearest.clear();
        let found = self.ranks.iter().filter(|&&rank| rank != NONE);
        self.nearest.extend(found.copied().map(neighbor));
    }
}

/// Returns the distance beyond which a row cannot be among the nearest.
#[inline(always)]
fn reach(ranks: &[Rank]) -> f64 {
    neighbor(ranks.last().copied().unwrap_or(NONE)).distance
}

#[inline(always)]
fn offer(ranks: &mut [Rank], mut offered: Rank) {
    for kept in ranks {
        let nearer = offered.min(*kept);
        offered = offered.max(*kept);
        *kept = nearer;
    }
}

#[derive(Clone, Copy, Debug)]
enum Node {
    /// The rows of blocks `first..end`.
    Leaf { first: usize, end: usize },
    /// The nodes `child..child + children`, whose boxes are the given block of boxes.
    Inner {
        boxes: usize,
        child: usize,
        children: usize,
    },
}

/// The index of the node with all rows.
const ROOT: usize = 0;

/// Training rows, indexed for nearest-neighbour search.
#[derive(Clone, Debug)]
pub(crate) struct NeighborIndex {
    metric: Metric,
    width: usize,
    nodes: Vec<Node>,
    /// Blocks of `width * 2 * LANES` values: for each feature, the smallest value in each child, then the largest.
    boxes: Vec<f64>,
    /// Blocks of `width * LANES` values, feature by feature.
    values: Vec<f64>,
    /// The row of each lane of each block.
    lane_rows: Vec<u32>,
    /// The instruction sets of this processor.
    arch: Arch,
}

/// Stands for a number of features that is known only at run time.
const ANY: usize = 0;

/// The row number of an unused lane in a block that is not full; its features are infinite.
const NO_ROW: u32 = u32::MAX;

impl NeighborIndex {
    /// Indexes `features`, row-major with `width` values per row.
    ///
    /// # Panics
    /// If `width` is 0, does not divide the number of values, or there are `u32::MAX` rows or more.
    #[must_use]
    pub(crate) fn new(features: &[f64], width: usize, metric: Metric) -> Self {
        assert!(
            width > 0 && features.len().is_multiple_of(width),
            "whole rows of at least one feature"
        );
        let rows = features.len() / width;
        assert!(rows < NO_ROW as usize, "row numbers are 32 bits");
        let mut index = Self {
            metric,
            width,
            nodes: vec![Node::Leaf { first: 0, end: 0 }],
            boxes: Vec::new(),
            values: Vec::new(),
            lane_rows: Vec::new(),
            arch: Arch::new(),
        };
        let mut order: Vec<u32> = (0..NO_ROW).take(rows).collect();
        index.fill(ROOT, features, &mut order);
        index
    }

    /// Builds a node for the given rows, and its descendants.
    fn fill(&mut self, node: usize, features: &[f64], order: &mut [u32]) {
        let mut parts = split(features, self.width, order, HALVINGS);
        self.nodes[node] = if let [rows] = &mut parts[..] {
            self.add_leaf(features, rows)
        } else {
            let boxes = self.add_boxes(features, &parts);
            let child = self.nodes.len();
            self.nodes
                .extend(parts.iter().map(|_| Node::Leaf { first: 0, end: 0 }));
            let children = parts.len();
            for (part, child) in parts.into_iter().zip(child..) {
                self.fill(child, features, part);
            }
            Node::Inner {
                boxes,
                child,
                children,
            }
        };
    }

    fn add_boxes(&mut self, features: &[f64], parts: &[&mut [u32]]) -> usize {
        let block = self.boxes.len() / (self.width * 2 * LANES);
        for feature in 0..self.width {
            let ranges = || {
                let range = |lane: usize| {
                    parts
                        .get(lane)
                        .map_or((f64::INFINITY, f64::NEG_INFINITY), |part| {
                            range(features, self.width, part, feature)
                        })
                };
                (0..LANES).map(range)
            };
            self.boxes.extend(ranges().map(|(low, _)| low));
            self.boxes.extend(ranges().map(|(_, high)| high));
        }
        block
    }

    fn add_leaf(&mut self, features: &[f64], order: &mut [u32]) -> Node {
        order.sort_unstable();
        let first = self.lane_rows.len() / LANES;
        for block in order.chunks(LANES) {
            for feature in 0..self.width {
                let value = |lane| {
                    block.get(lane).map_or(f64::INFINITY, |&row| {
                        features[row as usize * self.width + feature]
                    })
                };
                self.values.extend((0..LANES).map(value));
            }
            self.lane_rows
                .extend((0..LANES).map(|lane| block.get(lane).copied().unwrap_or(NO_ROW)));
        }
        Node::Leaf {
            first,
            end: self.lane_rows.len() / LANES,
        }
    }

    /// Finds the `wanted` nearest rows, or all rows if there are fewer.
    ///
    /// # Panics
    /// If `query` does not have exactly one value for each feature.
    pub(crate) fn nearest(&self, query: &[f64], wanted: usize, found: &mut Neighbors) {
        assert_eq!(query.len(), self.width, "one value for each feature");
        found.start(wanted);
        match self.metric {
            Metric::Euclidean => self.search_by_width::<EUCLIDEAN>(query, found),
            Metric::Manhattan => self.search_by_width::<MANHATTAN>(query, found),
        }
        found.finish();
    }

    #[inline(always)]
    fn search_by_width<const METRIC: u8>(&self, query: &[f64], found: &mut Neighbors) {
        // Loops over a number of features known at compile time take half the time.
        match self.width {
            1 => self.search::<1, METRIC>(query, found),
            2 => self.search::<2, METRIC>(query, found),
            3 => self.search::<3, METRIC>(query, found),
            4 => self.search::<4, METRIC>(query, found),
            5 => self.search::<5, METRIC>(query, found),
            6 => self.search::<6, METRIC>(query, found),
            7 => self.search::<7, METRIC>(query, found),
            8 => self.search::<8, METRIC>(query, found),
            _ => self.search::<ANY, METRIC>(query, found),
        }
    }

    fn search<const WIDTH: usize, const METRIC: u8>(&self, query: &[f64], found: &mut Neighbors) {
        self.arch.dispatch(Search::<WIDTH, METRIC> {
            index: self,
            query,
            found,
        });
    }
}

/// One search for the nearest rows, as a value, so that it can be compiled for several instruction sets. Everything it calls
/// must be inlined for that.
struct Search<'a, const WIDTH: usize, const METRIC: u8> {
    index: &'a NeighborIndex,
    query: &'a [f64],
    found: &'a mut Neighbors,
}

impl<const WIDTH: usize, const METRIC: u8> NullaryFnOnce for Search<'_, WIDTH, METRIC> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            index,
            query,
            found,
        } = self;
        let query = &query[..index.width::<WIDTH>()];
        while let Some((distance, node)) = found.open.pop() {
            // A row at exactly this distance still counts: its number may be lower.
            if distance > reach(&found.ranks) {
                continue;
            }
            match index.nodes[node] {
                Node::Leaf { first, end } => {
                    index.scan::<WIDTH, METRIC>(first, end, query, &mut found.ranks);
                }
                Node::Inner {
                    boxes,
                    child,
                    children,
                } => {
                    let distances = index.distances_to_boxes::<WIDTH, METRIC>(boxes, query);
                    let reach = reach(&found.ranks);
                    let older = found.open.len();
                    found.open.extend(
                        distances
                            .into_iter()
                            .zip(child..)
                            .take(children)
                            .filter(|&(distance, _)| distance <= reach),
                    );
                    // The nearest node is searched first.
                    found.open[older..].sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
                }
            }
        }
    }
}

impl NeighborIndex {
    /// Returns the number of features: `WIDTH`, unless that is [`ANY`].
    #[inline(always)]
    fn width<const WIDTH: usize>(&self) -> usize {
        if WIDTH == ANY { self.width } else { WIDTH }
    }

    /// Returns, for each box of a block, a lower bound of the distance from the query to any row in it.
    ///
    /// Terms are summed in the same order as a row's, and rounding is monotonic, so the bound holds to the last bit:
    /// pruning never loses a row at the same distance.
    #[inline(always)]
    fn distances_to_boxes<const WIDTH: usize, const METRIC: u8>(
        &self,
        block: usize,
        query: &[f64],
    ) -> [f64; LANES] {
        let block_len = self.width::<WIDTH>() * 2 * LANES;
        let boxes = &self.boxes[block * block_len..(block + 1) * block_len];
        let mut distances = [0.0; LANES];
        for (sides, &value) in boxes.chunks_exact(2 * LANES).zip(query) {
            let (low, high) = sides.split_at(LANES);
            for ((distance, &low), &high) in distances.iter_mut().zip(low).zip(high) {
                let outside = larger(larger(low - value, value - high), 0.0);
                *distance += term::<METRIC>(outside);
            }
        }
        distances
    }

    #[inline(always)]
    fn scan<const WIDTH: usize, const METRIC: u8>(
        &self,
        first: usize,
        end: usize,
        query: &[f64],
        ranks: &mut [Rank],
    ) {
        let block_len = self.width::<WIDTH>() * LANES;
        let values = self.values[first * block_len..end * block_len].chunks_exact(block_len);
        let rows = self.lane_rows[first * LANES..end * LANES].chunks_exact(LANES);
        for (block, rows) in values.zip(rows) {
            let mut distances = [0.0; LANES];
            for (column, &value) in block.chunks_exact(LANES).zip(query) {
                for (distance, &other) in distances.iter_mut().zip(column) {
                    *distance += term::<METRIC>(value - other);
                }
            }
            let reach = reach(ranks);
            // Most blocks have no row near enough; skip them early.
            if least(distances) <= reach {
                for (&distance, &row) in distances.iter().zip(rows) {
                    if distance <= reach {
                        offer(ranks, rank(distance, row));
                    }
                }
            }
        }
    }
}

/// [`Metric::Euclidean`], at compile time.
const EUCLIDEAN: u8 = 0;

/// [`Metric::Manhattan`], at compile time.
const MANHATTAN: u8 = 1;

/// Returns what the difference in one feature adds to a distance.
#[inline(always)]
fn term<const METRIC: u8>(difference: f64) -> f64 {
    if METRIC == MANHATTAN {
        difference.abs()
    } else {
        difference * difference
    }
}

/// Returns the larger number in one instruction; `f64::max` needs more, because it handles NaN.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

#[inline(always)]
fn least(mut distances: [f64; LANES]) -> f64 {
    let mut lanes = LANES;
    while lanes > 1 {
        lanes /= 2;
        for lane in 0..lanes {
            let other = distances[lanes + lane];
            if other < distances[lane] {
                distances[lane] = other;
            }
        }
    }
    distances[0]
}

/// Halves the rows `halvings` times at the median of the feature with the widest range. Few or identical rows are not
/// split.
fn split<'a>(
    features: &[f64],
    width: usize,
    order: &'a mut [u32],
    halvings: u32,
) -> Vec<&'a mut [u32]> {
    let spread = |feature| {
        let (low, high) = range(features, width, order, feature);
        high - low
    };
    let widest = (0..width)
        .map(|feature| (feature, spread(feature)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b));
    match widest {
        Some((feature, spread)) if halvings > 0 && order.len() > LEAF_ROWS && spread > 0.0 => {
            let value = |row: &u32| features[*row as usize * width + feature];
            let middle = (order.len() / 2).next_multiple_of(LANES);
            order.select_nth_unstable_by(middle, |a, b| value(a).total_cmp(&value(b)));
            let (low, high) = order.split_at_mut(middle);
            let mut parts = split(features, width, low, halvings - 1);
            parts.extend(split(features, width, high, halvings - 1));
            parts
        }
        _ => vec![order],
    }
}

/// Returns the smallest and the largest value of a feature in the given rows.
fn range(features: &[f64], width: usize, rows: &[u32], feature: usize) -> (f64, f64) {
    rows.iter()
        .map(|&row| features[row as usize * width + feature])
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::property;

    /// Returns the first of all rows sorted by distance and row; the index must agree to the last bit.
    fn oracle(
        metric: Metric,
        features: &[f64],
        width: usize,
        query: &[f64],
        wanted: usize,
    ) -> Vec<Neighbor> {
        let term = |difference: f64| match metric {
            Metric::Euclidean => difference * difference,
            Metric::Manhattan => difference.abs(),
        };
        let mut all: Vec<Neighbor> = (0..)
            .zip(features.chunks(width))
            .map(|(row, values)| {
                let terms = values.iter().zip(query).map(|(v, q)| term(q - v));
                Neighbor {
                    distance: terms.fold(0.0, |sum, term| sum + term),
                    row,
                }
            })
            .collect();
        all.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
        all.truncate(wanted);
        all
    }

    /// Searches with and without this processor's wider registers and returns the neighbours, which must be equal.
    fn found(
        metric: Metric,
        features: &[f64],
        width: usize,
        query: &[f64],
        wanted: usize,
    ) -> Vec<Neighbor> {
        let index = NeighborIndex::new(features, width, metric);
        let anywhere = NeighborIndex {
            arch: Arch::Scalar,
            ..index.clone()
        };
        let [here, anywhere] = [index, anywhere].map(|index| {
            let mut neighbors = Neighbors::default();
            index.nearest(query, wanted, &mut neighbors);
            neighbors.as_slice().to_vec()
        });
        assert_eq!(here, anywhere);
        here
    }

    /// Compares the index with the oracle.
    fn check(
        metric: Metric,
        (width, rows, query, wanted): (usize, Vec<f64>, Vec<f64>, usize),
    ) -> Result<(), TestCaseError> {
        prop_assert_eq!(
            found(metric, &rows, width, &query, wanted),
            oracle(metric, &rows, width, &query, wanted)
        );
        Ok(())
    }

    /// Generates rows and a query of the same width.
    fn cases(
        value: impl Strategy<Value = f64> + Clone,
    ) -> impl Strategy<Value = (usize, Vec<f64>, Vec<f64>, usize)> {
        (1_usize..=6, 1_usize..600, 1_usize..12).prop_flat_map(move |(width, rows, wanted)| {
            let rows = proptest::collection::vec(value.clone(), width * rows);
            (
                Just(width),
                rows,
                proptest::collection::vec(value.clone(), width),
                Just(wanted),
            )
        })
    }

    fn metrics() -> impl Strategy<Value = Metric> {
        prop_oneof![Just(Metric::Euclidean), Just(Metric::Manhattan)]
    }

    proptest! {
        #![proptest_config(property::config(1_000))]

        #[test]
        fn the_nearest_rows_are_the_first_of_all_rows_sorted(metric in metrics(), case in cases(-10.0..10.0)) {
            check(metric, case)?;
        }

        #[test]
        fn tied_rows_on_a_grid_are_ordered_as_in_all_rows_sorted(metric in metrics(), case in cases((0_u8..3).prop_map(f64::from))) {
            check(metric, case)?;
        }

        #[test]
        fn any_finite_numbers_are_accepted(metric in metrics(), case in cases(prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL)) {
            check(metric, case)?;
        }
    }

    #[test]
    fn identical_rows_are_found_in_the_order_of_the_training_set() {
        let rows: Vec<u32> = found(Metric::Euclidean, &[1.0; 1000], 1, &[4.0], 3)
            .iter()
            .map(|n| n.row)
            .collect();
        assert_eq!(rows, [0, 1, 2]);
    }

    #[test]
    fn fewer_rows_than_wanted_are_all_returned() {
        assert_eq!(found(Metric::Euclidean, &[5.0, 1.0], 1, &[0.0], 7).len(), 2);
    }
}
