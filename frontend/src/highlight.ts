// A user lit everywhere: one attribute on #page, the style sheet does the rest. A user without a colour
// is filled in within the Others slices, from the small chart of the user's row.
import { all, near, one, whenReplaced } from "./page";

const THIN_PX = 6;
const DWELL_MS = 60;
const SPARK_HEIGHT = 20;

let waiting = 0;

export function startHighlight(): void {
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "touch") follow(event);
  });
  document.addEventListener("focusin", follow);
  document.addEventListener("focusout", () => light(undefined));
  whenReplaced(() => light(undefined));
}

function follow(event: Event): void {
  clearTimeout(waiting);
  const slice = near(event, ".bar i");
  const owner = slice ?? near(event, ".legend li > *") ?? near<HTMLTableRowElement>(event, ".users tbody tr");
  // A pointer that crosses a thin slice means the one behind it.
  if (slice && slice.offsetHeight < THIN_PX) waiting = setTimeout(() => light(slice), DWELL_MS);
  else light(owner ?? undefined);
}

function light(owner: HTMLElement | undefined): void {
  const page = one("#page");
  if (!page || one('.tip[data-series="1"]')) return page?.removeAttribute("data-on");
  const colour = owner?.className.match(/\bc[\dx]\b/)?.[0];
  const hidden = owner?.dataset["peak"];
  if (page.dataset["on"] === "tail") for (const slice of all(".bar .cx")) slice.style.removeProperty("--tail");
  if (colour) page.dataset["on"] = colour;
  else if (owner && hidden) {
    page.dataset["on"] = "tail";
    fill(owner, Number(hidden) / 100);
  } else page.removeAttribute("data-on");
}

/** Draws the row's days into Others; `peak` is the highest of them as a part of the plot. */
function fill(row: HTMLElement, peak: number): void {
  const path = one<SVGPathElement>("path", row)?.getAttribute("d") ?? "";
  const levels = [...path.matchAll(/V(\d+)h(\d+)/g)].flatMap(([, level, days]) =>
    Array<number>(Number(days)).fill(SPARK_HEIGHT - Number(level)),
  );
  all(".bar").forEach((bar, day) => {
    const pixels = ((levels[day] ?? 0) / SPARK_HEIGHT) * peak * bar.clientHeight;
    one(".cx", bar)?.style.setProperty("--tail", `${pixels.toFixed(1)}px`);
  });
}
