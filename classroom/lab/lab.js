// The lab: an anywidget in JupyterLab, a module on a page without a kernel, a library in node.
// The sections: 1 numbers and address of a design, 2 its PyTorch code, 3 forward and backward, 4 weights,
// 5 a drawing made a digit, 6 the bench, 7 the reader of drawn digits, 8 where it is mounted.

// --- 1. A design's numbers: what `receptive` says of a chain of rows -----------------

export const KINDS = {
  // as in mnist_utils.chains
  conv: { out: 16, k: 3, s: 1, p: 0, d: 1, groups: 1, bias: true },
  norm: {},
  relu: {},
  maxpool: { k: 2, s: 2, p: 0 },
  avgpool: { k: 2, s: 2, p: 0 },
  pad: { p: 1 },
  dropout: { rate: 0.05 },
  gap: {},
  linear: { out: 10 },
};
const MOST = 512;
const DRAWS = 8; // of random weights, for an effective field

// Why a row cannot follow a map of `channels` and `side`, in chains.problem_of's words; "" if it can.
export function problemOf({ kind, ...own }, channels, side) {
  if (!KINDS[kind]) return `'${kind}' is not a layer here; there are ${Object.keys(KINDS).join(", ")}`;
  const values = { ...KINDS[kind], ...own };
  for (const [name, value] of Object.entries(values)) {
    if (!(name in KINDS[kind])) return `${kind} has no ${name}`;
    const low = kind === "pad" ? -MOST : name === "p" || name === "rate" ? 0 : 1;
    let fine = Number.isInteger(value) && value >= low && value <= MOST;
    if (name === "bias") fine = typeof value === "boolean";
    if (name === "rate") fine = typeof value === "number" && value >= 0 && value < 1;
    if (!fine) return `${name} cannot be ${value}`;
  }
  const { groups = 1, out = 0, k = 1, p = 0, d = 1 } = values;
  if (!side && !["relu", "dropout", "linear"].includes(kind))
    return `${kind} needs a map, and the dense layer before it leaves none`;
  if (channels % groups || out % groups)
    return `${groups} groups do not divide ${channels} and ${out} channels`;
  if (kind.endsWith("pool") && 2 * p > k) return `padding of ${p} is more than half of a window of ${k}`;
  if (side && kind !== "linear" && after({ kind, ...own }, channels, side)[1] < 1)
    return `a window of ${d * (k - 1) + 1} does not fit a map of ${side + 2 * p}`;
  return "";
}

// Channels and side of the map that a row gives.
export function after({ kind, ...own }, channels, side) {
  const { out = channels, k, s, p, d = 1 } = { ...KINDS[kind], ...own };
  if (kind === "pad") return [channels, side + 2 * p];
  if (kind === "linear") return [out, 0];
  if (kind === "gap") return [channels, 1];
  return k ? [out, Math.floor((side + 2 * p - d * (k - 1) - 1) / s) + 1] : [out, side];
}

// A line for each row: channels and side of its map; field, jump and start in pixels of the image;
// parameters, multiply-adds; `sees`, for each unit along one axis the pixels it reads, as bits; or,
// from the first row that does not fit, `problem`.
export function describe(rows, channels = 1, side = 28) {
  let field = 1;
  let jump = 1;
  let start = 0;
  let problem = "";
  let sees = Array.from({ length: side }, (_, i) => 1 << i);
  return rows.map((row) => {
    problem = problem ? "a row above does not fit" : problemOf(row, channels, side);
    if (problem) return { problem };
    const { kind } = row;
    const { k = 1, s = 1, p = 0, d = 1, groups = 1, bias } = { ...KINDS[kind], ...row };
    const [c, n] = after(row, channels, side);
    const whole = kind === "gap" || kind === "linear";
    const width = side || 1;
    let parameters = 0;
    let macs = 0;
    if (kind === "conv") {
      parameters = ((c * channels) / groups) * k * k;
      macs = parameters * n * n;
      parameters += bias ? c : 0;
    } else if (kind === "linear") {
      macs = c * channels * width * width;
      parameters = macs + c;
    } else if (kind === "norm") parameters = 2 * c;
    const [taps, step] = whole ? [width, 1] : [k, d];
    sees = Array.from({ length: n || 1 }, (_, i) => {
      let pixels = 0;
      for (let tap = 0; tap < taps; tap++) pixels |= sees[i * s - p + tap * step] ?? 0;
      return pixels;
    });
    field += (taps - 1) * step * jump;
    start += (((taps - 1) / 2) * step - p) * jump;
    jump *= whole ? width : s;
    [channels, side] = [c, n];
    return { channels: c, side: n, field, jump, start, parameters, macs, sees };
  });
}

// What unit `i` sees along one axis of an image of 28 pixels: the first and the last, as the field
// counts them, padding included; and those that are read.
export function windowOf({ field, jump, start, sees }, i) {
  const first = start + i * jump - (field - 1) / 2;
  const pixels = Array.from({ length: 28 }, (_, pixel) => pixel).filter((pixel) => (sees[i] >> pixel) & 1);
  return { first, last: first + field - 1, pixels };
}

// [read, of the box] by a middle unit, inside the image, if its window has holes; else null.
export function pixelsRead(line) {
  const { pixels } = windowOf(line, Math.floor(line.side / 2));
  const box = pixels.at(-1) - pixels[0] + 1;
  return pixels.length < box ? [pixels.length ** 2, box ** 2] : null;
}

// A design in the notation that `chains.rows` reads, 16C5-MP2-16C3: each convolution there is without
// bias and has BatchNorm and ReLU behind it, and GAP and a 1×1 convolution to ten logits end it. Any
// other design begins with "=" and names every layer: 16c5 is a convolution alone (16c5u without
// bias), BN, R, P1 a padding, X2 a crop, D0.05 dropout, GAP, 10L a dense layer.
export function written(rows) {
  const full = rows.map((row) => ({ kind: row.kind, ...KINDS[row.kind], ...row }));
  const parts = [];
  for (let i = 0; i < full.length; i++) {
    const v = full[i];
    const but = (name, usual, letter = name) => ((v[name] ?? usual) === usual ? "" : `${letter}${v[name]}`);
    const conv = v.kind === "conv";
    const rest = but("s", conv ? 1 : v.k) + but("p", 0) + but("d", 1) + but("groups", 1, "g");
    const block = conv && !v.bias && full[i + 1]?.kind === "norm" && full[i + 2]?.kind === "relu";
    if (block) i += 2;
    parts.push(
      {
        conv: () => `${v.out}${block ? "C" : "c"}${v.k}${rest}${block || v.bias ? "" : "u"}`,
        maxpool: () => `MP${v.k}${rest}`,
        avgpool: () => `AP${v.k}${rest}`,
        pad: () => (v.p < 0 ? `X${-v.p}` : `P${v.p}`),
        dropout: () => `D${v.rate}`,
        linear: () => `${v.out}L`,
      }[v.kind]?.() ?? { norm: "BN", relu: "R", gap: "GAP" }[v.kind],
    );
  }
  const plain = parts.slice(0, -2);
  const usual = plain.length && plain.every((part) => /^(\d+C|[MA]P)[\dspd]+$/.test(part));
  return usual && parts.slice(-2).join() === "GAP,10c1" ? plain.join("-") : `=${parts.join("-")}`;
}

