// Bytes of Kafka's protocol: frames that grow, answers that are read with their bounds checked,
// and record batches (v2).
#pragma once
#include "measure.h"

// --- requests ---

typedef struct { uint8_t *bytes; size_t used, room; } Frame;

static uint8_t *grow(Frame *f, size_t count) {
  if (f->used + count > f->room) {
    f->room = (f->used + count) * 2;
    f->bytes = realloc(f->bytes, f->room);
    if (!f->bytes) die("memory");
  }
  f->used += count;
  return f->bytes + f->used - count;
}

static void bigEndian(uint8_t *to, uint64_t value, int bytes) {
  while (bytes--) to[bytes] = value, value >>= 8;
}

static void put(Frame *f, uint64_t value, int bytes) { bigEndian(grow(f, bytes), value, bytes); }

static void putBytes(Frame *f, const void *bytes, size_t count) {
  memcpy(grow(f, count), bytes, count);
}

static void putVarint(Frame *f, uint64_t value) {
  for (; value > 127; value >>= 7) *grow(f, 1) = value | 128;
  *grow(f, 1) = value;
}

static void putZigzag(Frame *f, int64_t value) { putVarint(f, value << 1 ^ value >> 63); }

static void putString(Frame *f, const char *text) {
  put(f, strlen(text), 2);
  putBytes(f, text, strlen(text));
}

static void putCompact(Frame *f, const char *text) {
  putVarint(f, strlen(text) + 1);
  putBytes(f, text, strlen(text));
}

// Header v1, or v2 (with tagged fields) where the version is flexible.
static void beginRequest(Frame *f, int key, int version, int flexible, int32_t correlation) {
  f->used = 0;
  put(f, 0, 4), put(f, key, 2), put(f, version, 2), put(f, correlation, 4);
  putString(f, "load");
  if (flexible) putVarint(f, 0);
}

static void endRequest(Frame *f) { bigEndian(f->bytes, f->used - 4, 4); }

// --- answers ---

typedef struct { const uint8_t *at, *end; } Answer;

static const uint8_t *take(Answer *a, uint64_t count) {
  if (count > (uint64_t)(a->end - a->at)) errno = 0, die("an answer that ends too early");
  a->at += count;
  return a->at - count;
}

static uint64_t unsignedAt(const uint8_t *at, int bytes) {
  uint64_t value = 0;
  while (bytes--) value = value << 8 | *at++;
  return value;
}

static int64_t get(Answer *a, int bytes) {
  uint64_t value = unsignedAt(take(a, bytes), bytes);
  return (int64_t)(value << (64 - 8 * bytes)) >> (64 - 8 * bytes);
}

static uint64_t getVarint(Answer *a) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    if (shift > 63) errno = 0, die("a varint without end");
    uint8_t byte = *take(a, 1);
    value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return value;
  }
}

static int64_t getZigzag(Answer *a) {
  uint64_t value = getVarint(a);
  return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

// The length of a compact string, array or bytes: 0 where null.
static uint64_t getCompact(Answer *a) {
  uint64_t value = getVarint(a);
  return value ? value - 1 : 0;
}

static void skipCompact(Answer *a) { take(a, getCompact(a)); }

static void skipString(Answer *a) {
  int64_t length = get(a, 2);
  take(a, length < 0 ? 0 : length);
}

static void skipTags(Answer *a) {
  for (uint64_t n = getVarint(a); n; n--) {
    getVarint(a);
    take(a, getVarint(a));
  }
}

// --- CRC-32C ---

static uint32_t crcTable[8][256];

static void makeCrcTable(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    crcTable[0][i] = crc;
  }
  for (int i = 0; i < 256; i++)
    for (int k = 1; k < 8; k++)
      crcTable[k][i] = crcTable[k - 1][i] >> 8 ^ crcTable[0][crcTable[k - 1][i] & 255];
}

static uint32_t crc32c(const uint8_t *p, size_t count) {
  uint32_t crc = ~0u;
  for (; count >= 8; p += 8, count -= 8) {
    uint32_t low, high;
    memcpy(&low, p, 4), memcpy(&high, p + 4, 4);
    low ^= crc;
    crc = crcTable[7][low & 255] ^ crcTable[6][low >> 8 & 255] ^ crcTable[5][low >> 16 & 255]
        ^ crcTable[4][low >> 24] ^ crcTable[3][high & 255] ^ crcTable[2][high >> 8 & 255]
        ^ crcTable[1][high >> 16 & 255] ^ crcTable[0][high >> 24];
  }
  for (; count; p++, count--) crc = crc >> 8 ^ crcTable[0][(crc ^ *p) & 255];
  return ~crc;
}

// --- record batches ---

enum { BATCH_HEADER = 61, LENGTH_AT = 8, CRC_AT = 17, CRC_FROM = 21, LAST_OFFSET_AT = 23,
       PRODUCER_AT = 43, COUNT_AT = 57 };

static void beginBatch(Frame *f) {
  uint64_t ms = wallMs();
  put(f, 0, 8), put(f, 0, 4);            // base offset, length
  put(f, -1, 4), put(f, 2, 1), put(f, 0, 4); // leader epoch, magic, CRC
  put(f, 0, 2), put(f, 0, 4);            // attributes, last offset delta
  put(f, ms, 8), put(f, ms, 8);          // base timestamp, max timestamp
  put(f, -1, 8), put(f, -1, 2), put(f, -1, 4), put(f, 0, 4); // no producer; count
}

static int zigzagBytes(int64_t value) {
  int n = 1;
  for (uint64_t v = value << 1 ^ value >> 63; v > 127; v >>= 7) n++;
  return n;
}

static void putRecord(Frame *f, int index, const char *key, int keyBytes, const char *value,
                      int valueBytes) {
  int body = 2 + zigzagBytes(index) + zigzagBytes(keyBytes) + keyBytes + zigzagBytes(valueBytes)
      + valueBytes + 1;
  putZigzag(f, body);
  put(f, 0, 1), put(f, 0, 1); // attributes, timestamp delta
  putZigzag(f, index);
  putZigzag(f, keyBytes), putBytes(f, key, keyBytes);
  putZigzag(f, valueBytes), putBytes(f, value, valueBytes);
  put(f, 0, 1); // headers
}

static void endBatch(Frame *f, size_t start, int records) {
  uint8_t *batch = f->bytes + start;
  size_t bytes = f->used - start;
  bigEndian(batch + LENGTH_AT, bytes - 12, 4);
  bigEndian(batch + LAST_OFFSET_AT, records - 1, 4);
  bigEndian(batch + COUNT_AT, records, 4);
  bigEndian(batch + CRC_AT, crc32c(batch + CRC_FROM, bytes - CRC_FROM), 4);
}
