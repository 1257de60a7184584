"use strict";
// What the reader sees and does: takes receipts, policies and root keys, and shows the steps.

const LARGEST = 1 << 20;
const pinned = JSON.parse(document.getElementById("pinned").textContent);
const at = (id) => document.getElementById(id);
let held = nothing();
let run = 0; // The newest check; an older one that ends later shows nothing.

function nothing() {
  return { receipt: null, policies: pinned ? [...pinned.policies] : [],
    rootKeys: pinned ? [...pinned.root_keys] : [], complaints: [] };
}

function threshold() {
  return pinned ? pinned.threshold : Number(at("threshold").value);
}

// ---- Taking documents --------------------------------------------------------------------------

async function takeFiles(files) {
  const taken = [];
  for (const file of files) {
    if (file.size > LARGEST) held.complaints.push(`${file.name} is too large to be any of these.`);
    else taken.push([file.name, new Uint8Array(await file.arrayBuffer())]);
  }
  for (const [name, bytes] of taken) take(name, bytes);
  await check();
}

/** Says what a document is by looking into it; whether it is sound, the steps say. */
function take(name, bytes) {
  let text = "", value = null;
  try {
    text = decodeText(bytes);
    value = JSON.parse(text);
  } catch { /* a key, or nothing of ours */ }
  if (text.startsWith("-----BEGIN PUBLIC KEY-----")) takeKey(text);
  else if (String(value?.type).startsWith("sealgate/receipt/")) held.receipt = text;
  else if (typeof value?.payloadType === "string") takePolicy(text);
  else held.complaints.push(`${name} is not a receipt, a signed policy or a public key.`);
}

function takeKey(text) {
  if (pinned) held.complaints.push("This page has its root keys already, and takes no others.");
  else if (!held.rootKeys.includes(text)) held.rootKeys.push(text);
}

function takePolicy(text) {
  if (!held.policies.includes(text)) held.policies.push(text);
  held.policies.sort((one, other) => versionOf(one) - versionOf(other));
}

/** A policy's version before anything is checked: only to put the chain in order. */
function versionOf(text) {
  try {
    return Number(JSON.parse(decodeText(fromBase64(JSON.parse(text).payload))).version) || 0;
  } catch {
    return 0;
  }
}

// ---- Checking ----------------------------------------------------------------------------------

async function check() {
  const mine = ++run;
  at("complaint").textContent = held.complaints.splice(0).join(" ");
  const trust = { policies: [...held.policies], rootKeys: [...held.rootKeys], threshold: threshold() };
  const facts = await trustFacts(trust);
  const missing = wanted(trust);
  const result = missing.length ? null : await checkReceipt(trust, held.receipt, new Date());
  if (mine !== run) return;
  at("trusted").replaceChildren(...facts);
  if (result) showResult(result);
  else showWaiting(missing);
}

function wanted({ policies, rootKeys, threshold }) {
  const ready = [[held.receipt !== null, "a receipt"], [policies.length, "the signed policy"],
    [rootKeys.length, "your root keys"],
    [Number.isSafeInteger(threshold) && threshold >= 1, "how many of your root keys must have signed"]];
  return ready.filter(([there]) => !there).map(([, name]) => name);
}

async function trustFacts({ policies, rootKeys }) {
  const ids = await Promise.all(rootKeys.map(async (pem) => {
    try {
      return (await readKey(pem)).id;
    } catch (error) {
      return error instanceof Unavailable ? "not computed, for this browser has no WebCrypto" : "not a key";
    }
  }));
  return [...ids.flatMap((id) => fact("root key", make("code", {}, id))),
    ...policies.flatMap((text) => fact("policy", `version ${versionOf(text)}`))];
}

// ---- Showing -----------------------------------------------------------------------------------

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function fact(name, value, state = "") {
  return [make("dt", {}, name), make("dd", { "data-state": state }, value)];
}

const MARKS = { holds: "✓ holds", broken: "✗ broken", unchecked: "– not checked", sealed: "sealed" };

function showWaiting(missing) {
  showVerdict("waiting", `Still wanted: ${missing.join("; ")}.`, "");
  at("summary").replaceChildren();
  at("report").hidden = true;
}

function showVerdict(state, headline, because) {
  const [first, second] = at("verdict").querySelectorAll("p");
  at("verdict").dataset.state = state;
  first.textContent = headline;
  second.textContent = because;
}

