// Keys: the chart is one stop with arrows inside, Esc lifts one filter at a time, / searches.
import { all, near, one, whenReplaced } from "./page";

const STEPS: Record<string, number> = {
  ArrowLeft: -1,
  ArrowRight: 1,
  PageUp: -7,
  PageDown: 7,
  Home: -Infinity,
  End: Infinity,
};

export function startKeyboard(): void {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (near(event, ".day") && event.key in STEPS) step(event);
    else if (event.key === "Escape") escape(event);
    else if (event.key === "/" && !near(event, "input, textarea, select")) search(event);
    else if (event.key === " ") press(event);
  });
  document.addEventListener("click", openRow);
  document.addEventListener("focusin", (event) => {
    const day = near(event, ".day");
    if (day) rove(day);
  });
  whenReplaced(() => {
    rove(one(".day:focus") ?? one('.day[aria-pressed="true"]') ?? all(".day").at(-1));
    keepFocusNear();
  });
}

/** One day takes part in Tab, the others are reached by arrows. Without script all of them do. */
function rove(current: HTMLElement | undefined): void {
  for (const day of all(".day")) day.tabIndex = day === current ? 0 : -1;
}

function step(event: KeyboardEvent): void {
  const days = all(".day");
  const from = days.findIndex((day) => day.contains(event.target as Node));
  const to = Math.max(0, Math.min(days.length - 1, from + (STEPS[event.key] ?? 0)));
  event.preventDefault();
  days[to]?.focus();
}

function escape(event: KeyboardEvent): void {
  if (one("dialog[open]")) return;
  const field = one<HTMLInputElement>("#search");
  if (field?.value) {
    event.preventDefault();
    field.value = "";
    field.form?.requestSubmit();
  } else (one("[data-clear=day]") ?? one("[data-clear=user]"))?.click();
}

function search(event: KeyboardEvent): void {
  const field = one<HTMLInputElement>("#search");
  if (!field) return;
  event.preventDefault();
  field.select();
  field.focus();
}

/** Space selects a user as Enter does. */
function press(event: KeyboardEvent): void {
  const link = near(event, ".users tbody a, .legend a, .chip");
  if (!link) return;
  event.preventDefault();
  link.click();
}

/** The whole row is its link, but for selecting text. */
function openRow(event: MouseEvent): void {
  const row = near(event, ".users tbody tr");
  if (!row || near(event, "a") || getSelection()?.toString()) return;
  const { ctrlKey, metaKey, shiftKey } = event;
  one("a", row)?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, ctrlKey, metaKey, shiftKey }));
}

let hadFocus = false;
document.addEventListener("htmx:before:swap", () => (hadFocus = document.activeElement !== document.body));

/** What had the focus may be gone with the old view; Tab goes on from the page, not from the start. */
function keepFocusNear(): void {
  if (hadFocus && document.activeElement === document.body) one("#page")?.focus({ preventScroll: true });
}
