// A job's page: what changes is fetched anew while the job goes on, the curves are drawn from the same answer.
"use strict";

const POLL_MS = 1500;
const LINES = {
  loss: [["train", "train_loss"], ["validation", "valid_loss"], ["whole validation", "full_valid_loss"]],
  accuracy: [
    ["train", "train_mean_token_accuracy"],
    ["validation", "valid_mean_token_accuracy"],
    ["whole validation", "full_valid_mean_token_accuracy"],
  ],
  answers: [["held-out questions", "valid_fact_accuracy"]],
};
const now = document.getElementById("now");
const shown = {};
const charts = {};
let points = JSON.parse(document.getElementById("points").textContent);
let over = "step";

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw(id) {
  const place = document.getElementById(id);
  const lines = LINES[id].filter(([, column]) => points[column].some((value) => value !== null));
  charts[id]?.destroy();
  delete charts[id];
  place.parentElement.hidden = lines.length === 0;
  if (lines.length === 0) return;
  const x = over === "step" ? points.step : points.created_at;
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
  const series = lines.map(([label, column], n) => ({
    label,
    stroke: colour(`--curve-${n + 1}`),
    width: 2,
    // Validation is measured at few steps: its points are joined across the gaps and shown.
    spanGaps: true,
    points: { fill: colour("--paper"), show: points[column].filter((value) => value !== null).length < 60 },
    value: (_, value) => (value === null || value === undefined ? "–" : value.toPrecision(4)),
  }));
  const options = {
    width: Math.max(place.clientWidth, 200),
    height: 260,
    scales: { x: { time: over === "time" } },
    axes: [axis, axis],
    series: [{ label: over }, ...series],
  };
  charts[id] = new uPlot(options, [x, ...lines.map(([, column]) => points[column])], place);
}

function drawAll() {
  document.getElementById("no-curves").hidden = points.step.length > 0;
  Object.keys(LINES).forEach(draw);
}

async function follow() {
  try {
    const reply = await fetch(now.dataset.path);
    if (reply.status === 401) return location.reload();
    if (reply.ok) {
      const found = await reply.json();
      for (const [part, html] of Object.entries(found.parts)) {
        if (html === shown[part]) continue;
        shown[part] = html;
        const focused = document.activeElement?.id;
        document.getElementById(part).innerHTML = html;
        if (focused) document.getElementById(focused)?.focus();
      }
      if (JSON.stringify(found.curves) !== JSON.stringify(points)) {
        points = found.curves;
        drawAll();
      }
      if (found.done) return;
    }
  } catch {
    // The server restarts or the network is away: the next poll tries again.
  }
  setTimeout(follow, POLL_MS);
}

for (const button of document.querySelectorAll("[data-over]")) {
  button.addEventListener("click", () => {
    over = button.dataset.over;
    for (const other of document.querySelectorAll("[data-over]")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    drawAll();
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
addEventListener("resize", drawAll);
drawAll();
if ("going" in now.dataset) setTimeout(follow, POLL_MS);
