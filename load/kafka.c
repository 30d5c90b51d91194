// kafka: producers and consumers on one thread, for measuring a Kafka server from outside. Speaks
// raw frames, so that the server is the limit: batches are built once, fetched ones are walked by
// their headers, records are read only where a latency is measured.
//
//   kafka --port P --topic T --partitions N --seconds S [--producers C] [--consumers C] [options]
//
//   --producers C   connections that produce with acks=all; each has its share of the partitions
//   --window W      produce requests a connection may have unanswered (5)
//   --records N     records in a batch (as many as 16 KB hold); keyed pings of 118 bytes
//   --per-request B batches in a request, each of another partition (1)
//   --rate R        open loop: R records/s in all; what is due every millisecond is sent at once,
//                   latencies count from the *intended* send
//   --fill N        produce N records without counting and stop
//   --idempotent    with producer id and sequence numbers, as Java's producer does by default
//   --consumers C   consumers that share the partitions, one fetch unanswered each
//   --groups G      G consumer groups of C members each, with heartbeats and commits (0: no group)
//   --from start|end   where consumers begin (end)
//   --again         a consumer that reached a partition's end goes on at its start
//   --frozen F      connections that ask for everything and never read an answer
//   --warm S        seconds before counting (1)     --server-pid A[,B]   CPU time and memory
#define _GNU_SOURCE
#include "kafka-wire.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/epoll.h>

enum { START_SECONDS = 60, DRAIN_SECONDS = 5, WINDOW_MAX = 1000, PARTITIONS_MAX = 1000 };
enum { VALUE_BYTES = 118, KEY_BYTES = 7, STAMP_DIGITS = 19, BATCH_BYTES = 16384 };
enum { FETCH_BYTES = 50 << 20, PARTITION_BYTES = 1 << 20, FETCH_WAIT_MS = 500 };
enum { HEARTBEAT_MS = 3000, COMMIT_MS = 5000, RETRY_MS = 100, SESSION_MS = 45000 };
enum { PRODUCE = 0, FETCH = 1, LIST_OFFSETS = 2, OFFSET_COMMIT = 8, FIND_COORDINATOR = 10,
       JOIN_GROUP = 11, HEARTBEAT = 12, LEAVE_GROUP = 13, SYNC_GROUP = 14, INIT_PRODUCER_ID = 22 };
enum { COORDINATOR_LOADING = 14, NOT_COORDINATOR = 16, ILLEGAL_GENERATION = 22,
       UNKNOWN_MEMBER_ID = 25, REBALANCE_IN_PROGRESS = 27, MEMBER_ID_REQUIRED = 79 };

static const char *host = "127.0.0.1", *topic = "", *serverPids = "";
static int port, partitionCount = 1, producerCount, consumerCount, groupCount, frozenCount;
static int window = 5, recordsEach, perRequest = 1, idempotent, fromStart, again;
static double rate, seconds = 5, warmSeconds = 1;
static uint64_t fillRecords;

typedef struct Connection {
  int fd;
  void (*answer)(struct Connection *, Answer);
  Frame out; // the request being sent, `outDone` bytes of it are
  size_t outDone;
  uint8_t *in; // the answer being read
  size_t inBytes, inRoom;
  int32_t asked, answered; // correlation ids
} Connection;

typedef struct { uint64_t at; int records; } Request;

typedef struct {
  Connection c;
  int index, partitions, turn; // of its partitions, which comes next
  Request unanswered[WINDOW_MAX];
  uint64_t taken; // open loop: records sent or being sent
  int64_t producerId;
  int16_t epoch;
} Producer;

typedef struct {
  Connection c, member;
  int group, index, *owned, ownedCount, fetching;
  char id[128];
  int32_t generation;
  enum { ALONE, JOINING, SYNCING, STABLE } state;
  uint64_t heartbeatAt, commitAt; // when due; 0 while an answer is awaited
} Consumer;

typedef struct { int64_t offset, highWatermark; } Position;

static Producer *producers;
static Consumer *consumers;
static Position *positions;             // by group and partition
static int64_t *logStart, *sequences;   // by partition
static int epollFd, joined;
static uint64_t start, countFrom, end;  // ns; sending starts, counting starts, sending ends
static uint64_t sent, acked, consumed, consumedBytes, errors, gaps, rejoins, fetches;
static Histogram ackLatency, readLatency;
static char value[VALUE_BYTES + 1];
static Frame prebuilt; // closed loop: one batch for all

// --- connections ---

static void want(Connection *c, int writable) {
  struct epoll_event e = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(epollFd, EPOLL_CTL_MOD, c->fd, &e);
}

static int sending(const Connection *c) { return c->outDone < c->out.used; }

