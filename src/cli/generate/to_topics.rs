//! Events to Kafka topics, at their own pace or without one.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Arguments;
use super::to_files::{create, stream_named};
use crate::cli::failure::{Exit, Failure};
use crate::cli::feed::Feed;
use crate::cli::service::stop_on_signal;
use crate::cli::terminal::grouped;
use crate::event::SystemClock;
use crate::generate::{Generator, GeneratorSettings, Pace};

pub(super) fn run(
    arguments: &Arguments,
    settings: &GeneratorSettings,
    clock: &SystemClock,
) -> Result<Exit, Failure> {
    let only = arguments.stream.as_deref().map(stream_named).transpose()?;
    let mut labels = arguments.labels.as_deref().map(create).transpose()?;
    let mut generator = Generator::new(settings).map_err(Failure::usage)?;
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(Arc::clone(&stop))?;
    let mut feed = Feed::start(&arguments.brokers.join(","), clock)?;
    if !arguments.as_fast_as_possible {
        feed.keep_pace(Pace::new(settings, arguments.speed_up));
    }
    let (mut made, mut frauds) = (0_u64, 0_u64);
    let Some(mut event) = generator.next() else { return Ok(Exit::Fine) };
    while arguments.goes_on(made, event.event_time, settings.start) && !stop.load(Ordering::Relaxed) {
        if only.is_none_or(|only| only == event.stream) {
            feed.send(&event, &stop)?;
            made += 1;
            if let Some(label) = event.label_json() {
                frauds += 1;
                if let Some(labels) = &mut labels {
                    writeln!(labels, "{label}").map_err(Failure::outside)?;
                }
            }
        }
        generator.next_into(&mut event);
    }
    feed.finish()?;
    eprintln!(
        "{} events, {} of them fraud, to {}",
        grouped(made),
        grouped(frauds),
        arguments.brokers.join(",")
    );
    Ok(Exit::Fine)
}
