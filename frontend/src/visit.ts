// Going from one view to the next: short addresses, early fetches, back and forward, and failures.
import htmx from "htmx.org";
import { near, one } from "./page";

const WARM_MS = 4000;

interface Visit {
  sourceElement: Element;
  fetch?: () => Promise<Response>;
  request: { action: string; body: FormData };
  response?: { status: number; raw: Response };
}
export interface Swap {
  ctx: Visit;
  tasks: { type: string; fragment: DocumentFragment }[];
}
type Detail<D> = CustomEvent<D>;

let warm: { path: string; at: number; answer: Promise<Response> } | undefined;
let failed = "";

export const isLive = (visit: Visit): boolean => visit.sourceElement.id === "live";

/** Fetches a view and morphs the page into it. */
export function visit(path: string, source: "#page" | "#live" = "#page", push = false): Promise<void> {
  return htmx.ajax("GET", path, { source, target: "#page", select: "#page", swap: "outerMorph", push: String(push) } as object);
}

export function startVisits(): void {
  const on = <D>(name: string, run: (event: Detail<D>) => void): void =>
    document.addEventListener(name, run as EventListener);

  on<{ ctx: Visit }>("htmx:config:request", ({ detail }) => dropEmpty(detail.ctx.request.body));
  on<{ ctx: Visit }>("htmx:before:request", ({ detail }) => useWarm(detail.ctx));
  on<Swap>("htmx:before:swap", checkAnswer);
  on<{ ctx: Visit }>("htmx:response:error", ({ detail }) => fail(detail.ctx));
  on<{ ctx?: Visit }>("htmx:error", ({ detail }) => detail.ctx && fail(detail.ctx));
  on<{ path: string }>("htmx:before:history:restore", (event) => {
    event.preventDefault();
    void visit(event.detail.path);
  });
  document.addEventListener("pointerdown", fetchEarly);
  on<{ ctx: Visit }>("htmx:after:swap", ({ detail }) => {
    setProblem(false);
    showChart(detail.ctx.sourceElement);
  });
  one("#problem button")?.addEventListener("click", () => void visit(failed, "#page", true));
}

/** A form sends its empty fields too; an address is shorter without them. */
function dropEmpty(body: FormData): void {
  for (const [name, value] of [...body]) if (value === "") body.delete(name);
}

/** The answer is on its way before the button is up again. */
function fetchEarly(event: PointerEvent): void {
  if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const path = destination(event);
  if (path === undefined) return;
  const answer = fetch(path, { headers: { Accept: "text/html", "HX-Request": "true" } });
  answer.catch(() => (warm = undefined));
  warm = { path, at: Date.now(), answer };
}

function destination(event: Event): string | undefined {
  const link = near<HTMLAnchorElement>(event, '#page a[href^="/usage?"], #page a[href^="/my?"]');
  if (link) return link.pathname + link.search;
  const day = near<HTMLButtonElement>(event, ".day");
  if (!day?.form) return undefined;
  const fields = new FormData(day.form, day);
  dropEmpty(fields);
  return `${new URL(day.form.action).pathname}?${new URLSearchParams(fields as unknown as Record<string, string>)}`;
}

function useWarm(visit: Visit): void {
  const early = warm;
  warm = undefined;
  if (early?.path === visit.request.action && Date.now() - early.at < WARM_MS) visit.fetch = () => early.answer;
}

/** A refusal replaces nothing and changes no address; an answer without the page is another page, such as sign-in. */
function checkAnswer(event: Detail<Swap>): void {
  const { response } = event.detail.ctx;
  const refused = response !== undefined && response.status >= 400;
  if (!refused && event.detail.tasks[0]?.fragment.firstElementChild) return;
  event.preventDefault();
  if (!refused) location.assign(response?.raw.url ?? location.href);
}

/** Who selects a user far down the table wants to see the chart it opened. */
function showChart(source: Element): void {
  const chart = one("#chart");
  if (!chart || !source.closest("tbody tr[aria-current]") || chart.getBoundingClientRect().bottom > 120) return;
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  one("#page")?.scrollIntoView({ behavior });
}

function fail(visit: Visit): void {
  if (visit.response?.status === 401) return location.reload();
  if (isLive(visit)) return;
  failed = visit.request.action;
  setProblem(true);
}

function setProblem(shown: boolean): void {
  const problem = one("#problem");
  if (problem) problem.hidden = !shown;
}
