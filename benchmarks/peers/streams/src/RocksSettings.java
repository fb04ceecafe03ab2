import java.util.Map;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.Cache;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;
import org.rocksdb.RocksDB;

/** One block cache for all stores of the process, as Kafka Streams' documentation advises; README.md lists the rest. */
public final class RocksSettings implements RocksDBConfigSetter {
    static {
        RocksDB.loadLibrary(); // Kafka Streams does it later
    }

    private static final Cache CACHE = new LRUCache(256L << 20);

    @Override
    public void setConfig(String store, Options options, Map<String, Object> configs) {
        BlockBasedTableConfig table = (BlockBasedTableConfig) options.tableFormatConfig();
        table.setBlockCache(CACHE);
        options.setTableFormatConfig(table);
        options.setWriteBufferSize(32L << 20);
    }

    @Override
    public void close(String store, Options options) {
        // the cache is all stores'
    }
}
