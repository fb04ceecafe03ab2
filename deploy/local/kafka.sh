#!/usr/bin/env bash
# kafka.sh runs real Kafka brokers (KRaft) on loopback: one, or three that replicate.
#
#   kafka.sh install             make sure Java and the Kafka jars are there
#   kafka.sh run DIR             run in the foreground until stdin closes or a signal comes;
#                                a parent that dies for any reason takes the brokers with it
#   kafka.sh start DIR           run in the background, print the address when it is ready
#   kafka.sh stop DIR            stop what start began
# and while it runs, for one broker N (from 1) of it:
#   kafka.sh kill-node DIR N     kill -9
#   kafka.sh stop-node DIR N     stop cleanly
#   kafka.sh start-node DIR N    start again, on its own data and port; returns when it listens
#
# DIR receives "address" once the brokers are ready (host:port, comma-separated if several), kafka-N.out (their logs),
# node-N/ (configuration, data and process id of each), "links" and "guarded". run and start empty it of what was there.
#
# KAFKA_BROKERS  1 (default) or 3; each is broker and controller
# KAFKA_LINKS    how many further listeners each broker has (default 0) whose advertised address is not its own: a test
#                puts a proxy there, and clients that connect through it stay behind it. "links" then has a line for each:
#                broker, address of the proxy (nobody listens there yet), address of the listener behind it
# KAFKA_GUARD    a PEM file with a key and its certificate: each broker has a further listener, with TLS and SASL
#                (SCRAM-SHA-512), where clients have the rights that ACLs give them and no others. Who comes through another
#                listener may do everything. "guarded" then has a line for each broker: the address of that listener
# KAFKA_OPTS     further JVM options
# NEXUS_PORT     the first broker's port, the others' follow, controllers are 10 higher; default: free ones
# NEXUS_CACHE    see lib.sh
# shellcheck disable=SC2030,SC2031 # make_archive sets variables for itself alone
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"
HERE=$(cd "${BASH_SOURCE[0]%/*}" && pwd)

VERSION=4.1.1
SCALA=2.13
READY_SECONDS=180 # an idle machine needs 5; three at once on a machine at work needed 70
LIBS=$CACHE/kafka_$SCALA-$VERSION
BROKERS=${KAFKA_BROKERS:-1}
case $BROKERS in 1 | 3) ;; *) die "KAFKA_BROKERS is $BROKERS: 1 or 3" ;; esac

install() {
	JAVA=$(java17)
	maven_libs "kafka_$SCALA-$VERSION" "org.apache.kafka:kafka_$SCALA:$VERSION" org.slf4j:slf4j-simple:1.7.36
	archive_classes
}

SHARE=SharedArchiveFile

# archive_classes lets a broker of this Java run once and keep an archive of the classes that it loaded: with it every
# later one starts with under two thirds of the CPU time.
archive_classes() {
	CLASSES=$LIBS-classes-$("$JAVA" -version 2>&1 | sed -n 's/.*version "\([^"]*\).*/\1/p')
	[ -e "$CLASSES" ] || make_archive 9>"$CACHE/kafka-classes.lock" ||
		say "could not archive the classes of Kafka, see $CLASSES.new: going on without"
}

make_archive() (
	flock 9 || exit 1
	[ ! -e "$CLASSES" ] || exit 0
	say "archiving the classes of Kafka $VERSION"
	final=$CLASSES CLASSES=$CLASSES.new SHARE=ArchiveClassesAtExit BROKERS=1 KAFKA_LINKS=0 KAFKA_GUARD="" NEXUS_PORT=""
	rm -rf "$CLASSES"
	mkdir -p "$CLASSES"
	launch "$CLASSES" || exit 1
	pid=$(recall "$CLASSES/node-1/pid") || exit 1
	kill "$pid"
	for _ in $(seq 1000); do [ -n "$(birth "$pid")" ] || break; sleep 0.2; done # it writes the archive as it ends
	[ -e "$CLASSES/broker.jsa" ] || exit 1
	rm -rf "$CLASSES/node-1"
	mv "$CLASSES" "$final"
)

PICKED=" "