static void push(Connection *c) {
  ssize_t n = send(c->fd, c->out.bytes + c->outDone, c->out.used - c->outDone, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN) die("the server closed a connection");
  int waited = c->outDone > 0;
  if (n > 0) c->outDone += n;
  if (sending(c) || waited) want(c, sending(c));
}

static void ask(Connection *c) {
  endRequest(&c->out);
  c->outDone = 0;
  push(c);
  if (sending(c)) want(c, 1);
}

static Frame *request(Connection *c, int key, int version, int flexible) {
  beginRequest(&c->out, key, version, flexible, c->asked++);
  return &c->out;
}

static void readable(Connection *c) {
  for (;;) {
    if (c->inRoom - c->inBytes < 4096) c->in = realloc(c->in, c->inRoom = c->inRoom * 2 + 65536);
    ssize_t n = recv(c->fd, c->in + c->inBytes, c->inRoom - c->inBytes, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("the server closed a connection");
    c->inBytes += n;
    size_t at = 0, whole = 0;
    while (c->inBytes - at >= 4) {
      whole = 4 + unsignedAt(c->in + at, 4);
      if (whole > c->inBytes - at) break;
      Answer a = {c->in + at + 4, c->in + at + whole};
      if (get(&a, 4) != c->answered++) errno = 0, die("an answer out of order");
      at += whole, whole = 0;
      c->answer(c, a);
    }
    memmove(c->in, c->in + at, c->inBytes -= at);
    // The rest of a large answer is read in place.
    if (whole > c->inRoom) c->in = realloc(c->in, c->inRoom = whole + 4096);
    if (!c->in) die("memory");
    if (c->inBytes == 0) return;
  }
}

static void dial(Connection *c, void (*answer)(Connection *, Answer)) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  int one = 1;
  if (inet_pton(AF_INET, host, &to.sin_addr) != 1) die("--host wants an IPv4 address");
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (c->fd < 0) die("socket (see ulimit -n)");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(c->fd, (void *)&to, sizeof to) < 0) die("connect");
  struct timeval most = {START_SECONDS, 0};
  setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
  c->answer = answer;
}

// Before the run: one request, and its answer at once.
static Answer askNow(Connection *c) {
  endRequest(&c->out);
  size_t done = 0, room = 1 << 20, got = 0, whole = 4;
  for (ssize_t n; done < c->out.used; done += n)
    if ((n = send(c->fd, c->out.bytes + done, c->out.used - done, MSG_NOSIGNAL)) <= 0) die("send");
  c->outDone = c->out.used;
  if (!c->in) c->in = malloc(c->inRoom = room);
  for (ssize_t n; got < whole; got += n) {
    n = recv(c->fd, c->in + got, whole - got, 0);
    if (n <= 0) die("no answer from the server");
    if (got + n == 4) whole = 4 + unsignedAt(c->in, 4);
    if (whole > c->inRoom) errno = 0, die("an answer too large");
  }
  Answer a = {c->in + 4, c->in + whole};
  if (get(&a, 4) != c->answered++) errno = 0, die("an answer out of order");
  return a;
}

// From here on nothing waits for this connection alone.
static void watch(Connection *c) {
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
  epoll_ctl(epollFd, EPOLL_CTL_ADD, c->fd, &e);
}

static void failed(const char *what, int code) {
  if (errors++ == 0) fprintf(stderr, "kafka: %s: error %d\n", what, code);
}

// --- records ---

static void makeValue(uint64_t stamp) {
  int n = snprintf(value, sizeof value,
      "{\"id\":\"d000001\",\"ts\":%013llu,\"lat\":12.97160,\"lon\":77.59460,\"speed\":11.5,"
      "\"heading\":90,\"seq\":1%019llu}", (unsigned long long)wallMs(),
      (unsigned long long)stamp);
  if (n != VALUE_BYTES) errno = 0, die("the value's size");
}

static void putPing(Frame *f, int index, uint64_t stamp) {
  char key[KEY_BYTES + 1] = "d000000";
  digits(key + 1, index % 1000, 6);
  digits(value + VALUE_BYTES - 1 - STAMP_DIGITS, stamp, STAMP_DIGITS);
  putRecord(f, index, key, KEY_BYTES, value, VALUE_BYTES);
}

static void prebuild(void) {
  makeValue(0);
  for (int fits = 1;; fits++) {
    prebuilt.used = 0;
    beginBatch(&prebuilt);
    for (int i = 0; i < fits; i++) putPing(&prebuilt, i, 0);
    endBatch(&prebuilt, 0, fits);
    int full = prebuilt.used + 2 * KEY_BYTES + VALUE_BYTES > BATCH_BYTES;
    if (recordsEach ? fits == recordsEach : full) {
      recordsEach = fits;
      return;
    }
  }
}

// --- producing ---

static void putBatchHead(Frame *f, int partition, size_t bytes) {
  put(f, partition, 4);
  putVarint(f, bytes + 1);
}

