import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import org.apache.avro.Schema;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.specific.SpecificDatumReader;
import org.apache.avro.specific.SpecificDatumWriter;
import org.apache.avro.specific.SpecificRecordBase;

/**
 * One record type in Confluent framing: a zero byte, the schema's id as four bytes, Avro. The classes are compiled
 * from the same schema that is registered under the id. It belongs to one thread: reader, writer and buffers are
 * used again.
 */
final class Codec<T extends SpecificRecordBase> {
    static final int FRAME_BYTES = 5;

    private final int id;
    private final byte[] frame;
    private final SpecificDatumReader<T> reader;
    private final SpecificDatumWriter<T> writer;
    private final ByteArrayOutputStream out = new ByteArrayOutputStream(4096);
    private BinaryDecoder decoder;
    private BinaryEncoder encoder;

    Codec(Schema schema, int id) {
        this.id = id;
        frame = ByteBuffer.allocate(FRAME_BYTES).put((byte) 0).putInt(id).array();
        reader = new SpecificDatumReader<>(schema);
        writer = new SpecificDatumWriter<>(schema);
    }

    T decode(byte[] framed) {
        ByteBuffer head = ByteBuffer.wrap(framed);
        if (framed.length < FRAME_BYTES || head.get() != 0 || head.getInt() != id) {
            throw new IllegalStateException("not framed with schema " + id + " (" + reader.getSchema().getFullName() + ")");
        }
        try {
            decoder = DecoderFactory.get().binaryDecoder(framed, FRAME_BYTES, framed.length - FRAME_BYTES, decoder);
            return reader.read(null, decoder);
        } catch (IOException e) {
            throw new IllegalStateException("decoding " + reader.getSchema().getFullName(), e);
        }
    }

    byte[] encode(T value) {
        out.reset();
        out.write(frame, 0, FRAME_BYTES);
        encoder = EncoderFactory.get().binaryEncoder(out, encoder);
        try {
            writer.write(value, encoder);
            encoder.flush();
        } catch (IOException e) {
            throw new IllegalStateException("encoding " + reader.getSchema().getFullName(), e);
        }
        return out.toByteArray();
    }
}
