// Follows what an alias points at, as the server tells it, until the version answers.
"use strict";

const state = document.querySelector("[data-events]");
if (state) {
  const [chip, text] = state.querySelectorAll(".big span");
  const source = new EventSource(state.dataset.events);
  source.addEventListener("message", (event) => {
    const told = JSON.parse(event.data);
    chip.textContent = told.word;
    chip.className = `chip ${told.kind}`;
    text.textContent = told.text;
  });
  source.addEventListener("end", () => source.close());
}
