/** A path within a config and its schema, step by step: a table's `kind` chooses among the kinds that there are. */
import { z } from "zod";

/** The keys that a table at a path of `raw` may have, for suggestions. */
export function keysAt(schema: z.ZodType, raw: unknown, path: readonly PropertyKey[]): string[] {
  let [form, node]: [z.ZodType | undefined, unknown] = [schema, raw];
  for (const key of path) {
    form = form && memberOf(form, String(key), node);
    node = (node as Record<PropertyKey, unknown> | null | undefined)?.[key];
  }
  return form ? keysOf(form, node) : [];
}

/** The schema of a key. What is known of `node` so far chooses among kinds. */
export function memberOf(schema: z.ZodType, key: string, node: unknown): z.ZodType | undefined {
  for (const form of formsOf(schema, node)) {
    if (form instanceof z.ZodArray) return form.element as z.ZodType;
    const shape = form instanceof z.ZodObject ? (form.shape as Record<string, z.ZodType>) : {};
    if (Object.hasOwn(shape, key)) return shape[key];
  }
  return undefined;
}

/** The keys of a table. */
export function keysOf(schema: z.ZodType, node: unknown): string[] {
  const shapes = formsOf(schema, node).map((form) => (form instanceof z.ZodObject ? Object.keys(form.shape) : []));
  return [...new Set(shapes.flat())];
}

/** What a value may be: of a union whose kind is known, that kind. */
export function formsOf(schema: z.ZodType, node: unknown): z.ZodType[] {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional)
    return formsOf(schema.unwrap() as z.ZodType, node);
  if (!(schema instanceof z.ZodUnion)) return [schema];
  const forms = (schema.options as z.ZodType[]).flatMap((option) => formsOf(option, node));
  const ofKind = forms.filter(
    (form) =>
      form instanceof z.ZodObject &&
      (form.shape as Record<string, z.ZodType>).kind?.safeParse((node as { kind?: unknown } | null)?.kind).success,
  );
  return ofKind.length ? ofKind : forms;
}
