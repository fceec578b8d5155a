import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.api.common.typeutils.base.array.LongPrimitiveArraySerializer;
import org.apache.flink.api.java.tuple.Tuple5;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/**
 * The six rules on Flink's DataStream, by hand, as an expert team writes them where OVER is too slow: keyed functions
 * over heap state, rows in order of arrival, no watermark waited for. State is arrays with serializers of their own,
 * for a checkpoint copies it, and Kryo, the default, would copy object by object. What leaves is {rule, tx_id}.
 */
final class FlinkRules {
    private static final TypeInformation<long[]> ALERT = PrimitiveArrayTypeInfo.LONG_PRIMITIVE_ARRAY_TYPE_INFO;

    /** Key, the other text that its rules need, time, cents, tx_id: what is sent from operator to operator. */
    public static final class Slim extends Tuple5<String, String, Long, Long, Long> {
        public Slim() {}

        Slim(String key, String other, Payment payment) {
            super(key, other, payment.time, payment.cents, payment.id);
        }
    }

    /** One stream of alerts for each key that the rules of `mask` need. */
    static List<DataStream<long[]>> build(DataStream<Payment> payments, int mask) {
        List<DataStream<long[]>> alerts = new ArrayList<>();
        if ((mask & 0b11111) != 0) alerts.add(judged(payments, p -> new Slim(p.card, p.country, p), new Cards(mask)));
        if (Payment.has(mask, 5)) alerts.add(judged(payments, p -> new Slim(p.merchant, "", p), new Merchants()));
        if (Payment.has(mask, 6)) alerts.add(judged(payments, p -> new Slim(p.device, p.card, p), new Devices()));
        return alerts;
    }

    private static DataStream<long[]> judged(
            DataStream<Payment> payments, MapFunction<Payment, Slim> slim, Rules<?> rules) {
        return payments.map(slim).returns(Slim.class).keyBy(row -> row.f0, Types.STRING).process(rules).returns(ALERT);
    }

    /** What a card keeps: its payments, where three windows begin among them, and running totals of the windows. */
    public static final class Card {
        long[] times = new long[4];
        int[] cents = new int[4];
        short[] countries = new short[4];
        int first, hour, tenMinutes, end;
        long spentKept, spentHour;
        short[] seen = new short[2];
        int[] seenCounts = new int[2];
        int seenLength;

        /** Payments older than `kept`, the longest window that is asked for, are forgotten. */
        void add(long time, int amount, short country, long kept, boolean distinct) {
            if (end == times.length) {
                int length = end - first;
                shrink(length, first > end / 2 ? end : end * 2);
            }
            times[end] = time;
            cents[end] = amount;
            countries[end++] = country;
            spentKept += amount;
            spentHour += amount;
            if (distinct) count(country, 1);
            while (times[tenMinutes] < time - Payment.TEN_MINUTES) tenMinutes++;
            while (times[hour] < time - Math.min(Payment.HOUR, kept)) spentHour -= cents[hour++];
            while (times[first] < time - kept) {
                spentKept -= cents[first];
                if (distinct) count(countries[first], -1);
                first++;
            }
        }

        private void count(short country, int change) {
            int at = 0;
            while (at < seenLength && seen[at] != country) at++;
            if (at == seenLength) {
                if (at == seen.length) {
                    seen = Arrays.copyOf(seen, 2 * at);
                    seenCounts = Arrays.copyOf(seenCounts, 2 * at);
                }
                seen[at] = country;
                seenCounts[at] = 0;
                seenLength++;
            }
            seenCounts[at] += change;
            if (seenCounts[at] == 0) {
                seenLength--;
                seen[at] = seen[seenLength];
                seenCounts[at] = seenCounts[seenLength];
            }
        }

        /** Copies what is kept to the front of new arrays. */
        private void shrink(int length, int capacity) {
            times = Arrays.copyOf(Arrays.copyOfRange(times, first, first + length), capacity);
            cents = Arrays.copyOf(Arrays.copyOfRange(cents, first, first + length), capacity);
            countries = Arrays.copyOf(Arrays.copyOfRange(countries, first, first + length), capacity);
            hour -= first;
            tenMinutes -= first;
            end = length;
            first = 0;
        }
    }

