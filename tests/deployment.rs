//! The files around the program fit together: example settings, Compose file, image, licence.

use std::path::{Path, PathBuf};

use tollgate::settings::{Destination, Purpose, Settings, Surroundings};

fn text_of(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).expect("the file is part of the project")
}

fn example() -> Settings {
    let surroundings = Surroundings::bare(Path::new("/etc/tollgate"));
    let loaded = Settings::parse("tollgate.toml", &text_of("tollgate.toml"), &surroundings, Purpose::Run);
    loaded.expect("the example has no fault").settings
}

#[test]
fn compose_makes_every_topic_that_the_example_settings_name() {
    let compose = text_of("docker-compose.yml");
    let settings = example();
    let output = settings.output;
    let written = [output.alerts, output.shadow, output.dead_letters].into_iter().map(|place| match place {
        Destination::Topic(topic) => topic,
        Destination::Ndjson(path) | Destination::Parquet(path) => panic!("{} is a file", path.display()),
    });
    for topic in settings.streams.into_values().flat_map(|stream| stream.topics).chain(written) {
        let made = compose.lines().any(|line| line.trim().starts_with(&format!("make_topic {topic} ")));
        assert!(made, "docker-compose.yml does not make the topic {topic}");
    }
}

#[test]
fn the_job_and_the_generator_reach_the_broker_under_the_name_that_compose_gives_it() {
    let compose = text_of("docker-compose.yml");
    for broker in example().kafka.brokers {
        assert!(compose.contains(&format!("INTERNAL://{broker}")), "{broker}");
        assert!(compose.contains(&format!("\"--brokers\", \"{broker}\"")), "{broker}");
    }
}

#[test]
fn the_image_is_built_with_a_compiler_that_the_manifest_accepts() {
    let manifest = text_of("Cargo.toml");
    let least = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"1.")).expect("is set");
    let least: u32 = least.trim_end_matches('"').parse().expect("a minor version");
    let image = text_of("Dockerfile");
    let built = image.lines().find_map(|line| line.strip_prefix("FROM rust:1.")).expect("a Rust image");
    let built: u32 = built.split('-').next().and_then(|minor| minor.parse().ok()).expect("a minor version");
    assert!(built >= least, "Dockerfile builds with 1.{built}, Cargo.toml wants 1.{least}");
}

#[test]
fn the_licence_is_the_one_that_the_manifest_names() {
    assert!(text_of("Cargo.toml").contains("license = \"Apache-2.0\""));
    let licence = text_of("LICENSE");
    assert!(
        licence.contains("Apache License") && licence.trim_end().ends_with("limitations under the License.")
    );
}
