// The checks of sealgate/trust, made again in JavaScript: open_policy_chain and verify_receipt.
// Nothing here touches the page. Where Python refuses, these functions throw VerificationError.

/** Why something was not accepted; `reason` is a name of docs/reference/reasons.md. */
class VerificationError extends Error {
  constructor(text, reason) {
    super(text);
    this.reason = reason;
  }
}
class Unavailable extends Error {} // WebCrypto cannot make the check here: never counted as passed.

function demand(condition, text, reason = "DOCUMENT_MALFORMED") {
  if (!condition) throw new VerificationError(text, reason);
}

const LONGEST_TEXT = 4096;

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
    throw new VerificationError("It is not text in UTF-8.", "DOCUMENT_MALFORMED");
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

const TOO_LARGE = 1e21; // from here on RFC 8785 writes an exponent

function canonical(value) {
  // Whole numbers end at 2^53 - 1; and -0 is written as 0.
  demand(typeof value !== "number" || Number.isSafeInteger(value) || !Number.isInteger(value)
    || Math.abs(value) >= TOO_LARGE, "A number is too large.");
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const pair = (name) => `${JSON.stringify(name)}:${canonical(value[name])}`;
  return `{${Object.keys(value).sort().map(pair).join(",")}}`;
}

const MOST_VALUES = 1 << 18;

