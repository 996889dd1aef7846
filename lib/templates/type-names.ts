import { Markup, Str } from "./text.js";
import {
  Callable,
  Dict,
  Float,
  Iter,
  List,
  Namespace,
  Range,
  Tuple,
  Undefined,
  View,
  type Value,
} from "./values.js";

/** The name of a value's type, for messages. */
export function typeName(value: Value): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return "bool";
  if (value instanceof Float) return "float";
  if (value instanceof Str) return "str";
  if (value instanceof Markup) return "Markup";
  if (value instanceof List) return "list";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Dict) return "dict";
  if (value instanceof Range) return "range";
  if (value instanceof View) return value.kind;
  if (value instanceof Iter) return value.type;
  if (value instanceof Namespace) return "Namespace";
  if (value instanceof Undefined) return "Undefined";
  if (value instanceof Callable) return value.name;
  return "int";
}
