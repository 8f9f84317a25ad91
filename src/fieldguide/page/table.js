// Answers as CSV that is safe to open in a spreadsheet, as `fieldguide predict --csv` writes it.

const COLUMNS = ["path", "class_name", "nearest_class", "probability", "novelty", "none_of_these", "error"];

function cell(value) {
  if (value === null || value === undefined) return "";
  let text = typeof value === "boolean" ? (value ? "True" : "False") : String(value);
  // A text that begins like a formula gets an apostrophe before it: https://owasp.org/www-community/attacks/CSV_Injection
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @param entries [{name, prediction}], @param classNames in the order of the columns. */
export function csv(entries, classNames) {
  const head = [...COLUMNS, ...classNames.map((name) => `probability: ${name}`)];
  const rows = entries.map(({ name, prediction }) => [
    name,
    ...COLUMNS.slice(1).map((column) => prediction[column]),
    ...classNames.map((className) => prediction.probabilities[className]),
  ]);
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}
