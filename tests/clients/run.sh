#!/bin/sh
# Drives the example `sidecar` with Dapr's SDKs for Python, JavaScript and Rust, from their package registries.
#
#   tests/clients/run.sh [--require] [python] [javascript] [rust]
#
# What is not there (python3, node, npm, a registry) is skipped, and said; with --require, or REQUIRE=1, that is a
# failure. SIDECAR=<path> is a sidecar that is built already. Packages go to a folder that is gone at the end.
#
# Needs no daprd. With DAPRD=<path of a daprd> it drives that one instead, which needs redis-server: it shows whether the
# scenarios are right.
#
# Each scenario is a line, `ok`, `not ok` or `skip`; `known` names a defect of an SDK. Exit code 1 if one failed; what
# was printed since the line before it is printed again at the end, where it is read.
set -u
cd "$(dirname "$0")"
here=$PWD
root=$(cd ../.. && pwd)
require=${REQUIRE:-}
target=${CARGO_TARGET_DIR:-$root/target}
sidecar=${SIDECAR:-$target/debug/examples/sidecar}
patience=240 # Seconds for one client.
work=$(mktemp -d)
log=$work/log
: >"$log"
export NO_COLOR=1 RUST_BACKTRACE=0
background= # Processes to end.

finish() {
    for process in $background; do kill "$process" 2>/dev/null; done
    wait
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# failures OUTPUT: what failed there, each with what led to it; and what came after the last line, if it ended there.
failures() {
    awk '/^(ok|known|skip|asks) - / { since = ""; next }
         { since = since $0 "\n" }
         /^not ok - / { printf "%s", since; since = "" }
         END { printf "%s", since }' "$1"
}

say() { echo "$1" | tee -a "$log"; }
skip() { if [ -n "$require" ]; then say "not ok - $1"; else say "skip - $1"; fi; }

# A port that is free, and not of those that the system gives to a sidecar which asks for any.
port() {
    python3 -c '
import random, socket
while True:
    try:
        s = socket.socket()
        s.bind(("127.0.0.1", random.randrange(10000, 32000)))
        break
    except OSError:
        pass
print(s.getsockname()[1])' 2>/dev/null ||
        node -e '
const attempt = () => {
  const port = 10000 + Math.floor(Math.random() * 22000);
  const s = require("net").createServer().on("error", attempt);
  s.listen(port, "127.0.0.1", () => { console.log(port); s.close(); });
};
attempt();'
}

# resources FOLDER WEB_PORT: the resource files, filled in.
resources() {
    mkdir -p "$1/resources"
    echo '{"plain": "p", "db": {"user": "u"}}' >"$1/secrets.json"
    echo '{"colour": "none"}' >"$1/configuration.json"
    stores=memory.yaml
    [ -z "${DAPRD:-}" ] || stores=redis.yaml
    for file in components.yaml resiliency.yaml subscriptions.yaml "$stores"; do
        sed "s|@WORK@|$1|; s|@WEB_PORT@|$2|; s|@REDIS_PORT@|${REDIS_PORT:-}|" "resources/$file" >"$1/resources/$file"
    done
}

# drive ID PROTOCOL COMMAND...: a sidecar, and the client as its command.
drive() {
    id=$1 protocol=$2
    shift 2
    folder=$work/$id
    rm -rf "$folder"
    app_port=$(port)
    web_port=$app_port
    [ "$protocol" = http ] || web_port=$(port)
    mkdir -p "$folder"
    resources "$folder" "$web_port"
    failed_before=$(grep -c '^not ok' "$log")
    # A client that hangs is a client that failed.
    if [ -z "${DAPRD:-}" ]; then
        CONFIGURATION_FILE=$folder/configuration.json CLIENT_SECRET="from the environment" WEB_PORT=$web_port \
            timeout -k 5 "$patience" "$sidecar" --app-id "$id" --app-port "$app_port" --app-protocol "$protocol" \
            --dapr-grpc-port 0 --dapr-http-port 0 --resources-path "$folder/resources" --strict -- "$@" >"$folder/out" 2>&1
    else
        real "$@" >"$folder/out" 2>&1
    fi
    code=$?
    cat "$folder/out"
    grep -E '^(ok|not ok|skip) - ' "$folder/out" >>"$log"
    asked=$(sed -n 's/^asks - //p' "$folder/out")
    # It was ended by it, and says so itself.
    [ $code -ne 0 ] || [ -z "$asked" ] || say "ok - $asked"
    # It ended without a word about why.
    if [ $code -ne 0 ] && [ "$(grep -c '^not ok' "$log")" -eq "$failed_before" ]; then
        say "not ok - $id: ended with $code ${asked:+after $asked}"
    fi
    [ "$(grep -c '^not ok' "$log")" -eq "$failed_before" ] || failures "$folder/out" | tail -n 200 >>"$work/failures"
}

# real COMMAND...: the same beside a real daprd.
real() {
    grpc_port=$(port) http_port=$(port)
    export DAPR_GRPC_PORT=$grpc_port DAPR_HTTP_PORT=$http_port APP_ID=$id APP_PORT=$app_port WEB_PORT=$web_port
    export CLIENT_SECRET="from the environment" NO_SCHEDULER=1 DAPR_HOST_IP=127.0.0.1
    config=$folder/config.yaml
    cat >"$config" <<END
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec:
  nameResolution:
    component: sqlite
    version: v1
    configuration: {connectionString: "$folder/names.db", updateInterval: 3s}
END
    timeout -k 5 "$patience" "$DAPRD" --mode=standalone --app-id "$id" --app-port "$app_port" --app-protocol "$protocol" \
        --dapr-listen-addresses=127.0.0.1 --dapr-grpc-port "$grpc_port" --dapr-http-port "$http_port" \
        --dapr-internal-grpc-port "$(port)" --dapr-internal-grpc-listen-address=127.0.0.1 \
        --dapr-public-port "$(port)" --dapr-public-listen-address=127.0.0.1 \
        --metrics-port "$(port)" --metrics-listen-address=127.0.0.1 --profile-port "$(port)" \
        --resources-path "$folder/resources" --config "$config" --dapr-graceful-shutdown-seconds=1 >"$folder/daprd.log" 2>&1 &
    daprd=$! before=$background
    background="$background $daprd"
    timeout -k 5 "$patience" "$@"
    code=$?
    kill "$daprd" 2>/dev/null
    wait "$daprd"
    background=$before
    [ $code -eq 0 ] || grep -E 'level=(error|fatal|warning)' "$folder/daprd.log"
    return $code
}

redis() {
    command -v redis-server >/dev/null || { echo "$0: a real daprd needs redis-server" >&2; exit 2; }
    REDIS_PORT=$(port)
    export REDIS_PORT
    redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --save '' --dir "$work" >"$work/redis.log" 2>&1 &
    background="$background $!"
}

python() {
    command -v python3 >/dev/null || { skip "python: there is no python3"; return; }
    python3 -m venv "$work/venv" &&
        "$work/venv/bin/pip" install --quiet --disable-pip-version-check -r python/requirements.txt ||
        { skip "python: the packages cannot be installed"; return; }
    client="$work/venv/bin/python -W ignore -B"
    drive fastapi http $client python/app_fastapi.py
    drive flask http $client python/app_flask.py
    export DAPR_API_TOKEN=of-callers APP_API_TOKEN=of-the-app
    drive fastapi http $client python/app_fastapi.py
    drive grpc grpc $client python/app_grpc.py
    unset DAPR_API_TOKEN APP_API_TOKEN
}

javascript() {
    command -v npm >/dev/null || { skip "javascript: there is no npm"; return; }
    mkdir "$work/node" && cp javascript/* "$work/node/" && (cd "$work/node" && npm install --silent --no-audit --no-fund >/dev/null) ||
        { skip "javascript: the packages cannot be installed"; return; }
    export DAPR_API_TOKEN=of-callers APP_API_TOKEN=of-the-app
    drive js-http http node "$work/node/app_http.js"
    unset DAPR_API_TOKEN APP_API_TOKEN
    drive js-grpc grpc node "$work/node/app_grpc.js"
}

rust() {
    command -v cargo >/dev/null || { skip "rust: there is no cargo"; return; }
    cargo build --quiet --locked --manifest-path rust/Cargo.toml --target-dir "$target/clients" ||
        { skip "rust: crate dapr cannot be built"; return; }
    drive rust grpc "$target/clients/debug/client"
}

clients=
for argument in "$@"; do
    case $argument in
    --require) require=1 ;;
    python | javascript | rust) clients="$clients $argument" ;;
    *) echo "usage: $0 [--require] [python] [javascript] [rust]" >&2; exit 2 ;;
    esac
done
if [ -n "${DAPRD:-}" ]; then
    redis
elif [ -z "${SIDECAR:-}" ]; then
    (cd "$root" && cargo build --quiet --locked --example sidecar) || exit 1
fi
for client in ${clients:-python javascript rust}; do "$client"; done

[ ! -s "$work/failures" ] || { echo "What led to it:"; cat "$work/failures"; }
grep '^not ok - ' "$log"
count() { grep -c "^$1 - " "$log"; }
echo "$(count ok) passed, $(count 'not ok') failed, $(count skip) skipped"
[ "$(count 'not ok')" -eq 0 ]
