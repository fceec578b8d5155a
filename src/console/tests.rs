//! Sentences about the HTTP answers, asked over real connections.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::event::ManualClock;
use crate::metrics::{Build, HealthLimits, Phase};

struct Fixture {
    console: Console,
    told: Told,
    clock: Arc<ManualClock>,
}

fn fixture_with(limits: ConnectionLimits) -> Fixture {
    let clock = Arc::new(ManualClock::default());
    let limit = HealthLimits::with_grace(Duration::from_secs(20));
    let told = Told {
        metrics: Metrics::new(&Build::this(), &*clock),
        health: Arc::new(Health::new(limit, clock.elapsed())),
        clock: Arc::<ManualClock>::clone(&clock),
    };
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let console = Console::start(any_port, told.clone(), limits).expect("a port is free");
    Fixture { console, told, clock }
}

fn fixture() -> Fixture {
    fixture_with(ConnectionLimits::default())
}

impl Fixture {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.console.address()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("takes a timeout");
        stream
    }

    /// The whole answer to a request of one line and no more headers than needed.
    fn ask(&self, line: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "{line} HTTP/1.1\r\nHost: here\r\n\r\n").expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer ends");
        answer
    }

    fn status_and_body(&self, path: &str) -> (u16, String) {
        let answer = self.ask(&format!("GET {path}"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (status(head), body.to_owned())
    }

    fn json(&self, path: &str) -> (u16, serde_json::Value) {
        let (status, body) = self.status_and_body(path);
        (status, serde_json::from_str(&body).expect("JSON"))
    }
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|digits| digits.parse().ok()).expect("a status line")
}

#[test]
fn metrics_are_open_metrics_text_that_ends_with_its_mark() {
    let fixture = fixture();
    fixture.told.metrics.events_in("payments", 3);
    let answer = fixture.ask("GET /metrics");
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    assert!(answer.contains("\ntollgate_events_in_total{stream=\"payments\"} 3\n"), "{answer}");
    assert!(answer.ends_with("# EOF\n"));
}

#[test]
fn a_job_whose_loop_turns_is_alive_and_one_that_hangs_is_not() {
    let fixture = fixture();
    let health = &fixture.told.health;
    health.enter(Phase::Running, fixture.clock.elapsed());
    fixture.clock.advance(Duration::from_secs(2));
    let (status, body) = fixture.json("/livez");
    assert_eq!((status, &body["alive"], &body["state"]), (200, &true.into(), &"running".into()));
    assert_eq!(body["last_turn_seconds"], 2.0);

    fixture.clock.advance(Duration::from_secs(29));
    let (status, body) = fixture.json("/livez");
    assert_eq!((status, &body["alive"]), (503, &false.into()));
    let reason = "the loop has not turned for 31.0 s while running; 30 s are allowed";
    assert_eq!(body["reason"], reason);
    assert!(fixture.ask("GET /metrics").contains("\ntollgate_last_turn_age_seconds 31.0\n"));

    health.turned(fixture.clock.elapsed());
    assert_eq!(fixture.json("/livez").0, 200);
}

#[test]
fn a_job_is_ready_once_its_partitions_are_assigned_and_its_windows_are_rebuilt() {
    let fixture = fixture();
    let health = &fixture.told.health;
    let (status, body) = fixture.json("/readyz");
    assert_eq!((status, &body["state"], &body["partitions"]), (503, &"starting".into(), &().into()));
    assert_eq!(body["waits_for"], "brokers to be reached and partitions to be assigned");

    health.assigned(4);
    health.enter(Phase::Recovering { progress: 0.25 }, fixture.clock.elapsed());
    let (status, body) = fixture.json("/readyz");
    assert_eq!((status, &body["ready"], &body["state"]), (503, &false.into(), &"recovering".into()));
    assert_eq!((&body["progress"], &body["partitions"]), (&0.25.into(), &4.into()));
    assert_eq!(body["waits_for"], "windows to be rebuilt from the history and the topics");

    health.enter(Phase::Running, fixture.clock.elapsed());
    let (status, body) = fixture.json("/readyz");
    assert_eq!((status, &body["ready"], &body["waits_for"]), (200, &true.into(), &().into()));

    health.enter(Phase::Draining, fixture.clock.elapsed());
    assert_eq!(fixture.json("/readyz").0, 503);
    assert_eq!(fixture.json("/livez").0, 200);
}

