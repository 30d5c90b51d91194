// librdkafka's own C API, driven by the tests. One process is one client:
//
//   librdkafka producer|consumer BROKERS [property=value]…
//
// Commands come on stdin, a line each, words parted by tabs; keys, values and header values are
// hexadecimal, "~" is null. Each is answered by one line of JSON; what rebalances do meanwhile is
// told in lines of their own. `member` makes it a consumer that works until SIGTERM.
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS_MAX = 256, PARTITIONS_MAX = 64, TIMEOUT_MS = 30000, COMMIT_RECORDS = 50 };

static rd_kafka_t *client;
static FILE *out; // the answer, until it is complete
static char *words[WORDS_MAX];
static int wordCount;

static void die(const char *what, const char *why) {
  fprintf(stderr, "librdkafka: %s: %s\n", what, why);
  exit(1);
}

static const char *word(int i) {
  if (i >= wordCount) die("a word is missing after", words[0]);
  return words[i];
}

static int64_t number(int i) { return strtoll(word(i), NULL, 10); }

// --- JSON ---

static void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(out, format, arguments);
  va_end(arguments);
}

static void sayString(const char *text) {
  if (!text) return say("null");
  say("\"");
  for (const char *c = text; *c; c++) {
    if (*c == '"' || *c == '\\') say("\\%c", *c);
    else if ((unsigned char)*c < 0x20) say("\\u%04x", *c);
    else fputc(*c, out);
  }
  say("\"");
}

static void sayBytes(const void *bytes, size_t size) {
  if (!bytes) return say("null");
  say("\"");
  for (size_t i = 0; i < size; i++) say("%02x", ((const uint8_t *)bytes)[i]);
  say("\"");
}

static void sayError(rd_kafka_resp_err_t error) {
  sayString(error ? rd_kafka_err2name(error) : NULL);
}

// [[topic, partition, offset, error], …]
static void sayPartitions(const rd_kafka_topic_partition_list_t *list) {
  say("[");
  for (int i = 0; list && i < list->cnt; i++) {
    const rd_kafka_topic_partition_t *at = &list->elems[i];
    say("%s[", i ? "," : "");
    sayString(at->topic);
    say(",%d,%" PRId64 ",", at->partition, at->offset);
    sayError(at->err);
    say("]");
  }
  say("]");
}

static void answer(rd_kafka_resp_err_t error) {
  say("\"error\":");
  sayError(error);
}

// --- words ---

// Bytes of a hexadecimal word, in place; NULL for "~".
static void *bytes(int i, size_t *size) {
  char *hex = (char *)word(i);
  *size = strlen(hex) / 2;
  if (!strcmp(hex, "~")) return *size = 0, NULL;
  for (size_t k = 0; k < *size; k++) {
    char pair[3] = {hex[2 * k], hex[2 * k + 1], 0};
    hex[k] = (char)strtol(pair, NULL, 16);
  }
  return hex;
}

// TOPIC PARTITION [OFFSET] from word i on.
static rd_kafka_topic_partition_list_t *partitions(int i, int withOffsets) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
  for (; i < wordCount; i += withOffsets ? 3 : 2) {
    rd_kafka_topic_partition_t *at =
        rd_kafka_topic_partition_list_add(list, word(i), (int32_t)number(i + 1));
    if (withOffsets) at->offset = number(i + 2);
  }
  return list;
}

// --- the producer ---

static struct { int index, partition; int64_t offset; rd_kafka_resp_err_t error; } *reports;
static int reportCount, reportRoom, sentCount;

static void onReport(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
  (void)rk, (void)opaque;
  if (reportCount == reportRoom) {
    reportRoom = reportRoom ? 2 * reportRoom : 1024;
    reports = realloc(reports, (size_t)reportRoom * sizeof *reports);
  }
  reports[reportCount].index = (int)(intptr_t)message->_private;
  reports[reportCount].partition = message->partition;
  reports[reportCount].offset = message->offset;
  reports[reportCount++].error = message->err;
}

