// devices: N devices on one thread, for measuring a gateway (or a bare server) from outside.
//
//   devices --to mqtt|ws|echo --port P --devices N --seconds S [options] [--json]
//
//   --to mqtt      MQTT 3.1.1, PUBLISH to fleet/{id}/position, a PUBACK per message
//        ws        text frames to /v1/ingest?driver={id}, one {"ack":…} per frame
//        echo      the same frames to a server that sends anything back, once per frame
//   --rate R       open loop: R messages/s in all, latency from the *intended* send; a message that
//                  could not be sent in time goes out late and counts from when it was due
//   --window W     closed loop (no --rate): each device keeps up to W messages unanswered
//   --burst B      open loop: a device sends B messages at once, B times as seldom
//   --pings N      pings in one message (1)         --qos 0|1   MQTT only (1); 0 needs --rate
//   --warm S       seconds before counting (1)      --idle      connect and hold, send nothing
//   --server-pid A[,B]   adds the server's CPU time and resident memory
//
// Position of a device stays within 11 m, `ts` is real time: nothing a gateway would flag.
#define _GNU_SOURCE
#include "measure.h"
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

enum { CONNECT_SECONDS = 60, DRAIN_SECONDS = 5, CONNECTING_MAX = 200, SECONDS_MAX = 3600 };
enum { PING_BYTES = 160, HEAD_BYTES = 64, SCRATCH_BYTES = 1 << 20, PACKET_IDS = 60000 };

static const char *host = "127.0.0.1", *serverPids = "";
static int mqtt = 1, echo, port, deviceCount = 1, pings = 1, qos = 1, idle, json;
static uint64_t window, burst = 1;
static double rate, seconds = 5, warmSeconds = 1;

typedef struct {
  int fd, index;
  enum { GREETING, OPEN, CLOSED } state;
  uint64_t sent, acked;
  uint64_t *sentAt;        // closed loop: ring of the window's send times
  uint8_t *rest;           // what the socket did not take
  size_t restBytes, restDone;
  uint8_t head[HEAD_BYTES]; // start of the message being read; the remainder is skipped
  int headBytes;
  uint64_t skip;
  char ping[PING_BYTES];
  int pingBytes;
} Device;

static Device *devices;
static int epollFd, opened;
static uint64_t start, countFrom, end; // ns; sending starts, counting starts, sending ends
static uint64_t closedCount, disorder, nacks, rejected;
static uint64_t ackedIn[SECONDS_MAX];
static Histogram latencies;
static uint8_t scratch[SCRATCH_BYTES];

// --- when the k-th message of a device is due, and how many are due by now ---

static uint64_t intendedAt(const Device *d, uint64_t k) {
  if (rate == 0) return d->sentAt[k % window];
  return start + (uint64_t)((k / burst * deviceCount + d->index) * burst / rate * 1e9);
}

static uint64_t burstsDue(uint64_t t) {
  return (uint64_t)(((t < end ? t : end) - start) / 1e9 * rate / burst) + 1;
}

static uint64_t dueCount(const Device *d, uint64_t t) {
  if (rate == 0) return t < end ? UINT64_MAX : d->sent;
  uint64_t bursts = burstsDue(t), index = d->index;
  return bursts > index ? ((bursts - 1 - index) / deviceCount + 1) * burst : 0;
}

// --- what is sent ---

enum { TS_AT = 21, LAT_MOVES_AT = 48, LON_MOVES_AT = 64 }; // digits of the ping that are patched

static void makePing(Device *d) {
  int i = d->index;
  d->pingBytes = snprintf(d->ping, PING_BYTES,
      "{\"id\":\"d%06d\",\"ts\":%013d,\"lat\":%.5f5,\"lon\":%.5f5,\"speed\":%.1f,"
      "\"heading\":%d,\"accuracy\":5,\"seq\":1000000}",
      i, 0, 12.80 + i % 300 * 1e-3, 77.45 + i % 293 * 1e-3, 8.5 + i % 7, i % 360);
}

// One ping, or a JSON array of them a second apart, the newest last.
static int putBody(Device *d, char *to, uint64_t ms) {
  char *p = to;
  if (pings > 1) *p++ = '[';
  for (int i = 0; i < pings; i++) {
    uint64_t seq = d->sent * pings + i;
    if (i) *p++ = ',';
    memcpy(p, d->ping, d->pingBytes);
    digits(p + TS_AT, ms - (pings - 1 - i) * 1000ull, 13);
    digits(p + LAT_MOVES_AT, seq % 10, 1);
    digits(p + LON_MOVES_AT, seq % 10, 1);
    digits(p + d->pingBytes - 8, 1000000 + seq % 9000000, 7);
    p += d->pingBytes;
  }
  if (pings > 1) *p++ = ']';
  return p - to;
}