// The rows of what `written` writes; null for anything else.
export function readDesign(text) {
  const rows = [];
  for (const part of text.replace(/^=/, "").split("-")) {
    const own = /^(?:(\d+)([Cc])|([MA])P)(\d+)(?:s(\d+))?(?:p(\d+))?(?:d(\d+))?(?:g(\d+))?(u?)$/.exec(part);
    const other = /^(?:(BN|R|GAP)|([PXD])(\d*\.?\d+)|(\d+)L)$/.exec(part);
    if (!own && !other) return null;
    if (other) {
      const [, word, letter, value, out] = other;
      if (word) rows.push({ kind: { BN: "norm", R: "relu", GAP: "gap" }[word] });
      else if (letter === "D") rows.push({ kind: "dropout", rate: Number(value) });
      else if (letter) rows.push({ kind: "pad", p: letter === "X" ? -value : Number(value) });
      else rows.push({ kind: "linear", out: Number(out) });
      continue;
    }
    const [, out, letter, pool, ...rest] = own;
    const [k, s, p, d, groups] = rest.map((v) => (v ? Number(v) : undefined));
    const row = pool
      ? { kind: pool === "M" ? "maxpool" : "avgpool", k, s: s ?? k, p }
      : { kind: "conv", out: Number(out), k, s, p, d, groups, bias: letter === "c" && !own.at(-1) };
    rows.push(JSON.parse(JSON.stringify(row))); // without what is undefined
    if (letter === "C") rows.push({ kind: "norm" }, { kind: "relu" });
  }
  return text.startsWith("=") ? rows : [...rows, { kind: "gap" }, { kind: "conv", out: 10, k: 1 }];
}

// --- 2. The design as PyTorch code ----------------------------------------------------------------

// An `nn.Sequential` with a line for each row; its map and its field trail the line.
export function code(rows) {
  const lines = [];
  let channels = 1;
  let side = 28;
  for (const [i, { field, problem, ...line }] of describe(rows).entries()) {
    if (problem) return `# Row ${i + 1} does not fit: ${problem}.`;
    const { kind } = rows[i];
    const v = { ...KINDS[kind], ...rows[i] };
    const but = (name, usual, word) => (v[name] === usual ? "" : `, ${word}=${v[name]}`);
    const layer = {
      conv: () =>
        `nn.Conv2d(${channels}, ${v.out}, kernel_size=${v.k}${but("s", 1, "stride")}` +
        `${but("p", 0, "padding")}${but("d", 1, "dilation")}${but("groups", 1, "groups")}${v.bias ? "" : ", bias=False"})`,
      norm: () => `nn.BatchNorm2d(${channels})`,
      relu: () => "nn.ReLU()",
      maxpool: () => `nn.MaxPool2d(${v.k}${but("s", v.k, "stride")}${but("p", 0, "padding")})`,
      avgpool: () => `nn.AvgPool2d(${v.k}${but("s", v.k, "stride")}${but("p", 0, "padding")})`,
      pad: () => `nn.ZeroPad2d(${v.p})`,
      dropout: () => `nn.Dropout(${v.rate})`,
      gap: () => "nn.AdaptiveAvgPool2d(1)",
      linear: () => `nn.Sequential(nn.Flatten(), nn.Linear(${channels * (side * side || 1)}, ${v.out}))`,
    }[kind]();
    [channels, side] = [line.channels, line.side];
    const shape = side ? `(${channels}, ${side}, ${side})` : `(${channels},)`;
    lines.push([`    ${layer},`, `  # ${shape.padEnd(13)} ${field}`]);
  }
  const width = Math.max(0, ...lines.map(([layer]) => layer.length));
  const body = lines.map(([layer, trail]) => layer.padEnd(width) + trail);
  return ["from torch import nn", "", "network = nn.Sequential(", ...body, ")", ""].join("\n");
}

// --- 3. Forward and backward; sums in double precision, maps in float32 ---------------------------

// A convolution, or with `back` its transpose: for each weight, the units of the output where it falls
// on the map, and those of the input that it reads. Plain loops, since a visitor takes twice as long.
function slide(from, to, { out, k, s, p, d, groups }, weight, per, side, n, back) {
  const share = out / groups;
  const area = side * side;
  for (let o = 0, w = 0; o < out; o++)
    for (let i = 0; i < per; i++) {
      const plane = (Math.floor(o / share) * per + i) * area;
      for (let a = 0; a < k; a++)
        for (let b = 0; b < k; b++, w++) {
          const value = weight[w];
          const down = a * d - p;
          const right = b * d - p;
          const left = Math.max(0, Math.ceil(-right / s));
          const end = Math.min(n, Math.floor((side - 1 - right) / s) + 1);
          for (let r = 0; r < n; r++) {
            const y = r * s + down;
            if (y < 0 || y >= side) continue;
            let at = (o * n + r) * n + left;
            let source = plane + y * side + left * s + right;
            const stop = at + end - left;
            if (back) for (; at < stop; at++, source += s) to[source] += value * from[at];
            else for (; at < stop; at++, source += s) to[at] += value * from[source];
          }
        }
    }
  return to;
}

const LAYERS = {
  conv: {
    forward(x, v, { weight, bias }, [c, side], [out, n]) {
      const y = new Float64Array(out * n * n);
      if (bias) for (let o = 0; o < out; o++) y.fill(bias[o], o * n * n, (o + 1) * n * n);
      return new Float32Array(slide(x, y, v, weight, c / v.groups, side, n, false));
    },
    backward(g, v, { weight }, [c, side], [, n]) {
      return slide(g, new Float64Array(c * side * side), v, weight, c / v.groups, side, n, true);
    },
  },
  norm: {
    forward: (x, v, t, [c, side]) =>
      perChannel(
        x,
        c,
        side,
        (i) => t.bias[i] - t.running_mean[i] * scaleOf(t, i),
        (i) => scaleOf(t, i),
      ),
    backward: (g, v, t, [c, side]) =>
      perChannel(
        g,
        c,
        side,
        () => 0,
        (i) => scaleOf(t, i),
      ),
  },
  relu: {
    forward(x) {
      const y = x.slice();
      for (let i = 0; i < y.length; i++) if (y[i] < 0) y[i] = 0;
      return y;
    },
    backward: (g, v, t, before, now, x) => g.map((value, i) => (x[i] > 0 ? value : 0)),
  },
  maxpool: {
    forward: highest,
    backward(g, v, t, before, now, x) {
      // all units tied for the maximum share its gradient, as in mnist_utils.explain
      const margin = 1e-4 * x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const least = highest(x, v, t, before, now).map((value) => value - margin);
      const tied = new Int32Array(g.length);
      eachWindow(v, before, now, (at, i) => {
        if (x[i] >= least[at]) tied[at] += 1;
      });
      const result = new Float64Array(x.length);
      eachWindow(v, before, now, (at, i) => {
        if (x[i] >= least[at]) result[i] += g[at] / tied[at];
      });
      return result;
    },
  },
  avgpool: {
    forward(x, v, t, before, now) {
      const y = new Float64Array(now[0] * now[1] ** 2);
      eachWindow(v, before, now, (at, i) => {
        y[at] += x[i] / v.k ** 2;
      });
      return new Float32Array(y);
    },
    backward(g, v, t, before, now) {
      const x = new Float64Array(before[0] * before[1] ** 2);
      eachWindow(v, before, now, (at, i) => {
        x[i] += g[at] / v.k ** 2;
      });
      return x;
    },
  },
  pad: {
    forward: (x, { p }, t, before, now) => shifted(x, before, now, p),
    backward: (g, { p }, t, before, now) => shifted(g, now, before, -p),
  },
  dropout: { forward: (x) => x, backward: (g) => g },
  gap: {
    forward(x, v, t, [c, side]) {
      const y = new Float64Array(c);
      x.forEach((value, i) => {
        y[Math.floor(i / side ** 2)] += value / side ** 2;
      });
      return new Float32Array(y);
    },
    backward(g, v, t, [c, side]) {
      return Float64Array.from({ length: c * side ** 2 }, (_, i) => g[Math.floor(i / side ** 2)] / side ** 2);
    },
  },
  linear: {
    forward(x, v, { weight, bias }) {
      return Float32Array.from({ length: v.out }, (_, o) => {
        let sum = bias[o];
        for (let i = 0; i < x.length; i++) sum += weight[o * x.length + i] * x[i];
        return sum;
      });
    },
    backward(g, v, { weight }, [c, side]) {
      const length = c * (side ** 2 || 1);
      return Float64Array.from({ length }, (_, i) =>
        g.reduce((sum, value, o) => sum + value * weight[o * length + i], 0),
      );
    },
  },
};
const scaleOf = (t, i) => t.weight[i] / Math.sqrt(t.running_var[i] + 1e-5);
function perChannel(x, channels, side, shift, scale) {
  const y = x.slice();
  const area = side * side;
  for (let i = 0; i < channels; i++) {
    const [add, times] = [shift(i), scale(i)];
    for (let j = i * area; j < (i + 1) * area; j++) y[j] = add + times * x[j];
  }
  return y;
}