// produce TOPIC PARTITION KEY VALUE TIMESTAMP [NAME VALUE]…
static void produce(void) {
  size_t keySize, valueSize, headerSize;
  void *key = bytes(3, &keySize), *value = bytes(4, &valueSize);
  rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
  for (int i = 6; i < wordCount; i += 2) {
    void *header = bytes(i + 1, &headerSize);
    rd_kafka_header_add(headers, word(i), -1, header, (ssize_t)headerSize);
  }
  rd_kafka_resp_err_t error = rd_kafka_producev(client, RD_KAFKA_V_TOPIC(word(1)),
      RD_KAFKA_V_PARTITION((int32_t)number(2)), RD_KAFKA_V_KEY(key, keySize),
      RD_KAFKA_V_VALUE(value, valueSize), RD_KAFKA_V_TIMESTAMP(number(5)),
      RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
      RD_KAFKA_V_OPAQUE((void *)(intptr_t)sentCount++), RD_KAFKA_V_END);
  if (error) rd_kafka_headers_destroy(headers);
  answer(error);
}

// fill TOPIC COUNT PREFIX: the i-th (from 0) has key PREFIX-(i % 100) and value PREFIX:i.
static void fill(void) {
  char key[256], value[256];
  rd_kafka_resp_err_t error = 0;
  for (int i = 0; i < number(2) && !error; i++) {
    int keySize = snprintf(key, sizeof key, "%s-%d", word(3), i % 100);
    int valueSize = snprintf(value, sizeof value, "%s:%d", word(3), i);
    do {
      error = rd_kafka_producev(client, RD_KAFKA_V_TOPIC(word(1)),
          RD_KAFKA_V_KEY(key, (size_t)keySize), RD_KAFKA_V_VALUE(value, (size_t)valueSize),
          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
          RD_KAFKA_V_OPAQUE((void *)(intptr_t)sentCount), RD_KAFKA_V_END);
      rd_kafka_poll(client, error == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 10 : 0);
    } while (error == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    sentCount++;
  }
  answer(error);
}

// Everything sent since the last flush: [[index, partition, offset, error], …] as reported.
static void flush(void) {
  answer(rd_kafka_flush(client, wordCount > 1 ? (int)number(1) : TIMEOUT_MS));
  say(",\"delivered\":[");
  for (int i = 0; i < reportCount; i++) {
    say("%s[%d,%d,%" PRId64 ",", i ? "," : "", reports[i].index, reports[i].partition,
        reports[i].offset);
    sayError(reports[i].error);
    say("]");
  }
  say("]");
  reportCount = sentCount = 0;
}

static void transaction(void) {
  rd_kafka_error_t *error = rd_kafka_init_transactions(client, (int)number(1));
  answer(error ? rd_kafka_error_code(error) : 0);
  if (error) rd_kafka_error_destroy(error);
}

// --- the consumer ---

static int ledger = -1; // of a member
static const char *memberName;
static int64_t toCommit[PARTITIONS_MAX]; // by partition; -1: nothing

// librdkafka has no getter for it: "CGMDv2:" and the number, in its serialized form.
static int32_t generation(void) {
  int32_t id = -1;
  void *buffer;
  size_t size;
  rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata(client);
  if (!metadata) return id;
  rd_kafka_error_t *error = rd_kafka_consumer_group_metadata_write(metadata, &buffer, &size);
  rd_kafka_consumer_group_metadata_destroy(metadata);
  if (error) die("group metadata", rd_kafka_error_string(error));
  if (size > 11 && !memcmp(buffer, "CGMDv2:", 7)) memcpy(&id, (char *)buffer + 7, sizeof id);
  rd_kafka_mem_free(client, buffer);
  return id;
}

static void ownedLine(void) {
  char line[16 * PARTITIONS_MAX];
  rd_kafka_topic_partition_list_t *owned;
  if (rd_kafka_assignment(client, &owned)) return;
  int size = sprintf(line, "%s owns %d ", memberName, generation());
  for (int i = 0; i < owned->cnt; i++)
    size += sprintf(line + size, "%s%d", i ? "," : "", owned->elems[i].partition);
  rd_kafka_topic_partition_list_destroy(owned);
  line[size++] = '\n';
  if (write(ledger, line, (size_t)size) != size) die("ledger", "not written");
}

// Tells of each commit before it is sent and after it is acknowledged.
static void commitProcessed(const char *topic) {
  rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(8);
  for (int i = 0; i < PARTITIONS_MAX; i++) {
    if (toCommit[i] < 0) continue;
    rd_kafka_topic_partition_list_add(offsets, topic, i)->offset = toCommit[i];
    toCommit[i] = -1;
  }
  if (offsets->cnt > 0) {
    for (int i = 0; i < offsets->cnt; i++)
      dprintf(ledger, "%s committing %d %" PRId64 "\n", memberName, offsets->elems[i].partition,
          offsets->elems[i].offset);
    rd_kafka_resp_err_t failed = rd_kafka_commit(client, offsets, 0);
    for (int i = 0; i < offsets->cnt; i++) {
      rd_kafka_resp_err_t error = failed ? failed : offsets->elems[i].err;
      dprintf(ledger, "%s %s %d %" PRId64 "\n", memberName,
          error ? rd_kafka_err2name(error) : "committed", offsets->elems[i].partition,
          offsets->elems[i].offset);
    }
  }
  rd_kafka_topic_partition_list_destroy(offsets);
}

static void onRebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what,
    rd_kafka_topic_partition_list_t *list, void *opaque) {
  (void)opaque;
  int assigned = what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
  int cooperative = !strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE");
  int lost = rd_kafka_assignment_lost(rk);
  if (ledger >= 0 && !assigned && list->cnt > 0) {
    if (!lost) commitProcessed(list->elems[0].topic);
    for (int i = 0; i < list->cnt; i++) toCommit[list->elems[i].partition] = -1;
  }
  rd_kafka_error_t *error = NULL;
  if (cooperative && assigned) error = rd_kafka_incremental_assign(rk, list);
  else if (cooperative) error = rd_kafka_incremental_unassign(rk, list);
  else rd_kafka_assign(rk, assigned ? list : NULL);
  if (error) die("rebalance", rd_kafka_error_string(error));
  if (ledger >= 0) return ownedLine();
  FILE *reply = out;
  out = stdout;
  say("{\"event\":\"%s\",\"protocol\":\"%s\",\"generation\":%d,\"partitions\":",
      assigned ? "assigned" : lost ? "lost" : "revoked", rd_kafka_rebalance_protocol(rk),
      generation());
  sayPartitions(list);
  say("}\n");
  fflush(stdout);
  out = reply;
}

