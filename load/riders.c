// riders: N riders on one thread, for measuring live tracking (or a bare server) from outside.
//
//   riders --port P --riders N --seconds S [options]        WebSocket, the Centrifugo protocol
//   riders --port P --riders N --seconds S --get PATH       HTTP, one request after the other
//
//   --channel C    what each follows; %d becomes its number in six digits (driver:d%d)
//   --modulo M     … its number modulo M: M drivers share the riders
//   --idle         connect, subscribe and hold; with nobody sending nothing arrives
//   --frozen K     the first K riders subscribe and never read
//   --get PATH     %lat and %lon become a place in the square that `devices` drive in
//   --warm S       seconds before counting (1)
//   --server-pid A[,B]   adds the server's CPU time and resident memory
//
// The age of a publication is the wall clock's now minus its "received", in whole milliseconds.
#define _GNU_SOURCE
#include "measure.h"
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

enum { CONNECT_SECONDS = 60, CONNECTING_MAX = 100, READ_BYTES = 1 << 18, FIRST_BYTES = 4096 };

static const char *host = "127.0.0.1", *serverPids = "", *channel = "driver:d%d", *get;
static int port, riderCount = 1, modulo, idle, frozen;
static double seconds = 5, warmSeconds = 1;

typedef struct {
  int fd, index;
  enum { UPGRADING, SUBSCRIBING, OPEN, CLOSED } state;
  uint8_t *in;             // a frame, or an answer, that is not whole yet
  size_t inBytes, inRoom;
  uint64_t askedAt;
  uint32_t random;
} Rider;

static Rider *riders;
static int epollFd, opened, counting;
static uint64_t publications, frames, bytesRead, answers, refused, closedCount;
static Histogram ages;

static void say(const char *what, const char *text, size_t length) {
  fprintf(stderr, "riders: %s: %.*s\n", what, (int)(length < 300 ? length : 300), text);
}

static void lose(Rider *r) {
  if (r->state == CLOSED) return;
  if (r->state != OPEN) errno = 0, die("a connection was refused or closed before it was open");
  r->state = CLOSED;
  closedCount++;
  close(r->fd);
}

static void push(Rider *r, const void *bytes, size_t count) {
  ssize_t n = send(r->fd, bytes, count, MSG_NOSIGNAL);
  if (n != (ssize_t)count) lose(r);
}

static void sendText(Rider *r, const char *text) {
  uint8_t frame[1024];
  size_t length = strlen(text), at = 0;
  frame[at++] = 0x81;
  if (length < 126) frame[at++] = 0x80 | length;
  else frame[at++] = 0xfe, frame[at++] = length >> 8, frame[at++] = length;
  memset(frame + at, 0, 4); // masked with the key 0
  memcpy(frame + at + 4, text, length);
  push(r, frame, at + 4 + length);
}

static void subscribe(Rider *r) {
  char name[256], text[800];
  const char *place = strstr(channel, "%d");
  if (place) {
    snprintf(name, sizeof name, "%.*s%06d%s", (int)(place - channel), channel,
        modulo ? r->index % modulo : r->index, place + 2);
  } else {
    snprintf(name, sizeof name, "%s", channel);
  }
  snprintf(text, sizeof text,
      "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"%s\"}}", name);
  sendText(r, text);
  r->state = SUBSCRIBING;
}

static void ask(Rider *r) {
  char path[512], text[800];
  size_t n = 0;
  for (const char *p = get; *p && n < sizeof path - 32;) {
    r->random = r->random * 1664525u + 1013904223u;
    double share = (r->random >> 8) / 16777216.0;
    if (strncmp(p, "%lat", 4) == 0) n += sprintf(path + n, "%.5f", 12.80 + share * .3), p += 4;
    else if (strncmp(p, "%lon", 4) == 0) n += sprintf(path + n, "%.5f", 77.45 + share * .3), p += 4;
    else path[n++] = *p++;
  }
  path[n] = 0;
  int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s:%d\r\n\r\n", path, host,
      port);
  r->askedAt = now();
  push(r, text, length);
}

// --- what comes back ---

static void text(Rider *r, const char *s, size_t length) {
  if (length == 2 && s[0] == '{' && s[1] == '}') return sendText(r, "{}");
  if (r->state == SUBSCRIBING && memmem(s, length, "\"id\":2", 6)) {
    if (memmem(s, length, "\"error\"", 7)) say("refused", s, length), exit(1);
    r->state = OPEN;
    opened++;
    if (r->index < frozen) epoll_ctl(epollFd, EPOLL_CTL_DEL, r->fd, NULL);
  }
  uint64_t ms = wallMs();
  const char *end = s + length;
  for (const char *p = s; (p = memmem(p, end - p, "\"received\":", 11));) {
    uint64_t received = strtoull(p += 11, NULL, 10);
    if (!counting) continue;
    publications++;
    record(&ages, (ms > received ? ms - received : 0) * 1000);
  }
  if (counting) frames++;
}

