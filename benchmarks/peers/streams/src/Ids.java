import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import nexus.BodyHash;
import nexus.CommandMetadata;
import nexus.SHA256;
import nexus.UUID;
import org.apache.avro.util.Utf8;

/** The hashes and ids of the log's format. It belongs to one thread. */
final class Ids {
    private static final byte[] EVENT_NAMESPACE = ByteBuffer.allocate(16)
        .putLong(0x6f1d7c5e5a0c5d0eL).putLong(0x9d1b7f6f0a3b2c11L).array();

    private final MessageDigest sha256 = digest("SHA-256");
    private final MessageDigest sha1 = digest("SHA-1");

    private static MessageDigest digest(String name) {
        try {
            return MessageDigest.getInstance(name);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** UUIDv5 over aggregate type, aggregate id, command id and the index 0, each ended by a zero byte. */
    UUID event(Utf8 aggregateType, Utf8 aggregateId, Utf8 commandId) {
        sha1.update(EVENT_NAMESPACE);
        for (Utf8 part : new Utf8[] {aggregateType, aggregateId, commandId}) {
            sha1.update(part.getBytes(), 0, part.getByteLength());
            sha1.update((byte) 0);
        }
        sha1.update((byte) '0');
        sha1.update((byte) 0);
        byte[] id = java.util.Arrays.copyOf(sha1.digest(), 16);
        id[6] = (byte) (id[6] & 0x0f | 0x50);
        id[8] = (byte) (id[8] & 0x3f | 0x80);
        return new UUID(id);
    }

    /** SHA-256 over an event's metadata and payload, both without framing. */
    SHA256 chain(byte[] metadata, byte[] event) {
        sha256.update(metadata, Codec.FRAME_BYTES, metadata.length - Codec.FRAME_BYTES);
        sha256.update(event, Codec.FRAME_BYTES, event.length - Codec.FRAME_BYTES);
        return new SHA256(sha256.digest());
    }

    /** Tells a repeated command from another one under the same id. */
    BodyHash body(Utf8 commandType, CommandMetadata meta, byte[] command) {
        sha256.update(commandType.getBytes(), 0, commandType.getByteLength());
        sha256.update((byte) 0);
        sha256.update((byte) meta.expectation.ordinal());
        for (int shift = 56; shift >= 0; shift -= 8) {
            sha256.update((byte) (meta.expectedVersion >>> shift));
        }
        sha256.update(command, Codec.FRAME_BYTES, command.length - Codec.FRAME_BYTES);
        return new BodyHash(java.util.Arrays.copyOf(sha256.digest(), 16));
    }

    /** The milliseconds in a UUIDv7, or -1 for an id of another form. */
    static long mintedAt(Utf8 commandId) {
        if (commandId.getByteLength() != 36 || commandId.getBytes()[14] != '7') {
            return -1;
        }
        long millis = 0;
        for (int i = 0; i < 13; i++) {
            int digit = Character.digit(commandId.getBytes()[i], 16);
            if (i == 8) {
                continue; // the dash
            }
            if (digit < 0) {
                return -1;
            }
            millis = millis << 4 | digit;
        }
        return millis;
    }

    static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }
}