static void sayRecord(rd_kafka_message_t *m) {
  rd_kafka_timestamp_type_t type;
  rd_kafka_headers_t *headers = NULL;
  say("{\"topic\":");
  sayString(rd_kafka_topic_name(m->rkt));
  say(",\"partition\":%d,\"offset\":%" PRId64 ",\"timestamp\":%" PRId64 ",\"key\":", m->partition,
      m->offset, rd_kafka_message_timestamp(m, &type));
  sayBytes(m->key, m->key_len);
  say(",\"value\":");
  sayBytes(m->payload, m->len);
  say(",\"headers\":[");
  rd_kafka_message_headers(m, &headers);
  for (size_t i = 0; headers && i < rd_kafka_header_cnt(headers); i++) {
    const char *name;
    const void *value;
    size_t size;
    rd_kafka_header_get_all(headers, i, &name, &value, &size);
    say("%s[", i ? "," : "");
    sayString(name);
    say(",");
    sayBytes(value, size);
    say("]");
  }
  say("]}");
}

// poll COUNT MS: until so many records, so long without one, or an error.
static void poll(void) {
  rd_kafka_resp_err_t error = 0;
  char text[512];
  say("\"records\":[");
  for (int count = 0; count < number(1) && !error;) {
    rd_kafka_message_t *m = rd_kafka_consumer_poll(client, (int)number(2));
    if (!m) break;
    error = m->err;
    if (error == RD_KAFKA_RESP_ERR__FATAL) error = rd_kafka_fatal_error(client, text, sizeof text);
    if (!error && count++) say(",");
    if (!error) sayRecord(m);
    rd_kafka_message_destroy(m);
  }
  say("],");
  answer(error);
}

