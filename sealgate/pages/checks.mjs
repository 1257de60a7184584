import { Unavailable, VerificationError, checkSigners, demand, encodeText, fromBase64, fromHex, list, object,
  plainText, readCheckpoint, readEnvelope, readJson, readKey, readPolicy, record, same, sha256, signed, toHex,
} from "./proof.mjs";
// The numbered steps, one after the other. Each holds, is broken, or could not be checked.

const V1_FIELDS = ["time", "principal", "method", "model", "version", "version_digest",
  "pointer_sequence", "policy_digest", "input", "output", "outcome", "verdict", "score", "threshold",
  "engine"];
const V2_FIELDS = [...V1_FIELDS, "alias", "parameters", "request_id", "screening", "arithmetic",
  "actions"];
const LONGEST_PROOF = 1 << 16;
const ML_DSA_UNCHECKED = "The policy asks for an ML-DSA-44 signature too, which was not checked here.";
/** By the type of a receipt: the header and the fields of the entry that it proves. */
const FORMATS = new Map([
  ["sealgate/receipt/v1", { header: "sealgate/answer/v1\n", fields: V1_FIELDS }],
  ["sealgate/receipt/v2", { header: "sealgate/answer/v2\n", fields: V2_FIELDS }],
]);

/**
 * Check a receipt against the reader's root keys: `trust` has `policies` (texts, oldest first),
 * `rootKeys` (PEM) and `threshold`. The steps are those of open_policy_chain and verify_receipt.
 */
async function checkReceipt(trust, receiptText, now) {
  const steps = new Steps();
  const policy = await checkPolicies(steps, trust, now);
  const receipt = await checkEntry(steps, receiptText);
  await checkLog(steps, policy, receipt);
  return { steps: steps.all, state: steps.state, policy, receipt };
}

/** Runs steps, and keeps for each its state, a sentence and the evidence (`shown`). */
class Steps {
  all = [];

  get state() {
    const states = this.all.map((step) => step.state);
    return states.includes("broken") ? "broken" : states.every((s) => s === "holds") ? "holds" : "unchecked";
  }

  /** `check(shown)` returns what it found as a sentence, or throws. It runs if `needs` hold. */
  async run(id, title, needs, check) {
    const step = { id, number: id.split("-")[1], title, state: "unchecked", says: "", shown: [] };
    this.all.push(step);
    const missing = this.all.find((other) => needs.includes(other.id) && other.state !== "holds");
    if (missing) {
      step.says = `Not checked, for it rests on step ${missing.number} of the ${missing.id.split("-")[0]}.`;
      return;
    }
    try {
      step.says = await check(step.shown);
      step.state = "holds";
    } catch (error) {
      step.state = error instanceof Unavailable ? "unchecked" : "broken";
      step.reason = error instanceof VerificationError ? error.reason : "";
      step.says = error instanceof Error ? error.message : String(error);
    }
  }
}

// ---- The policy: open_policy_chain -------------------------------------------------------------

