// Pages that list records: questions stand in front of the page, and a secret is copied by a button.
import { all, near, one } from "./page";

export function startRecords(): void {
  for (const dialog of all<HTMLDialogElement>("dialog.question[open]")) {
    dialog.open = false;
    dialog.showModal();
    one("[aria-invalid]:not(fieldset), fieldset[aria-invalid] input, input:not([type=hidden]), select", dialog)?.focus();
    // Closed by Esc or Cancel: the address is that of the page without the question.
    dialog.addEventListener("close", () => history.replaceState(history.state, "", dialog.dataset["return"]));
  }
  document.addEventListener("click", (event) => {
    const dialog = near(event, "[data-close]")?.closest<HTMLDialogElement>("dialog.question");
    if (dialog) {
      event.preventDefault();
      dialog.close();
    }
    const copy = near(event, "[data-copy]");
    if (copy) void copyFrom(copy);
  });
}

/** Where the browser does not let us copy, the secret is selected: one key press copies it. */
async function copyFrom(button: HTMLElement): Promise<void> {
  const field = one<HTMLInputElement | HTMLTextAreaElement>(`#${button.dataset["copy"]}`);
  const told = one("#copied");
  if (!field || !told) return;
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    button.textContent = "Copied";
    told.textContent = "It is in the clipboard.";
  } catch {
    told.textContent = "It is selected; copy it with the keyboard.";
  }
}
