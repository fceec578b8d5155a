//! One JSON record into the columns of its stream, in one pass.
//!
//! Only bound fields are converted; the rest is checked for syntax and skipped without allocation.
//! Of a key that stands twice in an object the last value counts. A fault leaves the columns with a
//! part of the row, which the caller cuts off.

use jiter::{Jiter, Peek};

use super::column::Column;
use super::fault::{Fault, ValueFault, of_json, of_value};
use super::paths::{Paths, Target};
use super::value::{Reading, Scalar, push_value};

/// One column that is read, and how.
#[derive(Debug)]
pub(super) struct ReadColumn {
    /// Index in the contract.
    pub(super) index: usize,
    pub(super) nullable: bool,
    /// Whether no rule reads it, so that what can't be read of it is null.
    pub(super) lenient: bool,
    pub(super) reading: Reading,
    pub(super) values: Column,
}

/// Where the values of one record go.
pub(super) struct RowTarget<'d> {
    pub(super) paths: &'d mut Paths,
    pub(super) columns: &'d mut [ReadColumn],
    /// The row to be filled: each column holds that many rows before it.
    pub(super) row: usize,
    pub(super) depth_max: usize,
}

/// Reads the record's object; every column has either one row more afterwards, or none (absent).
pub(super) fn read_record(jiter: &mut Jiter<'_>, target: &mut RowTarget<'_>) -> Result<(), Fault> {
    match jiter.peek().map_err(|error| of_json(&error))? {
        Peek::Object => read_object(jiter, target, 0, 1)?,
        other => return Err(fault_of_non_object(jiter, other, target.depth_max)),
    }
    jiter.finish().map_err(|error| of_json(&error))
}

/// A record that is JSON but no object is told from one that is no JSON.
#[cold]
fn fault_of_non_object(jiter: &mut Jiter<'_>, peek: Peek, depth_max: usize) -> Fault {
    let rest = skip(jiter, peek, depth_max, 0).and_then(|()| jiter.finish().map_err(|error| of_json(&error)));
    match rest {
        Ok(()) => Fault::NotObject { found: name_of(peek) },
        Err(fault) => fault,
    }
}

fn name_of(peek: Peek) -> &'static str {
    match peek {
        Peek::Null => "null",
        Peek::True | Peek::False => "a boolean",
        Peek::String => "text",
        Peek::Array => "an array",
        Peek::Object => "an object",
        _ => "a number",
    }
}

fn read_object(
    jiter: &mut Jiter<'_>,
    target: &mut RowTarget<'_>,
    node: usize,
    depth: usize,
) -> Result<(), Fault> {
    check_depth(jiter, target.depth_max, depth)?;
    let mut position = 0;
    let mut name = jiter.known_object();
    loop {
        let field = match name.map_err(|error| of_json(&error))? {
            None => return Ok(()),
            Some(name) => target.paths.find(node, position, name),
        };
        let peek = jiter.peek().map_err(|error| of_json(&error))?;
        match field {
            Target::Skipped => skip(jiter, peek, target.depth_max, depth)?,
            Target::Leaf(leaf) => read_leaf(jiter, target, leaf, (peek, depth))?,
            Target::Branch(branch) => read_branch(jiter, target, branch, (peek, depth))?,
        }
        position += 1;
        name = jiter.next_key();
    }
}

/// An object that holds bound fields: when it stands twice, nothing of the first one stays.
fn read_branch(
    jiter: &mut Jiter<'_>,
    target: &mut RowTarget<'_>,
    branch: usize,
    (peek, depth): (Peek, usize),
) -> Result<(), Fault> {
    for &column in target.paths.columns_below(branch) {
        target.columns[column].values.truncate(target.row);
    }
    match peek {
        Peek::Object => read_object(jiter, target, branch, depth + 1),
        Peek::Null => jiter.known_null().map_err(|error| of_json(&error)),
        other => {
            skip(jiter, other, target.depth_max, depth)?;
            if target.paths.columns_below(branch).iter().all(|&column| target.columns[column].lenient) {
                return Ok(());
            }
            let column = target.paths.columns_below(branch).first().copied().unwrap_or_default();
            Err(Fault::NotAnObjectOnPath(target.columns[column].index))
        }
    }
}

#[inline]
fn read_leaf(
    jiter: &mut Jiter<'_>,
    target: &mut RowTarget<'_>,
    leaf: usize,
    (peek, depth): (Peek, usize),
) -> Result<(), Fault> {
    let columns = &target.paths.leaves[leaf];
    let scalar = match peek {
        Peek::String => Scalar::Text(jiter.known_str().map_err(|error| of_json(&error))?),
        Peek::True | Peek::False => Scalar::Boolean(jiter.known_bool(peek).map_err(|error| of_json(&error))?),
        Peek::Null => {
            jiter.known_null().map_err(|error| of_json(&error))?;
            for &column in columns {
                target.columns[column].values.truncate(target.row);
            }
            return Ok(());
        }
        Peek::Object | Peek::Array if columns.iter().all(|&column| target.columns[column].lenient) => {
            for &column in columns {
                target.columns[column].values.truncate(target.row);
            }
            return skip(jiter, peek, target.depth_max, depth);
        }
        Peek::Object | Peek::Array => {
            let column = columns.first().copied().unwrap_or_default();
            let fault = ValueFault::Found(name_of(peek));
            return Err(Fault::Mistyped(target.columns[column].index, fault));
        }
        number => Scalar::Number(jiter.known_number_bytes(number).map_err(|error| of_json(&error))?),
    };
    for &column in columns {
        let column = &mut target.columns[column];
        if column.values.len() > target.row {
            column.values.truncate(target.row);
        }
        let pushed = push_value(&mut column.values, column.reading, scalar);
        match pushed {
            Err(_) if column.lenient => column.values.truncate(target.row),
            pushed => pushed.map_err(|fault| of_value(column.index, fault))?,
        }
    }
    Ok(())
}

fn check_depth(jiter: &Jiter<'_>, depth_max: usize, depth: usize) -> Result<(), Fault> {
    match depth > depth_max {
        true => Err(Fault::TooDeep { limit: depth_max, position: jiter.current_index() }),
        false => Ok(()),
    }
}

/// Steps over a value that stands in an object or array of that depth.
fn skip(jiter: &mut Jiter<'_>, peek: Peek, depth_max: usize, depth: usize) -> Result<(), Fault> {
    match peek {
        Peek::Object => {
            check_depth(jiter, depth_max, depth + 1)?;
            // Keys are decoded, not only stepped over, because jiter checks their text only then.
            let mut more = jiter.known_object().map_err(|error| of_json(&error))?.is_some();
            while more {
                let peek = jiter.peek().map_err(|error| of_json(&error))?;
                skip(jiter, peek, depth_max, depth + 1)?;
                more = jiter.next_key().map_err(|error| of_json(&error))?.is_some();
            }
            Ok(())
        }
        Peek::Array => {
            check_depth(jiter, depth_max, depth + 1)?;
            let mut next = jiter.known_array().map_err(|error| of_json(&error))?;
            while let Some(peek) = next {
                skip(jiter, peek, depth_max, depth + 1)?;
                next = jiter.array_step().map_err(|error| of_json(&error))?;
            }
            Ok(())
        }
        scalar => jiter.known_skip(scalar).map_err(|error| of_json(&error)),
    }
}
