//! Exact nearest neighbours, with every tie decided.
//!
//! The index is a k-d tree (Friedman, Bentley and Finkel, 1977) whose leaves are scanned in blocks of [`LANES`] rows,
//! laid out feature by feature so that the compiler can compare several rows at once. Few rows are a single leaf, so
//! that brute force is not a second implementation but the smallest tree. Where the tree cannot prune, as with many
//! features, it degrades to that same scan.
//!
//! Neighbours are ordered by squared Euclidean distance and, where distances are equal, by row: of two rows equally
//! far away the one that comes first in the training set is the nearer. The order is total, so an answer depends on
//! neither the tree's shape nor the scan's direction.

/// Rows whose distances are computed together.
const LANES: usize = 8;

/// Rows below which a node is not split further. With few features small boxes are seldom near enough to be looked into;
/// with many they nearly always are, and then whole blocks are quicker.
const fn leaf_rows(width: usize) -> usize {
    if width <= 8 { 16 } else { 64 }
}

/// One training row near a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// Squared Euclidean distance to the query, summed in the order of the features.
    pub distance: f64,
    /// The row's position in the training set.
    pub row: u32,
}

impl Neighbor {
    /// A sum of squares is neither NaN nor negative, so that this is a total order.
    fn is_nearer_than(&self, other: &Self) -> bool {
        self.distance < other.distance || (self.distance == other.distance && self.row < other.row)
    }
}

/// The nearest rows found for a query, nearest first. Reused from query to query, so that a query allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Neighbors {
    nearest: Vec<Neighbor>,
    wanted: usize,
}

impl Neighbors {
    /// The neighbours, nearest first.
    #[must_use]
    pub fn as_slice(&self) -> &[Neighbor] {
        &self.nearest
    }

    fn reset(&mut self, wanted: usize) {
        self.nearest.clear();
        self.wanted = wanted;
    }

    /// The distance beyond which a row can no longer matter.
    fn reach(&self) -> f64 {
        match self.nearest.last() {
            Some(farthest) if self.nearest.len() == self.wanted => farthest.distance,
            _ => f64::INFINITY,
        }
    }

    fn offer(&mut self, candidate: Neighbor) {
        if self.nearest.len() < self.wanted {
            self.nearest.push(candidate);
        } else if !self
            .nearest
            .last()
            .is_some_and(|farthest| candidate.is_nearer_than(farthest))
        {
            return;
        }
        let mut position = self.nearest.len() - 1;
        while position > 0 && candidate.is_nearer_than(&self.nearest[position - 1]) {
            self.nearest[position] = self.nearest[position - 1];
            position -= 1;
        }
        self.nearest[position] = candidate;
    }
}

/// Where to find a node's rows.
#[derive(Clone, Copy, Debug)]
enum Node {
    /// Blocks `first..end`.
    Leaf { first: usize, end: usize },
    /// The positions of the two halves in the list of nodes.
    Halves(usize, usize),
}

/// Training rows, arranged for finding the nearest ones.
#[derive(Clone, Debug)]
pub struct NeighborIndex {
    width: usize,
    rows: usize,
    nodes: Vec<Node>,
    /// For each node the bounding box of its rows: the smallest value of each feature, then the largest of each.
    bounds: Vec<f64>,
    /// Blocks of `width * LANES` values, feature by feature.
    values: Vec<f64>,
    /// For each lane of each block its row.
    lane_rows: Vec<u32>,
}

/// A number of features that is known only at run time.
const ANY: usize = 0;

/// Marks a lane without a row, in a block that is not full.
const NO_ROW: u32 = u32::MAX;

