// What the generators share: clocks, histograms of latency, CPU time and memory from /proc.
#pragma once
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const char *programName = "";

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t wallMs(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

static void die(const char *what) {
  fprintf(stderr, "%s: %s%s%s\n", programName, what, errno ? ": " : "",
      errno ? strerror(errno) : "");
  exit(1);
}

__attribute__((unused)) static void digits(char *at, uint64_t value, int n) {
  while (n--) at[n] = '0' + value % 10, value /= 10;
}

// --- latencies: exact below 128 us, then 64 buckets per power of two (error below 1.6 %) ---

typedef struct { uint64_t buckets[64 * 64], recorded, maxUs; } Histogram;

static void record(Histogram *h, uint64_t us) {
  if (us > h->maxUs) h->maxUs = us;
  int shift = us < 128 ? 0 : 57 - __builtin_clzll(us);
  h->buckets[shift * 64 + (us >> shift)]++;
  h->recorded++;
}

static double quantileMs(const Histogram *h, double q) {
  uint64_t seen = 0, wanted = (uint64_t)(q * h->recorded);
  for (int i = 0; i < 64 * 64; i++) {
    seen += h->buckets[i];
    int shift = i < 128 ? 0 : i / 64 - 1;
    if (seen > wanted) return ((uint64_t)(i - shift * 64) << shift) / 1e3;
  }
  return h->maxUs / 1e3;
}

// --- CPU time and memory ---

typedef struct { double own, server, machine, rss; uint64_t at; } Usage;

// Of the processes `pids` ("A,B") together.
static void procEach(const char *pids, double *cpuSeconds, double *rssBytes) {
  char list[256], path[64], line[1024];
  *cpuSeconds = *rssBytes = 0;
  snprintf(list, sizeof list, "%s", pids);
  for (char *pid = strtok(list, ","); pid; pid = strtok(NULL, ",")) {
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f) continue;
    unsigned long user = 0, system = 0;
    long pages = 0;
    char *after = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
    if (after) sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu "
                      "%*d %*d %*d %*d %*d %*d %*u %*u %ld", &user, &system, &pages);
    *cpuSeconds += (double)(user + system) / sysconf(_SC_CLK_TCK);
    *rssBytes += (double)pages * sysconf(_SC_PAGESIZE);
    fclose(f);
  }
}

static double ownCpuSeconds(void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

// What all processes of the machine have used, and what the hypervisor withheld from it: to see
// what others took during a run.
static double machineCpuSeconds(void) {
  unsigned long ticks[8], sum = 0; // user nice system idle iowait irq softirq steal
  FILE *f = fopen("/proc/stat", "r");
  int n = f ? fscanf(f, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", ticks, ticks + 1, ticks + 2,
                     ticks + 3, ticks + 4, ticks + 5, ticks + 6, ticks + 7) : 0;
  if (f) fclose(f);
  for (int i = 0; i < n; i++)
    if (i != 3 && i != 4) sum += ticks[i];
  return (double)sum / sysconf(_SC_CLK_TCK);
}

static Usage usage(const char *serverPids) {
  Usage u = {.own = ownCpuSeconds(), .machine = machineCpuSeconds(), .at = now()};
  procEach(serverPids, &u.server, &u.rss);
  return u;
}

static void raiseFileLimit(void) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}