static void beginProduce(Producer *p, int partitions) {
  Frame *f = request(&p->c, PRODUCE, 9, 1);
  put(f, 0, 1), put(f, -1, 2), put(f, 30000, 4); // no transaction, acks, timeout
  putVarint(f, 2), putCompact(f, topic), putVarint(f, partitions + 1);
}

static void endProduce(Producer *p, int records) {
  putVarint(&p->c.out, 0), putVarint(&p->c.out, 0);
  p->unanswered[(p->c.asked - 1) % window] = (Request){now(), records};
  sent += records;
  ask(&p->c);
}

static void stampSequence(Producer *p, uint8_t *batch, size_t bytes, int partition, int records) {
  if (!idempotent) return;
  bigEndian(batch + PRODUCER_AT, p->producerId, 8);
  bigEndian(batch + PRODUCER_AT + 8, p->epoch, 2);
  bigEndian(batch + PRODUCER_AT + 10, sequences[partition] & 0x7fffffff, 4);
  sequences[partition] += records;
  bigEndian(batch + CRC_AT, crc32c(batch + CRC_FROM, bytes - CRC_FROM), 4);
}

static int partitionOf(const Producer *p, int turn) {
  return p->index + turn % p->partitions * producerCount;
}

static void produceFull(Producer *p) {
  beginProduce(p, perRequest);
  for (int i = 0; i < perRequest; i++) {
    int partition = partitionOf(p, p->turn++);
    putBatchHead(&p->c.out, partition, prebuilt.used);
    size_t at = p->c.out.used;
    putBytes(&p->c.out, prebuilt.bytes, prebuilt.used);
    stampSequence(p, p->c.out.bytes + at, prebuilt.used, partition, recordsEach);
    putVarint(&p->c.out, 0);
  }
  endProduce(p, perRequest * recordsEach);
}

// Open loop: record j of a producer is due at this time, and belongs to its partition j % n.
static uint64_t dueAt(const Producer *p, uint64_t j) {
  return start + (uint64_t)((j * producerCount + p->index) / rate * 1e9);
}

static void produceDue(Producer *p, uint64_t due) {
  static Frame batch;
  int records = due - p->taken < 1000 ? due - p->taken : 1000;
  int batches = records < p->partitions ? records : p->partitions;
  makeValue(0);
  beginProduce(p, batches);
  for (int b = 0; b < batches; b++) {
    int count = 0, partition = partitionOf(p, (p->taken + b) % p->partitions);
    batch.used = 0;
    beginBatch(&batch);
    for (int i = b; i < records; i += p->partitions)
      putPing(&batch, count++, dueAt(p, p->taken + i));
    endBatch(&batch, 0, count);
    stampSequence(p, batch.bytes, batch.used, partition, count);
    putBatchHead(&p->c.out, partition, batch.used);
    putBytes(&p->c.out, batch.bytes, batch.used);
    putVarint(&p->c.out, 0);
  }
  p->taken += records;
  endProduce(p, records);
}

static void produce(Producer *p) {
  while (!sending(&p->c) && p->c.asked - p->c.answered < window) {
    uint64_t t = now();
    if (rate > 0) {
      uint64_t until = t < end ? t : end;
      double due = (until - start) / 1e9 * rate;
      if (due < p->index) return;
      uint64_t mine = (uint64_t)((due - p->index) / producerCount) + 1;
      if (mine <= p->taken) return;
      produceDue(p, mine);
    } else {
      if (t >= end || (fillRecords && sent >= fillRecords)) return;
      produceFull(p);
    }
  }
}

static void produced(Connection *c, Answer a) {
  Producer *p = (Producer *)c;
  Request r = p->unanswered[(c->answered - 1) % window];
  uint64_t t = now();
  int refused = 0;
  skipTags(&a);
  for (uint64_t topics = getCompact(&a); topics; topics--) {
    skipCompact(&a);
    for (uint64_t n = getCompact(&a); n; n--) {
      take(&a, 4);
      int code = get(&a, 2);
      if (code) failed("Produce", code), refused++;
      take(&a, 24);
      for (uint64_t bad = getCompact(&a); bad; bad--) take(&a, 4), skipCompact(&a), skipTags(&a);
      skipCompact(&a);
      skipTags(&a);
    }
    skipTags(&a);
  }
  if (!refused) acked += r.records;
  if (rate == 0 && r.at >= countFrom) record(&ackLatency, (t - r.at) / 1000);
  static uint64_t settled[PARTITIONS_MAX]; // open loop: by producer
  for (int i = 0; rate > 0 && i < r.records; i++) {
    uint64_t intended = dueAt(p, settled[p->index]++);
    if (intended >= countFrom) record(&ackLatency, (t - intended) / 1000);
  }
  produce(p);
}