# pick leaves in $PORT a free port that it has not picked before.
pick() {
	while PORT=$(free_port) || exit 1; [[ $PICKED = *" $PORT "* ]]; do :; done
	PICKED+="$PORT "
}

# pick_ports fills PORTS and CONTROLLERS, by broker.
pick_ports() {
	local n
	for n in $(seq "$BROKERS"); do
		if [ -n "${NEXUS_PORT:-}" ]; then
			PORTS[n]=$(unused $((NEXUS_PORT + n - 1))) || exit 1
			CONTROLLERS[n]=$(unused $((NEXUS_PORT + n + 9))) || exit 1
			continue
		fi
		pick && PORTS[n]=$PORT
		pick && CONTROLLERS[n]=$PORT
	done
}

# configure writes the properties of broker n, and its lines of "links".
configure() {
	local dir=$1 n=$2 node=$1/node-$2 voters="" i proxy
	for i in $(seq "$BROKERS"); do voters+="${voters:+,}$i@127.0.0.1:${CONTROLLERS[i]}"; done
	local listeners="PLAINTEXT://127.0.0.1:${PORTS[n]}" advertised="PLAINTEXT://127.0.0.1:${PORTS[n]}" protocols=PLAINTEXT:PLAINTEXT
	for i in $(seq "${KAFKA_LINKS:-0}"); do
		pick && proxy=$PORT
		pick
		listeners+=",LINK$i://127.0.0.1:$PORT" advertised+=",LINK$i://127.0.0.1:$proxy" protocols+=",LINK$i:PLAINTEXT"
		echo "$n 127.0.0.1:$proxy 127.0.0.1:$PORT" >>"$dir/links"
	done
	if [ -n "${KAFKA_GUARD:-}" ]; then
		pick
		listeners+=",GUARDED://127.0.0.1:$PORT" advertised+=",GUARDED://127.0.0.1:$PORT" protocols+=",GUARDED:SASL_SSL"
		echo "127.0.0.1:$PORT" >>"$dir/guarded"
	fi
	mkdir -p "$node"
	{
		cat "$HERE/kafka.properties"
		[ "$BROKERS" = 1 ] || cat "$HERE/kafka-$BROKERS.properties"
		cat <<-CONF

			# Where this broker is.
			process.roles=broker,controller
			node.id=$n
			controller.quorum.voters=$voters
			listeners=$listeners,CONTROLLER://127.0.0.1:${CONTROLLERS[n]}
			advertised.listeners=$advertised
			listener.security.protocol.map=$protocols,CONTROLLER:PLAINTEXT
			controller.listener.names=CONTROLLER
			inter.broker.listener.name=PLAINTEXT
			log.dirs=$node/data
		CONF
		# 3 by default for every listener.
		for i in $(seq "${KAFKA_LINKS:-0}"); do echo "listener.name.link$i.num.network.threads=1"; done
		[ -z "${KAFKA_GUARD:-}" ] || guard
	} >"$node/server.properties"
}

guard() {
	cat <<-CONF
		listener.name.guarded.ssl.keystore.type=PEM
		listener.name.guarded.ssl.keystore.location=$KAFKA_GUARD
		listener.name.guarded.sasl.enabled.mechanisms=SCRAM-SHA-512
		listener.name.guarded.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
		allow.everyone.if.no.acl.found=false
		super.users=User:ANONYMOUS
	CONF
}

# kafka NAME CLASS… runs a program of Kafka's jars in place of this (sub)shell, with the archive of that name; options of
# Java may come before the class.
kafka() {
	local archive=$CLASSES/$1.jsa
	shift
	# shellcheck disable=SC2086 # KAFKA_OPTS is several words
	exec "$JAVA" "-XX:$SHARE=$archive" -XX:+UseSerialGC ${KAFKA_OPTS:-} -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
		-Dorg.slf4j.simpleLogger.showDateTime=true -cp "$LIBS/*" "$@"
}

format() {
	kafka format -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format -t 4L6g3nShT-eMCtK--X86sw -c "$1/node-$2/server.properties" \
		>"$1/kafka-$2.out" 2>&1 </dev/null
}

