import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.function.Supplier;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams from topic to topic: StreamsFromKafka BROKERS IN OUT at_least_once|exactly_once COMMIT_MS RULES FOLDER
 * PARTITIONS; RULES are all six, and may have the probe. Prints READY, and runs until it is ended.
 *
 * A card has one small aggregate, and a store with an entry a payment that is read only where a window's beginning
 * moves on: constant work a payment. Rules over merchants and devices go through repartition topics with slim records.
 * Stores are in memory, each with its changelog; the small ones are cached until the next commit.
 */
public final class StreamsFromKafka {
    private static final int SEEN_BYTES = 10;

    /** An alert's rule and tx_id; the sink writes its JSON. */
    private abstract static class Rules<V> implements Processor<String, V, String, byte[]> {
        private final String name;
        private ProcessorContext<String, byte[]> context;
        KeyValueStore<String, byte[]> kept;

        Rules(String name) {
            this.name = name;
        }

        @Override
        public void init(ProcessorContext<String, byte[]> context) {
            this.context = context;
            kept = context.getStateStore(name);
        }

        void alert(Record<String, V> record, int rule, long id) {
            context.forward(record.withValue(Payment.alert(rule, id)));
        }
    }

    /** What a card's aggregate holds, as bytes: the last six times, totals, where two windows begin, countries seen. */
    private static final class Card {
        final long[] last = new long[6];
        int lastLength;
        long count, spentDay, spentHour, hourBegins, dayBegins;
        /** Country (2 bytes) and its last time (8 bytes), so many times. */
        byte[] seen = new byte[SEEN_BYTES];
        int seenLength;

        static Card read(byte[] bytes, long now) {
            Card card = new Card();
            if (bytes == null) {
                card.hourBegins = card.dayBegins = now;
                return card;
            }
            ByteBuffer in = ByteBuffer.wrap(bytes);
            card.lastLength = in.get();
            for (int i = 0; i < card.lastLength; i++) card.last[i] = in.getLong();
            card.count = in.getLong();
            card.spentDay = in.getLong();
            card.spentHour = in.getLong();
            card.hourBegins = in.getLong();
            card.dayBegins = in.getLong();
            card.seenLength = in.get();
            // With room for one more.
            card.seen = Arrays.copyOfRange(bytes, in.position(), bytes.length + SEEN_BYTES);
            return card;
        }

        byte[] written() {
            ByteBuffer out = ByteBuffer.allocate(42 + 8 * lastLength + SEEN_BYTES * seenLength);
            out.put((byte) lastLength);
            for (int i = 0; i < lastLength; i++) out.putLong(last[i]);
            out.putLong(count).putLong(spentDay).putLong(spentHour).putLong(hourBegins).putLong(dayBegins);
            return out.put((byte) seenLength).put(seen, 0, SEEN_BYTES * seenLength).array();
        }

        void at(long time) {
            if (lastLength == 6) System.arraycopy(last, 1, last, 0, --lastLength);
            last[lastLength++] = time;
        }

        /** Countries older than a day are forgotten. */
        void see(String country, long time) {
            byte first = (byte) country.charAt(0), second = (byte) country.charAt(1);
            ByteBuffer all = ByteBuffer.wrap(seen);
            int length = 0;
            for (int i = 0; i < seenLength; i++) {
                int from = SEEN_BYTES * i, to = SEEN_BYTES * length;
                boolean same = seen[from] == first && seen[from + 1] == second;
                if (same || all.getLong(from + 2) < time - Payment.DAY) continue;
                System.arraycopy(seen, from, seen, to, SEEN_BYTES);
                length++;
            }
            all.put(SEEN_BYTES * length, first).put(SEEN_BYTES * length + 1, second);
            all.putLong(SEEN_BYTES * length + 2, time);
            seenLength = length + 1;
        }
    }