async function checkPolicies(steps, trust, now) {
  const chain = [];
  let envelopes = [];
  const own = (policy, envelope) =>
    checkSigners(envelope, policy.roots, policy.threshold, "its own root keys");

  await steps.run("policy-1", "Your root keys have signed the first policy, and so has its own root", [],
    async (shown) => {
      const keys = await Promise.all(trust.rootKeys.map(readKey));
      const pinned = new Map(keys.map((key) => [key.id, key]));
      demand(trust.threshold >= 1 && trust.policies.length, "There is no policy, or no threshold.",
        "POLICY_INVALID");
      envelopes = trust.policies.map(readEnvelope);
      const signers = await checkSigners(envelopes[0], pinned, trust.threshold, "your root keys");
      shown.push(...signers.map((id) => ({ label: "signed by root key", value: id })));
      const first = await readPolicy(envelopes[0].payload);
      await own(first, envelopes[0]);
      chain.push(first);
      const counted = `${signers.length} of your ${pinned.size} root keys have signed`;
      return `${counted} version ${first.version}; ${trust.threshold} must have.`;
    });
  await steps.run("policy-2", "Each further policy is signed by the root before it and by its own", ["policy-1"],
    async (shown) => {
      for (const envelope of envelopes.slice(1)) {
        const before = chain.at(-1);
        await checkSigners(envelope, before.roots, before.threshold, "the root keys before it");
        const next = await readPolicy(envelope.payload);
        const signers = await own(next, envelope);
        chain.push(next);
        shown.push(...signers.map((id) => ({ label: `version ${next.version} signed by`, value: id })));
      }
      return chain.length > 1 ? `So it is, for ${chain.length - 1}.` : "There is only the first.";
    });
  await steps.run("policy-3", "Versions grow by one", ["policy-2"], async () => {
    const versions = chain.map((policy) => policy.version);
    const says = `They are ${versions.join(", ")}.`;
    const grow = versions.every((version, at) => at === 0 || version > versions[at - 1]);
    demand(grow, says, "POLICY_ROLLED_BACK");
    demand(versions.every((version, at) => version === versions[0] + at), says, "POLICY_INVALID");
    return versions.length > 1 ? `They are ${versions.join(", ")}.` : `Only version ${versions[0]} is here.`;
  });
  await steps.run("policy-4", "The newest policy is in force", ["policy-3"], async (shown) => {
    const { version, issued, expires, grace, digest } = chain.at(-1);
    shown.push({ label: "policy", value: digest });
    const left = new Date(expires) - now;
    demand(left + grace * 1000 > 0, `Version ${version} expired at ${expires}.`, "POLICY_EXPIRED");
    if (left <= 0) return `Version ${version} expired at ${expires}, and is in its grace.`;
    return `Version ${version}, issued ${issued}, is in force until ${expires}.`;
  });
  const newest = chain.at(-1);
  return newest && { ...newest, digests: new Set(chain.map((policy) => policy.digest)) };
}

// ---- The receipt: verify_receipt, steps 1 to 4 -------------------------------------------------

async function checkEntry(steps, text) {
  let receipt = null;
  await steps.run("receipt-0", "The receipt is written in its one form", [], async () => {
    receipt = readReceipt(text);
    return "Written again from what was read, it is the same, byte for byte.";
  });
  await steps.run("receipt-1", "Each opened field is what was committed to", ["receipt-0"], async (shown) => {
    for (const [position, name] of receipt.fields.entries()) {
      const committed = toHex(receipt.commitments[position]);
      const opened = receipt.opened.get(name);
      const row = { field: name, value: opened?.value, commitment: committed, state: "sealed" };
      shown.push(row);
      if (!opened) continue;
      const parts = [opened.salt, [name.length], encodeText(name), encodeText(opened.value)];
      row.computed = toHex(await sha256(...parts));
      row.state = row.computed === committed ? "holds" : "broken";
    }
    const altered = shown.filter((row) => row.state === "broken").map((row) => row.field);
    demand(!altered.length, `Not what was recorded: ${altered.join(", ")}.`, "PROOF_INVALID");
    return `${receipt.opened.size} of ${receipt.fields.length} fields are opened, each to its commitment; the others stay sealed.`;
  });
  return receipt;
}

