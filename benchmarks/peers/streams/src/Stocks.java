import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import nexus.CommandMetadata;
import nexus.Envelope;
import nexus.Metadata;
import nexus.Outcome;
import nexus.OutcomeEvent;
import nexus.OutcomeFault;
import nexus.OutcomeKind;
import nexus.Remembered;
import nexus.SHA256;
import org.apache.avro.util.Utf8;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.WindowStore;
import org.apache.kafka.streams.state.WindowStoreIterator;
import shop.stock.AdjustStock;
import shop.stock.Stock;
import shop.stock.StockAdjusted;
import shop.stock.StockTable;

/**
 * The aggregate processor of the shop's stock, step by step what the platform's does with AdjustStock: dedupe,
 * expected version, validate, decide, evolve; out go the event, the outcome and the table record. A record that it
 * cannot read ends the program: the benchmark sends none.
 */
final class Stocks implements Processor<Bytes, byte[], Bytes, Framed> {
    static final String TABLE = "table";
    static final String MEMORY = "commands";
    static final String EVENTS = "events";
    static final String OUTCOMES = "outcomes";

    /** Commands are remembered for ten minutes, and ids may come from clocks that are a minute ahead. */
    static final long AHEAD_MILLIS = 60_000;
    static final long WINDOW_MILLIS = 10 * 60_000;
    private static final long STALE_MILLIS = 9 * 60_000;
    private static final int RECENT_MAX = 8;

    private static final Utf8 AGGREGATE = new Utf8("stock");
    private static final Utf8 COMMAND = new Utf8("shop.stock.AdjustStock");
    private static final Utf8 EVENT = new Utf8("shop.stock.StockAdjusted");
    private static final Utf8 NONE = new Utf8("");
    private static final String META = "nexus-meta";

    private final int partitions;
    private final Codec<CommandMetadata> commandMetas;
    private final Codec<AdjustStock> commands;
    private final Codec<StockAdjusted> events;
    private final Codec<Metadata> metas;
    private final Codec<Outcome> outcomes;
    private final Codec<StockTable> tables;
    private final Ids ids = new Ids();

    private ProcessorContext<Bytes, Framed> context;
    private KeyValueStore<Bytes, byte[]> table;
    private WindowStore<Bytes, byte[]> memory;

    Stocks(int partitions, Map<String, Integer> schemaIds) {
        this.partitions = partitions;
        commandMetas = new Codec<>(CommandMetadata.getClassSchema(), schemaIds.get("nexus.CommandMetadata"));
        commands = new Codec<>(AdjustStock.getClassSchema(), schemaIds.get("shop.stock.AdjustStock"));
        events = new Codec<>(StockAdjusted.getClassSchema(), schemaIds.get("shop.stock.StockAdjusted"));
        metas = new Codec<>(Metadata.getClassSchema(), schemaIds.get("nexus.Metadata"));
        outcomes = new Codec<>(Outcome.getClassSchema(), schemaIds.get("nexus.Outcome"));
        tables = new Codec<>(StockTable.getClassSchema(), schemaIds.get("shop.stock.StockTable"));
    }

    @Override
    public void init(ProcessorContext<Bytes, Framed> context) {
        this.context = context;
        table = context.getStateStore(TABLE);
        memory = context.getStateStore(MEMORY);
    }

    /** One command under way. */
    private final class Step {
        final Record<Bytes, byte[]> record;
        final CommandMetadata meta;
        final AdjustStock command;
        final StockTable row;
        final nexus.BodyHash body;
        final long at;
        final long version; // before the command

        Step(Record<Bytes, byte[]> record) {
            this.record = record;
            at = record.timestamp();
            meta = commandMetas.decode(record.headers().lastHeader(META).value());
            command = commands.decode(record.value());
            byte[] key = record.key().get();
            int partition = context.taskId().partition();
            if (!command.sku.equals(new Utf8(key)) || Utils.toPositive(Utils.murmur2(key)) % partitions != partition) {
                throw new IllegalStateException("command " + meta.commandId + " has the wrong key or partition");
            }
            body = ids.body(COMMAND, meta, record.value());
            byte[] stored = table.get(record.key());
            row = stored == null ? blank() : tables.decode(stored);
            version = row.envelope.version;
        }

