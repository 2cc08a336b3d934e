/**
 * The controller's clock, as told by the `Date` of its answers. A lease is counted down by it, not by the
 * browser's clock: the machine that a responder happens to sit at may be hours off.
 */
export class ControllerClock {
  private offsetMillis = 0;

  constructor(private readonly local: () => number = Date.now) {}

  /** Takes up the `Date` header of an answer that was asked for at `askedAt`, by the local clock. */
  heard(date: string | null, askedAt: number): void {
    const told = Date.parse(date ?? "");
    if (Number.isNaN(told)) return;
    const between = (askedAt + this.local()) / 2;
    const offset = told - between;
    // The header has whole seconds: what is nearer than that is agreement.
    this.offsetMillis = Math.abs(offset) < AGREEMENT_MILLIS ? 0 : offset;
  }

  now = (): number => this.local() + this.offsetMillis;
}

const AGREEMENT_MILLIS = 2_000;

export const controllerClock = new ControllerClock();
