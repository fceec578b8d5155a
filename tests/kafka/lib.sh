# shellcheck shell=bash disable=SC2154
# What `up`, `down` and `node` share. A state directory holds everything of one cluster: `cluster` (its settings),
# `env` (addresses for its clients), `tls/`, and for each node `node-N/` with its properties, data, log and pid.

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
jars="${TOLLGATE_KAFKA_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/tollgate-kafka-4.3.1}"

fail() {
    echo "error: $1" >&2
    exit "${2:-1}"
}

# use_state DIR: reads what `up` wrote there, or fails.
use_state() {
    [[ -n $1 ]] || fail "which cluster? name its state directory with --dir, or in TOLLGATE_KAFKA_STATE" 2
    [[ -f $1/cluster ]] || fail "$1 is no state directory of tests/kafka/up" 2
    dir="$(cd "$1" && pwd)"
    # shellcheck disable=SC1091
    source "$dir/cluster"
}

# The four ports of a node, in this order: plaintext, SASL over TLS, mutual TLS, controller.
port_of() { echo $((port + 10 * ($1 - 1) + $2)); }

# running N: whether the process that the node's pid file names is alive, and is that node.
running() {
    local pid
    pid="$(cat "$dir/node-$1/pid" 2>/dev/null)" || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep --quiet --fixed-strings --line-regexp "$dir/node-$1/server.properties"
}

signal() {
    running "$1" || fail "node $1 does not run"
    kill "-$2" "$(cat "$dir/node-$1/pid")"
}

# gone N: waits until the node's process has ended.
gone() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        running "$1" || return 0
        sleep 0.05
    done
    fail "node $1 did not end within 30 seconds"
}

# For tests a quick start and a small heap count; for measurements of latency, short pauses do.
java_options() {
    echo "-Xms$heap -Xmx$heap -XX:+ExitOnOutOfMemoryError -Xshare:auto"
    case "$gc" in
        serial) echo "-XX:+UseSerialGC -XX:TieredStopAtLevel=1" ;;
        g1) echo "-XX:+UseG1GC" ;;
        zgc) echo "-XX:+UseZGC" ;;
    esac
}

start_node() {
    if running "$1"; then fail "node $1 runs already"; fi
    # A session of its own: what stops the caller's terminal does not stop the broker.
    # shellcheck disable=SC2046
    setsid nohup java $(java_options) "-Dlog4j2.configurationFile=$here/log4j2.xml" \
        -cp "$jars/lib/*" kafka.Kafka "$dir/node-$1/server.properties" \
        >>"$dir/node-$1/log" 2>&1 </dev/null &
    local pid=$!
    echo "$pid" >"$dir/node-$1/pid"
    # On a busy machine it is not Java for a moment; that it ended is seen by whoever waits for it.
    until running "$1" || ! kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
}

# brokers_seen N: how many brokers the node names when asked for metadata; no client needed.
brokers_seen() {
    local count
    # Length 16; api 3 (metadata), version 1, correlation 1, client `up`, an empty list of topics. The answer is its
    # length, the correlation, then the number of brokers.
    count="$(
        exec 3<>"/dev/tcp/127.0.0.1/$(port_of "$1" 0)" || exit 1
        printf '\x00\x00\x00\x10\x00\x03\x00\x01\x00\x00\x00\x01\x00\x02up\x00\x00\x00\x00' >&3
        timeout 2 head --bytes 12 <&3 | tail --bytes 4 | od -An -tu1
    )" || return 1
    read -r _ _ _ count <<<"$count"
    echo "${count:-0}"
}

# ready N BROKERS: waits until the node answers and knows that many brokers.
ready() {
    local deadline=$((SECONDS + ${TOLLGATE_KAFKA_START_SECONDS:-90}))
    until [[ "$(brokers_seen "$1" 2>/dev/null || true)" -ge $2 ]]; do
        if ! running "$1"; then
            tail -n 30 "$dir/node-$1/log" >&2
            fail "node $1 ended while starting; its log is above"
        fi
        if ((SECONDS > deadline)); then
            tail -n 30 "$dir/node-$1/log" >&2
            fail "node $1 did not answer in time; the end of its log is above"
        fi
        sleep 0.1
    done
}
