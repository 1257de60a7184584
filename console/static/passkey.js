// Asks the authenticator: for a signature over the statement that the page shows, or a new passkey.
"use strict";

const bytesOf = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));

const textOf = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=+$/, "");

async function signature({ challenge, host, credentials }) {
  const answer = await navigator.credentials.get({
    publicKey: {
      challenge: bytesOf(challenge),
      rpId: host,
      userVerification: "required",
      allowCredentials: credentials.split(" ").filter(Boolean).map((id) => ({ type: "public-key", id: bytesOf(id) })),
    },
  });
  return {
    credential: textOf(answer.rawId),
    authenticator_data: textOf(answer.response.authenticatorData),
    client_data: textOf(answer.response.clientDataJSON),
    signature: textOf(answer.response.signature),
  };
}

// Which key of the policy a passkey is, as this browser has met it; none of it is secret.
const known = (credential) => localStorage.getItem(`passkey ${credential}`);
for (const met of document.querySelectorAll("[data-keyid]"))
  localStorage.setItem(`passkey ${met.dataset.credential}`, met.dataset.keyid);

async function login({ challenge, host }) {
  const names = Object.keys(localStorage).filter((name) => name.startsWith("passkey "));
  if (names.length === 0) throw new Error("this browser has met no passkey of yours");
  const credentials = names.map((name) => name.slice("passkey ".length)).join(" ");
  const found = await signature({ challenge, host, credentials });
  return { ...found, key_id: known(found.credential) };
}

async function enrolment({ challenge, host, user, name }) {
  const answer = await navigator.credentials.create({
    publicKey: {
      challenge: bytesOf(challenge),
      rp: { id: host, name: "Sealgate" },
      user: { id: bytesOf(user), name, displayName: name },
      pubKeyCredParams: [-7, -8, -257].map((alg) => ({ type: "public-key", alg })),
      authenticatorSelection: { userVerification: "required", residentKey: "preferred" },
      attestation: "none",
    },
  });
  return { authenticator_data: textOf(answer.response.getAuthenticatorData()) };
}

for (const form of document.querySelectorAll("form[data-ceremony]")) {
  const ceremony = { sign: signature, enrol: enrolment, login }[form.dataset.ceremony];
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const told = form.querySelector("[role=alert]");
    told.textContent = "";
    try {
      const found = await ceremony(form.dataset);
      for (const [name, value] of Object.entries(found)) form.elements[name].value = value;
      form.submit();
    } catch (error) {
      told.textContent = `Nothing was signed: ${error.message}`;
    }
  });
}
