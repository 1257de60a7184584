package sealgate.receipt;

import java.math.BigInteger;
import java.time.Instant;
import java.util.*;
import java.util.stream.Collectors;

/** Reads cases as JSON, and writes what the library says of each: a reason, "unchecked", or nothing. */
final class Cases {
    public static void main(String[] arguments) throws Exception {
        var asked = Json.object(Json.decode(System.in.readAllBytes()));
        var told = new ArrayList<String>();
        told.add(answers("checks", each(asked, "checks", Cases::said)));
        told.add(answers("tensors", each(asked, "tensors", Cases::tensors)));
        told.add(answers("requests", each(asked, "requests", Cases::parameters)));
        System.out.println("{" + String.join(",", told) + "}");
    }

    private interface Answer {
        String to(Object asked);
    }

    private static List<String> each(Map<String, Object> asked, String name, Answer answer) {
        return Json.list(asked.get(name)).stream().map(answer::to).toList();
    }

    private static String answers(String name, List<String> found) {
        return '"' + name + "\":" + found.stream().map(text -> '"' + text + '"').toList();
    }

    private static String said(Object asked) {
        var check = Json.object(asked);
        var fields = new HashMap<String, String>();
        Json.object(check.get("fields")).forEach((name, value) -> fields.put(name, (String) value));
        var envelopes = Json.list(check.get("policies")).stream().map(Cases::bytes).toList();
        var roots = Json.texts(check.get("root_keys"));
        var call = new Receipt.Call(
            fields, time(check, "since"), time(check, "until"), (Boolean) check.get("unsafe_v1"));
        try {
            var threshold = (int) Json.integer(check.get("threshold"), 0);
            var policy = Policy.open(envelopes, roots, threshold, time(check, "now"));
            var found = Receipt.check(bytes(check.get("receipt")), policy, call);
            return found.checkpoint().unchecked().isEmpty() ? "" : "unchecked";
        } catch (Refusal refusal) {
            return refusal.reason;
        } catch (RuntimeException | StackOverflowError error) {
            return error.toString().replace('"', '\'').replace('\\', '/');
        }
    }

    private static Instant time(Map<String, Object> check, String name) {
        return Instant.parse((String) check.get(name));
    }

    private static byte[] bytes(Object base64) {
        return Base64.getDecoder().decode((String) base64);
    }

    private static String tensors(Object asked) {
        var found = new ArrayList<Digests.Tensor>();
        for (Object item : Json.list(asked)) {
            var tensor = Json.object(item);
            var shape = Json.list(tensor.get("shape")).stream().map(Long.class::cast).toList();
            found.add(new Digests.Tensor(
                (String) tensor.get("name"), (String) tensor.get("datatype"), shape, bytes(tensor.get("raw"))));
        }
        return Digests.tensors(found);
    }

    private static String parameters(Object asked) {
        var request = Json.object(asked);
        var found = new HashMap<String, Object>();
        Json.object(request.get("parameters")).forEach((name, choice) -> {
            found.put(name, null);
            Json.object(choice).forEach((field, value) -> found.put(name, switch (field) {
                case "int64_param" -> Long.valueOf((String) value);
                case "uint64_param" -> new BigInteger((String) value);
                default -> value;
            }));
        });
        return Digests.parameters(found, Json.list(request.get("outputs")).stream()
            .map(String.class::cast).collect(Collectors.toList()));
    }
}