function eachWindow({ k, s, p }, [c, side], [, n], visit) {
  for (let i = 0; i < c; i++)
    for (let r = 0; r < n; r++)
      for (let q = 0; q < n; q++)
        for (let a = 0; a < k; a++)
          for (let b = 0; b < k; b++) {
            const y = r * s - p + a;
            const x = q * s - p + b;
            if (y >= 0 && y < side && x >= 0 && x < side)
              visit((i * n + r) * n + q, (i * side + y) * side + x);
          }
}
function highest(x, v, t, before, now) {
  // of each window
  const best = new Float32Array(now[0] * now[1] ** 2).fill(-Infinity);
  eachWindow(v, before, now, (at, i) => {
    if (x[i] > best[at]) best[at] = x[i];
  });
  return best;
}
function shifted(x, [c, side], [, n], p) {
  const y = new Float64Array(c * n * n);
  for (let i = 0; i < c; i++)
    for (let r = Math.max(0, -p); r < Math.min(side, n - p); r++)
      for (let q = Math.max(0, -p); q < Math.min(side, n - p); q++)
        y[(i * n + r + p) * n + q + p] = x[(i * side + r) * side + q];
  return new Float32Array(y);
}

// The maps of every row: `maps[0]` the standardised image, `maps[i + 1]` what row i gives.
export function forward(rows, tensors, image, until = rows.length) {
  const maps = [image];
  const sizes = [[1, 28]];
  rows.slice(0, until).forEach((row, i) => {
    sizes.push(after(row, ...sizes[i]));
    maps.push(
      LAYERS[row.kind].forward(maps[i], { ...KINDS[row.kind], ...row }, tensors[i], sizes[i], sizes[i + 1]),
    );
  });
  return { maps, sizes };
}

// The gradient, at each pixel, of one unit of row `at`: channel `channel`, row `r`, column `q`; by
// default the strongest channel there.
export function gradient(rows, tensors, image, at, [r, q], channel) {
  const { maps, sizes } = forward(rows, tensors, image, at + 1);
  const [c, side] = sizes[at + 1];
  const area = side * side || 1;
  const unit = side ? r * side + q : 0;
  if (channel === undefined) {
    const values = Array.from({ length: c }, (_, i) => maps[at + 1][i * area + unit]);
    channel = values.indexOf(Math.max(...values));
  }
  let g = new Float64Array(c * area);
  g[channel * area + unit] = 1;
  for (let i = at; i >= 0; i--)
    g = LAYERS[rows[i].kind].backward(
      g,
      { ...KINDS[rows[i].kind], ...rows[i] },
      tensors[i],
      sizes[i],
      sizes[i + 1],
      maps[i],
    );
  return g;
}

export function softmax(logits) {
  const top = Math.max(...logits);
  const powers = Array.from(logits, (v) => Math.exp(v - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / sum);
}

// --- 4. Weights: a trained network's, or random ones ------------------------------------------------

// How many numbers each tensor of a row has, in the order in which they are stored.
export function tensorSizes(row, channels, side) {
  const { kind } = row;
  const { out, k, groups, bias } = { ...KINDS[kind], ...row };
  if (kind === "conv") return { weight: ((out * channels) / groups) * k * k, ...(bias ? { bias: out } : {}) };
  if (kind === "linear") return { weight: out * channels * (side * side || 1), bias: out };
  if (kind === "norm")
    return { weight: channels, bias: channels, running_mean: channels, running_var: channels };
  return {};
}
function fill(rows, give) {
  let channels = 1;
  let side = 28;
  return rows.map((row) => {
    const sizes = Object.entries(tensorSizes(row, channels, side));
    const fan = sizes[0]?.[1] / (row.out ?? KINDS[row.kind].out);
    [channels, side] = after(row, channels, side);
    return Object.fromEntries(sizes.map(([name, length]) => [name, give(name, length, row.kind, fan)]));
  });
}
export function readWeights(rows, numbers) {
  // a Float32Array, row by row
  let at = 0;
  return fill(rows, (name, length) => numbers.subarray(at, (at += length)));
}
export function randomWeights(rows, seed) {
  // as PyTorch begins: uniform, within 1/√(inputs of a unit)
  const random = randomNumbers(seed);
  return fill(rows, (name, length, kind, fan) => {
    if (kind === "norm")
      return new Float32Array(length).fill(name === "weight" || name === "running_var" ? 1 : 0);
    return Float32Array.from({ length }, () => (2 * random() - 1) / Math.sqrt(fan));
  });
}
function randomNumbers(seed) {
  // mulberry32, of the public domain
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
export function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
export const base64 = (array) =>
  btoa(Array.from(new Uint8Array(array.buffer), (v) => String.fromCharCode(v)).join(""));
export const floats = (base64) => new Float32Array(bytes(base64).buffer);

// --- 5. A drawing made a digit, as MNIST's were: ink's box scaled to 20, its mass in the middle ---

export const MEAN = 0.1307;
export const DEVIATION = 0.3081;
export const standardised = (image) => Float32Array.from(image, (v) => (v - MEAN) / DEVIATION);

// Ink 0..1 on `side` × `side` pixels -> 28 × 28; without `prepare` the whole sheet, made small.
export function toDigit(ink, side, prepare = true) {
  let top = side;
  let bottom = -1;
  let left = side;
  let right = -1;
  ink.forEach((v, i) => {
    if (v <= 0.05) return;
    const r = Math.floor(i / side);
    const q = i % side;
    [top, bottom, left, right] = [
      Math.min(top, r),
      Math.max(bottom, r),
      Math.min(left, q),
      Math.max(right, q),
    ];
  });
  if (bottom < 0) return null;
  if (!prepare) return resized(ink, side, [0, 0, side, side], 28, 28);
  const h = bottom - top + 1;
  const w = right - left + 1;
  const scale = 20 / Math.max(h, w);
  const rows = Math.max(1, Math.round(h * scale));
  const columns = Math.max(1, Math.round(w * scale));
  const small = resized(ink, side, [top, left, h, w], rows, columns);
  let sum = 0;
  let down = 0;
  let across = 0;
  small.forEach((v, i) => {
    sum += v;
    down += v * Math.floor(i / columns);
    across += v * (i % columns);
  });
  const dy = Math.round(14 - down / sum);
  const dx = Math.round(14 - across / sum);
  const image = new Float32Array(784);
  small.forEach((v, i) => {
    const y = Math.floor(i / columns) + dy;
    const x = (i % columns) + dx;
    if (y >= 0 && y < 28 && x >= 0 && x < 28) image[y * 28 + x] = v;
  });
  return image;
}
// A part of the sheet in fewer pixels, each the mean over its share.
function resized(ink, side, [top, left, h, w], rows, columns) {
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const r = Math.floor(i / columns);
    const q = i % columns;
    const y0 = top + (r * h) / rows;
    const y1 = y0 + h / rows;
    const x0 = left + (q * w) / columns;
    const x1 = x0 + w / columns;
    let sum = 0;
    for (let y = Math.floor(y0); y < Math.min(side, Math.ceil(y1)); y++)
      for (let x = Math.floor(x0); x < Math.min(side, Math.ceil(x1)); x++)
        sum +=
          ink[y * side + x] *
          (Math.min(y1, y + 1) - Math.max(y0, y)) *
          (Math.min(x1, x + 1) - Math.max(x0, x));
    return sum / ((y1 - y0) * (x1 - x0));
  });
}

