//! Sentences about the whole of `settings`: what loads, and what each fault says.

use super::*;
use crate::diagnostic::{Colour, Diagnostic, render_all};
use crate::event::EventTime;

const LEAST: &str = "[job]\nname = \"fraud\"\n";

fn parse_for(text: &str, purpose: Purpose) -> Result<Loaded, Vec<Diagnostic>> {
    let variables = [("PASSWORD", "hunter2"), ("BROKERS", "a:1,b:2")];
    let surroundings = Surroundings {
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        folder: PathBuf::from("/etc/tollgate"),
    };
    Settings::parse("tollgate.toml", text, &surroundings, purpose)
}

fn loads(text: &str) -> Settings {
    match parse_for(text, Purpose::Inspect) {
        Ok(loaded) => loaded.settings,
        Err(faults) => panic!("{}", render_all(&faults, Colour::Off)),
    }
}

/// The faults of a text as printed lines, each with its help.
fn faults(text: &str) -> Vec<String> {
    let faults = parse_for(text, Purpose::Inspect).expect_err("the text has a fault");
    lines(&faults)
}

fn lines(findings: &[Diagnostic]) -> Vec<String> {
    let help = |finding: &Diagnostic| finding.help.as_ref().map(|help| format!(" | {help}"));
    findings.iter().map(|finding| format!("{finding}{}", help(finding).unwrap_or_default())).collect()
}

