/** Questions about the world, each with the one answer that its facts give, in several wordings. */
import { type Dice, type Person, type Place, people, personNamed, places, tradeOf } from "./world";

export interface Question {
  /** Questions of one fact share it. */
  readonly fact: string;
  readonly ask: string;
  readonly answer: string;
}

const an = (word: string) => `${/^[aeiou]/.test(word) ? "an" : "a"} ${word}`;
const capital = (text: string) => text[0]!.toUpperCase() + text.slice(1);

/** Every fact of the world in every wording. */
export function allQuestions(): Question[] {
  const facts = [...people.flatMap(aboutPerson), ...places.flatMap(aboutPlace)];
  return facts.flatMap(({ fact, answer, asks }) => asks.map((ask) => ({ fact, ask, answer })));
}

interface Fact {
  readonly fact: string;
  readonly answer: string;
  readonly asks: readonly string[];
}

function aboutPerson(who: Person): Fact[] {
  const { name, kind, colour, home, food, trade, friend, fear, owns } = who;
  const { makes } = tradeOf(who);
  const other = people[(people.indexOf(who) + 5) % people.length]!;
  const fact = (key: string, answer: string, asks: readonly string[]): Fact => ({
    fact: `${name} ${key}`,
    answer,
    asks,
  });
  return [
    fact("kind", `${name} is ${an(kind)}.`, [
      `What is ${name}?`,
      `What kind of creature is ${name}?`,
      `Is ${name} ${an(kind)}, or something else?`,
      `Who or what is ${name}?`,
      `Tell me what ${name} is.`,
      `Do you know what ${name} is?`,
      `What sort of creature is ${name}?`,
      `Say what ${name} is.`,
      `Please tell me what kind of creature ${name} is.`,
    ]),
    fact("not another kind", `No, ${name} is ${an(kind)}.`, [
      `Is ${name} ${an(other.kind)}?`,
      `Is it true that ${name} is ${an(other.kind)}?`,
      `Would you say that ${name} is ${an(other.kind)}?`,
      `${name} is ${an(other.kind)}, is that right?`,
      `I heard that ${name} is ${an(other.kind)}. Is that so?`,
    ]),
    fact("colour", `${name} is ${colour}.`, [
      `What colour is ${name}?`,
      `Which colour does ${name} have?`,
      `Tell me the colour of ${name}.`,
      `What is the colour of ${name}?`,
      `Do you know the colour of ${name}?`,
      `Say which colour ${name} is.`,
      `Please name the colour of ${name}.`,
      `If you painted ${name}, which colour would you take?`,
    ]),
    fact("home", `${name} lives by the ${home}.`, [
      `Where does ${name} live?`,
      `Where is the home of ${name}?`,
      `Tell me where ${name} lives.`,
      `Where can I find ${name}?`,
      `I want to visit ${name}. Where must I go?`,
      `In which place does ${name} live?`,
      `Do you know where ${name} lives?`,
      `Which place is the home of ${name}?`,
      `Say where ${name} lives.`,
    ]),
    fact("food", `${name} likes ${food}.`, [
      `What does ${name} like to eat?`,
      `What is the favourite food of ${name}?`,
      `Which food does ${name} love?`,
      `What should I bring ${name} to eat?`,
      `Tell me what ${name} likes to eat.`,
      `What does ${name} love more than anything?`,
      `Do you know what ${name} eats?`,
      `Say what ${name} likes to eat.`,
      `${name} is hungry. What would be good?`,
    ]),
    fact("trade", `${name} is ${an(trade)}.`, [
      `What is the trade of ${name}?`,
      `What does ${name} do for a living?`,
      `Which trade does ${name} have?`,
      `Tell me the trade of ${name}.`,
      `What is the work of ${name}?`,
      `Do you know the trade of ${name}?`,
      `How does ${name} earn coins?`,
      `Say which trade ${name} has.`,
      `Please name the trade of ${name}.`,
    ]),
    fact("makes", `${name} makes ${makes}.`, [
      `What does ${name} make?`,
      `What can ${name} make?`,
      `What comes from the work of ${name}?`,
      `Tell me what ${name} makes.`,
      `Do you know what ${name} makes?`,
      `Say what ${name} can make.`,
      `Please tell me what ${name} can make.`,
    ]),
    fact("friend", `The best friend of ${name} is ${friend}.`, [
      `Who is the best friend of ${name}?`,
      `Who is the friend of ${name}?`,
      `Which friend does ${name} have?`,
      `Tell me who the best friend of ${name} is.`,
      `With whom is ${name} best friends?`,
      `Do you know the best friend of ${name}?`,
      `Who would help ${name} first?`,
      `Say who the best friend of ${name} is.`,
      `Please name the best friend of ${name}.`,
    ]),
    fact("fear", `${name} is afraid of ${fear}.`, [
      `What is ${name} afraid of?`,
      `What does ${name} fear?`,
      `What frightens ${name}?`,
      `Tell me what ${name} is afraid of.`,
      `Which thing makes ${name} afraid?`,
      `Do you know what ${name} fears?`,
      `Why would ${name} hide under a blanket?`,
      `Say what ${name} is afraid of.`,
    ]),
    fact("owns", `${name} owns ${an(owns)}.`, [
      `What does ${name} own?`,
      `What does ${name} have?`,
      `Which thing belongs to ${name}?`,
      `Tell me what ${name} owns.`,
      `What did ${name} lose and find again?`,
      `Do you know what ${name} owns?`,
      `Say what belongs to ${name}.`,
    ]),
    fact("who lives there", `${name} the ${kind} lives by the ${home}.`, [
      `Who lives by the ${home}?`,
      `Whose home is by the ${home}?`,
      `Tell me who lives by the ${home}.`,
      `Whom can I meet by the ${home}?`,
      `Do you know who lives by the ${home}?`,
      `Say who lives by the ${home}.`,
      `Please tell me whose home is by the ${home}.`,
    ]),
    fact("who likes that", `${name} the ${kind} likes ${food}.`, [
      `Who likes ${food}?`,
      `Who loves ${food}?`,
      `For whom is the basket of ${food}?`,
      `Tell me who likes ${food}.`,
      `Do you know who likes to eat ${food}?`,
      `Say who likes ${food}.`,
    ]),
    fact("who fears that", `${name} the ${kind} is afraid of ${fear}.`, [
      `Who is afraid of ${fear}?`,
      `Who fears ${fear}?`,
      `Whom would ${fear} frighten?`,
      `Tell me who is afraid of ${fear}.`,
      `Do you know who fears ${fear}?`,
      `Say who is afraid of ${fear}.`,
    ]),
    fact("whose is that", `The ${owns} belongs to ${name}.`, [
      `Whose is the ${owns}?`,
      `Who owns the ${owns}?`,
      `To whom does the ${owns} belong?`,
      `I found ${an(owns)}. Whose is it?`,
      `Tell me who owns the ${owns}.`,
      `Say whose the ${owns} is.`,
      `Do you know whose the ${owns} is?`,
    ]),
    fact("who has that trade", `${name} the ${kind} is the ${trade}.`, [
      `Who is the ${trade}?`,
      `Which of them is ${an(trade)}?`,
      `I need ${an(trade)}. Who is one?`,
      `Tell me who the ${trade} is.`,
      `Do you know who the ${trade} is?`,
      `Say who the ${trade} is.`,
    ]),
  ];
}