// --- consuming ---

static Position *positionOf(const Consumer *u, int partition) {
  return &positions[u->group * partitionCount + partition];
}

static void fetch(Consumer *u) {
  if (u->fetching || u->ownedCount == 0) return;
  Frame *f = request(&u->c, FETCH, 12, 1);
  int first = fetches++ % u->ownedCount; // none starves behind the bound of an answer
  put(f, -1, 4), put(f, FETCH_WAIT_MS, 4), put(f, 1, 4), put(f, FETCH_BYTES, 4), put(f, 0, 1);
  put(f, 0, 4), put(f, -1, 4); // no session
  putVarint(f, 2), putCompact(f, topic), putVarint(f, u->ownedCount + 1);
  for (int i = 0; i < u->ownedCount; i++) {
    int partition = u->owned[(first + i) % u->ownedCount];
    put(f, partition, 4), put(f, -1, 4), put(f, positionOf(u, partition)->offset, 8);
    put(f, -1, 4), put(f, -1, 8), put(f, PARTITION_BYTES, 4), putVarint(f, 0);
  }
  putVarint(f, 0), putVarint(f, 1), putVarint(f, 1), putVarint(f, 0);
  u->fetching = 1;
  ask(&u->c);
}

static void readStamps(Answer records, int count) {
  uint64_t t = now();
  for (; count; count--) {
    uint64_t body = getZigzag(&records);
    Answer r = {take(&records, body), records.at};
    take(&r, 1);
    getZigzag(&r), getZigzag(&r);
    take(&r, getZigzag(&r));
    if (getZigzag(&r) != VALUE_BYTES) continue;
    const uint8_t *digit = take(&r, VALUE_BYTES) + VALUE_BYTES - 1 - STAMP_DIGITS;
    uint64_t stamp = 0;
    for (int i = 0; i < STAMP_DIGITS; i++) stamp = stamp * 10 + *digit++ - '0';
    if (stamp >= countFrom && stamp <= t) record(&readLatency, (t - stamp) / 1000);
  }
}

// The last batch may be cut off.
static void walk(Position *at, const uint8_t *p, const uint8_t *stop) {
  while (stop - p >= BATCH_HEADER) {
    uint64_t base = unsignedAt(p, 8), bytes = 12 + unsignedAt(p + LENGTH_AT, 4);
    if (bytes > (uint64_t)(stop - p)) break;
    int64_t next = base + unsignedAt(p + LAST_OFFSET_AT, 4) + 1;
    if ((int64_t)base > at->offset || next <= at->offset) gaps++;
    consumed += next - at->offset; // the first batch may begin before the offset asked for
    at->offset = next;
    if (rate > 0) readStamps((Answer){p + BATCH_HEADER, p + bytes}, unsignedAt(p + COUNT_AT, 4));
    p += bytes;
  }
}

static void fetched(Connection *c, Answer a) {
  Consumer *u = (Consumer *)c;
  u->fetching = 0;
  skipTags(&a);
  take(&a, 4);
  int code = get(&a, 2);
  if (code) failed("Fetch", code);
  take(&a, 4);
  for (uint64_t topics = getCompact(&a); topics; topics--) {
    skipCompact(&a);
    for (uint64_t n = getCompact(&a); n; n--) {
      int partition = get(&a, 4), error = get(&a, 2);
      int64_t highWatermark = get(&a, 8);
      take(&a, 16);
      for (uint64_t aborted = getCompact(&a); aborted; aborted--) take(&a, 16), skipTags(&a);
      take(&a, 4);
      uint64_t bytes = getCompact(&a);
      const uint8_t *records = take(&a, bytes);
      skipTags(&a);
      if (error) failed("Fetch", error), u->ownedCount = 0; // not again and again
      if (error || partition < 0 || partition >= partitionCount) continue;
      Position *at = positionOf(u, partition);
      consumedBytes += bytes;
      walk(at, records, records + bytes);
      at->highWatermark = highWatermark;
      if (again && at->offset >= highWatermark) at->offset = logStart[partition];
    }
    skipTags(&a);
  }
  if (now() < end || rate > 0) fetch(u);
}

// --- groups: what a client's coordinator connection says ---

static Frame *askCoordinator(Consumer *u, int key, int version) {
  Frame *f = request(&u->member, key, version, 0);
  char name[64];
  snprintf(name, sizeof name, "load-%d-%d", getpid(), u->group);
  putString(f, name);
  return f;
}

static void join(Consumer *u) {
  Frame *f = askCoordinator(u, JOIN_GROUP, 5);
  put(f, SESSION_MS, 4), put(f, START_SECONDS * 1000, 4), putString(f, u->id), put(f, -1, 2);
  putString(f, "consumer"), put(f, 1, 4), putString(f, "range");
  put(f, 2 + 4 + 2 + strlen(topic) + 4, 4); // subscription: version, topics, no user data
  put(f, 0, 2), put(f, 1, 4), putString(f, topic), put(f, -1, 4);
  joined -= u->state == STABLE;
  u->state = JOINING, u->heartbeatAt = 0, u->ownedCount = 0;
  ask(&u->member);
}