    /** The last time of each card of a device. */
    public static final class Device {
        String[] cards = new String[2];
        long[] times = new long[2];
        int length;

        int add(String card, long time) {
            int kept = 0;
            for (int i = 0; i < length; i++) {
                if (times[i] < time - Payment.HOUR || cards[i].equals(card)) continue;
                cards[kept] = cards[i];
                times[kept++] = times[i];
            }
            if (kept == cards.length) {
                cards = Arrays.copyOf(cards, 2 * kept);
                times = Arrays.copyOf(times, 2 * kept);
            }
            cards[kept] = card;
            times[kept++] = time;
            length = kept;
            return length;
        }
    }

    private static final class Cards extends Rules<Card> {
        final int mask;
        final long kept;

        Cards(int mask) {
            super(new CardSerializer());
            this.mask = mask;
            this.kept = (mask & 0b11000) != 0 ? Payment.DAY : Payment.has(mask, 2) ? Payment.HOUR : Payment.TEN_MINUTES;
        }

        @Override
        void judge(Card card, Slim row, Collector<long[]> out) {
            long cents = row.f3, id = row.f4;
            short country = (short) (row.f1.charAt(0) << 8 | row.f1.charAt(1));
            card.add(row.f2, (int) cents, country, kept, Payment.has(mask, 3));
            long count = card.end - card.first;
            if (hits(1) && card.end - card.tenMinutes > 5 && cents > 25_000) out.collect(new long[] {1, id});
            if (hits(2) && card.spentHour > 500_000 && cents > 50_000) out.collect(new long[] {2, id});
            if (hits(3) && card.seenLength >= 3) out.collect(new long[] {3, id});
            if (hits(4) && count >= 5 && cents * count > 5 * card.spentKept) out.collect(new long[] {4, id});
            if (hits(Payment.PROBE) && cents > Payment.PROBE_CENTS) out.collect(new long[] {Payment.PROBE, id});
        }

        private boolean hits(int rule) {
            return Payment.has(mask, rule);
        }
    }

    /** Keeps the last 51 times, as {how many, place of the oldest, times…}: that is all that the rule can ask. */
    private static final class Merchants extends Rules<long[]> {
        Merchants() {
            super(LongPrimitiveArraySerializer.INSTANCE);
        }

        @Override
        long[] empty() {
            return new long[53];
        }

        @Override
        void judge(long[] kept, Slim row, Collector<long[]> out) {
            kept[2 + (int) kept[1]] = row.f2;
            kept[1] = (kept[1] + 1) % 51;
            kept[0] = Math.min(51, kept[0] + 1);
            boolean many = kept[0] == 51 && kept[2 + (int) kept[1]] >= row.f2 - Payment.MINUTE;
            if (many && row.f3 < 500) out.collect(new long[] {5, row.f4});
        }
    }

    private static final class Devices extends Rules<Device> {
        Devices() {
            super(new DeviceSerializer());
        }

        @Override
        void judge(Device device, Slim row, Collector<long[]> out) {
            if (device.add(row.f1, row.f2) >= 4) out.collect(new long[] {6, row.f4});
        }
    }

    private abstract static class Rules<S> extends KeyedProcessFunction<String, Slim, long[]> {
        private final TypeSerializer<S> serializer;
        private transient ValueState<S> state;

        Rules(TypeSerializer<S> serializer) {
            this.serializer = serializer;
        }

        S empty() {
            return serializer.createInstance();
        }

        abstract void judge(S kept, Slim row, Collector<long[]> out);

        @Override
        public void open(OpenContext context) {
            state = getRuntimeContext().getState(new ValueStateDescriptor<>("kept", serializer));
        }

        @Override
        public void processElement(Slim row, Context context, Collector<long[]> out) throws Exception {
            S kept = state.value();
            if (kept == null) {
                kept = empty();
                state.update(kept);
            }
            judge(kept, row, out);
        }
    }

    public static final class CardSerializer extends Mutable<Card> {
        public static final class Snapshot extends SimpleTypeSerializerSnapshot<Card> {
            public Snapshot() {
                super(CardSerializer::new);
            }
        }

