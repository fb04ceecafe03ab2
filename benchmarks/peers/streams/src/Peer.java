import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.processor.StreamPartitioner;
import org.apache.kafka.streams.state.Stores;

/**
 * The benchmarks' peer on Kafka Streams. Arguments are name=value: what begins with "schema." is the registry's id
 * of a schema, context, aggregate and partitions say which topics, everything else is a setting of Kafka Streams.
 * It prints one line of JSON when it runs, and ends when its input does.
 */
public final class Peer {
    public static void main(String[] args) throws Exception {
        Map<String, Integer> schemaIds = new HashMap<>();
        Properties settings = new Properties();
        for (String arg : args) {
            String name = arg.substring(0, arg.indexOf('='));
            String value = arg.substring(arg.indexOf('=') + 1);
            if (name.startsWith("schema.")) {
                schemaIds.put(name.substring("schema.".length()), Integer.valueOf(value));
            } else {
                settings.put(name, value);
            }
        }
        String group = settings.getProperty(StreamsConfig.APPLICATION_ID_CONFIG);
        int partitions = Integer.parseInt((String) settings.remove("partitions"));

        long began = System.nanoTime();
        AtomicLong restored = new AtomicLong();
        KafkaStreams streams = new KafkaStreams(topology(group, partitions, schemaIds), settings);
        streams.setGlobalStateRestoreListener(countInto(restored));
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.RUNNING) {
                System.out.printf("{\"Seconds\":%.3f,\"Restored\":%d}%n", (System.nanoTime() - began) / 1e9, restored.get());
            } else if (now == KafkaStreams.State.ERROR) {
                System.exit(1);
            }
        });
        streams.start();
        while (System.in.read() >= 0) {
            // words would be ignored; the end of input is the parent's, or its wish
        }
        System.exit(streams.close(Duration.ofSeconds(60)) ? 0 : 1);
    }

    private static Topology topology(String group, int partitions, Map<String, Integer> schemaIds) {
        StreamPartitioner<org.apache.kafka.common.utils.Bytes, Framed> own = (topic, key, value, n) -> Optional.of(Set.of(value.partition()));
        Topology t = new Topology();
        t.addSource("in", Serdes.Bytes().deserializer(), Serdes.ByteArray().deserializer(), group + ".commands");
        t.addProcessor("stocks", () -> new Stocks(partitions, schemaIds), "in");
        // The table is written once per key and commit: its cache holds what changed since.
        t.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(Stocks.TABLE), Serdes.Bytes(), Serdes.ByteArray())
            .withCachingEnabled(), "stocks");
        // Every command is another key: a cache would only delay the writes.
        Duration kept = Duration.ofMillis(Stocks.WINDOW_MILLIS + Stocks.AHEAD_MILLIS);
        t.addStateStore(Stores.windowStoreBuilder(Stores.persistentWindowStore(Stocks.MEMORY, kept, Duration.ofMillis(1), false),
            Serdes.Bytes(), Serdes.ByteArray()).withCachingDisabled(), "stocks");
        t.addSink(Stocks.EVENTS, group + ".events", Serdes.Bytes().serializer(), Framed.SERIALIZER, own, "stocks");
        t.addSink(Stocks.OUTCOMES, group + ".outcomes", Serdes.Bytes().serializer(), Framed.SERIALIZER, own, "stocks");
        return t;
    }

    private static StateRestoreListener countInto(AtomicLong restored) {
        return new StateRestoreListener() {
            @Override
            public void onRestoreStart(TopicPartition at, String store, long from, long to) {
            }

            @Override
            public void onBatchRestored(TopicPartition at, String store, long to, long records) {
                restored.addAndGet(records);
            }

            @Override
            public void onRestoreEnd(TopicPartition at, String store, long total) {
            }
        };
    }
}
