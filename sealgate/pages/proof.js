"use strict";
// The checks of sealgate/trust, made again in a browser: open_policy_chain and verify_receipt.
// Nothing here touches the page. Where Python refuses, these functions throw Broken.

class Broken extends Error {}
class Unavailable extends Error {} // This browser cannot make the check: never counted as passed.

function demand(condition, text) {
  if (!condition) throw new Broken(text);
}

// ---- Bytes and text ----------------------------------------------------------------------------

const encodeText = (text) => new TextEncoder().encode(text);
const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const same = (left, right) => toHex(left) === toHex(right);

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function decodeText(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Broken("It is not text in UTF-8.");
  }
}

function fromHex(text, size) {
  demand(typeof text === "string" && /^[0-9a-f]*$/.test(text) && text.length === 2 * size,
    `${2 * size} hexadecimal digits are expected.`);
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function fromBase64(text) {
  let bytes = null;
  try {
    bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch { /* answered below */ }
  demand(bytes && typeof text === "string" && toBase64(bytes) === text,
    "A value is not base64 in its only spelling.");
  return bytes;
}

// ---- Canonical JSON (RFC 8785) -----------------------------------------------------------------

function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const pair = (name) => `${JSON.stringify(name)}:${canonical(value[name])}`;
  return `{${Object.keys(value).sort().map(pair).join(",")}}`;
}

/** The value of a document that is written as we would have written it, byte for byte. */
function readJson(text) {
  let value, again;
  try {
    value = JSON.parse(text);
    again = canonical(value);
  } catch {
    throw new Broken("It is not JSON.");
  }
  const loneSurrogate = /(^|[^\\])(\\\\)*\\ud[89a-f]/; // what JSON.stringify writes for one
  demand(again === text && !loneSurrogate.test(text), "It is JSON, but not in its canonical form.");
  return value;
}

function record(value, names) {
  demand(value !== null && typeof value === "object" && !Array.isArray(value)
    && Object.keys(value).sort().join() === [...names].sort().join(),
    `An object must have exactly the fields ${names.join(", ")}.`);
  return value;
}

function list(value) {
  demand(Array.isArray(value), "A list is expected.");
  return value;
}

function texts(value) {
  demand(list(value).every((item) => typeof item === "string"), "A list of texts is expected.");
  demand(new Set(value).size === value.length, "A list names something twice.");
  return value;
}

// ---- Hashes and signatures (WebCrypto) ---------------------------------------------------------

function subtle() {
  if (globalThis.crypto?.subtle) return globalThis.crypto.subtle;
  throw new Unavailable("This browser gives the page no WebCrypto, so nothing could be computed. "
    + "Open the page from a file or over https, in a current browser.");
}

async function sha256(...parts) {
  return new Uint8Array(await subtle().digest("SHA-256", joined(...parts)));
}

const ED25519_DER = fromHex("302a300506032b6570032100", 12);
const P256_DER = fromHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004", 27);

/** A public key from the one spelling of its PEM; `id` is the SHA-256 of its DER. */
async function readKey(pem) {
  const base64 = String(pem).match(/^-----BEGIN PUBLIC KEY-----\n([^-]*)\n-----END PUBLIC KEY-----\n$/);
  demand(base64, "A public key is not PEM in its one spelling.");
  const der = fromBase64(base64[1].replaceAll("\n", ""));
  demand(toBase64(der).match(/.{1,64}/g).join("\n") === base64[1], "A public key is spelled otherwise.");
  const starts = (head, size) => der.length === size && same(der.slice(0, head.length), head);
  const scheme = starts(ED25519_DER, 44) ? "Ed25519" : starts(P256_DER, 91) ? "P-256" : "";
  demand(scheme, "A public key is neither Ed25519 nor P-256.");
  return { id: toHex(await sha256(der)), der, scheme };
}

async function signed(key, signature, message) {
  const ecdsa = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const kind = key.scheme === "Ed25519" ? { name: "Ed25519" } : ecdsa;
  const raw = key.scheme === "Ed25519" ? signature : rawEcdsa(signature);
  try {
    const imported = await subtle().importKey("spki", key.der, kind, false, ["verify"]);
    return await subtle().verify(kind, imported, raw, message);
  } catch (error) {
    if (error instanceof Unavailable) throw error;
    if (error.name !== "NotSupportedError") return false;
    throw new Unavailable(`This browser cannot check ${key.scheme} signatures. Use a current one.`);
  }
}

/** WebCrypto wants two numbers of 32 bytes; documents carry them in DER. */
function rawEcdsa(der) {
  const form = toHex(der).match(/^30(..)02(..)(.*)$/);
  const size = form ? 2 * parseInt(form[2], 16) : 0;
  const tail = form ? form[3].slice(size).match(/^02(..)(.*)$/) : null;
  const whole = tail && parseInt(form[1], 16) === der.length - 2
    && parseInt(tail[1], 16) * 2 === tail[2].length;
  demand(whole, "An ECDSA signature is not DER.");
  const number = (digits) => fromHex(digits.replace(/^(00)+/, "").padStart(64, "0"), 32);
  return joined(number(form[3].slice(0, size)), number(tail[2]));
}

// ---- Signed documents: DSSE envelopes, policies, notes -----------------------------------------

function readEnvelope(text) {
  const outer = record(readJson(text), ["payload", "payloadType", "signatures"]);
  const signatures = list(outer.signatures).map((item) => record(item, ["keyid", "sig"]));
  demand(signatures.length >= 1 && signatures.length <= 32, "It has not between 1 and 32 signatures.");
  texts(signatures.map((item) => item.keyid));
  demand(outer.payloadType === "application/vnd.sealgate.policy.v1+json", "It was not signed as a policy.");
  return { type: outer.payloadType, payload: fromBase64(outer.payload), signatures };
}

/** The ids of the keys that signed; a signature that claims one of `keys` must be that key's. */
async function checkSigners(envelope, keys, threshold, whose) {
  const type = encodeText(envelope.type);
  const head = encodeText(`DSSEv1 ${type.length} ${envelope.type} ${envelope.payload.length} `);
  const signers = [];
  for (const { keyid, sig } of envelope.signatures) {
    const key = keys.get(keyid);
    if (!key) continue;
    const valid = await signed(key, fromBase64(sig), joined(head, envelope.payload));
    demand(valid, `The signature that claims key ${keyid} is not that key's.`);
    signers.push(keyid);
  }
  demand(signers.length >= threshold,
    `${signers.length} of ${whose} have signed; ${threshold} must have.`);
  return signers;
}

const LONGEST_GRACE = 30 * 24 * 3600;

/** What a receipt needs of a policy. Its other rules are for gateways and engines to check. */
async function readPolicy(payload) {
  const policy = readJson(decodeText(payload));
  demand(policy?.type === "sealgate/policy/v1", "It is not a policy of this format.");
  demand(Number.isSafeInteger(policy.version) && policy.version >= 1, "Its version is not a number.");
  for (const time of [policy.issued, policy.expires]) {
    const moment = new Date(time);
    const again = Number.isNaN(moment.getTime()) ? "" : moment.toISOString().replace(".000Z", "Z");
    demand(again === time, "A time is not in its fixed form.");
  }
  demand(policy.issued < policy.expires, "It expires before it is issued.");
  // For so long after its end what stands goes on.
  const grace = policy.grace === undefined ? 0 : record(policy.grace, ["seconds"]).seconds;
  demand(policy.grace === undefined || (Number.isSafeInteger(grace) && grace >= 1 && grace <= LONGEST_GRACE),
    "Its grace is no time of 30 days at most.");
  const { keys: ids, threshold } = record(policy.root, ["keys", "threshold"]);
  demand(Number.isSafeInteger(threshold) && threshold >= 1 && threshold <= texts(ids).length,
    "Its root's threshold is not between 1 and the number of its keys.");
  const roots = new Map();
  for (const id of ids) {
    const key = await readKey(Object.hasOwn(policy.keys ?? {}, id) ? policy.keys[id] : "");
    demand(key.id === id, "A key is listed under an id that is not its own.");
    roots.set(id, key);
  }
  const { registry, answers } = record(policy.logs, ["registry", "answers"]);
  const logs = await Promise.all(texts(answers).map(readLogKey));
  texts([(await readLogKey(registry)).name, ...logs.map((log) => log.name)]);
  return { version: policy.version, issued: policy.issued, expires: policy.expires, grace, roots, threshold,
    digest: `sha256:${toHex(await sha256(payload))}`, answerLogs: new Map(logs.map((log) => [log.name, log])) };
}

/** A log's name, key and the hint that stands for both, from `name+hint+key` (C2SP signed note). */
async function readLogKey(text) {
  const [, name, hint, encoded] = String(text).match(/^([^\s+\x00-\x1f\x7f\u2014]{1,255})\+([0-9a-f]{8})\+(.+)$/) ?? [];
  const data = fromBase64(encoded ?? "");
  demand(data.length === 33 && data[0] === 1, "A log's key is not Ed25519.");
  const own = toHex(await sha256(encodeText(`${name}\n`), data)).slice(0, 8);
  demand(own === hint, "A log's key has a hint that is not its own.");
  return { name, hint, scheme: "Ed25519", der: joined(ED25519_DER, data.slice(1)) };
}

/** A signed checkpoint's parts: the text that is signed, and the lines that sign it. */
function readCheckpoint(note) {
  const cut = note.lastIndexOf("\n\n");
  const text = note.slice(0, cut + 1);
  const parts = text.match(/^([^\s+\x00-\x1f\x7f\u2014]{1,255})\n(0|[1-9]\d{0,15})\n([^\n]+)\n$/);
  const lines = note.slice(cut + 2).split("\n");
  demand(parts && lines.pop() === "" && lines.length >= 1 && lines.length <= 100,
    "The proof holds no signed checkpoint.");
  const root = fromBase64(parts[3]);
  demand(root.length === 32 && Number.isSafeInteger(Number(parts[2])), "The checkpoint is malformed.");
  const signatures = lines.map((line) => {
    const [, name, encoded] = line.match(/^\u2014 ([^\s+\x00-\x1f\x7f-\x9f]{1,255}) ([A-Za-z0-9+/]+=*)$/) ?? [];
    const data = fromBase64(encoded ?? "");
    demand(data.length >= 5, "A signature line of the checkpoint is malformed.");
    return { name, hint: toHex(data.slice(0, 4)), signature: data.slice(4) };
  });
  texts(signatures.map((item) => `${item.name} ${item.hint}`));
  return { text, origin: parts[1], size: Number(parts[2]), root, signatures };
}
