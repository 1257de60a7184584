package sealgate.receipt;

import static sealgate.receipt.Refusal.wellFormed;

import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.*;

/** An Ed25519 or P-256 key from its DER; {@link #id} is the SHA-256 of that. */
record Key(byte[] der) {
    static final String ED25519 = "302a300506032b6570032100";
    private static final String P256 = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    private static final String HEAD = "-----BEGIN PUBLIC KEY-----\n";
    private static final String END = "\n-----END PUBLIC KEY-----\n";

    static Key fromPem(Object value) {
        String pem = Fields.text(value, Fields.LONGEST);
        wellFormed(pem.startsWith(HEAD) && pem.endsWith(END) && pem.length() > 60, "not a public key in PEM");
        byte[] der = Fields.unbase64(pem.substring(HEAD.length(), pem.length() - END.length()).replace("\n", ""));
        String again = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(der);
        wellFormed((HEAD + again + END).equals(pem), "a public key in another spelling");
        Key key = new Key(der);
        wellFormed(key.is(ED25519, 44) || key.is(P256, 91), "neither an Ed25519 nor a P-256 key");
        return key;
    }

    static Key ofRaw(byte[] raw) {
        return new Key(HexFormat.of().parseHex(ED25519 + Fields.hex(raw)));
    }

    private boolean is(String head, int size) {
        return der.length == size && Fields.hex(der).startsWith(head);
    }

    String id() {
        return Fields.hex(Fields.hash(der));
    }

    boolean verify(byte[] message, byte[] signature) {
        boolean edwards = is(ED25519, 44);
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
