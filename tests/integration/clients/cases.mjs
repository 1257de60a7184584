// Reads cases as JSON, and writes what the module says of each: a reason, "unchecked", or nothing.
import { readFileSync } from "node:fs";

import { VerificationError, parametersDigest, tensorsDigest, verifyReceipt } from "sealgate-receipt";

const asked = JSON.parse(readFileSync(0, "utf-8"));
const bytes = (text) => Uint8Array.from(Buffer.from(text, "base64"));
const utf8 = (text) => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes(text));
  } catch {
    return "\ufffd"; // not text, so nothing that a program could hand over
  }
};

async function said(check) {
  const trust = { policies: check.policies.map(utf8), rootKeys: check.root_keys, threshold: check.threshold };
  const call = { fields: check.fields, since: new Date(check.since), until: new Date(check.until),
    unsafeV1: check.unsafe_v1 };
  try {
    const found = await verifyReceipt(trust, utf8(check.receipt), call, new Date(check.now));
    return found.unchecked.length ? "unchecked" : "";
  } catch (error) {
    return error instanceof VerificationError ? error.reason : String(error.stack);
  }
}

/** Numbers of 64 bits are written as text, for JSON.parse would round them. */
const exact = (parameter) => Object.fromEntries(Object.entries(parameter).map(([field, value]) =>
  [field, field.includes("int64") ? BigInt(value) : value]));

const told = { checks: [], tensors: [], requests: [] };
for (const check of asked.checks) told.checks.push(await said(check));
for (const tensors of asked.tensors) {
  told.tensors.push(await tensorsDigest(tensors.map((item) => ({ ...item, raw: bytes(item.raw) }))));
}
for (const { parameters, outputs } of asked.requests) {
  const pairs = Object.entries(parameters).map(([name, parameter]) => [name, exact(parameter)]);
  told.requests.push(await parametersDigest(Object.fromEntries(pairs), outputs));
}
console.log(JSON.stringify(told));
