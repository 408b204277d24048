/* The least that fetching a file in parallel ranges can take: threads that receive straight into one mapping.

   raw_get PORT CONNECTIONS PART_BYTES PATH SIZE [PATH SIZE ...]

   Nothing is parsed but the head's end, nothing is checked but the status, nothing is made of the bytes. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct part { const char *path; char *into; long start, end; };
static struct part *parts;
static long count, next_part;
static int port;

static void fail(const char *what) { perror(what); exit(1); }

static void fetch(int s, struct part *p) {
  char head[8192], *end = 0;
  int size = snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: localhost\r\nRange: bytes=%ld-%ld\r\n\r\n",
                      p->path, p->start, p->end - 1);
  if (write(s, head, size) != size) fail("write");
  long have = 0, wanted = p->end - p->start;
  while (!end) {
    ssize_t got = recv(s, head + have, sizeof head - have, 0);
    if (got <= 0) fail("recv");
    have += got;
    end = memmem(head, have, "\r\n\r\n", 4);
  }
  if (strncmp(head, "HTTP/1.1 20", 11)) fail("status");
  end += 4;
  long done = head + have - end;
  memcpy(p->into, end, done);
  while (done < wanted) {
    ssize_t got = recv(s, p->into + done, wanted - done, MSG_WAITALL);
    if (got <= 0) fail("recv");
    done += got;
  }
}

static void *work(void *unused) {
  struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int s = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(s, (void *)&there, sizeof there)) fail("connect");
  for (;;) {
    long mine = __sync_fetch_and_add(&next_part, 1);
    if (mine >= count) break;
    fetch(s, parts + mine);
  }
  close(s);
  return unused;
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  port = atoi(argv[1]);
  int connections = atoi(argv[2]);
  long size_of_part = atol(argv[3]);
  for (int i = 4; i + 1 < argc; i += 2) count += (atol(argv[i + 1]) + size_of_part - 1) / size_of_part;
  parts = calloc(count, sizeof *parts);
  long n = 0;
  for (int i = 4; i + 1 < argc; i += 2) {
    long size = atol(argv[i + 1]);
    char *into = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (into == MAP_FAILED) fail("mmap");
#ifdef MADV_HUGEPAGE
    madvise(into, size, MADV_HUGEPAGE);
#endif
    for (long at = 0; at < size; at += size_of_part, n++)
      parts[n] = (struct part){argv[i], into + at, at, at + size_of_part < size ? at + size_of_part : size};
  }
  pthread_t threads[256];
  if (connections > 256) connections = 256;
  for (int i = 0; i < connections; i++) pthread_create(threads + i, 0, work, 0);
  for (int i = 0; i < connections; i++) pthread_join(threads[i], 0);
  return 0;
}
