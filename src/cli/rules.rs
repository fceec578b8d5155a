//! `rules`: what runs, and a switch for each rule that acts on every instance of the job.
//!
//! A turn of a switch is a record of the audit topic under the rule's id. Every instance follows that topic, so no
//! deploy is needed, a restart reads it again, and who did it stands where everything else stands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{Table, presets};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::job::open_rules;
use super::service::{answer_order, kafka_settings, source_failure};
use super::terminal::{self, Format};
use crate::diagnostic::{render_all, suggest};
use crate::event::{Clock, EventTime, SystemClock};
use crate::rules::{Lock, RuleFiles, Stand, Standings, Switch};
use crate::settings::{Destination, Purpose, Settings};
use crate::source::kafka::{ReadFrom, Side, SourceError, StoredRecord, TopicReader};

/// List the rules of a job, and switch them on and off while it runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate rules ls                                    every rule, its version, and whether it is switched off
  tollgate rules off card-testing --reason 'floods since the sale began'
  tollgate rules on card-testing

A rule that is off makes no alerts and decides nothing; its windows stay filled, so it is exact again at once when it
is switched on. Running instances take a turn up within seconds; it holds over restarts until the other turn.
One that the job stopped, for it cost more than it may in shadow too, is not evaluated and holds no windows: `on` fills
them again.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the rules.
    Ls(List),
    /// Switch a rule on again.
    On(Turn),
    /// Switch a rule off.
    Off(Turn),
}

#[derive(Debug, clap::Args)]
struct List {
    /// The settings file of the job.
    #[arg(long, value_name = "FILE", default_value = "tollgate.toml")]
    config: PathBuf,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Turn {
    /// The rule's id.
    id: String,
    /// The settings file of the job.
    #[arg(long, value_name = "FILE", default_value = "tollgate.toml")]
    config: PathBuf,
    /// Why, for whoever reads the audit.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Who; left out, the name of the user at this machine.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Turn the switch of an id that no rule file and no rules.lock names.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.verb {
        Verb::Ls(arguments) => list(arguments),
        Verb::On(arguments) => turn(arguments, true),
        Verb::Off(arguments) => turn(arguments, false),
    }
}

fn load(config: &Path) -> Result<Settings, Failure> {
    let loaded = Settings::load(config, Purpose::Run).map_err(|findings| {
        eprint!("{}", render_all(&findings, terminal::colour_of_errors()));
        Failure::usage(format!("{} can't be used", config.display()))
    })?;
    Ok(loaded.settings)
}

/// The audit topic of the settings.
pub(super) fn audit_topic(settings: &Settings) -> Option<&str> {
    match &settings.output.audit {
        Some(Destination::Topic(topic)) => Some(topic),
        _ => None,
    }
}

fn turn(arguments: &Turn, on: bool) -> Result<Exit, Failure> {
    let settings = load(&arguments.config)?;
    let Some(topic) = audit_topic(&settings) else {
        return Err(Failure::usage(format!(
            "{} names no audit topic, through which instances hear of a switch: write audit = \"tollgate.audit\" under [output], and restart the job once",
            arguments.config.display()
        )));
    };
    check_known(&settings.job.rules, arguments)?;
    let by = arguments.by.clone().unwrap_or_else(|| {
        let name = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
        name("USER").or_else(|| name("LOGNAME")).unwrap_or_else(|| "unknown".to_owned())
    });
    let clock = SystemClock::start();
    let event = json!({
        "schema": "tollgate.audit/1",
        "what": if on { "rule_on" } else { "rule_off" },
        "at": EventTime(clock.now_micros()).to_string(),
        "job": settings.job.name,
        "rule": arguments.id,
        "by": by,
        "reason": arguments.reason,
    });
    send(&settings, topic, &arguments.id, &event.to_string())?;
    eprintln!(
        "{} is switched {}: running instances take it up within seconds",
        arguments.id,
        if on { "on" } else { "off" }
    );
    Ok(Exit::Fine)
}

/// Refuses an id that nothing names, unless it is asked for. A switch must turn while files are broken or gone, and the
/// rules in force run on, so a header line or a line of the lock is enough.
fn check_known(folder: &Path, arguments: &Turn) -> Result<(), Failure> {
    let mut ids = RuleFiles::open(folder, None).map(|files| files.ids()).unwrap_or_default();
    if let Ok(Some(lock)) = Lock::open(folder) {
        ids.extend(lock.ids().map(str::to_owned));
    }
    if ids.contains(&arguments.id) {
        return Ok(());
    }
    let unknown = format!("no rule of {} has the id {}", folder.display(), arguments.id);
    if arguments.force {
        eprintln!("{unknown}: its switch is turned all the same");
        return Ok(());
    }
    let near = suggest(&arguments.id, ids.iter().map(String::as_str));
    let near = near
        .map_or_else(|| "`tollgate rules ls` lists them".to_owned(), |near| format!("did you mean {near}?"));
    Err(Failure::usage(format!("{unknown}: {near} (--force turns the switch all the same)")))
}