impl NeighborIndex {
    /// Arranges `features`, row-major with `width` values a row.
    ///
    /// # Panics
    /// If `width` is 0, does not divide the number of values, or there are `u32::MAX` rows or more.
    #[must_use]
    pub fn new(features: &[f64], width: usize) -> Self {
        assert!(
            width > 0 && features.len().is_multiple_of(width),
            "whole rows of at least one feature"
        );
        let rows = features.len() / width;
        assert!(rows < NO_ROW as usize, "row numbers are 32 bits");
        let mut index = Self {
            width,
            rows,
            nodes: Vec::new(),
            bounds: Vec::new(),
            values: Vec::new(),
            lane_rows: Vec::new(),
        };
        let mut order: Vec<u32> = (0..NO_ROW).take(rows).collect();
        index.add_node(features, &mut order);
        index
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds the node of the given rows and, below it, those of its halves. Returns its position.
    fn add_node(&mut self, features: &[f64], order: &mut [u32]) -> usize {
        let bounds = bounds(features, self.width, order);
        let position = self.nodes.len();
        let widest = (0..self.width)
            .max_by(|&a, &b| {
                spread(&bounds, self.width, a).total_cmp(&spread(&bounds, self.width, b))
            })
            .unwrap_or(0);
        let splits =
            order.len() > leaf_rows(self.width) && spread(&bounds, self.width, widest) > 0.0;
        self.bounds.extend(bounds);
        self.nodes.push(Node::Leaf { first: 0, end: 0 });
        self.nodes[position] = if splits {
            let value = |row: &u32| features[*row as usize * self.width + widest];
            let middle = (order.len() / 2).next_multiple_of(LANES);
            order.select_nth_unstable_by(middle, |a, b| value(a).total_cmp(&value(b)));
            let (low, high) = order.split_at_mut(middle);
            let low = self.add_node(features, low);
            Node::Halves(low, self.add_node(features, high))
        } else {
            self.add_leaf(features, order)
        };
        position
    }

    fn add_leaf(&mut self, features: &[f64], order: &mut [u32]) -> Node {
        order.sort_unstable();
        let first = self.lane_rows.len() / LANES;
        for block in order.chunks(LANES) {
            for feature in 0..self.width {
                let value = |lane| {
                    block
                        .get(lane)
                        .map_or(0.0, |&row| features[row as usize * self.width + feature])
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
    /// If `query` has not exactly one value for each feature.
    pub fn nearest(&self, query: &[f64], wanted: usize, found: &mut Neighbors) {
        assert_eq!(query.len(), self.width, "one value for each feature");
        found.reset(wanted);
        if wanted == 0 {
            return;
        }
        // Loops over a number of features that the compiler knows take half the time.
        match self.width {
            1 => self.visit::<1>(0, query, found),
            2 => self.visit::<2>(0, query, found),
            3 => self.visit::<3>(0, query, found),
            4 => self.visit::<4>(0, query, found),
            5 => self.visit::<5>(0, query, found),
            6 => self.visit::<6>(0, query, found),
            7 => self.visit::<7>(0, query, found),
            8 => self.visit::<8>(0, query, found),
            _ => self.visit::<ANY>(0, query, found),
        }
    }

    /// The number of features: `WIDTH`, unless that is [`ANY`].
    fn width<const WIDTH: usize>(&self) -> usize {
        if WIDTH == ANY { self.width } else { WIDTH }
    }

    fn visit<const WIDTH: usize>(&self, node: usize, query: &[f64], found: &mut Neighbors) {
        match self.nodes[node] {
            Node::Leaf { first, end } => self.scan::<WIDTH>(first, end, query, found),
            Node::Halves(low, high) => {
                let (to_low, to_high) = (
                    self.distance_to::<WIDTH>(low, query),
                    self.distance_to::<WIDTH>(high, query),
                );
                let ordered = if to_high < to_low {
                    [(high, to_high), (low, to_low)]
                } else {
                    [(low, to_low), (high, to_high)]
                };
                for (half, distance) in ordered {
                    // A row at exactly the reach still counts: its number may be the lower one.
                    if distance <= found.reach() {
                        self.visit::<WIDTH>(half, query, found);
                    }
                }
            }
        }
    }

    /// A lower bound of the squared distance from the query to any row of a node.
    ///
    /// Terms are summed in the same order as a row's, and rounding is monotonic, so the bound holds to the last bit:
    /// pruning by it never loses a row that is equally far away.
    fn distance_to<const WIDTH: usize>(&self, node: usize, query: &[f64]) -> f64 {
        let width = self.width::<WIDTH>();
        let bounds = &self.bounds[node * 2 * width..(node + 1) * 2 * width];
        let (low, high) = bounds.split_at(width);
        let sides = query[..width].iter().zip(low).zip(high);
        sides.fold(0.0, |sum, ((&value, &low), &high)| {
            let outside = (low - value).max(value - high).max(0.0);
            sum + outside * outside
        })
    }

    fn scan<const WIDTH: usize>(
        &self,
        first: usize,
        end: usize,
        query: &[f64],
        found: &mut Neighbors,
    ) {
        let width = self.width::<WIDTH>();
        let query = &query[..width];
        let block_len = width * LANES;
        let values = self.values[first * block_len..end * block_len].chunks_exact(block_len);
        let rows = self.lane_rows[first * LANES..end * LANES].chunks_exact(LANES);
        for (block, rows) in values.zip(rows) {
            let mut distances = [0.0; LANES];
            for (column, &value) in block.chunks_exact(LANES).zip(query) {
                for (distance, &other) in distances.iter_mut().zip(column) {
                    let difference = value - other;
                    *distance += difference * difference;
                }
            }
            let reach = found.reach();
            for (&distance, &row) in distances.iter().zip(rows) {
                if distance <= reach && row != NO_ROW {
                    found.offer(Neighbor { distance, row });
                }
            }
        }
    }
}

fn bounds(features: &[f64], width: usize, order: &[u32]) -> Box<[f64]> {
    let mut bounds = vec![f64::INFINITY; width];
    bounds.resize(2 * width, f64::NEG_INFINITY);
    for &row in order {
        for feature in 0..width {
            let value = features[row as usize * width + feature];
            bounds[feature] = bounds[feature].min(value);
            bounds[width + feature] = bounds[width + feature].max(value);
        }
    }
    bounds.into()
}

fn spread(bounds: &[f64], width: usize, feature: usize) -> f64 {
    bounds[width + feature] - bounds[feature]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All rows sorted by distance, then by row: what the index must agree with to the last bit.
    fn oracle(features: &[f64], width: usize, query: &[f64], wanted: usize) -> Vec<Neighbor> {
        let mut all: Vec<Neighbor> = (0..)
            .zip(features.chunks(width))
            .map(|(row, values)| {
                let squares = values.iter().zip(query).map(|(v, q)| (q - v) * (q - v));
                Neighbor {
                    distance: squares.fold(0.0, |sum, square| sum + square),
                    row,
                }
            })
            .collect();
        all.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
        all.truncate(wanted);
        all
    }

    fn found(features: &[f64], width: usize, query: &[f64], wanted: usize) -> Vec<Neighbor> {
        let mut neighbors = Neighbors::default();
        NeighborIndex::new(features, width).nearest(query, wanted, &mut neighbors);
        neighbors.as_slice().to_vec()
    }

    /// Rows and a query of one width; on the grid nearly every distance is tied.
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn it_finds_what_sorting_all_rows_finds((width, rows, query, wanted) in cases(-10.0..10.0)) {
            prop_assert_eq!(found(&rows, width, &query, wanted), oracle(&rows, width, &query, wanted));
        }

        #[test]
        fn it_breaks_ties_as_sorting_does((width, rows, query, wanted) in cases((0_u8..3).prop_map(f64::from))) {
            prop_assert_eq!(found(&rows, width, &query, wanted), oracle(&rows, width, &query, wanted));
        }

        #[test]
        fn it_takes_any_finite_numbers((width, rows, query, wanted) in cases(prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL)) {
            prop_assert_eq!(found(&rows, width, &query, wanted), oracle(&rows, width, &query, wanted));
        }
    }

    #[test]
    fn identical_rows_are_taken_in_the_order_of_the_training_set() {
        let rows: Vec<u32> = found(&[1.0; 1000], 1, &[4.0], 3)
            .iter()
            .map(|n| n.row)
            .collect();
        assert_eq!(rows, [0, 1, 2]);
    }

    #[test]
    fn fewer_rows_than_wanted_are_all_returned() {
        assert_eq!(found(&[5.0, 1.0], 1, &[0.0], 7).len(), 2);
    }
}
