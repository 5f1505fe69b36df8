/** WGSL and other text files are imported as strings and travel inside the executable. */
declare module "*.wgsl" {
  const source: string;
  export default source;
}
declare module "*.txt" {
  const text: string;
  export default text;
}
