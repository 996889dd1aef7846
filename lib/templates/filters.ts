import { refuse } from "./failure.js";
import { LIST_FILTERS } from "./list-filters.js";
import { NUMBER_FILTERS } from "./number-filters.js";
import { TEXT_FILTERS } from "./text-filters.js";
import type { Named, Runtime, Value } from "./values.js";

export type Filter = (runtime: Runtime, value: Value, positional: readonly Value[], named: Named) => Value;

/** Filters of jinja2 that are for web pages, or give another result each time. */
const REFUSED = ["pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"];

/** jinja2's filters, and transformers' `tojson`. */
export const FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ...TEXT_FILTERS,
  ...LIST_FILTERS,
  ...NUMBER_FILTERS,
  ...REFUSED.map((name): [string, Filter] => [
    name,
    () => {
      throw refuse(`the filter "${name}"`);
    },
  ]),
]);