    private static final class Cards extends Rules<Payment> {
        private final boolean probe;
        private KeyValueStore<Bytes, byte[]> payments;

        Cards(boolean probe) {
            super("cards");
            this.probe = probe;
        }

        @Override
        public void init(ProcessorContext<String, byte[]> context) {
            super.init(context);
            payments = context.getStateStore("payments");
        }

        @Override
        public void process(Record<String, Payment> record) {
            Payment payment = record.value();
            long now = payment.time, cents = payment.cents;
            byte[] name = bytes(payment.card);
            Card card = Card.read(kept.get(payment.card), now);
            card.at(now);
            payments.put(key(name, now, payment.id), ByteBuffer.allocate(8).putLong(cents).array());
            card.count++;
            card.spentDay += cents;
            card.spentHour += cents;
            if (card.hourBegins < now - Payment.HOUR) {
                card.spentHour -= spent(card, name, card.hourBegins, now - Payment.HOUR, false);
                card.hourBegins = now - Payment.HOUR;
            }
            if (card.dayBegins < now - Payment.DAY) {
                card.spentDay -= spent(card, name, card.dayBegins, now - Payment.DAY, true);
                card.dayBegins = now - Payment.DAY;
            }
            card.see(payment.country, now);
            kept.put(payment.card, card.written());
            boolean six = card.lastLength == 6 && card.last[0] >= now - Payment.TEN_MINUTES;
            if (six && cents > 25_000) alert(record, 1, payment.id);
            if (card.spentHour > 500_000 && cents > 50_000) alert(record, 2, payment.id);
            if (card.seenLength >= 3) alert(record, 3, payment.id);
            if (card.count >= 5 && cents * card.count > 5 * card.spentDay) alert(record, 4, payment.id);
            if (probe && cents > Payment.PROBE_CENTS) alert(record, Payment.PROBE, payment.id);
        }

        /** What was spent from one time up to another; what has left the day is deleted as well. */
        private long spent(Card card, byte[] name, long from, long to, boolean delete) {
            long sum = 0;
            try (var found = payments.range(key(name, from, 0), key(name, to, 0))) {
                while (found.hasNext()) {
                    KeyValue<Bytes, byte[]> entry = found.next();
                    if (time(entry.key) >= to) break;
                    sum += ByteBuffer.wrap(entry.value).getLong();
                    if (delete) {
                        card.count--;
                        payments.delete(entry.key);
                    }
                }
            }
            return sum;
        }

        private static Bytes key(byte[] card, long time, long id) {
            ByteBuffer key = ByteBuffer.allocate(card.length + 17);
            return Bytes.wrap(key.put(card).put((byte) 0).putLong(time).putLong(id).array());
        }

        private static long time(Bytes key) {
            return ByteBuffer.wrap(key.get()).getLong(key.get().length - 16);
        }
    }

    /** Keeps the last 51 times: that is all that the rule can ask. */
    private static final class Merchants extends Rules<byte[]> {
        Merchants() {
            super("merchants");
        }

        @Override
        public void process(Record<String, byte[]> record) {
            ByteBuffer payment = ByteBuffer.wrap(record.value());
            long now = payment.getLong(), id = payment.getLong(), cents = payment.getLong();
            byte[] before = kept.get(record.key());
            int length = before == null ? 0 : before.length / 8;
            int from = Math.max(0, length - 50);
            while (from < length && ByteBuffer.wrap(before).getLong(8 * from) < now - Payment.MINUTE) from++;
            ByteBuffer times = ByteBuffer.allocate(8 * (length - from + 1));
            if (length > from) times.put(before, 8 * from, 8 * (length - from));
            kept.put(record.key(), times.putLong(now).array());
            if (length - from + 1 > 50 && cents < 500) alert(record, 5, id);
        }
    }

    /** Keeps the last time of each card of a device; cards are of one length. */
    private static final class Devices extends Rules<byte[]> {
        Devices() {
            super("devices");
        }