/** The value of a document that is written as we would have written it, byte for byte. */
function readJson(text) {
  let value, again;
  demand((text.match(/[,[{]/g) ?? []).length < MOST_VALUES, "It is JSON of too many values.");
  try {
    value = JSON.parse(text);
    again = canonical(value);
  } catch {
    throw new VerificationError("It is not JSON.", "DOCUMENT_MALFORMED");
  }
  const loneSurrogate = /(^|[^\\])(\\\\)*\\ud[89a-f]/; // what JSON.stringify writes for one
  demand(again === text && !loneSurrogate.test(text), "It is JSON, but not in its canonical form.");
  return value;
}

function object(value) {
  demand(value !== null && typeof value === "object" && !Array.isArray(value), "An object is expected.");
  return value;
}

function record(value, names) {
  demand(Object.keys(object(value)).sort().join() === [...names].sort().join(),
    `An object must have exactly the fields ${names.join(", ")}.`);
  return value;
}

function list(value) {
  demand(Array.isArray(value), "A list is expected.");
  return value;
}

/** The value, if it is text of at most so many characters: half a pair of surrogates counts as one. */
function plainText(value, longest = LONGEST_TEXT) {
  demand(typeof value === "string" && [...value].length <= longest, "A field is not text, or too long.");
  return value;
}

function texts(value) {
  list(value).forEach((item) => plainText(item));
  demand(new Set(value).size === value.length, "A list names something twice.");
  return value;
}

function integer(value, least = 0) {
  demand(Number.isSafeInteger(value) && value >= least, "A whole number is expected, or a larger one.");
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
  const base64 = plainText(pem).match(/^-----BEGIN PUBLIC KEY-----\n([^-]*)\n-----END PUBLIC KEY-----\n$/);
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
  demand(whole, "An ECDSA signature is not DER.", "SIGNATURE_INVALID");
  const number = (digits) => {
    const shortest = /^(00[89a-f]|[1-7]|0[1-9a-f])/.test(digits);
    demand(shortest && digits.length <= 66, "An ECDSA signature is not DER.", "SIGNATURE_INVALID");
    return fromHex(digits.replace(/^00/, "").padStart(64, "0"), 32);
  };
  return joined(number(form[3].slice(0, size)), number(tail[2]));
}

// ---- Signed documents: DSSE envelopes, policies, notes -----------------------------------------

function readEnvelope(text) {
  const outer = record(readJson(text), ["payload", "payloadType", "signatures"]);
  const signatures = list(outer.signatures).map((item) => record(item, ["keyid", "sig"]));
  demand(signatures.length >= 1 && signatures.length <= 32, "It has not between 1 and 32 signatures.");
  texts(signatures.map((item) => item.keyid));
  for (const { sig } of signatures) fromBase64(sig);
  const payload = fromBase64(outer.payload);
  demand(outer.payloadType === "application/vnd.sealgate.policy.v1+json", "It was not signed as a policy.",
    "SIGNATURE_INVALID");
  return { type: outer.payloadType, payload, signatures };
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
    demand(valid, `The signature that claims key ${keyid} is not that key's.`, "SIGNATURE_INVALID");
    signers.push(keyid);
  }
  demand(signers.length >= threshold,
    `${signers.length} of ${whose} have signed; ${threshold} must have.`, "THRESHOLD_NOT_MET");
  return signers;
}

const LONGEST_GRACE = 30 * 24 * 3600;

/** What a receipt needs of a policy. Its other rules are for gateways and engines to check. */
async function readPolicy(payload) {
  const policy = readJson(decodeText(payload));
  demand(object(policy).type === "sealgate/policy/v1", "It is not a policy of this format.");
  integer(policy.version, 1);
  const [issued, expires] = [policy.issued, policy.expires].map((time) => readTime(time, SECONDS));
  demand(issued < expires, "It expires before it is issued.", "POLICY_INVALID");
  // For so long after its end what stands goes on.
  const grace = policy.grace === undefined ? 0 : integer(record(policy.grace, ["seconds"]).seconds, 1);
  demand(grace <= LONGEST_GRACE, "Its grace is longer than 30 days.", "POLICY_INVALID");
  const { keys: ids, threshold } = record(policy.root, ["keys", "threshold"]);
  demand(integer(threshold) >= 1 && threshold <= texts(ids).length,
    "Its root's threshold is not between 1 and the number of its keys.", "POLICY_INVALID");
  const keys = object(policy.keys);
  const roots = new Map();
  for (const id of ids) {
    demand(Object.hasOwn(keys, id), "A key is used that is not listed.", "POLICY_INVALID");
    const key = await readKey(keys[id]);
    demand(key.id === id, "A key is listed under an id that is not its own.", "POLICY_INVALID");
    roots.set(id, key);
  }
  const { registry, answers } = record(policy.logs, ["registry", "answers"]);
  const logs = await Promise.all(texts(answers).map(readLogKey));
  const names = [(await readLogKey(registry)).name, ...logs.map((log) => log.name)];
  demand(new Set(names).size === names.length, "Two logs have one name.", "POLICY_INVALID");
  // ML-DSA-44 keys beside logs' own; no WebCrypto checks their signatures yet.
  const second = policy.ml_dsa === undefined ? {} : object(policy.ml_dsa);
  const former = policy.former_logs === undefined ? {} : object(policy.former_logs);
  for (const log of logs) {
    log.beside = Object.hasOwn(second, log.name);
    log.former = Object.hasOwn(former, log.name) ? await readFormerKeys(former[log.name], log.name) : [];
  }
  return { version: policy.version, issued: policy.issued, expires: policy.expires, grace, roots, threshold,
    digest: `sha256:${toHex(await sha256(payload))}`, answerLogs: new Map(logs.map((log) => [log.name, log])) };
}

/** The keys that a log was signed with before, each with the size up to which it vouches. */
async function readFormerKeys(section, name) {
  return Promise.all(list(section).map(async (entry) => {
    const { key, size } = record(entry, Object.hasOwn(object(entry), "size") ? ["key", "size"] : ["key"]);
    const read = await readLogKey(key);
    demand(read.name === name, "A former key stands under another log's name.", "POLICY_INVALID");
    return { ...read, size: size === undefined ? Infinity : integer(size) };
  }));
}

const SECONDS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const MICROS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

/** Milliseconds since 1970 of a time in its fixed form; a date that does not exist is none. */
function readTime(text, form) {
  const moment = new Date(typeof text === "string" && form.test(text) ? text : NaN);
  const valid = !Number.isNaN(moment.getTime()) && moment.getUTCFullYear() > 0
    && moment.toISOString().slice(0, 19) === text.slice(0, 19);
  demand(valid, "A time is not in its fixed form.");
  return moment.getTime();
}

// What Python's \s is; names of keys have no control characters either.
const BLANK = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const NAME = new RegExp(`^[^${BLANK}+\\x00-\\x1f\\x7f\\u2014]{1,255}$`, "u");
const LINE_NAME = new RegExp(`^[^${BLANK}+]{1,255}$`, "u");

/** A log's name, key and the hint that stands for both, from `name+hint+key` (C2SP signed note). */
async function readLogKey(text) {
  const [, name, hint, encoded] = plainText(text).match(/^([^+]*)\+([^+]*)\+([^]*)$/) ?? [];
  const data = fromBase64(encoded ?? "");
  demand(NAME.test(name) && data.length === 33 && data[0] === 1, "A log's key is not Ed25519.");
  const own = toHex(await sha256(encodeText(`${name}\n`), data)).slice(0, 8);
  demand(own === hint, "A log's key has a hint that is not its own.");
  return { name, hint, scheme: "Ed25519", der: joined(ED25519_DER, data.slice(1)) };
}

/** A signed checkpoint's parts: the text that is signed, and the lines that sign it. */
function readCheckpoint(note) {
  const cut = note.lastIndexOf("\n\n");
  const text = note.slice(0, cut + 1);
  const parts = text.match(/^([^\n]+)\n(0|[1-9]\d{0,15})\n([^\n]+)\n$/);
  const lines = note.slice(cut + 2).split("\n");
  demand(parts && NAME.test(parts[1]) && lines.pop() === "" && lines.length >= 1 && lines.length <= 100,
    "The proof holds no signed checkpoint.");
  const root = fromBase64(parts[3]);
  demand(root.length === 32 && Number.isSafeInteger(Number(parts[2])), "The checkpoint is malformed.");
  const signatures = lines.map((line) => {
    const [, name, encoded] = line.match(/^\u2014 ([^ ]*) (.*)$/) ?? [];
    const data = fromBase64(encoded ?? "");
    demand(LINE_NAME.test(name) && data.length >= 5, "A signature line of the checkpoint is malformed.");
    return { name, hint: toHex(data.slice(0, 4)), signature: data.slice(4) };
  });
  texts(signatures.map((item) => `${item.name} ${item.hint}`));
  return { text, origin: parts[1], size: Number(parts[2]), root, signatures };
}

export { MICROS, Unavailable, VerificationError, checkSigners, demand, encodeText, fromBase64, fromHex, integer,
  joined, list, object, plainText, readCheckpoint, readEnvelope, readJson, readKey, readPolicy, readTime, record, same,
  sha256, signed, toHex };
