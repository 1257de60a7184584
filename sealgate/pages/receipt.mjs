// The module for programs: checks that a receipt is of the caller's own call. The page does not use it.

import { V2_FIELDS, checkReceipt } from "./checks.mjs";
import { MICROS, Unavailable, VerificationError, demand, encodeText, joined, readTime, sha256, toHex } from "./proof.mjs";

// Callers who knew these could search for an input that passes.
const KEPT = ["score", "threshold"];
const CLOCK_SKEW = 5 * 60 * 1000;

/**
 * What a receipt proves: `fields` (a Map), `index`, `checkpoint`, and as `unchecked` the signatures
 * that the policy asks for and that nothing here can check.
 *
 * `trust` has `policies` (texts, oldest first), `rootKeys` (PEM) and `threshold`; `call` has `fields`,
 * the values that the receipt must have, `since` and `until` (Dates, may be left out), and `unsafeV1`,
 * which takes receipts of older gateways. Rejects with VerificationError, or with Unavailable where WebCrypto
 * cannot check something.
 */
async function verifyReceipt(trust, text, call, now = new Date()) {
  const { steps, state, policy, receipt } = await checkReceipt(trust, text, now);
  const failed = steps.find((step) => step.state === "broken") ?? steps.find((step) => step.state === "unchecked");
  if (state === "unchecked") throw new Unavailable(failed.says);
  if (state === "broken") throw new VerificationError(failed.says, failed.reason);
  const { opened, checkpoint, index } = receipt;
  const fields = new Map([...opened].map(([name, { value }]) => [name, value]));
  compare(fields, receipt.fields, policy, call);
  const beside = policy.answerLogs.get(checkpoint.origin).beside;
  const unchecked = beside ? [`the ML-DSA-44 signature of ${checkpoint.origin}`] : [];
  return { fields, index, checkpoint, unchecked, policyVersion: policy.version };
}

function compare(fields, names, policy, call) {
  const outdated = names.length < V2_FIELDS.length;
  demand(!outdated || call.unsafeV1, "It is of an entry of v1.", "RECEIPT_OUTDATED");
  for (const name of names) {
    demand(fields.has(name) || KEPT.includes(name), `It keeps ${name} from the caller.`, "RECEIPT_MISMATCH");
  }
  for (const [name, value] of Object.entries(call.fields)) {
    const lacking = outdated && V2_FIELDS.includes(name) && !names.includes(name);
    demand(lacking || fields.get(name) === value, `It has another ${name}.`, "RECEIPT_MISMATCH");
  }
  const chained = policy.digests.has(fields.get("policy_digest"));
  demand(chained, "It is under a policy outside the chain.", "POLICY_INVALID");
  const recorded = readTime(fields.get("time"), MICROS);
  const early = call.since && recorded < call.since.getTime() - CLOCK_SKEW;
  const late = call.until && recorded > call.until.getTime() + CLOCK_SKEW;
  demand(!early && !late, "It was recorded at another time.", "RECEIPT_MISMATCH");
}

// ---- Digests of a request and its answer -------------------------------------------------------

function number(value) {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setBigUint64(0, BigInt.asUintN(64, BigInt(value)));
  return new Uint8Array(bytes.buffer);
}

const sized = (bytes) => joined(number(bytes.length), bytes);
const compareBytes = (one, other) => (toHex(encodeText(one)) < toHex(encodeText(other)) ? -1 : 1);

/** The digest that a receipt has as `input` or `output`: of `{ name, datatype, shape, raw }` in any order. */
async function tensorsDigest(tensors) {
  const ordered = [...tensors].sort((one, other) => compareBytes(one.name, other.name));
  const parts = ordered.flatMap(({ name, datatype, shape, raw }) => [sized(encodeText(name)),
    sized(encodeText(datatype)), number(shape.length), ...shape.map(number), sized(raw)]);
  return `sha256:${toHex(await sha256(encodeText("sealgate/tensors/v1\n"), number(tensors.length), ...parts))}`;
}

/** By the protocol's field of a parameter: its number, and its value as it is hashed. */
const KINDS = {
  bool_param: [1, (value) => [value ? 1 : 0]],
  int64_param: [2, number],
  string_param: [3, encodeText],
  double_param: [4, (value) => new Uint8Array(Float64Array.of(value).buffer).reverse()],
  uint64_param: [5, number],
};

/**
 * The digest that a receipt has as `parameters`: of an object of `{ string_param: "…" }` and the like by
 * name, and of the outputs that the request names. 64-bit numbers may be BigInt.
 */
async function parametersDigest(parameters, outputs = []) {
  const names = Object.keys(parameters).sort(compareBytes);
  const parts = names.flatMap((name) => {
    const [field] = Object.keys(parameters[name]);
    const [kind, write] = field === undefined ? [0, () => []] : KINDS[field];
    return [sized(encodeText(name)), [kind], sized(write(parameters[name][field]))];
  });
  const named = outputs.map((name) => sized(encodeText(name)));
  return `sha256:${toHex(await sha256(encodeText("sealgate/parameters/v1\n"), number(names.length), ...parts,
    number(outputs.length), ...named))}`;
}

export { Unavailable, VerificationError, checkReceipt, parametersDigest, tensorsDigest, verifyReceipt };
