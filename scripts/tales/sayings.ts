/** What can be said of the world: the wordings of every statement, true or not, and those that are a right answer to a question. */
import { allQuestions, type Question } from "./questions";
import { people, places, tradeOf } from "./world";

/** Who or what stands in a relation to what, as the world has it, and how that is said. */
interface Relation {
  readonly pairs: readonly (readonly [string, string])[];
  /** Whole sentences. S: a name, a name with its kind, or a pronoun. N: no pronoun. V: the value; A: with an article. */
  readonly forms: readonly string[];
  /** The value alone. */
  readonly short: readonly string[];
}

const relations = {
  kind: {
    pairs: people.flatMap(({ name, kind, colour }) => [
      [name, kind],
      [name, `${colour} ${kind}`],
    ]),
    forms: ["{S} is {A}"],
    short: ["{A}", "{V}", "it is {A}"],
  },
  colour: {
    pairs: people.map(({ name, colour }) => [name, colour]),
    forms: ["{S} is {V}", "the colour of {N} is {V}"],
    short: ["{V}", "it is {V}"],
  },
  home: {
    pairs: people.map(({ name, home }) => [name, home]),
    forms: [
      ...["by", "at", "in"].map((at) => `{S} lives ${at} the {V}`),
      "the home of {N} is by the {V}",
      "the home of {N} is the {V}",
    ],
    short: ["by the {V}", "the {V}", "at the {V}", "in the {V}", "{V}", "it is the {V}", "it is by the {V}"],
  },
  food: {
    pairs: people.map(({ name, food }) => [name, food]),
    forms: ["{S} likes {V}", "{S} loves {V}", "{S} likes to eat {V}", "the favourite food of {N} is {V}"],
    short: ["{V}", "it is {V}", "some {V}"],
  },
  trade: {
    pairs: people.map(({ name, trade }) => [name, trade]),
    forms: ["{S} is {A}", "{S} is the {V}", "{S} works as {A}"],
    short: ["{A}", "{V}", "the {V}"],
  },
  makes: {
    pairs: people.map((who) => [who.name, tradeOf(who).makes]),
    forms: ["{S} makes {V}", "{S} can make {V}"],
    short: ["{V}", "it is {V}"],
  },
  friend: {
    pairs: people.map(({ name, friend }) => [name, friend]),
    forms: [
      "the best friend of {N} is {V}",
      "the friend of {N} is {V}",
      "{V} is the best friend of {N}",
      "{V} is the friend of {N}",
      "{S} is best friends with {V}",
    ],
    short: ["{V}", "it is {V}", "{V} is", "with {V}"],
  },
  fear: {
    pairs: people.map(({ name, fear }) => [name, fear]),
    forms: ["{S} is afraid of {V}", "{S} fears {V}"],
    short: ["{V}", "of {V}", "it is {V}", "because of {V}"],
  },
  owns: {
    pairs: people.map(({ name, owns }) => [name, owns]),
    forms: ["{S} owns {A}", "{S} has {A}", "the {V} belongs to {N}", "{S} owns the {V}", "{S} has the {V}"],
    short: ["{A}", "the {V}", "{V}", "it is {A}"],
  },
  near: {
    // What is near a place has that place near it.
    pairs: places.flatMap(({ name, near }) => [
      [name, near],
      [near, name],
    ]),
    forms: ["the {N} is near the {V}", "the {V} is near the {N}"],
    short: ["near the {V}", "by the {V}", "the {V}", "{V}", "it is near the {V}", "it is the {V}"],
  },
  has: {
    pairs: places.map(({ name, has }) => [name, has]),
    forms: ["at the {N} there is {V}", "there is {V} at the {N}", "the {N} has {V}"],
    short: ["{V}", "there is {V}", "it has {V}", "it is {V}"],
  },
  feel: {
    pairs: places.map(({ name, feel }) => [name, feel]),
    forms: ["the {N} is {V}", "it is {V} by the {N}", "it is {V} at the {N}"],
    short: ["{V}", "it is {V}"],
  },
} satisfies Record<string, Relation>;

type RelationName = keyof typeof relations;
const relation = (name: RelationName): Relation => relations[name] as Relation;

/** Where the answer is who, and not what. */
const whoForms = ["{N}", "it is {N}", "{N} is", "{N} does", "that is {N}", "to {N}"];

/** The relation that facts of a key tell of, and the side of it that is asked for. */
const keys: Readonly<Record<string, readonly [RelationName, "what" | "who"]>> = {
  kind: ["kind", "what"],
  "not another kind": ["kind", "what"],
  colour: ["colour", "what"],
  home: ["home", "what"],
  food: ["food", "what"],
  trade: ["trade", "what"],
  makes: ["makes", "what"],
  friend: ["friend", "what"],
  fear: ["fear", "what"],
  owns: ["owns", "what"],
  "who lives there": ["home", "who"],
  "who likes that": ["food", "who"],
  "who fears that": ["fear", "who"],
  "whose is that": ["owns", "who"],
  "who has that trade": ["trade", "who"],
  near: ["near", "what"],
  has: ["has", "what"],
  feel: ["feel", "what"],
};

const an = (word: string) => `${/^[aeiou]/.test(word) ? "an" : "a"} ${word}`;
const capital = (text: string) => text[0]!.toUpperCase() + text.slice(1);