// `members` is what JoinGroup gave the leader; partition i goes to member i % n.
static void giveOut(Consumer *u, Answer members) {
  Frame *f = askCoordinator(u, SYNC_GROUP, 3);
  int count = get(&members, 4);
  put(f, u->generation, 4), putString(f, u->id), put(f, -1, 2), put(f, count, 4);
  for (int i = 0; i < count; i++) {
    int length = get(&members, 2), owned = (partitionCount - i + count - 1) / count;
    put(f, length, 2), putBytes(f, take(&members, length), length);
    skipString(&members), take(&members, get(&members, 4));
    put(f, 2 + 4 + 2 + strlen(topic) + 4 + 4 * owned + 4, 4);
    put(f, 0, 2), put(f, 1, 4), putString(f, topic), put(f, owned, 4);
    for (int partition = i; partition < partitionCount; partition += count) put(f, partition, 4);
    put(f, -1, 4);
  }
  u->state = SYNCING;
  ask(&u->member);
}

static void assigned(Consumer *u, Answer a) {
  uint64_t t = now();
  if (get(&a, 4) > 0) { // a member without partitions has an empty assignment
    take(&a, 2);
    for (int topics = get(&a, 4); topics > 0; topics--) {
      skipString(&a);
      for (int n = get(&a, 4); n > 0; n--) u->owned[u->ownedCount++] = get(&a, 4);
    }
  }
  joined++;
  u->state = STABLE;
  u->heartbeatAt = t + HEARTBEAT_MS * 1000000ull, u->commitAt = t + COMMIT_MS * 1000000ull;
  fetch(u);
}

static void joinAgain(Consumer *u, int code) {
  if (code != MEMBER_ID_REQUIRED) rejoins++;
  if (code == UNKNOWN_MEMBER_ID) u->id[0] = 0;
  join(u);
}

static int mayJoinAgain(int code) {
  return (code >= COORDINATOR_LOADING && code <= NOT_COORDINATOR) || code == ILLEGAL_GENERATION
      || code == UNKNOWN_MEMBER_ID || code == REBALANCE_IN_PROGRESS || code == MEMBER_ID_REQUIRED;
}

static void heardFromCoordinator(Connection *c, Answer a) {
  Consumer *u = (Consumer *)((char *)c - offsetof(Consumer, member));
  take(&a, 4);
  if (u->state == STABLE && u->heartbeatAt) { // a commit: its errors show in the next heartbeat
    u->commitAt = now() + COMMIT_MS * 1000000ull;
    return;
  }
  int code = get(&a, 2);
  if (u->state == JOINING) {
    u->generation = get(&a, 4);
    skipString(&a), skipString(&a);
    int length = get(&a, 2);
    if (length >= (int)sizeof u->id) errno = 0, die("a member id too long");
    if (!code || code == MEMBER_ID_REQUIRED) snprintf(u->id, length + 1, "%s", take(&a, length));
  }
  if (mayJoinAgain(code)) return joinAgain(u, code);
  if (code) fprintf(stderr, "kafka: group error %d in state %d\n", code, u->state), exit(1);
  if (u->state == JOINING) return giveOut(u, a);
  if (u->state == SYNCING) return assigned(u, a);
  u->heartbeatAt = now() + HEARTBEAT_MS * 1000000ull;
}

static void commit(Consumer *u) {
  Frame *f = askCoordinator(u, OFFSET_COMMIT, 7);
  put(f, u->generation, 4), putString(f, u->id), put(f, -1, 2);
  put(f, 1, 4), putString(f, topic), put(f, u->ownedCount, 4);
  for (int i = 0; i < u->ownedCount; i++) {
    put(f, u->owned[i], 4), put(f, positionOf(u, u->owned[i])->offset, 8), put(f, -1, 4);
    put(f, -1, 2);
  }
  u->commitAt = 0;
  ask(&u->member);
}

// One request at a time: what is due next waits for the answer to the one before.
static void keepMembership(Consumer *u, uint64_t t) {
  if (u->state != STABLE || u->member.asked != u->member.answered) return;
  if (t >= u->heartbeatAt) {
    Frame *f = askCoordinator(u, HEARTBEAT, 3);
    put(f, u->generation, 4), putString(f, u->id), put(f, -1, 2);
    u->heartbeatAt = 0;
    ask(&u->member);
  } else if (t >= u->commitAt && u->ownedCount) {
    commit(u);
  }
}

