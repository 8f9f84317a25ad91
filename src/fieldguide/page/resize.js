// Pillow's antialiased bilinear resize, to the bit.
// Source: https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c

const BITS = 22; // of the whole-number weights

/** For each new pixel the first old one that counts, and the weights of it and those after it. */
function weights(oldSize, newSize) {
  const scale = oldSize / newSize;
  const width = Math.max(scale, 1);
  return Array.from({ length: newSize }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(center - width + 0.5), 0);
    const end = Math.min(Math.trunc(center + width + 0.5), oldSize);
    const parts = [];
    for (let x = first; x < end; x++) parts.push(Math.max(0, 1 - Math.abs((x - center + 0.5) / width)));
    const sum = parts.reduce((a, b) => a + b, 0);
    return { first, parts: Int32Array.from(parts, (part) => Math.trunc(0.5 + (part / sum) * (1 << BITS))) };
  });
}

/** One pass: `lines` lines of `oldSize` pixels become lines of `newSize`; steps say how far apart pixels and lines lie. */
function pass(source, target, oldSize, newSize, lines, from, to) {
  const all = weights(oldSize, newSize);
  for (let line = 0; line < lines; line++) {
    for (let i = 0; i < newSize; i++) {
      const { first, parts } = all[i];
      let at = line * from.line + first * from.pixel;
      let [red, green, blue] = [1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)];
      for (let k = 0; k < parts.length; k++, at += from.pixel) {
        red += source[at] * parts[k];
        green += source[at + 1] * parts[k];
        blue += source[at + 2] * parts[k];
      }
      const out = line * to.line + i * to.pixel;
      target[out] = Math.min(255, red >> BITS);
      target[out + 1] = Math.min(255, green >> BITS);
      target[out + 2] = Math.min(255, blue >> BITS);
    }
  }
}

const across = (width, pixel) => ({ pixel, line: width * pixel });
const down = (width, pixel) => ({ pixel: width * pixel, line: pixel });

/**
 * @param rgba of width x height pixels
 * @returns RGB of newWidth x newHeight pixels
 */
export function resize(rgba, width, height, newWidth, newHeight) {
  const result = new Uint8Array(newWidth * newHeight * 3);
  // From version 13 on, Pillow takes the vertical pass first where that saves more.
  if (height - newHeight > Math.max(0, 2 * (width - newWidth))) {
    const between = new Uint8Array(width * newHeight * 3);
    pass(rgba, between, height, newHeight, width, down(width, 4), down(width, 3));
    pass(between, result, width, newWidth, newHeight, across(width, 3), across(newWidth, 3));
  } else {
    const between = new Uint8Array(newWidth * height * 3);
    pass(rgba, between, width, newWidth, height, across(width, 4), across(newWidth, 3));
    pass(between, result, height, newHeight, newWidth, down(newWidth, 3), down(newWidth, 3));
  }
  return result;
}
