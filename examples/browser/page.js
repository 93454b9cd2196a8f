// The form, the answer, and the same flight at other hours.

import * as ort from "onnxruntime-web";
import { minutes, open, probabilities, row } from "./flight.js";

const form = document.querySelector("form");
const HOURS = Array.from({ length: 18 }, (_, at) => 5 + at);
const WORDS = ["carrier", "origin", "dest", "plane_type", "manufacturer", "plane_model"];

const [choices, session] = await Promise.all([
  fetch("model/choices.json").then((answer) => answer.json()),
  open(ort, "model/late.onnx"),
]);

function offer() {
  for (const name of WORDS) {
    const field = form.elements[name];
    for (const word of choices.words[name] ?? []) {
      const called = choices.names[word];
      field.append(new Option(called ? `${word} – ${called}` : word, word));
    }
  }
  for (const [name, median] of Object.entries(choices.medians)) {
    const field = form.elements[name];
    if (field && !field.dataset.plane && field.type === "number") field.value = +median.toFixed(2);
  }
}

function start() {
  const wished = { carrier: "UA", origin: "EWR", dest: "ORD", ...Object.fromEntries(new URLSearchParams(location.search)) };
  for (const [name, value] of Object.entries(wished)) {
    if (form.elements[name]) form.elements[name].value = value;
  }
}

function clock(total) {
  const within = ((total % 1440) + 1440) % 1440;
  return `${String(Math.floor(within / 60)).padStart(2, "0")}:${String(within % 60).padStart(2, "0")}`;
}

async function answer() {
  const filled = Object.fromEntries(new FormData(form));
  if (!form.checkValidity() || !filled.departs || !filled.arrives) return;
  const lasts = minutes(filled.arrives) - minutes(filled.departs), past = minutes(filled.departs) % 60;
  const others = HOURS.map((hour) => {
    const departs = 60 * hour + past;
    return { ...filled, departs: clock(departs), arrives: clock(departs + lasts) };
  });
  const shares = await probabilities(ort, session, [filled, ...others].map((each) => row(each, choices.distances)));
  show(shares[0]);
  draw(shares.slice(1), Math.floor(minutes(filled.departs) / 60));
  history.replaceState(null, "", `?${new URLSearchParams(filled)}`);
}

function show(share) {
  const output = document.querySelector("#probability");
  output.value = `${(100 * share).toFixed(1)} %`;
  output.dataset.value = share;
  document.querySelector("#needle").style.width = `${100 * share}%`;
  document.querySelector("#verdict").textContent =
    share > 0.5 ? "More likely late than not." : share > 0.25 ? "Worth a book for the wait." : "Probably on time.";
}

function draw(shares, now) {
  const chart = document.querySelector("#hours");
  const top = Math.max(0.1, ...shares);
  chart.replaceChildren(
    ...shares.map((share, at) => {
      const bar = document.createElement("button");
      bar.type = "button";
      bar.className = HOURS[at] === now ? "bar now" : "bar";
      bar.style.setProperty("--height", share / top);
      bar.title = `${HOURS[at]}:00 – ${(100 * share).toFixed(1)} %`;
      bar.dataset.hour = HOURS[at] % 3 ? "" : HOURS[at];
      bar.setAttribute("aria-label", bar.title);
      bar.addEventListener("click", () => move(HOURS[at]));
      return bar;
    }),
  );
}

function move(hour) {
  const { departs, arrives } = form.elements;
  const lasts = minutes(arrives.value) - minutes(departs.value);
  departs.value = clock(60 * hour + (minutes(departs.value) % 60));
  arrives.value = clock(minutes(departs.value) + lasts);
  answer();
}

offer();
start();
form.addEventListener("input", answer);
await answer();
document.body.dataset.ready = "yes";
