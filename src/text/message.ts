/** A turn of a conversation. */
export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
  /** Alpaca's parts of a user's turn, for templates that set them apart. */
  readonly instruction?: string;
  readonly input?: string;
}