// --- 6. The bench -----------------------------------------------------------------------------------

// Number of a row -> its column's head, and what a screen reader says.
const SETTINGS = {
  out: ["out", "channels out"],
  k: ["k", "kernel size"],
  s: ["s", "stride"],
  p: ["p", "padding"],
  d: ["d", "dilation"],
  groups: ["groups", "groups"],
  bias: ["bias", "bias"],
};
const RARE = ["d", "groups", "bias"]; // columns shown where they are used, or asked for
// Heads of the columns that are counted, and whether a telephone has no room for them.
const NUMBERS = [
  ["map", false],
  ["field", false],
  ["jump", true],
  ["start", true],
  ["params", false],
  ["mult-adds", true],
];
const NAMES = {
  conv: "convolution",
  norm: "BatchNorm",
  relu: "ReLU",
  maxpool: "max pool",
  avgpool: "mean pool",
  pad: "padding, or crop",
  dropout: "dropout",
  gap: "GAP",
  linear: "dense layer",
};
const number = (v) => v.toLocaleString("en", { maximumFractionDigits: 1 });
const percent = (v) => `${(100 * v).toFixed(1)}%`;
const whole = (row) => ({ kind: row.kind, ...KINDS[row.kind], ...row });
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// An element: h("td", { class: "wide", onclick: f }, "text", child).
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}
function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
const radius = (size) => Math.max(1.5, 1.2 * Math.log2(size / 600));
// A list to choose from; `options` are [value, text] each.
function choice(label, options, onchange, first = options[0][0]) {
  const list = h(
    "select",
    { onchange: (event) => onchange(event.target.value) },
    ...options.map(([value, text]) => h("option", { value, selected: value === first }, text)),
  );
  return h("label", {}, `${label} `, list);
}

