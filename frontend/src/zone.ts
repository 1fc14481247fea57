// Suggests the browser's timezone where nobody has chosen one yet.
import { one } from "./page";

export function suggestZone(): void {
  const select = one<HTMLSelectElement>('select[data-suggest="zone"]');
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (select && [...select.options].some((option) => option.value === zone)) select.value = zone;
}
