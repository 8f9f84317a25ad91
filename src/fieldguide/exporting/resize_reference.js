// The resize of fieldguide in plain JavaScript: antialiased bilinear, as Pillow 13 rounds it.
// pixels: RGB, oldHeight * oldWidth * 3 values from 0 to 255, row by row -> Uint8Array of height * width * 3.
// From a canvas leave every fourth value (alpha) out, and decode with createImageBitmap(file, {colorSpaceConversion: "none"}).
function resize(pixels, oldHeight, oldWidth, height, width) {
  const alongWidth = (x, h, w) => pass(x, h, w, width, (i, j, c) => (i * w + j) * 3 + c, (i, j, c) => (i * width + j) * 3 + c);
  const alongHeight = (x, h, w) => pass(x, w, h, height, (i, j, c) => (j * w + i) * 3 + c, (i, j, c) => (j * w + i) * 3 + c);
  // Pillow takes the vertical pass first where the height shrinks much more than the width.
  if (oldHeight - height > Math.max(0, 2 * (oldWidth - width))) {
    return alongWidth(alongHeight(pixels, oldHeight, oldWidth), height, oldWidth);
  }
  return alongHeight(alongWidth(pixels, oldHeight, oldWidth), oldHeight, width);
}

function pass(x, lines, oldSize, size, from, to) {
  const result = new Uint8Array(lines * size * 3);
  const scale = oldSize / size, reach = Math.max(scale, 1);
  for (let j = 0; j < size; j++) {
    const center = (j + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - reach)), end = Math.min(oldSize, Math.ceil(center + reach));
    const weights = []; // a triangle around each new pixel
    for (let k = first; k < end; k++) weights.push(Math.max(0, 1 - Math.abs(k + 0.5 - center) / reach));
    const total = weights.reduce((a, b) => a + b);
    weights.forEach((w, k) => { weights[k] = Math.floor(w / total * 4194304 + 0.5) / 4194304; }); // as fine as Pillow's
    for (let i = 0; i < lines; i++) for (let c = 0; c < 3; c++) {
      let sum = 0;
      for (let k = first; k < end; k++) sum += x[from(i, k, c)] * weights[k - first];
      result[to(i, j, c)] = Math.floor(sum + 0.5);
    }
  }
  return result;
}

if (typeof module !== "undefined") module.exports = { resize };
