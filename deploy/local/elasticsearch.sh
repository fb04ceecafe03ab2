#!/usr/bin/env bash
# elasticsearch.sh runs one real Elasticsearch 7.17 on a loopback port.
#
#   elasticsearch.sh install | run DIR | start DIR | stop DIR     as lib.sh says, and while it runs:
#   elasticsearch.sh stop-server DIR | kill-server DIR | start-server DIR
#
# DIR receives data/, elasticsearch.out (its log) and, once the server is ready, the files
# "address" (host:port) and "pid" (the Java process first). data/ is emptied by every run and start.
#
# The server is put together from the jars of Maven Central: the engine and its HTTP
# transport, without the modules of the distribution (no scripts, no reindexing, few
# analyzers). For a server without authentication, on this machine alone, it needs no more.
#
# NEXUS_CACHE, NEXUS_PORT   see lib.sh
# ELASTICSEARCH_OPTS        further JVM options
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VERSION=7.17.28
LIBS=elasticsearch-$VERSION
COMPILER=ecj-3.33.0 # a Java compiler that needs no JDK
READY_SECONDS=240 # an idle machine needs 10; a starved one more than 120

install() {
	JAVA=$(java17) || exit 1
	maven_libs "$LIBS" "org.elasticsearch:elasticsearch:$VERSION" \
		"org.elasticsearch.plugin:transport-netty4-client:$VERSION" org.apache.logging.log4j:log4j-core:2.17.1
	maven_libs "$COMPILER" "org.eclipse.jdt:ecj:${COMPILER#ecj-}"
	compile
}

# source_code prints the program that starts the node.
source_code() {
	cat <<'JAVA'
import java.util.List;
import java.util.Map;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.transport.Netty4Plugin;

public class LocalNode extends Node {
    LocalNode(Settings settings) {
        super(InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "local"), List.of(Netty4Plugin.class), false);
    }

    public static void main(String[] args) throws Exception {
        Settings.Builder settings = Settings.builder();
        for (String arg : args) {
            String[] pair = arg.split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        LocalNode node = new LocalNode(settings.build());
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (Exception e) {
                e.printStackTrace();
            }
        }));
        node.start();
        Thread.currentThread().join();
    }
}
JAVA
}

# compile compiles it, once for what it says; $NODE is where.
compile() {
	NODE=$CACHE/elasticsearch-node-$VERSION-$(source_code | cksum | cut -d ' ' -f 1)
	[ ! -e "$NODE" ] || return 0
	local work=$NODE.$$ jars=("$CACHE/$LIBS"/*.jar)
	mkdir -p "$work"
	source_code >"$work/LocalNode.java"
	"$JAVA" -cp "$CACHE/$COMPILER/*" org.eclipse.jdt.internal.compiler.batch.Main -17 -nowarn -d "$work" \
		-cp "$(IFS=: && echo "${jars[*]}")" "$work/LocalNode.java" >&2 || die "the program that starts the node does not compile"
	mv -T "$work" "$NODE" 2>/dev/null || rm -rf "$work" # somebody else was faster
}

launch() {
	local dir=$1 port transport
	port=$(client_port) || exit 1
	transport=$(free_port) || exit 1
	[ "$port" != "$transport" ] || transport=$((transport + 1))
	[ -n "$AGAIN" ] || rm -rf "$dir/data"
	# shellcheck disable=SC2086
	"$JAVA" -Xms256m -Xmx512m -XX:+UseSerialGC ${ELASTICSEARCH_OPTS:-} -Dlog4j2.level=WARN -Dlog4j2.disable.jmx=true \
		-cp "$NODE:$CACHE/$LIBS/*" LocalNode \
		cluster.name=nexus-local node.name=local "path.home=$dir" "path.data=$dir/data" \
		transport.type=netty4 transport.host=127.0.0.1 "transport.port=$transport" \
		http.type=netty4 http.host=127.0.0.1 "http.port=$port" \
		discovery.type=single-node cluster.routing.allocation.disk.threshold_enabled=false \
		>"$dir/elasticsearch.out" 2>&1 </dev/null 9>&- &
	PID=$!
	ADDRESS=127.0.0.1:$port
	local until=$((SECONDS + READY_SECONDS))
	while [ $SECONDS -lt $until ]; do
		kill -0 "$PID" 2>/dev/null || return 1
		! ready "$port" || return 0
		sleep 0.1
	done
	kill -9 "$PID" 2>/dev/null || true
	return 1
}

# ready says whether the node answers and has its shards.
ready() {
	local status
	exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
	printf 'GET /_cluster/health?wait_for_status=yellow&wait_for_no_initializing_shards=true&timeout=5s HTTP/1.0\r\n\r\n' >&3
	read -r status <&3 || status=""
	exec 3>&-
	[[ $status = *" 200 "* ]]
} 2>/dev/null

serve "$@"
