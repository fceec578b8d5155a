//! Cities where cards live and pay: position, country, currency, offset from UTC, weight.
//!
//! A table and nothing else. Offsets are those of winter time; daylight saving is left out, which
//! moves a rhythm by an hour and matters to no rule. The last places are paid at in fraud only.

/// A point on the globe in ten-thousandths of a degree (about eleven metres).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) lat: i32,
    pub(super) lon: i32,
}

/// Index into [`CITIES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct City(pub(super) u8);

/// One row of the table.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) country: &'static str,
    pub(super) currency: &'static str,
    pub(super) utc_offset_minutes: i16,
    pub(super) centre: Point,
    /// Share of cards that live here, in parts of the sum.
    pub(super) weight: u16,
}

const fn place(
    country: &'static str,
    currency: &'static str,
    utc_offset_minutes: i16,
    lat: f64,
    lon: f64,
    weight: u16,
) -> Place {
    let centre = Point { lat: (lat * 10_000.0) as i32, lon: (lon * 10_000.0) as i32 };
    Place { country, currency, utc_offset_minutes, centre, weight }
}

/// Cities with cards, then [`UNUSUAL`] without.
#[rustfmt::skip]
pub(super) const CITIES: [Place; 64] = [
    place("DE", "EUR", 60, 52.520, 13.405, 60),   // Berlin
    place("DE", "EUR", 60, 48.137, 11.575, 40),   // Munich
    place("DE", "EUR", 60, 53.551, 9.994, 38),    // Hamburg
    place("DE", "EUR", 60, 50.938, 6.960, 34),    // Cologne
    place("DE", "EUR", 60, 50.110, 8.682, 30),    // Frankfurt
    place("FR", "EUR", 60, 48.857, 2.352, 70),    // Paris
    place("FR", "EUR", 60, 45.764, 4.836, 24),    // Lyon
    place("FR", "EUR", 60, 43.296, 5.370, 22),    // Marseille
    place("GB", "GBP", 0, 51.507, -0.128, 80),    // London
    place("GB", "GBP", 0, 53.481, -2.242, 28),    // Manchester
    place("GB", "GBP", 0, 55.953, -3.188, 16),    // Edinburgh
    place("ES", "EUR", 60, 40.417, -3.703, 42),   // Madrid
    place("ES", "EUR", 60, 41.385, 2.173, 36),    // Barcelona
    place("ES", "EUR", 60, 39.470, -0.376, 14),   // Valencia
    place("IT", "EUR", 60, 41.903, 12.496, 36),   // Rome
    place("IT", "EUR", 60, 45.464, 9.190, 34),    // Milan
    place("IT", "EUR", 60, 40.852, 14.268, 18),   // Naples
    place("NL", "EUR", 60, 52.368, 4.904, 30),    // Amsterdam
    place("NL", "EUR", 60, 51.924, 4.478, 18),    // Rotterdam
    place("BE", "EUR", 60, 50.850, 4.352, 22),    // Brussels
    place("BE", "EUR", 60, 51.219, 4.402, 12),    // Antwerp
    place("AT", "EUR", 60, 48.208, 16.373, 26),   // Vienna
    place("CH", "CHF", 60, 47.377, 8.542, 22),    // Zurich
    place("CH", "CHF", 60, 46.204, 6.143, 12),    // Geneva
    place("PT", "EUR", 0, 38.722, -9.139, 22),    // Lisbon
    place("PT", "EUR", 0, 41.158, -8.629, 10),    // Porto
    place("IE", "EUR", 0, 53.350, -6.260, 20),    // Dublin
    place("DK", "DKK", 60, 55.676, 12.568, 20),   // Copenhagen
    place("SE", "SEK", 60, 59.329, 18.069, 24),   // Stockholm
    place("SE", "SEK", 60, 57.709, 11.975, 10),   // Gothenburg
    place("NO", "NOK", 60, 59.914, 10.752, 18),   // Oslo
    place("FI", "EUR", 120, 60.170, 24.938, 18),  // Helsinki
    place("PL", "PLN", 60, 52.230, 21.012, 34),   // Warsaw
    place("PL", "PLN", 60, 50.065, 19.945, 16),   // Krakow
    place("CZ", "CZK", 60, 50.076, 14.438, 22),   // Prague
    place("HU", "HUF", 60, 47.498, 19.040, 18),   // Budapest
    place("RO", "RON", 120, 44.427, 26.103, 20),  // Bucharest
    place("BG", "EUR", 120, 42.698, 23.322, 12),  // Sofia
    place("GR", "EUR", 120, 37.984, 23.728, 20),  // Athens
    place("HR", "EUR", 60, 45.815, 15.982, 10),   // Zagreb
    place("EE", "EUR", 120, 59.437, 24.754, 8),   // Tallinn
    place("LT", "EUR", 120, 54.687, 25.280, 8),   // Vilnius
    place("LU", "EUR", 60, 49.612, 6.130, 6),     // Luxembourg
    place("TR", "TRY", 180, 41.008, 28.978, 20),  // Istanbul
    place("US", "USD", -300, 40.713, -74.006, 40),// New York
    place("US", "USD", -480, 34.052, -118.244, 26),// Los Angeles
    place("US", "USD", -360, 41.878, -87.630, 18),// Chicago
    place("US", "USD", -300, 25.762, -80.192, 14),// Miami
    place("CA", "CAD", -300, 43.653, -79.383, 16),// Toronto
    place("MX", "MXN", -360, 19.433, -99.133, 10),// Mexico City
    place("BR", "BRL", -180, -23.551, -46.633, 12),// Sao Paulo
    place("ZA", "ZAR", 120, -26.204, 28.047, 6),  // Johannesburg
    place("AE", "AED", 240, 25.205, 55.271, 10),  // Dubai
    place("IN", "INR", 330, 19.076, 72.878, 10),  // Mumbai
    place("SG", "SGD", 480, 1.352, 103.820, 10),  // Singapore
    place("TH", "THB", 420, 13.756, 100.502, 8),  // Bangkok
    place("JP", "JPY", 540, 35.677, 139.650, 12), // Tokyo
    place("KR", "KRW", 540, 37.567, 126.978, 8),  // Seoul
    place("AU", "AUD", 600, -33.869, 151.209, 12),// Sydney
    place("AU", "AUD", 600, -37.814, 144.963, 8), // Melbourne
    place("MA", "MAD", 60, 33.573, -7.590, 6),    // Casablanca
    place("MM", "MMK", 390, 16.841, 96.174, 0),   // Yangon
    place("IR", "IRR", 210, 35.689, 51.389, 0),   // Tehran
    place("KP", "KPW", 540, 39.039, 125.763, 0),  // Pyongyang
];

