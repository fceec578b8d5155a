//! The file sink: one NDJSON file for each destination, or Parquet for alerts.
//!
//! Takes [`Outgoing`] steps, hands on [`Receipt`]s. Keeps up to a buffer of each file; a receipt is given
//! only after the file system confirmed what it covers, so each new one costs a sync a file. Appends: a
//! line that a crash cut short is ended first, so it spoils no other. Alerts in Parquet are durable when
//! their part is complete, so their receipts come as late as that, at the latest with `finish`.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::parquet::AlertParts;
use super::{Destination, OutMessage, Outgoing, Receipt, SinkError, dead_letter};

/// What a file sink is given.
#[derive(Debug, Clone)]
pub struct FileSinkSettings {
    /// Folder for the files, made where it is missing.
    pub folder: PathBuf,
    /// How alerts are written.
    pub alerts: AlertFormat,
    /// Files with a path of their own; all others stand in the folder under the destination's name.
    pub paths: Vec<(Destination, PathBuf)>,
}

/// How alerts are written; all else is NDJSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlertFormat {
    /// `alerts.ndjson`, one alert a line, as it would go to Kafka.
    #[default]
    Ndjson,
    /// `alerts-000001.parquet` and so on.
    Parquet,
}

/// Open files, by destination.
#[derive(Debug)]
pub struct FileSink {
    folder: PathBuf,
    paths: Vec<(Destination, PathBuf)>,
    lines: [Option<LineFile>; Destination::ALL.len()],
    alerts: Option<AlertParts>,
    published: u64,
    handed: u64,
}

#[derive(Debug)]
struct LineFile {
    path: PathBuf,
    writer: BufWriter<File>,
    unsynced: bool,
}

impl FileSink {
    /// Makes the folder; files are made when something goes to them.
    pub fn start(settings: FileSinkSettings) -> Result<Self, SinkError> {
        std::fs::create_dir_all(&settings.folder).map_err(|error| failed(&settings.folder, &error))?;
        let alerts = match settings.alerts {
            AlertFormat::Ndjson => None,
            AlertFormat::Parquet => Some(AlertParts::new(settings.folder.clone())?),
        };
        Ok(Self {
            folder: settings.folder,
            paths: settings.paths,
            lines: Default::default(),
            alerts,
            published: 0,
            handed: 0,
        })
    }

    /// See [`super::Sink::publish`].
    pub fn publish(&mut self, outgoing: &Outgoing) -> Result<(), SinkError> {
        assert!(
            outgoing.step > self.published,
            "step {} was published after step {}",
            outgoing.step,
            self.published
        );
        for message in &outgoing.messages {
            match (&mut self.alerts, message.destination) {
                (Some(parts), Destination::Alerts) => parts.push(message, outgoing.step)?,
                _ => self.write_line(message)?,
            }
        }
        self.published = outgoing.step;
        Ok(())
    }

    /// See [`super::Sink::receipt`]; waits for the file system.
    pub fn receipt(&mut self) -> Result<Option<Receipt>, SinkError> {
        let held = self.alerts.as_ref().and_then(AlertParts::first_step_held);
        let durable = held.map_or(self.published, |step| step - 1);
        if durable <= self.handed {
            return Ok(None);
        }
        for file in self.lines.iter_mut().flatten() {
            file.sync()?;
        }
        self.handed = durable;
        Ok(Some(Receipt::up_to(durable)))
    }

    /// See [`super::Sink::finish`].
    pub fn finish(&mut self) -> Result<Receipt, SinkError> {
        if let Some(parts) = &mut self.alerts {
            parts.complete()?;
        }
        self.receipt()?;
        Ok(Receipt::up_to(self.handed))
    }

    fn write_line(&mut self, message: &OutMessage) -> Result<(), SinkError> {
        let slot = &mut self.lines[message.destination.index()];
        let file = match slot {
            Some(file) => file,
            None => {
                let own = self.paths.iter().find(|(destination, _)| *destination == message.destination);
                let named = || self.folder.join(format!("{}.ndjson", message.destination));
                slot.insert(LineFile::open(own.map_or_else(named, |(_, path)| path.clone()))?)
            }
        };
        file.unsynced = true;
        let written = match message.destination {
            Destination::DeadLetters => writeln!(file.writer, "{}", dead_letter::to_json(message)),
            _ => file
                .writer
                .write_all(message.value.as_deref().unwrap_or(b"null"))
                .and_then(|()| file.writer.write_all(b"\n")),
        };
        written.map_err(|error| failed(&file.path, &error))
    }
}

