#!/usr/bin/env bash
# registry.sh runs one real schema registry (Apicurio, with its Confluent-compatible API) on free loopback ports.
#
#   registry.sh install | run DIR | start DIR | stop DIR     as lib.sh says, and while it runs:
#   registry.sh stop-server DIR | kill-server DIR | start-server DIR
#
# The API is http://ADDRESS/apis/ccompat/v7. DIR receives data/, which unlike those of other servers is kept from one
# start to the next, ids and all, and apicurio.out (its log). A new registry has the level BACKWARD_TRANSITIVE;
# Apicurio itself begins without any, which Nexus refuses.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

VERSION=3.3.3
READY_SECONDS=240 # an idle machine needs 10; one at work needed 50
APICURIO=$CACHE/apicurio-$VERSION

install() {
	JAVA=$(java21) || exit 1
	local archive=apicurio-archive-$VERSION
	[ ! -e "$APICURIO" ] || return 0
	maven_libs "$archive" "io.apicurio:apicurio-registry-app:$VERSION:tar.gz:all"
	(
		flock 9 || exit 1
		[ ! -e "$APICURIO" ] || exit 0
		rm -rf "$APICURIO.new"
		mkdir -p "$APICURIO.new"
		tar -xzf "$CACHE/$archive/apicurio-registry-app-$VERSION-all.tar.gz" -C "$APICURIO.new" || exit 1
		mv "$APICURIO.new" "$APICURIO"
	) 9>"$CACHE/apicurio.lock" || die "could not unpack $CACHE/$archive (is the disk full?): remove it and try again"
}

launch() {
	local dir=$1 port management
	port=$(client_port) || exit 1
	management=$(free_port) || exit 1
	[ "$port" != "$management" ] || return 1
	mkdir -p "$dir/data"
	"$JAVA" -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
		-Dquarkus.http.host=127.0.0.1 "-Dquarkus.http.port=$port" \
		-Dquarkus.management.host=127.0.0.1 "-Dquarkus.management.port=$management" \
		-Dquarkus.http.access-log.enabled=false -Dquarkus.otel.sdk.disabled=true \
		-Dapicurio.storage.kind=sql -Dapicurio.storage.sql.kind=h2 "-Dapicurio.datasource.url=jdbc:h2:file:$dir/data/registry" \
		-Dapicurio.rules.global.compatibility=BACKWARD_TRANSITIVE \
		-jar "$APICURIO/quarkus-run.jar" >"$dir/apicurio.out" 2>&1 </dev/null &
	PID=$!
	ADDRESS=127.0.0.1:$port
	local until=$((SECONDS + READY_SECONDS))
	while [ $SECONDS -lt $until ]; do
		kill -0 "$PID" 2>/dev/null || return 1
		if answers "$port"; then return 0; fi
		sleep 0.2
	done
	kill -9 "$PID" 2>/dev/null || true
	return 1
}

# answers PORT says whether the API answers there: the port is open a while before.
answers() {
	local status
	{
		exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
		printf 'GET /apis/ccompat/v7/config HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n\r\n' "$1" >&3
		read -r -t 10 -u 3 status || status=""
		exec 3<&-
	} 2>/dev/null
	[[ $status == *" 200 "* ]]
}

serve "$@"