function showResult({ steps, state, policy, receipt }) {
  const named = (step) => `Step ${step.number} of the ${step.id.split("-")[0]}: ${step.says}`;
  const first = steps.find((step) => step.state === state);
  if (state === "holds") showVerdict(state, "✓ The receipt holds", "Every step of its proof was verified.");
  else if (state === "broken") showVerdict(state, "✗ The proof is broken", named(first));
  else showVerdict(state, "– The receipt could not be checked here", named(first));
  at("summary").replaceChildren(...(state === "holds" ? summary(receipt, policy) : []));
  for (const part of ["policy", "receipt"]) {
    const items = steps.filter((step) => step.id.startsWith(part)).map(showStep);
    at(`${part}-steps`).replaceChildren(...items);
  }
  at("report").hidden = false;
}

/** What a proven receipt says, in the order in which one would ask. Nothing unproven is repeated here. */
function summary({ opened, checkpoint, index }, policy) {
  const value = (name) => opened.get(name)?.value ?? "(sealed)";
  const unscreened = value("screening") === "none";
  return [["when", value("time")], ["who asked", value("principal")],
    ["which model", `${value("model")}, version ${value("version")}`],
    ["what came of it", value("outcome") + (unscreened ? "" : `, screened as ${value("verdict")}`)],
    ...(unscreened ? [["screening", "NOT SCREENED: nothing looked for adversarial inputs", "broken"]] : []),
    ["where it stands", `entry ${index} of ${checkpoint.origin}, among ${checkpoint.size}`],
    ["vouched for by", `policy version ${policy.version}, in force until ${policy.expires}`],
  ].flatMap(([name, text, state]) => fact(name, text, state));
}

function showStep(step) {
  const body = make("div", { class: "body" }, make("p", { class: "says" }, step.says));
  if (step.id === "receipt-1") body.append(...step.shown.map(showField));
  else if (step.shown.length) {
    const evidence = make("details", {}, make("summary", {}, "The numbers"), ...step.shown.map(showNumber));
    evidence.open = step.state === "broken" || step.id === "receipt-4b";
    body.append(evidence);
  }
  return make("li", { class: "step", "data-step": step.id, "data-state": step.state },
    make("span", { class: "number" }, step.number), make("h3", {}, step.title),
    make("span", { class: "badge" }, MARKS[step.state]), body);
}

/** A field's value over the commitment that it is held to. */
function showField({ field, value, commitment, computed, state }) {
  const kind = value?.startsWith("sha256:") ? "value digest" : "value";
  const row = make("div", { class: "row", "data-field": field, "data-state": state },
    make("span", { class: "name" }, field.replaceAll("_", " ")),
    make("span", {}, make("span", { class: kind }, value ?? "sealed"), 
      make("span", { class: "mark" }, state === "sealed" ? "" : ` ${MARKS[state].slice(0, 1)}`)),
    make("code", {}, commitment));
  if (state === "broken") row.append(make("code", {}, `but this value gives ${computed}`));
  return row;
}

function showNumber({ label, level, side, sibling, value }) {
  if (!level) return make("div", { class: "row" }, make("span", { class: "name" }, label), make("code", {}, value));
  return make("div", { class: "row", "data-level": level },
    make("span", { class: "name" }, `level ${level}, at ${side}`), make("code", {}, sibling),
    make("span", { class: "name" }, "gives"), make("code", {}, value));
}

// ---- Starting ----------------------------------------------------------------------------------

function start() {
  held = nothing();
  at("paste").value = at("threshold").value = "";
  check();
}

at("files").addEventListener("change", () => {
  const files = [...at("files").files];
  at("files").value = ""; // so that the same file can be chosen again
  takeFiles(files);
});
at("threshold").addEventListener("input", check);
at("again").addEventListener("click", start);
at("paste").addEventListener("input", () => {
  const text = at("paste").value.trim();
  if (!text) return;
  take("The text", encodeText(text.startsWith("-----") ? `${text}\n` : text));
  check();
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") takeFiles([...event.dataTransfer.files]);
  });
}
at("threshold-row").hidden = Boolean(pinned);
at("trust-says").textContent = pinned
  ? "This page carries the root keys and the policy of those who made it; "
    + `${pinned.threshold} root keys must have signed. Compare the keys with those that you were given. `
    + "A newer signed policy may be dropped as well."
  : "Drop the signed policy and the public root keys too. Take the keys from your own records, "
    + "never from whoever gave you the receipt.";
start();
