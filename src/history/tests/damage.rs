//! Whatever is done to the files, loaded rows are rows that were written, and none that is claimed is missing.

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::model::*;
use crate::event::Offset;
use crate::history::{History, Identity, Plan, SegmentName};

/// Objects by name, as a history left them.
type Objects = Vec<(Path, Bytes)>;

fn objects(history: &History) -> Objects {
    let listed = history.objects.list(&Path::from("root")).unwrap();
    let paths = listed.into_iter().map(|object| object.location);
    let mut all: Objects =
        paths.map(|path| (path.clone(), history.objects.get(&path).unwrap().unwrap())).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn restored(objects: &Objects) -> History {
    let history = open(Arc::new(InMemory::new()));
    for (path, bytes) in objects {
        history.objects.put(path, bytes.clone()).unwrap();
    }
    history
}

fn recorded(identity: &Identity, rows: &[Row], of: usize) -> History {
    let history = History::on(Arc::new(InMemory::new()), Path::from("root"), identity).unwrap();
    write_in_segments(&history, rows, of);
    history
}

/// One change to one of the segments; the files of `others` may be put in its place.
fn damage(objects: &mut Objects, others: &Objects, random: &mut ChaCha8Rng) -> String {
    let segments: Vec<usize> =
        (0..objects.len()).filter(|at| objects[*at].0.extension() == Some("parquet")).collect();
    let Some(at) = segments.get(random.random_range(0..segments.len().max(1))).copied() else {
        return "nothing is left".into();
    };
    let (path, bytes) = objects[at].clone();
    let mut changed = bytes.to_vec();
    let other = random.random_range(0..others.len());
    let (other_path, other_bytes) = others[other].clone();
    let what = match random.random_range(0..10) {
        0 => {
            let place = random.random_range(0..changed.len());
            changed[place] ^= 1 << random.random_range(0..8);
            "a bit is flipped"
        }
        1 => {
            changed.truncate(random.random_range(0..changed.len()));
            "it is truncated"
        }
        2 => {
            changed.extend_from_slice(b"PAR1");
            "bytes are appended"
        }
        3 => {
            objects.remove(at);
            return format!("{path} is deleted");
        }
        4 => {
            changed = other_bytes.to_vec();
            "its content is another file's"
        }
        5 => {
            // The other file under its own name, in this one's folder.
            let folder = path.parts().take(4).fold(Path::default(), |path, part| path.join(part));
            objects[at] = (folder.join(other_path.filename().unwrap()), other_bytes);
            return format!("{path} is {other_path}");
        }
        6 => {
            let mut name = SegmentName::parse(path.filename().unwrap()).unwrap();
            let by = random.random_range(1..20);
            match random.random_range(0..4) {
                0 => name.to = Offset(name.to.0 + by),
                1 => name.from = Offset((name.from.0 - by).max(0)),
                2 => name.floor = i64::MIN,
                _ => name.times = name.times.map(|(first, last)| (first, last + by)),
            }
            let folder = path.parts().take(4).fold(Path::default(), |path, part| path.join(part));
            objects[at] = (folder.join(name.to_string()), bytes);
            return format!("{path} is renamed to {name}");
        }
        7 => {
            let swapped = segments[random.random_range(0..segments.len())];
            let content = objects[swapped].1.clone();
            objects[swapped].1 = bytes;
            changed = content.to_vec();
            "its content is swapped"
        }
        8 => {
            let from = random.random_range(0..changed.len());
            let to = random.random_range(from..changed.len());
            changed[from..=to].fill(0);
            "a part of it is zeroes"
        }
        _ => {
            let from = random.random_range(0..changed.len());
            changed.drain(from..(from + 16).min(bytes.len()));
            "bytes are missing in it"
        }
    };
    objects[at].1 = changed.into();
    format!("{path}: {what}")
}

/// The plan keeps its word, and whatever is loaded is right.
fn holds(history: &History, rows: &[Row], plan: &Plan, since: i64, until: i64) -> Result<(), String> {
    let loaded = load(history, vec![plan.clone()]);
    let index = partitions().iter().position(|known| known.partition == plan.place.partition).unwrap() as u32;
    let (starts, reaches) = match (plan.starts, plan.reaches) {
        (Some(starts), Some(reaches)) => (starts.0, reaches.0),
        _ if loaded.is_empty() && !plan.complete => return Ok(()),
        _ => return Err("rows, or complete, without any coverage".into()),
    };
    let own = rows.iter().filter(|row| row.partition == index && row.offset < reaches);
    let inside: Vec<&Row> = own.clone().filter(|row| row.offset >= starts).collect();
    if reaches > until {
        return Err(format!("it reaches {reaches}, past {until}"));
    }
    if let Some(wrong) = loaded.iter().find(|row| !inside.contains(row)) {
        return Err(format!("{wrong:?} was not written, or not there"));
    }
    if !loaded.windows(2).all(|pair| pair[0].offset < pair[1].offset) {
        return Err("rows are loaded twice or out of order".into());
    }
    let needed = |row: &&&Row| row.time >= since;
    if let Some(lost) = inside.iter().copied().filter(|row| needed(&row)).find(|row| !loaded.contains(row)) {
        return Err(format!("{lost:?} is missing inside of the coverage"));
    }
    let before = own.clone().find(|row| row.time >= since && row.offset < starts);
    match before {
        Some(row) if plan.complete => Err(format!("it says complete, and lacks {row:?}")),
        _ => Ok(()),
    }
}

#[test]
fn five_hundred_random_damages_are_detected_or_harmless() {
    let rows = interleaved(450);
    let good = objects(&recorded(&identity(), &rows, 45));
    let foreign = Identity { cluster: "other".into(), ..identity() };
    // The same offsets with other contents: another cluster's, and those of an earlier topic of that name.
    let strange: Vec<Row> =
        rows.iter().map(|row| Row { time: row.time + 3, text: Some("x".into()), ..row.clone() }).collect();
    let mut others = objects(&recorded(&foreign, &strange, 45));
    others.extend(good.clone());
    others.retain(|(path, _)| path.extension() == Some("parquet"));
    let seed = 0x7011_6a7e;
    println!("seed {seed:#x}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut found = 0;
    for round in 0..500 {
        let mut files = good.clone();
        let count = random.random_range(1..=3);
        let done: Vec<String> = (0..count).map(|_| damage(&mut files, &others, &mut random)).collect();
        let history = restored(&files);
        let last = 160;
        for index in 0..3 {
            let until = random.random_range(1..=last);
            let since = *[i64::MIN, random.random_range(0..last) * 1_000].get(round % 2).unwrap();
            let plan = plan(&history, index, until, since);
            found += plan.unusable.len();
            if let Err(wrong) = holds(&history, &rows, &plan, since, until) {
                panic!(
                    "round {round}, partition {index}, until {until}, since {since}: {wrong}\n{done:#?}\n{plan:#?}"
                );
            }
        }
    }
    assert!(found > 200, "only {found} damages were met");
}

#[test]
fn a_file_that_changes_between_plan_and_load_is_an_error_and_no_row() {
    let rows: Vec<Row> = (0..30).map(|offset| row(0, offset)).collect();
    let history = recorded(&identity(), &rows, 10);
    let planned = plan(&history, 0, 30, i64::MIN);
    let (path, bytes) = objects(&history)
        .into_iter()
        .find(|(path, _)| path.as_ref().contains("-00000000000000000020."))
        .unwrap();
    let mut changed = bytes.to_vec();
    changed[100] ^= 1;
    history.objects.put(&path, changed.into()).unwrap();
    let loaded: Vec<_> =
        history.load(vec![planned.clone()], &contract(), &all_used(), partitions()).unwrap().collect();
    assert!(matches!(loaded.last(), Some(Err(crate::history::HistoryError::Changed { .. }))));
    history.objects.delete(&path).unwrap();
    let mut loaded = history.load(vec![planned], &contract(), &all_used(), partitions()).unwrap();
    assert!(loaded.any(|batch| matches!(batch, Err(crate::history::HistoryError::Changed { .. }))));
    let again = plan(&history, 0, 30, i64::MIN);
    assert_eq!((again.reaches, again.complete), (Some(Offset(10)), true));
}

#[test]
fn verify_names_each_file_that_does_not_hold() {
    let rows: Vec<Row> = (0..40).map(|offset| row(0, offset)).collect();
    let history = recorded(&identity(), &rows, 10);
    let files = objects(&history);
    let segments: Vec<&(Path, Bytes)> =
        files.iter().filter(|(path, _)| path.filename() != Some("history.json")).collect();
    history.objects.put(&segments[1].0, segments[2].1.clone()).unwrap();
    history.objects.put(&Path::from("root/pay/1/0/notes.txt"), Bytes::from_static(b"x")).unwrap();
    // The same offsets with other rows, from another run.
    let other: Vec<Row> = (30..40).map(|offset| Row { mcc: Some(1234), ..row(0, offset) }).collect();
    write_in_segments(&history, &other, 10);
    let faults: Vec<String> =
        history.verify().unwrap().findings.into_iter().map(|finding| finding.fault).collect();
    let met = |part: &str| faults.iter().filter(|fault| fault.contains(part)).count();
    assert_eq!(
        (met("not the name of a segment"), met("checksum"), met("differ from those of"), faults.len()),
        (1, 1, 1, 3),
        "{faults:#?}"
    );
}
