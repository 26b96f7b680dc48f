/** One server-sent event. */
export interface Frame {
  /** Undefined where the event names none; "" makes the reader forget its position. */
  id: string | undefined;
  event: string;
  data: string;
}

/** Cuts a stream of text into events, however it is split; answers those that are whole. */
export class FrameReader {
  private rest = "";

  read(chunk: string): Frame[] {
    const blocks = (this.rest + chunk).split("\n\n");
    this.rest = blocks.pop() ?? "";
    return blocks.map(parse);
  }
}

function parse(block: string): Frame {
  let id: string | undefined;
  let event = "";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (name === "id") id = value;
    else if (name === "event") event = value;
    else if (name === "data") data.push(value);
  }
  return { id, event, data: data.join("\n") };
}