function bench(model, about) {
  let at = 0;
  let unit = null;
  let digit = 7;
  let kinds = null;
  let timer = 0;
  let seen = null;
  let lines = [];
  let [past, future, typed, pushed] = [[], [], "", 0]; // changes; the field typed into
  const body = h("tbody");
  const totals = h("p", { class: "totals", role: "status" });
  const source = h("p", { class: "source", role: "status" });
  const listing = h("pre", { tabindex: 0, role: "region", "aria-label": "the design as PyTorch code" });
  const chart = svg("svg", { viewBox: "-8 0 330 194", role: "img", class: "chart" });
  const caption = h("p", { class: "note" });
  const canvas = h("canvas", { width: 320, height: 320, role: "img" });
  const told = h("p", { class: "told", role: "status" });
  const undo = h("button", { type: "button", title: "Ctrl-Z", onclick: () => back(past, future) }, "Undo");
  const redo = h("button", { type: "button", title: "Ctrl-Y", onclick: () => back(future, past) }, "Redo");
  const link = h(
    "button",
    {
      type: "button",
      onclick: async () => {
        history.replaceState(null, "", `#${written(rows())}`);
        try {
          await navigator.clipboard.writeText(location.href);
          link.textContent = "Link copied";
        } catch {
          link.textContent = "The link is this page's address";
        }
        setTimeout(() => (link.textContent = "Copy link"), 2000);
      },
    },
    "Copy link",
  );
  const rare = h("input", { type: "checkbox", onchange: () => draw() });
  const effective = h("input", { type: "checkbox", checked: true, onchange: () => look() });
  const place = ["row", "column"].map((name, axis) =>
    h("input", {
      type: "number",
      min: 0,
      "aria-label": `${name} of the unit`,
      oninput: (event) => go(axis, event.target.value),
    }),
  );
  const rows = () => model.get("rows");

  // The last map before the mean: its window is the design's question.
  const question = (design) =>
    Math.max(0, design.findIndex(({ kind }) => kind === "gap" || kind === "linear") - 1);
  // A change that can be undone; what is typed into one field is one change.
  function edit(next, focus, field = "") {
    if (!field || field !== typed) past.push(rows());
    [future, typed] = [[], field];
    show(next, focus, field);
  }
  function show(next, focus, field) {
    at = Math.max(0, Math.min(at, next.length - 1));
    model.set("rows", next);
    model.set("version", model.get("version") + 1);
    model.save_changes();
    if (!model.kernel && `#${written(next)}` !== address())
      history[field && past.length === pushed ? "replaceState" : "pushState"](null, "", `#${written(next)}`);
    pushed = past.length;
    unit = null;
    draw();
    if (focus) body.querySelector(focus)?.focus();
  }
  function back(from, to) {
    if (!from.length) return;
    to.push(rows());
    typed = "";
    show(from.pop());
  }
  function change(i, name, value) {
    at = i;
    edit(
      rows().map((row, j) => (i === j ? { ...row, [name]: value } : row)),
      "",
      `${i} ${name}`,
    );
  }
  function move(i, to) {
    const next = [...rows()];
    if (i === to || to < 0 || to >= next.length) return;
    next.splice(to, 0, ...next.splice(i, 1));
    at = to;
    const by = Math.sign(to - i);
    edit(next, `tr:nth-child(${to + 1}) button[data-by="${by}"]`);
  }
  function remove(i) {
    edit(
      rows().filter((_, j) => j !== i),
      `tr:nth-child(${Math.max(1, Math.min(i + 1, rows().length - 1))}) .remove`,
    );
  }
  // The last row of the block that a convolution begins.
  function end(i) {
    const follows = ["norm", "relu", "dropout"];
    while (follows.includes(rows()[i + 1]?.kind)) i++;
    return i;
  }
  function repeat(i) {
    const last = rows()[i].kind === "conv" ? end(i) : i;
    const next = [...rows()];
    next.splice(last + 1, 0, ...structuredClone(next.slice(i, last + 1)));
    at = last + 1;
    edit(next, `tr:nth-child(${at + 1}) .repeat`);
  }
  function add(kind) {
    const next = [...rows()];
    const like = next.slice(0, at + 1).findLast((row) => row.kind === "conv") ?? {};
    const fresh = { kind, ...KINDS[kind] };
    const block = [{ kind: "conv", ...KINDS.conv, ...(like.out && { out: like.out }), bias: false }];
    block.push({ kind: "norm" }, { kind: "relu" });
    if (kind === "conv" && "bias" in like) fresh.bias = like.bias;
    if (kind === "block" && next.length) at = end(at);
    next.splice((at = next.length ? at + 1 : 0), 0, ...(kind === "block" ? block : [fresh]));
    edit(next, `tr:nth-child(${at + 1}) button`);
  }
  function go(axis, value) {
    const { side } = lines[at] ?? {};
    if (value === "" || !side) return;
    unit[axis] = Math.max(0, Math.min(side - 1, Math.round(+value)));
    look();
  }

  function tableRow(row, i) {
    const settings = Object.entries(SETTINGS).map(([name, [, spoken]]) => {
      const attributes = { "data-name": name, "aria-label": `${spoken} of row ${i + 1}` };
      const input = !(name in KINDS[row.kind])
        ? ""
        : name === "bias"
          ? h("input", {
              ...attributes,
              type: "checkbox",
              onchange: (event) => change(i, name, event.target.checked),
            })
          : h("input", {
              ...attributes,
              type: "number",
              min: row.kind === "pad" ? -14 : name === "p" ? 0 : 1,
              max: MOST,
              oninput: (event) => {
                if (event.target.value !== "") change(i, name, Number(event.target.value));
              },
            });
      return h("td", { class: RARE.includes(name) ? "rare" : "" }, input);
    });
    const button = (text, spoken, attributes) =>
      h(
        "button",
        {
          type: "button",
          "aria-label": `${spoken} row ${i + 1}`,
          title: `${spoken} row ${i + 1}`,
          ...attributes,
        },
        text,
      );
    return h(
      "tr",
      {
        onfocusin: () => select(i),
        onclick: () => select(i),
        onkeydown: (event) => {
          const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
          if (!by || (!event.altKey && event.target.type === "number")) return;
          event.preventDefault();
          if (event.altKey) move(i, i + by);
          else body.rows[i + by]?.querySelector(".look").focus();
        },
        ondragover: (event) => event.preventDefault(),
        ondrop: (event) => {
          event.preventDefault();
          move(Number(event.dataTransfer.getData("text")), i);
        },
      },
      h(
        "th",
        {
          scope: "row",
          draggable: "true",
          ondragstart: (event) => event.dataTransfer.setData("text", i),
        },
        button(`${i + 1}`, "look at", { class: "look" }),
      ),
      h("td", { class: "kind" }),
      ...settings,
      ...NUMBERS.map(([, wide]) => h("td", { class: wide ? "number wide" : "number" })),
      h(
        "td",
        { class: "buttons" },
        button("↑", "move up", { "data-by": -1, onclick: () => move(i, i - 1) }),
        button("↓", "move down", { "data-by": 1, onclick: () => move(i, i + 1) }),
        button("+", "repeat", { class: "repeat", onclick: () => repeat(i) }),
        button("×", "remove", {
          class: "remove",
          onclick: (event) => {
            event.stopPropagation();
            remove(i);
          },
        }),
      ),
    );
  }
  function select(i) {
    if (i === at || i >= rows().length) return;
    [at, unit] = [i, null];
    mark();
    look();
  }
  function mark() {
    [...body.rows].forEach((tr, i) =>
      i === at ? tr.setAttribute("aria-current", "true") : tr.removeAttribute("aria-current"),
    );
  }

  function draw() {
    const design = rows();
    lines = describe(design);
    if (
      !same(
        kinds,
        design.map((row) => row.kind),
      )
    ) {
      body.replaceChildren(...design.map(tableRow));
      kinds = design.map((row) => row.kind);
    }
    design.forEach((row, i) => {
      const tr = body.rows[i];
      const line = lines[i];
      const values = whole(row);
      const more = row.kind === "dropout" ? ` ${values.rate}` : values.bias === false ? ", no bias" : "";
      tr.cells[1].textContent = NAMES[row.kind] + more;
      tr.cells[1].dataset.short = row.kind;
      for (const input of tr.querySelectorAll("input")) {
        const value = values[input.dataset.name];
        if (input.type === "checkbox") input.checked = value;
        else if (Number(input.value) !== value || input.value === "") input.value = value;
      }
      const cells = [...tr.cells].slice(-7, -1);
      tr.classList.toggle("problem", Boolean(line.problem));
      const texts = line.problem
        ? [line.problem, "", "", "", "", ""]
        : [
            line.side ? `${line.channels}×${line.side}×${line.side}` : `${line.channels}`,
            ...[line.field, line.jump, line.start].map(number),
            ...[line.parameters, line.macs].map((v) => (v ? number(v) : "")),
          ];
      cells[0].colSpan = line.problem ? 6 : 1;
      cells.forEach((cell, j) => {
        cell.hidden = Boolean(line.problem) && j > 0;
        if (cell.textContent !== texts[j]) cell.textContent = texts[j];
      });
    });
    const used = design.some((row) => (row.d ?? 1) > 1 || (row.groups ?? 1) > 1);
    body.parentElement.classList.toggle("brief", !(rare.checked || used));
    undo.disabled = !past.length;
    redo.disabled = !future.length;
    mark();
    totals.textContent = summary(design);
    here(design);
    confirm();
    listing.textContent = code(design);
    look();
  }
  function summary(design) {
    const bad = lines.findIndex((line) => line.problem);
    if (bad >= 0) return `Row ${bad + 1} does not fit: ${lines[bad].problem}.`;
    const sum = (name) => number(lines.reduce((total, line) => total + line[name], 0));
    const end = design.findIndex(({ kind }) => kind === "gap" || kind === "linear");
    const before = lines[end < 0 ? lines.length - 1 : end - 1];
    const sees = before ? ` A unit of the last map sees ${Math.min(before.field, 28)} of 28 pixels.` : "";
    return `${sum("parameters")} parameters, ${sum("macs")} multiply-adds for a digit.${sees} ${expectation(design)}`;
  }
  function expectation(design) {
    const is = (name) => same(about.presets[name].map(whole), design.map(whole));
    const preset = Object.keys(about.known).find(is);
    if (preset) return `Measured: ${about.known[preset]}.`;
    const [, , accuracy, n] = about.measured[written(design)] ?? [];
    const own = accuracy ? `Measured: ${percent(accuracy)}, n = ${n}. ` : "";
    return `${own}Expected accuracy: ${expected(design, about.sweep).text}`;
  }
  // Where the design lies among the measured networks: field, accuracy, and the larger the dot the
  // more parameters. A dot is clicked to take its design.
  function here(design) {
    const networks = Object.entries(about.measured);
    const x = (field) => 34 + ((field - 4) * 280) / 38;
    const y = (accuracy) => 176 - 48 * Math.log(0.15 / Math.max(1 - accuracy, 0.0048));
    const tick = (text, at) => svg("text", at, text);
    const dots = networks.map(([notation, [field, size, accuracy, n]]) =>
      svg(
        "circle",
        { cx: x(field), cy: y(accuracy), r: radius(size), onclick: () => edit(readDesign(notation)) },
        svg("title", {}, `${notation}: ${number(size)} parameters, ${percent(accuracy)}, n = ${n}`),
      ),
    );
    const end = design.findIndex(({ kind }) => kind === "gap");
    const line = lines[end - 1];
    const found = expected(design, about.sweep);
    const size = lines.reduce((sum, { parameters }) => sum + parameters, 0);
    const bar = (low, high) => svg("line", { class: "own", x1: x(line.field), x2: x(line.field), y1: low, y2: high });
    const own = found.mean
      ? [
          bar(y(found.low), y(found.high)),
          svg("circle", { class: "own", cx: x(line.field), cy: y(found.mean), r: radius(size) }),
        ]
      : line?.field <= 42
        ? [bar(8, 176)]
        : [];
    chart.replaceChildren(
      ...[0.9, 0.95, 0.98, 0.99, 0.995].map((v) => tick(`${100 * v}%`, { x: 30, y: y(v) + 4, "text-anchor": "end" })),
      ...[10, 20, 30, 40].map((v) => tick(v, { x: x(v), y: 190, "text-anchor": "middle" })),
      svg("path", { d: "M34 8V176H318" }),
      ...dots,
      ...own,
    );
    const where = found.mean
      ? `the orange one is your design, with its interval`
      : "of such a design nothing can be expected";
    caption.textContent = `Accuracy against receptive field in pixels, ${networks.length} measured networks, larger dots for more parameters; ${where}. Click a dot to take its design.`;
    chart.setAttribute("aria-label", caption.textContent);
  }
  function confirm() {
    // what describe says, if the kernel has answered for this very version
    const answer = model.get("numbers");
    if (!answer || answer.version !== model.get("version")) {
      source.textContent = model.kernel
        ? "Counted in this page; the kernel is asked …"
        : "Counted in this page.";
      return;
    }
    const ours = lines.map((line, i) =>
      line.problem
        ? { problem: line.problem }
        : {
            channels: line.channels,
            side: line.side,
            field: line.field,
            jump: line.jump,
            start: line.start,
            parameters: line.parameters,
            macs: line.macs,
            pixels: pixelsRead(line),
          },
    );
    const bad = ours.findIndex((line) => line.problem);
    const mine = bad < 0 ? { lines: ours } : { problem: `row ${bad + 1}: ${ours[bad].problem}` };
    const agreed = same(mine.lines, answer.lines) && mine.problem === answer.problem;
    source.textContent = agreed
      ? "Confirmed by describe, in the kernel."
      : `describe, in the kernel, says otherwise: ${answer.problem ?? JSON.stringify(answer.lines)}`;
  }

  // The chosen row's unit on the digit: its window, what it reads of it, and what counts.
  function look() {
    const line = lines[at];
    const pen = canvas.getContext("2d");
    const cell = 8;
    const edge = 6 * cell;
    clearTimeout(timer);
    pen.fillStyle = "#555";
    pen.fillRect(0, 0, 320, 320);
    paint(pen, about.digits[digit], edge, cell);
    if (!line || line.problem) {
      told.textContent = line ? "This row does not fit." : "No row yet.";
      return;
    }
    unit ??= [Math.floor(line.side / 2), Math.floor(line.side / 2)];
    place.forEach((input, axis) => {
      input.max = Math.max(0, line.side - 1);
      input.disabled = line.side < 2;
      if (document.activeElement !== input || Number(input.value) > input.max) input.value = unit[axis];
    });
    const [down, across] = unit.map((i) => windowOf(line, i));
    const holes = pixelsRead(line);
    if (effective.checked && seen?.key === key()) heat(pen, seen.weight, edge, cell);
    else if (effective.checked) timer = setTimeout(measure, 120);
    if (holes) {
      pen.fillStyle = "#4da3ff90";
      for (const y of down.pixels)
        for (const x of across.pixels)
          pen.fillRect(edge + x * cell + 1, edge + y * cell + 1, cell - 2, cell - 2);
    }
    pen.lineWidth = 3;
    pen.strokeStyle = "#4da3ff";
    pen.strokeRect(
      edge + across.first * cell,
      edge + down.first * cell,
      line.field * cell,
      line.field * cell,
    );
    const span = ({ first, last }) => `${number(first)} to ${number(last)}`;
    const beyond = Math.min(down.first, across.first) < 0 || Math.max(down.last, across.last) > 27;
    told.textContent =
      `Row ${at + 1}, unit (${unit.join(", ")}): a window of ${line.field} × ${line.field} pixels, rows ${span(down)}, columns ${span(across)}` +
      `${beyond ? ", beyond the image" : ""}.${holes ? ` A middle unit reads ${holes[0]} of the ${holes[1]} pixels in its box.` : ""}` +
      (effective.checked && seen?.key === key()
        ? ` Half of what moves it lies in ${seen.half} of 784 pixels (${seen.whose}).`
        : "");
    canvas.setAttribute("aria-label", `a digit ${about.labels[digit]}, and on it: ${told.textContent}`);
  }
  const key = () => JSON.stringify([rows().slice(0, at + 1), at, unit, digit, trained()?.name]);
  function trained() {
    // weights that belong to this very design
    return about.trained.find((network) => same(network.rows.map(whole), rows().map(whole)));
  }
  // The effective field: the mean of squared gradients, of as many draws of weights on any machine.
  function measure(asked = key(), weight = new Float64Array(784), draws = 0) {
    if (asked !== key() || !effective.checked) return;
    const network = trained();
    const design = rows();
    const tensors = network ? network.tensors : randomWeights(design, 1 + draws);
    gradient(design, tensors, standardised(about.digits[digit]), at, unit).forEach((v, i) => {
      weight[i] += v * v;
    });
    if (!network && draws + 1 < DRAWS) {
      timer = setTimeout(measure, 0, asked, weight, draws + 1); // the page may answer in between
      return;
    }
    const sorted = [...weight].sort((a, b) => b - a);
    const all = sorted.reduce((a, b) => a + b, 0);
    let half = 0;
    for (let sum = 0; sum < all / 2; half++) sum += sorted[half];
    const whose = network ? `weights of ${network.name}, on this digit` : `random weights, mean of ${DRAWS} draws`;
    seen = { key: asked, weight, half, whose };
    look();
  }
  canvas.addEventListener("click", (event) => {
    const line = lines[at];
    const box = canvas.getBoundingClientRect();
    if (!line?.side) return;
    unit = [event.clientY - box.top, event.clientX - box.left].map((v, axis) => {
      const pixel = (v * 320) / (axis ? box.width : box.height) / 8 - 6.5;
      return Math.max(0, Math.min(line.side - 1, Math.round((pixel - line.start) / line.jump)));
    });
    place.forEach((input, axis) => {
      input.value = unit[axis];
    });
    look();
  });

  const presets = [["", "choose …"], ...Object.keys(about.presets).map((name) => [name, name])];
  let adding = "block";
  const copied = h("span", { role: "status" });
  const copy = h(
    "button",
    {
      type: "button",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(listing.textContent);
          copied.textContent = "copied";
        } catch {
          getSelection().selectAllChildren(listing);
          copied.textContent = "selected: press Ctrl-C";
        }
      },
    },
    "Copy",
  );
  const heads = [
    ...Object.entries(SETTINGS).map(([name, [head, spoken]]) =>
      h("th", { scope: "col", title: spoken, class: RARE.includes(name) ? "rare" : "" }, head),
    ),
    ...NUMBERS.map(([head, wide]) => h("th", { scope: "col", class: wide ? "wide" : "" }, head)),
  ];
  const root = h(
    "div",
    { class: "bench" },
    h(
      "div",
      { class: "design" },
      h(
        "p",
        { class: "bar" },
        choice("Begin with", presets, (name) => {
          if (name) {
            at = question(about.presets[name]);
            edit(structuredClone(about.presets[name]));
          }
        }),
        h("label", {}, rare, " dilation, groups, bias"),
        h("span", {}, undo, " ", redo),
        model.kernel ? "" : link,
      ),
      h(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "the design, layer by layer" },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", { scope: "col" }, "row"),
              h("th", { scope: "col" }, "layer"),
              ...heads,
              h("td", {}, ""),
            ),
          ),
          body,
        ),
      ),
      h(
        "p",
        { class: "bar" },
        choice(
          "New row",
          [["block", "convolution, BatchNorm, ReLU"], ...Object.keys(KINDS).map((kind) => [kind, NAMES[kind]])],
          (kind) => {
            adding = kind;
          },
        ),
        h("button", { type: "button", class: "add", onclick: () => add(adding) }, "Add below"),
      ),
      totals,
      source,
      h("details", {}, h("summary", {}, "As PyTorch code"), h("p", { class: "bar" }, copy, copied), listing),
    ),
    h(
      "div",
      { class: "view" },
      canvas,
      h(
        "p",
        { class: "bar" },
        choice(
          "Digit",
          about.labels.map((label, i) => [i, label]),
          (i) => {
            digit = Number(i);
            look();
          },
          digit,
        ),
        h("span", {}, "unit ", place[0], " ", place[1]),
        h("label", {}, effective, " effective field"),
      ),
      told,
      h("div", {}, chart, caption),
    ),
  );
  model.on?.("change:numbers", confirm);
  model.on?.("change:rows", () => {
    if (
      !same(
        rows().map((row) => row.kind),
        kinds,
      ) ||
      !same(lines, describe(rows()))
    ) {
      unit = null;
      draw();
    }
  });
  root.addEventListener("keydown", (event) => {
    const letter = (event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase();
    if (letter !== "z" && letter !== "y") return;
    event.preventDefault();
    if (letter === "y" || event.shiftKey) back(future, past);
    else back(past, future);
  });
  if (!model.kernel)
    addEventListener("popstate", () => {
      const next = readDesign(address().slice(1));
      if (next && !same(next.map(whole), rows().map(whole))) edit(next);
    });
  at = question(rows());
  draw();
  return root;
}
const address = () => decodeURIComponent(location.hash);