#[test]
fn the_index_names_each_path_and_each_of_them_is_there() {
    let fixture = fixture();
    let (status, body) = fixture.status_and_body("/");
    assert_eq!(status, 200);
    let named: Vec<_> = body.split_whitespace().filter(|word| word.starts_with('/')).collect();
    assert_eq!(named, ["/metrics", "/livez", "/readyz"]);
    for path in named {
        assert_ne!(fixture.status_and_body(path).0, 404, "{path}");
    }
}

#[test]
fn another_path_is_not_found_and_told_the_ones_there_are() {
    let (status, body) = fixture().status_and_body("/admin");
    assert_eq!((status, body.as_str()), (404, "there are /metrics, /livez and /readyz\n"));
}

#[test]
fn nothing_but_get_is_answered_on_any_path() {
    let fixture = fixture();
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"] {
        for path in ["/", "/metrics", "/livez", "/nowhere"] {
            let answer = fixture.ask(&format!("{method} {path}"));
            assert_eq!(status(&answer), 405, "{method} {path}");
            assert!(answer.contains("allow: GET\r\n"), "{method} {path}: {answer}");
        }
    }
}

#[test]
fn a_connection_serves_one_request_and_is_closed() {
    let fixture = fixture();
    let answer = fixture.ask("GET /livez");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[test]
fn what_is_not_http_is_refused_and_harms_nobody_else() {
    let fixture = fixture();
    let mut stream = fixture.connect();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").expect("sends");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the connection ends");
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    assert_eq!(fixture.json("/livez").0, 200);
}

#[test]
fn a_request_without_end_is_cut_off_at_its_limit_of_bytes() {
    let fixture = fixture();
    let mut stream = fixture.connect();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n").expect("sends");
    let header = format!("x: {}\r\n", "y".repeat(1021));
    // The limit is 16 of these, and what the system buffers takes some more before it notices.
    let sent = (0..100_000).take_while(|_| stream.write_all(header.as_bytes()).is_ok()).count();
    assert!(sent < 100_000, "all of a request of 100 MB was taken");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    assert_eq!(fixture.json("/livez").0, 200);
}

#[test]
fn a_client_that_says_nothing_is_sent_away_after_the_deadline_and_makes_room_for_the_next() {
    let limits =
        ConnectionLimits { connections_max: 1, deadline: Duration::from_millis(50), ..Default::default() };
    let fixture = fixture_with(limits);
    let mut silent = fixture.connect();
    // The only place is taken until the deadline; then this one is served.
    assert_eq!(fixture.json("/livez").0, 200);
    let mut answer = Vec::new();
    let ended = silent.read_to_end(&mut answer);
    assert!(ended.is_err() || answer.is_empty(), "{answer:?}");
}

#[test]
fn an_address_in_use_is_said_with_what_to_do() {
    let fixture = fixture();
    let address = fixture.console.address();
    let error = Console::start(address, fixture.told.clone(), ConnectionLimits::default());
    let message = error.expect_err("the address is taken").to_string();
    assert_eq!(
        message,
        format!(
            "metrics and health can't be served at {address}: the address is in use; end what listens there, or \
             set another `listen` under `[http]`, or \"off\""
        )
    );
}

#[test]
fn an_address_of_another_machine_is_refused_with_what_the_system_says() {
    let fixture = fixture();
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 9090));
    let error = Console::start(elsewhere, fixture.told.clone(), ConnectionLimits::default());
    let message = error.expect_err("not an address of this machine").to_string();
    assert!(message.starts_with("metrics and health can't be served at 192.0.2.1:9090: "), "{message}");
    assert!(message.ends_with("set another `listen` under `[http]`, or \"off\""), "{message}");
}

#[test]
fn a_stop_frees_the_address_even_with_a_client_that_holds_on() {
    let fixture = fixture();
    let address = fixture.console.address();
    let silent = fixture.connect();
    assert_eq!(fixture.json("/livez").0, 200);
    let Fixture { console, told, .. } = fixture;
    console.stop();
    drop(silent);
    assert!(TcpStream::connect(address).is_err());
    Console::start(address, told, ConnectionLimits::default()).expect("the address is free again");
}
