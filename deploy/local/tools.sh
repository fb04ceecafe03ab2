#!/usr/bin/env bash
# tools.sh makes sure that what the tests need beyond Go is there: a C compiler for the race detector, and curl, which
# the documentation is executed with. Java and Maven are kafka.sh's own business.
set -euo pipefail

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v curl >/dev/null || missing+=(curl ca-certificates)
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo -n"
command -v apt-get >/dev/null || { echo "tools.sh: needs ${missing[*]}, and there is no apt-get to install it with: install it by hand" >&2; exit 1; }
echo "tools.sh: installing ${missing[*]}" >&2
{ $sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends "${missing[@]}"; } >&2 || {
	echo "tools.sh: could not install ${missing[*]} with apt-get (root or passwordless sudo is needed)" >&2
	exit 1
}