/// The only fault of a text.
fn fault(text: &str) -> String {
    let mut all = faults(text);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// The only fault of a value put into a section.
fn fault_in(section: &str, line: &str) -> String {
    match section {
        "job" => fault(&format!("{LEAST}{line}\n")),
        _ => fault(&format!("{LEAST}[{section}]\n{line}\n")),
    }
}

#[test]
fn the_least_file_has_a_name_and_all_documented_defaults() {
    let settings = loads(&format!("{LEAST}[streams.payments]\ntopics = [\"payments\"]\n"));
    let job = &settings.job;
    assert_eq!(job.rules, PathBuf::from("/etc/tollgate/rules"));
    assert_eq!((job.delivery, job.emit), (Delivery::ExactlyOnce, Emit::OnArrival));
    assert_eq!((job.commit_interval, job.instances), (Span(50_000), NonZeroUsize::MIN));
    assert_eq!(settings.kafka, KafkaSettings::default());
    let stream = &settings.streams["payments"];
    assert_eq!((stream.lateness, stream.repeats), (Span::seconds(5), Span::seconds(3600)));
    assert_eq!((stream.idle_after, stream.start), (Span::seconds(10), Start::Latest));
    assert_eq!((stream.format, stream.generation), (WireFormat::Json, 1));
    assert_eq!(stream.warm_up, WarmUp::LongestWindow);
    let output = &settings.output;
    assert_eq!(output.alerts, Destination::Topic("tollgate.alerts".into()));
    assert_eq!(output.shadow, Destination::Topic("tollgate.shadow".into()));
    assert_eq!(output.dead_letters, Destination::Topic("tollgate.dead-letters".into()));
    assert!(!output.mask_dead_letters);
    assert_eq!(settings.limits, LimitSettings::default());
    assert_eq!(job.grace, Span::seconds(20));
    assert_eq!(settings.http.listen, Some(SocketAddr::from(([127, 0, 0, 1], 9090))));
}

#[test]
fn http_can_be_off_and_a_grace_can_be_set() {
    let settings = loads(&format!("{LEAST}grace = \"2m\"\n[http]\nlisten = \"off\"\n"));
    assert_eq!((settings.http.listen, settings.job.grace), (None, Span::seconds(120)));
}

#[test]
fn the_example_file_runs_as_it_is() {
    let text = include_str!("../../tollgate.toml");
    let loaded = parse_for(text, Purpose::Run).unwrap_or_else(|faults| panic!("{:#?}", lines(&faults)));
    assert_eq!(lines(&loaded.warnings), Vec::<String>::new());
    assert_eq!(loaded.settings.streams.len(), 3);
    assert_eq!(loaded.settings.limits, LimitSettings::default());
}

/// Takes the comment off each line of the example that is a key, a section, or an entry.
fn example_uncommented() -> String {
    let key =
        |line: &str| line.contains(" = ") && !line.starts_with(char::is_uppercase) && !line.contains(": ");
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with('[') || key(rest.split(" #").next().unwrap_or(rest)) => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    let text = include_str!("../../tollgate.toml");
    let text = text.replace("${env:KAFKA_USER}", "${env:BROKERS}");
    let text = text.replace("${file:/run/secrets/kafka-password}", "${env:PASSWORD}");
    text.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_file_shows_every_key_with_its_default() {
    let text = example_uncommented();
    let loaded = parse_for(&text, Purpose::Run).unwrap_or_else(|faults| panic!("{:#?}", lines(&faults)));
    assert_eq!(loaded.settings.streams["payments"].fields["amount"].minor_units, Some(2));
    for key in KEYS.iter().filter(|key| key.name != "fields") {
        let shown = match key.default {
            KeyDefault::Is(value) if key.name != "start" => format!("{} = {value}", key.name),
            _ => key.name.to_owned(),
        };
        assert!(text.contains(&shown), "the example does not show `{shown}`");
    }
}

#[test]
fn every_documented_key_takes_its_documented_default() {
    for key in KEYS {
        let KeyDefault::Is(value) = key.default else { continue };
        let section = key.section.replacen('*', "payments", 1);
        let topics = if section.starts_with("streams") { "topics = [\"payments\"]\n" } else { "" };
        let text = match key.section {
            "job" => format!("{LEAST}{} = {value}\n", key.name),
            _ => format!("{LEAST}[{section}]\n{topics}{} = {value}\n", key.name),
        };
        let without = match key.section {
            "job" => LEAST.to_owned(),
            _ => format!("{LEAST}[{section}]\n{topics}"),
        };
        assert_eq!(loads(&text), loads(&without), "{}.{}", key.section, key.name);
    }
}

#[test]
fn the_published_shape_of_all_settings_is_accepted() {
    let text = r#"
        [job]
        name = "fraud-prod"
        rules = "rules"
        delivery = "exactly_once"
        commit_interval = "50ms"
        emit = "on_arrival"
        instances = 1
        [kafka]
        brokers = ["kafka:9092"]
        [kafka.properties]
        "sasl.password" = "${env:PASSWORD}"
        [streams.transactions]
        topics = ["payments"]
        topic_key = "card_id"
        format = "json"
        start = "latest"
        warm_up = "longest_window"
        lateness = "5s"
        [streams.transactions.fields]
        amount = { path = "payment.amountMinor", minor_units = 2 }
        event_time = { path = "createdAt", unit = "ms" }
        [output]
        alerts = "tollgate.alerts"
        decisions = "tollgate.decisions"
        decide = "all"
        shadow = "tollgate.shadow"
        dead_letters = "tollgate.dead-letters"
        audit = "tollgate.audit"
        [history]
        url = "file:///var/lib/tollgate"
        [limits]
        memory = "4GiB"
        future = "5m"
        [http]
        listen = "127.0.0.1:9090""#;
    let loaded = parse_for(text, Purpose::Inspect).unwrap_or_else(|faults| panic!("{:#?}", lines(&faults)));
    assert_eq!(loaded.settings.job.delivery, Delivery::ExactlyOnce);
    let event_time = &loaded.settings.streams["transactions"].fields["event_time"];
    assert_eq!(
        (event_time.path.as_deref(), event_time.unit),
        (Some("createdAt"), Some(TimeUnit::Milliseconds))
    );
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.settings.output.decisions, Some(Destination::Topic("tollgate.decisions".to_owned())));
}

#[test]
fn all_faults_of_a_file_are_reported_at_once_in_its_order() {
    let text = "[job]\nrulez = \"rules\"\ncommit_interval = \"50\"\n[kafka]\nbrokers = \"kafka:9092\"\n\
                [kafka.properties]\n\"group.id\" = \"x\"\n[streams.payments]\nformat = \"xml\"\n[outputs]\n";
    let found = faults(text);
    let starts = [
        "tollgate.toml:1:2: error: `job.name` is missing",
        "tollgate.toml:2:1: error: `[job]` has no key `rulez`",
        "tollgate.toml:3:19: error: `job.commit_interval` must be a length of time, not `50`",
        "tollgate.toml:5:11: error: `kafka.brokers` must be a list of at least one text, not `kafka:9092`",
        "tollgate.toml:7:1: error: the property `group.id` is refused",
        "tollgate.toml:8:10: error: `streams.payments.topics` is missing",
        "tollgate.toml:9:10: error: `streams.payments.format` must be \"json\", not `xml`",
        "tollgate.toml:10:2: error: the settings file has no key `outputs`",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (line, start) in found.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\nshould start with\n{start}");
    }
}

#[test]
fn an_unknown_key_is_shown_with_a_caret_the_valid_keys_and_the_one_meant() {
    let faults =
        parse_for("[job]\nname = \"x\"\ncommit_intervall = \"1s\"", Purpose::Inspect).expect_err("fault");
    let drawn = render_all(&faults, Colour::Off);
    for part in [
        "`[job]` has no key `commit_intervall`",
        "tollgate.toml:3:1",
        "3 │ commit_intervall = \"1s\"",
        "────────┬───────",
        "did you mean `commit_interval`? valid keys: `name`, `rules`, `delivery`, `commit_interval`, `emit`, `instances`, `grace`",
    ] {
        assert!(drawn.contains(part), "{part} is missing in\n{drawn}");
    }
}

#[test]
fn a_key_in_the_wrong_section_is_told_where_it_belongs() {
    assert!(fault_in("kafka", "commit_interval = \"1s\"").contains("`commit_interval` belongs in `[job]`"));
    assert!(fault_in("limits", "lateness = \"1s\"").contains("`lateness` belongs in `[streams.*]`"));
}

#[test]
fn an_unknown_section_is_told_the_valid_ones() {
    assert!(
        fault_in("job", "[stream.payments]").contains("did you mean `streams`? valid keys: `job`, `kafka`")
    );
}

#[test]
fn each_kind_of_wrong_value_says_what_the_key_takes() {
    for (section, line, says) in [
        (
            "job",
            "commit_interval = 50",
            "must be a length of time, not the number 50 | write a whole number and a unit",
        ),
        ("job", "commit_interval = \"2m\"", "must be from \"0s\" to \"1m\", not `2m`"),
        (
            "job",
            "emit = \"in-order\"",
            "must be \"on_arrival\" or \"in_order\", not `in-order` | did you mean \"in_order\"?",
        ),
        ("job", "emit = true", "must be \"on_arrival\" or \"in_order\", not `true`"),
        ("job", "instances = 0", "must be a whole number from 1 to 10000, not the number 0"),
        ("job", "instances = \"2\"", "must be a whole number from 1 to 10000, not `2`"),
        ("job", "rules = [\"a\"]", "must be a path, not a list"),
        ("kafka", "brokers = []", "must be a list of at least one text, not an empty list"),
        ("kafka", "brokers = [\"kafka:port\"]", "must be a broker's address, not `kafka:port`"),
        ("kafka", "brokers = [9092]", "must be a broker's address, not the number 9092"),
        (
            "kafka",
            "properties = 5",
            "must be a section, not the number 5 | write it as a section: [kafka.properties]",
        ),
        ("streams", "payments = [\"payments\"]", "must be a section, not a list"),
        ("limits", "memory = \"4 gigs\"", "must be a size, not `4 gigs`"),
        ("limits", "memory = 4096", "must be a size, not the number 4096"),
        ("limits", "batch_bytes_max = \"0B\"", "must be more than nothing, not `0B`"),
        ("limits", "threads = 1.5", "must be a whole number from 1 to 1024, not the number 1.5"),
        (
            "limits",
            "batch_rows_max = 99999999999999999999",
            "from 1 to 1000000, not the number 99999999999999999999",
        ),
        ("output", "alerts = \"file:a.csv\"", "must be a file whose ending names its format"),
        ("output", "alerts = \"my topic\"", "must be the name of a topic, not `my topic` | use 1 to 249"),
        (
            "output",
            "mask_dead_letters = \"yes\"",
            "must be `true` or `false`, not `yes` | write it without quotes",
        ),
        ("job", "grace = \"0s\"", "must be from \"1s\" to \"10m\", not `0s`"),
        (
            "http",
            "listen = \"localhost:9090\"",
            "must be an IP address and a port, or \"off\", not `localhost:9090` | write \"127.0.0.1:9090\" for this machine",
        ),
        ("http", "listen = 9090", "must be an IP address and a port, or \"off\", not the number 9090"),
        ("output", "decide = \"some\"", "must be \"all\" or \"touched\", not `some`"),
    ] {
        let text = match section {
            "job" => format!("{LEAST}{line}\n"),
            _ => format!("{LEAST}[{section}]\n{line}\n"),
        };
        let found: Vec<_> = faults(&text).into_iter().filter(|line| line.contains(": error: ")).collect();
        let [found] = found.as_slice() else { panic!("{line}: {found:#?}") };
        assert!(found.contains(says), "{line}: {found}");
    }
}

#[test]
fn a_stream_says_what_is_wrong_with_each_of_its_keys() {
    for (line, says) in [
        ("start = \"yesterday\"", "must be \"earliest\", \"latest\" or a time, not `yesterday`"),
        (
            "start = 2026-11-22",
            "must be \"earliest\", \"latest\" or a time, not `2026-11-22` | write a time with its zone",
        ),
        ("generation = -1", "must be a whole number from 0 to 4294967295, not the number -1"),
        ("lateness = \"2 weeks\"", "must be a length of time, not `2 weeks`"),
        ("idle_after = \"0s\"", "must be from \"100ms\" to \"366d\", not `0s`"),
        ("fields.amount = { minor_units = 19 }", "must be a whole number from 0 to 18, not the number 19"),
        ("fields.amount = { path = \"a..b\" }", "must be a dotted path, not `a..b`"),
        ("fields.amount = { unit = \"seconds\" }", "must be \"iso\", \"s\", \"ms\" or \"us\", not `seconds`"),
        (
            "fields.amount = { pth = \"a\" }",
            "`[streams.payments.fields.amount]` has no key `pth` | did you mean `path`?",
        ),
        (
            "fields.amount = { unit = \"s\", minor_units = 2 }",
            "the column `amount` has both `unit` and `minor_units`",
        ),
    ] {
        let found = fault_in("streams.payments", &format!("topics = [\"payments\"]\n{line}"));
        assert!(found.contains(says), "{line}: {found}");
    }
    assert!(fault_in("streams.payments", "topics = [\"^pay.*\"]").contains("patterns are not read"));
}

#[test]
fn a_start_may_be_a_toml_time_or_a_text() {
    for start in ["2026-11-22T10:15:02Z", "\"2026-11-22T11:15:02+01:00\""] {
        let text = format!("{LEAST}[streams.a]\ntopics = [\"a\"]\nstart = {start}\n");
        assert_eq!(loads(&text).streams["a"].start, Start::At(EventTime(1_795_342_502_000_000)));
    }
}

#[test]
fn contradictions_between_keys_are_faults() {
    let two = "[streams.a]\ntopics = [\"t\"]\n[streams.b]\ntopics = [\"t\"]";
    assert!(fault_in("job", two).contains("the topic `t` already carries the stream `a`"));
    let twice = "[streams.a]\ntopics = [\"t\", \"t\"]";
    assert!(fault_in("job", twice).contains("the topic `t` is listed twice"));
    let circle = "[streams.a]\ntopics = [\"t\"]\n[output]\nalerts = \"t\"";
    assert!(fault_in("job", circle).contains("writes to the topic `t`, which the stream `a` reads"));
    let same = fault_in("output", "alerts = \"file:a.ndjson\"\ndead_letters = \"file:a.ndjson\"");
    assert!(
        same.contains("`output.dead_letters` and `output.alerts` both go to `file:/etc/tollgate/a.ndjson`")
    );
    let large = fault_in("limits", "record_bytes_max = \"32MiB\"");
    assert!(
        large.contains("`limits.record_bytes_max` (32MiB) is more than `limits.batch_bytes_max` (16MiB)")
    );
    let much = fault_in("limits", "memory = \"1MiB\"");
    assert!(much.contains("`limits.batch_bytes_max` (16MiB) is more than `limits.memory` (1MiB)"));
}

#[test]
fn a_faulty_value_is_not_said_to_contradict_another() {
    let one = faults(&format!("{LEAST}[limits]\nmemory = \"4 gigs\"\n[output]\nalerts = 5\nshadow = 6\n"));
    assert_eq!(one.len(), 3, "{one:#?}");
    let run =
        parse_for(&format!("{LEAST}[kafka]\nbrokers = 5\n[streams.a]\ntopics = [\"a\"]\n"), Purpose::Run);
    assert_eq!(run.expect_err("fault").len(), 1);
}

#[test]
fn a_run_needs_brokers_streams_and_outputs_that_its_delivery_can_cover() {
    let text = format!("{LEAST}delivery = \"exactly_once\"\n[output]\nshadow = \"file:shadow.ndjson\"\n");
    assert!(parse_for(&text, Purpose::Inspect).is_ok());
    let found = lines(&parse_for(&text, Purpose::Run).expect_err("faults")).join("\n");
    for says in [
        "tollgate.toml: error: `kafka.brokers` is missing, and a job that runs needs it",
        "tollgate.toml: error: no stream is bound to a topic",
        "tollgate.toml:3:1: error: `exactly_once` needs topics, and `output.shadow` is a file: no transaction covers it",
    ] {
        assert!(found.contains(says), "{says}\nis missing in\n{found}");
    }
}

#[test]
fn properties_that_would_break_a_promise_are_refused_with_what_to_set_instead() {
    for (name, instead) in [
        ("enable.auto.commit", "set `commit_interval` under `[job]`"),
        ("enable.auto.offset.store", "set `commit_interval` under `[job]`"),
        ("auto.offset.reset", "set `start` of the stream"),
        ("isolation.level", "leave it out"),
        ("group.id", "set `name` under `[job]`"),
        ("group.instance.id", "set `name` under `[job]`"),
        ("transactional.id", "set `name` under `[job]`"),
        ("bootstrap.servers", "set `brokers` under `[kafka]`"),
        ("metadata.broker.list", "set `brokers` under `[kafka]`"),
        ("enable.idempotence", "leave it out"),
        ("acks", "leave it out"),
        ("check.crcs", "leave it out"),
        ("enable.partition.eof", "leave it out"),
        ("partition.assignment.strategy", "leave it out"),
        ("group.protocol", "leave it out"),
    ] {
        let found = fault_in("kafka.properties", &format!("\"{name}\" = \"x\""));
        assert!(found.contains(&format!("error: the property `{name}` is refused: ")), "{found}");
        assert!(found.ends_with(&format!("| {instead}")) || found.contains(instead), "{found}");
    }
}

#[test]
fn properties_work_with_and_without_quotes_and_with_any_plain_value() {
    let text = format!(
        "{LEAST}[kafka.properties]\n\"linger.ms\" = 1\nsocket.keepalive.enable = true\nssl.key.location = \"/k\""
    );
    let properties = loads(&text).kafka.properties;
    let revealed: Vec<_> = properties.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    assert_eq!(
        revealed,
        [("linger.ms", "1"), ("socket.keepalive.enable", "true"), ("ssl.key.location", "/k")]
    );
}

#[test]
fn a_property_that_the_client_does_not_know_or_take_is_found_with_its_line() {
    let unknown = fault_in("kafka.properties", "\"sasl.pasword\" = \"x\"");
    assert!(unknown.starts_with("tollgate.toml:4:1: error: the Kafka client has no property `sasl.pasword`"));
    assert!(unknown.contains("did you mean `sasl.password`?"), "{unknown}");
    let wrong = fault_in("kafka.properties", "\"linger.ms\" = \"soon\"");
    assert!(wrong.contains("does not take the value of `linger.ms`"), "{wrong}");
    let list = fault_in("kafka.properties", "\"linger.ms\" = [1]");
    assert!(list.contains("must be text, a number, `true` or `false`, not a list"), "{list}");
}

#[test]
fn oauthbearer_needs_to_be_told_where_its_tokens_come_from() {
    let provider = "\"sasl.oauthbearer.method\" = \"oidc\"\n\
                    \"sasl.oauthbearer.token.endpoint.url\" = \"https://id.example/token\"\n";
    let client =
        "\"sasl.oauthbearer.client.id\" = \"tollgate\"\n\"sasl.oauthbearer.client.secret\" = \"hunter2\"\n";
    let assertion = "\"sasl.oauthbearer.grant.type\" = \"urn:ietf:params:oauth:grant-type:jwt-bearer\"\n";
    for whole in [client, assertion] {
        let text =
            format!("{LEAST}[kafka.properties]\n\"sasl.mechanism\" = \"OAUTHBEARER\"\n{provider}{whole}");
        assert!(!format!("{:?}", loads(&text)).contains("hunter2"));
    }
    for (line, missing) in [
        (String::new(), "`sasl.oauthbearer.method` = \"oidc\", `sasl.oauthbearer.token.endpoint.url`, "),
        (provider.to_owned(), "set `sasl.oauthbearer.client.id`, `sasl.oauthbearer.client.secret` under"),
    ] {
        let refused = fault_in("kafka.properties", &format!("{line}\"sasl.mechanisms\" = \"oauthbearer\""));
        assert!(refused.contains(missing) && !refused.contains("hunter2"), "{refused}");
    }
    for line in [
        "\"sasl.oauthbearer.config\" = \"principal=hunter2\"",
        "\"enable.sasl.oauthbearer.unsecure.jwt\" = true",
    ] {
        let refused = fault_in("kafka.properties", line);
        assert!(refused.contains("tokens that nobody signed") && !refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn secrets_are_in_no_debug_output_and_in_no_fault() {
    let text = format!(
        "{LEAST}[kafka]\nbrokers = [\"${{env:BROKERS}}\"]\n[kafka.properties]\n\"sasl.username\" = \"${{env:PASSWORD}}\"\n\
         \"sasl.password\" = \"literal-hunter2\""
    );
    let loaded = parse_for(&text, Purpose::Inspect).unwrap_or_else(|faults| panic!("{:#?}", lines(&faults)));
    assert_eq!(loaded.settings.kafka.brokers, ["a:1", "b:2"]);
    assert_eq!(loaded.settings.kafka.properties["sasl.username"].reveal(), "hunter2");
    assert!(!format!("{loaded:?}").contains("hunter2"), "{loaded:?}");

    for line in [
        "commit_interval = \"${env:PASSWORD}\"",
        "password = \"hunter2\"",
        "[kafka.properties]\n\"sasl.password\" = [\"hunter2\"]",
        "[kafka.properties]\n\"linger.ms\" = \"${env:PASSWORD}\"",
        "[kafka.properties]\n\"sasl.password\" = \"hunter2",
        "[kafka.properties]\n\"sasl.pasword\" = { password = \"hunter2\" }",
    ] {
        let found = parse_for(&format!("{LEAST}{line}"), Purpose::Inspect).expect_err(line);
        let drawn = render_all(&found, Colour::Off);
        assert!(!drawn.contains("hunter2") && !format!("{found:?}").contains("hunter2"), "{drawn}");
    }
}

#[test]
fn a_reference_that_leads_nowhere_is_a_fault_at_its_value() {
    let found = fault_in("job", "rules = \"${env:NOPE}\"");
    assert!(
        found.starts_with("tollgate.toml:3:9: error: the environment variable `NOPE` is not set"),
        "{found}"
    );
    let found = fault_in("output", "alerts = \"${file:nope}\"");
    assert!(found.contains("the file `/etc/tollgate/nope` cannot be read"), "{found}");
}

#[test]
fn broken_lines_are_reported_with_the_faults_of_the_other_lines() {
    let found = faults("[job]\nname = \"fraud\nemit = \"never\"\nrulez = 1\n");
    assert!(found[0].starts_with("tollgate.toml:2:"), "{found:#?}");
    assert!(found[0].contains("this is not TOML"), "{found:#?}");
    assert!(found.iter().any(|line| line.contains("no key `rulez`")), "{found:#?}");
    assert!(found.iter().any(|line| line.contains("`job.emit` must be")), "{found:#?}");
    assert!(!found.iter().any(|line| line.contains("is missing")), "{found:#?}");
    assert!(fault_in("job", "name = \"again\"").contains("this is not TOML: duplicate key"));
}

#[test]
fn a_missing_file_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let found = Settings::load(&folder.path().join("nope.toml"), Purpose::Run).expect_err("no file");
    assert!(found[0].to_string().contains("nope.toml: error: the settings cannot be read: "), "{found:?}");
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("tollgate.toml");
    std::fs::write(&file, LEAST).expect("writes");
    let loaded = Settings::load(&file, Purpose::Inspect).expect("loads");
    assert_eq!(loaded.settings.job.rules, folder.path().join("rules"));
}

#[test]
fn later_stages_can_point_at_a_key() {
    let text =
        format!("{LEAST}[streams.payments]\ntopics = [\"p\"]\n[streams.payments.fields]\nmcc = {{}}\n");
    let loaded = parse_for(&text, Purpose::Inspect).expect("loads");
    for (key, place) in [
        ("streams.payments", "tollgate.toml:3:10"),
        ("streams.payments.topics", "tollgate.toml:4:1"),
        ("streams.payments.topic_key", "tollgate.toml:3:10"),
        ("streams.payments.fields.mcc", "tollgate.toml:6:1"),
        ("output.alerts", "tollgate.toml"),
    ] {
        assert_eq!(loaded.error_at(key, "m").to_string(), format!("{place}: error: m"));
    }
}
