//! Rules that come late, a store that can not be read for a while, and segments that are damaged.

use super::*;

#[test]
fn a_rule_of_last_rows_begins_where_the_history_does_and_is_whole_once_the_topic_was_read_again() {
    let all = rows(17);
    let (first, rest) = all.split_at(1_500);
    let mut kept = Kept::new(Made::of(&[QUERIES[6]], Order::OnArrival));
    first.chunks(50).for_each(|rows| drop(kept.take(rows)));
    kept.prune();
    assert!(kept.plans().iter().all(|plan| plan.complete && plan.starts.is_some_and(|first| first.0 > 0)));
    // The first rule that asks for rows however old they are.
    kept.made = Made::of(&[QUERIES[6], QUERIES[0]], Order::OnArrival);
    kept.core = kept.made.core();
    let (second, third) = rest.split_at(1_000);
    second.chunks(50).for_each(|rows| drop(kept.take(rows)));
    kept.writer.flush(Duration::from_secs(60)).expect("all is written");
    let before = kept.held();
    kept.prune();
    assert!(kept.held() < before, "old rows go though nobody knows what was before them");
    assert_eq!(carried(kept.folder.path()).len(), 2);
    let payments =
        |kept: &mut Kept| kept.plans().into_iter().filter(|plan| plan.stream == 0).collect::<Vec<_>>();
    let plans = payments(&mut kept);
    assert!(plans.iter().all(|plan| plan.complete && plan.whole_from.is_some()), "{plans:?}");

    let read: Vec<Row> = first.iter().chain(second).cloned().collect();
    kept.read_again(&read);
    kept.prune();
    let plans = payments(&mut kept);
    assert!(plans.iter().all(|plan| plan.complete && plan.whole_from.is_none()), "{plans:?}");
    assert_eq!(carried(kept.folder.path()).len(), 2);
    kept.restart();
    kept.goes_on_as_if(&read, third);
}

#[test]
fn a_carry_over_that_can_not_be_read_now_stays_where_it_is() {
    let mut kept = Kept::new(Made::of(&QUERIES, Order::OnArrival));
    let all = rows(19);
    let (first, rest) = all.split_at(2_000);
    first.chunks(50).for_each(|rows| drop(kept.take(rows)));
    kept.prune();
    let paths = carried(kept.folder.path());
    assert_eq!(paths.len(), 3);
    let bytes: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("a file")).collect();
    for path in &paths {
        std::fs::remove_file(path).expect("a file");
        // Neither there nor gone: opening it fails.
        std::os::unix::fs::symlink(path, path).expect("a link");
    }
    rest.chunks(50).for_each(|rows| drop(kept.take(rows)));
    kept.look();
    assert!(paths.iter().all(|path| path.is_symlink()));
    for (path, bytes) in paths.iter().zip(bytes) {
        std::fs::remove_file(path).expect("a link");
        std::fs::write(path, bytes).expect("a file");
    }
    kept.restart();
}

#[test]
fn a_damaged_segment_keeps_others_only_until_its_rows_were_written_again() {
    let mut kept = Kept::new(Made::of(&QUERIES, Order::OnArrival));
    let all = rows(23);
    let (first, rest) = all.split_at(2_000);
    first.chunks(50).for_each(|rows| drop(kept.take(rows)));
    kept.writer.flush(Duration::from_secs(60)).expect("all is written");
    let files = walk(kept.folder.path());
    let old = |path: &&PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        path.to_string_lossy().contains("/pay/") && name[..20].parse::<i64>().is_ok_and(|from| from < 200)
    };
    let damaged: Vec<&PathBuf> = files.iter().filter(old).step_by(2).collect();
    assert!(damaged.len() > 2, "{files:?}");
    damaged.iter().for_each(|path| std::fs::write(path, b"not Parquet").expect("a file"));
    kept.look();
    let failure = kept.writer.status().last_failure.expect("it says why nothing goes");
    assert!(failure.contains("can't be carried over"), "{failure}");
    assert!(damaged.iter().all(|path| path.exists()));

    kept.read_again(first);
    kept.prune();
    assert!(damaged.iter().all(|path| !path.exists()), "they are old, and their rows stand elsewhere");
    kept.restart();
    kept.goes_on_as_if(first, rest);
}
