import java.nio.charset.StandardCharsets;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.reader.TextLineInputFormat;
import org.apache.flink.core.fs.Path;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** Flink's DataStream over a file: FlinkFromFile FILE RULES PARALLELISM. Prints rule -> [alerts, sum of tx_id]. */
public final class FlinkFromFile {
    public static void main(String[] arguments) throws Exception {
        var job = StreamExecutionEnvironment.createLocalEnvironment(Integer.parseInt(arguments[2]), Tally.settings());
        var source = FileSource.forRecordStreamFormat(new TextLineInputFormat(), new Path(arguments[0])).build();
        var payments = job.fromSource(source, WatermarkStrategy.noWatermarks(), "payments")
                .setParallelism(1) // or lines would come out of order
                .map(line -> Payment.parse(line.getBytes(StandardCharsets.ISO_8859_1)))
                .returns(Payment.class)
                .setParallelism(1);
        for (var alerts : FlinkRules.build(payments, Payment.mask(arguments[1]))) {
            alerts.addSink(new Tally.Sink<>(alert -> (int) alert[0], alert -> alert[1]));
        }
        job.execute();
        System.out.println(Tally.json(arguments[1]));
    }
}
