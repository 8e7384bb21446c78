// report.json and manifest.json of a finished job, from its tasks' results.
#ifndef DASM_SERVER_PLANNER_REPORT_H_
#define DASM_SERVER_PLANNER_REPORT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "server/planner/planner.h"

namespace dasm {

struct FinishedTask {
  std::string id;
  std::string kind;
  std::string parameters_json;
  std::string action_key;
  std::vector<std::string> parents;
  std::string summary_json;
  double seconds = 0;
  // The highest of a process of the task; 0: not known, or without a device.
  int64_t peak_host_bytes = 0;
  int64_t peak_device_bytes = 0;
  // It ran out of memory and was planned anew with this; 0: it was not.
  int replanned_micro_batch = 0;
  struct Output {
    std::string name;
    std::string digest;
    int64_t size_bytes = 0;
    std::vector<std::string> chunk_digests;
  };
  std::vector<Output> outputs;
};

struct JobResult {
  JobSpec spec;
  std::string numerics_class;
  std::string tool_version;
  double total_seconds = 0;  // wall time from start to end of the job
  std::vector<FinishedTask> tasks;
};

// Members as in the README ("report.json"); the job's own network is called by
// its name ("convnet"), others in full ("convnet-d3-w64-instance"); no NaN: a
// value that does not exist is left out. "digest" is the "sha256:..." of
// synthetic.safetensors (of an evaluate-only job: of the imported set),
// accuracies are percent by network as in NetworkSpec::ToString, "std" is that
// of the population. "seconds.distill", "seconds.evaluate" and, of a job with
// experts, "seconds.experts" add up the tasks' own computing time, of cached
// ones what the earlier run took; "seconds.total" is wall time.
// "memory.peak_host_bytes" and, where a device was used,
// "memory.peak_device_bytes" are the highest of any process; without "memory"
// none is known. "reproducible" is false with reduction "fast"; "replanned"
// names tasks that ran out of memory and the micro-batch that they were given.
// What trajectory matching adds is in trajectory_report.h; "digest" then is of
// the set at the end of the run, whatever was chosen.
absl::StatusOr<std::string> ReportJson(const JobResult& result);
// Members: "reproducible", "spec", "tasks" (kind, action key, parents,
// outputs), and "files": the outputs of assemble (of an evaluate-only job: {})
// by name, each with "digest", "size_bytes" and "chunk_digests"; `dasmctl
// verify` reads it.
absl::StatusOr<std::string> ManifestJson(const JobResult& result);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_REPORT_H_