function paint(pen, image, edge, cell) {
  image.forEach((v, i) => {
    const grey = Math.round(255 * v);
    pen.fillStyle = `rgb(${grey},${grey},${grey})`;
    pen.fillRect(edge + (i % 28) * cell, edge + Math.floor(i / 28) * cell, cell, cell);
  });
}
function heat(pen, weight, edge, cell) {
  // how much each pixel counts, orange
  const most = Math.max(...weight) || 1;
  weight.forEach((v, i) => {
    pen.fillStyle = `rgba(255,140,0,${0.85 * Math.sqrt(Math.max(0, v) / most)})`;
    pen.fillRect(edge + (i % 28) * cell, edge + Math.floor(i / 28) * cell, cell, cell);
  });
}

// In what a design is unlike all networks that were measured, in words; "" if in nothing.
function unlike(rows) {
  const kinds = rows.map(({ kind }) => kind);
  const gap = kinds.indexOf("gap");
  const head = rows.at(-1);
  const convs = rows.slice(0, gap).filter(({ kind }) => kind === "conv");
  const pools = rows.filter(({ kind }) => kind.endsWith("pool"));
  const widths = convs.map(({ out }) => out);
  if (gap < 1 || gap !== rows.length - 2 || head.kind !== "conv" || head.k !== 1 || head.out !== 10)
    return "it does not end in GAP and a 1×1 convolution to ten logits";
  if (!/^(avgpool )?(conv norm relu (maxpool )?)+$/.test(kinds.slice(0, gap).join(" ") + " "))
    return "it is not convolutions, each followed by BatchNorm and ReLU, with max pools between them";
  if (convs.length < 2 || convs.length > 6) return "it has fewer than two convolutions, or more than six";
  if (convs.some(({ d = 1, groups = 1 }) => d > 1 || groups > 1))
    return "a convolution is dilated or in groups";
  if (convs.some(({ k, s = 1, p = 0 }, i) => k % 2 === 0 || k > 9 || p > (k - 1) / 2 || s > (i ? 1 : 2)))
    return "a convolution has an even kernel or one above 9×9, more padding than its kernel reaches, or a stride where it is not the first";
  if (pools.some(({ k = 2, s = 2, p = 0 }) => k !== s || k > 4 || p > 0))
    return "a pool's windows overlap, leave gaps, hang over the edge, or are wider than 4";
  if (Math.max(...widths) > 2 * Math.min(...widths))
    return "one of its convolutions has more than twice the channels of another";
  return "";
}

