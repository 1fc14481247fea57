// The card beside the day under the pointer or the keyboard's focus. Its lines stand in the page
// already; a day carries the figures, so showing one is writing a dozen texts.
import { all, near, one, whenReplaced } from "./page";

const WIDTH_PX = 256;
const AWAY_PX = 10;

let shown: HTMLElement | null = null;

export function startTooltip(): void {
  document.addEventListener("pointerover", (event) => {
    const day = near(event, ".day");
    if (day || event.pointerType === "mouse") show(day);
  });
  document.addEventListener("pointerdown", (event) => near(event, ".day") ?? show(null));
  document.addEventListener("focusin", (event) => {
    const day = near(event, ".day:focus-visible");
    if (day) show(day);
  });
  document.addEventListener("focusout", () => show(null));
  addEventListener("scroll", () => matchMedia("(hover: none)").matches && show(null), { passive: true });
  // A finger that is lifted leaves the document too; what it touched stays shown.
  document.documentElement.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(null));
  whenReplaced(() => show(shown?.isConnected ? shown : null));
}

function show(day: HTMLElement | null): void {
  const tip = one("#tip");
  shown = day;
  if (!tip || !day) return tip?.removeAttribute("data-show");
  write(tip, day);
  place(tip, day);
  tip.dataset["show"] = "";
}

function write(tip: HTMLElement, day: HTMLElement): void {
  const { title = "", total = "", parts = "" } = day.dataset;
  text(".tip-head b", title, tip);
  text(".tip-head span", `${total} credits`, tip);
  tip.toggleAttribute("data-today", day.classList.contains("today"));
  // Lines run from the top of the stack down, the parts of a day from its base up.
  const figures = parts.split("|").reverse();
  all("li", tip).forEach((line, index) => {
    const [credits = "", share = ""] = (figures[index] ?? "").split(" ");
    line.hidden = !credits;
    text("b", credits, line);
    text("span", share, line);
  });
}

function text(selector: string, value: string, within: Element): void {
  const element = one(selector, within);
  if (element) element.textContent = value;
}

/** Beside the day, on the side with room, level with the top of the plot: never under the pointer. */
function place(tip: HTMLElement, day: HTMLElement): void {
  const chart = tip.offsetParent?.getBoundingClientRect();
  const plot = one(".plot");
  if (!chart || !plot) return;
  const { left, right } = day.getBoundingClientRect();
  const fits = right + AWAY_PX + WIDTH_PX <= chart.right - AWAY_PX;
  const x = fits ? right - chart.left + AWAY_PX : left - chart.left - AWAY_PX - WIDTH_PX;
  tip.style.setProperty("--tip-x", `${Math.round(x)}px`);
  tip.style.setProperty("--tip-y", `${plot.offsetTop}px`);
}
