//! Grows the trees of a forest.
//!
//! The rows are sorted by each feature once. A node of a tree is a range of rows in the same place of each of these orders, and a
//! split divides each order without changing it otherwise. So a level of a tree takes time in proportion to the rows and the
//! features.

use super::bootstrap::Random;
use super::content::ForestContent;
use super::kind::ForestKind;
use super::split::{Counts, Purity, Sample, Split, Splitter};
use crate::training_set::TrainingSet;

impl ForestKind {
    /// Returns the content of the forest that is fitted to these rows.
    pub(crate) fn fit(self, set: &TrainingSet) -> ForestContent {
        let mut content = ForestContent::empty(self);
        let columns = Columns::of(set);
        // Without a row or a feature there is nothing to fit. A forest without trees is refused when it is used.
        if columns.rows > 0 && columns.width > 0 {
            let mut grower = Grower::new(self, set, &columns);
            for tree in 0..self.trees {
                grower.grow(tree, &mut content);
            }
        }
        content
    }
}

/// The features of a training set, column by column.
struct Columns {
    rows: usize,
    width: usize,
    values: Vec<f64>,
    /// For each feature, the rows, sorted by its values.
    order: Vec<u32>,
}

impl Columns {
    fn of(set: &TrainingSet) -> Self {
        let (rows, width) = (set.len(), set.schema().features.len());
        let column = |feature| set.features().iter().skip(feature).step_by(width).copied();
        let values: Vec<f64> = (0..width).flat_map(column).collect();
        let numbers = 0..u32::try_from(rows).unwrap_or(u32::MAX);
        let mut order = Vec::with_capacity(values.len());
        for column in values.chunks_exact(rows.max(1)) {
            let mut sorted: Vec<u32> = numbers.clone().collect();
            sorted.sort_by(|&a, &b| column[a as usize].total_cmp(&column[b as usize]));
            order.extend(sorted);
        }
        Self {
            rows,
            width,
            values,
            order,
        }
    }

    /// Returns the values of one feature.
    fn column(&self, feature: usize) -> &[f64] {
        &self.values[feature * self.rows..(feature + 1) * self.rows]
    }
}

/// A node that is still to be written.
struct Pending {
    /// The positions of its rows in each order, unless it is a leaf, whose rows are only counted.
    start: usize,
    end: usize,
    depth: usize,
    counts: Counts,
    is_leaf: bool,
}

/// Grows one tree after the other.
struct Grower<'a> {
    kind: ForestKind,
    classes: usize,
    class_of_row: &'a [usize],
    columns: &'a Columns,
    /// How many times each row was drawn for the tree.
    times: Vec<u32>,
    /// The same, with the classes.
    samples: Vec<Sample>,
    /// The number of rows that were drawn.
    drawn: usize,
    /// For each feature, the rows that were drawn: in each node, sorted by its values.
    order: Vec<u32>,
    /// For each row, whether the split of its node moves it to the left.
    is_left: Vec<bool>,
    moved: Vec<u32>,
    features: Vec<usize>,
    splitter: Splitter,
}

impl<'a> Grower<'a> {
    fn new(kind: ForestKind, set: &'a TrainingSet, columns: &'a Columns) -> Self {
        Self {
            kind,
            classes: set.classes().len(),
            class_of_row: set.class_of_row(),
            columns,
            times: Vec::new(),
            samples: Vec::new(),
            drawn: 0,
            order: Vec::new(),
            is_left: vec![false; columns.rows],
            moved: vec![0; columns.rows],
            features: (0..columns.width).collect(),
            splitter: Splitter::default(),
        }
    }

    /// Grows a tree and writes its nodes, each before its left side, and this before its right side.
    fn grow(&mut self, tree: usize, content: &mut ForestContent) {
        let mut random = Random::of_tree(self.kind.seed, tree);
        self.draw(&mut random);
        let counts = self.count(0, 0, self.drawn);
        let mut pending = vec![self.pending(0, self.drawn, 0, counts)];
        while let Some(node) = pending.pop() {
            let split = if node.is_leaf {
                None
            } else {
                self.best_split(&node, &mut random)
            };
            if let Some(split) = split {
                content.push_split(split.feature, split.threshold);
                let [left, right] = self.divide(node, &split);
                pending.extend([right, left]);
            } else {
                content.push_leaf(node.counts.of_class());
            }
        }
    }

