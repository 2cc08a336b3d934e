/** What a signed receipt says. Its signature was checked by the controller before it was stored. */
export interface ReceiptWords {
  state: string;
  detail: string;
}

/**
 * Reads a receipt: from the DSSE envelope that the host signed, or as the plain document.
 * `undefined` when it is neither; nothing in here is trusted to have any shape.
 */
export function readReceipt(body: unknown): ReceiptWords | undefined {
  const document = isObject(body) && typeof body["payload"] === "string" ? decode(body["payload"]) : body;
  if (!isObject(document) || typeof document["state"] !== "string") return undefined;
  const { state, detail } = document;
  return { state, detail: typeof detail === "string" ? detail : "" };
}

function decode(payload: string): unknown {
  try {
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
