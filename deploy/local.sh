#!/usr/bin/env bash
# The deployment without containers: Redis, Jaeger, placement, scheduler and four daprds, from the binaries that
# tests/real/build makes, on this host only.
#
#   deploy/local.sh up          all of it but the four services: says how to start those
#   deploy/local.sh up --all    the services too
#   deploy/local.sh status      what runs, and whether it is healthy
#   deploy/local.sh down        stops exactly what `up` has started
#
# Ports: REDIS_PORT (6380), JAEGER_UI_PORT (16686), JAEGER_OTLP_GRPC_PORT (4317), PLACEMENT_PORT (50005),
# SCHEDULER_PORT (50006), and from these on one for each service: APP_PORTS (3001), DAPR_GRPC_PORTS (50011),
# DAPR_HTTP_PORTS (3501), OTHER_PORTS (20500, thirty). Tokens: DAPR_API_TOKEN and APP_API_TOKEN, if they are set.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
bin=${TOWER_DAPR_REAL_BIN:-$root/target/real}
run=$root/target/real/run
pids=$run/pids
services=(order inventory payment notification)

redis_port=${REDIS_PORT:-6380} ui_port=${JAEGER_UI_PORT:-16686} otlp_port=${JAEGER_OTLP_GRPC_PORT:-4317}
placement_port=${PLACEMENT_PORT:-50005} scheduler_port=${SCHEDULER_PORT:-50006}
app_ports=${APP_PORTS:-3001} grpc_ports=${DAPR_GRPC_PORTS:-50011} http_ports=${DAPR_HTTP_PORTS:-3501}
other=${OTHER_PORTS:-20500}

