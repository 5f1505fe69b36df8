/** Text in HTML and in attributes: whatever a model or a user wrote is only text. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);
}