        /** The outcome of an earlier command with the same id, null if none is remembered. */
        Outcome firstOutcome() {
            for (Remembered r : row.envelope.recent) {
                if (r.commandId.equals(meta.commandId)) {
                    return recall(r);
                }
            }
            byte[] stored = remembered();
            return stored == null ? null : outcomes.decode(stored);
        }

        private byte[] remembered() {
            long minted = Ids.mintedAt(meta.commandId);
            if (minted >= 0) { // one look into one segment instead of a scan of all
                return memory.fetch(id(), minted);
            }
            try (WindowStoreIterator<byte[]> found = memory.fetch(id(), at - WINDOW_MILLIS, at)) {
                return found.hasNext() ? found.next().value : null;
            }
        }

        void remember(byte[] outcome) {
            long minted = Ids.mintedAt(meta.commandId);
            memory.put(id(), outcome, minted >= 0 ? minted : at);
        }

        Bytes id() {
            return Bytes.wrap(meta.commandId.getByteLength() == meta.commandId.getBytes().length
                ? meta.commandId.getBytes() : java.util.Arrays.copyOf(meta.commandId.getBytes(), meta.commandId.getByteLength()));
        }

        private Outcome recall(Remembered r) {
            Outcome out = outcome(r.kind);
            out.commandType = r.commandType;
            out.code = r.code;
            out.detail = r.detail;
            out.version = r.version;
            out.bodyHash = r.bodyHash;
            for (Utf8 type : r.eventTypes) { // this aggregate's commands make one event at most
                out.events.add(new OutcomeEvent(ids.event(AGGREGATE, command.sku, r.commandId), type, r.version));
            }
            return out;
        }

        void repeat(Outcome first) {
            if (first.bodyHash.equals(body) && first.aggregateId.equals(command.sku)) {
                first.repeated = true;
                send(outcomes.encode(first));
                return;
            }
            Outcome out = refuse("command-id-reused", "command id " + meta.commandId
                + " was used for another command; a repetition must be the same in type, body and expected version");
            out.repeated = true;
            send(outcomes.encode(out));
        }

        void run() {
            Outcome no = refusal();
            if (no == null) {
                no = rejection();
            }
            if (no == null) {
                accept();
            } else {
                settle(no);
            }
        }

        private Outcome refusal() {
            long minted = Ids.mintedAt(meta.commandId);
            if (minted >= 0 && at - minted > STALE_MILLIS) {
                return refuse("stale-command", "command id " + meta.commandId + " was minted " + (at - minted) / 1000
                    + " s before it was logged and is not remembered");
            }
            if (minted > at + AHEAD_MILLIS) { // it would move the memory's window
                return refuse("stale-command", "command id " + meta.commandId + " comes from a clock that is ahead");
            }
            boolean met = switch (meta.expectation) {
                case ANY -> true;
                case EXACT -> version == meta.expectedVersion;
                case EXISTS -> version != 0;
                case ABSENT -> version == 0;
            };
            if (!met) {
                return refuse("version-conflict", AGGREGATE + " " + command.sku + " stands at version " + version);
            }
            List<OutcomeFault> faults = validate(command);
            if (!faults.isEmpty()) {
                Outcome out = refuse("invalid-command", "the command is invalid in itself: " + faults.get(0).detail);
                out.faults = faults;
                return out;
            }
            return null;
        }

        private Outcome rejection() {
            if (Collections.binarySearch(row.state.references, command.reference) < 0) {
                return null;
            }
            Outcome out = outcome(OutcomeKind.REJECTED);
            out.code = new Utf8("reference-already-booked");
            out.detail = new Utf8(command.reference + " was booked for " + command.sku + " before");
            return out;
        }

