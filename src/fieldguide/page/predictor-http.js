// Asks the server that this page came from. The other predictor is predictor-web.js; page.js knows no difference.

const TOKEN = "fieldguide-token";

/** Why there is no answer: `status` is that of HTTP, 0 where the server cannot be reached. */
class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch {
    throw new Refused(0, "The server cannot be reached.");
  }
  const values = await response.json().catch(() => ({}));
  if (values.error) throw new Refused(response.status, values.error);
  if (!response.ok && !values.predictions) throw new Refused(response.status, `The server answered ${response.status}.`);
  return values;
}

/** Opens the classifier; `askForToken` is called where the server wants one, with whether it refused the last one that was
 * typed, and gives what the user typed. */
export async function open(askForToken) {
  for (let isRefused = false; ; isRefused = true) {
    try {
      return predictor(await ask("v1/model"));
    } catch (error) {
      if (error.status !== 401) throw error;
      sessionStorage.setItem(TOKEN, await askForToken(isRefused));
    }
  }
}

function predictor(model) {
  const size = (blob) => {
    if (blob.size > model.max_body_bytes) {
      const most = Math.floor(model.max_body_bytes / 1048576);
      throw new Refused(413, `The picture has more than ${most} MB, which is the most this server takes.`);
    }
  };
  const post = (path, blob) =>
    ask(path, { method: "POST", body: blob, headers: { "Content-Type": "application/octet-stream" } });
  return {
    classNames: model.class_names,
    model: model.model,
    knowsStrangers: model.reject > 0,
    privacy: "Pictures go to the server that this page came from, and nowhere else; it keeps none that you do not tell it to keep.",
    async predict(blob) {
      size(blob);
      for (let pause = 1000; ; pause *= 2) {
        try {
          const { predictions } = await post(`v1/predict?heatmap=${model.explains}`, blob);
          return predictions[0];
        } catch (error) {
          if (error.status !== 503 || pause > 8000) throw error;
          await new Promise((resolve) => setTimeout(resolve, pause));
        }
      }
    },
    correct: model.collects
      ? async (blob, className) => {
          size(blob);
          await post(`v1/correct?class_name=${encodeURIComponent(className)}`, blob);
        }
      : null,
  };
}
