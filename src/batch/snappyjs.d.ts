declare module "snappyjs" {
  const snappy: {
    /** Throws when the length the bytes declare is above `maxLength`. */
    uncompress(compressed: Uint8Array, maxLength?: number): Uint8Array;
    compress(uncompressed: Uint8Array): Uint8Array;
  };
  export default snappy;
}
