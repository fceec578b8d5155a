import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/**
 * Flink SQL over a file, as a stream: FlinkSql FILE RULES PARALLELISM QUERY. The query selects the number of a rule and
 * the tx_id of its alert from `payments`, whose event time is `ts`. Prints rule -> [alerts, sum of tx_id].
 */
public final class FlinkSql {
    public static void main(String[] arguments) throws Exception {
        var settings = Tally.settings();
        settings.setString("taskmanager.memory.managed.size", "1gb");
        var job = StreamExecutionEnvironment.createLocalEnvironment(Integer.parseInt(arguments[2]), settings);
        var tables = StreamTableEnvironment.create(job);
        tables.getConfig().set("table.local-time-zone", "UTC");
        // With the row's own time as the watermark, rows of equal time would be dropped; here no two times are equal.
        tables.executeSql("CREATE TABLE payments (tx_id BIGINT, ts_ms BIGINT, card_id STRING, merchant_id STRING, "
                + "amount DOUBLE, country STRING, device_id STRING, ts AS TO_TIMESTAMP_LTZ(ts_ms, 3), "
                + "WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = 'file://"
                + arguments[0] + "')");
        tables.toDataStream(tables.sqlQuery(arguments[3])).addSink(new Tally.Sink<>(
                row -> ((Number) row.getField(0)).intValue(), row -> ((Number) row.getField(1)).longValue()));
        job.execute();
        System.out.println(Tally.json(arguments[1]));
    }
}
