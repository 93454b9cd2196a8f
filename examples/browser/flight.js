// One flight as the model knows it, and what the model says of some.

const MINUTE = 60_000, DAY = 24 * 60 * MINUTE;

/** Minutes since midnight of "7:05". */
export function minutes(time) {
  const [hours, rest] = time.split(":").map(Number);
  return 60 * hours + rest;
}

/** The row that the model was fitted on (examples/flights/flights.sql), from what the form holds. */
export function row(form, distances) {
  const day = new Date(`${form.date}T00:00:00Z`);
  const dayOfYear = 1 + Math.round((day - Date.UTC(day.getUTCFullYear(), 0, 1)) / DAY);
  const departs = minutes(form.departs);
  return {
    date: form.date,
    month: 1 + day.getUTCMonth(),
    day_of_year: dayOfYear,
    weekday: (dayOfYear + 1) % 7, // 2013 began on a Tuesday
    hour: `${Math.floor(departs / 60)}:00`,
    departs,
    arrives: minutes(form.arrives),
    carrier: form.carrier,
    origin: form.origin,
    dest: form.dest,
    distance: distances[`${form.origin} ${form.dest}`] ?? NaN,
    temp: number(form.temp),
    dewp: number(form.dewp),
    humid: number(form.humid),
    wind_dir: number(form.wind_dir),
    wind_speed: number(form.wind_speed),
    wind_gust: number(form.wind_gust),
    precip: number(form.precip),
    pressure: number(form.pressure),
    visib: number(form.visib),
    plane_age: number(form.plane_age),
    plane_type: form.plane_type,
    manufacturer: form.manufacturer,
    plane_model: form.plane_model,
    engines: number(form.engines),
    seats: number(form.seats),
  };
}

/** A number; NaN, which means missing, for an empty field. */
function number(text) {
  return text === "" || text === undefined || text === null ? NaN : Number(text);
}

/** The probability of being late of each row, in float64. */
export async function probabilities(ort, session, rows) {
  const feeds = {};
  for (const { name, type } of session.inputMetadata) {
    const values = rows.map((each) => each[name]);
    const shape = [rows.length, 1];
    feeds[name] =
      type === "string"
        ? new ort.Tensor("string", values.map((word) => word ?? ""), shape) // empty text is missing
        : new ort.Tensor("float64", Float64Array.from(values, (value) => value ?? NaN), shape);
  }
  const answer = await session.run(feeds, ["probabilities"]);
  const { data, dims } = answer.probabilities;
  return rows.map((_, at) => data[at * dims[1] + 1]);
}

/** The runtime and the model, on one thread: pages need no special headers for that. */
export async function open(ort, path) {
  ort.env.wasm.numThreads = 1;
  return ort.InferenceSession.create(path, { executionProviders: ["wasm"] });
}
