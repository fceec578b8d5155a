//! One decision tree as a compact array of nodes, and the walk of a block of rows through it.
//!
//! Takes nodes as a file links them; hands on a [`Tree`] whose links are proven to form a tree of bounded depth.
//! What would surprise: the two children of a node stand side by side and a leaf leads to itself, so that a
//! step needs no branch and all rows of a block take the same number of steps.

/// Trees deeper than this are refused: nothing trains them, and the walk takes as many steps.
const DEPTH_MAX: usize = 512;
/// Most nodes of one tree.
const NODES_MAX: usize = 1 << 22;
/// Values this close to zero are zero to LightGBM (`kZeroThreshold`, a float32).
const ZERO_MAX: f64 = 1e-35_f32 as f64;
/// Words of a bit set that cost too little to be spared.
const WORDS_FREE: usize = 16;
/// Categories from here on are in no set.
const CATEGORY_MAX: f64 = 16_777_216.0;

/// A node as the file describes it.
#[derive(Debug, Clone)]
pub(super) enum Described {
    /// The value that is added.
    Leaf(f64),
    /// A question, and where the two answers lead.
    Split { feature: usize, test: Test, left: usize, right: usize },
}

/// The question of a node.
#[derive(Debug, Clone)]
pub(super) enum Test {
    /// Left where the value is at most the threshold.
    AtMost { threshold: f64, missing_left: bool, zero_missing: bool },
    /// One side where the value is in the set, the other where it is not.
    OneOf { categories: Vec<u32>, member_left: bool, missing_left: bool },
}

/// A node of the walk, 24 bytes.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// Threshold of a numeric split; value of a leaf.
    number: f64,
    feature: u32,
    /// The left child; of a leaf, itself.
    left: u32,
    /// What is added to `left` for the right child: 1, of a leaf 0.
    step: u8,
    missing_right: bool,
    /// 0 numeric, 1 numeric with zero as missing, 2 categorical.
    kind: u8,
    set: u16,
}

/// A sound tree.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    sets: Vec<Set>,
    depth: usize,
    /// How many training rows, by their weights, came to each node; empty where the file does not say.
    covers: Vec<f64>,
    /// Whether all questions are about numbers that may be missing.
    plain: bool,
}

/// The way of a row at a split.
pub(super) struct Split {
    /// What is asked about.
    pub(super) feature: usize,
    /// The child that the row goes to.
    pub(super) taken: usize,
    /// The other child.
    pub(super) other: usize,
}

/// A question of a plain tree: right where the value is more. The right child is the one after the left.
pub(super) struct Plain {
    pub(super) feature: usize,
    pub(super) threshold: f64,
    pub(super) missing_right: bool,
    pub(super) left: usize,
}

/// Categories.
#[derive(Debug, Clone)]
struct Set {
    members: Members,
    member_left: bool,
}

#[derive(Debug, Clone)]
enum Members {
    Bits(Vec<u64>),
    /// In order: bits would take two megabytes for one high category.
    Few(Vec<u32>),
}

impl Tree {
    /// Orders the nodes for the walk. `covers` has a weight for each node, or is empty.
    ///
    /// # Errors
    /// Says which link leads nowhere or back, or what is too large.
    pub(super) fn build(described: &[Described], covers: &[f64], features: usize) -> Result<Self, String> {
        if described.is_empty() || described.len() > NODES_MAX {
            return Err(format!("a tree has {} nodes; 1 to {NODES_MAX} can be used", described.len()));
        }
        let mut tree = Self {
            nodes: Vec::with_capacity(described.len()),
            sets: Vec::new(),
            depth: 0,
            covers: Vec::with_capacity(covers.len()),
            plain: true,
        };
        let mut seen = vec![false; described.len()];
        let mut level = vec![0_usize];
        let mut placed = 1;
        while !level.is_empty() {
            let mut next = Vec::new();
            for &at in &level {
                let Some(seen) = seen.get_mut(at) else {
                    return Err(format!("a link leads to node {at} of {}", described.len()));
                };
                if std::mem::replace(seen, true) {
                    return Err(format!("two links lead to node {at}: the nodes form no tree"));
                }
                let place = tree.nodes.len();
                let node = tree.node(&described[at], place, placed, features)?;
                if let Described::Split { left, right, .. } = &described[at] {
                    next.extend([*left, *right]);
                    placed += 2;
                }
                tree.nodes.push(node);
                tree.covers.extend(covers.get(at));
            }
            if !next.is_empty() {
                tree.depth += 1;
            }
            if tree.depth > DEPTH_MAX {
                return Err(format!("a tree is more than {DEPTH_MAX} levels deep"));
            }
            level = next;
        }
        Ok(tree)
    }

    fn node(
        &mut self,
        described: &Described,
        place: usize,
        children: usize,
        features: usize,
    ) -> Result<Node, String> {
        let index = |at: usize| u32::try_from(at).map_err(|_| format!("node {at} is too far"));
        match described {
            Described::Leaf(value) => {
                if !value.is_finite() {
                    return Err(format!("a leaf has the value {value}"));
                }
                let left = index(place)?;
                Ok(Node { number: *value, feature: 0, left, step: 0, missing_right: false, kind: 0, set: 0 })
            }
            Described::Split { feature, .. } if *feature >= features => {
                Err(format!("a split is on feature {feature}, and there are {features}"))
            }
            Described::Split { feature, test, .. } => {
                let (left, feature) = (index(children)?, index(*feature)?);
                match test {
                    Test::AtMost { threshold, missing_left, zero_missing } => {
                        self.plain &= !zero_missing;
                        let kind = u8::from(*zero_missing);
                        let missing_right = !missing_left;
                        Ok(Node { number: *threshold, feature, left, step: 1, missing_right, kind, set: 0 })
                    }
                    Test::OneOf { categories, member_left, missing_left } => {
                        self.plain = false;
                        let set = u16::try_from(self.sets.len())
                            .map_err(|_| "a tree has more than 65,536 categorical splits".to_owned())?;
                        self.sets.push(Set::of(categories, *member_left)?);
                        let missing_right = !missing_left;
                        Ok(Node { number: 0.0, feature, left, step: 1, missing_right, kind: 2, set })
                    }
                }
            }
        }
    }

