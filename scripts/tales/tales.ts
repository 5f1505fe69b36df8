/** Tales of the world: each a few sentences by one of several plots. Every fact that a tale states is true in the world. */
import { type Dice, type Person, type Place, people, personNamed, placeNamed, places, seasons, tradeOf } from "./world";

/** One tale, ending in a line break. */
export function tale(dice: Dice): string {
  const plot = dice.pick(plots);
  return `${plot(dice).join(" ")}\n`;
}

type Plot = (dice: Dice) => string[];

const an = (word: string) => `${/^[aeiou]/.test(word) ? "an" : "a"} ${word}`;

/** Who somebody is: one or two facts in a sentence. */
function introduction(dice: Dice, who: Person): string {
  const { name, kind, colour, home, trade, food } = who;
  return dice.pick([
    `Once there was ${an(colour)} ${kind} named ${name}, who lived by the ${home}.`,
    `${name} was ${an(kind)} and lived by the ${home}.`,
    `By the ${home} lived ${name}, ${an(colour)} ${kind}.`,
    `${name} the ${kind} was ${an(trade)} and lived by the ${home}.`,
    `There was once ${an(trade)} named ${name}, ${an(colour)} ${kind} who loved ${food}.`,
  ]);
}

function opening(dice: Dice): string {
  const season = dice.pick(seasons);
  return dice.pick([
    `It was ${season.name}, and ${season.sign}.`,
    `One ${season.name} morning the sky was ${season.sky}.`,
    `In ${season.name}, when ${season.sign}, something happened.`,
    `One day in ${season.name} the air was still.`,
  ]);
}

function scenery(dice: Dice, place: Place): string {
  return dice.pick([
    `The ${place.name} was ${place.feel}, and it had ${place.has}.`,
    `At the ${place.name} there was ${place.has}.`,
    `The ${place.name} is near the ${place.near}.`,
    `It was ${place.feel} by the ${place.name}.`,
  ]);
}

function closing(dice: Dice, a: Person, b: Person): string {
  return dice.pick([
    `From that day on, ${a.name} and ${b.name} were even better friends.`,
    `That night ${a.name} slept well.`,
    `"Thank you," said ${a.name}, and ${b.name} smiled.`,
    `Then ${a.name} and ${b.name} shared some ${dice.pick([a, b]).food} and went home.`,
    `And ${a.name} never forgot it.`,
    `Everybody laughed, and ${b.name} laughed the most.`,
  ]);
}

function feeling(dice: Dice, who: Person): string {
  const word = dice.pick(["happy", "sad", "tired", "proud", "hungry", "curious", "worried", "glad"]);
  return dice.pick([
    `${who.name} was very ${word}.`,
    `This made ${who.name} ${word}.`,
    `${who.name} felt ${word} all day.`,
  ]);
}

/** Somebody, and the friend of the world's facts. */
function pair(dice: Dice): { a: Person; b: Person } {
  const a = dice.pick(people);
  return { a, b: personNamed(a.friend) };
}

const other = (dice: Dice, ...not: readonly Person[]): Person => dice.pick(people.filter((who) => !not.includes(who)));

const lost: Plot = (dice) => {
  const { a, b } = pair(dice);
  const where = dice.pick(places);
  return [
    introduction(dice, a),
    `${a.name} had ${an(a.owns)}.`,
    opening(dice),
    dice.pick([
      `But the ${a.owns} was gone.`,
      `Then ${a.name} could not find the ${a.owns}.`,
      `${a.name} lost the ${a.owns} on the way home.`,
    ]),
    dice.pick([
      `"Where is my ${a.owns}?" cried ${a.name}.`,
      feeling(dice, a),
      `${a.name} looked under the bed and behind the door.`,
    ]),
    dice.pick([
      `${a.name} asked ${b.name} for help.`,
      `The best friend of ${a.name} was ${b.name}, who came at once.`,
      `${b.name} the ${b.kind} heard this and came to help.`,
    ]),
    `They looked by the ${dice.pick(places).name}, but it was not there.`,
    scenery(dice, where),
    dice.pick([
      `There they found the ${a.owns}.`,
      `${b.name} saw something bright, and it was the ${a.owns}.`,
      `And there, by the ${where.name}, lay the ${a.owns}.`,
    ]),
    closing(dice, a, b),
  ];
};

const gift: Plot = (dice) => {
  const { a, b } = pair(dice);
  const { makes, does } = tradeOf(a);
  return [
    opening(dice),
    `It was the birthday of ${b.name} the ${b.kind}.`,
    introduction(dice, a),
    dice.pick([
      `"What does ${b.name} like?" thought ${a.name}.`,
      `${a.name} wanted to bring a gift.`,
      `${a.name} had no coins for a gift.`,
    ]),
    dice.pick([`${b.name} loved ${b.food} more than anything.`, `Everybody knew that ${b.name} liked ${b.food}.`]),
    dice.pick([
      `So ${a.name} went to the market and bought some ${b.food}.`,
      `So ${a.name}, who was ${an(a.trade)}, ${does} and made ${makes}.`,
      `So ${a.name} filled a basket with ${b.food}.`,
    ]),
    `Then ${a.name} walked to the ${b.home}, where ${b.name} lived.`,
    scenery(dice, placeNamed(b.home)),
    dice.pick([`"This is for you," said ${a.name}.`, `"Happy birthday," said ${a.name}.`]),
    feeling(dice, b),
    closing(dice, b, a),
  ];
};