// Bytes of the frame or answer at the front, 0 while it is not whole.
static size_t wsFrame(Rider *r) {
  const uint8_t *b = r->in;
  if (r->inBytes < 2) return 0;
  uint64_t length = b[1] & 127;
  size_t head = length < 126 ? 2 : length == 126 ? 4 : 10;
  if (r->inBytes < head) return 0;
  if (head > 2) length = 0;
  for (size_t i = 2; i < head; i++) length = length << 8 | b[i];
  if (r->inBytes < head + length) return 0;
  int opcode = b[0] & 15;
  if (opcode == 1) text(r, (const char *)b + head, length);
  if (opcode == 8) {
    say("closed", (const char *)b + head + 2, length > 2 ? length - 2 : 0);
    lose(r);
  }
  return head + length;
}

static size_t answer(Rider *r) {
  const char *b = (const char *)r->in, *end = memmem(b, r->inBytes, "\r\n\r\n", 4);
  if (!end) return 0;
  size_t head = end + 4 - b;
  if (r->state == UPGRADING && !get) {
    if (memcmp(b, "HTTP/1.1 101", 12) != 0) say("refused", b, head), exit(1);
    subscribe(r);
    return head;
  }
  const char *length = memmem(b, head, "Content-Length: ", 16);
  size_t whole = head + (length ? strtoull(length + 16, NULL, 10) : 0);
  if (r->inBytes < whole) return 0;
  if (memcmp(b, "HTTP/1.1 200", 12) != 0 && refused++ == 0) say("refused", b, whole);
  if (counting) answers++, record(&ages, (now() - r->askedAt) / 1000);
  ask(r);
  return whole;
}

static void readable(Rider *r) {
  if (r->inRoom - r->inBytes < READ_BYTES / 16) {
    r->inRoom = r->inRoom ? r->inRoom * 2 : READ_BYTES / 16;
    r->in = realloc(r->in, r->inRoom);
  }
  ssize_t n = recv(r->fd, r->in + r->inBytes, r->inRoom - r->inBytes, 0);
  if (n == 0 || (n < 0 && errno != EAGAIN)) return lose(r);
  if (n < 0) return;
  r->inBytes += n;
  if (counting) bytesRead += n;
  while (r->state != CLOSED) {
    size_t used = get || r->state == UPGRADING ? answer(r) : wsFrame(r);
    if (used == 0) break;
    r->inBytes -= used;
    memmove(r->in, r->in + used, r->inBytes);
  }
  // 15 000 that are idle need no memory here
  if (r->inBytes == 0 && r->inRoom > FIRST_BYTES && idle) free(r->in), r->in = NULL, r->inRoom = 0;
}

static void turn(int timeoutMs) {
  static struct epoll_event events[1024];
  int n = epoll_wait(epollFd, events, 1024, timeoutMs);
  for (int i = 0; i < n; i++) {
    Rider *r = events[i].data.ptr;
    if (r->state != CLOSED) readable(r);
  }
}

static void dial(Rider *r, const struct sockaddr_in *to) {
  int one = 1;
  r->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (r->fd < 0) die("socket (see ulimit -n)");
  setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  // Own loopback addresses per run and per 20 000 riders: ports do not run out in TIME_WAIT.
  struct sockaddr_in from = {.sin_family = AF_INET};
  from.sin_addr.s_addr = htonl(127u << 24 | (uint32_t)(getpid() & 0xffff) << 8
                               | (2 + r->index / 20000));
  setsockopt(r->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  if (bind(r->fd, (const void *)&from, sizeof from) < 0) die("bind");
  if (connect(r->fd, (const void *)to, sizeof *to) < 0 && errno != EINPROGRESS) die("connect");
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = r};
  epoll_ctl(epollFd, EPOLL_CTL_ADD, r->fd, &e);
  if (get) {
    r->state = OPEN, opened++;
    return;
  }
  char head[512];
  int n = snprintf(head, sizeof head,
      "GET /connection/websocket HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\n"
      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host, port);
  // loopback connects within the call
  push(r, head, n);
}

static void connectAll(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, host, &to.sin_addr) != 1) die("--host wants an IPv4 address");
  uint64_t deadline = now() + CONNECT_SECONDS * 1000000000ull;
  for (int dialled = 0; opened < riderCount;) {
    int room = CONNECTING_MAX - (dialled - opened);
    while (room-- > 0 && dialled < riderCount) dial(&riders[dialled++], &to);
    turn(20);
    if (now() > deadline) errno = ETIMEDOUT, die("connecting");
  }
  errno = 0;
}

