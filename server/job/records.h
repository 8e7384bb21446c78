// The coordinator's durable records. A *job* is what a user submitted; its
// graph consists of *tasks*; a task whose inputs are known is bound to an
// *action*, the unit of execution, named by its action key. Tasks of several
// jobs may share one action: that is the result cache and the single flight.
#ifndef DASM_SERVER_JOB_RECORDS_H_
#define DASM_SERVER_JOB_RECORDS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/job/state.h"

namespace dasm {

struct FailureRecord {
  std::string failure_class;  // empty: none
  std::string message;
  std::string task;
};

struct JobRecord {
  std::string id;
  std::string project;
  std::string uid;
  std::string request_id;
  std::string spec_digest;    // of `spec`; guards request_id
  std::string spec;           // serialized dasm.v1.JobSpec, as given
  std::string expanded_spec;  // serialized dasm.v1.JobSpec
  std::string method;
  int priority = 0;
  double checkpoint_interval = 60;
  int checkpoint_steps = 0;  // 0: by time only
  std::string salt;
  JobState state = JobState::kQueued;
  std::string numerics_class;  // empty until the first task is placed
  absl::Time create_time;
  absl::Time start_time = absl::InfinitePast();  // InfinitePast: not yet
  absl::Time end_time = absl::InfinitePast();
  absl::Time update_time;
  FailureRecord failure;
  std::string report_json;  // set when it succeeds
  std::string manifest_json;
  int tasks_total = 0;
  int tasks_done = 0;
};

struct BlobRef {
  std::string digest;
  int64_t size_bytes = 0;
};

struct OutputRecord {
  BlobRef blob;
  std::vector<std::string> chunk_digests;
};

// Where a task's input comes from: an output of another task of the job, or a
// blob known at submit.
struct InputSource {
  std::string task;  // empty: `blob`
  std::string output;
  BlobRef blob;
};

struct SourceFileRecord {
  std::string role;
  std::string path;
  std::string digest;
};

// How the ranks of a task run together. It is not in the action key: with
// reduction "fast" the parameters hold the number of ranks, and whether one
// trains.
struct GangPolicy {
  // After an attempt without a result it waits `regroup_wait` seconds for
  // `ranks` slots, then goes on with as many as are free, at least these.
  int min_ranks = 1;  // 1 .. ranks
  double regroup_wait = 30;
  std::string reduction = "ordered";    // or "fast"
  std::string exchange = "every_step";  // or "deferred"
  bool trainer_rank = false;            // rank 0 trains, the others match
};

// What is predicted to be resident, for finding the micro-batch that fits.
struct MemoryRecord {
  int64_t fixed_bytes = 0;
  int64_t bytes_per_image = 0;  // of a micro-batch; 0: not predicted
  int64_t total_bytes = 0;      // of a runner of one thread; 0: not predicted
};

// The highest of a rank's process; 0: not known, or without a device.
struct PeakMemoryRecord {
  int64_t host_bytes = 0;  // resident
  int64_t device_bytes = 0;
  int64_t device_reserved_bytes = 0;
};

struct TaskRecord {
  std::string job;
  std::string id;  // "segment-1"
  std::string kind;
  std::string parameters_json;                // canonical
  std::map<std::string, InputSource> inputs;  // by input name
  std::vector<SourceFileRecord> source_files;
  int ranks = 1;  // slots that it is started on
  GangPolicy gang;
  MemoryRecord memory;
  bool replan_on_oom = false;
  int replanned_micro_batch = 0;  // after running out of memory; 0: as planned
  TaskState state = TaskState::kWaiting;
  std::string action_key;  // empty until every input is known
  bool cached = false;
  FailureRecord failure;
  absl::Time start_time = absl::InfinitePast();
  absl::Time end_time = absl::InfinitePast();
};

struct CheckpointRecord {
  BlobRef blob;
  int64_t step = 0;
  double seconds = 0;  // computed up to here, over all attempts
  absl::Time time;
};

struct ActionRecord {
  std::string key;
  std::string kind;
  std::string parameters_json;
  std::map<std::string, BlobRef> inputs;
  std::vector<SourceFileRecord> source_files;
  std::string numerics_class;
  int ranks = 1;  // slots that it is started on
  GangPolicy gang;
  MemoryRecord memory;
  double checkpoint_interval = 60;
  int checkpoint_steps = 0;  // 0: by time only
  ActionState state = ActionState::kPending;
  uint64_t fence = 0;  // of the newest attempt; 0: none yet
  int attempts = 0;
  std::map<std::string, int> retries;  // by failure class since the last newer
                                       // checkpoint
  absl::Time not_before = absl::InfinitePast();  // back-off
  std::string avoid_worker;  // the last attempt failed there for its own reason
  // The last attempt was a gang's: until then it waits for its old size.
  // InfinitePast: none was started since it is wanted.
  absl::Time regroup_until = absl::InfinitePast();
  std::vector<std::string> workers;  // of the running attempt, by rank
  std::string worker;  // the same for people: each once, by commas
  std::vector<CheckpointRecord> checkpoints;    // newest first, at most two
  std::map<std::string, OutputRecord> outputs;  // by output name; SUCCEEDED
  std::string summary_json;
  double seconds = 0;
  // By rank, of attempt `peaks_fence`: the newest one that told.
  std::vector<PeakMemoryRecord> peaks;
  uint64_t peaks_fence = 0;
  FailureRecord failure;
  absl::Time create_time;
  absl::Time start_time = absl::InfinitePast();
  absl::Time end_time = absl::InfinitePast();
  // A task was last bound to it, or a job that uses a result worth keeping
  // ended.
  absl::Time use_time = absl::InfinitePast();
  // The result was given up: its record stays, its bytes are gone or going, and
  // a task that asks for it runs it again. InfinitePast: it was not.
  absl::Time prune_time = absl::InfinitePast();
};

// One line of a job's history. `version` is given by the store in commit
// order, over all jobs.
struct EventRecord {
  uint64_t version = 0;
  std::string job;
  absl::Time time;
  std::string type;
  std::string task;
  std::string message;
  std::string body;  // serialized dasm.v1.JobEvent (job and task as of then)
};

struct WorkerRecord {
  std::string id;
  bool draining = false;  // an operator's wish; survives restarts
};

}  // namespace dasm

#endif  // DASM_SERVER_JOB_RECORDS_H_
