package sealgate.receipt;

/** Why something was not accepted: {@link #reason} is a name of docs/reference/reasons.md. */
public final class Refusal extends RuntimeException {
    private static final long serialVersionUID = 1;
    public final String reason;

    Refusal(String reason, String detail) {
        super(reason + ": " + detail);
        this.reason = reason;
    }

    static void demand(boolean holds, String reason, String detail) {
        if (!holds) throw new Refusal(reason, detail);
    }

    static void wellFormed(boolean holds, String detail) {
        demand(holds, "DOCUMENT_MALFORMED", detail);
    }
}
