package sealgate.receipt;

import static sealgate.receipt.Refusal.demand;
import static sealgate.receipt.Refusal.wellFormed;

import java.time.Duration;
import java.time.Instant;
import java.util.*;

/** What a checked receipt proves: its opened fields, its place in the log, the log's state. */
public record Receipt(Map<String, String> fields, long index, Checkpoint checkpoint) {
    private static final Duration CLOCK_SKEW = Duration.ofMinutes(5);
    private static final String PROOF = "c2sp.org/tlog-proof@v1\nindex ";
    private static final List<String> V1_FIELDS = List.of(("time principal method model version version_digest "
        + "pointer_sequence policy_digest input output outcome verdict score threshold engine").split(" "));
    private static final List<String> NEW_FIELDS =
        List.of("alias", "parameters", "request_id", "screening", "arithmetic", "actions");
    /** Callers who knew these could search for an input that passes. */
    private static final Set<String> KEPT = Set.of("score", "threshold");

    /**
     * What the caller knows of its own call. `fields` are values that the receipt must have: at least
     * principal, model, alias, input and output ({@link Digests}). `since` and `until` are when the call
     * began and ended, or null. `unsafeV1` takes receipts of older gateways, which say nothing of alias,
     * parameters and id.
     */
    public record Call(Map<String, String> fields, Instant since, Instant until, boolean unsafeV1) {}

    /**
     * Checks that each opened field is what its commitment says, that a log of the policy has signed a
     * tree that holds the entry, and that the entry is of the caller's own call. Throws Refusal.
     */
    public static Receipt check(byte[] data, Policy policy, Call call) {
        var outer = Json.record(Json.decode(data), "commitments", "opened", "proof", "type");
        boolean outdated = "sealgate/receipt/v1".equals(outer.get("type"));
        wellFormed(outdated || "sealgate/receipt/v2".equals(outer.get("type")), "not a receipt of this format");
        List<String> names = new ArrayList<>(V1_FIELDS);
        if (!outdated) names.addAll(NEW_FIELDS);
        var commitments = Json.list(outer.get("commitments")).stream().map(item -> Json.unhex(item, 32)).toList();
        wellFormed(commitments.size() == names.size(), "a receipt has a commitment for each field");
        Map<String, String> fields = openFields(outer.get("opened"), names, commitments);
        String header = outdated ? "sealgate/answer/v1\n" : "sealgate/answer/v2\n";
        byte[] entry = Digests.joined(commitments.toArray(new byte[0][]));
        byte[] leaf = Digests.hash(new byte[] {0}, Digests.bytes(header), entry);
        Receipt found = readProof(Json.text(outer.get("proof"), 1 << 16), leaf, policy, fields);
        demand(!outdated || call.unsafeV1, "RECEIPT_OUTDATED", "an entry of v1");
        for (String name : names) {
            demand(fields.containsKey(name) || KEPT.contains(name), "RECEIPT_MISMATCH", "it keeps " + name);
        }
        compare(fields, policy, call, outdated);
        return found;
    }

    private static void compare(Map<String, String> fields, Policy policy, Call call, boolean outdated) {
        for (var item : call.fields.entrySet()) {
            boolean lacking = outdated && NEW_FIELDS.contains(item.getKey());
            boolean same = item.getValue().equals(fields.get(item.getKey()));
            demand(lacking || same, "RECEIPT_MISMATCH", item.getKey());
        }
        boolean chained = policy.digests.contains(fields.get("policy_digest"));
        demand(chained, "POLICY_INVALID", "a policy outside the chain");
        Instant recorded = Json.time(fields.get("time"), Json.MICROS);
        boolean early = call.since != null && recorded.isBefore(call.since.minus(CLOCK_SKEW));
        boolean late = call.until != null && recorded.isAfter(call.until.plus(CLOCK_SKEW));
        demand(!early && !late, "RECEIPT_MISMATCH", "time");
    }

    private static Map<String, String> openFields(Object value, List<String> names, List<byte[]> commitments) {
        Map<String, String> found = new HashMap<>();
        for (var item : Json.object(value).entrySet()) {
            String name = item.getKey();
            wellFormed(names.contains(name), "a receipt opens what is not a field");
            var pair = Json.record(item.getValue(), "salt", "value");
            String opened = Json.text(pair.get("value"), Json.LONGEST);
            byte[] commitment = Digests.hash(Json.unhex(pair.get("salt"), 16), new byte[] {(byte) name.length()},
                Digests.bytes(name), Digests.bytes(opened));
            boolean same = Arrays.equals(commitment, commitments.get(names.indexOf(name)));
            demand(same, "PROOF_INVALID", name + " is not what was recorded");
            found.put(name, opened);
        }
        return found;
    }

    /** Reads a C2SP tlog-proof without extra lines, and checks that it holds the leaf. */
    private static Receipt readProof(String proof, byte[] leaf, Policy policy, Map<String, String> fields) {
        int cut = proof.indexOf("\n\n");
        wellFormed(cut >= 0 && proof.startsWith(PROOF) && cut >= PROOF.length(), "not a tlog-proof");
        String[] lines = proof.substring(PROOF.length(), cut).split("\n", -1);
        wellFormed(lines.length <= 65, "a proof with more hashes than any tree is high");
        long index = Json.number(lines[0]);
        List<byte[]> path = new ArrayList<>();
        for (String line : Arrays.copyOfRange(lines, 1, lines.length)) {
            byte[] item = Json.unbase64(line);
            wellFormed(item.length == 32, "a hash of a proof has 32 bytes");
            path.add(item);
        }
        Checkpoint checkpoint = Checkpoint.open(proof.substring(cut + 2), policy.logs);
        byte[] reached = rootOf(leaf, index, checkpoint.size(), path);
        demand(Arrays.equals(reached, checkpoint.root()), "PROOF_INVALID", "the proof leads to another root");
        return new Receipt(Map.copyOf(fields), index, checkpoint);
    }

    /** Returns the root that an inclusion proof leads to: RFC 9162, 2.1.3.2. */
    private static byte[] rootOf(byte[] leaf, long index, long size, List<byte[]> path) {
        demand(index < size, "PROOF_INVALID", "the index is not in the tree");
        long node = index;
        long last = size - 1;
        byte[] reached = leaf;
        byte[] mark = {1};
        for (byte[] sibling : path) {
            demand(last > 0, "PROOF_INVALID", "the proof is too long");
            boolean left = node % 2 == 1 || node == last;
            reached = left ? Digests.hash(mark, sibling, reached) : Digests.hash(mark, reached, sibling);
            int levels = left ? Long.numberOfTrailingZeros(node) + 1 : 1;
            node >>= levels;
            last >>= levels;
        }
        demand(last == 0, "PROOF_INVALID", "the proof is too short");
        return reached;
    }
}
