package sealgate.receipt;

import static sealgate.receipt.Refusal.demand;
import static sealgate.receipt.Refusal.wellFormed;

import java.util.*;

/**
 * A signed state of a log: so many entries under one root. Keep the newest {@code note}, and have the
 * log prove that it only grew. {@code unchecked} names signatures that the policy asks for and that
 * this library cannot check.
 */
public record Checkpoint(String origin, long size, byte[] root, String note, List<String> unchecked) {
    /** Returns the checkpoint of a note (C2SP signed-note) that one of the logs has signed. */
    static Checkpoint open(String note, Map<String, Log> logs) {
        String origin = note.split("\n", 2)[0];
        Log log = logs.get(origin);
        demand(log != null, "LOG_UNKNOWN", "the policy names no such answer log");
        int cut = note.lastIndexOf("\n\n");
        wellFormed(cut >= 0 && note.endsWith("\n"), "not a signed note");
        String text = note.substring(0, cut + 1);
        Map<String, byte[]> signatures = readSignatures(note.substring(cut + 2).split("\n", -1));
        String[] lines = text.split("\n", -1);
        boolean holds = false;
        for (var key : log.keys()) {
            byte[] signature = signatures.get(origin + " " + key.hint());
            boolean by = signature != null && key.key().verify(Digests.bytes(text), signature);
            holds = holds || by && Json.number(lines[1]) <= key.most();
        }
        demand(holds, "SIGNATURE_INVALID", "the log has not signed the checkpoint");
        wellFormed(lines.length == 4, "a checkpoint has three lines");
        byte[] root = Json.unbase64(lines[2]);
        wellFormed(root.length == 32, "a root hash has 32 bytes");
        List<String> unchecked = log.beside() ? List.of("the ML-DSA-44 signature of " + origin) : List.of();
        return new Checkpoint(origin, Json.number(lines[1]), root, note, unchecked);
    }

    /** Reads signature lines, the last of which is empty; returns signatures by name and hint. */
    private static Map<String, byte[]> readSignatures(String[] lines) {
        wellFormed(lines.length >= 2 && lines.length <= 101, "a note has between 1 and 100 signatures");
        Map<String, byte[]> found = new HashMap<>();
        for (String line : Arrays.copyOf(lines, lines.length - 1)) {
            String[] parts = line.split(" ", 3);
            boolean formed = parts.length == 3 && parts[0].equals("\u2014") && Log.isName(parts[1]);
            wellFormed(formed, "not a signature line");
            byte[] data = Json.unbase64(parts[2]);
            wellFormed(data.length >= 5, "a note's signature is too short");
            String place = parts[1] + " " + Digests.hex(data).substring(0, 8);
            byte[] signature = Arrays.copyOfRange(data, 4, data.length);
            wellFormed(found.put(place, signature) == null, "a note is signed twice with one key");
        }
        return found;
    }
}
