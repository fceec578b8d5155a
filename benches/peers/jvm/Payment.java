import java.nio.charset.StandardCharsets;

/**
 * One payment, read from flat JSON in one pass over its bytes, and the alerts about it: what a team that counts
 * microseconds writes instead of a JSON library. Fields may stand in any order; those read hold no escapes.
 */
public final class Payment {
    /** Rules by their bit: 0 is the probe, any payment above 60, and 1 to 6 are r1 to r6. */
    public static final int PROBE = 0;
    public static final long PROBE_CENTS = 6_000;
    public static final long MINUTE = 60_000, TEN_MINUTES = 10 * MINUTE, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

    public long id, time, cents;
    public String card, merchant, country, device;

    /** `r1,r4,probe` as bits. */
    public static int mask(String rules) {
        int mask = 0;
        for (String rule : rules.split(",")) {
            mask |= 1 << (rule.equals("probe") ? PROBE : Integer.parseInt(rule.substring(1)));
        }
        return mask;
    }

    public static boolean has(int mask, int rule) {
        return (mask >> rule & 1) == 1;
    }

    public static byte[] alert(long rule, long id) {
        String name = rule == PROBE ? "probe" : "r" + rule;
        String json = "{\"rule\":{\"id\":\"" + name + "\"},\"values\":{\"tx_id\":" + id + "}}";
        return json.getBytes(StandardCharsets.ISO_8859_1);
    }

    public static Payment parse(byte[] json) {
        Payment payment = new Payment();
        int at = 0;
        while (true) {
            while (at < json.length && json[at] != '"') at++;
            if (at >= json.length) return payment;
            int name = ++at;
            while (json[at] != '"') at++;
            int nameEnd = at++;
            while (json[at] == ':' || json[at] == ' ') at++;
            int value = at, valueEnd;
            if (json[at] == '"') {
                value = ++at;
                while (json[at] != '"') at += json[at] == '\\' ? 2 : 1;
                valueEnd = at++;
            } else {
                while (at < json.length && json[at] != ',' && json[at] != '}') at++;
                valueEnd = at;
            }
            payment.take(json, name, nameEnd, value, valueEnd);
        }
    }

    private void take(byte[] json, int name, int nameEnd, int from, int to) {
        if (is(json, name, nameEnd, "tx_id")) id = number(json, from, to);
        else if (is(json, name, nameEnd, "ts_ms")) time = number(json, from, to);
        else if (is(json, name, nameEnd, "card_id")) card = text(json, from, to);
        else if (is(json, name, nameEnd, "merchant_id")) merchant = text(json, from, to);
        else if (is(json, name, nameEnd, "amount")) cents = hundredths(json, from, to);
        else if (is(json, name, nameEnd, "country")) country = text(json, from, to);
        else if (is(json, name, nameEnd, "device_id")) device = text(json, from, to);
    }

    private static boolean is(byte[] json, int from, int to, String name) {
        if (to - from != name.length()) return false;
        for (int i = 0; i < name.length(); i++) if (json[from + i] != name.charAt(i)) return false;
        return true;
    }

    private static String text(byte[] json, int from, int to) {
        return new String(json, from, to - from, StandardCharsets.ISO_8859_1);
    }

    private static long number(byte[] json, int from, int to) {
        long value = 0;
        for (int i = from; i < to; i++) value = value * 10 + (json[i] - '0');
        return value;
    }

    /** `12.34`: always two places here. */
    private static long hundredths(byte[] json, int from, int to) {
        return number(json, from, to - 3) * 100 + number(json, to - 2, to);
    }
}
