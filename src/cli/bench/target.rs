//! What is measured: the job, or something bare beside it, each in a process of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::broker::Bench;
use super::{Arguments, DeliveryArgument, Failure};
use crate::metrics::process::use_of;

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The deployed job.
    Job,
    /// Poll, produce; exactly-once in transactions.
    Echo,
    /// Poll, parse; one record in a hundred goes on, so that it can be seen to work.
    Consumer,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Echo => "echo",
            Self::Consumer => "consumer",
        }
    }

    /// Names of the topics that it reads and writes.
    pub(super) fn topics(self) -> [&'static str; 2] {
        match self {
            Self::Job => ["payments", "alerts"],
            Self::Echo => ["echo-in", "echo-out"],
            Self::Consumer => ["consumer-in", "consumer-out"],
        }
    }

    /// How it is called on the command line of `--serve`.
    fn serving(self, delivery: DeliveryArgument) -> &'static str {
        match (self, delivery) {
            (Self::Consumer, _) => "consumer",
            (_, DeliveryArgument::ExactlyOnce) => "ring",
            _ => "echo",
        }
    }
}

macro_rules! velocity {
    ($($file:literal),*) => {
        [$(($file, include_str!(concat!("../../../benches/peers/velocity/", $file)))),*]
    };
}

/// The contract and the six rules of the comparison with other engines.
const VELOCITY: [(&str, &str); 7] =
    velocity!("schema.sql", "r1.sql", "r2.sql", "r3.sql", "r4.sql", "r5.sql", "r6.sql");

/// A quarter of the events hit it, so that a short run has alerts enough.
const PROBE: &str = "-- @id: probe\n-- @title: A payment of some size\n-- @status: live\n-- @severity: low\n-- @score: 0\n\
                     -- @reason: \"payment {tx_id}\"\n-- @owner: benches\n\nSELECT tx_id FROM payments WHERE amount > 60";

/// A running target; ends with it.
pub(super) struct Target {
    pub(super) kind: Kind,
    process: Child,
    folder: PathBuf,
}

impl Target {
    /// Starts it.
    pub(super) fn start(kind: Kind, bench: &Bench, arguments: &Arguments) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("{}-{}", bench.name(), kind.name()));
        let place = folder.display().to_string();
        let written =
            |cause: std::io::Error| Failure::outside(format!("{place} can't be written to: {cause}"));
        std::fs::create_dir_all(folder.join("rules")).map_err(&written)?;
        for (file, text) in VELOCITY.iter().chain([&("probe.sql", PROBE)]) {
            // Each of them ends with its condition. Windows do the same work; only fewer rows hit.
            let every = arguments.alert_every;
            let thinned =
                if *file == "schema.sql" { String::new() } else { format!(" AND tx_id % {every} = 0\n") };
            let text = format!("{}{thinned}", text.trim_end());
            std::fs::write(folder.join("rules").join(file), text).map_err(&written)?;
        }
        std::fs::write(folder.join("tollgate.toml"), settings(bench, arguments)).map_err(&written)?;
        let log = std::fs::File::create(folder.join("log")).map_err(&written)?;
        let program = std::env::current_exe().map_err(Failure::outside)?;
        let mut command = Command::new(program);
        match kind {
            Kind::Job => command.args(["run", "--config"]).arg(folder.join("tollgate.toml")),
            Kind::Echo | Kind::Consumer => command
                .args(["bench", "--serve", kind.serving(arguments.delivery), &bench.brokers])
                .args(kind.topics().map(|topic| bench.topic(topic)))
                .arg(arguments.commit_interval().to_string())
                .arg(arguments.alert_every.to_string()),
        };
        let process = command
            .env("NO_COLOR", "1")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(Failure::outside)?;
        Ok(Self { kind, process, folder })
    }

    /// Processor seconds used so far, the most memory held, and the events sent by then.
    pub(super) fn used(&self, sent: u64) -> (f64, f64, u64) {
        let (seconds, bytes) = use_of(self.process.id()).unwrap_or_default();
        (seconds, bytes, sent)
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.lines().last().unwrap_or("it said nothing").to_owned()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.process.id().to_string()).status();
        if asked.is_err() {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn settings(bench: &Bench, arguments: &Arguments) -> String {
    let topic = |name: &str| bench.topic(name);
    format!(
        "[job]\nname = \"{}\"\ndelivery = \"{}\"\ncommit_interval = \"{}\"\n[kafka]\nbrokers = [{}]\n\
         [streams.payments]\ntopics = [\"{}\"]\ntopic_key = \"card_id\"\nstart = \"latest\"\nwarm_up = \"none\"\n\
         [output]\nalerts = \"{}\"\nshadow = \"{}\"\ndead_letters = \"{}\"\n[http]\nlisten = \"off\"\n",
        bench.name(),
        arguments.delivery.name(),
        arguments.commit_interval(),
        bench.brokers.split(',').map(|broker| format!("{broker:?}")).collect::<Vec<_>>().join(", "),
        topic("payments"),
        topic("alerts"),
        topic("shadow"),
        topic("dead"),
    )
}