fail() { printf 'deploy/local.sh: %s\n' "$*" >&2; exit 1; }
open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
status_of() { curl -s -m 2 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$1" 2>/dev/null || true; }
# Is it still the process that we started? Its id may have become another's.
runs() { [ -r "/proc/$2/cmdline" ] && tr '\0' ' ' <"/proc/$2/cmdline" | grep -q -- "$3"; }

# start NAME PATTERN COMMAND...: the pattern is what its command line is recognised by.
start() {
    local name=$1 pattern=$2
    shift 2
    (cd "$run" && exec "$@" >"$run/$name.log" 2>&1 </dev/null) &
    echo "$name $! $pattern" >>"$pids"
}

# free PORT WHO VARIABLE
free() { if open "$1"; then fail "port $1 is busy, $2 needs it: set $3 to another"; fi; }

# until_ready NAME SECONDS COMMAND...
until_ready() {
    local name=$1 end=$((SECONDS + $2)) pid
    shift 2
    pid=$(awk -v name="$name" '$1 == name { print $2 }' "$pids")
    until "$@"; do
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 15 "$run/$name.log" >&2
            fail "$name ended; all it said is in $run/$name.log. What still runs is stopped by: deploy/local.sh down"
        fi
        ((SECONDS < end)) || fail "$name is not ready; what it waits for is in $run/$name.log"
        sleep 0.2
    done
    echo "$name is ready"
}
answers() { [ "$(status_of "$1")" = "$2" ]; }

up() {
    local all=$1 name index redis jaeger_health=$other placement_health=$((other + 1)) scheduler_health=$((other + 2))
    for name in daprd placement scheduler jaeger; do
        [ -x "$bin/$name" ] || fail "$bin/$name is missing: run tests/real/build"
    done
    redis=$(command -v redis-server) || fail "redis-server is missing: install it (Debian: apt-get install redis-server)"
    command -v curl >/dev/null || fail "curl is missing"
    if [ -s "$pids" ]; then fail "it runs already (deploy/local.sh status); first: deploy/local.sh down"; fi
    mkdir -p "$run/etcd" "$run/redis"
    chmod 700 "$run/etcd"
    rm -rf "$run"/*.log "$run"/names.db* "$run/resources"
    # One folder for daprd, which reads all that it finds in there.
    mkdir "$run/resources"
    cp deploy/components/*.yaml deploy/resiliency.yaml "$run/resources/"
    free "$redis_port" redis REDIS_PORT
    free "$ui_port" jaeger JAEGER_UI_PORT
    free "$otlp_port" jaeger JAEGER_OTLP_GRPC_PORT
    free "$placement_port" placement PLACEMENT_PORT
    free "$scheduler_port" scheduler SCHEDULER_PORT
    for index in "${!services[@]}"; do
        free $((app_ports + index)) "the service ${services[index]}" APP_PORTS
        free $((grpc_ports + index)) "daprd of ${services[index]}" DAPR_GRPC_PORTS
        free $((http_ports + index)) "daprd of ${services[index]}" DAPR_HTTP_PORTS
    done

    start redis redis-server "$redis" --port "$redis_port" --bind 127.0.0.1 --dir "$run/redis" --appendonly yes --save ""
    until_ready redis 10 open "$redis_port"
    JAEGER_UI_PORT=$ui_port JAEGER_OTLP_GRPC_PORT=$otlp_port JAEGER_HEALTH_PORT=$jaeger_health \
        JAEGER_QUERY_PORT=$((other + 3)) JAEGER_OTLP_HTTP_PORT=$((other + 4)) \
        start jaeger jaeger "$bin/jaeger" --config "$root/deploy/jaeger.yaml"
    until_ready jaeger 30 answers "$jaeger_health/status" 200
    start placement placement "$bin/placement" --id=p0 --port="$placement_port" --listen-address=127.0.0.1 \
        --initial-cluster=p0=127.0.0.1:$((other + 5)) --healthz-port="$placement_health" \
        --healthz-listen-address=127.0.0.1 --metrics-port=$((other + 6)) --metrics-listen-address=127.0.0.1 \
        --tls-enabled=false --metadata-enabled=true
    until_ready placement 30 answers "$placement_health/healthz" 200
    start scheduler scheduler "$bin/scheduler" --id=s0 --port="$scheduler_port" --listen-address=127.0.0.1 \
        --healthz-port="$scheduler_health" --healthz-listen-address=127.0.0.1 --metrics-port=$((other + 7)) \
        --metrics-listen-address=127.0.0.1 --tls-enabled=false --etcd-data-dir="$run/etcd" \
        --etcd-client-port=$((other + 8)) --etcd-initial-cluster=s0=http://127.0.0.1:$((other + 9)) \
        --identity-directory-write="$run"
    until_ready scheduler 60 answers "$scheduler_health/healthz" 200
    for index in "${!services[@]}"; do daprd "$index"; done
    for index in "${!services[@]}"; do
        until_ready "daprd-${services[index]}" 30 answers "$((http_ports + index))/v1.0/healthz/outbound" 204
    done
    if $all; then apps; else say_how; fi
    cat <<EOF

Send an order:
  curl -si http://127.0.0.1:$app_ports/orders -H 'content-type: application/json' \\
    -d '{"id": "1", "customer": "Zoë", "sku": "tea-mint", "quantity": 2}'
Look at the traces (Jaeger built from source has its API only; its images have the pages too):
  curl -s 'http://127.0.0.1:$ui_port/api/traces?service=order&operation=POST%20%2Forders&limit=1'
Stop: deploy/local.sh down
EOF
}

daprd() {
    local name=${services[$1]} ports=$((other + 10 + $1 * 5))
    DAPR_HOST_IP=127.0.0.1 REDIS_HOST=127.0.0.1:$redis_port \
        OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$otlp_port OTEL_EXPORTER_OTLP_INSECURE=true \
        OTEL_EXPORTER_OTLP_PROTOCOL=grpc \
        start "daprd-$name" "app-id=$name" "$bin/daprd" --mode=standalone --app-id="$name" \
        --app-port=$((app_ports + $1)) --app-protocol=http --dapr-listen-addresses=127.0.0.1 \
        --dapr-http-port=$((http_ports + $1)) --dapr-grpc-port=$((grpc_ports + $1)) \
        --dapr-internal-grpc-port="$ports" --dapr-internal-grpc-listen-address=127.0.0.1 \
        --dapr-public-port=$((ports + 1)) --dapr-public-listen-address=127.0.0.1 \
        --metrics-port=$((ports + 2)) --metrics-listen-address=127.0.0.1 --profile-port=$((ports + 3)) \
        --placement-host-address=127.0.0.1:"$placement_port" --scheduler-host-address=127.0.0.1:"$scheduler_port" \
        --resources-path="$run/resources" --config="$root/deploy/config.yaml" \
        --dapr-graceful-shutdown-seconds=1
}

environment() {
    echo "DAPR_GRPC_PORT=$((grpc_ports + $1)) OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$otlp_port" \
        "OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_METRICS_EXPORTER=none"
}

apps() {
    local index name
    cargo build --quiet --example orders
    for index in "${!services[@]}"; do
        name=${services[index]}
        # shellcheck disable=SC2046
        start "$name" "service $name" env $(environment "$index") \
            "$root/target/debug/examples/orders" --service "$name" --port $((app_ports + index))
    done
    for index in "${!services[@]}"; do
        until_ready "daprd-${services[index]}" 30 answers "$((http_ports + index))/v1.0/healthz" 204
    done
}

say_how() {
    local index
    printf '\nStart the services, each in a terminal of its own:\n'
    for index in "${!services[@]}"; do
        echo "  $(environment "$index") cargo run --example orders -- --service ${services[index]} --port $((app_ports + index))"
    done
}

status() {
    [ -s "$pids" ] || { echo "nothing runs"; exit 1; }
    local name pid pattern state failed=0
    while read -r name pid pattern; do
        if runs "$name" "$pid" "$pattern"; then state="runs"; else state="has ended, see $run/$name.log" failed=1; fi
        for index in "${!services[@]}"; do
            if [ "$name" = "daprd-${services[index]}" ] && [ "$state" = runs ]; then
                answers "$((http_ports + index))/v1.0/healthz" 204 ||
                    { state="waits for its service on port $((app_ports + index))" failed=1; }
            fi
        done
        printf '%-20s %-8s %s\n' "$name" "$pid" "$state"
    done <"$pids"
    return "$failed"
}

down() {
    [ -s "$pids" ] || { echo "nothing runs"; return; }
    local name pid pattern end
    # The last first: services before their sidecars, those before Redis.
    tac "$pids" | while read -r name pid pattern; do
        runs "$name" "$pid" "$pattern" || continue
        kill "$pid" 2>/dev/null || true
        end=$((SECONDS + 10))
        while runs "$name" "$pid" "$pattern"; do
            if ((SECONDS >= end)); then kill -9 "$pid" 2>/dev/null || true; fi
            sleep 0.1
        done
        echo "$name has ended"
    done
    rm -f "$pids"
}

case "${1:-} ${2:-}" in
    "up ") up false ;;
    "up --all") up true ;;
    "status ") status ;;
    "down ") down ;;
    *) fail "usage: deploy/local.sh up [--all] | status | down" ;;
esac
