import java.nio.file.Path;
import java.util.Properties;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * Flink's DataStream from topic to topic: FlinkFromKafka BROKERS IN OUT at_least_once|exactly_once INTERVAL_MS RULES
 * FOLDER. INTERVAL_MS is the time between checkpoints, which is when transactions end. Prints READY, and runs until it
 * is ended. Tuned for latency: no buffer waits, sinks that are chained to their rules, transactional ids used again.
 */
public final class FlinkFromKafka {
    private record Options(
            String brokers, String in, String out, boolean exactlyOnce, String interval, int mask, Path folder) {}

    public static final class Parsed extends AbstractDeserializationSchema<Payment> {
        @Override
        public Payment deserialize(byte[] json) {
            return Payment.parse(json);
        }
    }

    public static final class Written implements SerializationSchema<long[]> {
        @Override
        public byte[] serialize(long[] alert) {
            return Payment.alert(alert[0], alert[1]);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Options options = new Options(arguments[0], arguments[1], arguments[2], arguments[3].equals("exactly_once"),
                arguments[4], Payment.mask(arguments[5]), Path.of(arguments[6]).toAbsolutePath());
        var job = StreamExecutionEnvironment.createLocalEnvironment(2, settings(options));
        job.setBufferTimeout(0);
        var source = KafkaSource.<Payment>builder()
                .setBootstrapServers(options.brokers)
                .setTopics(options.in)
                .setGroupId(options.out)
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(new Parsed())
                .setProperty("max.poll.records", "1000")
                .build();
        var payments = job.fromSource(source, WatermarkStrategy.noWatermarks(), "payments");
        var alerts = FlinkRules.build(payments, options.mask);
        if (options.exactlyOnce) {
            // One sink for all: each would have transactions of its own.
            alerts.stream().reduce((all, more) -> all.union(more)).orElseThrow().sinkTo(sink(options, "all"));
        } else {
            for (int i = 0; i < alerts.size(); i++) alerts.get(i).sinkTo(sink(options, "key-" + i));
        }
        var running = job.executeAsync("six rules");
        while (running.getJobStatus().get() != JobStatus.RUNNING) Thread.sleep(50);
        System.out.println("READY");
        running.getJobExecutionResult().get();
    }

    private static KafkaSink<long[]> sink(Options options, String name) {
        Properties producer = new Properties();
        producer.put("linger.ms", "0");
        producer.put("acks", "all");
        producer.put("transaction.timeout.ms", "60000");
        var record = KafkaRecordSerializationSchema.<long[]>builder()
                .setTopic(options.out)
                .setValueSerializationSchema(new Written())
                .build();
        var sink = KafkaSink.<long[]>builder()
                .setBootstrapServers(options.brokers)
                .setKafkaProducerConfig(producer)
                .setRecordSerializer(record);
        if (!options.exactlyOnce) return sink.setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE).build();
        return sink.setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(options.out + "-" + name)
                .setTransactionNamingStrategy(TransactionNamingStrategy.POOLING)
                .build();
    }

    private static Configuration settings(Options options) {
        Configuration settings = new Configuration();
        settings.setString("state.backend.type", "hashmap");
        settings.setString("pipeline.object-reuse", "true");
        settings.setString("rest.bind-port", "0");
        settings.setString("taskmanager.memory.network.min", "128mb");
        settings.setString("taskmanager.memory.network.max", "128mb");
        settings.setString("execution.checkpointing.interval", options.interval + " ms");
        settings.setString("execution.checkpointing.min-pause", "0 ms");
        settings.setString("execution.checkpointing.mode", options.exactlyOnce ? "EXACTLY_ONCE" : "AT_LEAST_ONCE");
        settings.setString("execution.checkpointing.storage", "filesystem");
        settings.setString("execution.checkpointing.dir", options.folder.toUri() + "/checkpoints");
        settings.setString("execution.checkpointing.timeout", "60 s");
        return settings;
    }
}