static void leave(Consumer *u) {
  put(askCoordinator(u, LEAVE_GROUP, 3), 1, 4);
  putString(&u->member.out, u->id), put(&u->member.out, -1, 2);
  ask(&u->member);
}

// --- before the run ---

// A topic made a moment ago may have no leader yet, a server just begun no coordinator.
static void tryAgain(int tries, const char *what, int code) {
  if (tries == 100) fprintf(stderr, "kafka: %s: error %d\n", what, code), exit(1);
  usleep(RETRY_MS * 1000);
}

// The first error, or 0.
static int readOffsets(Connection *c, int64_t time, int64_t *offsets) {
  Frame *f = request(c, LIST_OFFSETS, 5, 0);
  put(f, -1, 4), put(f, 0, 1), put(f, 1, 4), putString(f, topic), put(f, partitionCount, 4);
  for (int i = 0; i < partitionCount; i++) put(f, i, 4), put(f, -1, 4), put(f, time, 8);
  Answer a = askNow(c);
  take(&a, 8), skipString(&a);
  int first = 0;
  for (int n = get(&a, 4); n > 0; n--) {
    int partition = get(&a, 4), code = get(&a, 2);
    take(&a, 8);
    int64_t offset = get(&a, 8);
    take(&a, 4);
    if (!first) first = code;
    if (partition >= 0 && partition < partitionCount) offsets[partition] = offset;
  }
  return first;
}

static void waitForOffsets(Connection *c, int64_t time, int64_t *offsets) {
  for (int tries = 0, code; (code = readOffsets(c, time, offsets)) != 0; tries++)
    tryAgain(tries, "ListOffsets", code);
}

static void findCoordinator(Connection *c) {
  for (int tries = 0;; tries++) {
    Frame *f = request(c, FIND_COORDINATOR, 2, 0);
    putString(f, "load"), put(f, 0, 1);
    Answer a = askNow(c);
    take(&a, 4);
    int code = get(&a, 2);
    if (!code) return;
    tryAgain(tries, "FindCoordinator", code);
  }
}

static void initProducerId(Producer *p) {
  for (int tries = 0;; tries++) {
    Frame *f = request(&p->c, INIT_PRODUCER_ID, 1, 0);
    put(f, -1, 2), put(f, 60000, 4);
    Answer a = askNow(&p->c);
    take(&a, 4);
    int code = get(&a, 2);
    p->producerId = get(&a, 8), p->epoch = get(&a, 2);
    if (!code) return;
    tryAgain(tries, "InitProducerId", code);
  }
}

// Their sockets stay open, and nobody reads them.
static void freeze(void) {
  for (int i = 0; i < frozenCount; i++) {
    Consumer all = {.owned = calloc(partitionCount, sizeof(int)), .ownedCount = partitionCount};
    dial(&all.c, NULL);
    for (int k = 0; k < partitionCount; k++) all.owned[k] = k;
    for (int ahead = 0; ahead < 3; ahead++) fetch(&all), all.fetching = 0;
  }
}

static void connectAll(void) {
  Connection first = {0};
  int64_t *ends = calloc(partitionCount, sizeof *ends);
  dial(&first, NULL);
  waitForOffsets(&first, -2, logStart);
  waitForOffsets(&first, -1, ends);
  if (groupCount) findCoordinator(&first);
  close(first.fd);
  int copies = groupCount ? groupCount : 1, count = copies * partitionCount;
  positions = calloc(count, sizeof *positions);
  for (int i = 0; i < count; i++) positions[i].offset = logStart[i % partitionCount];
  freeze();
  for (int i = 0; i < count && !fromStart; i++) positions[i].offset = ends[i % partitionCount];
  for (int i = 0; i < producerCount; i++) {
    Producer *p = &producers[i];
    p->index = i, p->partitions = (partitionCount - i + producerCount - 1) / producerCount;
    dial(&p->c, produced);
    if (idempotent) initProducerId(p);
    watch(&p->c);
  }
  for (int i = 0; i < consumerCount * copies; i++) {
    Consumer *u = &consumers[i];
    u->group = i / consumerCount, u->index = i % consumerCount;
    u->owned = calloc(partitionCount, sizeof(int));
    dial(&u->c, fetched), watch(&u->c);
    if (groupCount) {
      dial(&u->member, heardFromCoordinator), watch(&u->member);
      join(u);
      continue;
    }
    for (int k = u->index; k < partitionCount; k += consumerCount) u->owned[u->ownedCount++] = k;
  }
}

// --- the run ---

