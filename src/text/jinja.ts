/**
 * Jinja, read and rendered as transformers does, within limits: templates come with other people's models, and may have no end.
 * https://github.com/huggingface/transformers/blob/main/src/transformers/utils/chat_template_utils.py
 */
import { Environment, Interpreter, parse, Template, tokenize } from "@huggingface/jinja";
import { messageOf, UserError } from "../errors";

/** docs/templates.md gives these numbers. */
export const limits = {
  /** Characters of a template. */
  source: 1 << 18,
  /** White space in a row: the library looks at a run of it once for each of its characters. */
  blank: 1000,
  /** Parts of a template that are evaluated; 200 characters that one of them handles count as one more. */
  steps: 1_000_000,
  /** Characters that a value may have, written out. */
  characters: 1 << 21,
  /** Messages of a conversation, and characters of them together: with more it is the conversation that is refused. */
  messages: 1 << 12,
  conversation: 1 << 20,
  /** Parts inside parts: macros that call themselves. */
  depth: 500,
} as const;

/** A template that went beyond a limit: it is given up, and not tried on the next record. */
export class TemplateLimitError extends UserError {
  constructor(what: string) {
    super(`the chat template is given up: ${what}`, {
      hint: "it may never end; choose another by template (docs/templates.md has the limits)",
    });
  }
}

/** A character has at most four bytes. */
export const MOST_TEMPLATE_BYTES = 4 * limits.source;

const CHARACTERS_A_STEP = 200;

type Node = NonNullable<Parameters<Interpreter["evaluate"]>[0]>;
type Value = ReturnType<Interpreter["evaluate"]>;

/** Makes of a source what renders it. Throws a UserError where it is no Jinja. */
export function jinja(source: string): (context: Readonly<Record<string, unknown>>) => string {
  if (source.length > limits.source)
    throw new TemplateLimitError(`it has ${source.length} characters, and ${limits.source} are allowed`);
  if (new RegExp(`\\s{${limits.blank}}`).test(source))
    throw new TemplateLimitError(`it has ${limits.blank} characters of white space in a row`);
  const program = programOf(source);
  return (context) => {
    const environment = new Environment();
    for (const [name, value] of Object.entries({ ...globals, ...context })) environment.set(name, value);
    try {
      return String(new BoundedInterpreter(environment).run(program).value);
    } catch (error) {
      if (error instanceof UserError) throw error;
      // The stack or a text grew beyond what JavaScript has room for.
      if (error instanceof RangeError) throw new TemplateLimitError(messageOf(error).toLowerCase());
      // Of a value's kind, which the library does not look at.
      const why = error instanceof TypeError ? "it uses a value for what that is not" : messageOf(error);
      throw new UserError(`the chat template fails: ${why}`, { cause: error });
    }
  };
}

function programOf(source: string) {
  try {
    return parse(tokenize(asJinjaReadsLines(source), { trim_blocks: true, lstrip_blocks: true }));
  } catch (error) {
    // The library goes into parts by calling itself, as far as the stack goes.
    if (error instanceof RangeError) throw tooDeep();
    throw error;
  }
}

/** CRLF and CR end lines as LF does. The last line end is left out, which the library does. */
function asJinjaReadsLines(source: string): string {
  return source.replace(/\r\n?/g, "\n");
}

/** What transformers and the library set up for its own templates; `range` within the limits. */
const globals: Readonly<Record<string, unknown>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  raise_exception(message: unknown) {
    throw new Error(String(message));
  },
  strftime_now: (format: unknown) => new Template("{{ strftime_now(format) }}").render({ format }),
  range(...given: readonly unknown[]) {
    const numbers = given.map(Number);
    if (numbers.length === 0 || !numbers.every(Number.isInteger)) throw new Error("range() takes whole numbers");
    const [start, stop, step = 1] = numbers.length === 1 ? [0, numbers[0]!] : (numbers as [number, number, number?]);
    if (step === 0) throw new Error("range() step must not be zero");
    const count = Math.max(0, Math.ceil((stop - start) / step));
    if (count > limits.steps) throw tooManySteps();
    return Array.from({ length: count }, (_, i) => start + i * step);
  },
};

