/** Files of a sink: held rows go in, and what a file has of the log is in its footer. */
import type { HeldRows } from "./held-rows.ts";
import { ParquetFileWriter, readFooterNote } from "./parquet/file.ts";
import type { FileNote } from "./parquet-folder.ts";
import { SinkFailure, type TopicPartition } from "./target.ts";

export class ParquetWriter {
  readonly #writer = new ParquetFileWriter();

  /** The note stands in the file's footer. */
  async write(
    file: string,
    { topic, partition }: TopicPartition,
    rows: HeldRows,
    { topicId, group, start, end }: FileNote,
  ): Promise<void> {
    const place = { topic, partition: `${partition}` };
    const pairs = { ...place, topicId, group, start: `${start}`, end: `${end}` };
    await this.#writer.write(file, { topic, partition }, rows, pairs);
  }
}

/** What `write` put into a file's footer. */
export async function noteOf(file: string): Promise<FileNote> {
  const note = await readFooterNote(file);
  const [topicId, group] = [note?.get("topicId"), note?.get("group")];
  const [start, end] = [Number(note?.get("start")), Number(note?.get("end"))];
  if (topicId !== undefined && group !== undefined && end > start) {
    return { topicId, group, start, end };
  }
  throw new SinkFailure(`${file} is not what a sink has written: move it out of the way`);
}
