import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.function.ToIntFunction;
import java.util.function.ToLongFunction;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.functions.sink.legacy.RichSinkFunction;

/** What the two jobs over files share: settings of a Flink in this process, and a count of its alerts. */
final class Tally {
    private static final AtomicLongArray COUNTS = new AtomicLongArray(7), SUMS = new AtomicLongArray(7);

    interface Rule<T> extends ToIntFunction<T>, Serializable {}

    interface Id<T> extends ToLongFunction<T>, Serializable {}

    static final class Sink<T> extends RichSinkFunction<T> {
        private final Rule<T> rule;
        private final Id<T> id;

        Sink(Rule<T> rule, Id<T> id) {
            this.rule = rule;
            this.id = id;
        }

        @Override
        public void invoke(T alert, Context context) {
            COUNTS.incrementAndGet(rule.applyAsInt(alert));
            SUMS.addAndGet(rule.applyAsInt(alert), id.applyAsLong(alert));
        }
    }

    static Configuration settings() {
        Configuration settings = new Configuration();
        settings.setString("state.backend.type", "hashmap");
        settings.setString("pipeline.object-reuse", "true");
        settings.setString("rest.bind-port", "0");
        settings.setString("taskmanager.memory.network.min", "128mb");
        settings.setString("taskmanager.memory.network.max", "128mb");
        return settings;
    }

    static String json(String rules) {
        List<String> parts = new ArrayList<>();
        for (String rule : rules.split(",")) {
            int number = Integer.parseInt(rule.substring(1));
            parts.add("\"" + rule + "\": [" + COUNTS.get(number) + ", " + SUMS.get(number) + "]");
        }
        return "{" + String.join(", ", parts) + "}";
    }
}