const fear: Plot = (dice) => {
  const { a, b } = pair(dice);
  return [
    introduction(dice, a),
    dice.pick([
      `${a.name} was brave, but ${a.name} was afraid of ${a.fear}.`,
      `Only one thing frightened ${a.name}, and that was ${a.fear}.`,
    ]),
    opening(dice),
    dice.pick([
      `${a.name} thought of ${a.fear} and began to shake.`,
      `That night ${a.name} dreamed of ${a.fear}.`,
      `A loud noise came from the ${a.home}, and ${a.name} hid under a blanket.`,
    ]),
    dice.pick([
      `${b.name} the ${b.kind} came and sat down.`,
      `"Do not worry," said ${b.name}.`,
      `${b.name} brought some ${a.food} and a light.`,
    ]),
    dice.pick([
      `"I am afraid of ${b.fear} too," said ${b.name}. "Everybody is afraid of something."`,
      `"When I think of ${b.fear}, I sing a song," said ${b.name}.`,
    ]),
    dice.pick([
      `So they sang until the morning came.`,
      `So they counted the stars together.`,
      `So they held hands and waited.`,
    ]),
    dice.pick([`After that ${a.fear} did not seem so bad.`, `${a.name} was not so afraid any more.`]),
    closing(dice, a, b),
  ];
};

const work: Plot = (dice) => {
  const a = dice.pick(people);
  const b = other(dice, a);
  const { does, makes } = tradeOf(a);
  return [
    opening(dice),
    introduction(dice, a),
    dice.pick([`Every morning ${a.name} ${does}.`, `${a.name} was the best ${a.trade} by the ${a.home}.`]),
    dice.pick([`One day ${b.name} the ${b.kind} came by and watched.`, `Then ${b.name} came from the ${b.home}.`]),
    dice.pick([
      `"Can you make ${makes} for me?" asked ${b.name}.`,
      `"What are you doing?" asked ${b.name}.`,
      `"I need ${makes}," said ${b.name}.`,
    ]),
    dice.pick([
      `"Yes," said ${a.name}, "but you must help me."`,
      `"I am ${an(a.trade)}," said ${a.name}. "I can make ${makes}."`,
    ]),
    dice.pick([`They worked until the sun went down.`, `${a.name} ${does}, and ${b.name} swept the floor.`]),
    dice.pick([`At last there was ${makes}, and it was good.`, `In the evening they had ${makes}.`]),
    `${b.name} paid with some ${dice.pick([a.food, b.food])}.`,
    feeling(dice, a),
  ];
};

const race: Plot = (dice) => {
  const a = dice.pick(people);
  const b = other(dice, a);
  const from = placeNamed(a.home);
  const to = placeNamed(b.home);
  const winner = dice.pick([a, b]);
  const slower = winner === a ? b : a;
  return [
    `${a.name} the ${a.kind} and ${b.name} the ${b.kind} both wanted to be the fastest.`,
    dice.pick([`"I can run faster than you," said ${a.name}.`, `"Let us have a race," said ${b.name}.`]),
    from === to ? `They ran three times round the ${from.name}.` : `They ran from the ${from.name} to the ${to.name}.`,
    opening(dice),
    scenery(dice, to),
    dice.pick([
      `At first ${slower.name} was ahead.`,
      `${slower.name} fell over a root and got up again.`,
      `${slower.name} stopped to eat some ${slower.food}.`,
    ]),
    dice.pick([`But ${winner.name} did not stop and won the race.`, `In the end ${winner.name} won by a nose.`]),
    dice.pick([`The prize was a bag of ${winner.food}.`, `${winner.name} got a bag of ${winner.food} and shared it.`]),
    closing(dice, slower, winner),
  ];
};

const visit: Plot = (dice) => {
  const { a, b } = pair(dice);
  const way = dice.pick(places);
  const met = other(dice, a, b);
  return [
    introduction(dice, a),
    dice.pick([
      `${a.name} wanted to visit ${b.name} by the ${b.home}.`,
      `A letter came from ${b.name}, who lived by the ${b.home}.`,
    ]),
    opening(dice),
    `The way went past the ${way.name}.`,
    scenery(dice, way),
    dice.pick([
      `There ${a.name} met ${met.name} the ${met.kind}.`,
      `On the way came ${met.name}, ${an(met.colour)} ${met.kind}.`,
    ]),
    dice.pick([
      `"Where are you going?" asked ${met.name}.`,
      `"Good morning," said ${met.name}. "I am ${an(met.trade)}."`,
    ]),
    dice.pick([
      `"To the ${b.home}," said ${a.name}. "My friend ${b.name} lives there."`,
      `"I am going to see ${b.name}," said ${a.name}.`,
    ]),
    dice.pick([`${met.name} gave ${a.name} some ${met.food} for the road.`, `They walked together for a while.`]),
    `At last ${a.name} came to the ${b.home}.`,
    dice.pick([`${b.name} opened the door and danced for joy.`, `They ate ${b.food} and talked until night.`]),
    closing(dice, a, b),
  ];
};