static int putVarint(uint8_t *to, int value) {
  int n = 0;
  do to[n++] = (value & 127) | (value > 127 ? 128 : 0);
  while (value >>= 7);
  return n;
}

static int bodyBytes(const Device *d) {
  return pings == 1 ? d->pingBytes : pings * (d->pingBytes + 1) + 1;
}

static uint8_t *putPublish(Device *d, uint8_t *p, uint64_t ms) {
  int topicBytes = 22, id = d->sent % PACKET_IDS + 1;
  *p++ = 0x30 | qos << 1;
  p += putVarint(p, 2 + topicBytes + 2 * qos + bodyBytes(d));
  *p++ = 0, *p++ = topicBytes;
  memcpy(p, "fleet/d", 7), digits((char *)p + 7, d->index, 6), memcpy(p + 13, "/position", 9);
  p += topicBytes;
  if (qos) *p++ = id >> 8, *p++ = id;
  return p + putBody(d, (char *)p, ms);
}

// Masked with the key 0: legal, costs the server what any key costs, and us nothing.
static uint8_t *putFrame(Device *d, uint8_t *p, uint64_t ms) {
  uint64_t bytes = bodyBytes(d);
  int lengthBytes = bytes < 126 ? 0 : bytes < 65536 ? 2 : 8;
  *p++ = 0x81;
  *p++ = 0x80 | (lengthBytes == 0 ? bytes : lengthBytes == 2 ? 126 : 127);
  while (lengthBytes--) *p++ = bytes >> 8 * lengthBytes;
  memset(p, 0, 4);
  return p + 4 + putBody(d, (char *)p + 4, ms);
}

static void lose(Device *d) {
  if (d->state == CLOSED) return;
  if (d->state == GREETING) die("a connection was refused or closed before it was open");
  d->state = CLOSED;
  closedCount++;
  close(d->fd);
}

static void want(Device *d, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = d};
  epoll_ctl(epollFd, EPOLL_CTL_MOD, d->fd, &e);
}

static void push(Device *d, const uint8_t *bytes, size_t count) {
  ssize_t n = send(d->fd, bytes, count, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN) return lose(d);
  if (n < 0) n = 0;
  if ((size_t)n == count) return;
  d->restBytes = count - n, d->restDone = 0;
  d->rest = malloc(d->restBytes);
  memcpy(d->rest, bytes + n, d->restBytes);
  want(d, EPOLLIN | EPOLLOUT);
}

static void pushRest(Device *d) {
  ssize_t n = send(d->fd, d->rest + d->restDone, d->restBytes - d->restDone, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN) return lose(d);
  if (n > 0) d->restDone += n;
  if (d->restDone < d->restBytes) return;
  free(d->rest);
  d->rest = NULL;
  want(d, EPOLLIN);
}

// Sends what is due and the window allows, in one write. A closed loop refills at half a window,
// so that a pipelining device sends many messages at once.
static void fill(Device *d) {
  if (d->state != OPEN || d->rest || idle) return;
  if (rate == 0 && window > 1 && d->sent - d->acked > window / 2) return;
  uint64_t t = now(), ms = wallMs(), due = dueCount(d, t);
  uint64_t messageMax = pings * (uint64_t)PING_BYTES + 64;
  uint8_t *p = scratch;
  while (d->sent < due && (qos == 0 || d->sent - d->acked < window)) {
    if (p + messageMax > scratch + SCRATCH_BYTES) break;
    if (rate == 0) d->sentAt[d->sent % window] = t;
    p = mqtt ? putPublish(d, p, ms) : putFrame(d, p, ms);
    d->sent++;
  }
  if (p > scratch) push(d, scratch, p - scratch);
}

// --- what comes back ---

static void answered(Device *d, uint64_t t) {
  uint64_t intended = intendedAt(d, d->acked++);
  if (intended >= countFrom) record(&latencies, (t - intended) / 1000);
  if (t >= countFrom && t < end) ackedIn[(t - countFrom) / 1000000000ull]++;
}

// Reads the head of a packet; answers how many bytes of it follow, -1 while the head is incomplete.
static int64_t mqttHead(Device *d, uint64_t t) {
  int wanted = d->headBytes < 2 || d->head[1] > 2 ? 4 : 2 + d->head[1];
  if (d->headBytes < wanted) return -1;
  int type = d->head[0] >> 4, remaining = d->head[1], id = d->head[2] << 8 | d->head[3];
  if (type == 2 && d->head[3] != 0) errno = 0, die("CONNACK with a refusal");
  if (type == 2) d->state = OPEN, opened++;
  if (type == 4) {
    disorder += id != (int)(d->acked % PACKET_IDS) + 1;
    answered(d, t);
  }
  return 2 + remaining - wanted;
}

