//! Whether the trees of an ONNX file are trees, before they are walked.
//!
//! Takes an operator `TreeEnsembleClassifier`; refuses links that lead nowhere or back and classes that are not there.
//! tract follows links without looking and adds to classes without counting: a link back would never end, and an
//! unknown class would be written outside of the answer. It also takes the comparison `BRANCH_GTE` for a leaf.

use std::collections::HashMap;

use tract_onnx::pb::NodeProto;

/// Holds the trees of an operator to be trees.
pub(super) fn check(node: &NodeProto) -> Result<(), String> {
    let ints = |name: &str| -> &[i64] { attribute(node, name).map_or(&[], |found| &found.ints) };
    let strings = |name: &str| -> &[Vec<u8>] { attribute(node, name).map_or(&[], |found| &found.strings) };
    let modes = strings("nodes_modes");
    let (trees, ids) = (ints("nodes_treeids"), ints("nodes_nodeids"));
    let links = [ints("nodes_truenodeids"), ints("nodes_falsenodeids")];
    if [trees.len(), ids.len(), links[0].len(), links[1].len()].iter().any(|length| *length != modes.len()) {
        return Err("the attributes of its tree nodes have different lengths".to_owned());
    }
    let classes = ints("classlabels_int64s").len().max(strings("classlabels_strings").len());
    if let Some(class) =
        ints("class_ids").iter().find(|class| usize::try_from(**class).map_or(true, |class| class >= classes))
    {
        return Err(format!("a leaf votes for class {class}, and there are {classes}"));
    }
    let mut nodes: HashMap<i64, Vec<usize>> = HashMap::new();
    for (place, tree) in trees.iter().enumerate() {
        nodes.entry(*tree).or_default().push(place);
    }
    for (tree, places) in &nodes {
        is_tree(places, modes, ids, links).map_err(|cause| format!("tree {tree}: {cause}"))?;
    }
    Ok(())
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a tract_onnx::pb::AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// Each node but the first must be led to at most once, and that by a node of its tree: then no way leads back.
fn is_tree(places: &[usize], modes: &[Vec<u8>], ids: &[i64], links: [&[i64]; 2]) -> Result<(), String> {
    let count = places.len();
    let numbered = |id: i64| usize::try_from(id).ok().filter(|id| *id < count);
    let mut seen = vec![false; count];
    for place in places {
        let known = numbered(ids[*place]).map(|id| std::mem::replace(&mut seen[id], true));
        if known != Some(false) {
            return Err(format!("its nodes are not numbered from 0 to {}, each once", count - 1));
        }
    }
    let mut led_to = vec![false; count];
    for place in places {
        match modes[*place].as_slice() {
            b"LEAF" => continue,
            b"BRANCH_GTE" => {
                return Err("the comparison BRANCH_GTE can't be used: write it as BRANCH_LT".to_owned());
            }
            _ => {}
        }
        for link in links.map(|links| links[*place]) {
            let node = numbered(link).ok_or_else(|| format!("a link leads to node {link} of {count}"))?;
            if node == 0 || std::mem::replace(&mut led_to[node], true) {
                return Err(format!(
                    "two links lead to node {node}, or one to the root: the nodes form no tree"
                ));
            }
        }
    }
    Ok(())
}
