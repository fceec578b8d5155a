//! Stands for [`super::onnx`] where the program is built without that feature: there is no graph then.

use arrow::array::Float64Array;

use super::Model;

/// No value.
#[derive(Debug, Clone)]
pub(super) enum Graph {}

pub(super) fn parse(_: &[u8]) -> Result<Model, String> {
    Err("this program reads no ONNX: build it with `cargo build --release --features onnx`".to_owned())
}

impl Graph {
    pub(super) fn predict(&self, _: &[&Float64Array]) -> Result<Vec<f64>, String> {
        match *self {}
    }
}
