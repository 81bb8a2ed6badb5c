package iris.peers;

import java.io.IOException;
import java.io.Serializable;
import java.nio.file.Path;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Flink: BOOTSTRAP GROUP INPUT FEEDBACK PREDICTIONS|- CSV PARALLELISM CHECKPOINT_MS, until it is stopped. */
public final class Flink {
  private static final TypeInformation<byte[]> BYTES = PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
  private static final OutputTag<byte[]> FEEDBACK = new OutputTag<>("feedback", BYTES);

  private Flink() {}

  public static void main(String[] args) throws Exception {
    String bootstrap = args[0], group = args[1], predictions = args[4];
    Configuration config = new Configuration();
    config.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(64));
    config.set(TaskManagerOptions.NETWORK_MEMORY_MAX, MemorySize.ofMebiBytes(64));
    StreamExecutionEnvironment flow = StreamExecutionEnvironment.createLocalEnvironment(config);
    flow.setParallelism(Integer.parseInt(args[6]));
    flow.enableCheckpointing(Long.parseLong(args[7]), CheckpointingMode.EXACTLY_ONCE);
    flow.getConfig().enableObjectReuse();

    KafkaSource<byte[]> source = KafkaSource.<byte[]>builder()
        .setBootstrapServers(bootstrap)
        .setTopics(args[2])
        .setGroupId(group)
        .setStartingOffsets(OffsetsInitializer.earliest())
        .setDeserializer(new Values())
        .setProperty("max.poll.records", "10000")
        .build();
    boolean publishes = !predictions.equals("-");
    SingleOutputStreamOperator<byte[]> predicted = flow
        .fromSource(source, WatermarkStrategy.noWatermarks(), "records")
        .process(new Classify(args[5], publishes), BYTES);
    predicted.getSideOutput(FEEDBACK).sinkTo(sink(bootstrap, group + "-feedback", args[3]));
    if (publishes) {
      predicted.sinkTo(sink(bootstrap, group + "-predictions", predictions));
    }
    flow.execute(group);
  }

  private static KafkaSink<byte[]> sink(String bootstrap, String transactions, String topic) {
    Properties producer = new Properties();
    producer.put("compression.type", "lz4");
    producer.put("linger.ms", "2");
    producer.put("batch.size", "262144");
    producer.put("transaction.timeout.ms", "60000");
    return KafkaSink.<byte[]>builder()
        .setBootstrapServers(bootstrap)
        .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .setTransactionalIdPrefix(transactions)
        .setTransactionNamingStrategy(TransactionNamingStrategy.INCREMENTING)
        .setKafkaProducerConfig(producer)
        .setRecordSerializer(new Records(topic))
        .build();
  }

  private static final class Values implements KafkaRecordDeserializationSchema<byte[]> {
    private static final long serialVersionUID = 1;

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<byte[]> out) throws IOException {
      out.collect(record.value());
    }

    @Override
    public TypeInformation<byte[]> getProducedType() {
      return BYTES;
    }
  }

  private record Records(String topic) implements KafkaRecordSerializationSchema<byte[]>, Serializable {
    @Override
    public ProducerRecord<byte[], byte[]> serialize(byte[] value, KafkaSinkContext context, Long timestamp) {
      return new ProducerRecord<>(topic, value);
    }
  }

  private static final class Classify extends ProcessFunction<byte[], byte[]> {
    private static final long serialVersionUID = 1;
    private final String csv;
    private final boolean publishes;
    private transient Classifier classifier;

    Classify(String csv, boolean publishes) {
      this.csv = csv;
      this.publishes = publishes;
    }

    @Override
    public void open(OpenContext context) {
      classifier = new Classifier(Path.of(csv));
    }

    @Override
    public void processElement(byte[] value, Context context, Collector<byte[]> out) {
      Classifier.Outcome outcome = classifier.classify(value);
      if (outcome.mispredicted()) {
        context.output(FEEDBACK, outcome.value());
      }
      if (publishes) {
        out.collect(outcome.value());
      }
    }
  }
}
