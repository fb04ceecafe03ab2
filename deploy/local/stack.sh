#!/usr/bin/env bash
# stack.sh runs what Nexus needs in production, on this machine and on loopback alone: Kafka, a schema registry with the
# Confluent API (Apicurio) and Elasticsearch.
#
#   stack.sh up       start what does not run, and return when all of it answers
#   stack.sh down     stop it
#
# BROKERS       1 (default) or 3, see kafka.sh
# STACK_DIR     where everything is kept, default deploy/local/run: kafka/, registry/, elasticsearch/, the output of all of
#               them in logs/, and nexus.yaml for "nexus run --config"
# STACK_PORTS   the ports, default "29092 28081 29200": of Kafka (three brokers take the next two as well, controllers are
#               10 higher), of the registry, of Elasticsearch
#
# A stack begins empty: up removes what an earlier one, and a Nexus on it, has left.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"
HERE=$(cd "${BASH_SOURCE[0]%/*}" && pwd)

SERVERS="kafka registry elasticsearch"
BROKERS=${BROKERS:-1}
case $BROKERS in 1 | 3) ;; *) die "BROKERS is $BROKERS: 1 or 3" ;; esac
DIR=${STACK_DIR:-$HERE/run}
declare -A PORT
read -r "PORT[kafka]" "PORT[registry]" "PORT[elasticsearch]" <<<"${STACK_PORTS:-29092 28081 29200}"

# locked runs a command while nobody else does; servers must not inherit the lock.
locked() {
	mkdir -p "$DIR"
	exec 7>"$DIR/lock"
	flock 7
	"$@"
}

# idle prints the servers that do not run.
idle() {
	local server
	for server in $SERVERS; do "$HERE/$server.sh" status "$DIR/$server" >/dev/null || echo "$server"; done | xargs
}

# ports prints all ports that the stack listens on for others to know.
ports() {
	local n
	for n in $(seq 0 $((BROKERS - 1))); do echo $((PORT[kafka] + n)) $((PORT[kafka] + 10 + n)); done
	echo "${PORT[registry]}" "${PORT[elasticsearch]}"
}

up() {
	local idle
	idle=$(idle)
	case $idle in
	"")
		[ "$(find "$DIR/kafka" -maxdepth 1 -name 'node-*' | wc -l)" = "$BROKERS" ] ||
			die "the stack runs with another number of brokers: make stack-down first"
		;;
	"$SERVERS") start_all ;;
	*) die "of the stack, $idle does not run any more, see $DIR/logs: make stack-down, then make stack-up" ;;
	esac
	describe
}

start_all() {
	local server port pids=() failed=""
	for port in $(ports); do unused "$port" >/dev/null; done
	for server in $SERVERS nexus-data logs; do rm -rf "${DIR:?}/$server"; done
	mkdir -p "$DIR/logs"
	trap 'stop_all; exit 1' INT TERM
	say "starting Kafka ($BROKERS), the registry and Elasticsearch"
	for server in $SERVERS; do
		NEXUS_PORT=${PORT[$server]} KAFKA_BROKERS=$BROKERS "$HERE/$server.sh" start "$DIR/$server" >/dev/null 7>&- &
		pids+=($!)
	done
	for server in $SERVERS; do
		wait "${pids[0]}" || failed+=" $server"
		pids=("${pids[@]:1}")
		link_logs "$server"
	done
	[ -z "$failed" ] || { stop_all; die "did not start:$failed; see $DIR/logs"; }
	configure
}

# link_logs shows the output of a server in logs/.
link_logs() {
	local out
	for out in "$DIR/$1"/*.out; do
		[ ! -e "$out" ] || ln -sf "../$1/${out##*/}" "$DIR/logs/"
	done
}

configure() {
	cat >"$DIR/nexus.yaml.new" <<-YAML
		# Nexus on the local stack: nexus run --config $DIR/nexus.yaml
		listen: 127.0.0.1:8080
		data: $DIR/nexus-data
		bus: kafka://$(<"$DIR/kafka/address")
		registry: http://$(<"$DIR/registry/address")/apis/ccompat/v7
		search: elasticsearch+http://$(<"$DIR/elasticsearch/address")
	YAML
	mv "$DIR/nexus.yaml.new" "$DIR/nexus.yaml"
}

describe() {
	cat <<-TEXT
		Kafka          $(<"$DIR/kafka/address")
		registry       http://$(<"$DIR/registry/address")/apis/ccompat/v7
		Elasticsearch  http://$(<"$DIR/elasticsearch/address")
		logs           $DIR/logs
		configuration  $DIR/nexus.yaml
		All of it answers; make stack-down stops it.
	TEXT
}

stop_all() {
	local server
	rm -f "$DIR/nexus.yaml"
	for server in $SERVERS; do "$HERE/$server.sh" stop "$DIR/$server" 7>&- & done
	wait
}

case ${1:-} in
up) locked up ;;
down) locked stop_all ;;
*) die "usage: stack.sh up | down" ;;
esac