static uint64_t numberAfter(const char *text, const char *name) {
  const char *at = strstr(text, name);
  return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static void judgeReply(Device *d, const char *text, uint64_t t) {
  if (!echo && strncmp(text, "{\"ack\":", 7) != 0) {
    nacks++;
    if (nacks == 1) fprintf(stderr, "devices: refused: %s\n", text);
    return;
  }
  if (!echo) {
    disorder += numberAfter(text, "\"ack\":") != d->acked + 1;
    rejected += pings - numberAfter(text, "\"accepted\":");
  }
  answered(d, t);
}

static int64_t wsHead(Device *d, uint64_t t) {
  if (d->headBytes < 2) return -1;
  uint64_t bytes = d->head[1] & 127;
  int extended = bytes < 126 ? 0 : bytes == 126 ? 2 : 8, at = 2 + extended;
  if (d->headBytes < at) return -1;
  if (extended) bytes = 0;
  for (int i = 0; i < extended; i++) bytes = bytes << 8 | d->head[2 + i];
  int text = HEAD_BYTES - 1 - at; // as much of the reply as fits
  if (bytes < (uint64_t)text) text = bytes;
  if (d->headBytes < at + text) return -1;
  d->head[at + text] = 0;
  int opcode = d->head[0] & 15;
  if (opcode == 1 || opcode == 2) judgeReply(d, (char *)d->head + at, t);
  if (opcode == 8) lose(d);
  return bytes - text;
}

static void upgradeByte(Device *d) {
  if (d->headBytes == 12 && memcmp(d->head, "HTTP/1.1 101", 12) != 0) {
    errno = 0;
    die("WebSocket upgrade refused");
  }
  // Of what follows the status only the last four bytes matter.
  if (d->headBytes == HEAD_BYTES) {
    memmove(d->head + 12, d->head + HEAD_BYTES - 4, 4);
    d->headBytes = 16;
  }
  if (d->headBytes < 16 || memcmp(d->head + d->headBytes - 4, "\r\n\r\n", 4) != 0) return;
  d->headBytes = 0;
  d->state = OPEN;
  opened++;
}

static void take(Device *d, const uint8_t *p, const uint8_t *stop, uint64_t t) {
  while (p < stop && d->state != CLOSED) {
    if (d->skip) {
      uint64_t n = d->skip < (uint64_t)(stop - p) ? d->skip : (uint64_t)(stop - p);
      d->skip -= n, p += n;
      continue;
    }
    d->head[d->headBytes++] = *p++;
    if (!mqtt && d->state == GREETING) {
      upgradeByte(d);
      continue;
    }
    int64_t following = mqtt ? mqttHead(d, t) : wsHead(d, t);
    if (following >= 0) d->skip = following, d->headBytes = 0;
  }
}

static void readable(Device *d) {
  static uint8_t in[65536];
  ssize_t n = recv(d->fd, in, sizeof in, 0);
  if (n == 0 || (n < 0 && errno != EAGAIN)) return lose(d);
  if (n > 0) take(d, in, in + n, now());
}

static int turn(int timeoutMs) {
  static struct epoll_event events[1024];
  int n = epoll_wait(epollFd, events, 1024, timeoutMs);
  for (int i = 0; i < n; i++) {
    Device *d = events[i].data.ptr;
    if (d->state != CLOSED && d->rest) pushRest(d);
    if (d->state != CLOSED && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) readable(d);
    if (start) fill(d);
  }
  return n;
}

// --- connecting: at most CONNECTING_MAX at once, so that no accept queue overflows ---

static void greet(Device *d) {
  if (mqtt) { // clean session, keep-alive 600 s, client id of 7 bytes
    uint8_t connect[] = "\x10\x13\0\4MQTT\4\2\2\x58\0\7d......";
    digits((char *)connect + 15, d->index, 6);
    return push(d, connect, sizeof connect - 1);
  }
  char text[512];
  int n = snprintf(text, sizeof text,
      "GET /v1/ingest?driver=d%06d HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\n"
      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", d->index, host, port);
  push(d, (uint8_t *)text, n);
}

static void dial(Device *d, const struct sockaddr_in *to) {
  int one = 1;
  d->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (d->fd < 0) die("socket (see ulimit -n)");
  setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (strncmp(host, "127.", 4) == 0) {
    // Own loopback addresses per run and per 20 000 devices: ports do not run out in TIME_WAIT.
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(127u << 24 | (uint32_t)(getpid() & 0xffff) << 8
                                 | (2 + d->index / 20000));
    setsockopt(d->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(d->fd, (const void *)&from, sizeof from) < 0) die("bind");
  }
  if (connect(d->fd, (const void *)to, sizeof *to) < 0 && errno != EINPROGRESS) die("connect");
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = d};
  epoll_ctl(epollFd, EPOLL_CTL_ADD, d->fd, &e);
  greet(d);
}

static void connectAll(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, host, &to.sin_addr) != 1) die("--host wants an IPv4 address");
  uint64_t deadline = now() + CONNECT_SECONDS * 1000000000ull;
  for (int dialled = 0; opened < deviceCount;) {
    int room = CONNECTING_MAX - (dialled - opened);
    while (room-- > 0 && dialled < deviceCount) dial(&devices[dialled++], &to);
    turn(100);
    if (now() > deadline) errno = ETIMEDOUT, die("connecting");
  }
  errno = 0;
}

