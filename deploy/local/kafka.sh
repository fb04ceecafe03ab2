#!/usr/bin/env bash
# kafka.sh runs one real Kafka broker (KRaft, one node) on free loopback ports.
#
#   kafka.sh install       make sure Java and the Kafka jars are there
#   kafka.sh run DIR       run in the foreground until stdin closes or a signal comes;
#                          a parent that dies for any reason takes the broker with it
#   kafka.sh start DIR     run in the background, print the address when it is ready
#   kafka.sh stop DIR      stop what start began
#
# DIR receives data/, kafka.out (its log), server.properties and, once the broker
# is ready, the file "address" (host:port). data/ is emptied by every run and start.
#
# NEXUS_CACHE   where jars are kept (default $HOME/.cache/nexus, else /tmp/nexus-cache-UID)
# KAFKA_OPTS    further JVM options
set -euo pipefail

VERSION=4.1.1
SCALA=2.13
READY_SECONDS=90

say() { echo "kafka.sh: $*" >&2; }
die() { say "$*"; exit 1; }

if [ -n "${NEXUS_CACHE:-}" ]; then CACHE=$NEXUS_CACHE
elif [ -n "${HOME:-}" ] && mkdir -p "$HOME/.cache/nexus" 2>/dev/null; then CACHE=$HOME/.cache/nexus
else CACHE=/tmp/nexus-cache-$(id -u); fi
LIBS=$CACHE/kafka_$SCALA-$VERSION

java_major() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }
have_java() { command -v java >/dev/null && [ "$(java_major)" -ge 17 ] 2>/dev/null; }

apt_install() {
	local sudo=""
	[ "$(id -u)" = 0 ] || sudo="sudo -n"
	command -v apt-get >/dev/null || die "needs $*, and there is no apt-get to install it with: install it by hand"
	say "installing $*"
	{ $sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends "$@"; } >&2 ||
		die "could not install $* with apt-get (root or passwordless sudo is needed)"
}

ensure_java() {
	have_java && return
	apt_install openjdk-17-jre-headless
	have_java || die "needs Java 17 or newer; java says: $(java -version 2>&1 | head -n 1)"
}

# install fetches the broker's jars once; several processes may call it at a time.
install() {
	ensure_java
	[ -e "$LIBS/complete" ] && return
	mkdir -p "$CACHE"
	exec 9>"$CACHE/kafka.lock"
	flock 9
	if [ ! -e "$LIBS/complete" ]; then
		command -v mvn >/dev/null || apt_install maven
		say "downloading org.apache.kafka:kafka_$SCALA:$VERSION"
		local work=$CACHE/kafka-install.$$
		rm -rf "$work" "$LIBS"
		mkdir -p "$work"
		cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_$SCALA</artifactId><version>$VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
		mvn -q -B -f "$work/pom.xml" "-Dmaven.repo.local=$CACHE/m2" \
			org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
			-DincludeScope=runtime "-DoutputDirectory=$work/libs" >&2 ||
			die "maven could not download Kafka $VERSION (is the network reachable?)"
		touch "$work/libs/complete"
		mv "$work/libs" "$LIBS"
		rm -rf "$work"
	fi
	exec 9>&-
}

# free_port prints a port below the ephemeral range that nobody listens on.
free_port() {
	local p
	for _ in $(seq 100); do
		p=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
		(exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || { echo "$p"; return; }
	done
	die "no free port between 20000 and 32000"
}

configure() {
	local dir=$1 port=$2 controller=$3
	cat >"$dir/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
auto.create.topics.enable=false
# One node: every internal topic has one replica.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
# Groups of one member start at once.
group.initial.rebalance.delay.ms=0
# A starved machine must not make the controller think that its only broker is dead.
broker.session.timeout.ms=120000
# Short sessions and transactions, so that tests of dead and sleeping processes are short.
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
# A transaction that begins before the markers of the last one are written waits on the
# broker's side: 20 ms by default, which is most of a short commit interval.
add.partitions.to.txn.retry.backoff.ms=2
CONF
}

# java_args fills ARGS; the caller runs java itself, so that $! is its pid.
java_args() {
	# shellcheck disable=SC2206
	ARGS=(-Xms64m -Xmx384m -XX:+UseSerialGC ${KAFKA_OPTS:-} -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
		-Dorg.slf4j.simpleLogger.showDateTime=true "-Dkafka.logs.dir=$1" -cp "$LIBS/*")
}

# launch starts the JVM in the background and leaves its pid in $PID; it answers
# false if the process ended before it was ready, for instance because somebody
# took the port meanwhile.
launch() {
	local dir=$1 port controller
	port=$(free_port) controller=$(free_port)
	[ "$port" != "$controller" ] || controller=$((controller + 1))
	rm -rf "$dir/data" "$dir/address"
	configure "$dir" "$port" "$controller"
	java_args "$dir"
	java "${ARGS[@]}" kafka.tools.StorageTool format -t 4L6g3nShT-eMCtK--X86sw -c "$dir/server.properties" >"$dir/kafka.out" 2>&1 ||
		die "formatting the data folder failed, see $dir/kafka.out"
	java "${ARGS[@]}" kafka.Kafka "$dir/server.properties" >>"$dir/kafka.out" 2>&1 </dev/null 9>&- &
	PID=$!
	local until=$((SECONDS + READY_SECONDS))
	while [ $SECONDS -lt $until ]; do
		kill -0 "$PID" 2>/dev/null || return 1
		if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "127.0.0.1:$port" >"$dir/address.new"
			mv "$dir/address.new" "$dir/address"
			return 0
		fi
		sleep 0.1
	done
	kill -9 "$PID" 2>/dev/null || true
	return 1
}

launch_retrying() {
	local dir=$1
	mkdir -p "$dir"
	for _ in 1 2 3; do launch "$dir" && return; done
	tail -n 20 "$dir/kafka.out" >&2 2>/dev/null || true
	die "Kafka $VERSION does not start, see $dir/kafka.out"
}

run() {
	local dir=$1
	install
	launch_retrying "$dir"
	trap 'kill "$PID" 2>/dev/null; for _ in $(seq 100); do kill -0 "$PID" 2>/dev/null || exit 0; sleep 0.1; done; kill -9 "$PID" 2>/dev/null; exit 0' EXIT INT TERM
	# Whoever started us holds the other end of stdin; its end of file is its death.
	cat >/dev/null
}

start() {
	local dir=$1
	install
	launch_retrying "$dir"
	echo "$PID" >"$dir/pid"
	disown "$PID"
	cat "$dir/address"
}

stop() {
	local dir=$1 pid
	[ -e "$dir/pid" ] || return 0
	pid=$(cat "$dir/pid")
	kill "$pid" 2>/dev/null || true
	for _ in $(seq 150); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null || true
	rm -f "$dir/pid" "$dir/address"
}

command=${1:-}
case $command in
install) install ;;
run | start | stop)
	[ -n "${2:-}" ] || die "usage: kafka.sh $command DIR"
	mkdir -p "$2"
	$command "$(cd "$2" && pwd)"
	;;
*) die "usage: kafka.sh install | run DIR | start DIR | stop DIR" ;;
esac