/// Places of `rules/lists/high_risk_countries.csv`: nobody lives there and genuine cards don't pay there.
pub(super) const UNUSUAL: std::ops::Range<u8> = 61..64;

impl City {
    /// The city's row; an index past the table is the first city.
    pub(super) fn place(self) -> &'static Place {
        CITIES.get(usize::from(self.0)).unwrap_or(&CITIES[0])
    }

    /// Great-circle distance by the haversine formula on a sphere of 6,371 km.
    pub(super) fn distance_km(self, other: City) -> f64 {
        let radians = |value: i32| (f64::from(value) / 10_000.0).to_radians();
        let (here, there) = (self.place().centre, other.place().centre);
        let (lat_here, lat_there) = (radians(here.lat), radians(there.lat));
        let half_lat = (lat_there - lat_here) / 2.0;
        let half_lon = (radians(there.lon) - radians(here.lon)) / 2.0;
        let chord = half_lat.sin().powi(2) + lat_here.cos() * lat_there.cos() * half_lon.sin().powi(2);
        2.0 * 6_371.0 * chord.sqrt().asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn berlin_is_878_km_from_paris() {
        let km = City(0).distance_km(City(5));
        assert!((km - 878.0).abs() < 3.0, "{km}");
    }

    #[test]
    fn nobody_lives_in_an_unusual_place() {
        for (index, place) in CITIES.iter().enumerate() {
            assert_eq!(place.weight == 0, UNUSUAL.contains(&(index as u8)), "{}", place.country);
        }
    }
}
