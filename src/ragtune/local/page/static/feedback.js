// The queue: every button has a key, and a form that is sent shows the next answer.
"use strict";

const find = (id) => document.getElementById(id);
const buttons = { g: "good", b: "bad", s: "skip", u: "back" };
const fields = { c: "correction", m: "comment", n: "by" };

document.addEventListener("keydown", (event) => {
  const writing = event.target.matches("input, textarea");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    find("keep")?.click();
  } else if (event.key === "Escape" && writing) {
    event.target.blur();
  } else if (!writing && !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat) {
    const id = buttons[event.key] ?? fields[event.key];
    if (!id || !find(id)) return;
    event.preventDefault();
    if (event.key in fields) find(id).focus();
    else find(id).click();
  }
});

// The key that is held a moment too long must not judge the next answer as well.
find("verdict")?.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
