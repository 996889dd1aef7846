import { refuse } from "./failure.js";

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

const two = (value: number, fill = "0"): string => String(value).padStart(2, fill);

/** A date in local time by the codes of Python's `strftime` on Linux, in English. Throws for codes that it does not know. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([\s\S]?)/g, (_, dash: string, letter: string) => {
    const text = code(date, letter);
    return dash === "" ? text : text.replace(/^[0 ]+(?=.)/, "");
  });
}

function code(date: Date, letter: string): string {
  const hours = date.getHours();
  switch (letter) {
    case "Y":
      return String(date.getFullYear());
    case "C":
      return two(Math.floor(date.getFullYear() / 100));
    case "y":
      return two(date.getFullYear() % 100);
    case "m":
      return two(date.getMonth() + 1);
    case "B":
      return MONTHS[date.getMonth()]!;
    case "b":
    case "h":
      return MONTHS[date.getMonth()]!.slice(0, 3);
    case "d":
      return two(date.getDate());
    case "e":
      return two(date.getDate(), " ");
    case "j":
      return String(dayOfYear(date)).padStart(3, "0");
    case "A":
      return DAYS[date.getDay()]!;
    case "a":
      return DAYS[date.getDay()]!.slice(0, 3);
    case "u":
      return String(date.getDay() || 7);
    case "w":
      return String(date.getDay());
    case "H":
      return two(hours);
    case "k":
      return two(hours, " ");
    case "I":
      return two(hours % 12 || 12);
    case "l":
      return two(hours % 12 || 12, " ");
    case "p":
      return hours < 12 ? "AM" : "PM";
    case "P":
      return hours < 12 ? "am" : "pm";
    case "M":
      return two(date.getMinutes());
    case "S":
      return two(date.getSeconds());
    case "f":
      return `${String(date.getMilliseconds()).padStart(3, "0")}000`;
    case "D":
    case "x":
      return strftime(date, "%m/%d/%y");
    case "F":
      return strftime(date, "%Y-%m-%d");
    case "T":
    case "X":
      return strftime(date, "%H:%M:%S");
    case "R":
      return strftime(date, "%H:%M");
    case "r":
      return strftime(date, "%I:%M:%S %p");
    case "c":
      return strftime(date, "%a %b %e %H:%M:%S %Y");
    case "z":
    case "Z":
      return ""; // a date without a time zone, as transformers makes it
    case "n":
      return "\n";
    case "t":
      return "\t";
    case "%":
      return "%";
    default:
      throw refuse(`the date format %${letter}`);
  }
}

/** Counted from 1. */
function dayOfYear(date: Date): number {
  const start = Date.UTC(date.getFullYear(), 0, 1);
  return (Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - start) / 86_400_000 + 1;
}