static void onOffsets(rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *list) {
  answer(error);
  say(",\"offsets\":");
  sayPartitions(list);
  rd_kafka_topic_partition_list_destroy(list);
}

static void subscribe(void) {
  rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(4);
  for (int i = 1; i < wordCount; i++)
    rd_kafka_topic_partition_list_add(topics, word(i), RD_KAFKA_PARTITION_UA);
  answer(rd_kafka_subscribe(client, topics));
  rd_kafka_topic_partition_list_destroy(topics);
}

static void assign(void) {
  rd_kafka_topic_partition_list_t *list = partitions(1, 1);
  onOffsets(rd_kafka_assign(client, list), list);
}

static void commit(void) {
  rd_kafka_topic_partition_list_t *list = wordCount > 1 ? partitions(1, 1) : NULL;
  rd_kafka_resp_err_t error = rd_kafka_commit(client, list, 0);
  if (list) return onOffsets(error, list);
  answer(error);
}

static void committed(void) {
  rd_kafka_topic_partition_list_t *list = partitions(1, 0);
  onOffsets(rd_kafka_committed(client, list, TIMEOUT_MS), list);
}

static void position(void) {
  rd_kafka_topic_partition_list_t *list = partitions(1, 0);
  onOffsets(rd_kafka_position(client, list), list);
}

static void offsetsForTimes(void) {
  rd_kafka_topic_partition_list_t *list = partitions(1, 1);
  onOffsets(rd_kafka_offsets_for_times(client, list, TIMEOUT_MS), list);
}

static void pausePartitions(void) {
  rd_kafka_topic_partition_list_t *list = partitions(1, 0);
  onOffsets(rd_kafka_pause_partitions(client, list), list);
}

static void resumePartitions(void) {
  rd_kafka_topic_partition_list_t *list = partitions(1, 0);
  onOffsets(rd_kafka_resume_partitions(client, list), list);
}

static void seekPartitions(void) {
  rd_kafka_topic_partition_list_t *list = partitions(1, 1);
  rd_kafka_error_t *error = rd_kafka_seek_partitions(client, list, TIMEOUT_MS);
  onOffsets(error ? rd_kafka_error_code(error) : 0, list);
  if (error) rd_kafka_error_destroy(error);
}

static void watermarks(void) {
  int64_t low = -1, high = -1;
  answer(rd_kafka_query_watermark_offsets(
      client, word(1), (int32_t)number(2), &low, &high, TIMEOUT_MS));
  say(",\"low\":%" PRId64 ",\"high\":%" PRId64, low, high);
}

static void membership(void) {
  char *id = rd_kafka_memberid(client);
  say("\"memberId\":");
  sayString(id);
  say(",\"generation\":%d", generation());
  rd_kafka_mem_free(client, id);
}

static volatile sig_atomic_t stopped;
static void onTerm(int signal) { (void)signal, stopped = 1; }

// member TOPIC LEDGER NAME: consumes, notes every record in the ledger, then commits; a line is
// one write to a file opened for appending, so the lines of all members stand in their true order.
static void member(void) {
  char *topic = strdup(word(1));
  ledger = open(word(2), O_WRONLY | O_APPEND);
  memberName = strdup(word(3));
  if (ledger < 0) die("ledger", word(2));
  signal(SIGTERM, onTerm);
  memset(toCommit, -1, sizeof toCommit);
  rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
  rd_kafka_subscribe(client, topics);
  rd_kafka_topic_partition_list_destroy(topics);
  for (int uncommitted = 0; !stopped;) {
    rd_kafka_message_t *m = rd_kafka_consumer_poll(client, 100);
    if (m && !m->err) {
      dprintf(ledger, "%s record %d %" PRId64 " %.*s %.*s\n", memberName, m->partition, m->offset,
          (int)m->key_len, (char *)m->key, (int)m->len, (char *)m->payload);
      toCommit[m->partition] = m->offset + 1;
      uncommitted++;
    }
    if (uncommitted >= COMMIT_RECORDS || !m) commitProcessed(topic), uncommitted = 0;
    if (m) rd_kafka_message_destroy(m);
  }
  commitProcessed(topic);
  rd_kafka_consumer_close(client);
  exit(0);
}

