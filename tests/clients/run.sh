#!/bin/sh
# Drives the example `sidecar` with Dapr's SDKs for Python and JavaScript, from their package registries.
#
#   tests/clients/run.sh [python] [javascript]
#
# What is not there (python3, node, npm, a registry) is skipped, and said. Needs no daprd. Exit code 1 if a client failed.
set -u
cd "$(dirname "$0")/../.."
sidecar=${CARGO_TARGET_DIR:-target}/debug/examples/sidecar
cargo build --quiet --example sidecar || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null ||
        node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'
}

drive() {
    id=$1
    shift
    # A client that hangs is a client that failed.
    timeout 120 "$sidecar" --app-id "$id" --app-port "$(port)" --dapr-grpc-port 0 --dapr-http-port 0 -- "$@" || failed=1
}

python() {
    command -v python3 >/dev/null || { echo "python: skipped, there is no python3"; return; }
    python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet --disable-pip-version-check "dapr>=1.17" ||
        { echo "python: skipped, the package dapr cannot be installed"; return; }
    drive py "$work/venv/bin/python" -W ignore tests/clients/client.py
}

javascript() {
    command -v npm >/dev/null || { echo "javascript: skipped, there is no npm"; return; }
    (cd "$work" && npm init --yes >/dev/null && npm install --silent "@dapr/dapr@^3" >/dev/null) ||
        { echo "javascript: skipped, the package @dapr/dapr cannot be installed"; return; }
    cp tests/clients/client.js "$work/client.js"
    drive js node "$work/client.js"
}

[ $# -gt 0 ] || set -- python javascript
for client in "$@"; do
    case $client in
    python | javascript) "$client" ;;
    *) echo "usage: $0 [python] [javascript]" >&2; exit 2 ;;
    esac
done
exit $failed