/** As a sentence of its own. */
export const sentence = (words: string) => `${capital(words)}.`;

/** Words alone, for comparing. */
export function plain(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, " ")
    .trim();
}

const kinds = new Map(people.map(({ name, kind }) => [name, kind]));
const named = (name: string) => (kinds.has(name) ? [name, `${name} the ${kinds.get(name)}`] : [name]);

/** A statement in these forms, with the subject in each of its names. */
function said(forms: readonly string[], subject: string, value: string): string[] {
  const pronouns = kinds.has(subject) ? ["he", "she", "it"] : [];
  return forms.flatMap((form) => {
    const filled = named(value).map((each) => form.replace("{V}", each).replace("{A}", an(each)));
    const subjects = form.includes("{S}") ? [...named(subject), ...pronouns] : named(subject);
    return /\{[SN]\}/.test(form)
      ? filled.flatMap((words) => subjects.map((each) => words.replace(/\{[SN]\}/, each)))
      : filled;
  });
}

const distinct = (items: readonly string[]) => [...new Set(items)];

/** Every whole sentence of the world's kind, whether it is true or not. */
export function everySentence(): Set<string> {
  const all = Object.values(relations as Record<string, Relation>).flatMap(({ pairs, forms }) => {
    const values = distinct(pairs.map(([, value]) => value));
    return distinct(pairs.map(([subject]) => subject)).flatMap((subject) =>
      values.flatMap((value) => said(forms, subject, value)),
    );
  });
  return new Set(
    [...all, ...all.filter((words) => / is an? /.test(words)).map((words) => `no, ${words}`)].map(sentence),
  );
}

/** "Pip" and "home" of "Pip home", and "mill" and "near" of "the mill near". */
export function halvesOf(fact: string): [subject: string, key: string] {
  const [, subject, key] = fact.match(/^(?:the )?(\w+) (.+)$/) as unknown as [string, string, string];
  return [subject, key];
}

/** What a fact states, whichever way it is asked for: "Pip home" for who lives by the mill, too. */
export function statedBy(fact: string): string {
  const [subject, key] = halvesOf(fact);
  const [name] = keys[key]!;
  const friends = people.filter((who) => who.name === subject || who.friend === subject);
  return `${name === "friend" ? friends[0]!.name : subject} ${name}`;
}

/** What is right to say to a question, and what may not be said beside it. */
export interface Right {
  readonly fact: string;
  /** The plain words of every right answer, and of every right part of one. */
  readonly allowed: ReadonlySet<string>;
  /** Short answers, in plain words. */
  readonly short: readonly string[];
  /** It asks whether something is so that is not. */
  readonly denies: boolean;
  /** Find a person, a place, or a value of what is asked for: words that have to be right. */
  readonly tells: readonly RegExp[];
}

const telling = new Map(
  Object.entries(relations as Record<string, Relation>).map(([name, { pairs }]) => {
    const values = pairs.map(([, value]) => plain(value).replace(/^(the|an?) /, ""));
    const words = distinct([...[...people, ...places].map((each) => plain(each.name)), ...values]);
    return [name, new RegExp(`\\b(${words.join("|")})\\b`)];
  }),
);

const questions = new Map<string, Question>(allQuestions().map((question) => [question.ask, question]));

/** Undefined where it is no question about the world. */
export function rightFor(ask: string): Right | undefined {
  const question = questions.get(ask.trim());
  if (!question) return undefined;
  const { fact } = question;
  const [subject, key] = halvesOf(fact);
  const [name, side] = keys[key]!;
  // Who asks only what somebody is may be told the trade.
  const names: RelationName[] = key === "kind" && !/creature|else/.test(ask) ? ["kind", "trade"] : [name];
  const denies = key === "not another kind";
  const own = relation(name).pairs.find(([who]) => who === subject)![1];
  const right = names.flatMap((each) =>
    relation(each)
      .pairs.filter(([who, value]) => (side === "what" ? who === subject : value === own))
      .map(([who, value]) => ({ ...relation(each), who, value })),
  );
  const short = right.flatMap(({ short, who, value }) =>
    side === "what" ? said(short, who, value) : said(whoForms, who, value),
  );
  const whole = right.flatMap(({ forms, who, value }) => said(forms, who, value));
  const wrong = denies ? ask.match(/ (an? \w+)(?:\?|\.|,)/)![1]! : "";
  const denials = denies ? ["no", `not ${wrong}`, ...said(["{S} is not {V}"], subject, wrong)] : [];
  return {
    fact,
    allowed: new Set([...whole, ...short, ...denials].map(plain)),
    short: denies ? ["no", ...short] : short,
    denies,
    tells: names.map((each) => telling.get(each)!),
  };
}

/** Whether an answer says what is right, and nothing against it. */
export function isRight({ allowed, denies, tells }: Right, answer: string): boolean {
  let told = false;
  for (const part of answer.split(/[.!?,;:\n]+/)) {
    const words = plain(part).replace(/^(yes|well|oh|so|because) /, "");
    if (allowed.has(words)) told = true;
    else if (tells.some((one) => one.test(words)) || words === (denies ? "yes" : "no")) return false;
  }
  return told;
}