// --- administration ---

static rd_kafka_queue_t *results;

static rd_kafka_AdminOptions_t *options(rd_kafka_admin_op_t operation) {
  char text[512];
  rd_kafka_AdminOptions_t *all = rd_kafka_AdminOptions_new(client, operation);
  rd_kafka_AdminOptions_set_request_timeout(all, TIMEOUT_MS, text, sizeof text);
  return all;
}

// The answer's event once it is there; NULL when it failed as a whole, which is then said.
static rd_kafka_event_t *result(rd_kafka_AdminOptions_t *all) {
  rd_kafka_AdminOptions_destroy(all);
  rd_kafka_event_t *event = rd_kafka_queue_poll(results, 2 * TIMEOUT_MS);
  if (!event) die(words[0], "no result");
  answer(rd_kafka_event_error(event));
  if (!rd_kafka_event_error(event)) return event;
  rd_kafka_event_destroy(event);
  return NULL;
}

// [[name, error], …]
static void sayTopics(const rd_kafka_topic_result_t **topics, size_t count) {
  say(",\"topics\":[");
  for (size_t i = 0; i < count; i++) {
    say("%s[", i ? "," : "");
    sayString(rd_kafka_topic_result_name(topics[i]));
    say(",");
    sayError(rd_kafka_topic_result_error(topics[i]));
    say("]");
  }
  say("]");
}

static void splitSetting(int i, char **name, char **value) {
  *name = (char *)word(i);
  *value = strchr(*name, '=');
  if (!*value) die("no setting", *name);
  *(*value)++ = 0;
}

// createTopic NAME PARTITIONS [setting=value]…
static void createTopic(void) {
  char text[512], *name, *value;
  size_t count;
  rd_kafka_NewTopic_t *topic =
      rd_kafka_NewTopic_new(word(1), (int)number(2), -1, text, sizeof text);
  if (!topic) die("createTopic", text);
  for (int i = 3; i < wordCount; i++) {
    splitSetting(i, &name, &value);
    rd_kafka_NewTopic_set_config(topic, name, value);
  }
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_CREATETOPICS);
  rd_kafka_CreateTopics(client, &topic, 1, all, results);
  rd_kafka_NewTopic_destroy(topic);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  const rd_kafka_CreateTopics_result_t *created = rd_kafka_event_CreateTopics_result(event);
  const rd_kafka_topic_result_t **topics = rd_kafka_CreateTopics_result_topics(created, &count);
  sayTopics(topics, count);
  rd_kafka_event_destroy(event);
}

static void deleteTopic(void) {
  size_t count;
  rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(word(1));
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_DELETETOPICS);
  rd_kafka_DeleteTopics(client, &topic, 1, all, results);
  rd_kafka_DeleteTopic_destroy(topic);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  const rd_kafka_DeleteTopics_result_t *deleted = rd_kafka_event_DeleteTopics_result(event);
  const rd_kafka_topic_result_t **topics = rd_kafka_DeleteTopics_result_topics(deleted, &count);
  sayTopics(topics, count);
  rd_kafka_event_destroy(event);
}

static void createPartitions(void) {
  char text[512];
  size_t count;
  rd_kafka_NewPartitions_t *more =
      rd_kafka_NewPartitions_new(word(1), (size_t)number(2), text, sizeof text);
  if (!more) die("createPartitions", text);
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_CREATEPARTITIONS);
  rd_kafka_CreatePartitions(client, &more, 1, all, results);
  rd_kafka_NewPartitions_destroy(more);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  const rd_kafka_CreatePartitions_result_t *created =
      rd_kafka_event_CreatePartitions_result(event);
  const rd_kafka_topic_result_t **topics =
      rd_kafka_CreatePartitions_result_topics(created, &count);
  sayTopics(topics, count);
  rd_kafka_event_destroy(event);
}