const storm: Plot = (dice) => {
  const place = dice.pick(places);
  const home = people.filter((who) => who.home === place.name)[0]!;
  const helper = other(dice, home);
  return [
    `A great storm came over the ${place.name}.`,
    scenery(dice, place),
    introduction(dice, home),
    dice.pick([`The wind took the roof of the house.`, `The water rose up to the door.`, `A tree fell on the path.`]),
    feeling(dice, home),
    dice.pick([
      `${helper.name} the ${helper.kind} came with ${an(helper.owns)}.`,
      `${helper.name}, who was ${an(helper.trade)}, came to help.`,
    ]),
    dice.pick([
      `All night they worked in the rain.`,
      `Together they mended everything.`,
      `Step by step they made it whole again.`,
    ]),
    `In the morning the sky was clear.`,
    closing(dice, home, helper),
  ];
};

const lesson: Plot = (dice) => {
  const otto = personNamed("Otto");
  const a = other(dice, otto);
  const b = other(dice, otto, a);
  const place = dice.pick(places);
  const question = dice.pick([
    { ask: `Where does ${b.name} live?`, answer: `${b.name} lives by the ${b.home}` },
    { ask: `What does ${b.name} like to eat?`, answer: `${b.name} likes ${b.food}` },
    { ask: `What is ${b.name} afraid of?`, answer: `${b.name} is afraid of ${b.fear}` },
    { ask: `Who is the best friend of ${b.name}?`, answer: `It is ${b.friend}` },
    { ask: `What is the trade of ${b.name}?`, answer: `${b.name} is ${an(b.trade)}` },
    { ask: `What does ${b.name} own?`, answer: `${b.name} owns ${an(b.owns)}` },
    { ask: `What is near the ${place.name}?`, answer: `The ${place.near} is near the ${place.name}` },
    { ask: `What is there at the ${place.name}?`, answer: `At the ${place.name} there is ${place.has}` },
  ]);
  return [
    dice.pick([
      `Otto the owl was the teacher, and the school was in the tower.`,
      `In the tower Otto the owl held a lesson.`,
    ]),
    opening(dice),
    `${a.name} the ${a.kind} sat in the first row.`,
    `"${question.ask}" asked Otto.`,
    dice.pick([`${a.name} thought for a while.`, `Nobody spoke.`, `${a.name} put up a hand.`]),
    `"${question.answer}," said ${a.name}.`,
    dice.pick([`"That is right," said Otto.`, `"Very good," said Otto, and gave ${a.name} some ${a.food}.`]),
    feeling(dice, a),
  ];
};

const night: Plot = (dice) => {
  const { a, b } = pair(dice);
  return [
    dice.pick([`The moon stood over the ${a.home}.`, `Night fell over the ${a.home}, and the stars came out.`]),
    introduction(dice, a),
    dice.pick([`${a.name} could not sleep.`, `${a.name} was still awake.`]),
    dice.pick([`"Why is the moon so round?" asked ${a.name}.`, `"How many stars are there?" asked ${a.name}.`]),
    dice.pick([
      `"I do not know," said ${b.name}. "Let us ask Otto in the morning."`,
      `"As many as there are leaves in the forest," said ${b.name}.`,
    ]),
    dice.pick([
      `They sat by the ${a.home} and ate ${a.food}.`,
      `${b.name} told a story about the ${dice.pick(places).name}.`,
    ]),
    dice.pick([`Soon ${a.name} closed both eyes.`, `Then the wind sang, and all was quiet.`]),
    `"Good night," said ${b.name}.`,
  ];
};

const trade: Plot = (dice) => {
  const mila = personNamed("Mila");
  const a = other(dice, mila);
  return [
    opening(dice),
    `${a.name} the ${a.kind} went to the market to buy ${a.food}.`,
    scenery(dice, placeNamed("market")),
    dice.pick([`Mila the cat was the trader there.`, `Mila the cat sat behind her baskets.`]),
    `"How much is the ${a.food}?" asked ${a.name}.`,
    dice.pick([
      `"Three coins," said Mila.`,
      `"Five coins," said Mila, "or a good story."`,
      `"What can you give me for it?" asked Mila.`,
    ]),
    dice.pick([
      `${a.name} had only two coins and ${an(a.owns)}.`,
      `${a.name} told her about the ${a.home}.`,
      `${a.name}, who was ${an(a.trade)}, gave her ${tradeOf(a).makes}.`,
    ]),
    dice.pick([`Mila laughed and gave ${a.name} a full basket.`, `"That is fair," said Mila.`]),
    `${a.name} carried the ${a.food} back to the ${a.home}.`,
    feeling(dice, a),
  ];
};

const plots: readonly Plot[] = [lost, gift, fear, work, race, visit, storm, lesson, night, trade];