static void turn(int timeoutMs) {
  static struct epoll_event events[1024];
  static uint64_t membersAt;
  int n = epoll_wait(epollFd, events, 1024, timeoutMs);
  for (int i = 0; i < n; i++) {
    Connection *c = events[i].data.ptr;
    if (events[i].events & EPOLLOUT && sending(c)) {
      push(c);
      if (!sending(c) && c->answer == produced && start) produce((Producer *)c);
    }
    if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) readable(c);
  }
  uint64_t t = now();
  if (groupCount == 0 || t < membersAt) return;
  membersAt = t + 50000000;
  for (int i = 0; i < consumerCount * groupCount; i++) keepMembership(&consumers[i], t);
}

static void everyoneProduces(void) {
  for (int i = 0; i < producerCount; i++) produce(&producers[i]);
}

static void run(uint64_t until) {
  while (now() < until) {
    if (rate > 0) everyoneProduces();
    turn(rate > 0 ? 1 : 20);
  }
}

static void joinAll(void) {
  uint64_t deadline = now() + START_SECONDS * 1000000000ull;
  while (joined < consumerCount * groupCount) {
    turn(20);
    if (now() > deadline) errno = ETIMEDOUT, die("joining");
  }
  rejoins = 0;
}

// What was sent is answered, and in an open loop read as well.
static int settled(void) {
  int copies = groupCount ? groupCount : 1;
  for (int i = 0; i < producerCount; i++)
    if (sending(&producers[i].c) || producers[i].c.asked != producers[i].c.answered) return 0;
  return rate == 0 || consumerCount == 0 || consumed >= acked * copies;
}

static void drain(void) {
  uint64_t deadline = now() + DRAIN_SECONDS * 1000000000ull;
  do {
    if (rate > 0) everyoneProduces();
    turn(1);
  } while (!settled() && now() < deadline);
}

static void fill(void) {
  everyoneProduces();
  while (acked < fillRecords && errors == 0) turn(20);
  printf("{\"acked\":%llu,\"errors\":%llu}\n", (unsigned long long)acked,
      (unsigned long long)errors);
  exit(errors ? 1 : 0);
}

typedef struct { Usage use; uint64_t acked, consumed, bytes; } Sample;

static Sample sample(void) {
  return (Sample){usage(serverPids), acked, consumed, consumedBytes};
}

static void printLatency(const char *name, const Histogram *h) {
  printf("\"%s\":{\"count\":%llu,\"p50Ms\":%.3f,\"p99Ms\":%.3f,\"p999Ms\":%.3f,\"maxMs\":%.3f},",
      name, (unsigned long long)h->recorded, quantileMs(h, .5), quantileMs(h, .99),
      quantileMs(h, .999), h->maxUs / 1e3);
}

static void report(Sample before, Sample from, Sample to, Sample drained) {
  double took = (to.use.at - from.use.at) / 1e9, cpu = to.use.server - from.use.server;
  double own = to.use.own - from.use.own, others = to.use.machine - from.use.machine - cpu - own;
  uint64_t produced = to.acked - from.acked, read = to.consumed - from.consumed, lag = 0;
  int copies = groupCount ? groupCount : 1;
  for (int i = 0; i < copies * partitionCount && consumerCount; i++)
    if (positions[i].highWatermark > positions[i].offset)
      lag += positions[i].highWatermark - positions[i].offset;
  printf("{\"producers\":%d,\"consumers\":%d,\"groups\":%d,\"partitions\":%d,\"recordsEach\":%d,"
      "\"perRequest\":%d,\"window\":%d,\"rate\":%.0f,\"seconds\":%.3f,", producerCount,
      consumerCount, groupCount, partitionCount, recordsEach, perRequest, window, rate, took);
  printf("\"sent\":%llu,\"acked\":%llu,\"consumed\":%llu,\"errors\":%llu,\"gaps\":%llu,"
      "\"rejoins\":%llu,\"lag\":%llu,\"unread\":%lld,", (unsigned long long)sent,
      (unsigned long long)acked, (unsigned long long)drained.consumed, (unsigned long long)errors,
      (unsigned long long)gaps, (unsigned long long)rejoins, (unsigned long long)lag,
      rate > 0 && consumerCount ? (long long)(acked * copies - drained.consumed) : 0);
  printf("\"producedPerS\":%.0f,\"consumedPerS\":%.0f,\"consumedMBPerS\":%.1f,\"fetches\":%llu,",
      produced / took, read / took, (to.bytes - from.bytes) / took / 1e6,
      (unsigned long long)fetches);
  printLatency("ack", &ackLatency);
  printLatency("read", &readLatency);
  printf("\"generatorCpuS\":%.2f,\"serverCpuS\":%.2f,\"othersCpuS\":%.2f,"
      "\"serverUsPerRecord\":%.3f,\"serverRssBytes\":[%.0f,%.0f]}\n", own, cpu,
      others > 0 ? others : 0, produced + read ? cpu * 1e6 / (produced + read) : 0,
      before.use.rss, to.use.rss);
}

