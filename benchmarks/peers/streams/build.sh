#!/usr/bin/env bash
# build.sh compiles the Kafka Streams peer and prints its class path. What it made it keeps, under the hash of its
# sources, so that only the first call after a change takes its half a minute.
#
# NEXUS_CACHE   where it is kept (default $HOME/.cache/nexus, else /tmp/nexus-cache-UID)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
schemas=$here/../../../schemas/avro

say() { echo "build.sh: $*" >&2; }
die() { say "$*"; exit 1; }

if [ -n "${NEXUS_CACHE:-}" ]; then CACHE=$NEXUS_CACHE
elif [ -n "${HOME:-}" ] && mkdir -p "$HOME/.cache/nexus" 2>/dev/null; then CACHE=$HOME/.cache/nexus
else CACHE=/tmp/nexus-cache-$(id -u); fi

javac_major() { javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p'; }
have_jdk() { command -v javac >/dev/null && [ "$(javac_major)" -ge 17 ] 2>/dev/null; }

apt_install() {
	local sudo=""
	[ "$(id -u)" = 0 ] || sudo="sudo -n"
	command -v apt-get >/dev/null || die "needs $*, and there is no apt-get to install it with: install it by hand"
	say "installing $*"
	{ $sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends "$@"; } >&2 ||
		die "could not install $* with apt-get (root or passwordless sudo is needed)"
}

avsc=("$schemas"/platform/*.avsc "$schemas"/retail/stock/*.avsc)
hash=$(cat "$0" "$here/pom.xml" "$here"/src/*.java "${avsc[@]}" | sha256sum | cut -c1-16)
out=$CACHE/streams-peer-$hash

if [ ! -e "$out/complete" ]; then
	mkdir -p "$CACHE"
	exec 9>"$CACHE/streams-peer.lock"
	flock 9
	if [ ! -e "$out/complete" ]; then
		have_jdk || apt_install openjdk-17-jdk-headless
		have_jdk || die "needs a JDK of version 17 or newer; javac says: $(javac -version 2>&1)"
		command -v mvn >/dev/null || apt_install maven
		say "compiling the Kafka Streams peer"
		work=$CACHE/streams-peer-build.$$
		rm -rf "$work" "$out"
		mkdir -p "$work/schemas"
		# Logical types change nothing on the wire, but Avro's compiler makes no custom coders, its fastest code, for
		# records that have them.
		for f in "${avsc[@]}"; do
			sed -E 's/, *"logicalType": *"[^"]*"//; s/^ *"logicalType": *"[^"]*",//' "$f" >"$work/schemas/$(basename "$f")"
		done
		mvn -q -B -f "$here/pom.xml" "-Dmaven.repo.local=$CACHE/m2" "-Dschemas=$work/schemas" "-Dout=$work/target" compile >&2 ||
			die "maven could not build the peer (is the network reachable?)"
		touch "$work/target/complete"
		mv "$work/target" "$out"
		rm -rf "$work"
	fi
	exec 9>&-
fi
echo "$out/classes:$out/lib/*"
