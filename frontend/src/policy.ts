// Credit Policy: what is typed counts as unsaved until it is sent, and questions stand in front of the page.
import { all, near, one, whenReplaced } from "./page";

const FRESH_MS = 8000;

let sending = false;

export function startPolicy(): void {
  if (!one("#policy-form")) return;
  document.addEventListener("input", (event) => near(event, "#policy-form") && mark());
  document.addEventListener("submit", (event) => {
    sending = near(event, "form")?.getAttribute("action") === "/policy";
  });
  document.addEventListener("click", (event) => {
    if (near(event, "#discard")) sending = true;
    const dialog = near(event, "[data-close]") && one<HTMLDialogElement>("dialog[open]");
    if (!dialog) return;
    event.preventDefault();
    dialog.close();
  });
  addEventListener("beforeunload", (event) => {
    if (one("#policy-form[data-dirty]") && !sending) event.preventDefault();
  });
  // The page may come back as it was left.
  addEventListener("pageshow", () => (sending = false));
  mark();
  forgetDone();
  whenReplaced(ask);
  one("#policy-form [aria-invalid]")?.focus();
}

function mark(): void {
  const form = one<HTMLFormElement>("#policy-form");
  if (!form) return;
  const fields = new FormData(form);
  const { limit = "", timezone = "" } = form.dataset;
  const typed = fields.get("mode") === "custom" ? String(fields.get("limit")).trim() : "";
  const custom = fields.get("mode") === "custom";
  form.toggleAttribute("data-dirty", typed !== limit || custom !== (limit !== "") || fields.get("timezone") !== timezone);
}

/** What was done is told once, not again when the page is loaded again. */
function forgetDone(): void {
  const address = new URL(location.href);
  if (!address.searchParams.has("done")) return;
  address.searchParams.delete("done");
  history.replaceState(history.state, "", address);
  setTimeout(() => one(".done")?.removeAttribute("data-fresh"), FRESH_MS);
}

function ask(): void {
  for (const dialog of all<HTMLDialogElement>("dialog[open]:not(:modal)")) {
    dialog.open = false;
    dialog.showModal();
    one("[aria-invalid], input:not([type=hidden]), textarea", dialog)?.focus();
    dialog.addEventListener("close", () => {
      const back = dialog.dataset["return"];
      if (back) history.replaceState(history.state, "", back);
    });
  }
}