        private void accept() {
            Envelope env = row.envelope;
            StockAdjusted event = new StockAdjusted(command.sku, command.description, command.quantity, command.reference);
            Metadata m = new Metadata(ids.event(AGGREGATE, command.sku, meta.commandId), AGGREGATE, command.sku,
                version + 1, meta.commandId, meta.correlationId, meta.commandId, meta.actor, meta.tenant,
                Math.max(at, env.at), meta.traceparent, env.hash);
            byte[] value = events.encode(event);
            byte[] header = metas.encode(m);
            env.version = m.version;
            env.at = m.at;
            env.hash = ids.chain(header, value);
            env.eventsSinceSnapshot++;
            env.bytesSinceSnapshot += value.length - Codec.FRAME_BYTES;
            evolve(row.state, event);
            context.forward(new Record<>(record.key(), framed(value), at, new RecordHeaders(new Header[] {new RecordHeader(META, header)})), EVENTS);
            Outcome out = outcome(OutcomeKind.ACCEPTED);
            out.version = env.version;
            out.events.add(new OutcomeEvent(m.eventId, EVENT, env.version));
            settle(out);
        }

        private void settle(Outcome out) {
            Envelope env = row.envelope;
            if (env.version != 0) {
                List<Utf8> types = new ArrayList<>(out.events.size());
                for (OutcomeEvent e : out.events) {
                    types.add(e.type);
                }
                if (env.recent.size() == RECENT_MAX) {
                    env.recent.remove(0);
                }
                env.recent.add(new Remembered(out.commandId, out.commandType, out.bodyHash, out.kind, out.code, out.detail, out.version, types));
                table.put(record.key(), tables.encode(row));
            }
            byte[] value = outcomes.encode(out);
            send(value);
            remember(value);
        }

        private void send(byte[] outcome) {
            context.forward(new Record<>(id(), framed(outcome), at), OUTCOMES);
        }

        private Outcome refuse(String code, String detail) {
            Outcome out = outcome(OutcomeKind.REFUSED);
            out.code = new Utf8(code);
            out.detail = new Utf8(detail);
            return out;
        }

        private Outcome outcome(OutcomeKind kind) {
            return new Outcome(meta.commandId, COMMAND, AGGREGATE, command.sku, kind, NONE, NONE, new ArrayList<>(0),
                version, new ArrayList<>(1), body, at, false);
        }

        private Framed framed(byte[] bytes) {
            return new Framed(bytes, context.taskId().partition());
        }
    }

    @Override
    public void process(Record<Bytes, byte[]> record) {
        Step step = new Step(record);
        Outcome first = step.firstOutcome();
        if (first != null) {
            step.repeat(first);
        } else {
            step.run();
        }
    }

    private static StockTable blank() {
        Envelope env = new Envelope(0L, 0L, 1, 0L, 0L, new SHA256(new byte[32]), new ArrayList<>(1));
        return new StockTable(env, new Stock(0L, new ArrayList<>(1)));
    }

    private static List<OutcomeFault> validate(AdjustStock c) {
        List<OutcomeFault> faults = new ArrayList<>(0);
        String reference = c.reference.toString();
        boolean text = !reference.isEmpty() && c.reference.getByteLength() <= 256
            && reference.chars().noneMatch(Character::isISOControl);
        if (!text) {
            faults.add(fault("/reference", "malformed", "must be 1 to 64 characters of UTF-8, none of them a control character"));
        }
        if (c.quantity == 0) {
            faults.add(fault("/quantity", "zero", "an adjustment of 0 units adjusts nothing"));
        }
        return faults;
    }

    private static OutcomeFault fault(String pointer, String code, String detail) {
        return new OutcomeFault(new Utf8(pointer), new Utf8(code), new Utf8(detail.getBytes(StandardCharsets.UTF_8)));
    }

    private static void evolve(Stock stock, StockAdjusted e) {
        stock.onHand += e.quantity;
        int at = Collections.binarySearch(stock.references, e.reference);
        stock.references.add(at < 0 ? -at - 1 : at, e.reference);
    }
}