    /// The way of `row` at a node; `None` at a leaf.
    pub(super) fn split(&self, at: usize, row: &[f64]) -> Option<Split> {
        let node = self.nodes.get(at).filter(|node| node.step == 1)?;
        let left = node.left as usize;
        let right = usize::from(self.right(node, *row.get(node.feature as usize)?));
        Some(Split { feature: node.feature as usize, taken: left + right, other: left + 1 - right })
    }

    /// Whether all questions are about numbers that may be missing.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Levels of questions.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The question at a node of a plain tree; none at a leaf.
    pub(super) fn plain(&self, at: usize) -> Option<Plain> {
        let node = self.nodes.get(at).filter(|node| node.step == 1)?;
        Some(Plain {
            feature: node.feature as usize,
            threshold: node.number,
            missing_right: node.missing_right,
            left: node.left as usize,
        })
    }

    /// The value of a leaf.
    pub(super) fn value(&self, at: usize) -> f64 {
        self.nodes.get(at).map_or(0.0, |node| node.number)
    }

    /// The share of a node's training rows that went to one of its children.
    pub(super) fn share(&self, child: usize, at: usize) -> f64 {
        match (self.covers.get(child), self.covers.get(at)) {
            (Some(child), Some(cover)) if *cover > 0.0 => child / cover,
            _ => 0.0,
        }
    }

    /// The mean of the leaves over the training rows; `None` where the file does not say how many went where.
    pub(super) fn expected(&self) -> Option<f64> {
        if self.covers.len() != self.nodes.len() {
            return None;
        }
        // Children stand behind their parents.
        let mut means: Vec<f64> = self.nodes.iter().map(|node| node.number).collect();
        for (at, node) in self.nodes.iter().enumerate().rev().filter(|(_, node)| node.step == 1) {
            let left = node.left as usize;
            means[at] = means[left] * self.share(left, at) + means[left + 1] * self.share(left + 1, at);
        }
        means.first().copied()
    }

    /// The value of the leaf that each row of a block ends in; `width` is the length of a row.
    pub(super) fn leaves(&self, block: &[f64], width: usize, leaves: &mut [f64]) {
        if self.plain {
            self.walk(
                block,
                width,
                leaves,
                |node, x| if x.is_nan() { node.missing_right } else { x > node.number },
            );
        } else {
            self.walk(block, width, leaves, |node, x| self.right(node, x));
        }
    }

    #[inline]
    fn walk(&self, block: &[f64], width: usize, leaves: &mut [f64], right: impl Fn(&Node, f64) -> bool) {
        const LANES: usize = 8;
        for (group, leaves) in leaves.chunks_mut(LANES).enumerate() {
            let rows = &block[group * LANES * width..];
            let mut at = [0_u32; LANES];
            for _ in 0..self.depth {
                for (lane, at) in at.iter_mut().enumerate().take(leaves.len()) {
                    let node = &self.nodes[*at as usize];
                    let x = rows[lane * width + node.feature as usize];
                    *at = node.left + u32::from(u8::from(right(node, x)) & node.step);
                }
            }
            leaves.iter_mut().zip(at).for_each(|(leaf, at)| *leaf = self.nodes[at as usize].number);
        }
    }

    fn right(&self, node: &Node, x: f64) -> bool {
        match node.kind {
            _ if x.is_nan() => node.missing_right,
            0 => x > node.number,
            1 => {
                if x.abs() <= ZERO_MAX {
                    node.missing_right
                } else {
                    x > node.number
                }
            }
            _ => self.sets.get(usize::from(node.set)).is_none_or(|set| set.contains(x) != set.member_left),
        }
    }
}

impl Set {
    fn of(categories: &[u32], member_left: bool) -> Result<Self, String> {
        let highest = categories.iter().copied().max().unwrap_or(0);
        if f64::from(highest) >= CATEGORY_MAX {
            return Err(format!("category {highest} is above the {CATEGORY_MAX} that can be told apart"));
        }
        let words = highest as usize / 64 + 1;
        let members = if words <= categories.len() + WORDS_FREE {
            let mut bits = vec![0_u64; words];
            categories.iter().for_each(|category| bits[*category as usize / 64] |= 1 << (category % 64));
            Members::Bits(bits)
        } else {
            let mut few = categories.to_vec();
            few.sort_unstable();
            Members::Few(few)
        };
        Ok(Self { members, member_left })
    }

    /// Fractions are cut off, as the libraries do: -0.5 is category 0.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    fn contains(&self, x: f64) -> bool {
        if !(x > -1.0 && x < CATEGORY_MAX) {
            return false;
        }
        let category = x as u32;
        match &self.members {
            Members::Bits(bits) => {
                bits.get(category as usize / 64).is_some_and(|word| word >> (category % 64) & 1 == 1)
            }
            Members::Few(few) => few.binary_search(&category).is_ok(),
        }
    }
}