function tooManySteps(): TemplateLimitError {
  return new TemplateLimitError(`it takes over ${limits.steps} steps`);
}

function tooDeep(): TemplateLimitError {
  return new TemplateLimitError(`it calls itself over ${limits.depth} parts deep`);
}

function tooLong(): TemplateLimitError {
  return new TemplateLimitError(`it makes a text of over ${limits.characters} characters`);
}

/** How long a value is, written out, and how deep its lists and mappings go. */
interface Size {
  readonly length: number;
  readonly depth: number;
}

/** Counts every part that it evaluates and weighs every value before anything larger can be made of it. */
class BoundedInterpreter extends Interpreter {
  private steps = 0;
  private depth = 0;
  private readonly sizes = new WeakMap<Value, Size>();
  /** The texts whose method `replace` each of these is. */
  private readonly replaced = new WeakMap<Value, string>();

  override evaluate(node: Node | undefined, environment: Environment): Value {
    if (node instanceof Known) return node.known;
    if (++this.depth > limits.depth) throw tooDeep();
    try {
      const value = super.evaluate(node && this.checked(node, environment), environment);
      this.spend(1 + this.sizeOf(value).length / CHARACTERS_A_STEP);
      return value;
    } finally {
      this.depth--;
    }
  }

  private spend(steps: number): void {
    this.steps += steps;
    if (this.steps > limits.steps) throw tooManySteps();
  }

  private sizeOf(value: Value): Size {
    const inner: unknown = value.value;
    if (typeof inner === "string") {
      if (inner.length > limits.characters) throw tooLong();
      return { length: inner.length, depth: 0 };
    }
    if (typeof inner !== "object" || inner === null) return { length: 20, depth: 0 };
    const known = this.sizes.get(value);
    if (known) return known;
    const entries =
      inner instanceof Map ? [...(inner as Map<string, Value>)] : (inner as Value[]).map((it) => ["", it] as const);
    // A loop over them costs more than evaluating a part.
    this.spend(4 * entries.length);
    let [length, depth] = [2, 0];
    for (const [key, it] of entries) {
      // What may still grow cannot be weighed as a part of something else.
      if (it.type === "NamespaceValue")
        throw new Error("a namespace inside a list, a mapping or a namespace is not supported");
      const size = this.sizeOf(it);
      length += key.length + size.length + 6;
      depth = Math.max(depth, 1 + size.depth);
      if (length > limits.characters) throw tooLong();
    }
    const size = { length, depth };
    if (value.type !== "NamespaceValue") this.sizes.set(value, size);
    return size;
  }

  /** The same node; of one that may make a long text of short ones the parts are known, and weighed together. */
  private checked(node: Node, environment: Environment): Node {
    switch (node.type) {
      case "FilterStatement": {
        const { body, filter } = node as Node & { readonly body: Node[]; readonly filter: Node };
        const operand = new Known(this.evaluate(made({ type: "Program", body }), environment));
        return this.checked(made({ type: "FilterExpression", operand, filter }), environment);
      }
      case "FilterExpression": {
        const { filter, operand } = node as Node & { readonly filter: Node & Partial<Called>; readonly operand: Node };
        const name = (filter.callee as (Node & { readonly value?: unknown }) | undefined)?.value;
        if (typeof name !== "string" || !Object.hasOwn(growth, name)) return node;
        const value = this.evaluate(operand, environment);
        const { args, values } = this.argumentsOf(filter.args!, environment);
        const text = typeof value.value === "string" ? value.value : null;
        this.expectRoom(growth[name as keyof typeof growth]({ ...this.sizeOf(value), text, value, ...values }));
        return made({ ...node, operand: new Known(value), filter: made({ ...filter, args }) });
      }
      case "CallExpression":
        return this.checkedCall(node as Node & Called, environment);
      case "CallStatement": {
        const { call } = node as Node & { readonly call: Node & Called };
        return made({ ...node, call: this.checkedCall(call, environment) });
      }
      case "MemberExpression": {
        const { object, property, computed } = node as Node & {
          readonly object: Node;
          readonly property: Node & { readonly value?: unknown };
          readonly computed: boolean;
        };
        if (!computed && property.value !== "replace") return node;
        const value = this.evaluate(object, environment);
        const method = (value as Value & { readonly builtins?: ReadonlyMap<string, Value> }).builtins?.get("replace");
        if (method && typeof value.value === "string") this.replaced.set(method, value.value);
        return made({ ...node, object: new Known(value) });
      }
      default:
        return node;
    }
  }

