package sealgate.receipt;

import java.io.ByteArrayOutputStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.*;

/** The digests that a receipt has of a request and its answer. */
public final class Digests {
    /** A tensor as it travels in raw contents. */
    public record Tensor(String name, String datatype, List<Long> shape, byte[] raw) {}

    private static final Comparator<String> BY_BYTES =
        (one, other) -> Arrays.compareUnsigned(bytes(one), bytes(other));

    private Digests() {}

    /** Returns the digest that a receipt has as input or output, of tensors in any order. */
    public static String tensors(List<Tensor> tensors) {
        byte[] data = joined(bytes("sealgate/tensors/v1\n"), number(tensors.size()));
        List<Tensor> ordered = tensors.stream().sorted(Comparator.comparing(Tensor::name, BY_BYTES)).toList();
        for (Tensor tensor : ordered) {
            data = joined(data, sized(tensor.name), sized(tensor.datatype), number(tensor.shape.size()));
            for (long size : tensor.shape) data = joined(data, number(size));
            data = joined(data, sized(tensor.raw));
        }
        return named(data);
    }

    /**
     * Returns the digest that a receipt has as parameters: of a request's parameters, each a Boolean,
     * Long (int64), String, Double, BigInteger (uint64), or null where none is set, and of the names of
     * the outputs that the request asks for, in order.
     */
    public static String parameters(Map<String, Object> parameters, List<String> outputs) {
        byte[] data = joined(bytes("sealgate/parameters/v1\n"), number(parameters.size()));
        for (String name : parameters.keySet().stream().sorted(BY_BYTES).toList()) {
            data = joined(data, sized(name), written(parameters.get(name)));
        }
        data = joined(data, number(outputs.size()));
        for (String name : outputs) data = joined(data, sized(name));
        return named(data);
    }

    /** Returns the protocol's number for a value's type, and the value after its length. */
    private static byte[] written(Object value) {
        if (value == null) return kind(0);
        if (value instanceof Boolean found) return kind(1, (byte) (found ? 1 : 0));
        if (value instanceof Long found) return kind(2, number(found));
        if (value instanceof String found) return kind(3, bytes(found));
        if (value instanceof Double found) return kind(4, number(Double.doubleToRawLongBits(found)));
        if (value instanceof BigInteger found) return kind(5, number(found.longValue()));
        throw new Refusal("PARAMETER_MALFORMED", "a parameter of " + value.getClass());
    }

    private static byte[] kind(int number, byte... value) {
        return joined(new byte[] {(byte) number}, sized(value));
    }

    private static byte[] number(long value) {
        return ByteBuffer.allocate(8).putLong(value).array();
    }

    private static byte[] sized(byte[] value) {
        return joined(number(value.length), value);
    }

    private static byte[] sized(String text) {
        return sized(bytes(text));
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static byte[] joined(byte[]... parts) {
        ByteArrayOutputStream whole = new ByteArrayOutputStream();
        for (byte[] part : parts) whole.writeBytes(part);
        return whole.toByteArray();
    }

    static byte[] hash(byte[]... parts) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(joined(parts));
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    static String hex(byte[] data) {
        return HexFormat.of().formatHex(data);
    }

    /** Returns a digest as documents name it. */
    static String named(byte[] data) {
        return "sha256:" + hex(hash(data));
    }
}