// --- the run ---

static void run(uint64_t until) {
  static uint64_t issued; // bursts of the open loop
  for (uint64_t t; (t = now()) < until;) {
    if (rate == 0) {
      turn(20);
      continue;
    }
    for (uint64_t due = burstsDue(t); issued < due; issued++) fill(&devices[issued % deviceCount]);
    struct timespec nap = {0, 50000};
    if (turn(0) == 0) nanosleep(&nap, NULL);
  }
}

// What is still unanswered gets DRAIN_SECONDS, then counts with the time it has waited.
static uint64_t drain(void) {
  uint64_t unacked = 0, deadline = now() + DRAIN_SECONDS * 1000000000ull;
  for (;;) {
    int waiting = 0;
    for (int i = 0; i < deviceCount; i++) {
      Device *d = &devices[i];
      fill(d); // what came due in the last moment
      if (d->state == OPEN && (d->rest || (qos && d->acked < dueCount(d, end)))) waiting++;
    }
    if (!waiting || now() > deadline) break;
    turn(20);
  }
  for (int i = 0; i < deviceCount && qos; i++) {
    Device *d = &devices[i];
    for (uint64_t k = d->acked, due = dueCount(d, end); k < due; k++, unacked++)
      if (intendedAt(d, k) >= countFrom) record(&latencies, (now() - intendedAt(d, k)) / 1000);
  }
  return unacked;
}

typedef struct { Usage use; uint64_t sent, acked; } Sample;

static Sample sample(void) {
  Sample s = {.use = usage(serverPids)};
  for (int i = 0; i < deviceCount; i++) s.sent += devices[i].sent, s.acked += devices[i].acked;
  return s;
}

static void report(Sample before, Sample from, Sample to, Sample drained, uint64_t unacked) {
  double took = (to.use.at - from.use.at) / 1e9, cpu = drained.use.server - from.use.server;
  double ackedPerS = (to.acked - from.acked) / took, sentPerS = (to.sent - from.sent) / took;
  double others = drained.use.machine - from.use.machine - cpu - (drained.use.own - from.use.own);
  uint64_t done = qos ? drained.acked - from.acked : drained.sent - from.sent;
  if (!json) {
    printf("sent %.0f/s acked %.0f/s p50 %.2f p99 %.2f p99.9 %.2f max %.2f ms unacked %llu\n",
        sentPerS, ackedPerS, quantileMs(&latencies, .5), quantileMs(&latencies, .99),
        quantileMs(&latencies, .999), latencies.maxUs / 1e3, (unsigned long long)unacked);
    return;
  }
  printf("{\"devices\":%d,\"pings\":%d,\"qos\":%d,\"rate\":%.0f,\"window\":%llu,"
      "\"burst\":%llu,\"seconds\":%.3f,\"connectS\":%.2f,", deviceCount, pings, qos, rate,
      (unsigned long long)window, (unsigned long long)burst, took, (start - before.use.at) / 1e9);
  printf("\"sent\":%llu,\"acked\":%llu,\"unacked\":%llu,\"closed\":%llu,\"nacks\":%llu,"
      "\"rejected\":%llu,\"disorder\":%llu,", (unsigned long long)drained.sent,
      (unsigned long long)drained.acked, (unsigned long long)unacked,
      (unsigned long long)closedCount, (unsigned long long)nacks, (unsigned long long)rejected,
      (unsigned long long)disorder);
  printf("\"sentPerS\":%.0f,\"ackedPerS\":%.0f,\"pingsPerS\":%.0f,\"ackedEachS\":[",
      sentPerS, ackedPerS, (qos ? ackedPerS : sentPerS) * pings);
  for (int i = 0; i < (int)seconds; i++)
    printf("%s%llu", i ? "," : "", (unsigned long long)ackedIn[i]);
  printf("],\"p50Ms\":%.3f,\"p99Ms\":%.3f,\"p999Ms\":%.3f,\"maxMs\":%.3f,",
      quantileMs(&latencies, .5), quantileMs(&latencies, .99), quantileMs(&latencies, .999),
      latencies.maxUs / 1e3);
  printf("\"generatorCpuS\":%.2f,\"serverCpuS\":%.2f,\"othersCpuS\":%.2f,"
      "\"serverUsPerMessage\":%.3f,\"serverRssBytes\":[%.0f,%.0f]}\n",
      to.use.own - from.use.own, cpu, others > 0 ? others : 0, done ? cpu * 1e6 / done : 0,
      before.use.rss, drained.use.rss);
}

