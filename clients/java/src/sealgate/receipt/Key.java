package sealgate.receipt;

import static sealgate.receipt.Refusal.wellFormed;

import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.*;

/** An Ed25519 or P-256 key from its DER; {@link #id} is the SHA-256 of that. */
record Key(byte[] der) {
    private static final String ED25519 = "302a300506032b6570032100";
    private static final String P256 = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";

    static Key fromPem(Object value) {
        String pem = Json.text(value, Json.LONGEST);
        byte[] der = Json.unbase64(pem.replaceAll("-----[A-Z ]*-----|\n", ""));
        String lines = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(der);
        String again = "-----BEGIN PUBLIC KEY-----\n" + lines + "\n-----END PUBLIC KEY-----\n";
        wellFormed(again.equals(pem), "not a public key in PEM, in its one spelling");
        boolean known = Digests.hex(der).matches(ED25519 + ".{64}|" + P256 + ".{128}");
        wellFormed(known, "neither an Ed25519 nor a P-256 key");
        return new Key(der);
    }

    static Key ofRaw(byte[] raw) {
        return new Key(HexFormat.of().parseHex(ED25519 + Digests.hex(raw)));
    }

    String id() {
        return Digests.hex(Digests.hash(der));
    }

    boolean verify(byte[] message, byte[] signature) {
        boolean edwards = der.length == 44;
        try {
            Signature check = Signature.getInstance(edwards ? "Ed25519" : "SHA256withECDSA");
            KeyFactory factory = KeyFactory.getInstance(edwards ? "Ed25519" : "EC");
            check.initVerify(factory.generatePublic(new X509EncodedKeySpec(der)));
            check.update(message);
            return check.verify(signature);
        } catch (GeneralSecurityException error) {
            return false;
        }
    }
}
