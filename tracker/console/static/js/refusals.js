// What the API says, in the reader's words: refusals with the field and the remedy, and what
// telemetry says to an incident. The API itself speaks English to every client.

/** Patterns of the API's messages, the first that fits decides; `say` has `t`, `time`, `code`. */
const SAID = [
  [/^is required|at least 1 character/, ({ t }) => t("Fill this in.")],
  [/must lie after from/, ({ t }) => t("It must lie after the start.")],
  [/outside the years/, ({ t }) => t("Check the date: years 2000 to 2099.")],
  [/lies in the future/, ({ t }) => t("It lies in the future; give the time at which it happened.")],
  [/lies more than ([\d.]+) days back/, ({ t }, n) => t("It lies more than {n} days back; check the date.", { n })],
  [/lies more than ([\d.]+) days ahead/, ({ t }, n) => t("It lies more than {n} days ahead; check the date.", { n })],
  [/lies before the release \(([^)]+)\)/, ({ t, time }, at) => t("It lies before the release ({time}); give a later time.", { time: time(at) })],
  [/at most (\d+) characters/, ({ t }, n) => t("At most {n} characters.", { n })],
  [/pattern '\^\[A-Za-z0-9_-\]/, ({ t }) => t("Latin letters, digits, - and _ only, without spaces.")],
  [/should match pattern/, ({ t }) => t("Without spaces and without / ? # %")],
  [/less than or equal to ([\d.]+)/, ({ t }, n) => t("At most {n}.", { n })],
  [/greater than or equal to ([\d.]+)/, ({ t }, n) => t("At least {n}.", { n })],
  [/unable to parse|valid number|valid integer/, ({ t }) => t("Give a number.")],
  // devices
  [/there is no device '?([^';]+)'?/, ({ t }, id) => t("There is no device {id}; check its number.", { id })],
  [/device (\S+) is on delivery ([^;,]+)/, ({ t }, id, number) => t("The device {id} is on the delivery {number}; take another one.", { id, number })],
  [/^(\S+) was put on at ([^;]+);/, ({ t, time }, id, at) => t("The device {id} was put on at {time}; give a later time.", { id, time: time(at) })],
  // what no longer fits: most often someone else has acted in the meantime
  [/it has been released already/, ({ t }) => t("It has been released already; reload the page.")],
  [/arrival has been confirmed already/, ({ t }) => t("The arrival has been confirmed already; reload the page.")],
  [/the alert is \w+ already/, ({ t }) => t("The alert is closed already; add a comment, or wait for a new one.")],
  [/refused: the delivery is (\w+)/, ({ t, code }, status) => t("It does not fit the delivery's status any more: {status}. Reload the page.", { status: code("status", status) })],
  [/close is refused: (.+) ordered and not recorded/, ({ t, code }, measures) => t("Ordered and not recorded yet: {measures}. Record them first.", { measures: measures.split(", ").map((one) => code("measure", one)).join(", ") })],
  [/ordered and has no result yet/, ({ t }) => t("A control was ordered and has no result yet; record it first.")],
  [/clean control has no violation/, ({ t }) => t("A clean control has no violation: leave this empty, or choose the violation.")],
  [/a control found a violation/, ({ t }) => t("A control found a violation: the delivery ends with a discrepancy.")],
  // files
  [/send one of image/, ({ t }) => t("Files of this kind are not taken; send a picture (PNG, JPEG, TIFF and others), a PDF or DICOM.")],
  [/does not begin as/, ({ t }) => t("The file is not what its name says; choose another one.")],
  [/^(?:the body )?holds .*at most (\d+)/, ({ t }, n) => t("The file is too big: at most {n} MB fit.", { n: Math.floor(n / 1048576) })],
  [/is empty; choose another file/, ({ t }) => t("The file is empty; choose another one, or send none.")],
  // rights
  [/^the role \w+ may not call|is for the officers of/, ({ t }) => t("Your role or your post may not do this.")],
  [/there is no (?:post|route|lane|delivery) /, ({ t }) => t("There is none of this name; check it.")],
  // what telemetry says to an incident
  [/no position near that time/, ({ t }) => t("Telemetry has no position near that time.")],
  [/no track near that time/, ({ t }) => t("Telemetry has no track near that time.")],
  [/no position was given/, ({ t }) => t("No coordinates were given with the incident.")],
  [/was ([\d.]+) km from the place named/, ({ t }, n) => t("The vehicle was {n} km from the place named.", { n })],
  [/^telemetry shows (.+)/, ({ t, code }, found) => t("Telemetry shows: {found}", { found: found.split(", ").map((one) => code("anomaly", one)).join(", ") })],
  [/it is announced/, ({ t }) => t("It is announced; telemetry shows nothing yet.")],
  [/no seal is shown broken/, ({ t }) => t("Telemetry shows no broken seal.")],
  [/no seal is shown opened/, ({ t }) => t("Telemetry shows no opened seal.")],
  [/no seal is on this delivery/, ({ t }) => t("No seal is on this delivery.")],
  [/was ([\d.]+) m outside the corridor/, ({ t }, n) => t("The vehicle was {n} m outside the corridor.", { n })],
  [/within the corridor of its route/, ({ t }) => t("The vehicle was within the corridor of its route.")],
  [/drove ([\d.]+) km around that time/, ({ t }, n) => t("The vehicle drove {n} km around that time.", { n })],
  [/stood still around that time/, ({ t }) => t("The vehicle stood still around that time.")],
  [/telemetry cannot tell/, ({ t }) => t("Telemetry cannot tell.")],
];

/** One message in the reader's words, else in those of the API. */
export function inWords(message, say) {
  for (const [pattern, words] of SAID) {
    const found = pattern.exec(message);
    if (found) return words(say, ...found.slice(1));
  }
  return message;
}

/** A whole refusal: each field by its name in the form and what to do; else the summary. */
export function refusal(problem, say) {
  const lines = (problem.errors ?? []).map(({ loc, msg }) => {
    const name = [loc].flat().findLast((part) => typeof part === "string" && say.known(`field.${part}`));
    return name ? `${say.t(`field.${name}`)}: ${inWords(msg, say)}` : inWords(msg, say);
  });
  if (lines.length) return [...new Set(lines)].join(" · ");
  return inWords(problem.detail ?? problem.title ?? say.t("The server did not answer."), say);
}
