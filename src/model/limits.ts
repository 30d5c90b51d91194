import { sinkLimits } from "./sink-limits.ts";
import { uplinkLimits } from "./uplink-limits.ts";

/** Every limit of the program, with its reason. Units stand last in the names. */
export const limits = {
  ...sinkLimits,
  ...uplinkLimits,
  // --- a ping and what carries it (the contract's figures) ---
  /** One ping as stored; larger is `too_large`. */
  pingBytesMax: 8 * 1024,
  /** A frame, MQTT payload or HTTP body: 2 000 pings of about 130 B. */
  frameBytesMax: 256 * 1024,
  framePingsMax: 2000,
  /** Driver id: fits Kafka keys, MQTT topics and URLs. */
  driverIdBytesMax: 128,
  jsonDepthMax: 16,
  /** What is kept of a rejected payload. */
  rejectPayloadBytesMax: 8 * 1024,
  commandBytesMax: 8 * 1024,
  commandsQueuedPerDeviceMax: 100,
  commandAgeMsMax: 24 * 3_600_000,

  /** Of an error's text: it quotes what clients sent. */
  errorDetailCharsMax: 400,

  // --- MQTT ---
  /** CONNECT before authentication: id + will + credentials; mosquitto allows 100 000. */
  connectBytesMax: 64 * 1024,
  /** From accept to CONNECT (SlowITe). */
  connectMsMax: 10_000,
  /** AWS IoT: 256 B and 7 slashes. */
  topicBytesMax: 256,
  topicLevelsMax: 8,
  clientIdBytesMax: 256,
  /** Filters of one SUBSCRIBE and of one session. */
  subscribeFiltersMax: 64,
  sessionFiltersMax: 256,
  /** Client → broker packets that are not ingest: same cap as a frame. */
  packetBytesMax: 256 * 1024 + 1024,
  qos2InflightMax: 1000,
  /** Clients that are away with QoS 2 packet ids open: 20 MB at the most. */
  qos2ClientsMax: 2500,
  retainedMax: 10_000,
  /** A client that asks for keep-alive 0 is closed after this much silence. */
  idleMsMax: 24 * 3_600_000,
  /** Unwritten bytes toward one MQTT client (frozen subscriber) before it is closed. */
  mqttOutboundBytesMax: 1024 * 1024,
  /** Packets of one client between its worker and the broker; then its socket is not read. */
  brokerUnreadBytesMax: 256 * 1024,
  /** A worker that goes on regardless: the connection is closed. */
  brokerUnreadBytesHardMax: 8 * 1024 * 1024,
  /** What either side may leave untold about bytes taken: saves a message per packet. */
  brokerCreditBytes: 64 * 1024,
  /** Persistent sessions; the one away longest gives way. */
  sessionsMax: 100_000,
  /** Queued payloads of one session (100 commands of 8 KiB fit) and of all. */
  sessionQueueBytesMax: 1024 * 1024,
  queuedBytesMax: 256 * 1024 * 1024,
  retainedBytesMax: 256 * 1024 * 1024,

  // --- WebSocket ---
  wsUnansweredBytesMax: 1024 * 1024,
  wsUnansweredFramesMax: 256,
  wsIdleSeconds: 60,

  // --- one node ---
  /** Not at its level this long after it was read: the send is refused (closed, nack, 503). */
  ackMsMax: 30_000,
  drainMsMax: 25_000,
  /** From SIGTERM to the end, whatever hangs: within the contract's 30 s. */
  stopMsMax: 29_000,
  connectionsMax: 100_000,
  /** Descriptors for 256 slices of three, 128 more of readers, the admin port, and Node's own. */
  descriptorsKept: 1600,

  // --- from a worker to the log ---
  /** A slab: what one worker hands over at once. Holds the largest frame for each ingest topic. */
  slabBytes: 2 * 1024 * 1024,
  /** Topics that take positions (or events): the largest frame goes to all in one slab. */
  ingestTopicsMax: 4,
  /** Slabs of a worker: 32 MiB may wait for the disk, then reading pauses. */
  slabsPerWorker: 16,
  /** What cannot be paused (WebSocket frames) may take so many slabs more, then it is refused. */
  slabsOverflowMax: 48,
  /** Slabs with the log thread at once: one being committed and one ready behind it. */
  slabsInFlightMax: 2,
  /** Handed over before the loop turn ends: some 5 ms of a busy worker's reading. */
  recordsEager: 512,
  /** QoS 0 is shed when fewer slabs than this are free, before anybody is paused. */
  slabsFreeShedBelow: 4,
  /** A batch of one partition is sealed at this size: well under max.message.bytes. */
  batchBytesMax: 256 * 1024,
  batchRecordsMax: 16_384,
  /** The largest batch a worker makes: one record of the largest frame, or a batch just full. */
  ingestBatchBytesMax: 288 * 1024,

  // --- Kafka clients ---
  kafkaConnectionsMax: 10_000,
  /** A produce request of 16 partitions of 1 MiB, and as much again; Kafka's own is 100 MiB. */
  kafkaRequestBytesMax: 32 * 1024 * 1024,
  /** Of other requests: assignments of a thousand members are less. */
  kafkaSmallRequestBytesMax: 4 * 1024 * 1024,
  /** Items of all arrays of one request, each an object: every partition twice, and as many. */
  kafkaItemsMax: 40_000,
  /** Read ahead of a request that has to wait: then the socket is not read. */
  kafkaUnreadBytesMax: 64 * 1024,
  /**
   * Requests of all connections that are not whole, may not begin, or wait for something: beyond,
   * the connection that holds the most is closed.
   */
  kafkaRequestBytesAllMax: 256 * 1024 * 1024,
  /** Produce requests of all connections on their way to the disk: beyond, the next ones wait. */
  kafkaBegunBytesAllMax: 256 * 1024 * 1024,
  /** Unread answers of all: beyond, the one that has not read for longest is closed. */
  kafkaUnsentBytesAllMax: 256 * 1024 * 1024,
  /** Produce requests of one connection on their way to the disk: Java's default is 5. */
  kafkaRequestsInFlightMax: 64,
  /** No byte moved, in the middle of a request or an answer. */
  kafkaStalledMsMax: 60_000,
  /** A request from its first byte to its last: 32 MiB at 1 Mbit/s. */
  kafkaRequestMsMax: 300_000,
  /** Looking at one request holds up the other connections by so much, or by one batch. */
  kafkaStepMs: 10,
  /** Records of a batch that are named in the answer that refuses it. */
  kafkaRecordErrorsMax: 100,
  /** Lines about connections that were closed, and as many about faults. */
  kafkaLinesPerMinuteMax: 20,
  /** Kafka's connections.max.idle.ms. */
  kafkaIdleMsMax: 600_000,
  /** Of one answer, whatever the client allows; a frozen reader holds one. */
  kafkaFetchBytesMax: 8 * 1024 * 1024,
  /** Kept for the answers to come: four of the largest. */
  kafkaFreeBytesMax: 32 * 1024 * 1024,
  /** Look-ups of one request with the log thread at once. */
  kafkaLookupsAtOnce: 64,
  /** A fetch waits no longer, whatever it says. */
  kafkaFetchWaitMsMax: 120_000,
  /** Ids of idempotent producers that are on disk as given before they are. */
  producerIdsReserved: 1000,
  /** Topics a connection makes by asking for them. */
  kafkaAutoCreatedPerMinuteMax: 100,

  // --- consumer groups ---
  /** Kafka's group.min.session.timeout.ms and group.max.session.timeout.ms. */
  groupSessionMsMin: 6000,
  groupSessionMsMax: 1_800_000,
  /**
   * The first members of an empty group wait so long for each other, and again whenever one more
   * comes. Kafka's 3 s makes every start wait; this catches what one process starts together, and
   * whoever comes later joins in a rebalance.
   */
  groupInitialDelayMs: 100,
  /** A new member cannot send heartbeats while its JoinGroup waits: Kafka's own 5 minutes. */
  groupNewMemberMsMax: 300_000,
  /** More than there are partitions to give out, on most topics by far. */
  groupMembersMax: 5000,
  /** Metadata of one member: Streams and Connect put their whole state there. */
  groupMemberBytesMax: 1024 * 1024,
  /** Metadata and assignments of one group. */
  groupBytesMax: 8 * 1024 * 1024,
  /** A group with all of its members is one record; so is a commit one batch. */
  groupRecordBytesMax: 16 * 1024 * 1024,
  groupsMax: 10_000,
  /** Members and offsets of all groups. */
  groupsBytesMax: 256 * 1024 * 1024,
  groupIdBytesMax: 1024,
  /** The port opens after this, whatever is left to load: those groups answer "loading". */
  groupLoadMsMax: 3000,
  /** Names that groups keep: of clients, instances and protocols. */
  groupNameCharsMax: 255,
  /** Kafka's offset.metadata.max.bytes. */
  offsetMetadataBytesMax: 4096,
  /** Kafka's offsets.retention.minutes and offsets.retention.check.interval.ms. */
  offsetRetentionMs: 7 * 24 * 3_600_000,
  offsetSweepMs: 10 * 60_000,
  /** Commits on their way to the disk; beyond, clients try again. */
  groupAppendsBytesMax: 64 * 1024 * 1024,
  /** Lag is given for so many partitions of groups; a scrape stays below a megabyte. */
  groupLagSeriesMax: 5000,
  /** Records whose time is read for a scrape: some 50 ms of the Kafka thread. */
  groupLagReadsMax: 256,

  // --- live tracking ---
  /** Drivers whose last position is known, some 160 B each; the longest silent give way. */
  driversMax: 4_000_000,
  /** Of ids and of what a ping says besides numbers: beyond, of a new driver its position alone. */
  driversBytesMax: 1024 * 1024 * 1024,
  /** Of each driver that has moved since, its position to topic `latest`; and the checkpoint. */
  liveSaveMs: 10_000,
  /** What is changed at a stop is written as long as that takes no longer; the log has it. */
  liveStopMsMax: 1000,
  /** Of the log, at once: a twentieth of a second of 100 000 pings a second. */
  trackerReadBytes: 1024 * 1024,
  /**
   * A commit of so many bytes is told whole to those who follow it: reading sixteen small batches
   * costs more than the pings in them. So many such news may be on their way to a thread.
   */
  newsBytesMax: 64 * 1024,
  newsAheadMax: 32,
  /** Of such news that wait to be looked at; beyond, they are read from the log after all. */
  trackerToldBytesMax: 2 * 1024 * 1024,
  /** After damage, or a slice that went away. */
  trackerRetryMs: 1000,
  /** Further behind, or with a checkpoint so old, live tracking says that it is degraded. */
  trackerLagMsMax: 5000,
  checkpointMsMax: 120_000,
  /** Trips are named by whoever names them; as long as drivers' ids. */
  tripIdBytesMax: 128,
  /** Drivers in one box or cell: a snapshot of a megabyte or two, which a phone can still draw. */
  boxDriversMax: 5000,
  cellDriversMax: 20_000,
  /** Followed by all riders together, some 1 KB each. */
  channelsMax: 300_000,
  /** Of the grid, that all boxes and cells touch; and areas so wide that each ping asks them. */
  areaSquaresMax: 2_000_000,
  wideAreasMax: 2000,
  /** What riders missed who were away for a moment, of all drivers that are followed. */
  historyBytes: 64 * 1024 * 1024,
  /** A driver's history is kept so long after its last rider has gone, and for so many drivers. */
  channelLeftMsMax: 120_000,
  channelsLeftMax: 50_000,
  /** For what a rider missed: then it begins anew with the newest. */
  recoveryMsMax: 3000,
  recoveryBytesMax: 20 * 1024 * 1024,
  recoveriesAtOnce: 4,
  /** Publications in one answer: an hour of a ping a second, and some. */
  recoveredMax: 5000,
  /** How many of a partition's records a look at a driver's history goes back. */
  historyLookBack: 100_000,
  /** Of a cluster, where all of them have to be read: a megabyte. */
  historyScanBack: 10_000,

  // --- the port for riders ---
  /** Drivers in one answer: 300 KB of GeoJSON. */
  queriedMax: 1000,
  /** Squares of a density: 100 KB of JSON; there are larger ones rather than more. */
  densitySquaresMax: 4000,
  /** Around a point: a walk or a short ride, and a region. */
  nearMetres: 5000,
  nearMetresMax: 100_000,
  /** Files of the data directory that are being sent: 64 KiB and a descriptor each. */
  diskFilesAtOnce: 64,
  /** Tracks that are being read: of one address, and of all, a megabyte each. */
  tracksPerAddressMax: 4,
  tracksAtOnce: 32,
  /** From the first fix to the last. */
  trackMsMax: 24 * 3_600_000,
  /** Fixes of a track as GeoJSON, which has to be held until its end; 24 h of one a second. */
  trackFixesMax: 100_000,
  /** Of a cluster, which has no index of keys: some seconds of reading for one track. */
  trackScanRecordsMax: 2_000_000,
  trackScanBytesMax: 256 * 1024 * 1024,
  /** Streams of server-sent events; for more there is WebSocket. */
  eventStreamsMax: 10_000,
  /** Written to one in small pieces before it is made sure that the kernel took them. */
  eventStreamUnsureBytesMax: 128 * 1024,
  /** Requests that are being answered when the gateway stops have so long. */
  riderDrainMsMax: 5000,

  // --- riders ---
  /** Apps and pages that are open; 8 KB each when they are told nothing. */
  riderConnectionsMax: 50_000,
  /** A reconnect asks for 500 channels in one frame, each with its position. */
  riderFrameBytesMax: 256 * 1024,
  riderSubscriptionsMax: 500,
  riderIntervalMsMax: 3_600_000,
  /** Those who asked for fewer positions are told up to so much late. */
  riderStepMs: 20,
  /** Centrifugo's own. Also the time to say `connect`. */
  riderPingSeconds: 25,
  riderPongSeconds: 10,
  /** Nothing read for so long: closed when nothing else noticed. */
  riderIdleSeconds: 60,
  /** Written to one rider and not taken by the kernel: beyond, the newest positions only. */
  riderUnsentBytesMax: 64 * 1024,
  /** Answers it asked for come on top; beyond, its commands wait until it has read. */
  riderAnswerBytesMax: 1024 * 1024,
  /** Commands that wait: beyond, it is closed. */
  riderWaitingBytesMax: 512 * 1024,
  /** Of a thread's time, for the commands of one rider: a trip is looked for among all drivers. */
  riderTurnMs: 10,
  /** Of its commands that read the log, at once. */
  riderReadsMax: 8,
  /** Two of the largest answers. */
  riderUnsentBytesHardMax: 64 * 1024 * 1024,
  /** A slow rider that read nothing for so long is closed. */
  riderSlowMsMax: 15_000,
  /** Of all riders: beyond, those that are furthest behind are closed. */
  ridersUnsentBytesMax: 256 * 1024 * 1024,
  /** Positions told at once to one that was slow: some 10 KB. */
  riderTakeMax: 64,
  /** The last publications of a driver that riders may ask for. */
  historyMax: 64,

  // --- the log ---
  /** A commit starts at most this often unless `commitBytesEager` wait. */
  commitEveryMs: 2,
  commitBytesEager: 256 * 1024,
  /** max.message.bytes by default: Kafka's own 1 MiB + 12. */
  messageBytesMax: 1_048_588,
  /** Work in the background holds up a commit by so much. */
  logStepMs: 10,
  sliceBytesMax: 256 * 1024 * 1024,
  /** Commit values are packed to about 16 KiB, sized to whole pages. */
  valueBytes: 16 * 1024,
  /** Learning a topic's keys takes so much of each 100 ms: a commit waits at most so long. */
  keyStepMs: 4,
  /** Of a slice that is not sealed, 8 B each: a quarter of a gigabyte of pings has 2 million. */
  keyPostingsMax: 4_000_000,
  /** Complete slices of a topic that wait for their keys; beyond, one is sealed without. */
  slicesUnsealedMax: 4,
  slicesOpenMax: 256,
  /** In a thread that reads for others: sealed slices, and slices that are still written. */
  readerSealedOpenMax: 96,
  readerWritingOpenMax: 32,
  /** segment.bytes below counts as this: an LMDB file of its own costs about as much. */
  segmentBytesMin: 16 * 1024,
  /** The value of a topic's setting; all of them are told to every thread at each change. */
  settingCharsMax: 4096,
  topicsMax: 1000,
  partitionsMax: 8000,
  /** Kafka keeps the last five batches of a producer for deduplication. */
  producerBatchesKept: 5,
  /** Per partition: 1 MB of a slice's header. The one idle longest is forgotten. */
  producersMax: 5000,
  decompressBytesMax: 16 * 1024 * 1024,
  decompressRatioMax: 100,
  /** Whatever its ratio: a few records that are all alike are no bomb. */
  decompressBytesFree: 64 * 1024,
} as const;
