package sealgate.receipt;

import static sealgate.receipt.Refusal.demand;
import static sealgate.receipt.Refusal.wellFormed;

import java.nio.charset.StandardCharsets;
import java.util.*;

/** A signed note (C2SP signed-note): its text, and its signatures by name and hint. */
record Note(String text, Map<String, byte[]> signatures) {
    static Note split(String note) {
        int cut = note.lastIndexOf("\n\n");
        wellFormed(cut >= 0 && note.endsWith("\n"), "not a signed note");
        String[] lines = note.substring(cut + 2).split("\n", -1);
        wellFormed(lines.length >= 2 && lines.length <= 101, "a note has between 1 and 100 signatures");
        Map<String, byte[]> found = new HashMap<>();
        for (String line : Arrays.copyOf(lines, lines.length - 1)) {
            String[] parts = line.split(" ", 3);
            wellFormed(parts.length == 3 && parts[0].equals("\u2014") && isName(parts[1]), "not a signature line");
            byte[] data = Fields.unbase64(parts[2]);
            wellFormed(data.length >= 5, "a note's signature is too short");
            String place = parts[1] + " " + Fields.hex(data).substring(0, 8);
            byte[] signature = Arrays.copyOfRange(data, 4, data.length);
            wellFormed(found.put(place, signature) == null, "a note is signed twice with one key");
        }
        return new Note(note.substring(0, cut + 1), found);
    }

    /** Says whether a signature line can have a name: no blanks, no plus. */
    static boolean isName(String name) {
        int count = name.codePointCount(0, name.length());
        return count >= 1 && count <= 255 && name.codePoints().noneMatch(c -> c == '+' || isBlank(c));
    }

    private static boolean isBlank(int c) {
        return c == ' ' || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f) || c == 0x85 || c == 0xa0
            || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f
            || c == 0x205f || c == 0x3000;
    }

    private boolean isBy(Policy.LogKey log) {
        byte[] signature = signatures.get(log.name() + " " + log.hint());
        return signature != null && log.key().verify(text.getBytes(StandardCharsets.UTF_8), signature);
    }

    /** Returns the checkpoint of a note that one of the logs has signed with its own key. */
    static Receipt.Checkpoint open(String note, Map<String, Policy.LogKey> logs) {
        Policy.LogKey log = logs.get(note.split("\n", 2)[0]);
        demand(log != null, "LOG_UNKNOWN", "the policy names no such answer log");
        Note found = split(note);
        String[] parts = found.text.split("\n", -1);
        boolean holds = found.isBy(log);
        for (var former : log.former()) {
            // It vouches for what it signed before the log was handed over.
            holds = holds || found.isBy(former.key()) && Fields.number(parts[1]) <= former.size();
        }
        demand(holds, "SIGNATURE_INVALID", "the log has not signed the checkpoint");
        wellFormed(parts.length == 4, "a checkpoint has three lines");
        byte[] root = Fields.unbase64(parts[2]);
        wellFormed(root.length == 32, "a root hash has 32 bytes");
        List<String> unchecked = log.beside() ? List.of("the ML-DSA-44 signature of " + log.name()) : List.of();
        return new Receipt.Checkpoint(log.name(), Fields.number(parts[1]), root, note, unchecked);
    }
}
