//! Dead letters on a real broker: listed, shown as the settings allow, and sent again once.
//!
//! Needs a broker of `tests/kafka/up` in `TOLLGATE_TEST_KAFKA`; each test is skipped without it.

use std::time::Duration;

use rdkafka::message::{Message, OwnedMessage};
use serde_json::Value;
use tollgate::decode::{DeadLetter, Stage};
use tollgate::event::{Coordinates, Offset, Partition};
use tollgate::sink::{KafkaSink, KafkaSinkSettings, Masking, Outgoing, Topics, dead_letter_message};

use crate::broker::{Broker, header};
use crate::scratch::Scratch;

/// A job whose stream reads `payments`, with a topic of dead letters.
struct Job {
    broker: Broker,
    payments: String,
    dead: String,
    scratch: Scratch,
}

impl Job {
    fn new(test: &str, masked: bool) -> Option<Self> {
        let broker = Broker::of_environment(test)?;
        let payments = broker.topic("payments", 2, &[]);
        let dead = broker.topic("dead", 2, &[]);
        let scratch = Scratch::new();
        let settings = format!(
            "[job]\nname = \"{}\"\nrules = \"rules\"\n[kafka]\nbrokers = [\"{}\"]\n[streams.payments]\n\
             topics = [\"{payments}\"]\n[output]\ndead_letters = \"{dead}\"\nmask_dead_letters = {masked}\n",
            broker.name("job"),
            broker.value("KAFKA_PLAINTEXT"),
        );
        scratch.write("tollgate.toml", &settings);
        Some(Self { broker, payments, dead, scratch })
    }

    /// Writes a letter about a record, as the job's sink does; the record's bytes are those of `payments`.
    fn set_aside(&self, topic: &str, place: (i32, i64), stage: Stage, mask: Masking) {
        let partition = Partition { topic: topic.into(), partition: place.0 };
        let found = self.broker.messages(&self.payments);
        let found = found.iter().find(|message| (message.partition(), message.offset()) == place);
        let letter = DeadLetter {
            coordinates: Coordinates { partition, offset: Offset(place.1) },
            timestamp: found.and_then(|message| Some(message.timestamp().to_millis()? * 1000)),
            stage,
            reason: format!("`amount` is missing in {}", place.1),
            kind: "missing",
            rule: None,
            payload: found.and_then(|message| message.payload().map(<[u8]>::to_vec)),
            key: found.and_then(|message| message.key().map(<[u8]>::to_vec)),
        };
        let topics = Topics { dead_letters: self.dead.clone(), ..Topics::default() };
        let settings = KafkaSinkSettings {
            kafka: self.broker.plaintext(),
            client_id: "job".to_owned(),
            topics,
            linger_ms: 0,
        };
        let mut sink = KafkaSink::start(settings).expect("a sink");
        let messages = vec![dead_letter_message(&letter, mask)];
        sink.publish(Outgoing { step: 1, messages }).expect("published");
        sink.finish(Duration::from_secs(30)).expect("delivered");
    }

    /// What a verb printed, and its exit code.
    fn dead_letters(&self, arguments: &str) -> (String, Option<i32>) {
        let printed = self.scratch.shell(&format!("tollgate dead-letters {arguments}"));
        (printed.text, printed.code)
    }

    /// Records of a partition that were sent again.
    fn sent_again(&self, partition: i32) -> Vec<OwnedMessage> {
        let mut messages = self.broker.messages(&self.payments);
        messages.retain(|message| {
            message.partition() == partition && !header(message, "tollgate-redriven-from").is_empty()
        });
        messages
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or(b"(null)")).into_owned()
}