// What was measured lets one expect of a design: { text, mean, low, high }; `text` alone where it
// is of another kind than all that was measured, or beyond its fields and sizes.
export function expected(rows, { coefficients, half, fields, sizes, networks, families, enough, shallow }) {
  const lines = describe(rows);
  const why = unlike(rows) || (lines.at(-1).problem && "it cannot be built");
  if (why) return { text: `not measured: ${why}.` };
  const gap = rows.findIndex(({ kind }) => kind === "gap");
  const field = lines[gap - 1].field;
  const size = lines.reduce((sum, line) => sum + line.parameters, 0);
  if (field < fields[0] || field > fields[1] || size < sizes[0] || size > sizes[1])
    return {
      text: `not measured: networks were, with ${fields.join(" to ")} pixels of field before GAP and ${sizes.map(number).join(" to ")} parameters.`,
    };
  const x = Math.log(size);
  const y = Math.log(Math.min(field, enough));
  const d = rows.slice(0, gap).filter(({ kind }) => kind === "conv").length > shallow ? 1 : 0;
  const terms = [1, x, y, x * x, x * y, d, d * x, d * y];
  const odds = terms.reduce((sum, term, i) => sum + term * coefficients[i], 0);
  const [low, mean, high] = [half, 0, -half].map((shift) => 1 / (1 + Math.exp(odds + shift)));
  return {
    text: `${percent(mean)}, between ${percent(low)} and ${percent(high)}, by a short recipe (${networks} networks of ${families} families; each family, left out of the fit, predicted by the others: 95 in 100 lay within).`,
    low,
    mean,
    high,
  };
}

// --- 7. The reader of drawn digits --------------------------------------------------------------------