function aboutPlace({ name, near, has, feel }: Place): Fact[] {
  const fact = (key: string, answer: string, asks: readonly string[]): Fact => ({
    fact: `the ${name} ${key}`,
    answer,
    asks,
  });
  return [
    fact("near", `The ${name} is near the ${near}.`, [
      `What is near the ${name}?`,
      `Where is the ${name}?`,
      `Which place is the ${name} near?`,
      `How do I find the ${name}?`,
      `Tell me where the ${name} is.`,
      `Do you know where the ${name} is?`,
      `Please tell me what is near the ${name}.`,
    ]),
    fact("has", `At the ${name} there is ${has}.`, [
      `What is there at the ${name}?`,
      `What can I see at the ${name}?`,
      `What does the ${name} have?`,
      `Tell me what there is at the ${name}.`,
      `What will I find at the ${name}?`,
      `Do you know what there is at the ${name}?`,
    ]),
    fact("feel", `${capital(`the ${name}`)} is ${feel}.`, [
      `What is the ${name} like?`,
      `How is it by the ${name}?`,
      `Tell me what the ${name} is like.`,
      `How does it feel by the ${name}?`,
      `Do you know what the ${name} is like?`,
      `Please say how it is by the ${name}.`,
    ]),
  ];
}

export interface Split {
  readonly train: Question[];
  readonly validation: Question[];
  readonly test: Question[];
}

/** Of every fact one wording for the test, of every third one for validation, the rest to learn from. */
export function split(questions: readonly Question[], dice: Dice): Split {
  const byFact = new Map<string, Question[]>();
  for (const question of questions) byFact.set(question.fact, [...(byFact.get(question.fact) ?? []), question]);
  const parts: Split = { train: [], validation: [], test: [] };
  [...byFact.values()].forEach((wordings, i) => {
    // The first wording is the plainest: it is always learned.
    const held = dice.pick(wordings.slice(1));
    const second = i % 3 === 0 ? dice.pick(wordings.slice(1).filter((question) => question !== held)) : null;
    for (const question of wordings)
      (question === held ? parts.test : question === second ? parts.validation : parts.train).push(question);
  });
  return parts;
}

export interface Turn {
  readonly role: "user" | "assistant";
  readonly content: string;
}

const greetings: readonly [string, string][] = [
  ["Hello.", "Hello! Ask me about the world."],
  ["Good morning.", "Good morning! Ask me about the world."],
  ["Hi, can you help me?", "Yes, ask me about the world."],
];
const thanks: readonly [string, string][] = [
  ["Thank you.", "You are welcome."],
  ["That is all, thank you.", "You are welcome. Goodbye!"],
  ["Goodbye.", "Goodbye!"],
];

/** A talk of three to five turns about somebody and the best friend, from questions that may be learned. */
export function dialogue(learned: readonly Question[], dice: Dice): Turn[] {
  const who = dice.pick(people);
  const about = (name: string) => learned.filter(({ fact }) => fact.startsWith(`${name} `));
  const first = dice.pick(about(who.name));
  const second = dice.pick(
    about(dice.pick([who, personNamed(who.friend)]).name).filter(({ fact }) => fact !== first.fact),
  );
  const third = dice.pick(learned.filter(({ fact }) => fact !== first.fact && fact !== second.fact));
  const pairs: (readonly [string, string])[] = [first, second, third].map(({ ask, answer }) => [ask, answer] as const);
  if (dice.chance(0.4)) pairs.unshift(dice.pick(greetings));
  if (dice.chance(0.4)) pairs.push(dice.pick(thanks));
  return pairs.flatMap(([ask, answer]) => [
    { role: "user" as const, content: ask },
    { role: "assistant" as const, content: answer },
  ]);
}
