import { describe, expect, it } from "vitest";
import { readReceipt } from "../src/envelope";

const envelope = (document: unknown) => ({
  payloadType: "application/vnd.cordon.receipt.v1+json",
  payload: Buffer.from(typeof document === "string" ? document : JSON.stringify(document)).toString("base64"),
  signatures: [],
});

describe("readReceipt", () => {
  it("reads what the host signed, in any script", () => {
    expect(readReceipt(envelope({ state: "done", detail: "已恢复" }))).toEqual({ state: "done", detail: "已恢复" });
    expect(readReceipt({ state: "failed", detail: "no nft" })).toEqual({ state: "failed", detail: "no nft" });
    expect(readReceipt(envelope({ state: "started" }))).toEqual({ state: "started", detail: "" });
  });

  it.each([null, undefined, 7, "done", [], {}, { payload: 7 }, { payload: "%%%" }, envelope("not JSON"), envelope({ state: 1 })])(
    "is undefined for %j",
    (body) => expect(readReceipt(body)).toBeUndefined(),
  );
});
