// Numbers that change while one looks: a stream for the cards, and charts that are fetched anew at every step.
"use strict";

const shown = {
  requests_s: (value) => value.toPrecision(3),
  made_s: (value) => value.toPrecision(3),
  requests_hour: (value) => value.toLocaleString("en"),
  errors_hour: (value) => value.toLocaleString("en"),
  compute_s: (value) => (value === 0 ? "0 s" : value < 1e-3 ? `${(value * 1e6).toPrecision(3)} µs` : value < 1 ? `${(value * 1e3).toPrecision(3)} ms` : `${value.toPrecision(3)} s`),
  cost_hour_usd: (value) => `$${value === 0 || value >= 1 ? value.toFixed(2) : value.toPrecision(3)}`,
};

function follow(section) {
  const stream = new EventSource(section.dataset.stream);
  stream.addEventListener("now", (event) => {
    const now = JSON.parse(event.data);
    for (const place of section.querySelectorAll("[data-live]")) {
      place.textContent = shown[place.dataset.live](now[place.dataset.live]);
    }
    section.dataset.heard = now.at_ns;
  });
  addEventListener("pagehide", () => stream.close());
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const short = (value) => (value == null ? "" : String(Number(value.toPrecision(3))));
const day = (second) => new Date(second * 1e3).toISOString();

function draw(place, steps) {
  const rows = place.dataset.plot.split(",").map((each) => each.split(":"));
  const data = [steps.map((each) => each.at_s), ...rows.map(([key]) => steps.map((each) => each[key]))];
  const ink = colour("--soft");
  const axis = { stroke: ink, grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  const long = steps.length > 1 && steps[steps.length - 1].at_s - steps[0].at_s > 86400;
  const clock = (_, ticks) => ticks.map((second) => (long ? day(second).slice(5, 16).replace("T", " ") : day(second).slice(11, 16)));
  const strokes = [colour("--front"), colour("--winner")];
  const options = {
    width: Math.max(240, place.clientWidth - 16),
    height: 200,
    tzDate: (second) => uPlot.tzDate(new Date(second * 1e3), "Etc/UTC"),
    scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1] } },
    axes: [
      { ...axis, values: clock, space: long ? 110 : 60 },
      { ...axis, size: 72, values: (_, ticks) => ticks.map(short) },
    ],
    series: [
      { label: "UTC", value: (_, second) => (second == null ? "" : day(second).slice(0, 19).replace("T", " ")) },
      ...rows.map(([, label], at) => ({ label, stroke: strokes[at], width: 1.5, value: (_, value) => short(value) })),
    ],
  };
  place.replaceChildren();
  new uPlot(options, data, place);
}

async function charts(place) {
  const reply = await fetch(place.dataset.source);
  if (!reply.ok) return;
  const steps = (await reply.json()).steps.slice(0, -1); // the last step is not over yet
  for (const each of place.querySelectorAll("[data-plot]")) draw(each, steps);
}

for (const section of document.querySelectorAll("[data-stream]")) follow(section);
const place = document.getElementById("charts");
if (place) {
  const again = () => charts(place);
  again();
  setInterval(again, 1e3 * Math.max(2, Number(place.dataset.every)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("resize", again);
}
