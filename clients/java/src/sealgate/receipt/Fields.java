package sealgate.receipt;

import static sealgate.receipt.Refusal.wellFormed;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.*;

/** Strict reading of the parts of documents. Each method throws {@link Refusal}. */
final class Fields {
    static final String SECONDS = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z";
    static final String MICROS = SECONDS.replace("Z", "[.][0-9]{6}Z");
    static final int LONGEST = 4096;

    private Fields() {}

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
        wellFormed(digits.matches("0|[1-9][0-9]{0,15}"), "not a number in its one spelling");
        long found = Long.parseLong(digits);
        wellFormed(found < 1L << 53, "a number beyond 2^53");
        return found;
    }

    static byte[] unhex(Object value, int size) {
        String digits = text(value, LONGEST);
        wellFormed(digits.matches("[0-9a-f]*") && digits.length() == 2 * size, "not hexadecimal digits");
        return HexFormat.of().parseHex(digits);
    }

    /** Reads base64 in its only spelling: Java's own reader takes it without its padding. */
    static byte[] unbase64(Object value) {
        String encoded = text(value, 1 << 24);
        try {
            byte[] found = Base64.getDecoder().decode(encoded);
            wellFormed(Base64.getEncoder().encodeToString(found).equals(encoded), "base64 in another spelling");
            return found;
        } catch (IllegalArgumentException error) {
            throw new Refusal("DOCUMENT_MALFORMED", "not base64");
        }
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

    static byte[] hash(byte[]... parts) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            for (byte[] part : parts) digest.update(part);
            return digest.digest();
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    static String hex(byte[] data) {
        return HexFormat.of().formatHex(data);
    }
}
