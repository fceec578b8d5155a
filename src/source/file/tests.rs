//! Sentences about files as sources.

use std::fs;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use tempfile::TempDir;

use super::*;

fn settings(batch_rows: usize) -> FileSettings {
    FileSettings { batch_rows, record_bytes_max: 20, ..FileSettings::default() }
}

/// Writes a file into the folder and names it.
fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn read_all(paths: &[PathBuf], settings: FileSettings) -> Vec<Fetched> {
    let mut source = FileSource::open(paths, 3, settings).unwrap();
    let mut batches = Vec::new();
    while let Some(fetched) = source.next().unwrap() {
        batches.push(fetched);
    }
    assert_eq!(source.bytes_read(), source.bytes_total());
    assert!(source.next().unwrap().is_none());
    batches
}

/// Partition, offset and payload of each record.
fn records(batches: &[Fetched]) -> Vec<(u32, i64, String)> {
    let mut all = Vec::new();
    for fetched in batches {
        let Fetched::Records(batch) = fetched else { panic!("lines are records") };
        for record in &batch.records {
            let payload = batch.slice(record.payload.as_ref()).unwrap();
            all.push((record.partition, record.offset, String::from_utf8_lossy(payload).into_owned()));
        }
    }
    all
}

/// First offset and rows of each batch of columns, fields joined by `|`, null as `-`.
fn rows(batches: &[Fetched]) -> Vec<(i64, Vec<String>)> {
    let printed = batches.iter().map(|fetched| {
        let Fetched::Columns(batch) = fetched else { panic!("CSV and Parquet are columns") };
        let columns: Vec<&StringArray> =
            batch.columns.columns().iter().map(|column| column.as_string()).collect();
        let row = |row: usize| {
            let fields: Vec<&str> = columns
                .iter()
                .map(|column| if column.is_null(row) { "-" } else { column.value(row) })
                .collect();
            fields.join("|")
        };
        (batch.first_offset, (0..batch.columns.num_rows()).map(row).collect())
    });
    printed.collect()
}

#[test]
fn lines_are_records_whatever_ends_them() {
    let folder = TempDir::new().unwrap();
    let first = write(&folder, "a.ndjson", b"\xef\xbb\xbf{\"n\":1}\r\n\n  \n{\"n\":2}\n");
    let second = write(&folder, "b.JSONL", "{\"n\":3}");
    let batches = read_all(&[first.clone(), second], settings(1));
    assert_eq!(batches.len(), 3);
    let expected = [(0, 0, "{\"n\":1}"), (0, 3, "{\"n\":2}"), (1, 0, "{\"n\":3}")];
    let expected: Vec<_> =
        expected.iter().map(|(file, line, text)| (*file, *line, (*text).to_owned())).collect();
    assert_eq!(records(&batches), expected);
    let Fetched::Records(batch) = &batches[0] else { panic!("lines are records") };
    assert_eq!(batch.partitions[0].partition.topic.as_ref(), first.to_string_lossy());
    assert_eq!(batch.partitions[1].stream, 3);
}

#[test]
fn a_line_past_the_limit_is_handed_on_cut_and_the_next_is_whole() {
    let folder = TempDir::new().unwrap();
    let lines = ["x".repeat(20), "y".repeat(21), "z".repeat(300_000), "w".repeat(20), "end".into()];
    for end in ["\n", "\r\n"] {
        let path = write(&folder, "a.ndjson", lines.join(end));
        let read = records(&read_all(&[path], settings(100)));
        let lengths: Vec<usize> = read.iter().map(|(_, _, payload)| payload.len()).collect();
        assert_eq!(lengths, [20, 21, 21, 20, 3]);
        assert_eq!(read[4].2, "end");
    }
}

#[test]
fn a_batch_of_lines_ends_at_its_bytes_too() {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, "a.ndjson", "0123456789\n".repeat(10));
    let settings = FileSettings { batch_bytes_max: 25, ..settings(100) };
    let sizes: Vec<usize> =
        read_all(&[path], settings).iter().map(|batch| records(std::slice::from_ref(batch)).len()).collect();
    assert_eq!(sizes, [3, 3, 3, 1]);
}

#[test]
fn csv_rows_are_columns_of_text_with_quotes_taken_off() {
    let folder = TempDir::new().unwrap();
    let text = "\u{feff}id,\"a \"\"b\"\"\",c\r\n1,\"x, y\",\r\n\r\n2,\"line\nbreak\",\"q\"\"\"\n3,,z";
    let path = write(&folder, "a.csv", text);
    let source = FileSource::open(std::slice::from_ref(&path), 0, settings(2)).unwrap();
    let names: Vec<&str> =
        source.schemas().flat_map(|(_, schema)| schema.fields()).map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "a \"b\"", "c"]);
    let expected = [(0, vec!["1|x, y||-", "2|line\nbreak|q\"|-"]), (2, vec!["3||z|-"])];
    let read = rows(&read_all(&[path], settings(2)));
    assert_eq!(
        read.iter()
            .map(|(first, rows)| (*first, rows.iter().map(String::as_str).collect()))
            .collect::<Vec<(i64, Vec<&str>)>>(),
        expected
    );
}

