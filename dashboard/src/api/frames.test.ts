import { expect, test } from "vitest";
import { FrameReader } from "./frames.ts";

const STREAM = 'retry: 2000\n\nid: 384\n\n: heartbeat\n\nid: 385\nevent: prosa.A\ndata: {"a":\ndata: 1}\n\nid:\nevent: problem\ndata: {}\n\n';

test("events are whole however the stream is cut", () => {
  const whole = new FrameReader().read(STREAM);
  expect(whole.map((frame) => [frame.id, frame.event, frame.data])).toEqual([
    [undefined, "", ""],
    ["384", "", ""],
    [undefined, "", ""],
    ["385", "prosa.A", '{"a":\n1}'],
    ["", "problem", "{}"],
  ]);
  for (let size = 1; size < STREAM.length; size += 1) {
    const reader = new FrameReader();
    const cut = [];
    for (let at = 0; at < STREAM.length; at += size) cut.push(...reader.read(STREAM.slice(at, at + size)));
    expect(cut, `in pieces of ${size}`).toEqual(whole);
  }
});

test("what has not ended yet is kept back", () => {
  const reader = new FrameReader();
  expect(reader.read("id: 1\nevent: a\ndata: x\n")).toEqual([]);
  expect(reader.read("\n")).toHaveLength(1);
});
