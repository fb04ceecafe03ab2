import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.avro.AvroRuntimeException;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;

/** Prints what Avro's SchemaCompatibility says of each case on standard input. */
class Verdicts {
  public static void main(String[] args) throws Exception {
    StringBuilder out = new StringBuilder();
    for (JsonNode c : new ObjectMapper().readTree(System.in)) {
      out.append(verdict(c.get("reader"), c.get("writer"))).append('\t').append(c.get("name").asText()).append('\n');
    }
    System.out.print(out);
  }

  static String verdict(JsonNode reader, JsonNode writer) {
    Schema r, w;
    try {
      // A parser remembers names, so each schema has its own.
      r = new Schema.Parser().parse(reader.toString());
      w = new Schema.Parser().parse(writer.toString());
    } catch (AvroRuntimeException e) {
      return "refused";
    }
    try {
      return SchemaCompatibility.checkReaderWriterCompatibility(r, w).getType().name().toLowerCase();
    } catch (AvroRuntimeException e) { // a reader's field that answers to two of the writer's
      return "incompatible";
    }
  }
}
