// The reader's own time beside each UTC time, and what lets htmx swap in parts of pages.
"use strict";

// htmx sets markup that this console itself has sent; no policy makes scripts or their addresses.
if (window.trustedTypes) {
  window.trustedTypes.createPolicy("default", { createHTML: (markup) => markup });
}

function showLocalTimes(root) {
  const zone = new Date().getTimezoneOffset();
  for (const time of root.querySelectorAll("time:not([data-local])")) {
    time.dataset.local = "";
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    time.title = moment.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
    if (zone === 0) continue;
    const local = document.createElement("span");
    local.className = "local";
    local.textContent = ` (${moment.toLocaleTimeString(undefined, { timeStyle: "short" })} here)`;
    time.append(local);
  }
}

showLocalTimes(document);
document.addEventListener("htmx:afterSwap", () => showLocalTimes(document));