// [[name, value, isDefault, isReadOnly], …] and the error of each resource.
static void sayResources(const rd_kafka_ConfigResource_t **resources, size_t count) {
  say(",\"resources\":[");
  for (size_t i = 0; i < count; i++) {
    size_t entryCount;
    const rd_kafka_ConfigEntry_t **entries =
        rd_kafka_ConfigResource_configs(resources[i], &entryCount);
    say("%s{\"name\":", i ? "," : "");
    sayString(rd_kafka_ConfigResource_name(resources[i]));
    say(",\"error\":");
    sayError(rd_kafka_ConfigResource_error(resources[i]));
    say(",\"configs\":[");
    for (size_t k = 0; k < entryCount; k++) {
      say("%s[", k ? "," : "");
      sayString(rd_kafka_ConfigEntry_name(entries[k]));
      say(",");
      sayString(rd_kafka_ConfigEntry_value(entries[k]));
      say(",%d,%d]", rd_kafka_ConfigEntry_is_default(entries[k]),
          rd_kafka_ConfigEntry_is_read_only(entries[k]));
    }
    say("]}");
  }
  say("]");
}

// describeConfigs topic|broker NAME
static void describeConfigs(void) {
  size_t count;
  int type = strcmp(word(1), "broker") ? RD_KAFKA_RESOURCE_TOPIC : RD_KAFKA_RESOURCE_BROKER;
  rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(type, word(2));
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
  rd_kafka_DescribeConfigs(client, &resource, 1, all, results);
  rd_kafka_ConfigResource_destroy(resource);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  const rd_kafka_DescribeConfigs_result_t *described =
      rd_kafka_event_DescribeConfigs_result(event);
  const rd_kafka_ConfigResource_t **resources =
      rd_kafka_DescribeConfigs_result_resources(described, &count);
  sayResources(resources, count);
  rd_kafka_event_destroy(event);
}

// alterConfigs TOPIC setting=value…
static void alterConfigs(void) {
  char *name, *value;
  size_t count;
  rd_kafka_ConfigResource_t *resource =
      rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, word(1));
  for (int i = 2; i < wordCount; i++) {
    splitSetting(i, &name, &value);
    rd_kafka_ConfigResource_set_config(resource, name, value);
  }
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_ALTERCONFIGS);
  rd_kafka_AlterConfigs(client, &resource, 1, all, results);
  rd_kafka_ConfigResource_destroy(resource);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  const rd_kafka_AlterConfigs_result_t *altered = rd_kafka_event_AlterConfigs_result(event);
  const rd_kafka_ConfigResource_t **resources =
      rd_kafka_AlterConfigs_result_resources(altered, &count);
  sayResources(resources, count);
  rd_kafka_event_destroy(event);
}

// deleteRecords TOPIC PARTITION BEFORE …
static void deleteRecords(void) {
  rd_kafka_topic_partition_list_t *list = partitions(1, 1);
  rd_kafka_DeleteRecords_t *deletion = rd_kafka_DeleteRecords_new(list);
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_DELETERECORDS);
  rd_kafka_DeleteRecords(client, &deletion, 1, all, results);
  rd_kafka_DeleteRecords_destroy(deletion);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  say(",\"offsets\":");
  sayPartitions(rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event)));
  rd_kafka_event_destroy(event);
}

// [[group, state], …]
static void listGroups(void) {
  size_t count;
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS);
  rd_kafka_ListConsumerGroups(client, all, results);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  const rd_kafka_ConsumerGroupListing_t **groups = rd_kafka_ListConsumerGroups_result_valid(
      rd_kafka_event_ListConsumerGroups_result(event), &count);
  say(",\"groups\":[");
  for (size_t i = 0; i < count; i++) {
    say("%s[", i ? "," : "");
    sayString(rd_kafka_ConsumerGroupListing_group_id(groups[i]));
    say(",");
    sayString(rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupListing_state(groups[i])));
    say("]");
  }
  say("]");
  rd_kafka_event_destroy(event);
}