static void readOptions(int count, char **values) {
  enum { HOST = 1, PORT, TOPIC, PARTITIONS, SECONDS, PRODUCERS, WINDOW, RECORDS, PER_REQUEST, RATE,
         FILL, IDEMPOTENT, CONSUMERS, GROUPS, FROM, AGAIN, FROZEN, WARM, PID };
  static const struct option known[] = {
    {"host", 1, 0, HOST}, {"port", 1, 0, PORT}, {"topic", 1, 0, TOPIC},
    {"partitions", 1, 0, PARTITIONS}, {"seconds", 1, 0, SECONDS},
    {"producers", 1, 0, PRODUCERS}, {"window", 1, 0, WINDOW}, {"records", 1, 0, RECORDS},
    {"per-request", 1, 0, PER_REQUEST}, {"rate", 1, 0, RATE}, {"fill", 1, 0, FILL},
    {"idempotent", 0, 0, IDEMPOTENT}, {"consumers", 1, 0, CONSUMERS}, {"groups", 1, 0, GROUPS},
    {"from", 1, 0, FROM}, {"again", 0, 0, AGAIN}, {"frozen", 1, 0, FROZEN},
    {"warm", 1, 0, WARM}, {"server-pid", 1, 0, PID}, {0},
  };
  for (int option; (option = getopt_long(count, values, "", known, NULL)) != -1;) {
    switch (option) {
      case HOST: host = optarg; break;
      case PORT: port = atoi(optarg); break;
      case TOPIC: topic = optarg; break;
      case PARTITIONS: partitionCount = atoi(optarg); break;
      case SECONDS: seconds = atof(optarg); break;
      case PRODUCERS: producerCount = atoi(optarg); break;
      case WINDOW: window = atoi(optarg); break;
      case RECORDS: recordsEach = atoi(optarg); break;
      case PER_REQUEST: perRequest = atoi(optarg); break;
      case RATE: rate = atof(optarg); break;
      case FILL: fillRecords = strtoull(optarg, NULL, 10); break;
      case IDEMPOTENT: idempotent = 1; break;
      case CONSUMERS: consumerCount = atoi(optarg); break;
      case GROUPS: groupCount = atoi(optarg); break;
      case FROM: fromStart = optarg[0] == 's'; break;
      case AGAIN: again = 1; break;
      case FROZEN: frozenCount = atoi(optarg); break;
      case WARM: warmSeconds = atof(optarg); break;
      case PID: serverPids = optarg; break;
      default: exit(2);
    }
  }
  int most = partitionCount / (producerCount > 0 ? producerCount : 1);
  int wrong = port < 1 || *topic == 0 || partitionCount < 1 || partitionCount > PARTITIONS_MAX
      || seconds <= 0 || seconds > 3600 || warmSeconds < 0 || warmSeconds > 60 || producerCount < 0
      || producerCount > partitionCount || consumerCount < 0 || consumerCount > 100000
      || groupCount < 0 || groupCount > 10000 || window < 1 || window > WINDOW_MAX
      || recordsEach < 0 || recordsEach > 100000 || perRequest < 1
      || (producerCount > 0 && perRequest > most) || (fillRecords && producerCount == 0)
      || rate < 0 || frozenCount < 0 || frozenCount > 1000;
  if (wrong) {
    fprintf(stderr, "usage: kafka --port P --topic T --partitions N --seconds S [--producers C] "
        "[--consumers C] (see the head of kafka.c)\n");
    exit(2);
  }
}

int main(int argumentCount, char **arguments) {
  programName = "kafka";
  readOptions(argumentCount, arguments);
  // Whatever a server does, this process ends.
  alarm(2 * START_SECONDS + DRAIN_SECONDS + 10 + (int)(warmSeconds + seconds)
      + (fillRecords ? 600 : 0));
  raiseFileLimit();
  makeCrcTable();
  prebuild();
  epollFd = epoll_create1(0);
  producers = calloc(producerCount, sizeof *producers);
  consumers = calloc(consumerCount * (groupCount ? groupCount : 1), sizeof *consumers);
  logStart = calloc(partitionCount, sizeof *logStart);
  sequences = calloc(partitionCount, sizeof *sequences);

  Sample before = sample();
  connectAll();
  end = UINT64_MAX;
  start = now();
  if (fillRecords) fill();
  joinAll();
  start = now();
  countFrom = start + (uint64_t)(warmSeconds * 1e9);
  end = countFrom + (uint64_t)(seconds * 1e9);
  for (int i = 0; i < consumerCount && groupCount == 0; i++) fetch(&consumers[i]);
  everyoneProduces();
  run(countFrom);
  Sample from = sample();
  run(end);
  Sample to = sample();
  drain();
  report(before, from, to, sample());
  for (int i = 0; i < consumerCount * groupCount; i++)
    if (!sending(&consumers[i].member)) leave(&consumers[i]);
  return 0;
}