# launch_node starts broker n in the background and notes its process. Settings that follow (name=value) win.
launch_node() {
	local dir=$1 n=$2 set overrides=()
	shift 2
	for set; do overrides+=(--override "$set"); done
	local heap=384m
	[ "$BROKERS" = 1 ] || heap=256m # three share the machine with what is tested
	kafka broker -Xms64m "-Xmx$heap" "-Dkafka.logs.dir=$dir/node-$n" kafka.Kafka "$dir/node-$n/server.properties" "${overrides[@]}" \
		>>"$dir/kafka-$n.out" 2>&1 </dev/null &
	remember "$dir/node-$n/pid" $!
}

# await_node waits until broker n listens; false if it ended, for instance because somebody took the port meanwhile.
await_node() {
	local until=$((SECONDS + READY_SECONDS)) port
	port=$(sed -n 's#^listeners=PLAINTEXT://127.0.0.1:\([0-9]*\).*#\1#p' "$1/node-$2/server.properties")
	while [ $SECONDS -lt $until ]; do
		recall "$1/node-$2/pid" >/dev/null || return 1
		! listens "$port" || return 0
		sleep 0.1
	done
	return 1
}

launch() {
	local dir=$1 n formats=()
	rm -rf "$dir"/node-* "$dir/links" "$dir/guarded"
	pick_ports
	ADDRESS=""
	for n in $(seq "$BROKERS"); do
		configure "$dir" "$n"
		ADDRESS+="${ADDRESS:+,}127.0.0.1:${PORTS[n]}"
		format "$dir" "$n" &
		formats[n]=$!
	done
	for n in $(seq "$BROKERS"); do
		wait "${formats[n]}" || die "formatting the data folder failed, see $dir/kafka-$n.out"
	done
	for n in $(seq "$BROKERS"); do launch_node "$dir" "$n"; done
	for n in $(seq "$BROKERS"); do
		await_node "$dir" "$n" || { end_nodes "$dir"; return 1; }
	done
}

# end_nodes ends all brokers together: one alone could not hand over its partitions, and would wait in vain.
end_nodes() {
	local node pid enders=()
	for node in "$1"/node-*; do
		pid=$(recall "$node/pid") || continue
		end "$pid" &
		enders+=($!)
	done
	for pid in "${enders[@]}"; do wait "$pid" || true; done
	rm -f "$1"/node-*/pid
}

running() {
	local node
	for node in "$1"/node-*; do ! recall "$node/pid" >/dev/null || return 0; done
	return 1
}

# stop takes the address away first: with it start-node sees that nobody wants its broker any more. The data goes, too:
# the next start would empty it, and folders of tests that nobody starts again would fill the disk.
stop() {
	rm -f "$1/address"
	end_nodes "$1"
	rm -rf "$1"/node-*/data
}

node_pid() { recall "$1/node-$2/pid" || die "broker $2 of $1 does not run"; }

kill-node() {
	local pid
	pid=$(node_pid "$1" "$2")
	kill -9 "$pid"
	while [ -n "$(birth "$pid")" ]; do sleep 0.02; done
}

stop-node() {
	local pid
	pid=$(node_pid "$1" "$2")
	end "$pid"
}

start-node() {
	[ -e "$1/address" ] || die "no brokers run in $1: use start"
	! recall "$1/node-$2/pid" >/dev/null || die "broker $2 of $1 runs already"
	install
	# The controller takes nobody in under a name until the last one of that name has been silent for the session timeout.
	# The long one that a single broker has would hold up its own return.
	launch_node "$1" "$2" broker.session.timeout.ms=6000
	[ -e "$1/address" ] || { end_nodes "$1"; die "the brokers of $1 were stopped meanwhile"; }
	await_node "$1" "$2" || { tail -n 20 "$1/kafka-$2.out" >&2; die "broker $2 does not start, see $1/kafka-$2.out"; }
}

case ${1:-} in
kill-node | stop-node | start-node)
	[ -f "${2:-}/node-${3:-}/server.properties" ] || die "usage: kafka.sh $1 DIR N, where DIR has a broker N"
	BROKERS=$(find "$2" -maxdepth 1 -name 'node-*' | wc -l)
	"$1" "$(cd "$2" && pwd)" "$3"
	;;
*) serve "$@" ;;
esac