#[test]
fn a_csv_row_that_can_not_be_taken_apart_keeps_its_place_and_says_why() {
    let folder = TempDir::new().unwrap();
    let long = "l".repeat(30);
    let mut text = format!("a,b\n1,2\n3\n4,5,6\n\"x\"y,1\n{long},1\n").into_bytes();
    text.extend_from_slice(b"\xff,1\n\xc3,\xa9\n8,9\n");
    let path = write(&folder, "a.csv", text);
    let read = rows(&read_all(&[path], settings(100)));
    let expected = [
        "1|2|-",
        "-|-|the row has 1 fields, the header names 2",
        "-|-|the row has 3 fields, the header names 2",
        "-|-|a closing quote is followed by more than a comma",
        "-|-|the row is larger than 20 bytes",
        "-|-|the row is not UTF-8 text",
        "-|-|the row is not UTF-8 text",
        "8|9|-",
    ];
    assert_eq!(read, [(0, expected.iter().map(|row| (*row).to_owned()).collect())]);
}

#[test]
fn a_quote_that_is_never_closed_costs_its_own_line_only() {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, "a.csv", "a,b\n\"1,2\n3,4\n5,6\n7,8\n9,10\n11,12\n13,14\n");
    let read = rows(&read_all(&[path], settings(100)));
    assert_eq!(read[0].1[0], "-|-|a quote is not closed before the row is larger than record_bytes_max");
    assert_eq!(read[0].1[1..], ["3|4|-", "5|6|-", "7|8|-", "9|10|-", "11|12|-", "13|14|-"]);
    let path = write(&folder, "b.csv", "a,b\n1,2\n\"3,4\n5,6");
    let read = rows(&read_all(&[path], settings(100)));
    assert_eq!(read[0].1, ["1|2|-", "-|-|a quote is not closed before the end of the file", "5|6|-"]);
}

#[test]
fn csv_columns_outside_the_projection_are_not_handed_on() {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, "a.csv", "a,b,c\n1,2,3\n");
    let settings =
        FileSettings { projection: Some(vec!["c".into(), "a".into(), "no".into()]), ..settings(9) };
    assert_eq!(rows(&read_all(&[path], settings)), [(0, vec!["1|3|-".to_owned()])]);
}

fn parquet_file(folder: &TempDir, name: &str, rows: std::ops::Range<i64>) -> PathBuf {
    let path = folder.path().join(name);
    let numbers = Arc::new(Int64Array::from_iter_values(rows.clone())) as Arc<dyn Array>;
    let words = Arc::new(StringArray::from_iter_values(rows.map(|row| format!("w{row}"))));
    let batch = RecordBatch::try_from_iter([("n", numbers), ("w", words)]).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(4)).build();
    let file = fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

#[test]
fn parquet_batches_have_their_rows_across_row_groups() {
    let folder = TempDir::new().unwrap();
    let paths = [parquet_file(&folder, "a.parquet", 0..10), parquet_file(&folder, "b.parquet", 10..13)];
    let mut settings = settings(6);
    settings.projection = Some(vec!["n".into()]);
    assert_eq!(FileSource::open(&paths, 0, settings.clone()).unwrap().rows_total(), Some(13));
    let mut read = Vec::new();
    for fetched in read_all(&paths, settings) {
        let Fetched::Columns(batch) = fetched else { panic!("Parquet is columns") };
        assert_eq!(batch.columns.num_columns(), 1);
        let numbers = batch.columns.column(0).as_primitive::<Int64Type>().values().to_vec();
        read.push((batch.partition, batch.first_offset, numbers));
    }
    assert_eq!(read, [(0, 0, (0..6).collect()), (0, 6, (6..10).collect()), (1, 0, vec![10, 11, 12])]);
}

#[test]
fn files_that_can_not_be_read_are_named_before_the_first_row() {
    let folder = TempDir::new().unwrap();
    let refusal = |paths: &[PathBuf]| FileSource::open(paths, 0, settings(1)).unwrap_err().to_string();
    let good = write(&folder, "good.ndjson", "{}");
    assert!(refusal(&[]).starts_with("no input file is named"));
    assert!(refusal(&[good.clone(), folder.path().join("gone.csv")]).contains("gone.csv: No such file"));
    assert!(
        refusal(&[write(&folder, "a.xml", "")]).contains("must be .ndjson, .jsonl, .json, .csv or .parquet")
    );
    assert!(refusal(&[write(&folder, "a.csv", "")]).contains("the file is empty"));
    assert!(refusal(&[write(&folder, "a.csv", "a,a\n")]).contains("column `a` stands twice"));
    assert!(refusal(&[write(&folder, "a.csv", "a,\n")]).contains("column 2 has no name"));
    assert!(refusal(&[write(&folder, "cut.parquet", "PAR1 cut")]).contains("can't be read as Parquet"));
    fs::create_dir(folder.path().join("d.csv")).unwrap();
    assert!(refusal(&[folder.path().join("d.csv")]).contains("is a folder"));
}

#[test]
fn rows_are_known_beforehand_only_where_all_files_say() {
    let folder = TempDir::new().unwrap();
    let paths = [parquet_file(&folder, "a.parquet", 0..10), write(&folder, "b.ndjson", "{}\n")];
    let source = FileSource::open(&paths, 0, settings(1)).unwrap();
    assert_eq!(source.rows_total(), None);
    assert_eq!(source.bytes_read(), 0);
}
