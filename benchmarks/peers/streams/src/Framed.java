import org.apache.kafka.common.serialization.Serializer;

/** A framed Avro value and the partition that it goes to. */
record Framed(byte[] bytes, int partition) {
    static final Serializer<Framed> SERIALIZER = (topic, value) -> value.bytes();
}