/// Writes one record and waits until the brokers have it.
fn send(settings: &Settings, topic: &str, key: &str, value: &str) -> Result<(), Failure> {
    const WAIT: Duration = Duration::from_secs(30);
    // Without this a topic that is not there would be made, with one copy, or waited for in silence.
    let kafka = kafka_settings(settings);
    TopicReader::open(&kafka, &settings.job.name, topic).map_err(|error| source_failure(&error))?;
    let mut config = kafka
        .client_config(Side::Producer, &settings.job.name, &[])
        .map_err(|error| source_failure(&error))?;
    config.remove("delivery.timeout.ms");
    config.set("message.timeout.ms", "30000");
    let producer: BaseProducer = config.create().map_err(Failure::outside)?;
    producer
        .send(BaseRecord::<str, str>::to(topic).key(key).payload(value))
        .map_err(|(error, _)| Failure::outside(error))?;
    producer
        .flush(WAIT)
        .map_err(|error| Failure::outside(format!("{topic} did not take the switch within 30 s: {error}")))
}

/// An event of the audit topic that is about a job; null where a record is none. Jobs may share the topic, and an
/// event that names none, as once they all did, is for each.
pub(super) fn audited(record: &StoredRecord, job: &str) -> Value {
    let event = record.payload.as_deref().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    event.filter(|event| event["job"].as_str().is_none_or(|named| named == job)).unwrap_or_default()
}

/// The turn of a switch that an event of the audit is; none for any other event.
pub(super) fn turn_of(event: &Value) -> Option<Switch> {
    let to = match event["what"].as_str()? {
        "rule_on" => Stand::On,
        "rule_off" => Stand::Off,
        "rule_quarantined" => Stand::Shadow,
        "rule_stopped" => Stand::Stopped,
        _ => return None,
    };
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    Some(Switch { rule: text("rule"), to, by: text("by"), reason: text("reason"), at: text("at") })
}

fn standings(settings: &Settings) -> Result<Standings, Failure> {
    let mut standings = Standings::default();
    if let Some(topic) = audit_topic(settings) {
        let reader = TopicReader::open(&kafka_settings(settings), &settings.job.name, topic);
        let reader = reader.map_err(|error| source_failure(&error))?;
        let read = reader.read(ReadFrom::Beginning, |record| {
            if let Some(turn) = turn_of(&audited(&record, &settings.job.name)) {
                standings.turn(turn);
            }
            Ok::<(), SourceError>(())
        });
        read.map_err(|error| source_failure(&error))?;
    }
    Ok(standings)
}

fn list(arguments: &List) -> Result<Exit, Failure> {
    use std::io::Write;
    let settings = load(&arguments.config)?;
    let set = open_rules(&settings.job.rules, None, answer_order(&settings))?;
    let standings = standings(&settings)?;
    let mut rules: Vec<_> = set.running().chain(&set.resting).collect();
    rules.sort_by(|a, b| a.header.id.cmp(&b.header.id));
    let mut out = std::io::stdout().lock();
    if arguments.format == Format::Json {
        let rule = |rule: &&crate::rules::Rule| {
            json!({"id": rule.header.id, "version": rule.version, "status": rule.header.status, "title": rule.header.title,
                "shadow_of": rule.header.shadow_of, "owner": rule.header.owner, "switched": standings.turned(&rule.header.id)})
        };
        let document = json!({"ruleset": set.version, "rules": rules.iter().map(rule).collect::<Vec<_>>()});
        return writeln!(out, "{document:#}").map(|()| Exit::Fine).map_err(Failure::outside);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["rule", "version", "status", "switch", "owner", "title"]);
    for rule in rules {
        let header = &rule.header;
        let switch = standings.turned(&header.id).map_or_else(
            || "on".to_owned(),
            |turned| {
                let stands = match turned.to {
                    Stand::Shadow => "SHADOW",
                    Stand::Stopped => "STOPPED",
                    Stand::Off | Stand::On => "OFF",
                };
                let reason =
                    if turned.reason.is_empty() { String::new() } else { format!(": {}", turned.reason) };
                format!("{stands} since {} by {}{reason}", turned.at, turned.by)
            },
        );
        let of = header.shadow_of.as_ref().map(|live| format!(" of {live}")).unwrap_or_default();
        let status = format!("{}{of}", header.status.name());
        table.add_row([&header.id, &rule.version, &status, &switch, &header.owner, &header.title]);
    }
    writeln!(out, "{table}").map_err(Failure::outside)?;
    if set.has_errors() {
        eprintln!("some rules are broken and not listed: see `tollgate check`");
    }
    Ok(Exit::Fine)
}
