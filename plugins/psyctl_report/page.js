"use strict";
// Whether a pair is what the filters ask for.
function matches(pair, wanted) {
  const score = pair.score === "" ? NaN : Number(pair.score);
  return pair.text.includes(wanted.text.toLowerCase())
    && (wanted.check === "" || pair.checks.split(" ").includes(wanted.check))
    && (wanted.order === "" || pair.order === wanted.order)
    && (wanted.kind === "" || pair.kinds.split(" ").includes(wanted.kind))
    && (wanted.least === "" || score >= Number(wanted.least))
    && (wanted.most === "" || score <= Number(wanted.most));
}
function filterable(form) {
  const pairs = [...form.parentElement.querySelectorAll("article")].map((shown) => (
    { shown, text: shown.textContent.toLowerCase(), score: "", ...shown.dataset }));
  const told = form.querySelector("output");
  const apply = () => {
    const wanted = { least: "", most: "", ...Object.fromEntries(new FormData(form)) };
    let left = 0;
    for (const pair of pairs) {
      pair.shown.hidden = !matches(pair, wanted);
      left += !pair.shown.hidden;
    }
    told.textContent = left === pairs.length ? "" : `${left} of ${pairs.length} match`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
}
if (typeof document !== "undefined") {
  document.querySelectorAll("form").forEach(filterable);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
}