static void run(uint64_t until) {
  while (now() < until) turn(20);
}

static void report(Usage before, Usage from, Usage to, double connectS) {
  double took = (to.at - from.at) / 1e9, cpu = to.server - from.server;
  double others = to.machine - from.machine - cpu - (to.own - from.own);
  uint64_t done = get ? answers : publications;
  printf("{\"riders\":%d,\"seconds\":%.3f,\"connectS\":%.2f,\"publications\":%llu,"
      "\"frames\":%llu,\"answers\":%llu,\"refused\":%llu,\"closed\":%llu,"
      "\"perS\":%.0f,\"MBPerS\":%.2f,", riderCount, took, connectS,
      (unsigned long long)publications, (unsigned long long)frames, (unsigned long long)answers,
      (unsigned long long)refused, (unsigned long long)closedCount,
      done / took, bytesRead / took / 1e6);
  printf("\"p50Ms\":%.3f,\"p99Ms\":%.3f,\"p999Ms\":%.3f,\"maxMs\":%.3f,",
      quantileMs(&ages, .5), quantileMs(&ages, .99), quantileMs(&ages, .999), ages.maxUs / 1e3);
  printf("\"generatorCpuS\":%.2f,\"serverCpuS\":%.2f,\"othersCpuS\":%.2f,"
      "\"serverUsEach\":%.3f,\"serverRssBytes\":[%.0f,%.0f]}\n",
      to.own - from.own, cpu, others > 0 ? others : 0, done ? cpu * 1e6 / done : 0,
      before.rss, to.rss);
}

static void readOptions(int count, char **values) {
  enum { HOST = 1, PORT, RIDERS, SECONDS, WARM, CHANNEL, MODULO, IDLE, FROZEN, GET, PID };
  static const struct option known[] = {
    {"host", 1, 0, HOST}, {"port", 1, 0, PORT}, {"riders", 1, 0, RIDERS},
    {"seconds", 1, 0, SECONDS}, {"warm", 1, 0, WARM}, {"channel", 1, 0, CHANNEL},
    {"modulo", 1, 0, MODULO}, {"idle", 0, 0, IDLE}, {"frozen", 1, 0, FROZEN}, {"get", 1, 0, GET},
    {"server-pid", 1, 0, PID}, {0},
  };
  for (int option; (option = getopt_long(count, values, "", known, NULL)) != -1;) {
    switch (option) {
      case HOST: host = optarg; break;
      case PORT: port = atoi(optarg); break;
      case RIDERS: riderCount = atoi(optarg); break;
      case SECONDS: seconds = atof(optarg); break;
      case WARM: warmSeconds = atof(optarg); break;
      case CHANNEL: channel = optarg; break;
      case MODULO: modulo = atoi(optarg); break;
      case IDLE: idle = 1; break;
      case FROZEN: frozen = atoi(optarg); break;
      case GET: get = optarg; break;
      case PID: serverPids = optarg; break;
      default: exit(2);
    }
  }
  int wrong = port < 1 || riderCount < 1 || riderCount > 100000 || seconds <= 0 || seconds > 3600
      || warmSeconds < 0 || warmSeconds > 60 || frozen < 0 || frozen >= riderCount + 1
      || strlen(channel) > 200 || (get && strlen(get) > 400);
  if (wrong) {
    fprintf(stderr, "usage: riders --port P --riders N --seconds S [--channel C] [--modulo M] "
            "[--idle] [--frozen K] [--get PATH] [--warm S] [--server-pid A,B]\n");
    exit(2);
  }
}

int main(int argumentCount, char **arguments) {
  programName = "riders";
  readOptions(argumentCount, arguments);
  // Whatever a server does, this process ends.
  alarm(CONNECT_SECONDS + 10 + (int)(warmSeconds + seconds));
  raiseFileLimit();
  epollFd = epoll_create1(0);
  riders = calloc(riderCount, sizeof *riders);
  for (int i = 0; i < riderCount; i++) riders[i].index = i, riders[i].random = 12345 + i * 2654435u;
  Usage before = usage(serverPids);
  connectAll();
  double connectS = (now() - before.at) / 1e9;
  fprintf(stderr, "riders: all connected\n");
  if (get) for (int i = 0; i < riderCount; i++) ask(&riders[i]);
  uint64_t countFrom = now() + (uint64_t)(warmSeconds * 1e9);
  run(countFrom);
  Usage from = usage(serverPids);
  counting = 1;
  run(countFrom + (uint64_t)(seconds * 1e9));
  counting = 0;
  report(before, from, usage(serverPids), connectS);
  return 0;
}
