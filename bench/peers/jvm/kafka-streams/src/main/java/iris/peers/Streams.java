package iris.peers;

import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;

/** Kafka Streams: BOOTSTRAP GROUP INPUT FEEDBACK PREDICTIONS|- CSV THREADS COMMIT_MS STATE_DIR, until it is stopped. */
public final class Streams {
  private Streams() {}

  public static void main(String[] args) throws InterruptedException {
    String input = args[2], feedback = args[3], predictions = args[4];
    Classifier classifier = new Classifier(Path.of(args[5]));

    Properties config = new Properties();
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
    config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, args[6]);
    config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args[7]);
    config.put(StreamsConfig.STATE_DIR_CONFIG, args[8]);
    config.put(StreamsConfig.METRICS_RECORDING_LEVEL_CONFIG, "INFO");
    config.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    config.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), "10000");
    config.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
    config.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), "2");
    config.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), "262144");

    Consumed<byte[], byte[]> consumed = Consumed.with(Serdes.ByteArray(), Serdes.ByteArray());
    Produced<byte[], byte[]> produced = Produced.with(Serdes.ByteArray(), Serdes.ByteArray());
    StreamsBuilder builder = new StreamsBuilder();
    KStream<byte[], Classifier.Outcome> outcomes = builder.stream(input, consumed).mapValues(classifier::classify);
    outcomes
        .filter((key, outcome) -> outcome.mispredicted())
        .mapValues(Classifier.Outcome::value)
        .to(feedback, produced);
    if (!predictions.equals("-")) {
      outcomes.mapValues(Classifier.Outcome::value).to(predictions, produced);
    }
    KafkaStreams streams = new KafkaStreams(builder.build(), config);
    CountDownLatch stopped = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      streams.close();
      stopped.countDown();
    }));
    streams.start();
    stopped.await();
  }
}
