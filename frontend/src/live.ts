// Live: the stream says only "changed"; the page then fetches its own address again and is morphed.
// At most once a second, never while hidden, and not while one points at the chart or the table.
import { one } from "./page";
import { isLive, visit, type Swap } from "./visit";

const PAUSE_MS = 1000;
const RETRY_MS = 5000;

type State = "live" | "lost" | "connecting";
const WORDS: Record<State, string> = { live: "Live", lost: "Reconnecting…", connecting: "Connecting…" };

let stream: EventSource | undefined;
// What was heard of, what was asked for, what is shown: a reader's own request comes first and may end ours.
let heard = 0;
let asked = 0;
let shown = 0;
let timer = 0;
let refreshedAt = 0;

export function startLive(): void {
  if (!one("#live")) return;
  connect();
  document.addEventListener("visibilitychange", () => heard > shown && schedule());
  document.addEventListener("htmx:after:swap", (event) => {
    if (isLive((event as CustomEvent).detail.ctx)) shown = asked;
  });
  document.addEventListener("htmx:before:swap", (event) => keepOrder((event as CustomEvent<Swap>).detail));
  for (const name of ["htmx:response:error", "htmx:error"])
    document.addEventListener(name, (event) => {
      const ctx = (event as CustomEvent<Partial<Swap>>).detail.ctx;
      if (ctx && isLive(ctx)) retry();
    });
  addEventListener("pagehide", () => stream?.close());
  addEventListener("pageshow", (event) => event.persisted && connect());
}

function connect(): void {
  stream?.close();
  // What the page shows; a change since then is news, even one from before the stream was open.
  const since = new URLSearchParams({ since: one("#page")?.dataset["since"] ?? "" });
  stream = new EventSource(`/api/v1/stream?${since}`);
  let lost = false;
  stream.onopen = () => {
    setState("live");
    if (lost) change();
    lost = false;
  };
  stream.onerror = () => {
    lost = true;
    setState("lost");
    // The browser reconnects by itself, except after an answer that is not a stream.
    if (stream?.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  };
  stream.addEventListener("usage", change);
  stream.addEventListener("closed", () => {
    stream?.close();
    location.reload();
  });
}

function setState(state: State): void {
  const live = one("#live");
  const lost = one("#live-lost");
  if (!live || !lost) return;
  live.dataset["state"] = state;
  live.textContent = WORDS[state];
  // Announced: only that the connection is lost.
  lost.textContent = state === "lost" ? "Connection lost, reconnecting" : "";
}

function change(): void {
  heard += 1;
  schedule();
}

function schedule(wait = refreshedAt + PAUSE_MS - Date.now()): void {
  if (!timer) timer = setTimeout(refresh, Math.max(0, wait));
}

function refresh(): void {
  timer = 0;
  if (heard === shown || document.hidden) return;
  if (pointedAt()) return schedule(PAUSE_MS);
  asked = heard;
  refreshedAt = Date.now();
  const address = new URL(location.href);
  const axis = one("#chart")?.dataset["axis"];
  // So that the axis does not shrink under the reader's eyes.
  if (axis) address.searchParams.set("axis", axis);
  void visit(address.pathname + address.search, "#live").then(() => heard > shown && schedule());
}

function retry(): void {
  setState("lost");
  clearTimeout(timer);
  timer = 0;
  schedule(RETRY_MS);
}

/** Touch leaves :hover behind, so it counts only where there is a pointer that hovers. */
function pointedAt(): boolean {
  return matchMedia("(hover: hover)").matches && one("#chart:hover, #users:hover") !== null;
}

/** Rows do not move away from under the keyboard. */
function keepOrder({ ctx, tasks }: Swap): void {
  const before = one<HTMLTableSectionElement>("#users tbody:has(:focus-visible)");
  const after = tasks[0] && one<HTMLTableSectionElement>("#users tbody", tasks[0].fragment);
  if (!isLive(ctx) || !before || !after) return;
  const places = new Map([...before.rows].map((row, index) => [row.id, index]));
  const place = (row: HTMLElement): number => places.get(row.id) ?? places.size;
  after.append(...[...after.rows].sort((a, b) => place(a) - place(b)));
}
