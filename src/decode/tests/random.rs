//! Random records, whole and damaged.

use super::*;

/// JSON text of a random record of the stream below, and the values that it holds.
struct RandomRecord {
    json: Vec<u8>,
    text: String,
    amount: i128,
    number: i64,
    micros: i64,
}

fn random_record(random: &mut impl Rng) -> RandomRecord {
    let letters: Vec<char> = "abc é\"\\\n\u{1F600}/\u{7f}".chars().collect();
    let text: String =
        (0..random.random_range(0..12)).map(|_| letters[random.random_range(0..letters.len())]).collect();
    let amount = random.random_range(-999_999_999_999..=999_999_999_999_i128);
    let number: i64 = random.random();
    let micros = random.random_range(-62_135_596_800_000_000..=253_402_300_799_999_999_i64);
    let sign = if amount < 0 { "-" } else { "" };
    let mut fields = [
        format!("\"tx_id\":{}", serde_json::to_string(&text).unwrap()),
        format!("\"event_time\":\"{}\"", crate::event::EventTime(micros)),
        format!("\"amount\":{sign}{}.{:02}", amount.abs() / 100, amount.abs() % 100),
        format!("\"nested\":{{\"number\":{number},\"skip\":[{{\"a\":null}}]}}"),
        "\"ignored\":[true,false,{\"b\":1e5}]".to_owned(),
    ];
    for index in (1..fields.len()).rev() {
        fields.swap(index, random.random_range(0..=index));
    }
    RandomRecord { json: format!("{{ {} }}", fields.join(" , ")).into_bytes(), text, amount, number, micros }
}

fn random_stream() -> Decoder {
    let stream =
        stream_of("s", &[("amount", DataType::Decimal128(18, 2), false), ("number", DataType::Int64, true)]);
    decoder(&stream, "[fields]\nnumber = { path = \"nested.number\" }")
}

#[test]
fn valid_records_always_round_trip() {
    let seed = 20_261_124;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let records: Vec<RandomRecord> = (0..3000).map(|_| random_record(&mut random)).collect();
    let payloads: Vec<&[u8]> = records.iter().map(|record| record.json.as_slice()).collect();
    let decoded = decode(random_stream(), &payloads);
    assert_eq!(decoded.dead_letters, vec![]);
    let columns: Vec<ArrayRef> = decoded.streams[0].columns.iter().flatten().cloned().collect();
    for (row, record) in records.iter().enumerate() {
        assert_eq!(columns[0].as_string::<i32>().value(row), record.text);
        assert_eq!(columns[1].as_primitive::<TimestampMicrosecondType>().value(row), record.micros);
        assert_eq!(columns[2].as_primitive::<Decimal128Type>().value(row), record.amount);
        assert_eq!(columns[3].as_primitive::<Int64Type>().value(row), record.number);
        assert_eq!(decoded.rows.event_time[row], record.micros);
    }
}

#[test]
fn damaged_records_are_each_exactly_one_row_or_one_dead_letter() {
    let seed = 20_261_125;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut decoders = Decoders::new(vec![random_stream()]);
    let mut dead = 0;
    for _ in 0..40 {
        let mut payloads = Vec::new();
        for _ in 0..200 {
            let mut json = random_record(&mut random).json;
            for _ in 0..random.random_range(0..3) {
                let at = random.random_range(0..json.len());
                match random.random_range(0..4) {
                    0 => json[at] = random.random(),
                    1 => json.truncate(at.max(1)),
                    2 => drop(json.remove(at)),
                    _ => json.insert(at, b"{}[]\",:0-.eE\\nu"[random.random_range(0..15)]),
                }
                if json.is_empty() {
                    json.push(b'{');
                }
            }
            payloads.push(json);
        }
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let decoded = decoders.decode(Fetched::Records(batch_of(&slices)));
        let mut offsets = decoded.rows.offset.clone();
        offsets.extend(decoded.dead_letters.iter().map(|letter| letter.coordinates.offset.0));
        offsets.sort_unstable();
        assert_eq!(offsets, (0..200).collect::<Vec<i64>>());
        assert!(decoded.dead_letters.iter().all(|letter| letter.kind != "panic"));
        let rows = decoded.rows.event_time.len();
        assert!(decoded.streams[0].columns.iter().flatten().all(|column| column.len() == rows));
        dead += decoded.dead_letters.len();
    }
    assert!(dead > 1000, "the damage must show: {dead}");
}
