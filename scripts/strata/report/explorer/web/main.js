// The page follows its address.

let turn = 0;

async function show() {
  const own = ++turn;
  const { view, asked } = address();
  const main = document.getElementById("main"),
    focus = document.activeElement?.dataset.key;
  main.style.minHeight = `${main.offsetHeight}px`; // so that it doesn't jump
  const section = el("div.view");
  main.replaceChildren(section);
  document.getElementById("vg-tooltip-element")?.classList.remove("visible"); // of a chart that is gone
  for (const entry of document.querySelectorAll("#views a")) {
    if (entry.dataset.view === view) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
  }
  document.title = `${views[view].title} – ${study.name} – Strata`;
  try {
    await views[view].show(section, asked);
  } catch (error) {
    section.append(el("p.error", { role: "alert" }, error.message));
    if (!(error instanceof Missing)) throw error;
  }
  if (own !== turn) return;
  main.style.minHeight = "";
  if (focus) section.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
  const target = asked.figure
    ? `figure-${asked.figure}`
    : asked.claim
      ? `claim-${asked.claim}`
      : null;
  if (target) document.getElementById(target)?.scrollIntoView({ block: "center" });
  document.body.dataset.shown = location.hash;
}

async function begin() {
  study = JSON.parse(await textOf("study.json"));
  const nav = document.getElementById("views");
  nav.append(
    el(
      "ul",
      {},
      Object.entries(views)
        .filter(([, view]) => view.there())
        .map(([name, view]) =>
          el(
            "li",
            {},
            el("a", { href: `#${name}`, "data-view": name, title: view.about }, view.title),
          ),
        ),
    ),
  );
  document
    .getElementById("about")
    .append(
      `Made by Strata ${study.version} from the study’s own files, which this page holds: nothing is fetched. Charts by Vega and Vega-Lite (University of Washington Interactive Data Lab, BSD 3-Clause). Keys: / to search, Tab and Enter for the rest.`,
    );
  prepareSearch();
  // An address that is no view's (the skip link's) is none of ours.
  addEventListener("hashchange", () => {
    if (location.hash !== "#main") show();
  });
  await show();
}

begin().catch((error) => {
  const said = `This browser cannot show the page (${error.message}); one of 2023 or later can.`;
  document.getElementById("main").replaceChildren(el("p.error", { role: "alert" }, said));
  throw error;
});