async function checkLog(steps, policy, receipt) {
  const { checkpoint, index, hashes, commitments, header } = receipt ?? {};
  let leaf = null, reached = null;

  await steps.run("receipt-2", "The policy names this answer log", ["policy-4", "receipt-0"], async () => {
    demand(policy.answerLogs.has(checkpoint.origin), `The policy names no answer log ${checkpoint.origin}.`,
      "LOG_UNKNOWN");
    return `The log is ${checkpoint.origin}.`;
  });
  await steps.run("receipt-3", "The log’s own key has signed the checkpoint", ["receipt-2"], async (shown) => {
    const named = policy.answerLogs.get(checkpoint.origin);
    // A former key vouches for what it signed before the log was handed over.
    const keys = [named, ...named.former.filter((key) => checkpoint.size <= key.size)];
    const by = (key) => checkpoint.signatures.find((item) => item.name === key.name && item.hint === key.hint);
    const log = keys.find(by) ?? named;
    const label = log === named ? "key in the policy" : "former key in the policy";
    shown.push({ label, value: toHex(log.der.slice(-32)) });
    const line = by(log);
    demand(line, "No signature is by the key that the policy certifies.", "SIGNATURE_INVALID");
    shown.push({ label: "signature", value: toHex(line.signature) });
    demand(await signed(log, line.signature, encodeText(checkpoint.text)),
      "The signature is not that of the key over this checkpoint.", "SIGNATURE_INVALID");
    if (named.beside) return `It states ${checkpoint.size} entries under one root. ${ML_DSA_UNCHECKED}`;
    return `It states ${checkpoint.size} entries under one root.`;
  });
  await steps.run("receipt-4a", "The commitments make up an entry", ["receipt-0"], async (shown) => {
    leaf = await sha256([0], encodeText(header), ...commitments);
    shown.push({ label: "leaf hash", value: toHex(leaf) });
    return "This is its leaf hash.";
  });
  await steps.run("receipt-4b", "A path leads from the entry to the root", ["receipt-4a"], async (shown) => {
    reached = await followPath(leaf, index, checkpoint.size, hashes, shown);
    const levels = `${hashes.length} ${hashes.length === 1 ? "level" : "levels"}`;
    return `Entry ${index} of a tree of ${checkpoint.size}: ${levels} up, as it must be.`;
  });
  await steps.run("receipt-4c", "The path ends at the checkpoint’s root", ["receipt-4b"], async (shown) => {
    shown.push({ label: "root reached", value: toHex(reached) },
      { label: "root in the checkpoint", value: toHex(checkpoint.root) });
    demand(same(reached, checkpoint.root), "It leads to another root.", "PROOF_INVALID");
    const unsigned = "It leads to the root that the checkpoint states, but step 3 does not prove that checkpoint.";
    if (steps.all.find((step) => step.id === "receipt-3").state !== "holds") throw new Unavailable(unsigned);
    return "The log held this entry when it signed.";
  });
}

function readReceipt(text) {
  const outer = record(readJson(text), ["commitments", "opened", "proof", "type"]);
  const format = FORMATS.get(outer.type);
  demand(format, "It is not a receipt of this format.");
  const commitments = list(outer.commitments).map((item) => fromHex(item, 32));
  demand(commitments.length === format.fields.length, "A receipt has a commitment for each field.");
  const names = Object.keys(object(outer.opened));
  const opened = new Map(names.map((name) => {
    demand(format.fields.includes(name), "The receipt opens what is not a field.");
    const { salt, value } = record(outer.opened[name], ["salt", "value"]);
    return [name, { salt: fromHex(salt, 16), value: plainText(value) }];
  }));
  const proof = plainText(outer.proof, LONGEST_PROOF).match(
    /^c2sp\.org\/tlog-proof@v1\nindex (0|[1-9]\d{0,15})\n((?:[A-Za-z0-9+/]{43}=\n){0,64})\n([^]*)$/);
  demand(proof && Number.isSafeInteger(Number(proof[1])), "The proof is not a tlog-proof.");
  return { ...format, commitments, opened, index: Number(proof[1]), checkpoint: readCheckpoint(proof[3]),
    hashes: proof[2].split("\n").slice(0, -1).map(fromBase64) };
}

/** RFC 9162, 2.1.3.2: the root that the hashes lead to. Positions may exceed 32 bits: no shifts. */
async function followPath(leaf, index, size, hashes, shown) {
  demand(index < size, "The entry’s place is not in the tree.", "PROOF_INVALID");
  let node = index, last = size - 1, reached = leaf;
  const half = (number) => Math.floor(number / 2);
  for (const [level, sibling] of hashes.entries()) {
    demand(last > 0, "The path is too long for this tree.", "PROOF_INVALID");
    const left = node % 2 === 1 || node === last;
    reached = await sha256([1], ...(left ? [sibling, reached] : [reached, sibling]));
    shown.push({ level: level + 1, side: left ? "left" : "right", sibling: toHex(sibling), value: toHex(reached) });
    // A last node without a sibling moves up unchanged until it is a right child.
    while (left && node > 0 && node % 2 === 0) [node, last] = [half(node), half(last)];
    [node, last] = [half(node), half(last)];
  }
  demand(last === 0, "The path is too short for this tree.", "PROOF_INVALID");
  return reached;
}

export { V2_FIELDS, checkReceipt };
