package sealgate.receipt;

import static sealgate.receipt.Refusal.demand;
import static sealgate.receipt.Refusal.wellFormed;

import java.time.Instant;
import java.util.*;

/**
 * The newest policy of a chain that follows from the reader's own root keys. It has what a receipt
 * needs; the other rules are for gateways and engines to check.
 */
public final class Policy {
    private static final String TYPE = "application/vnd.sealgate.policy.v1+json";
    private static final long LONGEST_GRACE = 30 * 24 * 3600;
    public final long version;
    public final Instant expires;
    public final String digest;
    final Map<String, Log> logs;
    final Set<String> digests = new HashSet<>();
    private final Map<String, Key> roots = new HashMap<>();
    private final long threshold;
    private final long grace;

    /**
     * Follows signed policies, oldest first, from root keys (PEM) of which `threshold` must have signed
     * the first. Each further one is signed by its predecessor's root and by its own, and versions grow
     * by one. The newest has not ended, its grace included.
     *
     * <p>Keep the version of the policy that you saw last, and refuse an older one.
     *
     * @throws Refusal if the chain does not hold
     */
    public static Policy open(List<byte[]> envelopes, List<String> rootKeys, int threshold, Instant now) {
        Map<String, Key> before = new HashMap<>();
        for (String pem : rootKeys) before.put(Key.fromPem(pem).id(), Key.fromPem(pem));
        demand(!envelopes.isEmpty() && threshold > 0, "POLICY_INVALID", "there is no policy, or no threshold");
        Policy current = null;
        long needed = threshold;
        for (byte[] data : envelopes) {
            Policy next = follow(data, before, needed);
            long last = current == null ? next.version - 1 : current.version;
            demand(next.version > last, "POLICY_ROLLED_BACK", "a policy follows a newer one");
            demand(next.version == last + 1, "POLICY_INVALID", "a version is left out");
            if (current != null) next.digests.addAll(current.digests);
            current = next;
            before = next.roots;
            needed = next.threshold;
        }
        Instant end = current.expires.plusSeconds(current.grace);
        demand(now.isBefore(end), "POLICY_EXPIRED", "at " + current.expires);
        return current;
    }

    /** Reads a policy that the root before it and its own root have signed. */
    private static Policy follow(byte[] data, Map<String, Key> before, long threshold) {
        var envelope = Json.record(Json.decode(data), "payload", "payloadType", "signatures");
        byte[] payload = Json.unbase64(envelope.get("payload"));
        List<?> items = Json.list(envelope.get("signatures"));
        wellFormed(items.size() >= 1 && items.size() <= 32, "an envelope has between 1 and 32 signatures");
        Map<String, byte[]> signatures = new HashMap<>();
        for (Object item : items) {
            var pair = Json.record(item, "keyid", "sig");
            signatures.put(Json.text(pair.get("keyid"), Json.LONGEST), Json.unbase64(pair.get("sig")));
        }
        wellFormed(signatures.size() == items.size(), "an envelope is signed twice with one key");
        demand(TYPE.equals(envelope.get("payloadType")), "SIGNATURE_INVALID", "it was not signed as a policy");
        String head = "DSSEv1 " + TYPE.length() + " " + TYPE + " " + payload.length + " ";
        byte[] message = Digests.joined(Digests.bytes(head), payload);
        checkSigners(message, signatures, before, threshold);
        Policy policy = new Policy(payload);
        checkSigners(message, signatures, policy.roots, policy.threshold);
        return policy;
    }

    /** A signature that claims one of the keys must be that key's, and enough keys must have one. */
    private static void checkSigners(
            byte[] message, Map<String, byte[]> signatures, Map<String, Key> keys, long threshold) {
        Set<String> signers = new HashSet<>(keys.keySet());
        signers.retainAll(signatures.keySet());
        for (String id : signers) {
            demand(keys.get(id).verify(message, signatures.get(id)), "SIGNATURE_INVALID", "by key " + id);
        }
        boolean enough = signers.size() >= threshold;
        demand(enough, "THRESHOLD_NOT_MET", signers.size() + " of " + threshold + " keys have signed");
    }

    private Policy(byte[] payload) {
        var outer = Json.object(Json.decode(payload));
        wellFormed("sealgate/policy/v1".equals(outer.get("type")), "not a policy of this format");
        digest = Digests.named(payload);
        digests.add(digest);
        version = Json.integer(outer.get("version"), 1);
        expires = Json.time(outer.get("expires"), Json.SECONDS);
        Instant issued = Json.time(outer.get("issued"), Json.SECONDS);
        demand(issued.isBefore(expires), "POLICY_INVALID", "it expires before it is issued");
        boolean lasting = outer.containsKey("grace");
        grace = lasting ? Json.integer(Json.record(outer.get("grace"), "seconds").get("seconds"), 1) : 0;
        demand(grace <= LONGEST_GRACE, "POLICY_INVALID", "its grace is longer than 30 days");
        var root = Json.record(outer.get("root"), "keys", "threshold");
        List<String> ids = Json.texts(root.get("keys"));
        threshold = Json.integer(root.get("threshold"), 0);
        demand(threshold >= 1 && threshold <= ids.size(), "POLICY_INVALID", "a threshold nobody can meet");
        var keys = Json.object(outer.get("keys"));
        for (String id : ids) {
            demand(keys.containsKey(id), "POLICY_INVALID", "a key is used that is not listed");
            Key key = Key.fromPem(keys.get(id));
            demand(key.id().equals(id), "POLICY_INVALID", "a key is listed under an id that is not its own");
            roots.put(id, key);
        }
        logs = Log.read(outer);
    }
}
