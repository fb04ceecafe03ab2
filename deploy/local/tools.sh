#!/usr/bin/env bash
# tools.sh makes sure that what the tests need beyond Go is there: a C compiler for the race detector, curl, which the
# documentation is executed with, and shellcheck. The servers' needs are their own scripts' business.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v curl >/dev/null || missing+=(curl ca-certificates)
command -v shellcheck >/dev/null || missing+=(shellcheck)
[ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