#[test]
fn a_letter_is_listed_shown_and_sent_again_once_with_its_own_bytes() {
    let Some(job) = Job::new("redrive", false) else { return };
    job.broker.produce(&job.payments, 1, &[("card-1", "{}"), ("card-2", "{\"tx_id\": 1}")]);
    job.set_aside(&job.payments, (1, 0), Stage::Decode, Masking::Keep);
    job.set_aside(&job.payments, (1, 1), Stage::Evaluate, Masking::Keep);

    let (listed, code) = job.dead_letters("ls --format ndjson --since 1h");
    assert_eq!(code, Some(0), "{listed}");
    let letters: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(letters.len(), 2, "{listed}");
    assert_eq!((&letters[0]["offset"], &letters[0]["redriven"]), (&Value::from(0), &Value::from(false)));
    assert!(!listed.contains("card-1"), "{listed}");

    let (shown, _) = job.dead_letters(&format!("show {} 1 0", job.payments));
    assert!(shown.contains("key        card-1\npayload    {}\n"), "{shown}");
    let position = &letters[1]["position"];
    let (shown, _) =
        job.dead_letters(&format!("show {} {} --format json", position["partition"], position["offset"]));
    assert!(shown.contains(r#""payload": "{\"tx_id\": 1}""#), "{shown}");

    let (said, code) = job.dead_letters("redrive --dry-run");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 would be sent, 0 sent before"), "{said}");
    assert_eq!(job.sent_again(1).len(), 0);
    let (said, code) = job.dead_letters("redrive");
    assert!(code == Some(0) && said.contains("1 sent, 0 sent before"), "{said}");
    let again = job.sent_again(1);
    assert_eq!(
        (again.len(), text(again[0].key()), text(again[0].payload())),
        (1, "card-1".into(), "{}".into())
    );
    let original = job.broker.messages(&job.payments).remove(0);
    assert_eq!(again[0].timestamp(), original.timestamp());
    let position = &letters[0]["position"];
    assert_eq!(
        header(&again[0], "tollgate-redriven-from"),
        format!("{}/{}/{}", job.dead, position["partition"], position["offset"])
    );

    let (said, _) = job.dead_letters("redrive");
    assert!(said.contains("0 sent, 1 sent before"), "{said}");
    assert_eq!(job.sent_again(1).len(), 1);
    let (listed, _) = job.dead_letters("ls");
    assert!(listed.lines().any(|line| line.contains("decode") && line.contains("yes")), "{listed}");
}

#[test]
fn a_masked_letter_shows_nothing_until_it_is_fetched_and_is_sent_with_the_bytes_of_its_topic() {
    let Some(job) = Job::new("masked", true) else { return };
    job.broker.produce(&job.payments, 0, &[("card-9", "not json")]);
    job.set_aside(&job.payments, (0, 0), Stage::Decode, Masking::Mask);
    let (shown, code) = job.dead_letters(&format!("show {} 0 0", job.payments));
    assert!(code == Some(0) && shown.contains("masked") && !shown.contains("card-9"), "{shown}");
    let (shown, _) = job.dead_letters(&format!("show {} 0 0 --fetch", job.payments));
    assert!(shown.contains("card-9") && shown.contains("not json"), "{shown}");
    let (said, code) = job.dead_letters("redrive");
    assert!(code == Some(0) && said.contains("1 sent"), "{said}");
    assert_eq!(text(job.sent_again(0)[0].payload()), "not json");
}

#[test]
fn what_can_not_be_sent_is_named_and_does_not_keep_the_others_back() {
    let Some(job) = Job::new("missing", true) else { return };
    let foreign = job.broker.topic("foreign", 1, &[]);
    job.broker.produce(&job.payments, 0, &[("card-9", "not json")]);
    job.set_aside(&job.payments, (0, 999), Stage::Decode, Masking::Mask);
    job.set_aside(&foreign, (0, 0), Stage::Decode, Masking::Keep);
    job.set_aside(&job.payments, (0, 0), Stage::Decode, Masking::Mask);
    let (said, code) = job.dead_letters("redrive");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("{}/0/999 is no longer in its topic", job.payments)), "{said}");
    assert!(said.contains(&format!("{foreign}/0/0 is in no topic of this job's streams")), "{said}");
    assert!(said.contains("1 sent, 0 sent before, 2 can't be sent"), "{said}");
    assert_eq!(job.broker.messages(&foreign).len(), 0);
    let (said, code) = job.dead_letters("show 0 12345");
    assert!(code == Some(1) && said.contains("there is no dead letter at"), "{said}");
}