        @Override
        public void process(Record<String, byte[]> record) {
            byte[] value = record.value();
            ByteBuffer payment = ByteBuffer.wrap(value);
            long now = payment.getLong(), id = payment.getLong();
            int entry = 8 + value.length - 16;
            byte[] before = kept.get(record.key());
            int length = before == null ? 0 : before.length / entry;
            ByteBuffer cards = ByteBuffer.allocate((length + 1) * entry);
            for (int i = 0; i < length; i++) {
                int at = i * entry;
                boolean old = ByteBuffer.wrap(before).getLong(at) < now - Payment.HOUR;
                if (old || Arrays.equals(before, at + 8, at + entry, value, 16, value.length)) continue;
                cards.put(before, at, entry);
            }
            cards.putLong(now).put(value, 16, value.length - 16);
            kept.put(record.key(), Arrays.copyOf(cards.array(), cards.position()));
            if (cards.position() / entry >= 4) alert(record, 6, id);
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.ISO_8859_1);
    }

    private static <K> StoreBuilder<KeyValueStore<K, byte[]>> store(String name, Serde<K> key) {
        return Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore(name), key, Serdes.ByteArray());
    }

    private static <V> ProcessorSupplier<String, V, String, byte[]> with(
            Supplier<Rules<V>> rules, StoreBuilder<?>... stores) {
        return new ProcessorSupplier<>() {
            @Override
            public Processor<String, V, String, byte[]> get() {
                return rules.get();
            }

            @Override
            public Set<StoreBuilder<?>> stores() {
                return Set.of(stores);
            }
        };
    }

    private static void build(StreamsBuilder builder, String in, String out, boolean probe, int partitions) {
        Serde<Payment> parsed = Serdes.serdeFrom((topic, payment) -> null, (topic, json) -> Payment.parse(json));
        KStream<String, Payment> payments = builder.stream(in, Consumed.with(Serdes.String(), parsed));
        var written = Produced.with(Serdes.String(), Serdes.ByteArray());
        payments.process(with(() -> new Cards(probe), store("cards", Serdes.String()).withCachingEnabled(),
                store("payments", Serdes.Bytes()))).to(out, written);
        payments.map((card, p) -> KeyValue.pair(p.merchant,
                        ByteBuffer.allocate(24).putLong(p.time).putLong(p.id).putLong(p.cents).array()))
                .repartition(slim("by-merchant", partitions))
                .process(with(Merchants::new, store("merchants", Serdes.String()).withCachingEnabled()))
                .to(out, written);
        payments.map((card, p) -> KeyValue.pair(p.device, ByteBuffer.allocate(16 + p.card.length())
                        .putLong(p.time).putLong(p.id).put(bytes(p.card)).array()))
                .repartition(slim("by-device", partitions))
                .process(with(Devices::new, store("devices", Serdes.String()).withCachingEnabled()))
                .to(out, written);
    }

    private static Repartitioned<String, byte[]> slim(String name, int partitions) {
        return Repartitioned.<String, byte[]>as(name).withNumberOfPartitions(partitions)
                .withKeySerde(Serdes.String()).withValueSerde(Serdes.ByteArray());
    }

    public static void main(String[] arguments) {
        boolean exactlyOnce = arguments[3].equals("exactly_once");
        String delivery = exactlyOnce ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE;
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[2]);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, delivery);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, arguments[4]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[6]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
        // Its default is 100, which every record that is sent to another thread would wait for.
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 1);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        StreamsBuilder builder = new StreamsBuilder();
        boolean probe = Payment.has(Payment.mask(arguments[5]), Payment.PROBE);
        build(builder, arguments[1], arguments[2], probe, Integer.parseInt(arguments[7]));
        KafkaStreams streams = new KafkaStreams(builder.build(settings), settings);
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.RUNNING) System.out.println("READY");
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(5))));
        streams.start();
    }
}