function reader(about) {
  const { rows, tensors } = about.trained[0];
  const side = 280;
  const ink = new Float32Array(side * side);
  let image = null;
  let prepared = true;
  let how = "nothing";
  let last = null;
  let timer = 0;
  let laid = true;
  const sheet = h("canvas", {
    width: side,
    height: side,
    role: "img",
    "aria-label": "a sheet to draw a digit on with the mouse, a pen or a finger",
  });
  const given = h("canvas", {
    width: 252,
    height: 252,
    role: "img",
    "aria-label": "what the network is given: 28 × 28 pixels",
  });
  const answer = h("p", { class: "answer", role: "status" }, "Draw a digit, large or small, anywhere.");
  const bars = h("ol", { class: "bars", start: 0 });
  const cells = h("div");
  const pen = sheet.getContext("2d");
  const gap = rows.findIndex(({ kind }) => kind === "gap");

  function clear() {
    laid = false;
    ink.fill(0);
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, side, side);
    image = null;
    show();
  }
  function stroke(x, y) {
    // a round pen, soft at its edge
    const from = last ?? [x, y];
    const steps = Math.max(1, Math.ceil(Math.hypot(x - from[0], y - from[1]) / 3));
    for (let step = 0; step <= steps; step++) {
      const cx = from[0] + ((x - from[0]) * step) / steps;
      const cy = from[1] + ((y - from[1]) * step) / steps;
      for (let r = Math.max(0, Math.floor(cy - 12)); r <= Math.min(side - 1, cy + 12); r++)
        for (let q = Math.max(0, Math.floor(cx - 12)); q <= Math.min(side - 1, cx + 12); q++)
          ink[r * side + q] = Math.max(
            ink[r * side + q],
            Math.min(1, Math.max(0, 12 - Math.hypot(r - cy, q - cx)) / 3),
          );
    }
    last = [x, y];
  }
  function redraw() {
    const picture = pen.createImageData(side, side);
    ink.forEach((v, i) => picture.data.set([255 * v, 255 * v, 255 * v, 255], 4 * i));
    pen.putImageData(picture, 0, 0);
  }
  function read() {
    image = toDigit(ink, side, prepared);
    show();
  }
  function show() {
    const brush = given.getContext("2d");
    const { maps } = image ? forward(rows, tensors, standardised(image)) : {};
    clearTimeout(timer);
    brush.fillStyle = "#000";
    brush.fillRect(0, 0, 252, 252);
    cells.replaceChildren();
    const shares = maps ? softmax(maps.at(-1)) : Array(10).fill(0);
    const best = shares.indexOf(Math.max(...shares));
    answer.textContent = maps
      ? `${best} (${percent(shares[best])})`
      : "Draw a digit, large or small, anywhere.";
    bars.replaceChildren(
      ...shares.map((share, digit) =>
        h(
          "li",
          { value: digit },
          h("span", {
            class: digit === best && maps ? "bar-best" : "bar-fill",
            style: `width:${Math.round(160 * share)}px`,
          }),
          maps ? percent(share) : "",
        ),
      ),
    );
    if (!image) return;
    paint(brush, image, 0, 9);
    if (how === "cells") cells.append(evidence(maps[gap], tensors.at(-1), best));
    if (how === "occlusion") timer = setTimeout(() => occlude(brush, best, Math.log(shares[best])), 150);
  }
  function evidence(map, { weight, bias }, digit) {
    // class activation: what each unit adds (Zhou 2016)
    const units = Math.round(Math.sqrt(map.length / (weight.length / 10)));
    const channels = weight.length / 10;
    const value = (u) =>
      Array.from(
        { length: channels },
        (_, c) => weight[digit * channels + c] * map[c * units * units + u],
      ).reduce((a, b) => a + b, bias[digit]);
    const row = (r) =>
      h(
        "tr",
        {},
        ...Array.from({ length: units }, (_, q) => {
          const v = value(r * units + q);
          const strength = Math.min(1, Math.abs(v) / 20);
          return h(
            "td",
            { style: `background:${v > 0 ? `rgba(77,163,255,${strength})` : `rgba(255,140,0,${strength})`}` },
            v.toFixed(1),
          );
        }),
      );
    return h(
      "table",
      { class: "cells" },
      h(
        "caption",
        {},
        `What each of the last map's ${units} × ${units} units says for ${digit}; their mean is its logit.`,
      ),
      h("tbody", {}, ...Array.from({ length: units }, (_, r) => row(r))),
    );
  }
  function occlude(brush, digit, before) {
    // a black square of 4 pixels, slid by 2
    const fall = new Float64Array(784);
    for (let r = 0; r <= 24; r += 2)
      for (let q = 0; q <= 24; q += 2) {
        if (!image.some((v, i) => v > 0 && within(i, r, q))) continue;
        const hidden = image.map((v, i) => (within(i, r, q) ? 0 : v));
        const { maps } = forward(rows, tensors, standardised(hidden));
        const loss = Math.max(0, before - Math.log(softmax(maps.at(-1))[digit]));
        for (let i = 0; i < 784; i++) if (within(i, r, q)) fall[i] = Math.max(fall[i], loss);
      }
    heat(brush, fall, 0, 9);
    cells.replaceChildren(h("p", {}, `Orange: hide these pixels, and ${digit} becomes less sure.`));
  }
  const within = (i, r, q) => {
    const y = Math.floor(i / 28);
    const x = i % 28;
    return y >= r && y < r + 4 && x >= q && x < q + 4;
  };

  const point = (event) => {
    const box = sheet.getBoundingClientRect();
    return [((event.clientX - box.left) * side) / box.width, ((event.clientY - box.top) * side) / box.height];
  };
  sheet.addEventListener("pointerdown", (event) => {
    sheet.setPointerCapture(event.pointerId);
    if (laid) clear();
    last = null;
    stroke(...point(event));
    redraw();
    read();
  });
  sheet.addEventListener("pointermove", (event) => {
    if (event.buttons) {
      stroke(...point(event));
      redraw();
      read();
    }
  });
  const lay = (i) => {
    // a stored digit on the sheet, as if drawn there; the first stroke wipes it off
    laid = true;
    ink.fill(0);
    for (let r = 0; r < 196; r++)
      for (let q = 0; q < 196; q++)
        ink[(r + 20) * side + q + 64] = about.digits[i][Math.floor(r / 7) * 28 + Math.floor(q / 7)];
    redraw();
    read();
  };
  const root = h(
    "div",
    { class: "reader" },
    h(
      "div",
      {},
      sheet,
      h(
        "p",
        { class: "bar" },
        h("button", { type: "button", onclick: clear }, "Clear"),
        choice("or lay down", [["", "a digit …"], ...about.labels.map((label, i) => [i, label])], (i) => {
          if (i !== "") lay(Number(i));
        }),
      ),
    ),
    h(
      "div",
      {},
      given,
      h(
        "p",
        { class: "bar" },
        h(
          "label",
          {},
          h("input", {
            type: "checkbox",
            checked: true,
            onchange: (event) => {
              prepared = event.target.checked;
              read();
            },
          }),
          " prepared as MNIST's were",
        ),
        choice(
          "show",
          [
            ["nothing", "the digit alone"],
            ["cells", "class activation"],
            ["occlusion", "occlusion"],
          ],
          (value) => {
            how = value;
            show();
          },
        ),
      ),
      cells,
    ),
    h("div", { class: "said" }, answer, bars),
  );
  lay(2);
  return root;
}

// --- 8. Where it is mounted -----------------------------------------------------------------------------

function unpacked(about) {
  const digits = about.digits.map((text) => Float32Array.from(bytes(text), (v) => v / 255));
  const trained = about.trained.map((network) => ({
    ...network,
    tensors: readWeights(network.rows, floats(network.weights)),
  }));
  return { ...about, digits, trained };
}
function render({ model, el }) {
  // anywidget's
  const about = unpacked(model.get("about"));
  const [first] = about.trained;
  const note = h(
    "p",
    { class: "note" },
    "The window is what a unit of the marked row can see; orange shows what counts for it. ↑ and ↓ walk through the rows; with Alt, or dragged, a row moves.",
  );
  const credit = h("p", { class: "note" }, "Digits: MNIST, by Yann LeCun and Corinna Cortes, CC BY-SA 3.0.");
  el.append(
    h(
      "section",
      { class: "lab", "aria-label": "the lab" },
      note,
      bench(model, about),
      h("h2", {}, "Draw a digit"),
      h(
        "p",
        { class: "note" },
        `It is read by ${first.name}. MNIST's digits were scaled to a box of 20 pixels and centred by their mass: switch that off, draw small or aside, and see why it matters.`,
      ),
      reader(about),
      credit,
    ),
  );
}
export function standalone(el, about, rows) {
  // a page without a kernel: the model is an object
  const state = { about, rows: readDesign(address().slice(1)) ?? rows, version: 0, numbers: null };
  render({
    el,
    model: {
      get: (name) => state[name],
      set: (name, value) => {
        state[name] = value;
      },
      save_changes() {},
    },
  });
}
export default { render: ({ model, el }) => render({ model: Object.assign(model, { kernel: true }), el }) };