static void sayMembers(const rd_kafka_ConsumerGroupDescription_t *group) {
  for (size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(group); i++) {
    const rd_kafka_MemberDescription_t *m = rd_kafka_ConsumerGroupDescription_member(group, i);
    say("%s{\"memberId\":", i ? "," : "");
    sayString(rd_kafka_MemberDescription_consumer_id(m));
    say(",\"clientId\":");
    sayString(rd_kafka_MemberDescription_client_id(m));
    say(",\"instanceId\":");
    sayString(rd_kafka_MemberDescription_group_instance_id(m));
    say(",\"host\":");
    sayString(rd_kafka_MemberDescription_host(m));
    say(",\"assignment\":");
    sayPartitions(rd_kafka_MemberAssignment_partitions(rd_kafka_MemberDescription_assignment(m)));
    say("}");
  }
}

static void describeGroup(void) {
  size_t count;
  const char *name = word(1);
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
  rd_kafka_DescribeConsumerGroups(client, &name, 1, all, results);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  const rd_kafka_ConsumerGroupDescription_t *group =
      rd_kafka_DescribeConsumerGroups_result_groups(
          rd_kafka_event_DescribeConsumerGroups_result(event), &count)[0];
  say(",\"state\":");
  sayString(rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupDescription_state(group)));
  say(",\"assignor\":");
  sayString(rd_kafka_ConsumerGroupDescription_partition_assignor(group));
  say(",\"members\":[");
  sayMembers(group);
  say("]");
  rd_kafka_event_destroy(event);
}

// [[group, error], …], and the offsets of each.
static void sayGroups(const rd_kafka_group_result_t **groups, size_t count) {
  say(",\"groups\":[");
  for (size_t i = 0; i < count; i++) {
    const rd_kafka_error_t *error = rd_kafka_group_result_error(groups[i]);
    say("%s[", i ? "," : "");
    sayString(rd_kafka_group_result_name(groups[i]));
    say(",");
    sayError(error ? rd_kafka_error_code(error) : 0);
    say(",");
    sayPartitions(rd_kafka_group_result_partitions(groups[i]));
    say("]");
  }
  say("]");
}

static void deleteGroup(void) {
  size_t count;
  rd_kafka_DeleteGroup_t *group = rd_kafka_DeleteGroup_new(word(1));
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_DELETEGROUPS);
  rd_kafka_DeleteGroups(client, &group, 1, all, results);
  rd_kafka_DeleteGroup_destroy(group);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  const rd_kafka_group_result_t **groups =
      rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
  sayGroups(groups, count);
  rd_kafka_event_destroy(event);
}

// groupOffsets GROUP TOPIC PARTITION …
static void groupOffsets(void) {
  size_t count;
  rd_kafka_topic_partition_list_t *list = partitions(2, 0);
  rd_kafka_ListConsumerGroupOffsets_t *query =
      rd_kafka_ListConsumerGroupOffsets_new(word(1), list);
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
  rd_kafka_ListConsumerGroupOffsets(client, &query, 1, all, results);
  rd_kafka_ListConsumerGroupOffsets_destroy(query);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
      rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
  sayGroups(groups, count);
  rd_kafka_event_destroy(event);
}

// alterGroupOffsets GROUP TOPIC PARTITION OFFSET …
static void alterGroupOffsets(void) {
  size_t count;
  rd_kafka_topic_partition_list_t *list = partitions(2, 1);
  rd_kafka_AlterConsumerGroupOffsets_t *change =
      rd_kafka_AlterConsumerGroupOffsets_new(word(1), list);
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS);
  rd_kafka_AlterConsumerGroupOffsets(client, &change, 1, all, results);
  rd_kafka_AlterConsumerGroupOffsets_destroy(change);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  const rd_kafka_group_result_t **groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(
      rd_kafka_event_AlterConsumerGroupOffsets_result(event), &count);
  sayGroups(groups, count);
  rd_kafka_event_destroy(event);
}

