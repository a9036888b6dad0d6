// Sending a form with a file, and showing how far it has come (`fetch` does not tell).
import { ApiError, csrf, el, logInAgain, t } from "./core.js";

/** A bar for a form; hidden until something is sent. */
export const progressBar = () => el("progress", { max: 100, value: 0, hidden: true, "aria-label": t("Sending…") });

/** POST a FormData to the API; the bar follows it. Throws ApiError. */
export function upload(path, form, bar) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const fail = (status, problem) => { bar.hidden = true; reject(new ApiError(status, problem)); };
    request.open("POST", `/api/v1${path}`);
    request.responseType = "json";
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRF-Token", csrf());
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) bar.value = (100 * event.loaded) / event.total;
    });
    request.addEventListener("error", () => fail(0, { detail: t("No connection to the server.") }));
    request.addEventListener("load", () => {
      if (request.status === 401) logInAgain();
      else if (request.status >= 400) fail(request.status, request.response ?? {});
      else resolve(request.response);
    });
    bar.value = 0;
    bar.hidden = false;
    request.send(form);
  });
}