  private checkedCall<T extends Node & Called>(node: T, environment: Environment): T {
    const callee = this.evaluate(node.callee, environment);
    const text = this.replaced.get(callee);
    if (text === undefined) return made({ ...node, callee: new Known(callee) });
    const { args, values } = this.argumentsOf(node.args, environment);
    this.expectRoom(growth.replace({ length: text.length, depth: 0, text, value: callee, ...values }));
    return made({ ...node, callee: new Known(callee), args });
  }

  private expectRoom(length: number): void {
    if (length > limits.characters) throw tooLong();
    this.spend(length / CHARACTERS_A_STEP);
  }

  /** Arguments evaluated once, and what is said by them. */
  private argumentsOf(nodes: readonly Node[], environment: Environment) {
    const texts: string[] = [];
    const numbers: number[] = [];
    const note = (value: Value): void => {
      if (typeof value.value === "string") texts.push(value.value);
      if (typeof value.value === "number") numbers.push(value.value);
      if (Array.isArray(value.value)) for (const it of value.value as Value[]) note(it);
      if (value.value instanceof Map) for (const it of value.value.values()) note(it as Value);
    };
    const know = (node: Node): Known => {
      const value = this.evaluate(node, environment);
      note(value);
      return new Known(value);
    };
    const args = nodes.map((node): Node => {
      const { type, value, argument } = node as Node & { readonly value: Node; readonly argument: Node };
      if (type === "KeywordArgumentExpression") return made({ ...node, value: know(value) });
      if (type === "SpreadExpression" || type === "KeywordSpreadExpression")
        return made({ ...node, argument: know(argument) });
      return know(node);
    });
    return { args, values: { texts, number: Math.max(0, ...numbers) } };
  }
}

interface Called {
  readonly callee: Node;
  readonly args: readonly Node[];
}

/** A part whose value is known already. */
class Known {
  readonly type = "Known";
  readonly known: Value;

  constructor(known: Value) {
    this.known = known;
  }
}

/** The library's own checks of nodes go by their type alone. */
function made<T>(node: T): T & Node {
  return node as T & Node;
}

interface Growing extends Size {
  readonly value: Value;
  /** Null where the value is none. */
  readonly text: string | null;
  readonly texts: readonly string[];
  /** The largest number among the arguments. */
  readonly number: number;
}

/** The filters that may make a long text of short ones, and how long it may become. */
const growth = {
  replace: ({ length, texts: [old = "", fresh = ""] }: Growing) =>
    length + Math.ceil((length + 1) / Math.max(1, old.length)) * fresh.length,
  join: ({ length, text, value, texts: [separator = ""] }: Growing) =>
    length + (text ?? (value.value as ArrayLike<unknown>)).length * separator.length,
  indent: ({ length, text, number }: Growing) => length + (text?.split("\n").length ?? 0) * number,
  tojson: ({ length, depth, texts, number }: Growing) =>
    length * (1 + texts.reduce((sum, { length }) => sum + length, 0) + (depth + 1) * number),
} satisfies Readonly<Record<string, (growing: Growing) => number>>;
