//! Events to NDJSON files, as fast as they can be written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::Arguments;
use crate::cli::failure::{Exit, Failure};
use crate::cli::terminal::{grouped, progress};
use crate::generate::{Generator, GeneratorSettings, StreamKind};

pub(super) fn run(
    arguments: &Arguments,
    settings: &GeneratorSettings,
    output: &Path,
) -> Result<Exit, Failure> {
    if arguments.events.is_none() && arguments.span.is_none() {
        return Err(Failure::usage("how much? give --events N, or --span 30d of event time"));
    }
    let mut files = open(arguments, output)?;
    let mut labels = arguments.labels.as_deref().map(create).transpose()?;
    let mut generator = Generator::new(settings).map_err(Failure::usage)?;
    let bar = progress(arguments.events.unwrap_or(0), "rows");
    let (mut made, mut frauds) = (0_u64, 0_u64);
    let Some(mut event) = generator.next() else { return Ok(Exit::Fine) };
    while arguments.goes_on(made, event.event_time, settings.start) {
        if let Some(file) = files.get_mut(&event.stream) {
            file.write_all(event.json.as_bytes())
                .and_then(|()| file.write_all(b"\n"))
                .map_err(Failure::outside)?;
            made += 1;
            if let Some(label) = event.label_json() {
                frauds += 1;
                if let Some(labels) = &mut labels {
                    writeln!(labels, "{label}").map_err(Failure::outside)?;
                }
            }
            bar.inc(1);
        }
        generator.next_into(&mut event);
    }
    for file in files.values_mut() {
        file.flush().map_err(Failure::outside)?;
    }
    if let Some(mut labels) = labels {
        labels.flush().map_err(Failure::outside)?;
    }
    bar.finish_and_clear();
    eprintln!("{} events, {} of them fraud, to {}", grouped(made), grouped(frauds), output.display());
    Ok(Exit::Fine)
}

type Files = BTreeMap<StreamKind, Box<dyn Write>>;

/// A file for each stream that is asked for.
fn open(arguments: &Arguments, output: &Path) -> Result<Files, Failure> {
    let one_file = output == Path::new("-") || output.extension().is_some();
    let Some(name) = &arguments.stream else {
        if one_file {
            return Err(Failure::usage("one file holds one stream: add --stream payments, or name a folder"));
        }
        std::fs::create_dir_all(output)
            .map_err(|cause| Failure::outside(format!("{} can't be made: {cause}", output.display())))?;
        let file = |stream: StreamKind| {
            Ok((
                stream,
                Box::new(create(&output.join(format!("{}.ndjson", stream.name())))?) as Box<dyn Write>,
            ))
        };
        return StreamKind::ALL.into_iter().map(file).collect();
    };
    let stream = stream_named(name)?;
    let file: Box<dyn Write> = match () {
        () if output == Path::new("-") => Box::new(BufWriter::new(std::io::stdout())),
        () if one_file => Box::new(create(output)?),
        () => {
            std::fs::create_dir_all(output).map_err(Failure::outside)?;
            Box::new(create(&output.join(format!("{name}.ndjson")))?)
        }
    };
    Ok(Files::from([(stream, file)]))
}

/// The stream of a name; the error lists the choices.
pub(super) fn stream_named(name: &str) -> Result<StreamKind, Failure> {
    StreamKind::ALL.into_iter().find(|stream| stream.name() == name).ok_or_else(|| {
        let names = StreamKind::ALL.map(StreamKind::name);
        Failure::usage(format!("no stream is called {name}: the generator makes {}", names.join(", ")))
    })
}

pub(super) fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    let file = File::create(path)
        .map_err(|cause| Failure::outside(format!("{} can't be written: {cause}", path.display())))?;
    Ok(BufWriter::with_capacity(1 << 20, file))
}
