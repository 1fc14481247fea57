// The parts of the page the modules meet at, and the moment it has been replaced.

export const one = <E extends Element = HTMLElement>(selector: string, within: ParentNode = document): E | null =>
  within.querySelector<E>(selector);

export const all = <E extends Element = HTMLElement>(selector: string, within: ParentNode = document): E[] => [
  ...within.querySelectorAll<E>(selector),
];

/** The nearest ancestor of where an event happened. */
export const near = <E extends Element = HTMLElement>(event: Event, selector: string): E | null =>
  event.target instanceof Element ? event.target.closest<E>(selector) : null;

/** Runs now and after each replacement, before it is painted. */
export function whenReplaced(run: () => void): void {
  run();
  document.addEventListener("htmx:after:swap", run);
}