    fn pending(&self, start: usize, end: usize, depth: usize, counts: Counts) -> Pending {
        Pending {
            start,
            end,
            depth,
            is_leaf: self.is_leaf(end - start, depth, &counts),
            counts,
        }
    }

    /// Draws the rows of a tree.
    fn draw(&mut self, random: &mut Random) {
        random.draw(self.columns.rows, &mut self.times);
        let sample = |(&class, &count): (&usize, &u32)| Sample {
            class: u32::try_from(class).unwrap_or(u32::MAX),
            count,
        };
        self.samples.clear();
        let drawn = self.class_of_row.iter().zip(&self.times).map(sample);
        self.samples.extend(drawn);
        self.order.clear();
        let is_drawn = |row: &u32| self.samples[*row as usize].count > 0;
        self.order
            .extend(self.columns.order.iter().copied().filter(is_drawn));
        self.drawn = self.order.len() / self.columns.width;
        self.features.clear();
        self.features.extend(0..self.columns.width);
    }

    /// Counts the classes of the rows at some positions of the order of a feature.
    fn count(&self, feature: usize, start: usize, end: usize) -> Counts {
        let first = feature * self.drawn;
        let rows = &self.order[first + start..first + end];
        let samples = rows.iter().map(|&row| self.samples[row as usize]);
        Counts::of(self.classes, samples)
    }

    /// Returns whether a node is not split.
    fn is_leaf(&self, rows: usize, depth: usize, counts: &Counts) -> bool {
        rows < self.kind.min_samples_split
            || rows < self.kind.min_samples_leaf.saturating_mul(2)
            || self.kind.max_depth.is_some_and(|limit| depth >= limit)
            || counts.is_pure()
    }

    /// Returns the best split by a random choice of features. If none of them divides the rows, more are tried.
    fn best_split(&mut self, node: &Pending, random: &mut Random) -> Option<Split> {
        let wanted = self.kind.features_per_split(self.columns.width);
        let mut best: Option<Split> = None;
        for tried in 0..self.columns.width {
            if tried >= wanted && best.is_some() {
                break;
            }
            let chosen = tried + random.below(self.columns.width - tried);
            self.features.swap(tried, chosen);
            let feature = self.features[tried];
            let first = feature * self.drawn;
            let found = self.splitter.best(
                feature,
                (
                    self.columns.column(feature),
                    &self.samples,
                    &self.order[first + node.start..first + node.end],
                ),
                &node.counts,
                self.kind.min_samples_leaf,
                best.map_or(Purity::LEAST, |best| best.purity),
            );
            best = found.or(best);
        }
        best
    }

    /// Divides the rows of a node, and returns its left and its right side.
    fn divide(&mut self, node: Pending, split: &Split) -> [Pending; 2] {
        let (start, end, depth) = (node.start, node.end, node.depth + 1);
        let middle = start + split.left_rows;
        // The counts of one side are those of the node without those of the other, so only the smaller side is counted.
        let [left, right] = if middle - start <= end - middle {
            let left = self.count(split.feature, start, middle);
            let right = node.counts.without(&left);
            [left, right]
        } else {
            let right = self.count(split.feature, middle, end);
            [node.counts.without(&right), right]
        };
        let left = self.pending(start, middle, depth, left);
        let right = self.pending(middle, end, depth, right);
        if !left.is_leaf || !right.is_leaf {
            self.divide_orders(start, end, split);
        }
        [left, right]
    }

    /// Divides the rows at some positions of each order by a split.
    fn divide_orders(&mut self, start: usize, end: usize, split: &Split) {
        let first = split.feature * self.drawn;
        for (position, &row) in self.order[first + start..first + end].iter().enumerate() {
            self.is_left[row as usize] = position < split.left_rows;
        }
        for feature in (0..self.columns.width).filter(|&feature| feature != split.feature) {
            let first = feature * self.drawn;
            let rows = &mut self.order[first + start..first + end];
            divide(rows, &self.is_left, &mut self.moved);
        }
    }
}

/// Moves the rows of the left side to the front, without changing the order of the rows on either side.
fn divide(rows: &mut [u32], is_left: &[bool], moved: &mut [u32]) {
    let (mut left, mut right) = (0, 0);
    for position in 0..rows.len() {
        let row = rows[position];
        let goes_left = is_left[row as usize];
        rows[left] = row;
        moved[right] = row;
        left += usize::from(goes_left);
        right += usize::from(!goes_left);
    }
    rows[left..].copy_from_slice(&moved[..right]);
}
