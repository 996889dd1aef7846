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

const two = (value: number): string => String(value).padStart(2, "0");

/** A date in local time by Python's `strftime` codes, in English. Unknown codes stay as they are. */
export function strftime(date: Date, format: string): string {
  const hours = date.getHours();
  return format.replace(/%([-a-zA-Z%])([a-zA-Z]?)/g, (whole, first: string, second: string) => {
    if (first === "-") return second === "" ? whole : code(second).replace(/^0+(?=.)/, "");
    return code(first) + second;
  });

  function code(letter: string): string {
    switch (letter) {
      case "Y":
        return String(date.getFullYear());
      case "y":
        return two(date.getFullYear() % 100);
      case "m":
        return two(date.getMonth() + 1);
      case "B":
        return MONTHS[date.getMonth()]!;
      case "b":
        return MONTHS[date.getMonth()]!.slice(0, 3);
      case "d":
        return two(date.getDate());
      case "A":
        return DAYS[date.getDay()]!;
      case "a":
        return DAYS[date.getDay()]!.slice(0, 3);
      case "H":
        return two(hours);
      case "I":
        return two(hours % 12 || 12);
      case "p":
        return hours < 12 ? "AM" : "PM";
      case "M":
        return two(date.getMinutes());
      case "S":
        return two(date.getSeconds());
      case "%":
        return "%";
      default:
        return `%${letter}`;
    }
  }
}