impl LineFile {
    fn open(path: PathBuf) -> Result<Self, SinkError> {
        let open = || {
            let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path)?;
            if file.metadata()?.len() > 0 {
                let mut last = [0];
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
                if last != *b"\n" {
                    file.write_all(b"\n")?;
                }
            }
            Ok(file)
        };
        let file = open().map_err(|error: std::io::Error| failed(&path, &error))?;
        Ok(Self { path, writer: BufWriter::with_capacity(1 << 18, file), unsynced: false })
    }

    fn sync(&mut self) -> Result<(), SinkError> {
        if !std::mem::take(&mut self.unsynced) {
            return Ok(());
        }
        self.writer
            .flush()
            .and_then(|()| self.writer.get_ref().sync_data())
            .map_err(|error| failed(&self.path, &error))
    }
}

pub(super) fn failed(path: &Path, error: &dyn std::fmt::Display) -> SinkError {
    SinkError::File { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::util::pretty::pretty_format_batches;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

    use super::*;
    use crate::event::{Coordinates, Offset, Partition};

    const ALERT: &str = r#"{"alert_id":"a1","event_id":"tx-1","entity":{"type":"card_id","id":"c1"},"event_time":"2026-11-22T10:15:02.123Z","rule":{"id":"r","version":"9f","severity":"high"},"action":"review","score":35,"reason":"why","values":{"n":9}}"#;

    fn message(destination: Destination, value: &str) -> OutMessage {
        let partition = Partition { topic: Arc::from("payments"), partition: 3 };
        OutMessage {
            destination,
            key: None,
            value: Some(value.as_bytes().to_vec()),
            headers: vec![("tollgate-reason", b"cut short".to_vec())],
            coordinates: Coordinates { partition, offset: Offset(7) },
        }
    }

    fn sink(folder: &Path, alerts: AlertFormat) -> FileSink {
        FileSink::start(FileSinkSettings { folder: folder.to_owned(), alerts, paths: Vec::new() })
            .expect("sink")
    }

    fn read(folder: &Path, name: &str) -> String {
        std::fs::read_to_string(folder.join(name)).expect(name)
    }

    #[test]
    fn each_destination_has_its_file_and_a_line_a_message() {
        let folder = tempfile::tempdir().expect("folder");
        let mut sink = sink(folder.path(), AlertFormat::Ndjson);
        let messages =
            vec![message(Destination::Alerts, ALERT), message(Destination::DeadLetters, "{\"a\":")];
        sink.publish(&Outgoing { step: 1, messages }).expect("published");
        sink.publish(&Outgoing { step: 2, messages: vec![message(Destination::Alerts, "{}")] })
            .expect("published");
        assert_eq!(sink.receipt().expect("receipt").map(Receipt::step), Some(2));
        assert_eq!(sink.receipt().expect("receipt"), None);
        assert_eq!(read(folder.path(), "alerts.ndjson"), format!("{ALERT}\n{{}}\n"));
        assert_eq!(
            read(folder.path(), "dead-letters.ndjson"),
            "{\"reason\":\"cut short\",\"payload\":\"{\\\"a\\\":\"}\n"
        );
    }

    #[test]
    fn a_line_cut_short_by_a_crash_spoils_no_other() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("alerts.ndjson"), "{\"whole\":1}\n{\"cut").expect("written");
        let mut sink = sink(folder.path(), AlertFormat::Ndjson);
        sink.publish(&Outgoing { step: 1, messages: vec![message(Destination::Alerts, "{}")] })
            .expect("published");
        sink.finish().expect("finished");
        assert_eq!(read(folder.path(), "alerts.ndjson"), "{\"whole\":1}\n{\"cut\n{}\n");
    }

    #[test]
    fn alerts_in_parquet_are_durable_when_their_file_is_complete() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("alerts-000004.parquet"), "of an earlier run").expect("written");
        let mut sink = sink(folder.path(), AlertFormat::Parquet);
        sink.publish(&Outgoing { step: 1, messages: Vec::new() }).expect("published");
        sink.publish(&Outgoing { step: 2, messages: vec![message(Destination::Alerts, ALERT)] })
            .expect("published");
        assert_eq!(sink.receipt().expect("receipt").map(Receipt::step), Some(1));
        assert_eq!(sink.finish().expect("finished").step(), 2);
        let file = File::open(folder.path().join("alerts-000005.parquet")).expect("the next number");
        let batches: Vec<_> = ParquetRecordBatchReader::try_new(file, 10)
            .expect("parquet")
            .map(|batch| batch.expect("rows"))
            .collect();
        let table = pretty_format_batches(&batches).expect("table").to_string();
        let row = table.lines().nth(3).expect("a row").split_whitespace().collect::<String>();
        assert_eq!(
            row,
            "|a1|tx-1|card_id|c1|2026-11-22T10:15:02.123Z|r|9f|high|review|why|35.0|{\"n\":9}|payments|3|7|"
        );
    }
}
