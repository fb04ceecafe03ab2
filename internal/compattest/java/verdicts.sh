#!/usr/bin/env bash
# verdicts.sh reads cases (JSON, as ../cases.json) and prints Avro Java's verdict on each, one a line: verdict, tab, name.
# It fetches the library and, where there is no JDK, one, the first time; see deploy/local/lib.sh.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../../deploy/local/lib.sh
source "$here/../../../deploy/local/lib.sh"

AVRO=1.12.2 # the one inside the Apicurio of deploy/local/registry.sh

command -v javac >/dev/null || apt_install openjdk-17-jdk-headless
maven_libs "avro-$AVRO" "org.apache.avro:avro:$AVRO"
# The java beside the compiler, which runs a source file as it is.
exec "$(dirname "$(readlink -f "$(command -v javac)")")/java" -XX:TieredStopAtLevel=1 \
	-cp "$CACHE/avro-$AVRO/*" "$here/Verdicts.java"
