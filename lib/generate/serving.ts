import { SERVED } from "../native/request-options.js";
import { signal, type OptionsOf } from "../schema/index.js";

const ENDING = {
  /** Ends the request. */
  signal: signal({ description: "Ends the request." }),
};

/** What every request takes. */
export const SERVING: typeof SERVED & typeof ENDING = { ...SERVED, ...ENDING };

/** How a request is served among others. None of it changes what it gets, only when. */
export interface ServingOptions extends OptionsOf<typeof SERVED>, OptionsOf<typeof ENDING> {}
