package sealgate.receipt;

import static sealgate.receipt.Refusal.demand;
import static sealgate.receipt.Refusal.wellFormed;

import java.util.*;

/** An answer log of a policy: its keys, former ones too, and whether ML-DSA-44 signs beside them. */
record Log(List<LogKey> keys, boolean beside) {
    /** A key under the hint of signed notes; it vouches for at most so many entries. */
    record LogKey(String name, String hint, Key key, long most) {}

    /** Returns the answer logs of a policy, by name. */
    static Map<String, Log> read(Map<String, Object> policy) {
        var section = Json.record(policy.get("logs"), "registry", "answers");
        var second = Json.object(policy.getOrDefault("ml_dsa", Map.of()));
        var former = Json.object(policy.getOrDefault("former_logs", Map.of()));
        String registry = readKey(section.get("registry"), Long.MAX_VALUE).name;
        Map<String, Log> logs = new HashMap<>();
        for (String written : Json.texts(section.get("answers"))) {
            List<LogKey> keys = new ArrayList<>(List.of(readKey(written, Long.MAX_VALUE)));
            String name = keys.get(0).name;
            for (Object item : Json.list(former.getOrDefault(name, List.of()))) {
                boolean bound = Json.object(item).containsKey("size");
                var entry = Json.record(item, bound ? new String[] {"key", "size"} : new String[] {"key"});
                long most = bound ? Json.integer(entry.get("size"), 0) : Long.MAX_VALUE;
                keys.add(readKey(entry.get("key"), most));
            }
            boolean own = keys.stream().allMatch(key -> key.name.equals(name));
            demand(own, "POLICY_INVALID", "a former key under another log's name");
            boolean free = logs.put(name, new Log(keys, second.containsKey(name))) == null;
            demand(free && !name.equals(registry), "POLICY_INVALID", "two logs have one name");
        }
        return logs;
    }

    /** Reads name+hint+key of C2SP signed-note, where key is base64 of 0x01 and the raw key. */
    private static LogKey readKey(Object value, long most) {
        String[] parts = Json.text(value, Json.LONGEST).split("\\+", 3);
        wellFormed(parts.length == 3 && isName(parts[0]), "not a verifier key");
        byte[] data = Json.unbase64(parts[2]);
        wellFormed(data.length == 33 && data[0] == 1, "a log's key is not Ed25519");
        String hint = Digests.hex(Digests.hash(Digests.bytes(parts[0] + "\n"), data)).substring(0, 8);
        wellFormed(hint.equals(parts[1]), "a verifier key whose hint is not its own");
        return new LogKey(parts[0], hint, Key.ofRaw(Arrays.copyOfRange(data, 1, 33)), most);
    }

    /** Says whether a signature line can have a name: no blanks, no plus. */
    static boolean isName(String name) {
        return name.matches("(?U)[^+\\s\\x1c-\\x1f]{1,255}");
    }
}