// deleteGroupOffsets GROUP TOPIC PARTITION …
static void deleteGroupOffsets(void) {
  size_t count;
  rd_kafka_topic_partition_list_t *list = partitions(2, 0);
  rd_kafka_DeleteConsumerGroupOffsets_t *deletion =
      rd_kafka_DeleteConsumerGroupOffsets_new(word(1), list);
  rd_kafka_AdminOptions_t *all = options(RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS);
  rd_kafka_DeleteConsumerGroupOffsets(client, &deletion, 1, all, results);
  rd_kafka_DeleteConsumerGroupOffsets_destroy(deletion);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_event_t *event = result(all);
  if (!event) return;
  const rd_kafka_group_result_t **groups = rd_kafka_DeleteConsumerGroupOffsets_result_groups(
      rd_kafka_event_DeleteConsumerGroupOffsets_result(event), &count);
  sayGroups(groups, count);
  rd_kafka_event_destroy(event);
}

// --- commands ---

static const struct { const char *name; void (*run)(void); } commands[] = {
    {"produce", produce},
    {"fill", fill},
    {"flush", flush},
    {"transaction", transaction},
    {"subscribe", subscribe},
    {"assign", assign},
    {"poll", poll},
    {"commit", commit},
    {"committed", committed},
    {"position", position},
    {"offsetsForTimes", offsetsForTimes},
    {"pause", pausePartitions},
    {"resume", resumePartitions},
    {"seek", seekPartitions},
    {"watermarks", watermarks},
    {"membership", membership},
    {"member", member},
    {"createTopic", createTopic},
    {"deleteTopic", deleteTopic},
    {"createPartitions", createPartitions},
    {"describeConfigs", describeConfigs},
    {"alterConfigs", alterConfigs},
    {"deleteRecords", deleteRecords},
    {"listGroups", listGroups},
    {"describeGroup", describeGroup},
    {"deleteGroup", deleteGroup},
    {"groupOffsets", groupOffsets},
    {"alterGroupOffsets", alterGroupOffsets},
    {"deleteGroupOffsets", deleteGroupOffsets},
};

static void perform(void) {
  char *text;
  size_t size, i = 0, known = sizeof commands / sizeof *commands;
  while (i < known && strcmp(commands[i].name, words[0])) i++;
  if (i == known) die("unknown command", words[0]);
  out = open_memstream(&text, &size);
  commands[i].run();
  fclose(out);
  printf("{%s}\n", text);
  fflush(stdout);
  free(text);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
  char text[512];
  if (rd_kafka_conf_set(conf, name, value, text, sizeof text)) die(name, text);
}

int main(int argc, char **argv) {
  char text[512], *line = NULL;
  size_t room = 0;
  if (argc < 3) die("usage", "librdkafka producer|consumer BROKERS [property=value]…");
  int producing = !strcmp(argv[1], "producer");
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", argv[2]);
  for (int i = 3; i < argc; i++) {
    char *value = strchr(argv[i], '=');
    if (!value) die("no property", argv[i]);
    *value++ = 0;
    set(conf, argv[i], value);
  }
  if (producing) rd_kafka_conf_set_dr_msg_cb(conf, onReport);
  else rd_kafka_conf_set_rebalance_cb(conf, onRebalance);
  client = rd_kafka_new(producing ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, text, sizeof text);
  if (!client) die("client", text);
  if (!producing) rd_kafka_poll_set_consumer(client);
  results = rd_kafka_queue_new(client);
  while (getline(&line, &room, stdin) > 0) {
    line[strcspn(line, "\n")] = 0;
    wordCount = 0;
    for (char *rest = line, *next; (next = strsep(&rest, "\t")) && wordCount < WORDS_MAX;)
      words[wordCount++] = next;
    perform();
  }
  if (!producing) rd_kafka_consumer_close(client);
  rd_kafka_queue_destroy(results);
  rd_kafka_destroy(client);
  return 0;
}
