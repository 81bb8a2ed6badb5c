//! The stored form of a forest.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::kind::ForestKind;
use super::node::Node;
use super::shares::{self, ShareTableBuilder, WHOLE};
use super::trees::Trees;
use crate::content_hash::update_number;

/// The code of a leaf of several classes.
const MIXED: u16 = u16::MAX;

/// All that a forest's predictions depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForestContent {
    #[serde(flatten)]
    kind: ForestKind,
    /// The nodes, tree by tree, each before its left side, and this before its right side. All numbers have two bytes, the more
    /// significant first.
    ///
    /// A split begins with 2 times its feature. Eight bytes follow: the bits of the largest value that goes to the left. A leaf of
    /// one class is 2 times the class, plus 1. Another leaf is 65,535, the number of its classes, and for each of these the class
    /// and its share in 55,440ths.
    #[serde(skip)]
    bytes: Vec<u8>,
}

impl ForestContent {
    /// Returns a forest without trees.
    pub(crate) fn empty(kind: ForestKind) -> Self {
        Self {
            kind,
            bytes: Vec::new(),
        }
    }

    /// Adds a leaf with these numbers of rows of each class.
    pub(super) fn push_leaf(&mut self, counts: &[u64]) {
        let shares: Vec<(usize, u16)> = shares::of(counts).collect();
        if let [(class, _)] = shares[..] {
            self.push_number(number(class) | 1);
            return;
        }
        self.push_number(MIXED);
        self.push_number(u16::try_from(shares.len()).unwrap_or(0));
        for (class, share) in shares {
            self.push_number(u16::try_from(class).unwrap_or(u16::MAX));
            self.push_number(share);
        }
    }

    /// Adds a split.
    pub(super) fn push_split(&mut self, feature: usize, threshold: f64) {
        self.push_number(number(feature));
        self.bytes.extend(threshold.to_bits().to_be_bytes());
    }

    fn push_number(&mut self, number: u16) {
        self.bytes.extend(number.to_be_bytes());
    }

    /// Returns how the forest was fitted.
    pub(crate) fn kind(&self) -> ForestKind {
        self.kind
    }

    /// Returns the nodes as they are stored.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns a forest with these nodes.
    #[must_use]
    pub(crate) fn with_bytes(self, bytes: Vec<u8>) -> Self {
        Self { bytes, ..self }
    }

    /// Hashes the content.
    pub(crate) fn hash(&self, hash: &mut Sha256) {
        hash.update(b"iris forest 1");
        let ForestKind {
            trees,
            max_depth,
            min_samples_leaf,
            min_samples_split,
            max_features,
            seed,
        } = self.kind;
        // 0 stands for none.
        for value in [
            trees,
            max_depth.map_or(0, |depth| depth.saturating_add(1)),
            min_samples_leaf,
            min_samples_split,
            max_features.map_or(0, |features| features.saturating_add(1)),
            seed as usize,
            self.bytes.len(),
        ] {
            update_number(hash, value);
        }
        hash.update(&self.bytes);
    }

    /// Returns the trees for predictions, and checks them.
    pub(super) fn unpack(&self, features: usize, classes: usize) -> Option<Trees> {
        let (mut nodes, mut roots) = (Vec::new(), Vec::new());
        let mut shares = ShareTableBuilder::new(classes);
        // The splits whose right side is still to come.
        let mut open: Vec<usize> = Vec::new();
        let mut is_root = true;
        let mut reader = Reader(&self.bytes);
        while !reader.0.is_empty() {
            let place = u32::try_from(nodes.len()).ok()?;
            if is_root {
                roots.push(place);
            }
            match reader.node(features, classes)? {
                Stored::Split { feature, threshold } => {
                    open.push(nodes.len());
                    nodes.push(Node::split(feature, threshold));
                    is_root = false;
                }
                leaf => {
                    let shares = match leaf {
                        Stored::Mixed(mixed) => shares.place(mixed)?,
                        Stored::Pure(class) => class,
                        Stored::Split { .. } => return None,
                    };
                    nodes.push(Node::leaf(shares, place));
                    is_root = open.is_empty();
                    if let Some(split) = open.pop() {
                        nodes[split].right = place + 1;
                    }
                }
            }
        }
        let shares = shares.finish();
        let is_complete = is_root && roots.len() == self.kind.trees;
        is_complete.then_some(Trees {
            nodes,
            roots,
            shares,
        })
    }
}

/// A node as it is stored.
enum Stored {
    Split { feature: u32, threshold: f64 },
    Pure(u32),
    Mixed(Vec<(u16, u16)>),
}

/// Reads nodes. `None` stands for bytes that are not those of a forest.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn number(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    fn node(&mut self, features: usize, classes: usize) -> Option<Stored> {
        let code = self.number()?;
        let number = code / 2;
        if code == MIXED {
            return self.mixed(classes).map(Stored::Mixed);
        }
        if code & 1 == 1 {
            let is_class = usize::from(number) < classes;
            return is_class.then_some(Stored::Pure(number.into()));
        }
        let threshold = f64::from_bits(self.bytes().map(u64::from_be_bytes)?);
        let is_valid = usize::from(number) < features && threshold.is_finite();
        is_valid.then_some(Stored::Split {
            feature: number.into(),
            threshold,
        })
    }

    /// Reads the shares of a leaf of several classes, which are sorted.
    fn mixed(&mut self, classes: usize) -> Option<Vec<(u16, u16)>> {
        let mut shares: Vec<(u16, u16)> = Vec::new();
        for _ in 0..self.number()? {
            let share = (self.number()?, self.number()?);
            let is_sorted = shares.last().is_none_or(|last| last.0 < share.0);
            if !is_sorted || usize::from(share.0) >= classes || share.1 == 0 || share.1 > WHOLE {
                return None;
            }
            shares.push(share);
        }
        (shares.len() > 1).then_some(shares)
    }
}

/// Returns the code of a feature, or that of a class without its lowest bit. One that is too large gets the largest code, which is
/// refused.
fn number(value: usize) -> u16 {
    u16::try_from(value).map_or(MIXED - 1, |value| 2 * value.min(MIXED / 2))
}
