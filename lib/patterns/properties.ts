import { type CharSet, complement, intersection, known, propertySet, rangeSet, union } from "./char-set.js";

/** Sets that have names, made when they are first used. */
const lazy = (make: () => CharSet): (() => CharSet) => {
  let set: CharSet | undefined;
  return () => (set ??= make());
};

const asciiDigits = lazy(() => rangeSet([[0x30, 0x39]]));
const asciiWords = lazy(() =>
  rangeSet([
    [0x30, 0x39],
    [0x41, 0x5a],
    [0x5f, 0x5f],
    [0x61, 0x7a],
  ]),
);
const asciiSpaces = lazy(() =>
  rangeSet([
    [0x09, 0x0d],
    [0x20, 0x20],
  ]),
);
const hexDigits = lazy(() =>
  rangeSet([
    [0x30, 0x39],
    [0x41, 0x46],
    [0x61, 0x66],
  ]),
);
/** Within brackets, and as [[:word:]]. */
const onigurumaWords = lazy(() => union([known("Alphabetic"), known("M"), known("Nd"), known("Pc")]));
/** \w itself, and \b: a table for Latin-1 has the superscripts and fractions, too. */
const onigurumaWordsAlone = lazy(() =>
  union([
    onigurumaWords(),
    rangeSet([
      [0xb2, 0xb3],
      [0xb9, 0xb9],
      [0xbc, 0xbe],
    ]),
  ]),
);
/** str.isalnum() and the underscore: letters and all that has a numeric value. */
const pythonWords = lazy(() => union([known("L"), known("N"), rangeSet([[0x5f, 0x5f]])]));
/** str.isspace(): White_Space and the four separators of ASCII. */
const pythonSpaces = lazy(() => union([known("White_Space"), rangeSet([[0x1c, 0x1f]])]));

export type Dialect = "oniguruma" | "python";

/**
 * The set of \d, \s, \w or \h (lower case); undefined where the dialect has no such class.
 * @param inClass within brackets
 */
export function classEscape(
  letter: string,
  dialect: Dialect,
  ascii: boolean,
  inClass: boolean,
): CharSet | undefined {
  const python = dialect === "python";
  switch (letter) {
    case "d":
      return ascii ? asciiDigits() : known("Nd");
    case "s":
      return ascii ? asciiSpaces() : python ? pythonSpaces() : known("White_Space");
    case "w":
      if (ascii) return asciiWords();
      if (python) return pythonWords();
      return inClass ? onigurumaWords() : onigurumaWordsAlone();
    case "h":
      return python ? undefined : hexDigits();
    default:
      return undefined;
  }
}

/** POSIX names, which stand in [[:name:]] and in \p{name}. */
const POSIX: Readonly<Record<string, () => CharSet>> = {
  alnum: lazy(() => union([known("Alphabetic"), known("Nd")])),
  alpha: () => known("Alphabetic"),
  ascii: () => known("ASCII"),
  blank: lazy(() => union([known("Zs"), rangeSet([[9, 9]])])),
  cntrl: () => known("Cc"),
  digit: () => known("Nd"),
  graph: lazy(() => complement(union([known("White_Space"), known("Cc"), known("Cn"), known("Cs")]))),
  lower: () => known("Lowercase"),
  print: lazy(() => union([intersection([POSIX["graph"]!(), complement(known("Cc"))]), known("Zs")])),
  punct: lazy(() => union([known("P"), known("S")])),
  space: () => known("White_Space"),
  upper: () => known("Uppercase"),
  xdigit: hexDigits,
  word: onigurumaWords,
};

export const posixClass = (name: string): CharSet | undefined =>
  Object.hasOwn(POSIX, name) ? POSIX[name]!() : undefined;

const CATEGORIES = `C Other Cc Control Cf Format Cn Unassigned Co Private_Use Cs Surrogate L Letter LC Cased_Letter Ll Lowercase_Letter
Lm Modifier_Letter Lo Other_Letter Lt Titlecase_Letter Lu Uppercase_Letter M Mark Combining_Mark Mc Spacing_Mark Me Enclosing_Mark
Mn Nonspacing_Mark N Number Nd Decimal_Number Nl Letter_Number No Other_Number P Punctuation Pc Connector_Punctuation
Pd Dash_Punctuation Pe Close_Punctuation Pf Final_Punctuation Pi Initial_Punctuation Po Other_Punctuation Ps Open_Punctuation
S Symbol Sc Currency_Symbol Sk Modifier_Symbol Sm Math_Symbol So Other_Symbol Z Separator Zl Line_Separator Zp Paragraph_Separator
Zs Space_Separator`;
const BINARY = `Any Assigned ASCII_Hex_Digit AHex Alphabetic Bidi_Control Bidi_C Bidi_Mirrored Bidi_M Case_Ignorable CI
Cased Changes_When_Casefolded CWCF Changes_When_Casemapped CWCM Changes_When_Lowercased CWL Changes_When_Titlecased CWT
Changes_When_Uppercased CWU Dash Default_Ignorable_Code_Point DI Deprecated Dep Diacritic Dia Emoji Emoji_Component Emoji_Modifier
Emoji_Modifier_Base Emoji_Presentation Extended_Pictographic Extender Ext Grapheme_Base Gr_Base Grapheme_Extend Gr_Ext Hex_Digit Hex
IDS_Binary_Operator IDSB IDS_Trinary_Operator IDST ID_Continue IDC ID_Start IDS Ideographic Ideo Join_Control Join_C
Logical_Order_Exception LOE Lowercase Math Noncharacter_Code_Point NChar Pattern_Syntax Pat_Syn Pattern_White_Space Pat_WS
Quotation_Mark QMark Radical Regional_Indicator RI Sentence_Terminal STerm Soft_Dotted SD Terminal_Punctuation Term
Unified_Ideograph UIdeo Uppercase Variation_Selector VS White_Space WSpace XID_Continue XIDC XID_Start XIDS`;
const SCRIPTS = `Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki Bopomofo Brahmi
Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot
Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic
Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic
Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script
Khmer Khojki Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean
Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani
Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic
Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong
Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting
Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut
Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square`;

/** Without regard to case, spaces, underscores and hyphens, as Oniguruma compares names. */
const loose = (name: string): string => name.replace(/[ _-]/g, "").toLowerCase();

let expressions: Map<string, string> | undefined;

/** The set of \p{name} in Oniguruma; null for a name that it or this JavaScript engine lacks. */
export function namedSet(name: string, inClass: boolean): CharSet | null {
  const key = loose(name);
  if (key === "punct") return known("P"); // [[:punct:]] has the symbols, too
  if (key === "posixpunct") return posixClass("punct")!;
  if (key === "word" && !inClass) return onigurumaWordsAlone();
  const posix = posixClass(key);
  if (posix !== undefined) return posix;
  if (expressions === undefined) {
    expressions = new Map();
    for (const script of SCRIPTS.split(/\s+/)) expressions.set(loose(script), `Script=${script}`);
    for (const one of `${CATEGORIES} ${BINARY}`.split(/\s+/)) expressions.set(loose(one), one);
  }
  const expression = expressions.get(key);
  return expression === undefined ? null : propertySet(expression);
}
