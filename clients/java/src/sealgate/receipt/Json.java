package sealgate.receipt;

import static sealgate.receipt.Refusal.wellFormed;

import java.nio.charset.StandardCharsets;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.*;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Reads JSON in the canonical form of RFC 8785, and no other, so that no other reader sees another
 * value: no blanks, no repeated or unsorted names, one spelling of each text and each whole number.
 * Values are maps, lists, String, Long, Double, Boolean and null. The static methods read parts of
 * documents strictly. Each method throws {@link Refusal}.
 */
final class Json {
    static final String SECONDS = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z";
    static final String MICROS = SECONDS.replace("Z", "[.][0-9]{6}Z");
    static final int LONGEST = 4096;
    private static final int MOST_VALUES = 1 << 18;
    private static final int DEEPEST = 64;
    // Only what must be escaped is, and in the shortest way.
    private static final Pattern CHARACTERS =
        Pattern.compile("[^\"\\\\\\x00-\\x1f]+|\\\\[\"\\\\bfnrt]|\\\\u(00(?:0[0-7be-f]|1[0-9a-f]))");
    // Fractions are not compared with their shortest form: what is read here has none.
    private static final Pattern NUMBER =
        Pattern.compile("(?:0|-?[1-9][0-9]{0,20}|-?0(?=[.]))((?:[.][0-9]*[1-9])?(?:e[+-][1-9][0-9]*)?)");
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    static Object decode(byte[] data) {
        Json json = new Json(new String(data, StandardCharsets.UTF_8));
        wellFormed(Arrays.equals(Digests.bytes(json.text), data), "not text in UTF-8");
        long values = json.text.chars().filter(c -> c == ',' || c == '[' || c == '{').count();
        wellFormed(values < MOST_VALUES, "JSON of too many values");
        Object value = json.value(0);
        wellFormed(json.at == json.text.length(), "not JSON in its canonical form");
        return value;
    }

    private boolean take(String token) {
        boolean there = text.startsWith(token, at);
        at += there ? token.length() : 0;
        return there;
    }

    private Matcher take(Pattern pattern) {
        Matcher token = pattern.matcher(text).region(at, text.length());
        wellFormed(token.lookingAt(), "another value, or another spelling, is expected");
        at = token.end();
        return token;
    }

    private Object value(int depth) {
        wellFormed(depth <= DEEPEST, "JSON that is too deep");
        if (take("{")) return members(depth);
        if (take("[")) return items(depth);
        if (take("\"")) return string();
        if (take("true")) return true;
        if (take("false")) return false;
        return take("null") ? null : number();
    }

    private Map<String, Object> members(int depth) {
        TreeMap<String, Object> found = new TreeMap<>();
        while (!take("}")) {
            wellFormed((found.isEmpty() || take(",")) && take("\""), "a name is expected");
            String name = string();
            // Java, too, compares UTF-16 code units.
            boolean sorted = found.isEmpty() || found.lastKey().compareTo(name) < 0;
            wellFormed(sorted && take(":"), "names are unsorted, or occur twice");
            found.put(name, value(depth + 1));
        }
        return found;
    }

    private List<Object> items(int depth) {
        List<Object> found = new ArrayList<>();
        while (!take("]")) {
            wellFormed(found.isEmpty() || take(","), "a list is not ended");
            found.add(value(depth + 1));
        }
        return found;
    }

    private String string() {
        StringBuilder found = new StringBuilder();
        while (!take("\"")) {
            Matcher part = take(CHARACTERS);
            String code = part.group(1);
            if (code == null) found.append(part.group().translateEscapes());
            else found.append((char) HexFormat.fromHexDigits(code));
        }
        return found.toString();
    }

    private Object number() {
        Matcher token = take(NUMBER);
        double value = Double.parseDouble(token.group());
        if (!token.group(1).isEmpty()) return value;
        wellFormed(Math.abs(value) < 1L << 53, "a whole number beyond 2^53");
        return Long.valueOf(token.group());
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> object(Object value) {
        wellFormed(value instanceof Map, "an object is expected");
        return (Map<String, Object>) value;
    }

    static Map<String, Object> record(Object value, String... names) {
        Map<String, Object> found = object(value);
        wellFormed(found.keySet().equals(Set.of(names)), "not exactly the fields that there must be");
        return found;
    }

    static List<?> list(Object value) {
        wellFormed(value instanceof List, "a list is expected");
        return (List<?>) value;
    }

    static String text(Object value, int longest) {
        boolean right = value instanceof String found && found.codePointCount(0, found.length()) <= longest;
        wellFormed(right, "a text is expected, or a shorter one");
        return (String) value;
    }

    /** Returns texts, none of which occurs twice. */
    static List<String> texts(Object value) {
        List<String> found = list(value).stream().map(item -> text(item, LONGEST)).toList();
        wellFormed(new HashSet<>(found).size() == found.size(), "a list names something twice");
        return found;
    }

    static long integer(Object value, long least) {
        wellFormed(value instanceof Long found && found >= least, "a whole number is expected, or a larger one");
        return (Long) value;
    }

    /** Reads a whole number below 2^53 in its one spelling. */
    static long number(String digits) {
        return integer(decode(Digests.bytes(digits)), 0);
    }

    static byte[] unhex(Object value, int size) {
        String digits = text(value, LONGEST);
        wellFormed(digits.matches("[0-9a-f]*") && digits.length() == 2 * size, "not hexadecimal digits");
        return HexFormat.of().parseHex(digits);
    }

    /** Reads base64 in its only spelling: Java's own reader takes any bits at its end. */
    static byte[] unbase64(Object value) {
        String encoded = text(value, 1 << 24);
        wellFormed(encoded.matches("[A-Za-z0-9+/]*=?=?") && encoded.length() % 4 == 0, "not base64");
        byte[] found = Base64.getDecoder().decode(encoded);
        wellFormed(Base64.getEncoder().encodeToString(found).equals(encoded), "base64 in another spelling");
        return found;
    }

    static Instant time(Object value, String form) {
        String written = text(value, LONGEST);
        wellFormed(written.matches(form) && !written.startsWith("0000"), "a time is not in its fixed form");
        try {
            Instant found = Instant.parse(written);
            wellFormed(found.toString().startsWith(written.substring(0, 19)), "no such time");
            return found;
        } catch (DateTimeException error) {
            throw new Refusal("DOCUMENT_MALFORMED", "no such time");
        }
    }
}