        @Override
        public TypeSerializerSnapshot<Card> snapshotConfiguration() {
            return new Snapshot();
        }

        @Override
        public Card createInstance() {
            return new Card();
        }

        @Override
        public Card copy(Card from) {
            Card copy = new Card();
            copy.times = from.times;
            copy.cents = from.cents;
            copy.countries = from.countries;
            copy.first = from.first;
            copy.hour = from.hour;
            copy.tenMinutes = from.tenMinutes;
            int length = from.end - from.first;
            copy.shrink(length, length + Math.max(4, length / 8));
            copy.spentKept = from.spentKept;
            copy.spentHour = from.spentHour;
            copy.seen = from.seen.clone();
            copy.seenCounts = from.seenCounts.clone();
            copy.seenLength = from.seenLength;
            return copy;
        }

        @Override
        public void serialize(Card card, DataOutputView out) throws IOException {
            out.writeInt(card.end - card.first);
            out.writeInt(card.hour - card.first);
            out.writeInt(card.tenMinutes - card.first);
            out.writeLong(card.spentKept);
            out.writeLong(card.spentHour);
            for (int i = card.first; i < card.end; i++) {
                out.writeLong(card.times[i]);
                out.writeInt(card.cents[i]);
                out.writeShort(card.countries[i]);
            }
            out.writeInt(card.seenLength);
            for (int i = 0; i < card.seenLength; i++) {
                out.writeShort(card.seen[i]);
                out.writeInt(card.seenCounts[i]);
            }
        }

        @Override
        public Card deserialize(DataInputView in) throws IOException {
            Card card = new Card();
            card.end = in.readInt();
            card.hour = in.readInt();
            card.tenMinutes = in.readInt();
            card.spentKept = in.readLong();
            card.spentHour = in.readLong();
            card.times = new long[card.end + 4];
            card.cents = new int[card.end + 4];
            card.countries = new short[card.end + 4];
            for (int i = 0; i < card.end; i++) {
                card.times[i] = in.readLong();
                card.cents[i] = in.readInt();
                card.countries[i] = in.readShort();
            }
            card.seenLength = in.readInt();
            card.seen = new short[card.seenLength + 1];
            card.seenCounts = new int[card.seenLength + 1];
            for (int i = 0; i < card.seenLength; i++) {
                card.seen[i] = in.readShort();
                card.seenCounts[i] = in.readInt();
            }
            return card;
        }
    }

    public static final class DeviceSerializer extends Mutable<Device> {
        public static final class Snapshot extends SimpleTypeSerializerSnapshot<Device> {
            public Snapshot() {
                super(DeviceSerializer::new);
            }
        }

        @Override
        public TypeSerializerSnapshot<Device> snapshotConfiguration() {
            return new Snapshot();
        }

        @Override
        public Device createInstance() {
            return new Device();
        }

        @Override
        public Device copy(Device from) {
            Device copy = new Device();
            copy.cards = from.cards.clone();
            copy.times = from.times.clone();
            copy.length = from.length;
            return copy;
        }

        @Override
        public void serialize(Device device, DataOutputView out) throws IOException {
            out.writeInt(device.length);
            for (int i = 0; i < device.length; i++) {
                out.writeUTF(device.cards[i]);
                out.writeLong(device.times[i]);
            }
        }

        @Override
        public Device deserialize(DataInputView in) throws IOException {
            Device device = new Device();
            device.length = in.readInt();
            device.cards = new String[device.length + 1];
            device.times = new long[device.length + 1];
            for (int i = 0; i < device.length; i++) {
                device.cards[i] = in.readUTF();
                device.times[i] = in.readLong();
            }
            return device;
        }
    }

    /** What serializers of state that changes in place have in common. */
    private abstract static class Mutable<T> extends TypeSerializerSingleton<T> {
        @Override
        public boolean isImmutableType() {
            return false;
        }

        @Override
        public int getLength() {
            return -1;
        }

        @Override
        public T copy(T from, T reuse) {
            return copy(from);
        }

        @Override
        public T deserialize(T reuse, DataInputView in) throws IOException {
            return deserialize(in);
        }

        @Override
        public void copy(DataInputView in, DataOutputView out) throws IOException {
            serialize(deserialize(in), out);
        }
    }
}
