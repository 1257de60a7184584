package sealgate.receipt;

import static sealgate.receipt.Refusal.wellFormed;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Reads JSON in the canonical form of RFC 8785, and no other, so that no other reader sees another
 * value: no blanks, no repeated or unsorted names, one spelling of each text and each whole number.
 * Values are maps, lists, String, Long, Double, Boolean and null.
 */
final class Json {
    private static final int MOST_VALUES = 1 << 18;
    private static final int DEEPEST = 64;
    private static final long LARGEST = (1L << 53) - 1;
    private static final Pattern NUMBER =
        Pattern.compile("(0|-?[1-9][0-9]{0,20}|-?0(?=[.]))([.][0-9]*[1-9])?(e[+-][1-9][0-9]*)?");
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    static Object decode(byte[] data) {
        Json json = new Json(utf8(data));
        long values = json.text.chars().filter(c -> c == ',' || c == '[' || c == '{').count();
        wellFormed(values < MOST_VALUES, "JSON of too many values");
        Object value = json.value(0);
        wellFormed(json.at == json.text.length(), "not JSON in its canonical form");
        return value;
    }

    private static String utf8(byte[] data) {
        try { // A new decoder reports what is malformed.
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(data)).toString();
        } catch (CharacterCodingException error) {
            throw new Refusal("DOCUMENT_MALFORMED", "not text in UTF-8");
        }
    }

    private boolean take(String token) {
        boolean there = text.startsWith(token, at);
        at += there ? token.length() : 0;
        return there;
    }

    private Object value(int depth) {
        wellFormed(depth <= DEEPEST, "JSON that is too deep");
        if (take("{")) return object(depth);
        if (take("[")) return list(depth);
        if (take("\"")) return string();
        if (take("true")) return true;
        if (take("false")) return false;
        return take("null") ? null : number();
    }

    private Map<String, Object> object(int depth) {
        TreeMap<String, Object> found = new TreeMap<>();
        while (!take("}")) {
            wellFormed((found.isEmpty() || take(",")) && take("\""), "a name is expected");
            String name = string();
            // Java, too, compares UTF-16 code units.
            boolean sorted = found.isEmpty() || found.lastKey().compareTo(name) < 0;
            wellFormed(sorted && take(":"), "names are unsorted, or occur twice");
            found.put(name, value(depth + 1));
        }
        return Collections.unmodifiableMap(found);
    }

    private List<Object> list(int depth) {
        List<Object> found = new ArrayList<>();
        while (!take("]")) {
            wellFormed(found.isEmpty() || take(","), "a list is not ended");
            found.add(value(depth + 1));
        }
        return Collections.unmodifiableList(found);
    }

    /** Reads what follows an opening quote: only what must be escaped is, and in the shortest way. */
    private String string() {
        StringBuilder found = new StringBuilder();
        while (at < text.length() && text.charAt(at) != '"') {
            char next = text.charAt(at++);
            wellFormed(next >= 0x20, "a control character");
            found.append(next == '\\' ? escaped() : next);
        }
        wellFormed(take("\""), "a text is not ended");
        return found.toString();
    }

    private char escaped() {
        int place = at < text.length() ? "\"\\bfnrt".indexOf(text.charAt(at)) : -1;
        if (place >= 0) {
            at++;
            return "\"\\\b\f\n\r\t".charAt(place);
        }
        String digits = take("u00") && at + 2 <= text.length() ? text.substring(at, at + 2) : "";
        wellFormed(digits.matches("0[0-7be-f]|1[0-9a-f]"), "another spelling of a text");
        at += 2;
        return (char) Integer.parseInt(digits, 16);
    }

    /** Fractions are not compared with their shortest form: what is read here has none. */
    private Object number() {
        Matcher token = NUMBER.matcher(text).region(at, text.length());
        wellFormed(token.lookingAt(), "another value is expected");
        at = token.end();
        double value = Double.parseDouble(token.group());
        if (token.group(2) != null || token.group(3) != null) return value;
        wellFormed(Math.abs(value) <= LARGEST, "a whole number beyond 2^53");
        return Long.valueOf(token.group());
    }
}
