//! Functions that rules may call: DataFusion's, and what fraud rules need beside them.
//!
//! Hands on name tables for the catalog. Functions that read a clock or a dice are refused by name before
//! planning; they stay in no table here, so that nothing can reach them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::planner::ExprPlanner;
use datafusion_expr::{
    AggregateUDF, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    WindowUDF,
};
use ipnet::IpNet;

/// Our own functions, a line each, for help texts.
pub const FUNCTION_NOTES: [(&str, &str); 3] = [
    (
        "distance_km(lat1, lon1, lat2, lon2)",
        "great-circle distance in kilometres between two places in degrees",
    ),
    (
        "ip_in_network(ip, network)",
        "whether an IPv4 or IPv6 address lies in a network such as '10.0.0.0/8'; null if either can't be read",
    ),
    (
        "predict('model', feature, …)",
        "what the tree model in models/ gives for the features; 'model#2' is class 2 of several; null is missing",
    ),
];

/// Scalar functions by every name they answer to; volatile ones left out.
pub(super) fn scalars() -> HashMap<String, Arc<ScalarUDF>> {
    let own = [ScalarUDF::from(DistanceKm::new()), ScalarUDF::from(IpInNetwork::new())].map(Arc::new);
    let all = datafusion_functions::all_default_functions().into_iter().chain(own);
    let repeatable = all.filter(|function| function.signature().volatility == Volatility::Immutable);
    repeatable.flat_map(|function| names(function.name(), function.aliases(), &function)).collect()
}

/// Aggregates, all of which can stand in a window.
pub(super) fn aggregates() -> HashMap<String, Arc<AggregateUDF>> {
    let all = datafusion_functions_aggregate::all_default_aggregate_functions();
    all.into_iter().flat_map(|function| names(function.name(), function.aliases(), &function)).collect()
}

/// Functions that exist only in windows.
pub(super) fn windows() -> HashMap<String, Arc<WindowUDF>> {
    let all = datafusion_functions_window::all_default_window_functions();
    all.into_iter().flat_map(|function| names(function.name(), function.aliases(), &function)).collect()
}

/// Planners of syntax that stands for a function: `EXTRACT`, `POSITION`, `SUBSTRING`, `count(*)`.
pub(super) fn planners() -> Vec<Arc<dyn ExprPlanner>> {
    vec![
        Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
        Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
        Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
        Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
        Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner),
    ]
}

fn names<T>(name: &str, aliases: &[String], function: &Arc<T>) -> Vec<(String, Arc<T>)> {
    std::iter::once(name.to_owned())
        .chain(aliases.iter().cloned())
        .map(|name| (name, Arc::clone(function)))
        .collect()
}

/// `distance_km(lat1, lon1, lat2, lon2)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DistanceKm {
    signature: Signature,
}

impl DistanceKm {
    fn new() -> Self {
        Self { signature: Signature::uniform(4, vec![DataType::Float64], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DistanceKm {
    fn name(&self) -> &'static str {
        "distance_km"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let columns: Vec<&Float64Array> =
            arrays.iter().filter_map(|array| array.as_any().downcast_ref()).collect();
        let [lat1, lon1, lat2, lon2] = columns[..] else {
            return exec_err!("distance_km takes four numbers");
        };
        let distance = |row: usize| {
            let known = columns.iter().all(|column| column.is_valid(row));
            known.then(|| {
                great_circle_km((lat1.value(row), lon1.value(row)), (lat2.value(row), lon2.value(row)))
            })
        };
        Ok(ColumnarValue::Array(Arc::new((0..lat1.len()).map(distance).collect::<Float64Array>())))
    }
}

/// Mean radius of the earth in kilometres (IUGG).
const EARTH_RADIUS_KM: f64 = 6371.0088;

/// Great-circle distance of two places (latitude, longitude in degrees) by the haversine formula
/// (R. W. Sinnott, Virtues of the Haversine, 1984), which stays exact for places close together.
fn great_circle_km(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (lat1, lat2) = (from.0.to_radians(), to.0.to_radians());
    let half_lat = ((lat2 - lat1) / 2.0).sin();
    let half_lon = ((to.1 - from.1).to_radians() / 2.0).sin();
    let haversine = half_lat * half_lat + lat1.cos() * lat2.cos() * half_lon * half_lon;
    2.0 * EARTH_RADIUS_KM * haversine.sqrt().min(1.0).asin()
}

/// `ip_in_network(ip, network)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IpInNetwork {
    signature: Signature,
}

impl IpInNetwork {
    fn new() -> Self {
        Self { signature: Signature::string(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for IpInNetwork {
    fn name(&self) -> &'static str {
        "ip_in_network"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let [address, network] = &arguments.args[..] else {
            return exec_err!("ip_in_network takes two texts");
        };
        let addresses = texts(address, rows)?;
        let constant = match network {
            ColumnarValue::Scalar(value) => value.try_as_str().flatten().map(parse_network),
            ColumnarValue::Array(_) => None,
        };
        let networks = texts(network, rows)?;
        let within = |row: usize| {
            let address: IpAddr = text_at(&addresses, row)?.trim().parse().ok()?;
            let network = constant.unwrap_or_else(|| text_at(&networks, row).and_then(parse_network))?;
            Some(network.contains(&address))
        };
        Ok(ColumnarValue::Array(Arc::new((0..rows).map(within).collect::<BooleanArray>())))
    }
}

fn texts(value: &ColumnarValue, rows: usize) -> Result<ArrayRef> {
    Ok(cast(&value.to_array(rows)?, &DataType::Utf8)?)
}

fn text_at(array: &ArrayRef, row: usize) -> Option<&str> {
    let texts = array.as_any().downcast_ref::<StringArray>()?;
    texts.is_valid(row).then(|| texts.value(row))
}

/// A network, or a single address as the network of itself.
fn parse_network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_agree_with_published_ones() {
        let london_to_new_york = great_circle_km((51.5074, -0.1278), (40.7128, -74.0060));
        assert!((london_to_new_york - 5570.2).abs() < 1.0, "{london_to_new_york}");
        assert!(great_circle_km((10.0, 20.0), (10.0, 20.0)).abs() < f64::EPSILON);
        let half_around = great_circle_km((0.0, 0.0), (0.0, 180.0));
        assert!((half_around - std::f64::consts::PI * EARTH_RADIUS_KM).abs() < 1e-6);
    }

    #[test]
    fn networks_are_read_with_or_without_a_prefix() {
        let inside = |address: &str, network: &str| {
            parse_network(network).map(|net| net.contains(&address.parse::<IpAddr>().unwrap()))
        };
        assert_eq!(inside("10.1.2.3", "10.0.0.0/8"), Some(true));
        assert_eq!(inside("11.1.2.3", "10.0.0.0/8"), Some(false));
        assert_eq!(inside("2001:db8::1", "2001:db8::/32"), Some(true));
        assert_eq!(inside("10.1.2.3", "10.1.2.3"), Some(true));
        assert_eq!(inside("10.1.2.3", "nowhere"), None);
    }

    #[test]
    fn nothing_that_reads_a_clock_or_a_dice_can_be_called() {
        let scalars = scalars();
        for name in ["now", "current_date", "current_time", "random", "uuid"] {
            assert!(!scalars.contains_key(name), "{name}");
        }
        assert!(scalars.contains_key("date_trunc") && scalars.contains_key("distance_km"));
    }
}