static void readOptions(int count, char **values) {
  enum { TO = 1, HOST, PORT, DEVICES, SECONDS, WARM, RATE, WINDOW, BURST, PINGS, QOS, IDLE, PID,
         JSON };
  static const struct option known[] = {
    {"to", 1, 0, TO}, {"host", 1, 0, HOST}, {"port", 1, 0, PORT}, {"devices", 1, 0, DEVICES},
    {"seconds", 1, 0, SECONDS}, {"warm", 1, 0, WARM}, {"rate", 1, 0, RATE},
    {"window", 1, 0, WINDOW}, {"burst", 1, 0, BURST}, {"pings", 1, 0, PINGS}, {"qos", 1, 0, QOS},
    {"idle", 0, 0, IDLE}, {"server-pid", 1, 0, PID}, {"json", 0, 0, JSON}, {0},
  };
  for (int option; (option = getopt_long(count, values, "", known, NULL)) != -1;) {
    switch (option) {
      case TO: mqtt = optarg[0] == 'm', echo = optarg[0] == 'e'; break;
      case HOST: host = optarg; break;
      case PORT: port = atoi(optarg); break;
      case DEVICES: deviceCount = atoi(optarg); break;
      case SECONDS: seconds = atof(optarg); break;
      case WARM: warmSeconds = atof(optarg); break;
      case RATE: rate = atof(optarg); break;
      case WINDOW: window = strtoull(optarg, NULL, 10); break;
      case BURST: burst = strtoull(optarg, NULL, 10); break;
      case PINGS: pings = atoi(optarg); break;
      case QOS: qos = atoi(optarg) > 0; break;
      case IDLE: idle = 1; break;
      case PID: serverPids = optarg; break;
      case JSON: json = 1; break;
      default: exit(2);
    }
  }
  if (window == 0) window = rate > 0 ? 200 : 1; // a gateway may refuse a 257th unanswered frame
  if (!mqtt) qos = 1;
  int wrong = port < 1 || deviceCount < 1 || deviceCount > 1000000 || seconds <= 0 || burst < 1
      || seconds > SECONDS_MAX || warmSeconds < 0 || warmSeconds > 60 || window >= PACKET_IDS
      || pings < 1 || pings > 2000 || (qos == 0 && rate == 0);
  if (wrong) {
    fprintf(stderr, "usage: devices --to mqtt|ws|echo --port P --devices N --seconds S "
            "[--rate R | --window W] [--burst B] [--pings N] [--qos 0|1] [--warm S] [--idle] "
            "[--server-pid A,B] [--json]\n");
    exit(2);
  }
}

int main(int argumentCount, char **arguments) {
  programName = "devices";
  readOptions(argumentCount, arguments);
  // Whatever a server does, this process ends.
  alarm(CONNECT_SECONDS + DRAIN_SECONDS + 10 + (int)(warmSeconds + seconds));
  raiseFileLimit();
  epollFd = epoll_create1(0);
  devices = calloc(deviceCount, sizeof *devices);
  for (int i = 0; i < deviceCount; i++) {
    devices[i].index = i;
    makePing(&devices[i]);
    if (rate == 0) devices[i].sentAt = calloc(window, sizeof(uint64_t));
  }

  Sample before = sample();
  connectAll();
  start = now();
  countFrom = start + (uint64_t)(warmSeconds * 1e9);
  end = countFrom + (uint64_t)(seconds * 1e9);
  if (rate == 0) for (int i = 0; i < deviceCount; i++) fill(&devices[i]);
  run(countFrom);
  Sample from = sample();
  run(end);
  Sample to = sample();
  uint64_t unacked = drain();
  report(before, from, to, sample(), unacked);
  return 0;
}
