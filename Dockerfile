# syntax=docker/dockerfile:1
# The job as an image: `docker build -t tollgate .`, or through docker-compose.yml.
# Its syntax was checked; no Docker engine has run it yet.

# The first build compiles parts of DataFusion, and librdkafka, which takes a while (the README says how long);
# the cache mounts keep what it compiled, so that the next one takes only as long as the project's own code.
# The image has what librdkafka and OpenSSL need to be built: a C compiler, make and perl.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin tollgate \
    && install -D target/release/tollgate /out/tollgate

FROM debian:bookworm-slim
# Certificates, for brokers that speak TLS.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/tollgate tollgate
COPY --from=build /out/tollgate /usr/local/bin/tollgate
# The example settings and rules; mount your own over them.
COPY tollgate.toml /etc/tollgate/tollgate.toml
COPY rules /etc/tollgate/rules
USER tollgate
WORKDIR /var/lib/tollgate
# On SIGTERM the job delivers and commits what it has read, then leaves with exit code 0.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tollgate"]
CMD ["run", "--config", "/etc/tollgate/tollgate.toml"]
