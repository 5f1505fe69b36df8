/** WGSL and other text files are imported as strings, WebAssembly, machine code and data as the path of their file. All travel inside the executable. */
declare module "*.wgsl" {
  const source: string;
  export default source;
}
declare module "*.wasm" {
  const path: string;
  export default path;
}
declare module "*.jsonl" {
  const path: string;
  export default path;
}
declare module "*.txt" {
  const text: string;
  export default text;
}
declare module "*.bin" {
  const path: string;
  export default path;
}
declare module "*/tales-rule.js" {
  const path: string;
  export default path;
}
declare module "*.css" {
  const text: string;
  export default text;
}
/** As Bun has it: a program that imports this may have the DOM's types besides. */
interface Worker {
  unref(): void;
}
